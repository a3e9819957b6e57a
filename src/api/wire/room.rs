//! Rooms, as their owners make and see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::fields::{BadBody, Fields, is_empty_body, read_body};
use crate::runtime::RoomName;

/// A wish for a new room, found to be in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct NewRoomBody {
    pub(in crate::api) name: Option<RoomName>,
    pub(in crate::api) ttl_seconds: Option<u64>,
    pub(in crate::api) open: bool,
}

/// A room, without its token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Room)]
pub(in crate::api) struct RoomBody {
    #[schema(example = "lobby")]
    pub(in crate::api) name: String,
    /// What an agent joins by, and a browser opens.
    pub(in crate::api) url: String,
    pub(in crate::api) open: bool,
    #[schema(format = DateTime)]
    pub(in crate::api) created_at: String,
    #[schema(required = true, format = DateTime)]
    pub(in crate::api) expires_at: Option<String>,
}

/// A new room, with its token for the one time that it is told.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IssuedRoom)]
pub(in crate::api) struct IssuedRoomBody {
    #[serde(flatten)]
    pub(in crate::api) room: RoomBody,
    /// Null if the room is open.
    #[schema(required = true)]
    pub(in crate::api) token: Option<String>,
}

/// A page of rooms.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Rooms)]
pub(in crate::api) struct RoomsBody {
    pub(in crate::api) rooms: Vec<RoomBody>,
    /// What to ask the next page with; null at the end.
    #[schema(required = true)]
    pub(in crate::api) next_cursor: Option<String>,
}

impl NewRoomBody {
    /// Reads the body of `POST /api/rooms`, which may be empty; tells all its mistakes at once.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        if is_empty_body(bytes) {
            return Ok(Self::default());
        }
        read_body(bytes, |fields| Self {
            name: read_name(fields),
            ttl_seconds: fields.number("ttlSeconds", 1..=TTL_SECONDS_MAX),
            open: fields.boolean("open").unwrap_or(false),
        })
    }
}

fn read_name(fields: &mut Fields<'_>) -> Option<RoomName> {
    let value = fields.get("name")?;
    let name = value.as_str().and_then(RoomName::parse);
    if name.is_none() {
        let rule = "must have 1 to 64 letters, digits, '-', '_' or '.', and no '.' in front";
        fields.mistake("name", rule);
    }
    name
}

/// A year, whatever year it is.
const TTL_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_may_be_asked_for_with_nothing() {
        assert_eq!(NewRoomBody::parse(b""), Ok(NewRoomBody::default()));
        assert_eq!(NewRoomBody::parse(br#"{"name":null}"#), Ok(NewRoomBody::default()));
        let read = NewRoomBody::parse(br#"{"name":"a.b","ttlSeconds":31622400,"open":true}"#);
        let name = RoomName::parse("a.b");
        assert_eq!(read, Ok(NewRoomBody { name, ttl_seconds: Some(31_622_400), open: true }));
    }

    #[test]
    fn every_mistake_is_told() {
        for (text, paths) in [
            (r#"{"name":"no way","ttlSeconds":0,"open":1}"#, &["name", "ttlSeconds", "open"][..]),
            (r#"{"name":".hidden"}"#, &["name"]),
            (r#"{"name":""}"#, &["name"]),
            (r#"{"name":5}"#, &["name"]),
            (r#"{"ttlSeconds":31622401}"#, &["ttlSeconds"]),
            ("[]", &[""]),
        ] {
            let Err(BadBody::Mistakes(mistakes)) = NewRoomBody::parse(text.as_bytes()) else {
                panic!("{text}")
            };
            let told: Vec<_> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
            assert_eq!(told, paths, "{text}");
        }
        assert!(matches!(NewRoomBody::parse(b"{"), Err(BadBody::NotJson(_))));
    }
}
