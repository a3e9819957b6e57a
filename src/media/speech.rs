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
    /// How much voice makes speech that is meant, and no click or cough.
    ///
    /// What the detector gave for synthetic noises, and for eleven short words ("yes", "no",
    /// "stop", "wait", "hey" and so on) by four synthetic voices:
    ///
    /// | sound | voiced ms |
    /// | --- | --- |
    /// | clicks of 1 to 8 ms | 20 to 40 |
    /// | knocks that fade in 30 to 60 ms | 40 to 100 |
    /// | coughs of 60, 90, 120 ms | 60, 100, 120 |
    /// | coughs of 160, 200, 250 ms | 160, 200, 260 |
    /// | knocks that ring on, double coughs | 160 to 280 |
    /// | the shortest words | 160, 160, 180, 180, 200 |
    /// | all others of 44 words | 220 to 700 |
    ///
    /// So 160 ms loses no word and lets pass what is shorter than any; a longer cough cannot be
    /// told from a word by how long it lasts.
    pub sustain: Duration,
}

impl Default for SpeechConfig {
    /// 3 of 4 frames begin speech; 300 ms without voice end it; 160 ms of voice are meant.
    fn default() -> Self {
        let sustain = Duration::from_millis(160);
        Self { onset_frames: 3, onset_window: 4, hangover_frames: 15, sustain }
    }
}

/// A change in a participant's speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Begun, meant, or ended.
    pub kind: EdgeKind,
    /// When speech really began or ended: before it was certain. Of speech that is meant: when it
    /// began.
    pub at: Instant,
}

/// Which way speech has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// From silence to speech, or to something that sounds like its beginning.
    Started,
    /// The speech has had so much voice that it is meant; once in a speech, after `Started`.
    Sustained,
    /// From speech to silence.
    Stopped,
}

/// Finds the edges in a row of frames, each voiced or not.
///
/// After each frame drain [`Speech::poll`].
#[derive(Debug)]
pub struct Speech {
    config: SpeechConfig,
    state: State,
    /// Frames that overlap in time, as after a burst, are put one behind the other.
    latest: Option<Instant>,
    /// What the last frame has proved; the first of two may only be a beginning.
    edges: [Option<Edge>; 2],
}

#[derive(Debug)]
enum State {
    /// The last frames, oldest first: when each that was voiced began.
    Quiet {
        recent: [Option<Instant>; ONSET_WINDOW_MAX],
    },
    Speaking(Spoken),
}

/// A speech that is under way.
#[derive(Debug)]
struct Spoken {
    began: Instant,
    voice_ended: Instant,
    /// Voice in it so far.
    voice: Duration,
    silent_frames: u32,
    is_sustained: bool,
}

impl Speech {
    /// Begins in silence.
    #[must_use]
    pub const fn new(config: SpeechConfig) -> Self {
        Self { config, state: QUIET, latest: None, edges: [None; 2] }
    }

    /// How much voice is speech that is meant, from the next frame on.
    pub const fn set_sustain(&mut self, sustain: Duration) {
        self.config.sustain = sustain;
    }

    /// Takes the next frame, which began at `began`.
    pub fn push(&mut self, voiced: bool, began: Instant) {
        let began = self.latest.map_or(began, |latest| latest.max(began));
        self.latest = Some(began);
        match &mut self.state {
            State::Quiet { .. } => self.begin(voiced, began),
            State::Speaking(spoken) => {
                if voiced {
                    spoken.voice_ended = began + FRAME;
                    spoken.voice += FRAME;
                    spoken.silent_frames = 0;
                } else {
                    spoken.silent_frames += 1;
                }
                if spoken.silent_frames >= self.config.hangover_frames {
                    return self.end();
                }
            }
        }
        self.sustain();
    }

    /// Gives the next edge that the last frame has made certain.
    pub fn poll(&mut self) -> Option<Edge> {
        self.edges.iter_mut().find_map(Option::take)
    }

    /// Ends the speech that is under way, if there is one, where its last voice ended.
    pub const fn end(&mut self) {
        if let State::Speaking(Spoken { voice_ended: at, .. }) = self.state {
            self.edges[1] = Some(Edge { kind: EdgeKind::Stopped, at });
        }
        self.state = QUIET;
    }

    /// Whether speech has begun and not ended.
    #[must_use]
    pub const fn is_speaking(&self) -> bool {
        matches!(self.state, State::Speaking(_))
    }

    fn begin(&mut self, voiced: bool, began: Instant) {
        let State::Quiet { recent } = &mut self.state else { return };
        recent.rotate_left(1);
        recent[ONSET_WINDOW_MAX - 1] = voiced.then_some(began);
        let window = self.config.onset_window.clamp(1, ONSET_WINDOW_MAX);
        let onset = recent[ONSET_WINDOW_MAX - window..].iter().flatten();
        let voiced_frames = onset.clone().count();
        if voiced_frames < self.config.onset_frames.clamp(1, window) {
            return;
        }
        let Some(at) = onset.copied().next() else { return };
        self.state = State::Speaking(Spoken {
            began: at,
            voice_ended: began + FRAME,
            voice: FRAME * u32::try_from(voiced_frames).unwrap_or(u32::MAX),
            silent_frames: 0,
            is_sustained: false,
        });
        self.edges[0] = Some(Edge { kind: EdgeKind::Started, at });
    }

    fn sustain(&mut self) {
        let State::Speaking(spoken) = &mut self.state else { return };
        if !spoken.is_sustained && spoken.voice >= self.config.sustain {
            spoken.is_sustained = true;
            self.edges[1] = Some(Edge { kind: EdgeKind::Sustained, at: spoken.began });
        }
    }
}

impl Default for Speech {
    fn default() -> Self {
        Self::new(SpeechConfig::default())
    }
}

const FRAME: Duration = Duration::from_millis(FRAME_MS);

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
        let config = SpeechConfig { onset_frames: 1, onset_window: 1, hangover_frames: 2, ..SHORT };
        let found = edges_with(config, ".v..");
        assert_eq!(found, [(EdgeKind::Started, 20), (EdgeKind::Stopped, 40)]);
    }

    #[test]
    fn speech_is_sustained_once_when_its_voice_has_lasted() {
        let config = SpeechConfig { sustain: ms(160), ..SpeechConfig::default() };
        let began = (EdgeKind::Started, 20);
        assert_eq!(edges_with(config, ".vvvvvvv"), [began]);
        assert_eq!(edges_with(config, ".vvvvvvvv"), [began, (EdgeKind::Sustained, 20)]);
        assert_eq!(edges_with(config, ".vvv..vv...vv.v").len(), 2);
        assert_eq!(edges_with(config, &format!(".{}", "v".repeat(100))).len(), 2);
    }

    #[test]
    fn speech_that_ends_too_soon_was_not_meant() {
        let said = format!("vvvvvvv{}vvvvvvv{}", ".".repeat(15), ".".repeat(15));
        let kinds: Vec<_> =
            edges_with(SpeechConfig::default(), &said).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [EdgeKind::Started, EdgeKind::Stopped].repeat(2));
    }

    #[test]
    fn speech_may_be_meant_from_its_beginning() {
        for sustain in [ms(0), ms(60)] {
            let config = SpeechConfig { sustain, ..SpeechConfig::default() };
            let both = [(EdgeKind::Started, 0), (EdgeKind::Sustained, 0)];
            assert_eq!(edges_with(config, "vvv"), both);
            assert_eq!(edges_with(config, "vvvv.vvvv"), both);
        }
    }

    #[test]
    fn speech_that_is_ended_from_outside_begins_anew() {
        let mut speech = Speech::default();
        speech.end();
        assert_eq!(speech.poll(), None);
        for at_ms in [0, 20, 40] {
            speech.push(true, start() + ms(at_ms));
        }
        assert!(speech.poll().is_some_and(|edge| edge.kind == EdgeKind::Started));
        speech.end();
        let stopped = Edge { kind: EdgeKind::Stopped, at: start() + ms(60) };
        assert_eq!(std::iter::from_fn(|| speech.poll()).collect::<Vec<_>>(), [stopped]);
        speech.push(true, start() + ms(60));
        assert_eq!((speech.poll(), speech.is_speaking()), (None, false));
    }

    #[test]
    fn time_never_runs_backwards_in_a_burst() {
        let mut speech = Speech::default();
        let mut found = Vec::new();
        for at_ms in [100, 60, 80] {
            speech.push(true, start() + ms(at_ms));
            found.extend(speech.poll());
        }
        assert_eq!(found, [Edge { kind: EdgeKind::Started, at: start() + ms(100) }]);
    }

    /// No speech of these tests lasts for so long that it is meant.
    const SHORT: SpeechConfig = SpeechConfig {
        onset_frames: 3,
        onset_window: 4,
        hangover_frames: 15,
        sustain: Duration::MAX,
    };

    fn edges(frames: &str) -> Vec<(EdgeKind, u128)> {
        edges_with(SHORT, frames)
    }

    fn edges_with(config: SpeechConfig, frames: &str) -> Vec<(EdgeKind, u128)> {
        let mut speech = Speech::new(config);
        let mut began = start();
        let mut found = Vec::new();
        for frame in frames.chars() {
            speech.push(frame == 'v', began);
            while let Some(edge) = speech.poll() {
                found.push((edge.kind, edge.at.duration_since(start()).as_millis()));
            }
            began += ms(FRAME_MS);
        }
        found
    }
}
