//! How conversations begin, and how they fail to.

use super::*;

#[test]
fn a_conversation_begins_when_the_server_has_taken_the_settings() {
    let mut scene = Scene::new();
    assert_eq!(scene.steps(), ["connect 1"]);
    scene.connect(1);
    assert_eq!(scene.sent(1), ["session.update"]);
    assert_eq!(scene.items(), []);
    scene.hear(1, r#"{"type":"session.created","session":{}}"#);
    scene.hear(1, r#"{"type":"session.updated","session":{}}"#);
    assert_eq!(scene.items(), [event(ModelEvent::Ready { takes_turns: true })]);
}

#[test]
fn who_takes_turns_is_told_by_the_settings_that_went_out() {
    let mut spec = AgentSpec::default();
    spec.model.turn_detection = TurnDetection::Gateway { silence: Duration::from_millis(500) };
    let mut scene = Scene::of(&profile(), &spec, Medium::Voice);
    scene.open(1);
    assert_eq!(scene.items(), [event(ModelEvent::Ready { takes_turns: false })]);
}

#[test]
fn what_the_agent_wants_meanwhile_waits_in_its_order() {
    let mut scene = Scene::new();
    scene.act(add_text("It rains."));
    scene.act(respond(Some("Be brief.")));
    scene.act(respond(Some("Be kind.")));
    scene.say(50);
    scene.open(1);
    assert_eq!(
        scene.sent(1),
        [
            "session.update",
            "item.create system It rains.",
            "50 frames",
            "response.create Be brief.\n\nBe kind."
        ]
    );
}

#[test]
fn a_server_that_is_busy_or_away_is_asked_again_with_longer_waits() {
    let mut scene = Scene::new();
    let mut waits = Vec::new();
    for (link, status) in [(1, 429), (2, 503), (3, 500), (4, 408)] {
        scene.refuse(link, status);
        let before = scene.now;
        scene.steps.retain(|step| step != &format!("connect {link}"));
        while scene.steps.is_empty() {
            scene.wait_ms(10);
        }
        waits.push((scene.now - before).as_millis());
    }
    assert_eq!(waits, [0, 250, 500, 1_000]);
    scene.open(5);
    assert_eq!(scene.items(), [event(ModelEvent::Ready { takes_turns: true })]);
}

#[test]
fn a_server_that_says_when_to_come_back_is_obeyed() {
    let mut scene = Scene::new();
    scene.steps();
    let retry_after = Some(Duration::from_secs(3));
    let error = ConnectError::Refused { place: "host".into(), status: 429, retry_after };
    scene.conversation.on_refused(LinkId(1), &error, scene.now);
    scene.wait_ms(2_999);
    assert!(scene.steps().is_empty());
    scene.wait_ms(1);
    assert_eq!(scene.steps(), ["connect 2"]);
}

#[test]
fn a_server_that_does_not_want_us_is_not_asked_again() {
    for status in [400, 401, 403, 404] {
        let mut scene = Scene::new();
        scene.refuse(1, status);
        let reason = format!("host: refused with HTTP {status}");
        assert_eq!(scene.ended, Some(Err(ModelFailure::Unavailable(reason))));
    }
}

#[test]
fn a_server_that_is_not_there_is_given_up_in_time() {
    let mut scene = Scene::new();
    let started = scene.now;
    let mut link = 1;
    while scene.ended.is_none() {
        let error = ConnectError::Unreachable("host: nobody".into());
        scene.conversation.on_refused(LinkId(link), &error, scene.now);
        scene.collect();
        link += 1;
        while scene.ended.is_none() && !scene.steps().contains(&format!("connect {link}")) {
            scene.wait_ms(10);
        }
    }
    assert!(scene.now - started <= Duration::from_secs(20));
    assert_eq!(scene.ended, Some(Err(ModelFailure::Unavailable("host: nobody".into()))));
}

#[test]
fn settings_that_are_never_taken_are_told_to_another_session() {
    let mut scene = Scene::new();
    scene.connect(1);
    scene.wait_ms(10_000);
    assert_eq!(scene.steps(), ["connect 1", "close 1", "connect 2"]);
    scene.open(2);
    assert_eq!(scene.items(), [event(ModelEvent::Ready { takes_turns: true })]);
}

#[test]
fn settings_that_are_refused_or_a_beta_server_end_it() {
    for error in [
        r#"{"code":"unknown_parameter","message":"no","event_id":"setup_1"}"#,
        r#"{"code":"beta_api_shape_disabled","message":"no"}"#,
    ] {
        let mut scene = Scene::new();
        scene.connect(1);
        scene.hear(1, &format!(r#"{{"type":"error","error":{error}}}"#));
        assert!(matches!(&scene.ended, Some(Err(ModelFailure::Unavailable(_)))), "{error}");
        assert_eq!(scene.steps(), ["connect 1", "close 1"]);
    }
}

#[test]
fn a_close_of_the_servers_own_kind_ends_it() {
    let mut scene = Scene::new();
    scene.connect(1);
    scene.lose(1, Some(4_000));
    assert!(matches!(scene.ended, Some(Err(ModelFailure::Unavailable(_)))));
}

#[test]
fn an_agent_that_closes_is_done_at_once_wherever_it_stands() {
    let mut scene = Scene::new();
    scene.act(ModelAction::Close);
    assert_eq!(
        (scene.ended.take(), scene.steps()),
        (Some(Ok(())), strings(&["connect 1", "close 1"]))
    );
    let mut scene = Scene::standing();
    scene.lose(1, None);
    scene.act(ModelAction::Close);
    assert_eq!(
        (scene.ended.take(), scene.steps().last().unwrap().as_str()),
        (Some(Ok(())), "close 2")
    );
    scene.act(respond(None));
    scene.say(1);
    assert_eq!(scene.conversation.poll_timeout(), None);
}

#[test]
fn a_session_in_text_that_is_lost_is_lost() {
    let mut scene = Scene::of(&profile(), &AgentSpec::default(), Medium::Text);
    scene.open(1);
    assert_eq!(scene.items(), [event(ModelEvent::Ready { takes_turns: false })]);
    scene.act(add_text("Hello."));
    assert_eq!(scene.sent(1), ["session.update", "item.create system Hello."]);
    scene.lose(1, None);
    assert_eq!(scene.ended, Some(Err(ModelFailure::Lost("gone".into()))));
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
