//! Sessions that take over from each other before the hour is over.

use super::*;

const MINUTE: u64 = 60_000;

#[test]
fn another_session_takes_over_at_a_rest_and_nobody_notices() {
    let mut scene = Scene::standing();
    scene.exchange(1, 1);
    scene.wait_ms(50 * MINUTE - 1_000);
    scene.take_all();
    scene.wait_ms(1_000);
    assert_eq!(scene.steps(), ["connect 2"]);
    scene.say(10);
    scene.open(2);
    let told =
        ["session.update", "item.create user Question 1?", "item.create assistant Answer 1."];
    assert_eq!(scene.sent(2)[..3], told);
    assert_eq!(scene.steps(), ["close 1"]);
    scene.say(10);
    assert!(scene.sent(1).is_empty());
    // Every frame was sent; those around the change to both, lest a beginning of speech is lost.
    let frames = scene.frames();
    assert_eq!(frames.last(), Some(&45));
    assert_eq!(frames.iter().filter(|frame| **frame > 35).count(), 10);
    assert_eq!(scene.items(), []);
}

#[test]
fn a_session_is_left_only_when_all_is_quiet() {
    let mut scene = Scene::standing();
    scene.wait_ms(50 * MINUTE);
    scene.hear(1, &speech_started("u1", 0));
    scene.open(2);
    let stays = |scene: &mut Scene| {
        scene.wait_ms(500);
        assert!(!scene.steps().contains(&"close 1".to_owned()));
    };
    scene.steps();
    // Somebody speaks; their answer is awaited, given, and heard; their words are awaited.
    stays(&mut scene);
    scene.hear(1, &item_event("input_audio_buffer.committed", "u1"));
    stays(&mut scene);
    scene.hear(1, &created("r1"));
    stays(&mut scene);
    scene.hear(1, &words("r1", "a1", "Yes."));
    scene.hear(1, &audio("r1", "a1", 3_000));
    scene.hear(1, &done("r1", "completed"));
    scene.hear(1, &transcription("u1", "Hello?"));
    stays(&mut scene);
    scene.act(add_text("It rains."));
    scene.sent.clear();
    scene.wait_ms(2_500);
    assert_eq!(scene.steps(), ["close 1"]);
    // What was said in between is told before the change.
    let told =
        ["item.create user Hello?", "item.create assistant Yes.", "item.create system It rains."];
    assert_eq!(scene.sent(2), told);
    scene.hear(2, &created("r1"));
    assert_eq!(scene.items().last(), Some(&started_item("s2.r1")));
}

#[test]
fn at_the_hard_limit_the_other_takes_over_whatever_is_going_on() {
    let mut scene = busy_until_57_minutes();
    scene.hear(1, &item_event("input_audio_buffer.committed", "u1"));
    scene.hear(1, &transcription("u1", "Tell me a story."));
    scene.hear(1, &created("r1"));
    scene.hear(1, &words("r1", "a1", "Once upon a time"));
    scene.take_all();
    scene.wait_ms(20_000);
    scene.hear(1, &audio("r1", "a1", 20_000));
    scene.wait_ms(20_000);
    scene.hear(1, &words("r1", "a1", " there was"));
    assert!(scene.steps().is_empty());
    scene.take_all();
    scene.wait_ms(20_000);
    let expected = [
        audio_done("a1"),
        words_item("a1", "Once upon a time there was", true),
        done_item("r1", ResponseOutcome::Incomplete),
    ];
    assert_eq!(scene.items(), expected);
    assert_eq!(scene.steps(), ["close 1"]);
    let sent = scene.sent(2);
    let told =
        ["item.create user Tell me a story.", "item.create assistant Once upon a time there was"];
    assert_eq!(sent[..2], told);
    assert!(sent.last().unwrap().ends_with("repeat nothing."), "{sent:?}");
}

#[test]
fn late_words_of_a_session_that_was_left_find_their_place() {
    let mut scene = busy_until_57_minutes();
    scene.wait_ms(55_000);
    scene.hear(1, &item_event("input_audio_buffer.committed", "u1"));
    scene.hear(1, &created("r1"));
    scene.hear(1, &words("r1", "a1", "It is noon."));
    scene.hear(1, &audio("r1", "a1", 20_000));
    scene.take_all();
    scene.wait_ms(5_000);
    assert_eq!(scene.items()[0], audio_done("a1"));
    assert!(scene.steps().is_empty());
    assert_eq!(scene.sent(2)[0], "item.create assistant It is noon.");
    scene.hear(1, &transcription("u1", "What time is it?"));
    assert_eq!(scene.items(), [transcript_item("u1", "What time is it?")]);
    assert_eq!(scene.sent(2), ["item.create root user What time is it?"]);
    assert_eq!(scene.steps(), ["close 1"]);
}

#[test]
fn a_cut_while_another_session_stands_by_is_told_to_both() {
    let mut scene = Scene::standing();
    scene.wait_ms(50 * MINUTE - 500);
    scene.hear(1, &created("r1"));
    scene.hear(1, &words("r1", "a1", "one two three four"));
    scene.hear(1, &audio("r1", "a1", 10_000));
    scene.hear(1, &done("r1", "completed"));
    scene.wait_ms(500);
    scene.open(2);
    let told = scene.sent.iter().find(|(_, event)| event["item"]["role"] == "assistant").unwrap();
    let told = told.1["item"]["id"].as_str().unwrap().to_owned();
    scene.sent.clear();
    scene.act(truncate("a1", 5_000));
    let sent: Vec<String> =
        scene.sent.iter().map(|(link, event)| format!("{}: {}", link.0, line(event))).collect();
    let expected = [
        "1: item.truncate a1 5000".to_owned(),
        format!("2: item.delete {told}"),
        "2: item.create assistant one two".to_owned(),
    ];
    assert_eq!(sent, expected);
}

/// Somebody speaks for seven minutes, and another session stands by all that time.
fn busy_until_57_minutes() -> Scene {
    let mut scene = Scene::standing();
    scene.wait_ms(50 * MINUTE);
    scene.hear(1, &speech_started("u1", 0));
    scene.open(2);
    scene.wait_ms(7 * MINUTE);
    assert_eq!(scene.steps(), ["connect 2"]);
    scene
}

#[test]
fn the_server_may_say_when_it_ends_a_session() {
    let mut scene = Scene::new();
    scene.connect(1);
    // 1 800 000 000 s is when the clock was set.
    scene.hear(1, r#"{"type":"session.updated","session":{"expires_at":1800001800}}"#);
    scene.take_all();
    scene.wait_ms(25 * MINUTE - 1);
    assert_eq!(scene.steps(), [""; 0]);
    scene.wait_ms(1);
    assert_eq!(scene.steps(), ["connect 2"]);
}

#[test]
fn a_wrong_clock_of_the_server_changes_nothing() {
    let mut scene = Scene::new();
    scene.connect(1);
    scene.hear(1, r#"{"type":"session.updated","session":{"expires_at":1700000000}}"#);
    scene.take_all();
    scene.wait_ms(50 * MINUTE - 1);
    assert_eq!(scene.steps(), [""; 0]);
    scene.wait_ms(1);
    assert_eq!(scene.steps(), ["connect 2"]);
}

#[test]
fn a_session_that_nobody_can_replace_is_used_to_its_end() {
    let mut scene = Scene::standing();
    scene.wait_ms(50 * MINUTE);
    scene.take_all();
    scene.refuse(2, 401);
    scene.wait_ms(5 * MINUTE);
    assert_eq!((scene.steps(), scene.ended.clone()), (Vec::new(), None));
    scene.hear(1, r#"{"type":"error","error":{"code":"session_expired","message":"over"}}"#);
    assert_eq!(scene.steps(), ["close 1", "connect 3"]);
}

#[test]
fn a_session_lost_while_another_stands_by_is_replaced_at_once() {
    let mut scene = Scene::standing();
    scene.wait_ms(50 * MINUTE);
    scene.hear(1, &speech_started("u1", 0));
    scene.open(2);
    scene.take_all();
    scene.lose(1, None);
    let expected = [reconnecting(), transcript_item("u1", ""), event(ModelEvent::Restored)];
    assert_eq!(scene.items(), expected);
    assert_eq!(scene.steps(), ["close 1"]);
    scene.hear(2, &created("r1"));
    assert_eq!(scene.items(), [started_item("s2.r1")]);
}

#[test]
fn a_call_of_three_hours_goes_through_four_sessions_without_a_word_about_it() {
    let mut scene = Scene::standing();
    let (mut link, mut asked) = (1, 0);
    while scene.frames_said < 9_000 {
        asked += 1;
        scene.exchange(link, asked);
        for _ in 0..30 {
            scene.wait_ms(1_000);
            let next = link + 1;
            if scene.steps().contains(&format!("connect {next}")) {
                scene.open(next);
                scene.wait_ms(1_000);
                assert_eq!(scene.steps(), [format!("close {link}")]);
                link = next;
            }
        }
    }
    assert_eq!((link, asked), (4, 360));
    let is_odd = |item: &ModelItem| {
        matches!(item, ModelItem::Event(ModelEvent::Reconnecting { .. } | ModelEvent::Restored))
    };
    assert!(!scene.items.iter().any(is_odd));
    let is_done = |item: &&ModelItem| {
        matches!(item, ModelItem::Event(ModelEvent::ResponseDone { outcome, .. })
            if *outcome == ResponseOutcome::Completed)
    };
    assert_eq!(scene.items.iter().filter(is_done).count(), 360);
}
