//! The words of others through the whole dialogue, however late and in whichever order they come.

use std::time::{Duration, Instant};

use super::*;
use crate::sys::clock;

#[test]
fn words_that_come_after_the_next_answer_are_told_in_order() {
    let mut scene = Scene::new();
    scene.turn("u1", "null");
    scene.answer("r1");
    scene.turn("u2", r#""a1""#);
    scene.answer("r2");
    scene.hear(&completed("u2", "And tomorrow?"));
    assert_eq!(scene.told(), [""; 0]);
    scene.hear(&completed("u1", "How is the weather?"));
    assert_eq!(scene.told(), ["u1: How is the weather?", "u2: And tomorrow?"]);
}

#[test]
fn words_wait_for_lost_ones_no_longer_than_three_seconds() {
    let mut scene = Scene::new();
    scene.turn("u1", "null");
    scene.turn("u2", r#""u1""#);
    scene.hear(&completed("u2", "Hello?"));
    let (until, reason) = scene.dialogue.poll_timeout().unwrap();
    assert_eq!((until, reason), (scene.now + Duration::from_secs(3), WAITED_FOR));
    scene.dialogue.handle_timeout(until);
    assert_eq!(scene.told(), ["u2: Hello?"]);
    assert_eq!(scene.dialogue.poll_timeout(), None);
}

#[test]
fn a_turn_whose_words_failed_holds_nobody_up() {
    let mut scene = Scene::new();
    scene.turn("u1", "null");
    scene.turn("u2", r#""u1""#);
    scene.hear(&completed("u2", "Hello?"));
    scene.hear(
        r#"{"type":"conversation.item.input_audio_transcription.failed","item_id":"u1",
            "content_index":0,"error":{"type":"transcription_error","code":"audio_unintelligible",
            "message":"It could not be understood.","param":null}}"#,
    );
    assert_eq!(scene.told(), ["u1: ", "u2: Hello?"]);
}

#[test]
fn a_turn_of_silence_holds_nobody_up() {
    let mut scene = Scene::new();
    scene.hear(
        r#"{"type":"input_audio_buffer.timeout_triggered","event_id":"e","audio_start_ms":13216,
            "audio_end_ms":19232,"item_id":"idle"}"#,
    );
    scene.turn("idle", "null");
    scene.turn("u1", r#""idle""#);
    scene.hear(&completed("u1", "Still here."));
    assert_eq!(scene.told(), ["u1: Still here."]);
}

#[test]
fn another_start_without_a_stop_is_another_utterance() {
    let mut scene = Scene::new();
    for item in ["u1", "u1", "u2"] {
        scene.hear(&format!(
            r#"{{"type":"input_audio_buffer.speech_started","audio_start_ms":1,
                "item_id":"{item}"}}"#
        ));
    }
    scene.turn("u2", "null");
    let started = |item: &ModelItem| {
        let ModelItem::Event(ModelEvent::SpeechStarted { utterance, .. }) = item else {
            return None;
        };
        Some(utterance.as_str().to_owned())
    };
    assert_eq!(scene.items().iter().filter_map(started).collect::<Vec<_>>(), ["u1", "u2"]);
}

#[test]
fn words_all_told_anew_replace_those_before() {
    let mut scene = Scene::new();
    for text in ["I scream", "Ice cream"] {
        scene.hear(&format!(
            r#"{{"type":"conversation.item.input_audio_transcription.updated","item_id":"u1",
                "transcript":"{text}"}}"#
        ));
    }
    scene.turn("u1", "null");
    scene.hear(&completed("u1", "Ice cream!"));
    assert_eq!(scene.told(), ["u1: I scream", "u1: Ice cream", "u1: Ice cream!"]);
}

#[test]
fn released_words_go_out_at_once() {
    let mut scene = Scene::new();
    scene.turn("u1", "null");
    scene.turn("u2", r#""u1""#);
    scene.hear(&completed("u2", "Hello?"));
    scene.dialogue.release_words();
    assert_eq!(scene.told(), ["u2: Hello?"]);
}

#[test]
fn a_server_that_speaks_in_a_session_of_text_is_read_and_not_heard() {
    let mut scene = Scene::new();
    scene.dialogue = Dialogue::new(Medium::Text, true, Turns::OURS);
    let sound = crate::models::wire::output_audio_delta("r1", "a1", &[7; 480]);
    scene.hear(&ServerEvent::AudioDelta(sound).encode(None));
    scene.hear(
        r#"{"type":"response.output_audio_transcript.delta","response_id":"r1","item_id":"a1",
            "delta":"Yes."}"#,
    );
    let items = scene.items();
    let is_words = |item: &ModelItem| matches!(item, ModelItem::Event(ModelEvent::Words { .. }));
    assert!(items.len() == 1 && items.iter().all(is_words), "{items:?}");
}

struct Scene {
    dialogue: Dialogue,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let turns = Turns { by_server: true, creates: true, interrupts: true };
        Self { dialogue: Dialogue::new(Medium::Voice, true, turns), now: clock::now() }
    }

    fn hear(&mut self, text: &str) {
        let event = ServerEvent::decode(text).unwrap().event;
        self.dialogue.handle_event(event, self.now);
    }

    /// A turn that is over; `previous` is JSON.
    fn turn(&mut self, item: &str, previous: &str) {
        self.hear(&format!(
            r#"{{"type":"input_audio_buffer.committed","item_id":"{item}",
                "previous_item_id":{previous}}}"#
        ));
        self.hear(&format!(
            r#"{{"type":"conversation.item.added","previous_item_id":{previous},"item":{{
                "id":"{item}","type":"message","role":"user",
                "content":[{{"type":"input_audio","transcript":null}}]}}}}"#
        ));
    }

    fn answer(&mut self, response: &str) {
        self.hear(&format!(r#"{{"type":"response.created","response":{{"id":"{response}"}}}}"#));
        self.hear(&format!(
            r#"{{"type":"response.done","response":{{"id":"{response}","status":"completed"}}}}"#
        ));
    }

    fn items(&mut self) -> Vec<ModelItem> {
        std::iter::from_fn(|| self.dialogue.poll_item()).collect()
    }

    /// The words of others that were told.
    fn told(&mut self) -> Vec<String> {
        let words = |item| {
            let ModelItem::Event(ModelEvent::Transcript { utterance, text, .. }) = item else {
                return None;
            };
            Some(format!("{}: {}", utterance.as_str(), text.expose()))
        };
        self.items().into_iter().filter_map(words).collect()
    }
}

fn completed(item: &str, transcript: &str) -> String {
    format!(
        r#"{{"type":"conversation.item.input_audio_transcription.completed","item_id":"{item}",
            "content_index":0,"transcript":"{transcript}"}}"#
    )
}

const WAITED_FOR: &str = "the words of an earlier turn";
