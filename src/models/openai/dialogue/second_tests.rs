//! Answers that have gone wrong and are asked for again; and who asks for answers at all.

use super::*;

#[test]
fn an_answer_refused_for_its_rate_is_asked_for_again_and_told_as_one() {
    let mut scene = Scene::new();
    scene.act(ModelAction::Respond { instructions: Some(Pii::new("Be brief.".into())) });
    scene.hear(&created("r1"));
    scene.hear(&failed("r1", "rate_limit_exceeded"));
    assert_eq!(scene.items(), [started_item("r1")]);
    scene.sent();
    scene.wait_ms(999);
    assert!(scene.requests().is_empty());
    scene.wait_ms(1);
    let sent = scene.sent();
    assert_eq!(sent[0]["response"]["instructions"], "Be brief.");
    scene.hear(&created("r2"));
    scene.hear(&audio("r2", "a2", &[1]));
    scene.hear(&done("r2", "completed"));
    let expected = [
        sound_item("a2", &[1]),
        ModelItem::AudioDone { utterance: UtteranceId::new("a2") },
        done_item("r1", ResponseOutcome::Completed),
    ];
    assert_eq!(scene.items(), expected);
}

#[test]
fn an_answer_that_fails_three_times_has_failed() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    for (failing, next, wait_ms) in [("r1", "r2", 1_000), ("r2", "r3", 3_000)] {
        scene.hear(&failed(failing, "server_error"));
        scene.wait_ms(wait_ms);
        assert_eq!(scene.requests(), ["response.create"]);
        scene.hear(&created(next));
    }
    scene.hear(&failed("r3", "server_error"));
    let outcome = ResponseOutcome::Failed("server_error".into());
    assert_eq!(scene.items(), [started_item("r1"), done_item("r1", outcome)]);
    assert_eq!(scene.dialogue.poll_timeout(), None);
}

#[test]
fn an_answer_of_which_something_was_heard_is_not_asked_for_again() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    scene.hear(&audio("r1", "a1", &[1]));
    scene.hear(&failed("r1", "server_error"));
    let outcome = ResponseOutcome::Failed("server_error".into());
    assert_eq!(scene.items().last(), Some(&done_item("r1", outcome)));
    assert_eq!(scene.dialogue.poll_timeout(), None);
}

#[test]
fn the_server_says_when_it_can_answer_again_but_not_for_ever() {
    for (told, waits_ms) in [("2.5", 2_500), ("600", 5_000)] {
        let mut scene = Scene::new();
        scene.hear(&created("r1"));
        scene.hear(&failed("r1", "rate_limit_exceeded"));
        scene.hear(&format!(
            r#"{{"type":"rate_limits.updated","rate_limits":[{{"name":"tokens","limit":100,
                "remaining":0,"reset_seconds":{told}}}]}}"#
        ));
        let (until, _) = scene.dialogue.poll_timeout().unwrap();
        assert_eq!((until - scene.now).as_millis(), waits_ms);
    }
}

#[test]
fn new_speech_or_a_cancel_drops_what_was_to_be_asked_again() {
    let speech = r#"{"type":"input_audio_buffer.speech_started","item_id":"u2"}"#;
    for by_speech in [true, false] {
        let mut scene = Scene::new();
        scene.hear(&created("r1"));
        scene.hear(&failed("r1", "server_error"));
        scene.items();
        if by_speech {
            scene.hear(speech);
        } else {
            scene.act(ModelAction::Cancel);
        }
        assert_eq!(scene.items()[0], done_item("r1", ResponseOutcome::Cancelled));
        assert_eq!(scene.dialogue.poll_timeout(), None);
        assert!(scene.requests().is_empty());
    }
}

#[test]
fn an_answer_in_writing_is_deleted_and_spoken() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    write_answer(&mut scene, "r1", "a1");
    assert_eq!(scene.items(), [started_item("r1")]);
    let sent = scene.sent();
    assert_eq!(
        (&sent[0]["type"], &sent[0]["item_id"]),
        (&json!("conversation.item.delete"), &json!("a1"))
    );
    assert_eq!(sent[1]["response"]["instructions"], "Say exactly: \"Hi.\"");
    scene.hear(&created("r2"));
    scene.hear(&audio("r2", "a2", &[1]));
    scene.hear(&done("r2", "completed"));
    let items = scene.items();
    assert_eq!(items[0], sound_item("a2", &[1]));
    assert_eq!(items.last(), Some(&done_item("r1", ResponseOutcome::Completed)));
}

#[test]
fn a_second_answer_in_writing_is_told_as_it_is() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    write_answer(&mut scene, "r1", "a1");
    scene.hear(&created("r2"));
    scene.items();
    write_answer(&mut scene, "r2", "a2");
    let items = scene.items();
    assert_eq!(items[0], words_item("a2", "Hi.", true));
    assert!(matches!(&items[1], ModelItem::Event(ModelEvent::Complaint { code, .. })
        if code == "text_only_response"));
    assert_eq!(items[2], done_item("r1", ResponseOutcome::Incomplete));
}

#[test]
fn words_in_writing_that_get_their_sound_after_all_are_told() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    scene.hear(&written("r1", "a1"));
    scene.hear(&audio("r1", "a1", &[1]));
    scene.hear(&done("r1", "completed"));
    let items = scene.items();
    assert_eq!(items[1..3], [words_item("a1", "Hi.", false), sound_item("a1", &[1])]);
    assert_eq!(items.last(), Some(&done_item("r1", ResponseOutcome::Completed)));
}

#[test]
fn we_ask_for_the_answer_where_the_server_does_not() {
    let turns = Turns { by_server: true, creates: false, interrupts: false };
    let mut scene = Scene::new();
    scene.dialogue = Dialogue::new(Medium::Voice, true, turns);
    scene.hear(r#"{"type":"input_audio_buffer.speech_started","item_id":"u1"}"#);
    scene.hear(r#"{"type":"input_audio_buffer.speech_stopped","item_id":"u1"}"#);
    assert!(scene.requests().is_empty());
    scene.hear(r#"{"type":"input_audio_buffer.committed","item_id":"u1"}"#);
    assert_eq!(scene.requests(), ["response.create"]);
    let utterance = UtteranceId::new("u1");
    assert_eq!(scene.items()[0], event(ModelEvent::SpeechStarted { utterance, interrupts: false }));
}

#[test]
fn a_server_in_trouble_twice_is_left() {
    let mut scene = Scene::new();
    let trouble = error("server_error", "We are sorry.");
    scene.hear(&trouble);
    assert_eq!(scene.dialogue.poll_breakdown(), None);
    scene.hear(&created("r1"));
    scene.hear(&done("r1", "completed"));
    scene.hear(&trouble);
    assert_eq!(scene.dialogue.poll_breakdown(), None);
    scene.hear(&trouble);
    let lost = Breakdown::Lost("server_error: We are sorry.".into());
    assert_eq!(scene.dialogue.poll_breakdown(), Some(lost));
}

#[test]
fn an_item_id_that_changes_between_deltas_is_another_utterance() {
    let mut scene = Scene::new();
    scene.hear(&created("r1"));
    scene.hear(&audio("r1", "a1", &[0; 2_400]));
    scene.hear(&audio("r1", "a1b", &[0; 1_200]));
    scene.act(truncate("a1b", 0));
    scene.act(truncate("a1b", 0));
    scene.act(truncate("a1", 60));
    scene.act(truncate("a1", 90));
    let sent = scene.sent();
    let kinds: Vec<&str> = sent.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds, ["conversation.item.delete", "conversation.item.truncate"]);
    assert_eq!(sent[1]["audio_end_ms"], 60);
}

fn write_answer(scene: &mut Scene, response: &str, item: &str) {
    scene.hear(&written(response, item));
    scene.hear(&format!(
        r#"{{"type":"response.output_text.done","response_id":"{response}","item_id":"{item}",
            "text":"Hi."}}"#
    ));
    scene.hear(&done(response, "completed"));
}

fn written(response: &str, item: &str) -> String {
    format!(
        r#"{{"type":"response.output_text.delta","response_id":"{response}","item_id":"{item}",
            "delta":"Hi."}}"#
    )
}

fn failed(id: &str, code: &str) -> String {
    format!(
        r#"{{"type":"response.done","response":{{"id":"{id}","status":"failed","output":[],
            "status_details":{{"type":"failed","error":{{"type":"e","code":"{code}"}}}}}}}}"#
    )
}

fn started_item(id: &str) -> ModelItem {
    event(ModelEvent::ResponseStarted { response: ResponseId::new(id) })
}

impl Scene {
    fn wait_ms(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.dialogue.handle_timeout(self.now);
    }
}
