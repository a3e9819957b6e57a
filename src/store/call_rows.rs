//! How an entry of a call's record lies in its row: as JSON, in a shape that old rows keep.

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::agent::{Line, Participant, RecordEntry, ToolOutcome, ToolRecord, TurnRecord};
use crate::ids::{AgentId, ParticipantId, ToolCallId};
use crate::privacy::Pii;

/// The entry as the text of its row.
pub(super) fn entry_to_text(entry: &RecordEntry) -> Result<String, StoreError> {
    serde_json::to_string(&EntryRow::from(entry.clone())).map_err(|error| unreadable(&error))
}

/// The entry from the text of its row.
pub(super) fn entry_from_text(text: &str) -> Result<RecordEntry, StoreError> {
    let row: EntryRow = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    Ok(row.into())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EntryRow {
    Began { room_url: String, participants: Vec<ParticipantRow> },
    Participant(ParticipantRow),
    Line { participant: Option<String>, text: String, at_ms: u64 },
    Turn(#[serde(with = "TurnRow")] TurnRecord),
    Tool(ToolRow),
    HandedOff { to: String, reason: String, at_ms: u64 },
    Ended { reason: String, at_ms: u64 },
}

#[derive(Serialize, Deserialize)]
struct ParticipantRow {
    id: String,
    name: String,
}

/// The same fields as in the core, which the compiler holds the two to.
#[derive(Serialize, Deserialize)]
#[serde(remote = "TurnRecord")]
struct TurnRow {
    #[serde(with = "participant")]
    participant: Option<ParticipantId>,
    speech_start_ms: Option<u64>,
    speech_end_ms: Option<u64>,
    turn_end_ms: Option<u64>,
    #[serde(default)]
    turn_end_is_ours: bool,
    transcript_ms: Option<u64>,
    answer_ms: Option<u64>,
    first_audio_ms: Option<u64>,
    last_audio_ms: Option<u64>,
    heard_ms: u64,
    interrupted: bool,
    #[serde(default)]
    uplink_us: Option<u64>,
    #[serde(default)]
    downlink_us: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct ToolRow {
    id: String,
    name: String,
    arguments_json: String,
    #[serde(with = "OutcomeRow")]
    outcome: ToolOutcome,
    output: String,
    asked_ms: u64,
    took_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ToolOutcome", rename_all = "snake_case")]
enum OutcomeRow {
    Completed,
    Failed,
    Timeout,
    Interrupted,
    Ended,
}

/// Somebody's id, or nobody's, within a mirrored struct.
mod participant {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::ids::ParticipantId;

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(
        id: &Option<ParticipantId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        id.as_ref().map(ParticipantId::as_str).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ParticipantId>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(ParticipantId::new))
    }
}

impl From<RecordEntry> for EntryRow {
    fn from(entry: RecordEntry) -> Self {
        match entry {
            RecordEntry::Began { room_url, participants } => {
                let participants = participants.into_iter().map(ParticipantRow::from).collect();
                Self::Began { room_url, participants }
            }
            RecordEntry::Participant(participant) => Self::Participant(participant.into()),
            RecordEntry::Line(Line { participant, text, at_ms }) => Self::Line {
                participant: participant.map(|id| id.to_string()),
                text: text.expose().clone(),
                at_ms,
            },
            RecordEntry::Turn(turn) => Self::Turn(turn),
            RecordEntry::Tool(tool) => Self::Tool(tool.into()),
            RecordEntry::HandedOff { to, reason, at_ms } => {
                Self::HandedOff { to: to.to_string(), reason, at_ms }
            }
            RecordEntry::Ended { reason, at_ms } => Self::Ended { reason, at_ms },
        }
    }
}

impl From<EntryRow> for RecordEntry {
    fn from(row: EntryRow) -> Self {
        match row {
            EntryRow::Began { room_url, participants } => {
                let participants = participants.into_iter().map(Participant::from).collect();
                Self::Began { room_url, participants }
            }
            EntryRow::Participant(participant) => Self::Participant(participant.into()),
            EntryRow::Line { participant, text, at_ms } => Self::Line(Line {
                participant: participant.map(ParticipantId::new),
                text: Pii::new(text),
                at_ms,
            }),
            EntryRow::Turn(turn) => Self::Turn(turn),
            EntryRow::Tool(tool) => Self::Tool(tool.into()),
            EntryRow::HandedOff { to, reason, at_ms } => {
                Self::HandedOff { to: AgentId::new(to), reason, at_ms }
            }
            EntryRow::Ended { reason, at_ms } => Self::Ended { reason, at_ms },
        }
    }
}

impl From<Participant> for ParticipantRow {
    fn from(Participant { id, name }: Participant) -> Self {
        Self { id: id.to_string(), name }
    }
}

impl From<ParticipantRow> for Participant {
    fn from(ParticipantRow { id, name }: ParticipantRow) -> Self {
        Self { id: ParticipantId::new(id), name }
    }
}

impl From<ToolRecord> for ToolRow {
    fn from(tool: ToolRecord) -> Self {
        let ToolRecord { id, name, arguments_json, outcome, output, asked_ms, took_ms } = tool;
        let (arguments_json, output) = (arguments_json.expose().clone(), output.expose().clone());
        Self { id: id.to_string(), name, arguments_json, outcome, output, asked_ms, took_ms }
    }
}

impl From<ToolRow> for ToolRecord {
    fn from(row: ToolRow) -> Self {
        let ToolRow { id, name, arguments_json, outcome, output, asked_ms, took_ms } = row;
        let (arguments_json, output) = (Pii::new(arguments_json), Pii::new(output));
        Self { id: ToolCallId::new(id), name, arguments_json, outcome, output, asked_ms, took_ms }
    }
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    // The text may quote what was said, and an error of ours is logged: only its place is told.
    let reason = format!("at line {}, column {}", error.line(), error.column());
    StoreError::Corrupt { what: "call entry", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_comes_back_as_it_went() {
        let participant = Participant { id: ParticipantId::new("p_1"), name: "Ann".into() };
        let entries = [
            RecordEntry::Began {
                room_url: "rooms/kitchen".into(),
                participants: vec![participant.clone()],
            },
            RecordEntry::Participant(participant.clone()),
            line(Some(participant.id.clone())),
            line(None),
            RecordEntry::Turn(TurnRecord {
                participant: Some(participant.id),
                speech_start_ms: Some(1),
                heard_ms: u64::MAX,
                interrupted: true,
                turn_end_is_ours: true,
                uplink_us: Some(310),
                ..TurnRecord::default()
            }),
            RecordEntry::Turn(TurnRecord::default()),
            RecordEntry::Tool(ToolRecord {
                id: ToolCallId::new("tc_1"),
                name: "look_up".into(),
                arguments_json: Pii::new(r#"{"word":"heron"}"#.into()),
                outcome: ToolOutcome::Interrupted,
                output: Pii::new("a bird".into()),
                asked_ms: 5,
                took_ms: 7,
            }),
            RecordEntry::HandedOff { to: AgentId::new("ag_2"), reason: "tired".into(), at_ms: 8 },
            RecordEntry::Ended { reason: "left".into(), at_ms: 9 },
        ];
        for entry in entries {
            let text = entry_to_text(&entry).expect("written");
            assert_eq!(entry_from_text(&text).expect("read"), entry, "{text}");
        }
    }

    #[test]
    fn an_outcome_lies_in_its_row_as_clients_see_it() {
        let outcomes = [
            ToolOutcome::Completed,
            ToolOutcome::Failed,
            ToolOutcome::Timeout,
            ToolOutcome::Interrupted,
            ToolOutcome::Ended,
        ];
        for outcome in outcomes {
            let text = serde_json::to_string(&ToolRow {
                id: String::new(),
                name: String::new(),
                arguments_json: String::new(),
                outcome,
                output: String::new(),
                asked_ms: 0,
                took_ms: 0,
            });
            let word = format!(r#""outcome":"{}""#, outcome.as_str());
            assert!(text.expect("written").contains(&word), "{outcome:?}");
        }
    }

    #[test]
    fn a_turn_of_an_older_program_is_read() {
        let text = r#"{"turn":{"participant":null,"speech_start_ms":null,"speech_end_ms":5,
            "turn_end_ms":null,"transcript_ms":null,"answer_ms":null,"first_audio_ms":null,
            "last_audio_ms":null,"heard_ms":0,"interrupted":false}}"#;
        let turn = TurnRecord { speech_end_ms: Some(5), ..TurnRecord::default() };
        assert_eq!(entry_from_text(text).expect("read"), RecordEntry::Turn(turn));
    }

    #[test]
    fn a_broken_row_says_so_and_does_not_quote_it() {
        let error = entry_from_text(r#"{"line":"heron"}"#).expect_err("no entry").to_string();
        assert!(error.contains("call entry") && !error.contains("heron"), "{error}");
    }

    fn line(participant: Option<ParticipantId>) -> RecordEntry {
        RecordEntry::Line(Line { participant, text: Pii::new("good morning".into()), at_ms: 2 })
    }
}
