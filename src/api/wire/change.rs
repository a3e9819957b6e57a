//! What a client sends to change an agent, or to let another one go on in its place.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::agent::{
    AGENT_TYPE, METADATA_BYTES_MAX, Metadata, NAME_MAX, NewAgentBody, TTL_SECONDS_MAX,
    raw_metadata, read_metadata,
};
use super::fields::{BadBody, Fields, Mistake, read_body};

/// A wish to change an agent, found to be in order; `None` leaves a field as it is.
#[derive(Debug, Default, PartialEq)]
#[expect(clippy::option_option, reason = "null is a value here, and not the absence of one")]
pub(in crate::api) struct AgentChangeBody {
    pub(in crate::api) name: Option<String>,
    /// What we understand of `metadata`, and all of it to the byte.
    pub(in crate::api) metadata: Option<(Metadata, String)>,
    /// Inside, `None` is for ever.
    pub(in crate::api) ttl_seconds: Option<Option<u64>>,
    /// Inside, `None` is nobody.
    pub(in crate::api) user_id: Option<Option<String>>,
}

/// A wish to hand an agent off, found to be in order.
#[derive(Debug, PartialEq)]
pub(in crate::api) struct HandOffBody {
    pub(in crate::api) to: SuccessorBody,
    /// What the successor should know besides: plain text, or JSON.
    pub(in crate::api) context: Option<String>,
    pub(in crate::api) reason: String,
}

/// Who goes on.
#[derive(Debug, PartialEq)]
pub(in crate::api) enum SuccessorBody {
    /// An agent that is there, by its id.
    Known(String),
    /// One to be made.
    New(Box<NewAgentBody>),
}

impl AgentChangeBody {
    /// Reads the body of `PATCH` or `PUT /api/agents/:id`; tells all its mistakes at once.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        read_body(bytes, |fields| {
            let has = |field| fields.get_or_null(field).is_some();
            let [name, metadata, agent_type, ttl_seconds, user_id] =
                ["name", "metadata", "agentType", "ttlSeconds", "userId"].map(has);
            if agent_type && fields.whole()["agentType"] != AGENT_TYPE {
                fields.mistake("agentType", format!("can never change; it is {AGENT_TYPE}"));
            }
            Self {
                name: name.then(|| fields.required_text("name", 1..=NAME_MAX)),
                ttl_seconds: ttl_seconds.then(|| fields.number("ttlSeconds", 1..=TTL_SECONDS_MAX)),
                user_id: user_id.then(|| fields.text("userId", 1..=NAME_MAX)),
                metadata: metadata.then(|| {
                    let json = raw_metadata(bytes);
                    (read_metadata(fields, &json), json)
                }),
            }
        })
    }
}

impl HandOffBody {
    /// Reads the body of `POST /api/agents/:id/handoff`; tells all its mistakes at once.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        read_body(bytes, |fields| Self {
            to: read_successor(fields, bytes),
            context: read_context(fields),
            reason: fields.text("reason", 1..=REASON_MAX).unwrap_or_else(|| REASON.to_owned()),
        })
    }
}

fn read_successor(fields: &mut Fields<'_>, bytes: &[u8]) -> SuccessorBody {
    match fields.get("to") {
        Some(Value::Object(spec)) => {
            let raw: RawHandOff<'_> = serde_json::from_slice(bytes).unwrap_or_default();
            let text = raw.to.map_or("", RawValue::get);
            let parsed = NewAgentBody::parse(text.as_bytes());
            if spec.get("userId").is_some_and(|user| !user.is_null()) {
                fields.mistake("to.userId", "must be left out: the user goes with the agent");
            }
            match parsed {
                Ok(body) => return SuccessorBody::New(Box::new(body)),
                Err(BadBody::NotJson(reason)) => fields.mistake("to", reason),
                Err(BadBody::Mistakes(mistakes)) => {
                    for Mistake { path, message } in mistakes {
                        fields.mistake(&format!("to.{path}"), message);
                    }
                }
            }
        }
        Some(Value::String(id)) if !id.is_empty() => return SuccessorBody::Known(id.clone()),
        Some(_) => fields.mistake("to", "must be an agent's id, or an object to make one from"),
        None => fields.mistake("to", "is required"),
    }
    SuccessorBody::Known(String::new())
}

fn read_context(fields: &mut Fields<'_>) -> Option<String> {
    let text = match fields.get("context")? {
        Value::String(text) => text.clone(),
        value @ Value::Object(_) => value.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            fields.mistake("context", "must be a string or an object");
            return None;
        }
    };
    if text.len() > METADATA_BYTES_MAX {
        fields.mistake("context", format!("must not be larger than {METADATA_BYTES_MAX} bytes"));
    }
    Some(text)
}

#[derive(Default, Deserialize)]
struct RawHandOff<'a> {
    #[serde(borrow)]
    to: Option<&'a RawValue>,
}

/// Why, where nobody says it.
const REASON: &str = "handoff";
const REASON_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_there_stays_as_it_is() {
        assert_eq!(change(&json!({"unknown": 1})), Ok(AgentChangeBody::default()));
        let read = change(&json!({"agentType": "HUMA-0.1", "name": "Bo"})).expect("in order");
        assert_eq!(read.name.as_deref(), Some("Bo"));
        assert_eq!(read.metadata, None);
    }

    #[test]
    fn null_takes_away_what_may_be_missing() {
        let read = change(&json!({"ttlSeconds": null, "userId": null})).expect("in order");
        assert_eq!((read.ttl_seconds, read.user_id), (Some(None), Some(None)));
        let read = change(&json!({"ttlSeconds": 5, "userId": "u"})).expect("in order");
        assert_eq!((read.ttl_seconds, read.user_id), (Some(Some(5)), Some(Some("u".into()))));
        assert_eq!(paths(change(&json!({"name": null, "metadata": null}))), ["name", "metadata"]);
    }

    #[test]
    fn metadata_is_replaced_whole_and_kept_to_the_byte() {
        let read = AgentChangeBody::parse(br#"{"metadata":{ "personality": "calm" }}"#);
        let (metadata, json) = read.expect("in order").metadata.expect("given");
        assert_eq!((metadata.personality.as_str(), metadata.instructions.as_str()), ("calm", ""));
        assert_eq!(json, r#"{ "personality": "calm" }"#);
    }

    #[test]
    fn mistakes_of_a_change_are_those_of_a_making() {
        let body = json!({
            "agentType": "HUMA-1", "name": "", "ttlSeconds": 1.5, "userId": 5,
            "metadata": {"tools": [{"name": "a b"}]},
        });
        assert_eq!(
            paths(change(&body)),
            ["agentType", "name", "ttlSeconds", "userId", "metadata.tools[0].name"]
        );
        assert_eq!(paths(change(&json!({"agentType": null}))), ["agentType"]);
        assert_eq!(paths(change(&json!([]))), [""]);
    }

    #[test]
    fn a_successor_is_an_id_or_an_agent_to_be_made() {
        let known = hand_off(&json!({"to": "ag_1", "reason": "night"})).expect("in order");
        assert_eq!(known.to, SuccessorBody::Known("ag_1".into()));
        assert_eq!((known.reason.as_str(), known.context), ("night", None));
        let spec = json!({"name": "Bo", "agentType": "HUMA-0.1", "metadata": {}});
        let new = hand_off(&json!({"to": spec, "context": {"a": 1}})).expect("in order");
        let SuccessorBody::New(body) = new.to else { panic!("it is to be made") };
        assert_eq!(body.name, "Bo");
        assert_eq!((new.reason.as_str(), new.context.as_deref()), ("handoff", Some(r#"{"a":1}"#)));
    }

    #[test]
    fn mistakes_of_a_handoff_have_their_places() {
        assert_eq!(paths(hand_off(&json!({}))), ["to"]);
        assert_eq!(paths(hand_off(&json!({"to": ""}))), ["to"]);
        let body = json!({"to": 5, "context": [], "reason": "x".repeat(201)});
        assert_eq!(paths(hand_off(&body)), ["to", "context", "reason"]);
        let spec = json!({"agentType": "HUMA-0.1", "metadata": {}, "userId": "u"});
        assert_eq!(paths(hand_off(&json!({"to": spec}))), ["to.userId", "to.name"]);
    }

    fn change(body: &Value) -> Result<AgentChangeBody, BadBody> {
        AgentChangeBody::parse(body.to_string().as_bytes())
    }

    fn hand_off(body: &Value) -> Result<HandOffBody, BadBody> {
        HandOffBody::parse(body.to_string().as_bytes())
    }

    fn paths<T: std::fmt::Debug>(read: Result<T, BadBody>) -> Vec<String> {
        match read {
            Err(BadBody::Mistakes(mistakes)) => mistakes.into_iter().map(|m| m.path).collect(),
            other => panic!("mistakes were expected: {other:?}"),
        }
    }
}
