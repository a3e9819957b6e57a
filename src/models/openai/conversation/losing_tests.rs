//! Sessions that are lost in mid-call, and what becomes of the call.

use super::*;

#[test]
fn a_socket_lost_in_mid_answer_is_opened_again_and_the_answer_goes_on() {
    let mut scene = Scene::standing();
    scene.exchange(1, 1);
    scene.turn(1, "u2");
    scene.hear(1, &transcription("u2", "Tell me a story."));
    scene.hear(1, &created("r2"));
    scene.hear(1, &words("r2", "a2", "Once upon a time"));
    scene.hear(1, &audio("r2", "a2", 400));
    scene.take_all();
    scene.lose(1, None);
    let expected = [
        reconnecting(),
        audio_done("a2"),
        words_item("a2", "Once upon a time", true),
        done_item("r2", ResponseOutcome::Incomplete),
    ];
    assert_eq!(scene.items(), expected);
    assert_eq!(scene.steps(), ["close 1", "connect 2"]);
    scene.open(2);
    assert_eq!(scene.items(), [event(ModelEvent::Restored)]);
    let sent = scene.sent(2);
    let context = [
        "session.update",
        "item.create user Question 1?",
        "item.create assistant Answer 1.",
        "item.create user Tell me a story.",
        "item.create assistant Once upon a time",
    ];
    assert_eq!(sent[..5], context);
    let asked = sent.last().unwrap();
    assert!(asked.starts_with("response.create ") && asked.ends_with("repeat nothing."), "{asked}");
}

#[test]
fn a_turn_that_is_open_when_the_socket_breaks_is_heard_again_from_its_beginning() {
    let mut scene = Scene::standing();
    scene.say(100);
    scene.hear(1, &speech_started("u1", 1_900));
    scene.say(10);
    scene.frames();
    scene.items();
    scene.lose(1, Some(1_006));
    assert_eq!(scene.items(), [reconnecting(), transcript_item("u1", "")]);
    // It goes on while nobody hears it.
    scene.say(5);
    assert!(scene.frames().is_empty());
    scene.open(2);
    scene.say(1);
    let frames = scene.frames();
    // Half a second before the server heard it, through now, and on without a gap.
    assert_eq!(frames, (76..=116).collect::<Vec<i16>>());
    scene.hear(2, &speech_started("u1", 300));
    scene.hear(2, &item_event("input_audio_buffer.committed", "u1"));
    scene.hear(2, &transcription("u1", "What time is it?"));
    let expected = [
        event(ModelEvent::Restored),
        event(ModelEvent::SpeechStarted { utterance: UtteranceId::new("s2.u1"), interrupts: true }),
        event(ModelEvent::SpeechStopped { utterance: UtteranceId::new("s2.u1") }),
        transcript_item("s2.u1", "What time is it?"),
    ];
    assert_eq!(scene.items(), expected);
    // Nothing was asked for: the server answers what it hears.
    assert!(!scene.sent(2).iter().any(|line| line.starts_with("response.create")));
}

#[test]
fn a_turn_is_heard_again_as_often_as_it_takes() {
    let mut scene = Scene::standing();
    scene.say(100);
    scene.hear(1, &speech_started("u1", 1_900));
    scene.say(10);
    scene.lose(1, None);
    scene.open(2);
    scene.lose(2, None);
    scene.frames();
    scene.open(3);
    assert_eq!(scene.frames(), (76..=110).collect::<Vec<i16>>());
    // The third server hears it, later and on its own clock, and is lost as well.
    scene.hear(3, &speech_started("u1", 300));
    scene.lose(3, None);
    scene.open(4);
    assert_eq!(scene.frames(), (86..=110).collect::<Vec<i16>>());
}

#[test]
fn a_turn_whose_words_are_safe_is_not_heard_again_but_answered() {
    let mut scene = Scene::standing();
    scene.say(50);
    scene.turn(1, "u1");
    scene.hear(1, &transcription("u1", "What time is it?"));
    scene.take_all();
    scene.lose(1, None);
    scene.open(2);
    assert_eq!(
        scene.sent(2),
        ["session.update", "item.create user What time is it?", "response.create"]
    );
    assert!(scene.frames().is_empty());
}

#[test]
fn a_turn_that_was_answered_before_its_words_came_is_told_as_sound() {
    let mut scene = Scene::standing();
    scene.say(50);
    scene.turn(1, "u1");
    scene.hear(1, &created("r1"));
    scene.hear(1, &words("r1", "a1", "It is noon."));
    scene.hear(1, &audio("r1", "a1", 100));
    scene.hear(1, &done("r1", "completed"));
    scene.take_all();
    scene.lose(1, None);
    assert_eq!(scene.items(), [reconnecting(), transcript_item("u1", "")]);
    scene.open(2);
    let context = ["session.update", "item.create user sound", "item.create assistant It is noon."];
    assert_eq!(scene.sent(2), context);
}

#[test]
fn an_answer_that_was_asked_for_is_asked_for_again_in_the_same_words() {
    let mut scene = Scene::standing();
    scene.act(respond(Some("Say hello.")));
    scene.lose(1, None);
    scene.open(2);
    assert_eq!(scene.sent(2), ["session.update", "response.create Say hello."]);
}

#[test]
fn an_answer_that_was_broken_off_is_not_asked_for_again() {
    let mut scene = Scene::standing();
    scene.act(respond(None));
    scene.hear(1, &created("r1"));
    scene.act(ModelAction::Cancel);
    scene.items();
    scene.lose(1, None);
    assert_eq!(scene.items(), [reconnecting(), done_item("r1", ResponseOutcome::Cancelled)]);
    scene.open(2);
    assert_eq!(scene.sent(2), ["session.update"]);
}

#[test]
fn a_call_that_is_open_is_told_as_a_pair_once_its_outcome_is_there() {
    let spec = AgentSpec { tools: vec![weather()], ..AgentSpec::default() };
    let mut scene = Scene::of(&profile(), &spec, Medium::Voice);
    scene.open(1);
    scene.act(respond(None));
    scene.hear(1, &created("r1"));
    scene.hear(1, &call_done("r1", "c1", "weather"));
    scene.hear(1, &call_done("r1", "c2", "weather"));
    scene.act(output("c1", "rain"));
    assert_eq!(scene.sent(1).last().unwrap(), "item.create rain");
    scene.lose(1, None);
    scene.open(2);
    // The answer that called is not wanted again: what comes of the calls is.
    let told = ["session.update", "item.create weather", "item.create rain"];
    assert_eq!(scene.sent(2), told);
    scene.act(output("c2", "sun"));
    scene.act(output("c2", "twice"));
    let sent = std::mem::take(&mut scene.sent);
    assert_eq!(sent.len(), 2);
    let ids: Vec<&Value> = sent.iter().map(|(_, event)| &event["item"]["call_id"]).collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], "c2");
    assert_eq!(sent[1].1["item"]["output"], "sun");
}

#[test]
fn a_cut_of_what_another_session_said_replaces_what_was_told_of_it() {
    let mut scene = Scene::standing();
    scene.exchange(1, 1);
    scene.hear(1, &created("r2"));
    scene.hear(1, &words("r2", "a2", "one two three four"));
    scene.hear(1, &audio("r2", "a2", 1_000));
    scene.lose(1, None);
    scene.open(2);
    scene.act(add_text("It rains."));
    let told = std::mem::take(&mut scene.sent);
    let id = |text: &str| {
        let found = told.iter().find(|(_, event)| event["item"]["content"][0]["text"] == text);
        found.unwrap().1["item"]["id"].as_str().unwrap().to_owned()
    };
    let (before, whole) = (id("Answer 1."), id("one two three four"));
    scene.act(truncate("a2", 500));
    let expected =
        [format!("item.delete {whole}"), format!("item.create {before} assistant one two")];
    assert_eq!(scene.sent(2), expected);
    scene.act(truncate("a2", 100));
    assert_eq!(scene.sent(2), [""; 0]);
    scene.act(truncate("a1", 0));
    assert_eq!(scene.sent(2), [format!("item.delete {before}")]);
}

#[test]
fn what_was_cut_before_the_loss_is_told_as_it_was_heard() {
    let mut scene = Scene::standing();
    scene.hear(1, &created("r1"));
    scene.hear(1, &words("r1", "a1", "one two three four"));
    scene.hear(1, &audio("r1", "a1", 1_000));
    scene.hear(1, &words("r1", "a2", "five six"));
    scene.hear(1, &audio("r1", "a2", 500));
    scene.act(ModelAction::Cancel);
    scene.act(truncate("a1", 500));
    scene.act(truncate("a2", 0));
    let cuts = ["response.cancel", "item.truncate a1 500", "item.delete a2"];
    assert_eq!(scene.sent(1), cuts);
    scene.lose(1, None);
    scene.open(2);
    assert_eq!(scene.sent(2), ["session.update", "item.create assistant one two"]);
}

#[test]
fn what_was_said_is_told_in_the_order_of_the_conversation() {
    let mut scene = Scene::standing();
    let added = |item: &str, previous: &str, role: &str, kind: &str| {
        format!(
            r#"{{"type":"conversation.item.added","previous_item_id":{previous},"item":{{
                "id":"{item}","type":"message","role":"{role}","content":[{{"type":"{kind}"}}]}}}}"#
        )
    };
    // The answer is told before the question that it follows, and the words come last of all.
    scene.hear(1, &added("a1", "\"u1\"", "assistant", "output_audio"));
    scene.hear(1, &added("u2", "\"a1\"", "user", "input_audio"));
    scene.hear(1, &added("a2", "\"u2\"", "assistant", "output_audio"));
    scene.hear(1, &words("r1", "a1", "first"));
    scene.hear(1, &done("r1", "completed"));
    scene.hear(1, &words("r2", "a2", "third"));
    scene.hear(1, &done("r2", "completed"));
    scene.hear(1, &transcription("u2", "second"));
    scene.lose(1, None);
    scene.open(2);
    let told = [
        "session.update",
        "item.create assistant first",
        "item.create user second",
        "item.create assistant third",
    ];
    assert_eq!(scene.sent(2), told);
}

#[test]
fn frames_that_come_while_there_is_no_link_are_kept_within_bounds() {
    let mut scene = Scene::standing();
    scene.say(10);
    scene.take_all();
    scene.lose(1, None);
    for _ in 0..1_200 {
        scene.frames_said += 1;
        scene.frame();
    }
    scene.open(2);
    let frames = scene.frames();
    assert_eq!((frames.len(), frames[0], *frames.last().unwrap()), (1_000, 211, 1_210));
}

#[test]
fn what_the_agent_wants_during_an_outage_is_done_after_it() {
    let mut scene = Scene::standing();
    scene.lose(1, None);
    scene.act(respond(Some("one")));
    scene.act(ModelAction::Cancel);
    scene.act(add_text("It rains."));
    scene.act(respond(Some("two")));
    scene.act(respond(Some("three")));
    scene.open(2);
    let sent = ["session.update", "item.create system It rains.", "response.create two\n\nthree"];
    assert_eq!(scene.sent(2), sent);
}

#[test]
fn where_we_end_turns_what_was_not_answered_is_committed_again() {
    let mut spec = AgentSpec::default();
    spec.model.turn_detection = TurnDetection::Gateway { silence: Duration::from_millis(500) };
    let mut scene = Scene::of(&profile(), &spec, Medium::Voice);
    scene.open(1);
    scene.say(40);
    scene.act(ModelAction::Clear);
    scene.say(30);
    scene.act(ModelAction::Commit);
    scene.act(respond(None));
    scene.say(10);
    scene.take_all();
    scene.lose(1, None);
    scene.open(2);
    let sent = scene.sent(2);
    let told = [
        "session.update",
        "30 frames",
        "input_audio_buffer.commit",
        "10 frames",
        "response.create",
    ];
    assert_eq!(sent, told);
}

#[test]
fn five_losses_within_a_minute_are_the_end() {
    let mut scene = Scene::standing();
    for link in 1..5 {
        scene.lose(link, None);
        scene.open(link + 1);
    }
    scene.items();
    scene.lose(5, None);
    assert_eq!(scene.ended, Some(Err(ModelFailure::Lost("gone".into()))));
    assert_eq!(scene.items(), []);
}

#[test]
fn a_server_that_stays_away_is_the_end() {
    let mut scene = Scene::standing();
    let lost_at = scene.now;
    scene.lose(1, None);
    let mut link = 2;
    while scene.ended.is_none() {
        scene.refuse(link, 503);
        link += 1;
        while scene.ended.is_none() && !scene.steps().contains(&format!("connect {link}")) {
            scene.wait_ms(10);
        }
    }
    assert!(scene.now - lost_at <= Duration::from_secs(15));
    assert!(matches!(scene.ended, Some(Err(ModelFailure::Lost(_)))));
}

#[test]
fn what_no_other_session_would_mend_is_the_end() {
    for code in [1_002, 1_008, 4_000] {
        let mut scene = Scene::standing();
        scene.lose(1, Some(code));
        assert_eq!(scene.ended, Some(Err(ModelFailure::Lost("gone".into()))), "{code}");
    }
    let mut scene = Scene::standing();
    scene.hear(1, r#"{"type":"error","error":{"code":"insufficient_quota","message":"no"}}"#);
    assert!(matches!(scene.ended, Some(Err(ModelFailure::Lost(_)))));
}

#[test]
fn a_session_that_has_expired_is_lost_once_and_opened_again_at_once() {
    let mut scene = Scene::standing();
    scene.hear(1, r#"{"type":"error","error":{"code":"session_expired","message":"60 minutes"}}"#);
    scene.lose(1, Some(1_001));
    let reason = "session_expired: 60 minutes".to_owned();
    assert_eq!(scene.items(), [event(ModelEvent::Reconnecting { reason })]);
    assert_eq!(scene.steps(), ["close 1", "connect 2"]);
}

#[test]
fn a_half_open_socket_is_noticed_and_nothing_said_into_it_is_lost() {
    let mut scene = Scene::standing();
    scene.say(100);
    scene.conversation.on_alive(LinkId(1), scene.now);
    scene.take_all();
    // Nobody hears these.
    for _ in 0..200 {
        scene.frames_said += 1;
        scene.frame();
        scene.wait_alone_ms(20);
    }
    scene.wait_alone_ms(11_000);
    assert_eq!(scene.steps(), ["ping 1", "close 1", "connect 2"]);
    scene.frames();
    scene.open(2);
    assert_eq!(scene.frames(), (76..=300).collect::<Vec<i16>>());
}

#[test]
fn an_answer_that_gives_no_sign_of_life_is_ended_while_its_session_lives() {
    let mut scene = Scene::standing();
    scene.act(respond(None));
    scene.hear(1, &created("r1"));
    scene.items();
    scene.wait_ms(30_000);
    let failed = ResponseOutcome::Failed("response_timeout".into());
    assert_eq!(scene.items().last(), Some(&done_item("r1", failed)));
    assert_eq!(scene.ended, None);
}

#[test]
fn a_long_past_is_told_only_in_its_latest_part() {
    let mut scene = Scene::standing();
    for number in 0..300 {
        scene.act(add_text(&format!("{number}")));
    }
    scene.act(add_text(&"x".repeat(60 * 1024)));
    let image = |name: &str, bytes: usize| ModelAction::AddImage {
        url: Pii::new(format!("data:{name},{}", "x".repeat(bytes))),
    };
    scene.act(image("large", 1_500_000));
    scene.act(image("small", 1_000_000));
    scene.take_all();
    scene.lose(1, None);
    scene.open(2);
    let sent: Vec<Value> = scene.sent.drain(..).map(|(_, event)| event).collect();
    assert_eq!(sent.len(), 1 + 254 + 1 + 1);
    let images = sent.iter().filter_map(|event| event["item"]["content"][0]["image_url"].as_str());
    assert_eq!(images.map(|url| &url[..10]).collect::<Vec<_>>(), ["data:small"]);
}

#[test]
fn names_of_different_sessions_never_meet() {
    let mut scene = Scene::standing();
    scene.exchange(1, 1);
    scene.hear(1, &created("r"));
    scene.hear(1, &call_done("r", "c1", "weather"));
    scene.lose(1, None);
    scene.open(2);
    scene.items();
    scene.hear(2, &created("r1"));
    scene.hear(2, &audio("r1", "a1", 100));
    scene.hear(2, &call_done("r1", "c1", "weather"));
    let items = scene.items();
    assert_eq!(items[0], started_item("s2.r1"));
    assert!(matches!(&items[2], ModelItem::Event(ModelEvent::ToolCall { id, .. })
        if id.as_str() == "s2.c1"));
    scene.take_all();
    scene.act(output("s2.c1", "sun"));
    assert_eq!(scene.sent[0].1["item"]["call_id"], "c1");
    scene.act(truncate("s2.a1", 40));
    assert_eq!(scene.sent(2).last().unwrap(), "item.truncate a1 40");
}
