//! Seats: how many are in a room, or on their way into it, without anyone counting.

use std::sync::Arc;

/// Gives out a bounded number of seats.
#[derive(Debug)]
pub(super) struct Seats {
    taken: Arc<()>,
    max: usize,
}

/// A seat in a room and in the house. Given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _room: Arc<()>,
    _house: Arc<()>,
}

impl Seats {
    pub(super) fn new(max: usize) -> Self {
        Self { taken: Arc::new(()), max }
    }

    /// Takes a seat here and in the house; `None` if either is full.
    pub(super) fn take(&self, house: &Self) -> Option<Seat> {
        let is_free = self.taken() < self.max && house.taken() < house.max;
        is_free.then(|| Seat { _room: Arc::clone(&self.taken), _house: Arc::clone(&house.taken) })
    }

    /// How many seats are taken.
    pub(super) fn taken(&self) -> usize {
        Arc::strong_count(&self.taken) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_once_dropped() {
        let (house, room) = (Seats::new(3), Seats::new(2));
        let first = room.take(&house);
        let second = room.take(&house);
        assert!(first.is_some() && second.is_some());
        assert!(room.take(&house).is_none(), "the room is full");
        drop(first);
        assert_eq!((room.taken(), house.taken()), (1, 1));
        assert!(room.take(&house).is_some());
    }

    #[test]
    fn the_house_bounds_all_its_rooms() {
        let house = Seats::new(1);
        let (one, two) = (Seats::new(2), Seats::new(2));
        let _seat = one.take(&house);
        assert!(two.take(&house).is_none());
    }
}
