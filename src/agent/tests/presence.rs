//! Timelines of rooms that are empty, and of models that come and go.

use super::rounds::{event, result, started, tool_call};
use super::*;

#[test]
fn the_agent_greets_once_as_soon_as_somebody_is_there() {
    let mut scene = Scene::greeting();
    scene.event(Event::Room(RoomEvent::Joined { participants: vec![] }));
    scene.at(300).model(ModelEvent::Ready { takes_turns: true });
    scene.take();
    scene.at(5000).enter_room("p_1", "Ann");
    scene.at(5100).model(started("r1"));
    scene.at(5200).model(done("r1"));
    scene.at(6000).enter_room("p_2", "Bob");
    insta::assert_snapshot!(scene.told(), @r#"
    5000 ParticipantJoined(Participant { id: p_1, name: "Ann" })
    5000 > respond "Say exactly: \"Hello!\""
    5000 Status(Thinking)
    5200 Status(Idle)
    6000 ParticipantJoined(Participant { id: p_2, name: "Bob" })
    "#);
}

#[test]
fn who_speaks_first_is_not_greeted() {
    let mut scene = Scene::greeting();
    let ann = Participant { id: ParticipantId::new("p_1"), name: "Ann".into() };
    scene.event(Event::Room(RoomEvent::Joined { participants: vec![ann] }));
    scene.take();
    scene.say(100, 900);
    scene.at(1000).model(ModelEvent::Ready { takes_turns: false });
    scene.at(1500).timeout();
    insta::assert_snapshot!(scene.told(), @r"
     100 VadStart { participant: p_1, at_ms: 100 }
     900 VadEnd { participant: p_1, at_ms: 900 }
    1500 > Model(Commit)
    1500 > Model(Respond { instructions: None })
    1500 Status(Thinking)
    ");
}

#[test]
fn speech_in_a_mix_is_told_as_that_of_whoever_speaks() {
    let mut scene = Scene::in_call();
    scene.enter_room("p_2", "Bob");
    scene.take();
    let speaking = |id, is_speaking| {
        let id = ParticipantId::new(id);
        Event::Room(RoomEvent::Speaking { id, is_speaking })
    };
    let edge = |scene: &Scene, kind| {
        Event::Speech(SpeechEdge { participant: ParticipantId::new("room"), kind, at: scene.now })
    };
    scene.at(100).event(speaking("p_2", true));
    for (at, kind) in [(200, EdgeKind::Started), (900, EdgeKind::Stopped)] {
        scene.at(at);
        scene.event(edge(&scene, kind));
    }
    scene.event(speaking("p_2", false));
    scene.at(1000).model(transcript("u1", "it was me"));
    scene.at(2000);
    scene.event(edge(&scene, EdgeKind::Started));
    scene.at(2300).event(speaking("p_1", true));
    scene.at(2900);
    scene.event(edge(&scene, EdgeKind::Stopped));
    scene.at(3000).model(transcript("u2", "and this was me"));
    insta::assert_snapshot!(scene.told(), @r#"
     200 VadStart { participant: p_2, at_ms: 200 }
     900 VadEnd { participant: p_2, at_ms: 900 }
    1000 transcript p_2 "it was me" final=true
    2000 VadStart { participant: room, at_ms: 2000 }
    2900 VadEnd { participant: room, at_ms: 2900 }
    3000 transcript p_1 "and this was me" final=true
    "#);
}

#[test]
fn a_cough_only_delays_the_greeting() {
    let mut scene = Scene::greeting();
    let ann = Participant { id: ParticipantId::new("p_1"), name: "Ann".into() };
    scene.event(Event::Room(RoomEvent::Joined { participants: vec![ann] }));
    scene.at(100).speech(EdgeKind::Started);
    scene.at(200).model(ModelEvent::Ready { takes_turns: true });
    scene.take();
    scene.at(300).speech(EdgeKind::Stopped);
    insta::assert_snapshot!(scene.told(), @r#"
    300 VadEnd { participant: p_1, at_ms: 300 }
    300 > respond "Say exactly: \"Hello!\""
    300 Status(Thinking)
    "#);
}

#[test]
fn what_somebody_in_the_room_writes_is_told_and_what_a_stranger_writes_is_not() {
    let mut scene = Scene::speaking("one");
    for id in ["p_1", "p_9"] {
        let (id, text) = (ParticipantId::new(id), Pii::new("hi".to_owned()));
        scene.at(5000).event(Event::Room(RoomEvent::Message { id, text }));
    }
    let ann = r#"Participant { id: p_1, name: "Ann" }"#;
    let told = format!("  5000 RoomMessage {{ participant: {ann}, text: (2 characters) }}\n");
    assert_eq!(scene.told(), told);
}

#[test]
fn the_model_is_closed_when_the_last_has_left_and_opened_when_somebody_comes() {
    let mut scene = Scene::speaking("one two three four");
    scene.unheard.push(cut("s1", 500, 1000));
    scene.at(5000).leave_room("p_1");
    scene.at(6000).command(event("hello", true));
    scene.command(Command::Say(Pii::new("Welcome back.".into())));
    scene.at(9000).enter_room("p_2", "Bob");
    scene.at(9300).model(ModelEvent::Ready { takes_turns: true });
    insta::assert_snapshot!(scene.told(), @r#"
    5000 ParticipantLeft { participant: Participant { id: p_1, name: "Ann" }, reason: "left" }
    5000 > Playback(Flush)
    5000 > Model(Close)
    5000 > Model(Truncate { utterance: s1, end_ms: 500 })
    5000 speak-status s1 Interrupted 500 ms "one two"
    5000 Status(Idle)
    9000 ParticipantJoined(Participant { id: p_2, name: "Bob" })
    9000 > open Voice
    9300 > add System "The conversation so far:\nYou said: one two"
    9300 > add System "The current state: {\"last\":\"hello\"}"
    9300 > add User "hello"
    9300 > respond "Say exactly: \"Welcome back.\""
    9300 > Model(Respond { instructions: None })
    9300 Status(Thinking)
    "#);
    assert_eq!(scene.agent.snapshot().call.map(|call| call.stage), Some(CallStage::InCall));
}

#[test]
fn who_stays_alone_for_a_minute_leaves() {
    let mut scene = Scene::in_call();
    scene.at(5000).leave_room("p_1");
    scene.at(64_000).enter_room("p_2", "Bob");
    scene.at(65_000).timeout();
    scene.at(70_000).leave_room("p_2");
    scene.at(129_999).timeout();
    scene.take();
    scene.at(130_000).timeout();
    scene.event(Event::Room(RoomEvent::Left));
    insta::assert_snapshot!(scene.told(), @r#"
    130000 > Room(Leave)
    130000 VoiceStatus { status: Left, reason: Some("alone") }
    130000 RoomLeft { call: call_1, room_url: "rooms/a", reason: "alone" }
    130000 State { from: Active, to: Connected, reason: "nothing is going on" }
    "#);
}

#[test]
fn a_tool_goes_on_in_an_empty_room_and_its_result_is_news_for_who_comes() {
    let mut scene = Scene::in_call();
    scene.at(100).model(started("r1"));
    scene.at(110).model(tool_call("r1", "tc_1"));
    scene.at(120).model(done("r1"));
    scene.take();
    scene.at(1000).leave_room("p_1");
    scene.at(2000).command(result("tc_1", true));
    scene.at(3000).enter_room("p_1", "Ann");
    scene.at(3300).model(ModelEvent::Ready { takes_turns: true });
    insta::assert_snapshot!(scene.told(), @r#"
    1000 ParticipantLeft { participant: Participant { id: p_1, name: "Ann" }, reason: "left" }
    1000 > Playback(Flush)
    1000 > Model(Close)
    2000 Status(Idle)
    3000 ParticipantJoined(Participant { id: p_1, name: "Ann" })
    3000 > open Voice
    3300 > add User "The tool weather has returned: \"sunny\""
    3300 > Model(Respond { instructions: None })
    3300 Status(Thinking)
    "#);
    assert!(scene.recorded.iter().any(|entry| matches!(entry, RecordEntry::Tool(_))));
}

#[test]
fn an_empty_room_is_left_when_it_has_been_idle() {
    let mut scene = Scene::in_call();
    scene.at(1000).leave_room("p_1");
    scene.take();
    scene.at(301_000).timeout();
    insta::assert_snapshot!(scene.told(), @r"
    301000 > Room(Leave)
    ");
}

#[test]
fn whoever_waits_for_a_model_that_is_lost_waits_until_it_is_back() {
    let lost = || ModelEvent::Reconnecting { reason: "1006".into() };
    let mut scene = Scene::in_call();
    scene.say(500, 1500);
    scene.at(2000).model(ModelEvent::SpeechStopped { utterance: utterance("u1") });
    scene.take();
    scene.at(3000).model(lost());
    assert_eq!(scene.deadline(), (33_000, "model session"));
    scene.at(25_000).model(ModelEvent::Restored);
    assert_eq!(scene.deadline(), (45_000, "answer"));
    scene.at(26_000).model(lost());
    scene.at(56_000).timeout();
    insta::assert_snapshot!(scene.told(), @r"
     3000 error MODEL_RECONNECTING
    26000 error MODEL_RECONNECTING
    56000 transcriber-fatal TRANSCRIBER_FATAL
    56000 > Playback(Flush)
    56000 > Model(Close)
    56000 > Room(Leave)
    56000 Status(Idle)
    ");
}

#[test]
fn a_thought_outlives_its_session() {
    let mut scene = Scene::new(None);
    scene.connect();
    scene.command(event("hello", true));
    scene.model(ModelEvent::Ready { takes_turns: true });
    scene.at(100).model(ModelEvent::Reconnecting { reason: "1006".into() });
    assert_eq!(scene.deadline(), (50_100, "answer"));
    scene.at(10_000).model(ModelEvent::Restored);
    assert_eq!(scene.deadline(), (30_000, "answer"));
}

impl Scene {
    /// An agent with a greeting, on its way into a room.
    fn greeting() -> Self {
        let mut spec = spec();
        spec.model.greeting = Some("Hello!".into());
        let mut scene = Self::with(spec, None);
        scene.connect();
        scene.command(join());
        scene
    }
}
