//! Timelines of agents that say themselves when a turn is over, and of who said what.

use super::rounds::started;
use super::*;

#[test]
fn a_turn_is_over_when_nobody_has_spoken_for_long_enough() {
    let mut scene = Scene::by_our_ear();
    scene.say(500, 1500);
    assert_eq!(scene.deadline(), (2000, "end of turn"));
    scene.at(1800).speech(EdgeKind::Started);
    scene.at(1960).speech(EdgeKind::Sustained);
    scene.at(3000).speech(EdgeKind::Stopped);
    scene.at(3500).timeout();
    scene.at(3510).model(started("r1"));
    scene.at(3600).model(transcript("u1", "what time is it"));
    insta::assert_snapshot!(scene.told(), @r#"
     500 VadStart { participant: p_1, at_ms: 500 }
    1500 VadEnd { participant: p_1, at_ms: 1500 }
    1800 VadStart { participant: p_1, at_ms: 1800 }
    3000 VadEnd { participant: p_1, at_ms: 3000 }
    3500 > Model(Commit)
    3500 > Model(Respond { instructions: None })
    3500 Status(Thinking)
    3600 transcript p_1 "what time is it" final=true
    "#);
}

#[test]
fn the_silence_counts_from_the_end_of_speech_and_not_from_its_being_told() {
    let mut scene = Scene::by_our_ear();
    scene.at(500).speech(EdgeKind::Started);
    scene.at(660).speech(EdgeKind::Sustained);
    let (participant, at) = (ParticipantId::new("p_1"), scene.at(1500).now);
    let edge = SpeechEdge { participant, kind: EdgeKind::Stopped, at };
    scene.at(1800).event(Event::Speech(edge));
    assert_eq!(scene.deadline(), (2000, "end of turn"));
}

#[test]
fn a_noise_is_no_turn_and_is_forgotten() {
    let mut scene = Scene::by_our_ear();
    scene.cough(500, 700);
    scene.at(1200).timeout();
    insta::assert_snapshot!(scene.told(), @r"
     500 VadStart { participant: p_1, at_ms: 500 }
     700 VadEnd { participant: p_1, at_ms: 700 }
    1200 > Model(Clear)
    ");
    assert_eq!(scene.recorded.len(), 1, "only the beginning of the call");
}

#[test]
fn a_noise_while_the_agent_speaks_is_forgotten_at_once() {
    let mut scene = Scene::by_our_ear();
    scene.model(words("s1", "one two"));
    scene.playback(PlaybackEvent::Started { utterance: utterance("s1") });
    scene.take();
    scene.cough(500, 700);
    insta::assert_snapshot!(scene.told(), @r"
    500 VadStart { participant: p_1, at_ms: 500 }
    500 > Playback(Hold)
    700 VadEnd { participant: p_1, at_ms: 700 }
    700 > Playback(Resume)
    700 > Model(Clear)
    ");
}

#[test]
fn who_is_spoken_over_by_a_client_s_words_is_answered_after_them() {
    let mut scene = Scene::by_our_ear();
    scene.at(500).speech(EdgeKind::Started);
    scene.at(660).speech(EdgeKind::Sustained);
    scene.command(Command::Say(Pii::new("One moment.".into())));
    scene.at(700).model(started("r1"));
    scene.at(710).model(words("s1", "One moment."));
    scene.at(720).playback(PlaybackEvent::Started { utterance: utterance("s1") });
    scene.at(730).model(done("r1"));
    scene.take();
    scene.at(900).speech(EdgeKind::Stopped);
    scene.at(1700).playback(PlaybackEvent::Finished { utterance: utterance("s1"), heard_ms: 980 });
    scene.at(2200).timeout();
    insta::assert_snapshot!(scene.told(), @r#"
     900 VadEnd { participant: p_1, at_ms: 900 }
    1700 speak-status s1 Finished 980 ms "One moment."
    1700 Status(Idle)
    2200 > Model(Commit)
    2200 > Model(Respond { instructions: None })
    2200 Status(Thinking)
    "#);
}

#[test]
fn words_are_of_whoever_spoke_and_stand_where_they_were_said() {
    let mut scene = Scene::in_call();
    scene.enter_room("p_2", "Bob");
    scene.take();
    scene.at(500).speech_of("p_1", EdgeKind::Started);
    let heard = |id| ModelEvent::SpeechStarted { utterance: utterance(id), interrupts: true };
    scene.at(700).model(heard("u1"));
    scene.at(1500).speech_of("p_1", EdgeKind::Stopped);
    scene.at(1600).speech_of("p_2", EdgeKind::Started);
    scene.at(1700).model(ModelEvent::SpeechStopped { utterance: utterance("u1") });
    scene.at(1800).model(heard("u2"));
    scene.at(2500).speech_of("p_2", EdgeKind::Stopped);
    scene.at(2700).model(ModelEvent::SpeechStopped { utterance: utterance("u2") });
    scene.at(2800).model(transcript("u2", "and the weather"));
    scene.at(2900).model(transcript("u1", "what time is it"));
    scene.at(2910).model(transcript("u1", "what time is it"));
    let said = scene.told().lines().filter(|line| line.contains("transcript"));
    insta::assert_snapshot!(said.collect::<Vec<_>>().join("\n"), @r#"
    2800 transcript p_2 "and the weather" final=true
    2900 transcript p_1 "what time is it" final=true
    "#);
    let lines = scene.recorded.iter().filter_map(|entry| match entry {
        RecordEntry::Line(line) => Some((line.at_ms, line.text.expose().as_str())),
        _ => None,
    });
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines, [(1600, "and the weather"), (500, "what time is it")]);
}

impl Scene {
    /// In a call with a model that takes no turns.
    fn by_our_ear() -> Self {
        let mut scene = Self::new(None);
        scene.connect();
        scene.command(join());
        let caller = Participant { id: ParticipantId::new("p_1"), name: "Ann".into() };
        scene.event(Event::Room(RoomEvent::Joined { participants: vec![caller] }));
        scene.model(ModelEvent::Ready { takes_turns: false });
        scene.take();
        scene
    }
}
