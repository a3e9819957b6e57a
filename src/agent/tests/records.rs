//! What of a call goes on record.

use super::*;

#[test]
fn a_call_is_on_record_from_its_beginning_to_its_end() {
    let mut scene = Scene::in_call();
    scene.say(500, 1500);
    scene.at(2000).model(ModelEvent::SpeechStopped { utterance: utterance("u1") });
    scene.at(2010).model(ModelEvent::ResponseStarted { response: ResponseId::new("r1") });
    scene.at(2100).model(transcript("u1", "and the weather"));
    let weather = ModelEvent::ToolCall {
        response: ResponseId::new("r1"),
        id: ToolCallId::new("tc_1"),
        name: "weather".into(),
        arguments_json: "{}".into(),
    };
    scene.at(2200).model(weather);
    scene.at(2300).model(words("s1", "It is sunny."));
    scene.at(2310).playback(PlaybackEvent::Started { utterance: utterance("s1") });
    scene.at(2320).model(done("r1"));
    scene.at(3000).playback(PlaybackEvent::Finished { utterance: utterance("s1"), heard_ms: 690 });
    scene.at(4000).command(Command::Leave);
    scene.at(4010).event(Event::Room(RoomEvent::Left));
    let record: Vec<String> = scene.recorded.iter().map(shown).collect();
    insta::assert_snapshot!(record.join("\n"), @r#"
    began in rooms/a, 1 others
    500 line Some(p_1) "and the weather"
    2310 line None "It is sunny."
    turn: speech 500 pause 1500 over 2000 words 2100 answer 2010 sound 2310 silence 3000 waited 810
          heard 690 ms, cut=false
    2200 tool tc_1 Ended after 1800 ms
    Ended { reason: "requested", at_ms: 4010 }
    "#);
}

#[test]
fn a_deleted_agent_has_on_record_what_was_heard_of_its_last_word() {
    let mut scene = Scene::speaking("one two three four");
    scene.unheard.push(cut("s1", 500, 1000));
    scene.at(5000).command(Command::Delete);
    insta::assert_snapshot!(scene.told(), @r#"
    5000 > Playback(Flush)
    5000 > Model(Truncate { utterance: s1, end_ms: 500 })
    5000 speak-status s1 Interrupted 500 ms "one two"
    5000 > Model(Close)
    5000 > Room(Leave)
    5000 VoiceStatus { status: Left, reason: Some("deleted") }
    5000 RoomLeft { call: call_1, room_url: "rooms/a", reason: "deleted" }
    5000 State { from: Active, to: Ended, reason: "deleted" }
    5000 error AGENT_DELETED
    5000 > CloseClients
    5000 > Forget(None)
    "#);
    let record: Vec<String> = scene.recorded.iter().map(shown).collect();
    insta::assert_snapshot!(record.join("\n"), @r#"
    began in rooms/a, 1 others
    0 line None "one two"
    turn: sound 0 silence 5000
          heard 500 ms, cut=true
    Ended { reason: "deleted", at_ms: 5000 }
    "#);
}

fn shown(entry: &RecordEntry) -> String {
    match entry {
        RecordEntry::Began { room_url, participants } => {
            format!("began in {room_url}, {} others", participants.len())
        }
        RecordEntry::Line(Line { participant, text, at_ms }) => {
            format!("{at_ms} line {participant:?} {:?}", text.expose())
        }
        RecordEntry::Turn(turn) => shown_turn(turn),
        RecordEntry::Tool(tool) => {
            let ToolRecord { id, outcome, asked_ms, took_ms, .. } = tool;
            format!("{asked_ms} tool {id} {outcome:?} after {took_ms} ms")
        }
        other => format!("{other:?}"),
    }
}

fn shown_turn(turn: &TurnRecord) -> String {
    let moments = [
        ("speech", turn.speech_start_ms),
        ("pause", turn.speech_end_ms),
        ("over", turn.turn_end_ms),
        ("words", turn.transcript_ms),
        ("answer", turn.answer_ms),
        ("sound", turn.first_audio_ms),
        ("silence", turn.last_audio_ms),
        ("waited", turn.latency_ms()),
    ];
    let known = moments.iter().filter_map(|(name, ms)| ms.map(|ms| format!("{name} {ms}")));
    let known = known.collect::<Vec<_>>().join(" ");
    format!("turn: {known}\n      heard {} ms, cut={}", turn.heard_ms, turn.interrupted)
}
