//! The dialogue against what real servers have been seen to send.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::ids::{ToolCallId, UtteranceId};
use crate::models::wire::pcm_to_base64;
use crate::sys::clock;

#[path = "calls_tests.rs"]
mod calls;
#[path = "second_tests.rs"]
mod second;
#[path = "text_tests.rs"]
mod text;

#[test]
fn a_whole_turn_becomes_items_in_order() {
    let mut scene = Scene::new();
    scene
        .hear(r#"{"type":"input_audio_buffer.speech_started","audio_start_ms":10,"item_id":"u1"}"#);
    scene.hear(r#"{"type":"input_audio_buffer.speech_stopped","audio_end_ms":900,"item_id":"u1"}"#);
    scene.hear(r#"{"type":"input_audio_buffer.committed","item_id":"u1","previous_item_id":null}"#);
    scene.hear(&created("r1"));
    scene.hear(&transcription("u1", "What time is it?"));
    scene.hear(&words("r1", "a1", "It is "));
    scene.hear(&audio("r1", "a1", &[1, 2]));
    scene.hear(&words("r1", "a1", "noon."));
    scene.hear(r#"{"type":"response.output_audio.done","response_id":"r1","item_id":"a1"}"#);
    scene.hear(
        r#"{"type":"response.output_audio_transcript.done","response_id":"r1","item_id":"a1",
            "transcript":"It is noon."}"#,
    );
    scene.hear(&done("r1", "completed"));
    let expected = [
        event(ModelEvent::SpeechStarted { utterance: UtteranceId::new("u1"), interrupts: true }),
        event(ModelEvent::SpeechStopped { utterance: UtteranceId::new("u1") }),
        event(ModelEvent::ResponseStarted { response: ResponseId::new("r1") }),
        transcript_item("u1", "What time is it?", true),
        words_item("a1", "It is ", false),
        sound_item("a1", &[1, 2]),
        words_item("a1", "It is noon.", false),
        ModelItem::AudioDone { utterance: UtteranceId::new("a1") },
        words_item("a1", "It is noon.", true),
        done_item("r1", ResponseOutcome::Completed),
    ];
    assert_eq!(scene.items(), expected);
}

#[test]
fn what_we_do_not_know_changes_nothing() {
    let mut scene = Scene::new();
    scene.hear(r#"{"type":"response.sparkles.added","event_id":"e","response_id":7}"#);
    scene.hear(r#"{"type":"input_audio_buffer.dtmf_event_received","event":"5","received_at":1}"#);
    scene.hear(r#"{"type":"conversation.created","conversation":{"id":"c"}}"#);
    scene.hear(r#"{"type":"rate_limits.updated","rate_limits":null}"#);
    assert_eq!(scene.items(), []);
}

#[test]
fn beta_names_are_taken_for_ours() {
    let mut scene = Scene::new();
    let base64 = pcm_to_base64(&[7]);
    scene.hear(&format!(
        r#"{{"type":"response.audio.delta","response_id":"r","item_id":"a","delta":"{base64}"}}"#
    ));
    scene.hear(
        r#"{"type":"response.audio_transcript.delta","response_id":"r","item_id":"a",
            "delta":"Hi"}"#,
    );
    scene.hear(r#"{"type":"response.audio.done","response_id":"r","item_id":"a"}"#);
    let expected = [
        sound_item("a", &[7]),
        words_item("a", "Hi", false),
        ModelItem::AudioDone { utterance: UtteranceId::new("a") },
    ];
    assert_eq!(scene.items(), expected);
    let mut scene = Scene::of(Medium::Text);
    scene.hear(r#"{"type":"response.text.delta","response_id":"r","item_id":"b","delta":"Ho"}"#);
    assert_eq!(scene.items(), [words_item("b", "Ho", false)]);
}

#[test]
fn errors_that_only_crossed_on_the_wire_are_swallowed() {
    let mut scene = Scene::new();
    scene.hear(&error("response_cancel_not_active", "Cancellation failed"));
    scene.hear(&error("invalid_value", "Audio content of 90ms is already shorter than 120ms"));
    scene.hear(&error("conversation_already_has_active_response", "busy"));
    assert_eq!(scene.items(), []);
    scene.hear(&error("unknown_parameter", "What is this?"));
    let complaint =
        ModelEvent::Complaint { code: "unknown_parameter".into(), message: "What is this?".into() };
    assert_eq!(scene.items(), [event(complaint)]);
    assert_eq!(scene.dialogue.poll_breakdown(), None);
}

#[test]
fn an_expired_session_is_lost() {
    let mut scene = Scene::new();
    scene.hear(&error("session_expired", "60 minutes are over"));
    let lost = Breakdown::Lost("session_expired: 60 minutes are over".into());
    assert_eq!(scene.dialogue.poll_breakdown(), Some(lost));
}

#[test]
fn a_request_refused_by_an_active_answer_is_made_again_after_it() {
    let mut scene = Scene::new();
    scene.act(ModelAction::Respond { instructions: None });
    scene.hear(&created("vad"));
    scene.hear(&error("conversation_already_has_active_response", "busy"));
    assert_eq!(scene.requests(), ["response.create"]);
    scene.hear(&done("vad", "completed"));
    assert_eq!(scene.requests(), ["response.create"]);
}

#[test]
fn answers_end_in_the_ways_the_protocol_knows() {
    let mut scene = Scene::new();
    scene.hear(
        r#"{"type":"response.done","response":{"id":"r1","status":"cancelled","output":[],
            "status_details":{"type":"cancelled","reason":"turn_detected"},"usage":null}}"#,
    );
    scene.hear(
        r#"{"type":"response.done","response":{"id":"r2","status":"failed","output":null,
            "status_details":{"type":"failed","error":{"type":"server_error",
            "code":"rate_limit_exceeded","message":"slow down"}}}}"#,
    );
    scene.hear(
        r#"{"type":"response.done","response":{"id":"r3","status":"incomplete",
            "status_details":{"type":"incomplete","reason":"max_output_tokens"}}}"#,
    );
    scene.hear(&done("r4", "sideways"));
    assert_eq!(
        scene.items(),
        [
            done_item("r1", ResponseOutcome::Cancelled),
            done_item("r2", ResponseOutcome::Failed("rate_limit_exceeded".into())),
            done_item("r3", ResponseOutcome::Incomplete),
            done_item("r4", ResponseOutcome::Completed),
        ]
    );
}

#[test]
fn two_utterances_in_one_answer_are_counted_and_ended_apart() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    scene.hear(&audio("r1", "a1", &[0; 2_400]));
    scene.hear(&audio("r1", "a2", &[0; 1_200]));
    scene.hear(&audio("r1", "a1", &[0; 2_400]));
    scene.act(truncate("a2", 120));
    scene.act(truncate("a1", 120));
    let cut = |event_id: &str, item_id: &str, audio_end_ms: u64| {
        json!({"type": "conversation.item.truncate", "event_id": event_id, "item_id": item_id,
            "content_index": 0, "audio_end_ms": audio_end_ms})
    };
    assert_eq!(scene.sent(), [cut("cut_1", "a2", 50), cut("cut_2", "a1", 120)]);
}

#[test]
fn nothing_is_spoken_of_an_answer_that_was_cancelled() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    scene.hear(&audio("r1", "a1", &[1]));
    scene.act(ModelAction::Cancel);
    let cancel = json!({"type": "response.cancel", "event_id": "cancel_1", "response_id": "r1"});
    assert_eq!(scene.sent(), [cancel]);
    scene.items();
    scene.hear(&audio("r1", "a1", &[2]));
    scene.hear(&words("r1", "a2", "late"));
    scene.hear(&done("r1", "cancelled"));
    scene.hear(&audio("r1", "a1", &[3]));
    assert_eq!(
        scene.items(),
        [
            ModelItem::AudioDone { utterance: UtteranceId::new("a1") },
            done_item("r1", ResponseOutcome::Cancelled),
        ]
    );
}

#[test]
fn who_gives_way_too_late_does_not_break_off_the_answer_to_that_speech() {
    let mut scene = Scene::new();
    let give_way = || ModelAction::GiveWay { utterance: UtteranceId::new("u1") };
    scene.hear(&created("r1"));
    scene.hear(r#"{"type":"input_audio_buffer.speech_started","item_id":"u1"}"#);
    scene.act(give_way());
    let cancel = json!({"type": "response.cancel", "event_id": "cancel_1", "response_id": "r1"});
    assert_eq!(scene.sent(), [cancel], "in time");
    scene.hear(&done("r1", "cancelled"));
    scene.hear(r#"{"type":"input_audio_buffer.committed","item_id":"u1"}"#);
    scene.hear(&created("r2"));
    scene.act(give_way());
    assert_eq!(scene.sent(), Vec::<Value>::new(), "late");
}

#[test]
fn deltas_after_the_servers_own_interruption_are_dropped() {
    let mut scene = Scene::new();
    scene.hear(&done("r1", "cancelled"));
    scene.items();
    scene.hear(&audio("r1", "a1", &[3]));
    assert_eq!(scene.items(), []);
}

#[test]
fn an_answer_beside_the_conversation_is_not_spoken() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    scene.items();
    scene.hear(r#"{"type":"response.created","response":{"id":"oob","conversation_id":null}}"#);
    scene.hear(&audio("oob", "x1", &[1]));
    scene.hear(&words("oob", "x1", "secret"));
    scene.hear(&done("oob", "completed"));
    assert_eq!(scene.items(), []);
    scene.hear(&audio("r1", "a1", &[1]));
    assert_eq!(scene.items(), [sound_item("a1", &[1])]);
}

#[test]
fn a_burst_of_a_minute_comes_through_whole() {
    let mut scene = Scene::new();
    let delta = audio("r1", "a1", &vec![5; 48_000]);
    for _ in 0..30 {
        scene.hear(&delta);
    }
    scene.hear(
        r#"{"type":"response.output_audio.delta","response_id":"r1","item_id":"a1","delta":""}"#,
    );
    let lengths: Vec<usize> = scene.items().iter().map(samples_in).collect();
    assert_eq!(lengths, [48_000; 30]);
}

#[test]
fn speech_that_starts_twice_starts_once() {
    let mut scene = Scene::new();
    let started = r#"{"type":"input_audio_buffer.speech_started","item_id":"u1"}"#;
    scene.hear(started);
    scene.hear(started);
    scene.hear(r#"{"type":"input_audio_buffer.committed","item_id":"u1"}"#);
    scene.hear(r#"{"type":"input_audio_buffer.committed","item_id":"idle"}"#);
    assert_eq!(
        scene.items(),
        [
            event(ModelEvent::SpeechStarted {
                utterance: UtteranceId::new("u1"),
                interrupts: true
            }),
            event(ModelEvent::SpeechStopped { utterance: UtteranceId::new("u1") }),
        ]
    );
}

#[test]
fn a_transcript_grows_fails_or_is_empty() {
    let mut scene = Scene::new();
    let delta = |text: &str| {
        format!(
            r#"{{"type":"conversation.item.input_audio_transcription.delta","item_id":"u1",
                "content_index":0,"delta":"{text}"}}"#
        )
    };
    scene.hear(&delta("Good "));
    scene.hear(&delta("day"));
    scene.hear(
        r#"{"type":"conversation.item.input_audio_transcription.failed","item_id":"u1",
            "content_index":0,"error":{"type":"server_error","code":null,"message":"oh"}}"#,
    );
    scene.hear(&transcription("u2", ""));
    assert_eq!(
        scene.items(),
        [
            transcript_item("u1", "Good ", false),
            transcript_item("u1", "Good day", false),
            event(ModelEvent::Complaint { code: "server_error".into(), message: "oh".into() }),
            transcript_item("u1", "Good day", true),
            transcript_item("u2", "", true),
        ]
    );
}

#[test]
fn an_answer_that_dies_is_ended_for_the_agent() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    scene.act(ModelAction::Respond { instructions: None });
    let (until, _) = scene.dialogue.poll_timeout().unwrap();
    scene.dialogue.handle_timeout(until);
    let failed = ResponseOutcome::Failed("response_timeout".into());
    assert_eq!(scene.items().last(), Some(&done_item("r1", failed)));
    assert_eq!(scene.requests(), ["response.cancel"]);
    scene.hear(&done("r1", "cancelled"));
    assert_eq!(scene.items(), [], "it is over once");
    assert_eq!(scene.requests(), ["response.create"]);
}

#[test]
fn what_the_agent_adds_becomes_items_of_the_conversation() {
    let mut scene = Scene::new();
    scene.act(ModelAction::AddText { role: Role::System, text: Pii::new("It rains.".into()) });
    scene.act(ModelAction::ToolOutput { id: ToolCallId::new("c1"), output: Pii::new("{}".into()) });
    scene.act(ModelAction::Respond { instructions: Some(say("Hello")) });
    let text = json!({"type": "message", "role": "system",
        "content": [{"type": "input_text", "text": "It rains."}]});
    let output = json!({"type": "function_call_output", "call_id": "c1", "output": "{}"});
    let response = json!({"instructions": "Say exactly: \"Hello\"",
        "metadata": {"callbridge": "1"}});
    let expected = [
        json!({"type": "conversation.item.create", "event_id": "item_1", "item": text}),
        json!({"type": "conversation.item.create", "event_id": "item_2", "item": output}),
        json!({"type": "response.create", "event_id": "create_3", "response": response}),
    ];
    assert_eq!(scene.sent(), expected);
}

/// The server's own VAD, answering and interrupting.
const TURNS: Turns = Turns { by_server: true, creates: true, interrupts: true };

/// A dialogue, a clock, and hands to feed it.
struct Scene {
    dialogue: Dialogue,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self::of(Medium::Voice)
    }

    fn of(medium: Medium) -> Self {
        Self { dialogue: Dialogue::new(medium, true, TURNS), now: clock::now() }
    }

    fn hear(&mut self, json: &str) {
        self.now += Duration::from_millis(1);
        let message = ServerEvent::decode(json).unwrap();
        self.dialogue.handle_event(message.event, self.now);
    }

    fn act(&mut self, action: ModelAction) {
        self.dialogue.handle_action(action, self.now);
    }

    fn items(&mut self) -> Vec<ModelItem> {
        std::iter::from_fn(|| self.dialogue.poll_item()).collect()
    }

    fn sent(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.dialogue.poll_request())
            .map(|request| request.event.encode(Some(&request.event_id)))
            .map(|text| serde_json::from_str(&text).unwrap())
            .collect()
    }

    fn requests(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.dialogue.poll_request())
            .map(|request| request.event.type_name().to_owned())
            .collect()
    }
}

fn created(id: &str) -> String {
    format!(
        r#"{{"type":"response.created","response":{{"id":"{id}","status":"in_progress",
            "conversation_id":"conv","metadata":null}}}}"#
    )
}

fn done(id: &str, status: &str) -> String {
    format!(r#"{{"type":"response.done","response":{{"id":"{id}","status":"{status}"}}}}"#)
}

fn audio(response: &str, item: &str, samples: &[i16]) -> String {
    let delta = crate::models::wire::output_audio_delta(response, item, samples);
    ServerEvent::AudioDelta(delta).encode(Some("event_1"))
}

fn words(response: &str, item: &str, delta: &str) -> String {
    format!(
        r#"{{"type":"response.output_audio_transcript.delta","response_id":"{response}",
            "item_id":"{item}","output_index":0,"content_index":0,"delta":"{delta}"}}"#
    )
}

fn transcription(item: &str, transcript: &str) -> String {
    format!(
        r#"{{"type":"conversation.item.input_audio_transcription.completed","item_id":"{item}",
            "content_index":0,"transcript":"{transcript}","usage":{{"type":"duration"}}}}"#
    )
}

fn error(code: &str, message: &str) -> String {
    format!(
        r#"{{"type":"error","event_id":"e","error":{{"type":"invalid_request_error",
            "code":"{code}","message":"{message}","param":null,"event_id":null}}}}"#
    )
}

fn truncate(utterance: &str, heard_ms: u64) -> ModelAction {
    ModelAction::Truncate { utterance: UtteranceId::new(utterance), end_ms: heard_ms }
}

fn event(event: ModelEvent) -> ModelItem {
    ModelItem::Event(event)
}

fn sound_item(utterance: &str, samples: &[i16]) -> ModelItem {
    ModelItem::Audio { utterance: UtteranceId::new(utterance), samples: samples.to_vec() }
}

fn words_item(utterance: &str, text: &str, is_final: bool) -> ModelItem {
    let (utterance, text) = (UtteranceId::new(utterance), Pii::new(text.to_owned()));
    event(ModelEvent::Words { utterance, text, is_final })
}

fn transcript_item(utterance: &str, text: &str, is_final: bool) -> ModelItem {
    let (utterance, text) = (UtteranceId::new(utterance), Pii::new(text.to_owned()));
    event(ModelEvent::Transcript { utterance, text, is_final })
}

fn done_item(response: &str, outcome: ResponseOutcome) -> ModelItem {
    event(ModelEvent::ResponseDone { response: ResponseId::new(response), outcome })
}

fn samples_in(item: &ModelItem) -> usize {
    match item {
        ModelItem::Audio { samples, .. } => samples.len(),
        ModelItem::Event(_) | ModelItem::AudioDone { .. } => 0,
    }
}
