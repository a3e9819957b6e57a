//! What every event has: a type, perhaps an id, and a body that depends on the type.

#![expect(missing_docs, reason = "the names are the protocol's own, documented by its vendor")]

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

/// An event, and the id its sender has given it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<E> {
    /// By which an `error` may name it.
    pub event_id: Option<String>,
    /// The event.
    pub event: E,
}

/// Why a text frame is no event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No JSON object with a `type`.
    #[error("not an event: {0}")]
    Shape(serde_json::Error),
    /// The type is known, and the body is not what the type asks for.
    #[error("{kind}: {source}")]
    Body {
        /// The event's type.
        kind: String,
        /// The id its sender has given it.
        event_id: Option<String>,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The first look at a frame: enough to know which body to read.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) event_id: Option<String>,
}

/// An event on its way out.
#[derive(Serialize)]
pub(super) struct Tagged<'a, B> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<&'a str>,
    #[serde(flatten)]
    pub(super) body: &'a B,
}

/// The body of an event that says all by its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// The body of an event that is about one item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRef {
    pub item_id: String,
}

/// Reads `null` as if the field were absent.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads whatever does not fit as if the field were absent.
pub(super) fn misfit_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Declares one side's events from a table: `type`, aliases, variant, body.
macro_rules! events {
    (
        $(#[$attribute:meta])*
        $name:ident<$life:lifetime> {
            $($kind:literal $(| $alias:literal)* => $variant:ident($body:ty),)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name<$life> {
            $(#[doc = concat!("`", $kind, "`")] $variant($body),)+
            /// None of the above: a newer event or a foreign one, by its type.
            Unknown(std::borrow::Cow<$life, str>),
        }

        impl<$life> $name<$life> {
            /// Reads a text frame. Unknown types are no error.
            pub fn decode(
                text: &$life str,
            ) -> Result<$crate::models::wire::Message<Self>, $crate::models::wire::DecodeError> {
                use $crate::models::wire::{DecodeError, Message, event::Head};
                let head: Head<$life> =
                    serde_json::from_str(text).map_err(DecodeError::Shape)?;
                let event = match &*head.kind {
                    $($kind $(| $alias)* => serde_json::from_str(text).map(Self::$variant),)+
                    _ => return Ok(Message {
                        event_id: head.event_id,
                        event: Self::Unknown(head.kind),
                    }),
                };
                match event {
                    Ok(event) => Ok(Message { event_id: head.event_id, event }),
                    Err(source) => Err(DecodeError::Body {
                        kind: head.kind.into_owned(),
                        event_id: head.event_id,
                        source,
                    }),
                }
            }

            /// The event's `type`, by its GA name.
            #[must_use]
            pub fn type_name(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $kind,)+
                    Self::Unknown(kind) => kind,
                }
            }

            /// The event as a text frame.
            ///
            /// # Panics
            /// Never: every body is a map with string keys, which JSON can always hold.
            #[must_use]
            pub fn encode(&self, event_id: Option<&str>) -> String {
                use $crate::models::wire::event::{Empty, Tagged};
                let kind = self.type_name();
                match self {
                    $(Self::$variant(body) => {
                        serde_json::to_string(&Tagged { kind, event_id, body })
                    })+
                    Self::Unknown(_) => {
                        serde_json::to_string(&Tagged { kind, event_id, body: &Empty {} })
                    }
                }
                .expect("every event is a JSON object")
            }
        }
    };
}
pub(super) use events;
