//! What the gateway and its helper say to each other: `docs/daily-helper.md` as code.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::media::Frame24k;

/// The version of the protocol; both sides must have the same.
pub(super) const VERSION: u32 = 1;

/// What the gateway wants of its helper.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Order<'a> {
    /// Go into this room. Said once.
    Join { url: &'a str, token: Option<&'a str>, name: &'a str },
    /// Go out of it, and end.
    Leave,
    /// The gateway is there.
    Beat,
}

/// What the helper tells.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Report {
    /// It runs, and has the package of this version.
    Hello { version: u32, package: String },
    /// We are in and can be heard; these are the others.
    Joined { participants: Vec<Person> },
    /// Someone else came in.
    ParticipantJoined(Person),
    /// Someone else has another name.
    ParticipantUpdated(Person),
    /// Someone else is gone.
    ParticipantLeft { id: String, reason: String },
    /// Daily holds this one for who speaks.
    ActiveSpeaker { id: String },
    /// Somebody has written to everybody.
    AppMessage { sender: String, text: String },
    /// How a connection of Daily's is.
    Network { connection: String, state: String },
    /// We did not get in, or are out.
    Over { cause: Cause, detail: String },
    /// We are out, because we asked for it.
    Left,
    /// The helper is there.
    Beat,
    /// Something of a later day.
    #[serde(other)]
    Unknown,
}

/// Someone else in the room.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Person {
    pub(super) id: String,
    pub(super) name: String,
}

/// Why we are not in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    NotFound,
    Unauthorized,
    TokenExpired,
    Full,
    Unreachable,
    Media,
    Ejected,
    Ended,
    /// The helper finds no package of Daily's.
    NoPackage,
    #[serde(other)]
    Other,
}

/// One whole message of the helper's.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "almost every message is a frame")]
pub(super) enum Message {
    Report(Report),
    Heard(Heard),
}

/// 20 ms of what someone says, numbered as RTP numbers (RFC 3550, section 5.1), at 48 kHz.
#[derive(Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) participant: String,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) frame: Frame24k,
}

/// What the helper sent is none of the protocol's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the helper sent {0}")]
pub(super) struct Malformed(&'static str);

/// Takes the first message out of what has been received, if it is there whole.
pub(super) fn take(received: &mut BytesMut) -> Result<Option<Message>, Malformed> {
    let Some(length) = received.first_chunk() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !(1..=MESSAGE_MAX).contains(&length) {
        return Err(Malformed("a message of an impossible length"));
    }
    if received.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    received.advance(LENGTH_BYTES);
    let mut body = received.split_to(length).freeze();
    match body.get_u8() {
        KIND_JSON => report(&body).map(|report| Some(Message::Report(report))),
        KIND_HEARD => heard(body).map(|heard| Some(Message::Heard(heard))),
        _ => Err(Malformed("a message of an unknown kind")),
    }
}

/// Appends an order to what is to be sent.
pub(super) fn put_order(out: &mut BytesMut, order: &Order<'_>) {
    let body = serde_json::to_vec(order).unwrap_or_default();
    put(out, KIND_JSON, &body);
}

/// Appends 20 ms of what we say.
pub(super) fn put_said(out: &mut BytesMut, frame: &Frame24k) {
    put_head(out, KIND_SAY, FRAME_BYTES);
    for sample in frame.iter() {
        out.put_i16_le(*sample);
    }
}

fn put(out: &mut BytesMut, kind: u8, body: &[u8]) {
    put_head(out, kind, body.len());
    out.put_slice(body);
}

fn put_head(out: &mut BytesMut, kind: u8, length: usize) {
    out.put_u32(u32::try_from(length + 1).unwrap_or(u32::MAX));
    out.put_u8(kind);
}

fn report(body: &[u8]) -> Result<Report, Malformed> {
    serde_json::from_slice(body).map_err(|_| Malformed("a report that cannot be read"))
}

fn heard(mut body: Bytes) -> Result<Heard, Malformed> {
    let wrong = Malformed("a frame of a wrong size");
    let length = usize::from(body.try_get_u8().map_err(|_| wrong)?);
    if body.len() != length + NUMBERS_BYTES + FRAME_BYTES {
        return Err(wrong);
    }
    let participant = String::from_utf8(body.split_to(length).into());
    let participant = participant.map_err(|_| Malformed("a name that is no text"))?;
    let (sequence, timestamp) = (body.get_u16(), body.get_u32());
    let mut frame = Frame24k::SILENCE;
    for sample in frame.iter_mut() {
        *sample = body.get_i16_le();
    }
    Ok(Heard { participant, sequence, timestamp, frame })
}

/// The longest message, without its length.
pub(super) const MESSAGE_MAX: usize = 65_536;

const LENGTH_BYTES: usize = 4;
const NUMBERS_BYTES: usize = 6;
const FRAME_BYTES: usize = 2 * Frame24k::SAMPLES;

const KIND_JSON: u8 = 1;
const KIND_HEARD: u8 = 2;
const KIND_SAY: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_waits_until_it_is_whole() {
        let mut whole = BytesMut::new();
        put(&mut whole, KIND_JSON, br#"{"type":"beat"}"#);
        let mut received = BytesMut::new();
        for byte in &whole[..whole.len() - 1] {
            received.put_u8(*byte);
            assert_eq!(take(&mut received), Ok(None));
        }
        received.put_u8(b'}');
        assert_eq!(take(&mut received), Ok(Some(Message::Report(Report::Beat))));
        assert!(received.is_empty());
    }

    #[test]
    fn a_frame_has_its_speaker_and_its_numbers() {
        let mut body = vec![3];
        body.extend_from_slice(b"ann\x01\x02\x00\x00\x03\xc0");
        body.extend(std::iter::repeat_n([0x34, 0x12], 480).flatten());
        let mut received = BytesMut::new();
        put(&mut received, KIND_HEARD, &body);
        let Ok(Some(Message::Heard(heard))) = take(&mut received) else { panic!("no frame") };
        assert_eq!(
            (heard.participant.as_str(), heard.sequence, heard.timestamp),
            ("ann", 258, 960)
        );
        assert!(heard.frame.iter().all(|sample| *sample == 0x1234));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (kind, body) in
            [(9, &b""[..]), (KIND_JSON, b"{"), (KIND_HEARD, b""), (KIND_HEARD, b"\x01a")]
        {
            let mut received = BytesMut::new();
            put(&mut received, kind, body);
            take(&mut received).expect_err("it is malformed");
        }
        for length in [0, u32::MAX] {
            take(&mut BytesMut::from(&length.to_be_bytes()[..])).expect_err("an impossible length");
        }
    }

    #[test]
    fn what_a_later_helper_adds_is_no_mistake() {
        assert_eq!(report(br#"{"type":"weather"}"#), Ok(Report::Unknown));
        let over = report(br#"{"type":"over","cause":"bored","detail":""}"#);
        assert_eq!(over, Ok(Report::Over { cause: Cause::Other, detail: String::new() }));
    }

    #[test]
    fn an_order_is_json_with_its_length() {
        let mut out = BytesMut::new();
        put_order(&mut out, &Order::Join { url: "u", token: None, name: "n" });
        let body = br#"{"type":"join","url":"u","token":null,"name":"n"}"#;
        assert_eq!(&out[..5], [0, 0, 0, u8::try_from(body.len() + 1).expect("short"), 1]);
        assert_eq!(&out[5..], body);
    }
}
