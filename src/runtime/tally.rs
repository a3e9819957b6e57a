//! What agents tell their clients, counted for operators.

use super::driver::Driver;
use crate::agent::{Notification, SpeakStatus, VoiceStatus};
use crate::meter::{Counter, FAMILIES, Meter};

impl Driver {
    /// Counts what is told.
    pub(super) fn tally(&self, told: &Notification) {
        if let Some(counter) = counter_of(told) {
            self.shell.meter.count(counter);
        }
    }

    /// Counts the call that an agent was in whose task has panicked.
    pub(super) fn count_crash(&self) {
        if !self.room_url.is_empty() {
            self.shell.meter.count(Counter::CallCrashed);
        }
    }
}

/// Counts a session with a model, for as long as there is one.
#[derive(Debug)]
pub(super) struct SessionTally {
    meter: Meter,
    is_there: bool,
}

impl SessionTally {
    pub(super) const fn new(meter: Meter) -> Self {
        Self { meter, is_there: false }
    }

    /// Whether there is one.
    pub(super) fn set(&mut self, is_there: bool) {
        match (self.is_there, is_there) {
            (false, true) => self.meter.count(Counter::ModelOpened),
            (true, false) => self.meter.count(Counter::ModelClosed),
            (true, true) | (false, false) => {}
        }
        self.is_there = is_there;
    }
}

impl Drop for SessionTally {
    fn drop(&mut self) {
        self.set(false);
    }
}

fn counter_of(told: &Notification) -> Option<Counter> {
    match told {
        Notification::RoomLeft { reason, .. } => Some(end_of(reason)),
        Notification::VoiceStatus { status: VoiceStatus::Error, reason } => {
            named("joins_failed", reason.as_deref()?)
        }
        Notification::SpeakStatus { status: SpeakStatus::Finished, .. } => {
            Some(Counter::AnswerFinished)
        }
        Notification::SpeakStatus { status: SpeakStatus::Interrupted, heard_ms, .. } => {
            (*heard_ms > 0).then_some(Counter::AnswerInterrupted)
        }
        Notification::Error { code, .. } | Notification::TranscriberFatalError { code, .. } => {
            named("model_errors", code)
        }
        Notification::SpeakStatus { status: SpeakStatus::Started, .. }
        | Notification::VoiceStatus {
            status: VoiceStatus::Joining | VoiceStatus::Joined | VoiceStatus::Left,
            ..
        }
        | Notification::Status(_)
        | Notification::State { .. }
        | Notification::ToolCall { .. }
        | Notification::CancelToolCall { .. }
        | Notification::RoomJoined { .. }
        | Notification::ParticipantJoined(_)
        | Notification::ParticipantLeft { .. }
        | Notification::RoomMessage { .. }
        | Notification::VadStart { .. }
        | Notification::VadEnd { .. }
        | Notification::Transcript { .. }
        | Notification::Speak { .. }
        | Notification::Handoff { .. } => None,
    }
}

/// Why a call has ended. What is no word of ours is what the room has said.
fn end_of(reason: &str) -> Counter {
    match reason {
        "MODEL_UNAVAILABLE" | "TRANSCRIBER_FATAL" => Counter::CallModel,
        "handed off" => Counter::CallHandedOff,
        other => named("calls_ended", other).unwrap_or(Counter::CallRoom),
    }
}

/// The counter of a family for this value of its label.
fn named(family: &str, value: &str) -> Option<Counter> {
    let family = FAMILIES.iter().find(|known| known.name == family)?;
    family.counters.iter().find(|(_, known)| *known == value).map(|(counter, _)| *counter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{ModelFailure, RoomFailure};
    use crate::ids::{CallId, UtteranceId};
    use crate::privacy::Pii;

    #[test]
    fn a_call_is_counted_by_why_it_ended() {
        for (reason, counter) in [
            ("requested", Counter::CallRequested),
            ("idle", Counter::CallIdle),
            ("alone", Counter::CallAlone),
            ("abandoned", Counter::CallAbandoned),
            ("handed off", Counter::CallHandedOff),
            ("shutdown", Counter::CallShutdown),
            (ModelFailure::Stalled.code(), Counter::CallModel),
            (&RoomFailure::Closed("it was full".into()).to_string(), Counter::CallRoom),
        ] {
            let (call, room_url) = (CallId::new("call_1"), "rooms/a".to_owned());
            let told = Notification::RoomLeft { call, room_url, reason: reason.to_owned() };
            assert_eq!(counter_of(&told), Some(counter), "{reason}");
        }
    }

    #[test]
    fn every_failure_of_a_room_is_counted_by_its_code() {
        for failure in [
            RoomFailure::Unsupported(String::new()),
            RoomFailure::NotFound,
            RoomFailure::Unauthorized,
            RoomFailure::Unreachable(String::new()),
            RoomFailure::Full,
            RoomFailure::Media(String::new()),
            RoomFailure::Closed(String::new()),
        ] {
            let reason = Some(failure.code().to_owned());
            let told = Notification::VoiceStatus { status: VoiceStatus::Error, reason };
            assert!(counter_of(&told).is_some(), "{failure:?}");
        }
    }

    #[test]
    fn an_answer_that_nobody_heard_is_not_one_that_was_cut_off() {
        let interrupted = |heard_ms| Notification::SpeakStatus {
            utterance: UtteranceId::new("s1"),
            status: SpeakStatus::Interrupted,
            heard_ms,
            text: Pii::new(String::new()),
        };
        assert_eq!(counter_of(&interrupted(20)), Some(Counter::AnswerInterrupted));
        assert_eq!(counter_of(&interrupted(0)), None);
    }

    #[test]
    fn a_session_is_closed_with_its_agent() {
        let meter = Meter::new();
        let mut tally = SessionTally::new(meter.clone());
        tally.set(true);
        tally.set(true);
        drop(tally);
        assert_eq!((meter.times(Counter::ModelOpened), meter.times(Counter::ModelClosed)), (1, 1));
    }
}
