//! Timelines of agents that are spoken over: held for what may be speech, cut off by what is.

use super::rounds::{cancelled, started};
use super::*;

#[test]
fn a_cough_holds_the_voice_and_lets_it_go_on() {
    let mut scene = Scene::speaking("one two three four");
    scene.cough(5000, 5300);
    scene.at(6000).playback(PlaybackEvent::Finished { utterance: utterance("s1"), heard_ms: 990 });
    insta::assert_snapshot!(scene.told(), @r#"
    5000 VadStart { participant: p_1, at_ms: 5000 }
    5000 > Playback(Hold)
    5300 VadEnd { participant: p_1, at_ms: 5300 }
    5300 > Playback(Resume)
    6000 speak-status s1 Finished 990 ms "one two three four"
    6000 Status(Idle)
    "#);
}

#[test]
fn a_held_voice_goes_on_in_any_case() {
    let mut scene = Scene::speaking("one two three four");
    scene.at(5000).speech(EdgeKind::Started);
    assert_eq!(scene.deadline(), (7000, "somebody may be speaking"));
    scene.at(7000).timeout();
    scene.at(7500).speech(EdgeKind::Sustained);
    insta::assert_snapshot!(scene.told(), @r"
    5000 VadStart { participant: p_1, at_ms: 5000 }
    5000 > Playback(Hold)
    7000 > Playback(Resume)
    7500 > Playback(Flush)
    7500 > Model(Cancel)
    7500 Status(Idle)
    ");
}

#[test]
fn two_in_doubt_hold_it_until_the_last_is_silent() {
    let mut scene = Scene::speaking("one two three four");
    scene.enter_room("p_2", "Bob");
    scene.take();
    scene.at(5000).speech_of("p_1", EdgeKind::Started);
    scene.at(5050).speech_of("p_2", EdgeKind::Started);
    scene.at(5100).speech_of("p_1", EdgeKind::Stopped);
    scene.at(5200).leave_room("p_2");
    insta::assert_snapshot!(scene.told(), @r##"
    5000 VadStart { participant: p_1, at_ms: 5000 }
    5000 > Playback(Hold)
    5050 VadStart { participant: p_2, at_ms: 5050 }
    5100 VadEnd { participant: p_1, at_ms: 5100 }
    5200 VadEnd { participant: p_2, at_ms: 5200 }
    5200 > Playback(Resume)
    5200 ParticipantLeft { participant: Participant { id: p_2, name: "Bob" }, reason: "left" }
    "##);
}

#[test]
fn what_the_model_takes_for_speech_cuts_at_once() {
    let mut scene = Scene::speaking("one two three four");
    scene.unheard.push(cut("s1", 500, 1000));
    let heard = ModelEvent::SpeechStarted { utterance: utterance("u1"), interrupts: true };
    scene.at(5000).model(heard);
    insta::assert_snapshot!(scene.told(), @r#"
    5000 > Playback(Flush)
    5000 > Model(GiveWay { utterance: u1 })
    5000 Status(Idle)
    5000 > Model(Truncate { utterance: s1, end_ms: 500 })
    5000 speak-status s1 Interrupted 500 ms "one two"
    "#);
}

#[test]
fn a_model_that_does_not_interrupt_decides_nothing_until_there_are_words() {
    let mut scene = Scene::speaking("one two three four");
    scene.unheard.push(cut("s1", 500, 1000));
    let heard = ModelEvent::SpeechStarted { utterance: utterance("u1"), interrupts: false };
    scene.at(5000).model(heard);
    assert_eq!(scene.told(), "");
    scene.at(5010).speech(EdgeKind::Started);
    scene.at(5020).model(transcript("u0", "late words of before"));
    scene.at(5090).model(transcript("u1", " "));
    assert!(!scene.told().contains("Flush"), "{}", scene.told());
    scene.take();
    let words = Pii::new("stop".to_owned());
    let draft = ModelEvent::Transcript { utterance: utterance("u1"), text: words, is_final: false };
    scene.at(5100).model(draft);
    insta::assert_snapshot!(scene.told(), @r#"
    5100 > Playback(Flush)
    5100 > Model(Cancel)
    5100 Status(Idle)
    5100 > Model(Truncate { utterance: s1, end_ms: 500 })
    5100 speak-status s1 Interrupted 500 ms "one two"
    "#);
}

#[test]
fn an_answer_that_has_not_sounded_is_held_too() {
    let mut scene = Scene::in_call();
    scene.say(500, 1500);
    scene.at(2000).model(ModelEvent::SpeechStopped { utterance: utterance("u1") });
    scene.at(2010).model(started("r1"));
    scene.take();
    scene.cough(2100, 2200);
    scene.at(2300).speech(EdgeKind::Started);
    scene.at(2460).speech(EdgeKind::Sustained);
    scene.at(2470).model(cancelled("r1"));
    insta::assert_snapshot!(scene.told(), @r"
    2100 VadStart { participant: p_1, at_ms: 2100 }
    2100 > Playback(Hold)
    2200 VadEnd { participant: p_1, at_ms: 2200 }
    2200 > Playback(Resume)
    2300 VadStart { participant: p_1, at_ms: 2300 }
    2300 > Playback(Hold)
    2460 > Playback(Flush)
    2460 > Model(Cancel)
    2460 Status(Idle)
    ");
}

#[test]
fn a_client_that_interrupts_ends_the_hold() {
    let mut scene = Scene::speaking("one two three four");
    scene.at(5000).speech(EdgeKind::Started);
    scene.unheard.push(cut("s1", 500, 1000));
    scene.at(5050).command(Command::Interrupt);
    scene.at(5100).speech(EdgeKind::Stopped);
    insta::assert_snapshot!(scene.told(), @r#"
    5000 VadStart { participant: p_1, at_ms: 5000 }
    5000 > Playback(Hold)
    5050 > Playback(Flush)
    5050 > Model(Cancel)
    5050 > Model(Truncate { utterance: s1, end_ms: 500 })
    5050 speak-status s1 Interrupted 500 ms "one two"
    5050 Status(Idle)
    5100 VadEnd { participant: p_1, at_ms: 5100 }
    "#);
    assert_eq!(scene.agent.poll_timeout().map(|(_, why)| why), Some("idle call"));
}

#[test]
fn who_leaves_is_held_for_nobody() {
    let mut scene = Scene::speaking("one two three four");
    scene.at(5000).speech(EdgeKind::Started);
    scene.at(5050).command(Command::Delete);
    let told = scene.told();
    assert!(told.contains("Hold") && told.contains("Flush") && !told.contains("Resume"), "{told}");
}

impl Scene {
    /// The next deadline, in milliseconds, and what is waited for.
    pub(super) fn deadline(&self) -> (u128, &'static str) {
        let (at, why) = self.agent.poll_timeout().expect("something is waited for");
        (at.duration_since(self.start).as_millis(), why)
    }
}
