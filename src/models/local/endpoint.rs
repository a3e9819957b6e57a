//! PURE. When a turn begins and ends, from one bit of the voice detector per 20 ms.

use std::collections::VecDeque;

use crate::media::FRAME_MS;

/// `server_vad` of the protocol, with its defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Detection {
    /// 0 to 1: the share of the last 160 ms that must be voice for a turn to begin.
    pub(super) threshold: f64,
    /// How much sound before the first voice belongs to the turn.
    pub(super) prefix_padding_ms: u64,
    /// How long a silence ends the turn.
    pub(super) silence_duration_ms: u64,
    /// Whether the end of a turn is answered unasked.
    pub(super) create_response: bool,
    /// Whether the beginning of a turn breaks off an answer.
    pub(super) interrupt_response: bool,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            prefix_padding_ms: 300,
            silence_duration_ms: 500,
            create_response: true,
            interrupt_response: true,
        }
    }
}

/// Someone began or stopped to speak, on the clock of the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnEdge {
    /// A turn begins; its sound is wanted from here on, padding included.
    Started {
        /// Where its sound begins.
        at_ms: u64,
    },
    /// The turn is over.
    Stopped {
        /// Where its sound ends, the silence that ended it included.
        at_ms: u64,
    },
}

/// The detector's bits on their way to edges.
#[derive(Debug)]
pub(super) struct Endpoint {
    detection: Detection,
    state: State,
    /// Sound before this belongs to an earlier turn.
    earliest_ms: u64,
}

#[derive(Debug)]
enum State {
    /// Nobody speaks; the bits of late, the newest last.
    Quiet { bits: VecDeque<bool> },
    /// Somebody speaks, or has just paused.
    Turn { started_ms: u64, silence_ms: u64 },
}

impl Endpoint {
    /// Begins in silence, on a clock that shows `at_ms`.
    pub(super) fn new(detection: Detection, at_ms: u64) -> Self {
        Self { detection, state: quiet(), earliest_ms: at_ms }
    }

    /// Takes the bit of the frame that ends at `end_ms`.
    pub(super) fn push(&mut self, is_voice: bool, end_ms: u64) -> Option<TurnEdge> {
        match &mut self.state {
            State::Quiet { bits } => {
                if bits.len() == usize::from(ONSET_WINDOW) {
                    bits.pop_front();
                }
                bits.push_back(is_voice);
                let voiced = bits.iter().filter(|bit| **bit).count();
                if voiced < voiced_min(self.detection.threshold) {
                    return None;
                }
                let frames = bits.iter().skip_while(|bit| !**bit).count() as u64;
                let lead_ms = frames * FRAME_MS + self.detection.prefix_padding_ms;
                let at_ms = end_ms.saturating_sub(lead_ms).max(self.earliest_ms);
                self.state = State::Turn { started_ms: at_ms, silence_ms: 0 };
                Some(TurnEdge::Started { at_ms })
            }
            State::Turn { started_ms, silence_ms } => {
                *silence_ms = if is_voice { 0 } else { *silence_ms + FRAME_MS };
                let is_over = *silence_ms >= self.detection.silence_duration_ms.max(FRAME_MS)
                    || end_ms - *started_ms >= TURN_MAX_MS;
                is_over.then(|| {
                    self.reset(end_ms);
                    TurnEdge::Stopped { at_ms: end_ms }
                })
            }
        }
    }

    /// Whether a turn is under way and its speaker is not in a pause.
    pub(super) fn is_speaking(&self) -> bool {
        matches!(self.state, State::Turn { silence_ms: 0, .. })
    }

    /// Forgets a turn under way: its sound was taken or thrown away by hand.
    pub(super) fn reset(&mut self, at_ms: u64) {
        self.state = quiet();
        self.earliest_ms = at_ms;
    }
}

fn quiet() -> State {
    State::Quiet { bits: VecDeque::with_capacity(ONSET_WINDOW.into()) }
}

/// How many frames of the window must be voice.
fn voiced_min(threshold: f64) -> usize {
    let is_enough = |voiced: &u8| f64::from(*voiced) >= threshold * f64::from(ONSET_WINDOW);
    (1..ONSET_WINDOW).find(is_enough).unwrap_or(ONSET_WINDOW).into()
}

const ONSET_WINDOW: u8 = 8;
/// Who speaks longer is answered in between: sound is kept for so long and no longer.
pub(super) const TURN_MAX_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_begins_before_its_first_voice_and_ends_after_its_silence() {
        let edges = edges_of(Detection::default(), &[(1000, false), (400, true), (600, false)]);
        assert_eq!(
            edges,
            [(1080, TurnEdge::Started { at_ms: 700 }), (1900, TurnEdge::Stopped { at_ms: 1900 }),]
        );
    }

    #[test]
    fn a_short_noise_is_no_turn() {
        assert_eq!(edges_of(Detection::default(), &[(500, false), (60, true), (500, false)]), []);
    }

    #[test]
    fn a_pause_shorter_than_the_silence_asked_for_does_not_end_a_turn() {
        let pattern = [(200, true), (480, false), (100, true), (500, false)];
        let edges = edges_of(Detection::default(), &pattern);
        assert_eq!(edges.len(), 2, "{edges:?}");
        assert_eq!(edges[1].0, 1280);
    }

    #[test]
    fn a_turn_does_not_reach_into_the_one_before() {
        let detection = Detection { silence_duration_ms: 100, ..Detection::default() };
        let edges = edges_of(detection, &[(200, true), (100, false), (200, true)]);
        assert_eq!(edges[1].1, TurnEdge::Stopped { at_ms: 300 });
        assert_eq!(edges[2].1, TurnEdge::Started { at_ms: 300 });
    }

    #[test]
    fn a_higher_threshold_asks_for_more_voice() {
        let flicker: Vec<_> = (0..20).map(|frame| (20, frame % 2 == 0)).collect();
        let with = |threshold| Detection { threshold, ..Detection::default() };
        assert!(edges_of(with(0.9), &flicker).is_empty());
        assert!(!edges_of(with(0.3), &flicker).is_empty());
        assert_eq!((voiced_min(0.0), voiced_min(0.5), voiced_min(1.0)), (1, 4, 8));
    }

    #[test]
    fn nobody_speaks_for_ever() {
        let edges = edges_of(Detection::default(), &[(TURN_MAX_MS + 1000, true)]);
        assert_eq!(edges[1].1, TurnEdge::Stopped { at_ms: TURN_MAX_MS });
    }

    #[test]
    fn a_turn_taken_by_hand_begins_anew() {
        let mut endpoint = Endpoint::new(Detection::default(), 0);
        assert!((1..=4).find_map(|frame| endpoint.push(true, 20 * frame)).is_some());
        assert!(endpoint.is_speaking());
        endpoint.reset(80);
        assert!(!endpoint.is_speaking());
        assert_eq!(endpoint.push(true, 100), None);
    }

    /// The edges of a pattern of stretches in milliseconds, each with the time it was decided.
    fn edges_of(detection: Detection, pattern: &[(u64, bool)]) -> Vec<(u64, TurnEdge)> {
        let mut endpoint = Endpoint::new(detection, 0);
        let bits = pattern.iter().flat_map(|(ms, bit)| (0..ms / FRAME_MS).map(|_| *bit));
        let ends = (1..).map(|frame| frame * FRAME_MS);
        bits.zip(ends).filter_map(|(bit, end)| Some((end, endpoint.push(bit, end)?))).collect()
    }
}
