//! Who speaks, by our ear; and the two steps in which an agent is cut off.
//!
//! ```text
//!            somebody begins,              it is meant: so much voice of it,
//!            over the agent                or the model's word
//!   Free ───────────────────▶ Held ──────────────────────────────▶ Free, and flushed
//!    ▲                         │
//!    └─────────────────────────┘
//!      all in doubt are silent, or for too long in doubt: it goes on where it was
//! ```

use std::time::Instant;

use super::Outputs;
use super::command::Deadline;
use super::event::{EdgeKind, SpeechEdge};
use super::output::{Output, PlaybackAction};
use crate::ids::{ParticipantId, UtteranceId};

/// Who speaks, and whether the agent is held for it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct BargeIn {
    /// Who speaks; the latest last.
    speakers: Vec<Speaker>,
    hold: Option<Hold>,
    /// What the model hears, from its beginning to its end by the model's ear.
    heard: Option<UtteranceId>,
}

#[derive(Debug, PartialEq)]
struct Speaker {
    id: ParticipantId,
    /// Whether it has gone on for so long that it is speech.
    is_meant: bool,
}

/// The agent is silent, and keeps what it has to say.
#[derive(Debug, PartialEq)]
struct Hold {
    /// When it goes on in any case.
    until: Instant,
    /// What the model makes of the sound that it is held for.
    heard: Option<UtteranceId>,
}

impl BargeIn {
    /// Who speaks goes on speaking to whoever listens next.
    pub(super) fn pass_on(self) -> Self {
        Self { speakers: self.speakers, ..Self::default() }
    }

    pub(super) fn on_speech(&mut self, edge: &SpeechEdge) {
        self.on_stopped(&edge.participant);
        let is_meant = match edge.kind {
            EdgeKind::Started => false,
            EdgeKind::Sustained => true,
            EdgeKind::Stopped => return,
        };
        self.speakers.push(Speaker { id: edge.participant.clone(), is_meant });
    }

    pub(super) fn on_stopped(&mut self, id: &ParticipantId) {
        self.speakers.retain(|speaker| speaker.id != *id);
    }

    /// The model hears somebody begin.
    pub(super) fn on_heard(&mut self, utterance: &UtteranceId) {
        self.heard = Some(utterance.clone());
        if let Some(hold) = &mut self.hold {
            hold.heard = Some(utterance.clone());
        }
    }

    /// The model hears an end.
    pub(super) fn on_heard_end(&mut self, utterance: &UtteranceId) {
        self.heard.take_if(|heard| heard == utterance);
    }

    pub(super) fn speaks(&self, id: &ParticipantId) -> bool {
        self.speakers.iter().any(|speaker| speaker.id == *id)
    }

    pub(super) const fn somebody_speaks(&self) -> bool {
        !self.speakers.is_empty()
    }

    /// Whether somebody speaks, and has not just begun.
    pub(super) fn is_meant(&self) -> bool {
        self.speakers.iter().any(|speaker| speaker.is_meant)
    }

    pub(super) const fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Whether these are words of what the agent is held for.
    pub(super) fn is_held_for(&self, utterance: &UtteranceId) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.heard.as_ref() == Some(utterance))
    }

    /// Falls silent for now.
    pub(super) fn hold(&mut self, until: Instant, outputs: &mut Outputs) {
        if self.hold.is_none() {
            self.hold = Some(Hold { until, heard: self.heard.clone() });
            outputs.push_back(Output::Playback(PlaybackAction::Hold));
        }
    }

    /// Goes on if there is nobody left to wait for. Whether it does.
    pub(super) fn let_go(&mut self, outputs: &mut Outputs) -> bool {
        let is_over = self.is_held() && self.speakers.iter().all(|speaker| speaker.is_meant);
        if is_over {
            self.resume(outputs);
        }
        is_over
    }

    /// Goes on.
    pub(super) fn resume(&mut self, outputs: &mut Outputs) {
        if self.hold.take().is_some() {
            outputs.push_back(Output::Playback(PlaybackAction::Resume));
        }
    }

    /// What was held is dropped.
    pub(super) fn flush(&mut self, outputs: &mut Outputs) {
        self.hold = None;
        outputs.push_back(Output::Playback(PlaybackAction::Flush));
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.hold.as_ref().map(|hold| (hold.until, "somebody may be speaking"))
    }
}
