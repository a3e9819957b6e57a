//! How a server's events look that differs from the one that the others imitate.

use base64_simd::STANDARD;
use serde_json::{Value, json};

/// How a server differs from the one that the others imitate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It does not.
    #[default]
    Usual,
    /// It names its events as the first version of the protocol did.
    Beta,
    /// It tells of a conversation before it tells of a session.
    ConversationFirst,
    /// It says nothing until it is told what the session is to be.
    SilentFirst,
}

/// An event as this kind of server sends it, if it sends it at all.
pub(super) fn dressed(text: String, manner: Manner) -> Option<String> {
    if manner != Manner::Beta {
        return Some(text);
    }
    let mut event: Value = serde_json::from_str(&text).ok()?;
    let kind = match event["type"].as_str()? {
        "conversation.item.done" => return None,
        "conversation.item.added" => "conversation.item.created".to_owned(),
        kind => kind.replace(".output_audio", ".audio").replace(".output_text", ".text"),
    };
    event["type"] = json!(kind);
    Some(event.to_string())
}

/// What the server says first, before it tells of a session.
pub(super) fn prelude(manner: Manner) -> Option<Value> {
    let conversation = json!({"id": "conv_1", "object": "realtime.conversation"});
    let created = json!({"type": "conversation.created", "conversation": conversation});
    (manner == Manner::ConversationFirst).then_some(created)
}

/// An event of the script: a number in its `delta` stands for so many bytes of the voice.
pub(super) fn raw(text: &str, voice: &[i16]) -> String {
    let mut event: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(count) = event["delta"].as_u64() else { return text.to_owned() };
    let count = usize::try_from(count).unwrap_or_default();
    let bytes = voice.iter().cycle().flat_map(|sample| sample.to_le_bytes());
    let bytes: Vec<u8> = bytes.take(count).collect();
    event["delta"] = json!(STANDARD.encode_to_string(bytes));
    event.to_string()
}
