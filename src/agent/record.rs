//! What goes on record of a call, as it happens: its words, its turns, its tools, its end.

use std::fmt;

use super::event::Participant;
use super::transcript::Line;
use crate::ids::{AgentId, ParticipantId, ToolCallId};
use crate::privacy::Pii;

/// One entry of a call's record. Times are in milliseconds of the call.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordEntry {
    /// The agent is in the room: the record begins.
    Began {
        /// Where.
        room_url: String,
        /// Who was there before.
        participants: Vec<Participant>,
    },
    /// Someone came in.
    Participant(Participant),
    /// Something was said; of the agent, only what was heard.
    Line(Line),
    /// A turn is over.
    Turn(TurnRecord),
    /// A tool call is resolved.
    Tool(ToolRecord),
    /// Another agent has taken the call over; its entries follow.
    HandedOff {
        /// Who goes on.
        to: AgentId,
        /// Why.
        reason: String,
        /// When.
        at_ms: u64,
    },
    /// The call is over: the record ends.
    Ended {
        /// Why.
        reason: String,
        /// When.
        at_ms: u64,
    },
}

/// How one turn went: somebody spoke, the agent answered, or one of the two did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnRecord {
    /// Who spoke; `None` where the agent spoke unasked.
    pub participant: Option<ParticipantId>,
    /// Their speech began, by our ear.
    pub speech_start_ms: Option<u64>,
    /// Their speech ended, by our ear.
    pub speech_end_ms: Option<u64>,
    /// The turn was taken as over.
    pub turn_end_ms: Option<u64>,
    /// Whether that was our decision, and not the model's.
    pub turn_end_is_ours: bool,
    /// Their final words were known.
    pub transcript_ms: Option<u64>,
    /// The model began to answer.
    pub answer_ms: Option<u64>,
    /// The first sound of the answer left.
    pub first_audio_ms: Option<u64>,
    /// The last sound of the answer left.
    pub last_audio_ms: Option<u64>,
    /// How much of the answer was heard, in milliseconds of sound.
    pub heard_ms: u64,
    /// Whether the answer was cut off.
    pub interrupted: bool,
    /// How long we had the last sound of the turn before the model's socket had it, in
    /// microseconds; told by the shell, which alone knows.
    pub uplink_us: Option<u64>,
    /// How long we had the first sound of the answer before it left, in microseconds; told by the
    /// shell.
    pub downlink_us: Option<u64>,
}

impl TurnRecord {
    /// From the end of speech to the first sound of the answer: what the caller waited.
    #[must_use]
    pub fn latency_ms(&self) -> Option<u64> {
        Some(self.first_audio_ms?.saturating_sub(self.speech_end_ms?))
    }

    /// What the caller has waited for, where somebody spoke and was answered.
    #[must_use]
    pub fn latency(&self) -> Option<TurnLatency> {
        let total_ms = self.latency_ms()?;
        // The model may take a turn as over before our own ear does.
        let end_of_turn_ms =
            self.turn_end_ms.map(|at| at.saturating_sub(self.speech_end_ms.unwrap_or(at)));
        let end_of_turn_ms = end_of_turn_ms.map(|ms| ms.min(total_ms));
        let ours_ms = self.downlink_us.unwrap_or_default().div_ceil(1_000);
        let after_turn_ms = end_of_turn_ms.map(|ms| total_ms - ms);
        Some(TurnLatency {
            total_ms,
            end_of_turn_ms,
            model_ms: after_turn_ms.map(|ms| ms.saturating_sub(ours_ms)),
            uplink_us: self.uplink_us,
            downlink_us: self.downlink_us,
        })
    }
}

/// What a caller has waited for, from the end of speech to the first sound of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnLatency {
    /// All of it.
    pub total_ms: u64,
    /// Until the turn was taken as over.
    pub end_of_turn_ms: Option<u64>,
    /// From then on until the model's first sound was here.
    pub model_ms: Option<u64>,
    /// How long we had the last sound of the turn: within the end of the turn.
    pub uplink_us: Option<u64>,
    /// How long we had the first sound of the answer.
    pub downlink_us: Option<u64>,
}

impl fmt::Display for TurnLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} ms", self.total_ms)?;
        let parts = [
            ("end of turn", self.end_of_turn_ms.map(|ms| ms.saturating_mul(1_000))),
            ("model", self.model_ms.map(|ms| ms.saturating_mul(1_000))),
            ("way in", self.uplink_us),
            ("way out", self.downlink_us),
        ];
        let known = parts.into_iter().filter_map(|(name, us)| Some((name, us?)));
        for (place, (name, us)) in known.enumerate() {
            let comma = if place == 0 { ":" } else { "," };
            match (us / 1_000, us % 1_000 / 100) {
                (ms, 0) => write!(f, "{comma} {ms} {name}")?,
                (ms, tenth) => write!(f, "{comma} {ms}.{tenth} {name}")?,
            }
        }
        Ok(())
    }
}

/// How one tool call went.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRecord {
    /// The call.
    pub id: ToolCallId,
    /// The tool.
    pub name: String,
    /// A JSON object, as text.
    pub arguments_json: Pii<String>,
    /// How it ended.
    pub outcome: ToolOutcome,
    /// What the model was told: JSON or plain text.
    pub output: Pii<String>,
    /// When the model asked for it.
    pub asked_ms: u64,
    /// How long it took.
    pub took_ms: u64,
}

/// How a tool call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolOutcome {
    /// A client gave a result.
    Completed,
    /// A client said that it failed, or that it was canceled.
    Failed,
    /// Nobody answered in time.
    Timeout,
    /// A client interrupted the agent.
    Interrupted,
    /// The call, or the agent, ended first.
    Ended,
}

impl ToolOutcome {
    /// The outcome as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_has_waited_for_adds_up() {
        let turn = TurnRecord {
            speech_end_ms: Some(1_000),
            turn_end_ms: Some(1_500),
            first_audio_ms: Some(1_742),
            uplink_us: Some(310),
            downlink_us: Some(1_250),
            ..TurnRecord::default()
        };
        let latency = turn.latency().expect("an answer");
        assert_eq!((latency.total_ms, latency.end_of_turn_ms), (742, Some(500)));
        assert_eq!(latency.model_ms, Some(240));
        let told = "of 742 ms: 500 end of turn, 240 model, 0.3 way in, 1.2 way out";
        assert_eq!(latency.to_string(), told);
    }

    #[test]
    fn what_is_not_known_of_a_turn_is_left_out() {
        let mut turn = TurnRecord { first_audio_ms: Some(900), ..TurnRecord::default() };
        assert_eq!(turn.latency(), None, "nobody spoke");
        turn.speech_end_ms = Some(700);
        let latency = turn.latency().expect("an answer");
        assert_eq!((latency.end_of_turn_ms, latency.model_ms), (None, None));
        assert_eq!(latency.to_string(), "of 200 ms");
        turn.turn_end_ms = Some(600);
        let latency = turn.latency().expect("an answer");
        assert_eq!((latency.end_of_turn_ms, latency.model_ms), (Some(0), Some(200)));
    }
}
