//! What a client sends: all eleven events.

#![expect(missing_docs, reason = "the names are the protocol's own, documented by its vendor")]

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::event::{Empty, ItemRef, events};
use super::item::{Item, ResponseParams};
use super::session::SessionUpdate;

events! {
    /// Sent by a client.
    ClientEvent<'a> {
        "session.update" => SessionUpdate(SessionUpdate),
        "input_audio_buffer.append" => Append(Append<'a>),
        "input_audio_buffer.commit" => Commit(Empty),
        "input_audio_buffer.clear" => Clear(Empty),
        "conversation.item.create" => ItemCreate(ItemCreate),
        "conversation.item.retrieve" => ItemRetrieve(ItemRef),
        "conversation.item.truncate" => ItemTruncate(ItemTruncate),
        "conversation.item.delete" => ItemDelete(ItemRef),
        "response.create" => ResponseCreate(ResponseCreate),
        "response.cancel" => ResponseCancel(ResponseCancel),
        "output_audio_buffer.clear" => OutputClear(Empty),
    }
}

/// `input_audio_buffer.append`. Clients write it with [`super::append_frame`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append<'a> {
    /// Sound in the session's input format, as base64.
    #[serde(borrow)]
    pub audio: Cow<'a, str>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemCreate {
    /// An item's id, or `root`; absent means the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_item_id: Option<String>,
    pub item: Box<Item>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemTruncate {
    pub item_id: String,
    pub content_index: u32,
    /// How much of the item's sound stays.
    pub audio_end_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseCreate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Box<ResponseParams>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseCancel {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
}
