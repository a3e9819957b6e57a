//! Timelines of answers that are owed: for tools and for events, while somebody speaks or not.

use super::rounds::{event, result, started, tool_call};
use super::*;

#[test]
fn an_event_told_while_somebody_speaks_is_answered_with_them() {
    let mut scene = Scene::in_call();
    scene.at(500).speech(EdgeKind::Started);
    scene.at(660).speech(EdgeKind::Sustained);
    scene.take();
    scene.at(1000).command(event("card", true));
    scene.at(1500).speech(EdgeKind::Stopped);
    scene.at(2000).model(ModelEvent::SpeechStopped { utterance: utterance("u1") });
    scene.at(2010).model(started("r1"));
    scene.at(2100).model(done("r1"));
    insta::assert_snapshot!(scene.told(), @r#"
    1000 > add System "The current state: {\"last\":\"card\"}"
    1000 > add User "card"
    1500 VadEnd { participant: p_1, at_ms: 1500 }
    2000 Status(Thinking)
    2100 Status(Idle)
    "#);
}

#[test]
fn an_event_told_in_a_turn_that_nobody_takes_is_answered_at_last() {
    let mut scene = Scene::in_call();
    scene.at(500).speech(EdgeKind::Started);
    scene.at(660).speech(EdgeKind::Sustained);
    scene.at(1000).command(event("card", true));
    scene.at(1500).speech(EdgeKind::Stopped);
    scene.take();
    scene.at(11_500).timeout();
    insta::assert_snapshot!(scene.told(), @r"
    11500 > Model(Respond { instructions: None })
    11500 Status(Thinking)
    ");
}

#[test]
fn a_result_that_comes_too_late_for_an_answer_gets_one_of_its_own() {
    let mut scene = Scene::with_open_tool();
    scene.say(500, 1500);
    scene.at(2000).model(ModelEvent::SpeechStopped { utterance: utterance("u1") });
    scene.take();
    scene.at(2005).command(result("tc_1", true));
    assert!(!scene.told().contains("Respond"), "the model is about to answer by itself");
    scene.at(2010).model(started("r2"));
    scene.at(2100).model(done("r2"));
    insta::assert_snapshot!(scene.told(), @r"
    2005 > Model(ToolOutput { id: tc_1, output: (7 characters) })
    2005 Status(Thinking)
    2010 > Model(Respond { instructions: None })
    ");
}

#[test]
fn a_result_while_the_agent_is_held_waits_for_what_becomes_of_it() {
    let mut scene = Scene::with_open_tool();
    scene.at(500).model(words("s1", "Let me see."));
    scene.at(510).playback(PlaybackEvent::Started { utterance: utterance("s1") });
    scene.at(600).speech(EdgeKind::Started);
    scene.take();
    scene.at(650).command(result("tc_1", true));
    scene.at(700).speech(EdgeKind::Stopped);
    insta::assert_snapshot!(scene.told(), @r"
    650 > Model(ToolOutput { id: tc_1, output: (7 characters) })
    700 VadEnd { participant: p_1, at_ms: 700 }
    700 > Playback(Resume)
    700 > Model(Respond { instructions: None })
    ");
}

#[test]
fn an_answer_that_was_asked_for_and_spoken_over_is_asked_for_again_if_nobody_is_answered() {
    let mut scene = Scene::with_open_tool();
    scene.at(400).command(result("tc_1", true));
    scene.say(500, 1500);
    scene.take();
    scene.at(11_500).timeout();
    insta::assert_snapshot!(scene.told(), @r"
    11500 > Model(Respond { instructions: None })
    11500 Status(Thinking)
    ");
}

#[test]
fn a_tool_that_takes_longer_than_a_moment_is_waited_for_in_words_once() {
    let mut scene = Scene::with_open_tool();
    scene.at(200).model(started("r2"));
    scene.at(210).model(tool_call("r2", "tc_2"));
    scene.at(220).model(done("r2"));
    scene.take();
    assert_eq!(scene.deadline(), (1220, "silence while a tool runs"));
    scene.at(1220).timeout();
    scene.at(1300).model(started("r3"));
    scene.at(1400).command(result("tc_1", true));
    scene.at(1500).command(result("tc_2", true));
    scene.at(1600).model(done("r3"));
    scene.at(1610).model(started("r4"));
    scene.at(1700).model(done("r4"));
    insta::assert_snapshot!(scene.told(), @r#"
    1220 > respond "Say exactly: \"One moment.\""
    1400 > Model(ToolOutput { id: tc_1, output: (7 characters) })
    1500 > Model(ToolOutput { id: tc_2, output: (7 characters) })
    1500 > Model(Respond { instructions: None })
    1500 Status(Thinking)
    1700 Status(Idle)
    "#);
}

#[test]
fn nobody_is_spoken_over_to_say_that_a_tool_takes_long() {
    let mut scene = Scene::with_open_tool();
    scene.at(600).speech(EdgeKind::Started);
    scene.at(760).speech(EdgeKind::Sustained);
    assert_ne!(scene.deadline().1, "silence while a tool runs");
}

impl Scene {
    /// In a call, with a tool called at 110 ms that has words for waiting.
    fn with_open_tool() -> Self {
        let mut spec = spec();
        spec.tools[0].filler = Some("One moment.".into());
        let mut scene = Self::in_call_with(spec);
        scene.at(100).model(started("r1"));
        scene.at(110).model(tool_call("r1", "tc_1"));
        scene.at(120).model(done("r1"));
        scene.take();
        scene
    }
}
