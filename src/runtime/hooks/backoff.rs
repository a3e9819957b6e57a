//! When a delivery that has failed is tried again.

use std::time::Duration;

/// How long to wait after so many attempts in vain, at least one; `None` gives up.
///
/// `dice` is any random number: it spreads those that failed together by up to a fifth.
pub(super) fn pause(attempts: u32, dice: u32) -> Option<Duration> {
    let place = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let pause = *PAUSES.get(place)?;
    let share = f64::from(dice) / f64::from(u32::MAX);
    Some(pause + pause.mul_f64(share * JITTER))
}

/// No attempt is further away than this, whatever became of the clock meanwhile.
pub(super) const PAUSE_MAX: Duration = Duration::from_mins(72);

/// From one attempt to the next: short for a receiver that restarts, long for one that is down.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_hours(1),
];

/// By which part a pause may grow.
const JITTER: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_then_it_is_given_up() {
        let seconds: Vec<_> =
            (1..=8).map(|attempts| pause(attempts, 0).map(|pause| pause.as_secs())).collect();
        let some = [1, 5, 30, 120, 600, 3_600].map(Some);
        assert_eq!(seconds, [&some[..], &[None, None]].concat());
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let longest = (1..=6).filter_map(|attempts| pause(attempts, u32::MAX)).max();
        assert_eq!(longest, Some(PAUSE_MAX));
    }

    #[test]
    fn the_dice_add_up_to_a_fifth() {
        assert_eq!(pause(2, u32::MAX), Some(Duration::from_secs(6)));
        let half = pause(2, u32::MAX / 2).expect("another attempt");
        assert!((5_499..=5_500).contains(&half.as_millis()), "{half:?}");
    }
}
