//! One bit per frame becomes edges: speech has begun, speech has ended.

use std::time::{Duration, Instant};

use super::frame::FRAME_MS;

/// How sure is sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeechConfig {
    /// How many voiced frames of the last `onset_window` make speech.
    pub onset_frames: usize,
    /// How many frames are looked back upon; at most [`ONSET_WINDOW_MAX`].
    pub onset_window: usize,
    /// How many frames without voice in a row end speech.
    pub hangover_frames: u32,
}

impl Default for SpeechConfig {
    /// 3 of 4 frames begin speech; 300 ms without voice end it.
    fn default() -> Self {
        Self { onset_frames: 3, onset_window: 4, hangover_frames: 15 }
    }
}

/// A change in a participant's speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Begun or ended.
    pub kind: EdgeKind,
    /// When it really happened: before it was certain.
    pub at: Instant,
}

/// Which way speech has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// From silence to speech.
    Started,
    /// From speech to silence.
    Stopped,
}

/// Finds the edges in a row of frames, each voiced or not.
#[derive(Debug)]
pub struct Speech {
    config: SpeechConfig,
    state: State,
    /// Frames that overlap in time, as after a burst, are put one behind the other.
    latest: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// The last frames, oldest first: when each that was voiced began.
    Quiet {
        recent: [Option<Instant>; ONSET_WINDOW_MAX],
    },
    Speaking {
        voice_ended: Instant,
        silent_frames: u32,
    },
}

impl Speech {
    /// Begins in silence.
    #[must_use]
    pub const fn new(config: SpeechConfig) -> Self {
        Self { config, state: QUIET, latest: None }
    }

    /// Takes the next frame, which began at `began`; gives an edge if one is certain by it.
    pub fn push(&mut self, voiced: bool, began: Instant) -> Option<Edge> {
        let began = self.latest.map_or(began, |latest| latest.max(began));
        self.latest = Some(began);
        let ended = began + Duration::from_millis(FRAME_MS);
        match &mut self.state {
            State::Quiet { recent } => {
                recent.rotate_left(1);
                recent[ONSET_WINDOW_MAX - 1] = voiced.then_some(began);
                let window = self.config.onset_window.clamp(1, ONSET_WINDOW_MAX);
                let onset = recent[ONSET_WINDOW_MAX - window..].iter().flatten();
                if onset.clone().count() < self.config.onset_frames.clamp(1, window) {
                    return None;
                }
                let at = onset.copied().next()?;
                self.state = State::Speaking { voice_ended: ended, silent_frames: 0 };
                Some(Edge { kind: EdgeKind::Started, at })
            }
            State::Speaking { voice_ended, silent_frames } => {
                if voiced {
                    (*voice_ended, *silent_frames) = (ended, 0);
                    return None;
                }
                *silent_frames += 1;
                if *silent_frames < self.config.hangover_frames {
                    return None;
                }
                let at = *voice_ended;
                self.state = QUIET;
                Some(Edge { kind: EdgeKind::Stopped, at })
            }
        }
    }

    /// Whether speech has begun and not ended.
    #[must_use]
    pub const fn is_speaking(&self) -> bool {
        matches!(self.state, State::Speaking { .. })
    }
}

impl Default for Speech {
    fn default() -> Self {
        Self::new(SpeechConfig::default())
    }
}

/// The most frames that an onset may look back upon.
pub const ONSET_WINDOW_MAX: usize = 8;

const QUIET: State = State::Quiet { recent: [None; ONSET_WINDOW_MAX] };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{ms, start};

    #[test]
    fn speech_begins_with_the_first_of_three_voiced_frames_in_four() {
        assert_eq!(edges("..v.v.vv.v"), [(EdgeKind::Started, 80)]);
        assert_eq!(edges("...vvv"), [(EdgeKind::Started, 60)]);
        assert_eq!(edges(".v.v.v.vv..vv"), [(EdgeKind::Started, 100)]);
    }

    #[test]
    fn a_click_is_no_speech() {
        assert_eq!(edges("..vv......v....vv..."), []);
    }

    #[test]
    fn speech_ends_where_its_last_voice_ended() {
        let said = format!("vvvv{}v{}", ".".repeat(14), ".".repeat(15));
        assert_eq!(edges(&said), [(EdgeKind::Started, 0), (EdgeKind::Stopped, 19 * 20)]);
    }

    #[test]
    fn the_next_speech_needs_an_onset_of_its_own() {
        let said = format!("vvvv{}vv", ".".repeat(15));
        assert_eq!(edges(&said).len(), 2);
    }

    #[test]
    fn a_config_can_be_quicker() {
        let config = SpeechConfig { onset_frames: 1, onset_window: 1, hangover_frames: 2 };
        let found = edges_with(config, ".v..");
        assert_eq!(found, [(EdgeKind::Started, 20), (EdgeKind::Stopped, 40)]);
    }

    #[test]
    fn time_never_runs_backwards_in_a_burst() {
        let mut speech = Speech::default();
        let mut found = Vec::new();
        for at_ms in [100, 60, 80] {
            found.extend(speech.push(true, start() + ms(at_ms)));
        }
        assert_eq!(found, [Edge { kind: EdgeKind::Started, at: start() + ms(100) }]);
    }

    fn edges(frames: &str) -> Vec<(EdgeKind, u128)> {
        edges_with(SpeechConfig::default(), frames)
    }

    fn edges_with(config: SpeechConfig, frames: &str) -> Vec<(EdgeKind, u128)> {
        let mut speech = Speech::new(config);
        let mut began = start();
        let mut found = Vec::new();
        for frame in frames.chars() {
            if let Some(edge) = speech.push(frame == 'v', began) {
                found.push((edge.kind, edge.at.duration_since(start()).as_millis()));
            }
            began += ms(FRAME_MS);
        }
        found
    }
}
