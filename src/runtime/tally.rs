//! What agents tell their clients, counted for operators.

use std::time::Duration;

use super::driver::Driver;
use crate::agent::{Notification, Phase, RecordEntry, SpeakStatus, TurnRecord, VoiceStatus};
use crate::meter::{Counter, FAMILIES, Meter, Wait};

impl Driver {
    /// Counts what is told.
    pub(super) fn tally(&self, told: &Notification) {
        if let Some(counter) = counter_of(told) {
            self.shell.meter.count(counter);
        }
        if let Notification::State { to: Phase::Ended, reason, .. } = told
            && let Some(counter) = named("agents_ended", &reason.replace(' ', "_"))
        {
            self.shell.meter.count(counter);
        }
    }

    /// Counts what goes on record.
    pub(super) fn tally_entry(&self, entry: &RecordEntry) {
        if let RecordEntry::Tool(tool) = entry {
            if let Some(counter) = named("tool_calls", tool.outcome.as_str()) {
                self.shell.meter.count(counter);
            }
        } else if let RecordEntry::Turn(turn) = entry {
            observe(&self.shell.meter, turn);
        }
    }

    /// Counts the agent whose task has panicked, and the call that it was in.
    pub(super) fn count_crash(&self) {
        self.shell.meter.count(Counter::AgentCrashed);
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
        Notification::State { to, .. } => named("agent_transitions", to.as_str()),
        Notification::VadStart { .. } => Some(Counter::SpeechStarted),
        Notification::Error { code, .. } | Notification::TranscriberFatalError { code, .. } => {
            named("model_errors", code)
        }
        Notification::SpeakStatus { status: SpeakStatus::Started, .. }
        | Notification::VoiceStatus {
            status: VoiceStatus::Joining | VoiceStatus::Joined | VoiceStatus::Left,
            ..
        }
        | Notification::Status(_)
        | Notification::ToolCall { .. }
        | Notification::CancelToolCall { .. }
        | Notification::RoomJoined { .. }
        | Notification::ParticipantJoined(_)
        | Notification::ParticipantLeft { .. }
        | Notification::RoomMessage { .. }
        | Notification::VadEnd { .. }
        | Notification::Transcript { .. }
        | Notification::Speak { .. }
        | Notification::Handoff { .. } => None,
    }
}

/// What the caller has waited for, where somebody spoke and was answered.
fn observe(meter: &Meter, turn: &TurnRecord) {
    let Some(latency) = turn.latency() else { return };
    for (wait, ms) in [
        (Wait::Total, Some(latency.total_ms)),
        (Wait::EndOfTurn, latency.end_of_turn_ms),
        (Wait::Model, latency.model_ms),
    ] {
        if let Some(ms) = ms {
            meter.observe_wait(wait, Duration::from_millis(ms));
        }
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
    use crate::agent::{ModelFailure, RoomFailure, ToolOutcome};
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
    fn every_state_that_an_agent_comes_into_is_counted() {
        for (to, counter) in [
            (Phase::Created, Counter::ToCreated),
            (Phase::Connected, Counter::ToConnected),
            (Phase::Active, Counter::ToActive),
            (Phase::HandingOff, Counter::ToHandingOff),
            (Phase::Ended, Counter::ToEnded),
        ] {
            let told = Notification::State { from: Phase::Connected, to, reason: "deleted" };
            assert_eq!(counter_of(&told), Some(counter));
        }
    }

    #[test]
    fn every_outcome_of_a_tool_has_a_counter() {
        for outcome in [
            ToolOutcome::Completed,
            ToolOutcome::Failed,
            ToolOutcome::Timeout,
            ToolOutcome::Interrupted,
            ToolOutcome::Ended,
        ] {
            assert!(named("tool_calls", outcome.as_str()).is_some(), "{outcome:?}");
        }
    }

    #[test]
    fn a_turn_without_an_answer_is_nobodys_waiting() {
        let meter = Meter::new();
        let mut turn = TurnRecord { speech_end_ms: Some(100), ..TurnRecord::default() };
        observe(&meter, &turn);
        assert_eq!(meter.read_wait(Wait::Total).count(), 0);
        (turn.turn_end_ms, turn.first_audio_ms) = (Some(600), Some(900));
        observe(&meter, &turn);
        let sum_us = |wait| meter.read_wait(wait).sum_us;
        assert_eq!((sum_us(Wait::Total), sum_us(Wait::EndOfTurn)), (800_000, 500_000));
        assert_eq!(sum_us(Wait::Model), 300_000);
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
