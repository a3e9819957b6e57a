//! Chance that can be had again: the same seed gives the same throws.

use std::ops::Range;
use std::time::Duration;

/// A small generator (SplitMix64), good enough to vary a conversation.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Of each seed, each `place` has dice of its own.
    pub(super) const fn new(seed: u64, place: u64) -> Self {
        Self(seed ^ place.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(GOLDEN))
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// True so many times in a hundred.
    pub(super) const fn chance(&mut self, percent: f64) -> bool {
        (self.unit() * 100.0) < percent
    }

    /// Below `count`; 0 if there is nothing to choose from.
    pub(super) const fn below(&mut self, count: u64) -> u64 {
        match count {
            0 => 0,
            count => self.next() % count,
        }
    }

    /// Somewhere in a range.
    pub(super) fn between(&mut self, range: Range<Duration>) -> Duration {
        range.start + range.end.saturating_sub(range.start).mul_f64(self.unit())
    }

    /// From 0 up to, and without, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds")]
    const fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_place_throw_the_same() {
        let throws = |seed, place| {
            let mut dice = Dice::new(seed, place);
            [dice.next(), dice.next(), dice.next()]
        };
        assert_eq!(throws(1, 2), throws(1, 2));
        assert_ne!(throws(1, 2), throws(1, 3));
        assert_ne!(throws(1, 2), throws(2, 2));
    }

    #[test]
    fn chance_is_about_what_was_asked_for() {
        let mut dice = Dice::new(7, 0);
        let hits = (0..10_000).filter(|_| dice.chance(30.0)).count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
        assert!((0..100).all(|_| !dice.chance(0.0)));
        assert!((0..100).all(|_| dice.chance(100.0)));
    }

    #[test]
    fn a_range_is_kept_to() {
        let mut dice = Dice::new(7, 0);
        let range = Duration::from_millis(10)..Duration::from_millis(20);
        assert!((0..1_000).all(|_| range.contains(&dice.between(range.clone()))));
        assert!((0..1_000).all(|_| dice.below(3) < 3));
    }
}
