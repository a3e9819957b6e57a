//! Items of a conversation, and the responses that make them.

#![expect(missing_docs, reason = "the names are the protocol's own, documented by its vendor")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::{misfit_is_default, null_is_default};
use super::server::ErrorBody;
use super::session::{Field, SessionAudio, Tool};

/// One item of a conversation. Which fields are set depends on its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(rename = "type")]
    pub kind: ItemKind,
    /// `completed`, `incomplete` or `in_progress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Of messages: `system`, `user` or `assistant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Option::is_none")]
    pub content: Option<Vec<Content>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A JSON object, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl Item {
    /// A message of text, as a client may add it: `role` is `system` or `user`.
    #[must_use]
    pub fn input_text(role: &str, text: &str) -> Self {
        Self {
            kind: ItemKind::Message,
            role: Some(role.to_owned()),
            content: Some(vec![Content::text("input_text", text)]),
            ..Self::default()
        }
    }

    /// A message of text that the model itself has written, as a client may tell it again.
    #[must_use]
    pub fn output_text(text: &str) -> Self {
        Self {
            kind: ItemKind::Message,
            role: Some("assistant".to_owned()),
            content: Some(vec![Content::text("output_text", text)]),
            ..Self::default()
        }
    }

    /// An image that the user shows: `url` is a `data:` URL of a PNG or JPEG.
    #[must_use]
    pub fn input_image(url: &str) -> Self {
        let image = Content {
            kind: "input_image".to_owned(),
            image_url: Some(url.to_owned()),
            ..Content::default()
        };
        Self {
            kind: ItemKind::Message,
            role: Some("user".to_owned()),
            content: Some(vec![image]),
            ..Self::default()
        }
    }

    /// What came of a tool call.
    #[must_use]
    pub fn function_call_output(call_id: &str, output: &str) -> Self {
        Self {
            kind: ItemKind::FunctionCallOutput,
            call_id: Some(call_id.to_owned()),
            output: Some(output.to_owned()),
            ..Self::default()
        }
    }
}

/// The kinds of item we deal with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    #[default]
    Message,
    FunctionCall,
    FunctionCallOutput,
    /// One we do not deal with.
    #[serde(other)]
    Other,
}

/// A part of a message: `input_text`, `input_audio`, `input_image`, `output_text`,
/// `output_audio`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
}

impl Content {
    /// A part of plain text.
    #[must_use]
    pub fn text(kind: &str, text: &str) -> Self {
        Self { kind: kind.to_owned(), text: Some(text.to_owned()), ..Self::default() }
    }

    /// A part of sound, told by its words alone.
    #[must_use]
    pub fn transcript(kind: &str, transcript: &str) -> Self {
        Self { kind: kind.to_owned(), transcript: Some(transcript.to_owned()), ..Self::default() }
    }
}

/// An answer of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Response {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    pub status: ResponseStatus,
    #[serde(deserialize_with = "misfit_is_default")]
    pub status_details: Option<StatusDetails>,
    #[serde(deserialize_with = "misfit_is_default")]
    pub output: Vec<Item>,
    #[serde(skip_serializing_if = "Field::is_absent")]
    pub usage: Field<Value>,
    #[serde(deserialize_with = "misfit_is_default")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// `null` for a response beside the conversation (out of band).
    #[serde(skip_serializing_if = "Field::is_absent")]
    pub conversation_id: Field<String>,
    #[serde(alias = "modalities", skip_serializing_if = "Option::is_none")]
    pub output_modalities: Option<Vec<String>>,
    #[serde(deserialize_with = "misfit_is_default", skip_serializing_if = "Option::is_none")]
    pub audio: Option<SessionAudio>,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    #[default]
    InProgress,
    Completed,
    Cancelled,
    Failed,
    Incomplete,
    /// One we do not know.
    #[serde(other)]
    Other,
}

/// Why an answer ended as it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusDetails {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `turn_detected`, `client_cancelled`, `max_output_tokens` or `content_filter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// What `response.create` may ask for. What is not set is not written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResponseParams {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_modalities: Option<Vec<String>>,
    /// In place of the session's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<SessionAudio>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<Value>,
    /// `auto`, or `none` for a response beside the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Vec<Item>>,
}
