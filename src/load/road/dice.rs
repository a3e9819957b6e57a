//! Chance that can be repeated: the same seed always throws the same numbers.

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Whether something happens that happens in this share of all cases. Every call throws,
    /// whatever the share, so that one setting does not shift the fate of the others.
    pub(super) fn happens(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// A number from 0 up to, and without, 1; all equally likely.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number of the normal distribution with mean 0 and deviation 1 (Box and Muller, 1958).
    pub(super) fn normal(&mut self) -> f64 {
        let (one, other) = (1.0 - self.share(), self.share());
        (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
    }

    const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_numbers_and_another_others() {
        let throw = |seed| {
            let mut dice = Dice::new(seed);
            std::iter::repeat_with(move || dice.bits()).take(50).collect::<Vec<_>>()
        };
        assert_eq!(throw(7), throw(7));
        assert_ne!(throw(7), throw(8));
    }

    #[test]
    fn numbers_are_spread_as_they_should_be() {
        let mut dice = Dice::new(3);
        let mean: f64 = (0..10_000).map(|_| dice.share()).sum::<f64>() / 10_000.0;
        assert!((0.49..0.51).contains(&mean), "mean {mean}");
        let normal: Vec<f64> = (0..10_000).map(|_| dice.normal()).collect();
        let mean: f64 = normal.iter().sum::<f64>() / 10_000.0;
        let variance: f64 = normal.iter().map(|number| number * number).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.03 && (0.95..1.05).contains(&variance), "{mean}, {variance}");
    }
}
