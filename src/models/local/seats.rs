//! How many sessions may hear or speak at once; the rest are text.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The seats of one server.
#[derive(Clone, Debug)]
pub(super) struct Seats(Arc<Semaphore>);

/// A session's right to hear and speak, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Seats {
    /// So many seats.
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    /// A seat, if one is free.
    pub(super) fn take(&self) -> Option<Seat> {
        self.0.clone().try_acquire_owned().ok().map(Seat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_it_is_given_back() {
        let seats = Seats::new(1);
        let seat = seats.take();
        assert!(seat.is_some() && seats.take().is_none());
        drop(seat);
        assert!(seats.take().is_some());
    }
}
