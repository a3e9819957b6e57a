//! A short memory: the latest few of something, found again by a property.

use std::collections::VecDeque;

/// The latest `N`; the oldest makes room.
#[derive(Debug)]
pub(super) struct Recent<T, const N: usize>(VecDeque<T>);

impl<T, const N: usize> Default for Recent<T, N> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T, const N: usize> Recent<T, N> {
    /// Takes one more in, and gives access to it.
    pub(super) fn push(&mut self, value: T) -> &mut T {
        if self.0.len() == N {
            self.0.pop_front();
        }
        self.0.push_back_mut(value)
    }

    /// The latest that fits.
    pub(super) fn find(&mut self, fits: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.0.iter_mut().rev().find(|value| fits(value))
    }

    /// The latest that fits, or a new one.
    pub(super) fn find_or_push(
        &mut self,
        fits: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> &mut T {
        match self.0.iter().rposition(fits) {
            Some(place) => &mut self.0[place],
            None => self.push(make()),
        }
    }

    /// Those that fit, the oldest first.
    pub(super) fn filter(&mut self, fits: impl Fn(&T) -> bool) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().filter(move |value| fits(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut recent = Recent::<u8, 2>::default();
        for value in 1..=3 {
            recent.push(value);
        }
        assert_eq!(recent.find(|value| *value == 1), None);
        assert_eq!(recent.filter(|_| true).map(|value| *value).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(recent.find(|value| *value > 1), Some(&mut 3));
    }
}
