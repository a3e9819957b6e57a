//! What stands around a message: a Socket.IO event, or a frame of a plain WebSocket.

use serde::Serialize;
use serde_json::{Map, Value};

/// A message as it came: the event that carried it, and what it carried.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::api) struct Carried {
    pub(in crate::api) event: String,
    pub(in crate::api) payload: Value,
}

/// Reads the text of a Socket.IO event, `["name", payload]`. A missing payload is null, and
/// whatever follows the first one is of no interest.
pub(in crate::api) fn read_event(text: &str) -> Result<Carried, String> {
    let values = serde_json::from_str::<Vec<Value>>(text);
    let mut values = values.map_err(|error| no_json(&error))?.into_iter();
    let Some(Value::String(event)) = values.next() else {
        return Err("an event must have a name".to_owned());
    };
    Ok(Carried { event, payload: values.next().unwrap_or_default() })
}

/// What a client calls its message, to know the acknowledgement by: a string or a number.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(in crate::api) struct AckName(Value);

/// Reads a frame of a plain WebSocket: a message, and the name that its acknowledgement shall
/// have, if one is wanted.
pub(in crate::api) fn read_frame(text: &str) -> Result<(Option<AckName>, Value), String> {
    let mut fields = serde_json::from_str::<Map<String, Value>>(text).map_err(|error| {
        let is_json = error.classify() == serde_json::error::Category::Data;
        if is_json { "a frame must be a JSON object".to_owned() } else { no_json(&error) }
    })?;
    let ack = match fields.remove("ack") {
        None | Some(Value::Null) => None,
        Some(name @ Value::Number(_)) => Some(AckName(name)),
        Some(Value::String(name)) if name.chars().count() <= ACK_NAME_MAX => {
            Some(AckName(Value::String(name)))
        }
        Some(_) => {
            let wanted = format!("a number, or a string of at most {ACK_NAME_MAX} characters");
            return Err(format!("ack must be {wanted}"));
        }
    };
    Ok((ack, Value::Object(fields)))
}

fn no_json(error: &serde_json::Error) -> String {
    format!("the message is no JSON: {error}")
}

/// Whether a message was taken.
#[derive(Debug, Serialize)]
pub(in crate::api) struct Ack<'a> {
    pub(in crate::api) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) message: Option<&'a str>,
}

/// An acknowledgement as a frame of a plain WebSocket.
#[derive(Debug, Serialize)]
pub(in crate::api) struct AckFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    ack: AckName,
    #[serde(flatten)]
    answer: &'a Ack<'a>,
}

impl<'a> AckFrame<'a> {
    pub(in crate::api) const fn new(ack: AckName, answer: &'a Ack<'a>) -> Self {
        Self { kind: "ack", ack, answer }
    }
}

/// Characters of a name for an acknowledgement.
const ACK_NAME_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_name_and_a_payload() {
        let read = |text| read_event(text).map(|carried| (carried.event, carried.payload));
        assert_eq!(read(r#"["a",{"b":1}]"#), Ok(("a".into(), json!({"b": 1}))));
        assert_eq!(read(r#"["a"]"#), Ok(("a".into(), Value::Null)));
        assert_eq!(read(r#"["a",1,2]"#), Ok(("a".into(), json!(1))));
        for text in ["[]", "[1]", "{}", "[\"a\"", ""] {
            assert!(read_event(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_frame_may_ask_to_be_acknowledged() {
        let read = |text| read_frame(text).expect("in order");
        assert_eq!(read(r#"{"type":"a"}"#), (None, json!({"type": "a"})));
        let (name, message) = read(r#"{"type":"a","ack":7}"#);
        assert_eq!(message, json!({"type": "a"}));
        let taken = Ack { ok: true, code: None, message: None };
        let told = serde_json::to_string(&AckFrame::new(name.expect("a name"), &taken));
        assert_eq!(told.expect("JSON"), r#"{"type":"ack","ack":7,"ok":true}"#);
        let (name, _) = read(r#"{"ack":"x"}"#);
        let refused = Ack { ok: false, code: Some("C"), message: Some("m") };
        let told = serde_json::to_value(AckFrame::new(name.expect("a name"), &refused));
        let expected = json!({"type": "ack", "ack": "x", "ok": false, "code": "C", "message": "m"});
        assert_eq!(told.expect("JSON"), expected);
    }

    #[test]
    fn what_is_no_frame_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no JSON"),
            ("{", "no JSON"),
            ("{} {}", "no JSON"),
            ("[]", "a JSON object"),
            ("7", "a JSON object"),
            (r#"{"ack":{}}"#, "a number, or a string"),
            (r#"{"ack":true}"#, "a number, or a string"),
        ] {
            let error = read_frame(text).expect_err("refused");
            assert!(error.contains(reason), "{text}: {error}");
        }
        let long = json!({ "ack": "x".repeat(ACK_NAME_MAX + 1) });
        assert!(read_frame(&long.to_string()).is_err());
    }
}
