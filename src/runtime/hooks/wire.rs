//! What is delivered, as JSON.

use serde::Serialize;

use super::calls::CallTally;
use super::news::{WebhookEvent, Whose};
use crate::ids::CallId;

/// The body of a delivery: the event, when it happened, and what there is to say of it.
pub(super) fn body(event: WebhookEvent, at_ms: u64, data: &Data<'_>) -> String {
    let envelope = Envelope { event: event.as_str(), created_at: timestamp(at_ms), data };
    // It holds texts and numbers only, which always have a JSON form.
    serde_json::to_string(&envelope).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    event: &'static str,
    created_at: String,
    data: &'a Data<'a>,
}

/// What there is to say of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data<'a> {
    agent_id: &'a str,
    agent_name: &'a str,
    user_id: Option<&'a str>,
    #[serde(flatten)]
    more: More<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum More<'a> {
    Started(Call<'a>),
    Ended(Ended<'a>),
    AgentEnded(Reason<'a>),
    Failed(Failed<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    call_id: &'a str,
    room_url: &'a str,
    started_at: String,
    participants: Vec<Person<'a>>,
}

#[derive(Serialize)]
struct Person<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended<'a> {
    #[serde(flatten)]
    call: Call<'a>,
    ended_at: String,
    duration_ms: u64,
    reason: &'a str,
    turns: u64,
    latency: Latency,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Latency {
    median_ms: Option<u64>,
    median_end_of_turn_ms: Option<u64>,
    median_model_ms: Option<u64>,
}

#[derive(Serialize)]
struct Reason<'a> {
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    call_id: Option<&'a str>,
    code: &'a str,
}

impl<'a> Data<'a> {
    pub(super) fn started(tally: &'a CallTally) -> Self {
        Self::of(&tally.whose, More::Started(Call::of(tally)))
    }

    pub(super) fn ended(tally: &'a CallTally, ended_at_ms: u64, reason: &'a str) -> Self {
        let medians = tally.medians();
        let ended = Ended {
            call: Call::of(tally),
            ended_at: timestamp(ended_at_ms),
            duration_ms: ended_at_ms.saturating_sub(tally.started_at_ms),
            reason,
            turns: tally.turns,
            latency: Latency {
                median_ms: medians.total_ms,
                median_end_of_turn_ms: medians.end_of_turn_ms,
                median_model_ms: medians.model_ms,
            },
        };
        Self::of(&tally.whose, More::Ended(ended))
    }

    pub(super) fn agent_ended(whose: &'a Whose, reason: &'a str) -> Self {
        Self::of(whose, More::AgentEnded(Reason { reason }))
    }

    pub(super) fn failed(whose: &'a Whose, call: Option<&'a CallId>, code: &'a str) -> Self {
        Self::of(whose, More::Failed(Failed { call_id: call.map(CallId::as_str), code }))
    }

    fn of(whose: &'a Whose, more: More<'a>) -> Self {
        Self {
            agent_id: whose.agent.as_str(),
            agent_name: &whose.agent_name,
            user_id: whose.user_id.as_deref(),
            more,
        }
    }
}

impl<'a> Call<'a> {
    fn of(tally: &'a CallTally) -> Self {
        let people = tally.participants.iter();
        Self {
            call_id: tally.call.as_str(),
            room_url: &tally.room_url,
            started_at: timestamp(tally.started_at_ms),
            participants: people
                .map(|one| Person { id: one.id.as_str(), name: &one.name })
                .collect(),
        }
    }
}

/// A time as all clients see it.
fn timestamp(unix_ms: u64) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::agent::{Participant, TurnLatency};
    use crate::ids::{AgentId, ParticipantId, UserId};

    #[test]
    fn the_end_of_a_call_says_how_it_went() {
        let mut tally = tally();
        tally.join(Participant { id: ParticipantId::new("p_1"), name: "Ann".into() });
        tally.turn(Some(TurnLatency {
            total_ms: 742,
            end_of_turn_ms: Some(500),
            model_ms: Some(240),
            uplink_us: None,
            downlink_us: None,
        }));
        let data = Data::ended(&tally, 1_767_225_607_000, "requested");
        let told = body(WebhookEvent::CallEnded, 1_767_225_607_000, &data);
        assert_eq!(
            read(&told),
            json!({
                "event": "call.ended",
                "createdAt": "2026-01-01T00:00:07.000Z",
                "data": {
                    "agentId": "ag_1", "agentName": "Ida", "userId": "u1",
                    "callId": "call_1", "roomUrl": "rooms/hall",
                    "startedAt": "2026-01-01T00:00:00.000Z", "endedAt": "2026-01-01T00:00:07.000Z",
                    "durationMs": 7_000, "reason": "requested",
                    "participants": [{"id": "p_1", "name": "Ann"}], "turns": 1,
                    "latency": {
                        "medianMs": 742, "medianEndOfTurnMs": 500, "medianModelMs": 240,
                    },
                },
            })
        );
    }

    #[test]
    fn the_other_events_say_what_they_are_of() {
        let tally = tally();
        let told = body(WebhookEvent::CallStarted, 1, &Data::started(&tally));
        assert_eq!(read(&told)["data"]["callId"], "call_1");
        let ended = Data::agent_ended(&tally.whose, "expired");
        let told = body(WebhookEvent::AgentEnded, 1, &ended);
        assert_eq!(
            read(&told)["data"],
            json!({
                "agentId": "ag_1", "agentName": "Ida", "userId": "u1", "reason": "expired",
            })
        );
        let failed = Data::failed(&tally.whose, Some(&tally.call), "TRANSCRIBER_FATAL");
        let told = body(WebhookEvent::TranscriberFailed, 1, &failed);
        assert_eq!(read(&told)["data"]["code"], "TRANSCRIBER_FATAL");
        assert_eq!(read(&told)["data"]["callId"], "call_1");
    }

    fn tally() -> CallTally {
        let whose = Whose {
            owner: UserId::new("usr_1"),
            agent: AgentId::new("ag_1"),
            agent_name: "Ida".into(),
            user_id: Some("u1".into()),
        };
        CallTally::new(CallId::new("call_1"), whose, "rooms/hall".into(), 1_767_225_600_000)
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }
}
