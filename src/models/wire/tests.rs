//! The wire types against the protocol and its variations.

use std::borrow::Cow;

use bytes::BytesMut;

use super::*;
use crate::media::Frame24k;
use crate::models::dialect::HearingRate;

#[test]
fn a_session_in_other_servers_words_is_still_read() {
    let text = r#"{"type":"session.created","event_id":null,"session":{"type":"realtime",
        "id":"sess_1","expires_at":1790000000,"modalities":["text","audio"],"novel":{"a":1},
        "audio":{"input":{"format":{"type":"audio/pcmu"},
        "noise_reduction":{"type":"far_field","strength":0.5},
        "turn_detection":{"type":"server_vad","novel":true}},
        "output":{"voice":{"id":"voice_1"}}}}}"#;
    let ServerEvent::SessionCreated(event) = decoded(text) else { panic!("not recognised") };
    assert_eq!(event.session.expires_at, Some(1_790_000_000));
    let audio = event.session.audio.unwrap();
    let input = audio.input.unwrap();
    assert_eq!(input.format, Some(AudioFormat { kind: "audio/pcmu".into(), rate: None }));
    assert_eq!(input.noise_reduction.value().unwrap().strength, Some(0.5));
    let turn_detection = input.turn_detection.value().unwrap();
    assert_eq!(turn_detection.threshold, None);
    assert_eq!(turn_detection.rest["novel"], true);
    assert_eq!(audio.output.unwrap().voice, Some(Voice::Custom { id: "voice_1".into() }));
}

#[test]
fn a_session_that_cannot_be_read_is_announced_all_the_same() {
    let event = decoded(r#"{"type":"session.updated","session":{"instructions":{"a":1}}}"#);
    assert_eq!(event, ServerEvent::SessionUpdated(SessionEvent::default()));
    let event = decoded(r#"{"type":"session.updated"}"#);
    assert_eq!(event, ServerEvent::SessionUpdated(SessionEvent::default()));
}

#[test]
fn absent_and_null_are_told_apart_both_ways() {
    let inputs = [
        ("{}", Field::Absent),
        (r#"{"turn_detection":null}"#, Field::Null),
        (r#"{"turn_detection":{}}"#, Field::Value(TurnDetection::default())),
    ];
    for (text, turn_detection) in inputs {
        let input: AudioInput = serde_json::from_str(text).unwrap();
        assert_eq!(input.turn_detection, turn_detection);
        assert_eq!(serde_json::to_string(&input).unwrap(), text);
    }
}

#[test]
fn what_is_not_set_is_not_written() {
    let update = ClientEvent::SessionUpdate(SessionUpdate::default());
    assert_eq!(update.encode(None), r#"{"type":"session.update","session":{}}"#);
    let cancel = ClientEvent::ResponseCancel(ResponseCancel::default());
    assert_eq!(cancel.encode(Some("c1")), r#"{"type":"response.cancel","event_id":"c1"}"#);
    let create = ClientEvent::ResponseCreate(ResponseCreate::default());
    assert_eq!(create.encode(None), r#"{"type":"response.create"}"#);
}

#[test]
fn every_client_event_is_read_as_it_was_written() {
    let texts = [
        r#"{"type":"session.update","event_id":"1","session":{"type":"realtime"}}"#,
        r#"{"type":"input_audio_buffer.append","event_id":"2","audio":"AAAA"}"#,
        r#"{"type":"input_audio_buffer.commit","event_id":"3"}"#,
        r#"{"type":"input_audio_buffer.clear","event_id":"4"}"#,
        r#"{"type":"conversation.item.create","event_id":"5","item":{"type":"message"}}"#,
        r#"{"type":"conversation.item.retrieve","event_id":"6","item_id":"i"}"#,
        r#"{"type":"conversation.item.delete","event_id":"7","item_id":"i"}"#,
        r#"{"type":"response.create","event_id":"8","response":{"conversation":"none"}}"#,
        r#"{"type":"response.cancel","event_id":"9","response_id":"r"}"#,
        r#"{"type":"output_audio_buffer.clear","event_id":"10"}"#,
    ];
    for text in texts {
        let message = ClientEvent::decode(text).unwrap();
        assert!(!matches!(message.event, ClientEvent::Unknown(_)), "{text}");
        assert_eq!(message.event.encode(message.event_id.as_deref()), text);
    }
}

#[test]
fn every_server_event_of_a_voice_session_is_known() {
    let position = r#""response_id":"r","item_id":"i","output_index":0,"content_index":0"#;
    let events = [
        ("session.created", r#""session":{}"#),
        ("conversation.item.added", r#""previous_item_id":null,"item":{"type":"message"}"#),
        ("conversation.item.done", r#""item":{"type":"mcp_call"}"#),
        ("conversation.item.deleted", r#""item_id":"i""#),
        ("conversation.item.truncated", r#""item_id":"i","content_index":0,"audio_end_ms":5"#),
        ("input_audio_buffer.cleared", ""),
        ("input_audio_buffer.timeout_triggered", r#""audio_start_ms":1,"item_id":"i""#),
        ("response.created", r#""response":{"id":"r","metadata":null,"output":null}"#),
        ("response.output_item.added", r#""response_id":"r","item":{"type":"message"}"#),
        ("response.content_part.added", r#""response_id":"r","part":{"type":"audio"}"#),
        ("response.output_audio.delta", &format!(r#"{position},"delta":"AAAA""#)),
        ("response.output_audio.done", position),
        ("response.output_text.delta", &format!(r#"{position},"delta":"a""#)),
        ("response.output_text.done", &format!(r#"{position},"text":"a""#)),
        ("response.function_call_arguments.done", r#""call_id":"c","arguments":null"#),
        ("rate_limits.updated", r#""rate_limits":[{"name":"tokens","limit":1}]"#),
    ];
    for (kind, body) in events {
        let comma = if body.is_empty() { "" } else { "," };
        let text = format!(r#"{{"type":"{kind}","event_id":"e"{comma}{body}}}"#);
        let event = decoded(&text);
        assert!(!matches!(event, ServerEvent::Unknown(_)), "{kind}");
        assert_eq!(event.type_name(), kind);
        assert_eq!(decoded(&event.encode(Some("e"))), event);
    }
}

#[test]
fn an_error_may_name_nothing() {
    let event = decoded(
        r#"{"type":"error","error":{"type":"invalid_request_error","code":null,
            "message":null,"param":null,"event_id":null}}"#,
    );
    let ServerEvent::Error(event) = event else { panic!("not an error: {event:?}") };
    assert_eq!(event.error.code(), "invalid_request_error");
}

#[test]
fn a_beta_item_is_an_item() {
    let event = decoded(r#"{"type":"conversation.item.created","item":{"id":"i"}}"#);
    assert!(matches!(event, ServerEvent::ItemAdded(_)), "{event:?}");
}

#[test]
fn every_name_of_the_beta_is_read_as_todays() {
    let names = [
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio.done", "response.output_audio.done"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.audio_transcript.done", "response.output_audio_transcript.done"),
        ("response.text.delta", "response.output_text.delta"),
        ("response.text.done", "response.output_text.done"),
        ("conversation.item.created", "conversation.item.added"),
        ("transcription_session.updated", "session.updated"),
    ];
    for (beta, today) in names {
        let text = format!(r#"{{"type":"{beta}","item_id":"i","delta":"AAAA","item":{{}}}}"#);
        assert_eq!(decoded(&text).type_name(), today);
    }
    let part = r#"{"type":"response.content_part.added","part":{"type":"audio","transcript":"a"}}"#;
    let ServerEvent::PartAdded(event) = decoded(part) else { panic!("not a part") };
    assert_eq!(event.part, Content::transcript("audio", "a"));
    let session = r#"{"modalities":["text","audio"],"max_response_output_tokens":"inf"}"#;
    let session: Session = serde_json::from_str(session).unwrap();
    assert_eq!(session.output_modalities, Some(vec!["text".into(), "audio".into()]));
    assert_eq!(session.max_output_tokens, Some("inf".into()));
}

#[test]
fn words_told_anew_are_all_of_them() {
    let event = decoded(
        r#"{"type":"conversation.item.input_audio_transcription.updated","event_id":"e",
            "item_id":"i","transcript":"Ice cream","novel":1}"#,
    );
    let ServerEvent::TranscriptionUpdated(event) = event else { panic!("not known: {event:?}") };
    assert_eq!((event.item_id.as_str(), event.transcript.as_str()), ("i", "Ice cream"));
}

#[test]
fn what_is_at_16_khz_is_as_long_as_what_was_heard() {
    let mut writer = FrameWriter::new(HearingRate::Khz16);
    let event = writer.append(&Frame24k::SILENCE);
    let text = std::str::from_utf8(&event).unwrap();
    let ClientEvent::Append(append) = ClientEvent::decode(text).unwrap().event else {
        panic!("not sound: {text}")
    };
    assert_eq!(PcmDecoder::default().decode(&append.audio).unwrap(), [0; 320]);
}

#[test]
fn an_unknown_type_is_kept_by_its_name() {
    let event = decoded(r#"{"type":"response.sparkles","item_id":{"not":"text"}}"#);
    assert_eq!(event.type_name(), "response.sparkles");
}

#[test]
fn what_is_no_event_says_why() {
    assert!(matches!(ServerEvent::decode("nonsense"), Err(DecodeError::Shape(_))));
    assert!(matches!(ServerEvent::decode(r#"{"event_id":"e"}"#), Err(DecodeError::Shape(_))));
    let broken = ClientEvent::decode(r#"{"type":"conversation.item.delete","event_id":"e7"}"#);
    let Err(DecodeError::Body { kind, event_id, .. }) = broken else { panic!("{broken:?}") };
    assert_eq!((kind.as_str(), event_id.as_deref()), ("conversation.item.delete", Some("e7")));
}

#[test]
fn sound_is_read_without_being_copied() {
    let text = r#"{"type":"response.output_audio.delta","item_id":"i","delta":"AAAA"}"#;
    let ServerEvent::AudioDelta(event) = decoded(text) else { panic!("not sound") };
    assert!(matches!(event.delta, Cow::Borrowed("AAAA")));

    let escaped = r#"{"type":"response.output_audio.delta","item_id":"i","delta":"AA\/A"}"#;
    let ServerEvent::AudioDelta(event) = decoded(escaped) else { panic!("not sound") };
    assert_eq!(event.delta, "AA/A");
}

#[test]
fn a_frame_is_written_as_the_event_it_is() {
    let mut frame = Frame24k::SILENCE;
    for (place, sample) in frame.iter_mut().enumerate() {
        *sample = i16::try_from(place).unwrap() * 37 - 9_000;
    }
    let audio = pcm_to_base64(&*frame).into();
    let expected = ClientEvent::Append(Append { audio }).encode(None);
    assert_eq!(append_frame(&mut BytesMut::new(), &frame), expected);
}

#[test]
fn frames_are_written_into_the_same_memory_again_and_again() {
    let mut buffer = BytesMut::with_capacity(4_096);
    let places: Vec<usize> =
        (0..100).map(|_| append_frame(&mut buffer, &Frame24k::SILENCE).as_ptr().addr()).collect();
    let span = places.iter().max().unwrap() - places.iter().min().unwrap();
    assert!(span < 4_096, "frames lie {span} bytes apart");
}

fn decoded(text: &str) -> ServerEvent<'_> {
    ServerEvent::decode(text).unwrap().event
}
