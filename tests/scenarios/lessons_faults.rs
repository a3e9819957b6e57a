//! What others have learnt from speech models in the field, a lesson a test: sessions, tools,
//! words, and servers that misbehave. What settings are sent at all is told by the snapshots of
//! `models/openai/setup.rs` and of the dialects.

use insta::assert_snapshot;

use super::{brief, play, timeline};

/// Lesson 7: before a session comes to its end another one has taken over, in a silence, and it
/// knows what was said.
#[test]
fn a_session_is_left_before_its_end_and_the_next_one_knows_the_conversation() {
    assert_snapshot!(timeline(
        r#"
        model session 60
        human 1.0..2.0 "my name is Ann"
        model audio 1 s "Hello, Ann."
        human 70..71 "what is my name"
        model audio 1 s "Ann."
        until 75
        "#
    ), @r#"
     0.00 joined ann
     1.06 vad_start ann
     2.16 vad_end ann
     2.35 status thinking
     2.64 transcript ann "my name is Ann"
     2.64 a1 started
     2.64 status acting
     2.64 sound
     2.84 speak a1 "Hello, Ann."
     3.62 a1 finished, heard 1000 ms "Hello, Ann."
     3.62 status idle
     3.64 silence after 1000 ms
    50.00 model socket 2 opens
    50.02 ->2 item user "my name is Ann"
    50.02 ->2 item assistant "Hello, Ann."
    70.06 vad_start ann
    71.16 vad_end ann
    71.35 status thinking
    71.64 transcript ann "what is my name"
    71.64 s2.a2 started
    71.64 status acting
    71.64 sound
    71.84 speak s2.a2 "Ann."
    72.62 s2.a2 finished, heard 1000 ms "Ann."
    72.62 status idle
    72.64 silence after 1000 ms
    "#);
}

/// Lesson 8: the server takes noise for speech and stops; a turn follows, and the call goes on.
#[test]
fn an_answer_that_the_server_breaks_off_for_nothing_leaves_nobody_hanging() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 4 s "Once upon a time there was a bridge." speed 1
        model raw {"type":"input_audio_buffer.speech_started","item_id":"x"} at 3.5
        human 9.0..10.0 "go on"
        model audio 1 s "That was all."
        "#
    ), @r#"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
     1.85 status thinking
     2.14 transcript ann "tell me a story"
     2.14 a1 started
     2.14 status acting
     2.14 sound
     3.50 status idle
     3.50 a1 cut, heard 1360 ms "Once upon"
     3.50 -> cancel r1
     3.50 -> truncate a1 at 1360 ms
     3.52 silence after 1380 ms
     9.06 vad_start ann
    10.16 vad_end ann
    10.35 status thinking
    10.64 transcript ann "go on"
    10.64 a2 started
    10.64 status acting
    10.64 sound
    10.84 speak a2 "That was all."
    11.62 a2 finished, heard 1000 ms "That was all."
    11.62 status idle
    11.64 silence after 1000 ms
    "#);
}

/// Lesson 9: a tool that never comes back ends at its time; the conversation has not waited.
#[test]
fn a_tool_that_hangs_is_given_up_and_nobody_waits_for_it() {
    assert_snapshot!(timeline(
        r#"
        agent tool slow "a slow thing" timeout 6
        human 0.5..1.5 "do the slow thing"
        model audio 1 s "I try." + tool slow {}
        human 4.0..5.0 "and what time is it"
        model audio 1 s "It is noon."
        model audio 1 s "That did not work."
        until 12
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "do the slow thing"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "I try."
    2.34 tool tc1 slow {}
    3.12 a1 finished, heard 1000 ms "I try."
    3.14 silence after 1000 ms
    4.06 vad_start ann
    5.16 vad_end ann
    5.64 transcript ann "and what time is it"
    5.64 a3 started
    5.64 sound
    5.84 speak a3 "It is noon."
    6.62 a3 finished, heard 1000 ms "It is noon."
    6.64 silence after 1000 ms
    8.34 cancel tool tc1 Timeout
    8.34 status thinking
    8.34 -> output tc1 {"error":"the tool did not answer in time"}
    8.34 -> create
    8.64 a4 started
    8.64 status acting
    8.64 sound
    8.84 speak a4 "That did not work."
    9.62 a4 finished, heard 1000 ms "That did not work."
    9.62 status idle
    9.64 silence after 1000 ms
    "#);
}

/// Lesson 10: the result of a tool outlives the answer that asked for it.
#[test]
fn a_tools_result_is_not_lost_by_an_interruption() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather "what the weather is"
        human 0.5..1.5 "how is the weather"
        model audio 4 s "Let me look, it may take a while." + tool weather {}
        tool weather after 2 {"sky":"clear"}
        human 3.0..6.0 "and tell me in French please"
        model audio 1 s "Il fait beau."
        until 11
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.94 speak a1 "Let me look, it may take a while."
    2.94 tool tc1 weather {}
    3.06 vad_start ann
    3.08 silence after 940 ms
    3.20 a1 cut, heard 920 ms "Let me"
    3.20 -> truncate a1 at 920 ms
    4.94 status idle
    4.94 -> output tc1 {"sky":"clear"}
    6.32 vad_end ann
    6.51 status thinking
    6.80 transcript ann "and tell me in French please"
    6.80 a3 started
    6.80 status acting
    6.80 sound
    7.00 speak a3 "Il fait beau."
    7.78 a3 finished, heard 1000 ms "Il fait beau."
    7.78 status idle
    7.80 silence after 1000 ms
    "#);
}

/// Lesson 11: words come late and in any order; the record is in that of the conversation.
#[test]
fn words_that_come_in_the_wrong_order_are_told_in_the_right_one() {
    let buffer = |kind: &str, item: &str, at: f64| {
        let event = format!(r#"{{"type":"input_audio_buffer.{kind}","item_id":"{item}"}}"#);
        format!("model raw {event} at {at}\n")
    };
    let committed = |item: &str, before: &str, at: f64| {
        let kind = r#""type":"input_audio_buffer.committed""#;
        let event = format!(r#"{{{kind},"item_id":"{item}","previous_item_id":{before}}}"#);
        format!("model raw {event} at {at}\n")
    };
    let words = |item: &str, words: &str, at: f64| {
        let kind = r#""type":"conversation.item.input_audio_transcription.completed""#;
        let event = format!(r#"{{{kind},"item_id":"{item}","transcript":"{words}"}}"#);
        format!("model raw {event} at {at}\n")
    };
    let script = [
        buffer("speech_started", "x1", 1.0),
        buffer("speech_stopped", "x1", 1.5),
        committed("x1", "null", 1.51),
        buffer("speech_started", "x2", 2.0),
        buffer("speech_stopped", "x2", 2.5),
        committed("x2", r#""x1""#, 2.51),
        words("x2", "the second", 3.0),
        words("x1", "the first", 3.5),
        words("x1", "the first", 3.6),
        "until 4".to_owned(),
    ];
    assert_snapshot!(timeline(&script.concat()), @r#"
    0.00 joined ann
    1.50 status thinking
    2.00 status idle
    2.50 status thinking
    3.50 transcript ann "the first"
    3.50 transcript ann "the second"
    "#);
}

/// Lesson 16: an answer in writing is spoken all the same.
#[test]
fn an_answer_without_sound_is_spoken() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "what time is it"
        model text "It is noon."
        model audio 1 s "It is noon."
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "what time is it"
    2.14 -> delete a1
    2.14 -> create "Say exactly: \"It is noon.\""
    2.44 a2 started
    2.44 status acting
    2.44 sound
    2.64 speak a2 "It is noon."
    3.42 a2 finished, heard 1000 ms "It is noon."
    3.42 status idle
    3.44 silence after 1000 ms
    "#);
}

/// Lesson 17: an error is told, and ends nothing.
#[test]
fn an_error_of_the_server_is_survived_in_mid_sentence() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 3 s "Once upon a time there was a bridge."
        model error something_odd at 3.0
        human 7.0..8.0 "go on"
        model audio 1 s "That was all."
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "tell me a story"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.74 speak a1 "Once upon a time there was a bridge."
    3.01 error MODEL_COMPLAINT "something_odd: as the script has it"
    5.12 a1 finished, heard 3000 ms "Once upon a time there was a bridge."
    5.12 status idle
    5.14 silence after 3000 ms
    7.06 vad_start ann
    8.16 vad_end ann
    8.35 status thinking
    8.64 transcript ann "go on"
    8.64 a2 started
    8.64 status acting
    8.64 sound
    8.84 speak a2 "That was all."
    9.62 a2 finished, heard 1000 ms "That was all."
    9.62 status idle
    9.64 silence after 1000 ms
    "#);
}

/// Lesson 18: a server that has fallen silent is noticed by its pongs, and another takes its place;
/// what was said to the first is heard by the second.
#[test]
fn a_socket_that_says_nothing_any_more_is_left() {
    assert_snapshot!(brief(
        r#"
        human 0.5..1.5 "tell me a story"
        model half-open at 1.8
        model audio 1 s "Once upon a time."
        until 19
        "#
    ), @r#"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
    12.75 error MODEL_RECONNECTING "it gives no sign of life"
    12.75 transcript ann ""
    12.75 model socket 2 opens
    12.78 status thinking
    13.07 transcript ann "tell me a story"
    13.07 s2.a1 started
    13.07 status acting
    13.07 sound
    13.27 speak s2.a1 "Once upon a time."
    14.05 s2.a1 finished, heard 1000 ms "Once upon a time."
    14.05 status idle
    14.07 silence after 1000 ms
    "#);
}

/// Lesson 19: settings that a server refuses will not do the next time, either.
#[test]
fn refused_settings_are_told_and_not_tried_again() {
    let refusal = r#""code":"unknown_parameter","message":"Unknown: temperature""#;
    let error = format!(r#"{{{refusal},"event_id":"setup_1"}}"#);
    let script = format!(
        r#"
        model mute 0.0..9.0
        model raw {{"type":"error","error":{error}}} at 0.05
        until 9
        "#
    );
    assert_snapshot!(timeline(&script), @r"
    0.00 joined ann
    0.05 fatal MODEL_UNAVAILABLE
    0.05 left: MODEL_UNAVAILABLE
    ");
}

/// Lesson 20: of a server that takes turns and does not answer by itself, the answer is asked for.
#[test]
fn a_server_that_only_takes_turns_is_asked_to_answer() {
    assert_snapshot!(timeline(
        r#"
        agent turns model {"type":"server_vad","create_response":false,"interrupt_response":true}
        human 0.5..1.5 "tell me a story"
        model audio 4 s "Once upon a time there was a bridge."
        human 4.0..5.0 "stop"
        model audio 1 s "As you like."
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    1.85 -> create
    2.14 transcript ann "tell me a story"
    2.15 a1 started
    2.15 status acting
    2.15 sound
    2.95 speak a1 "Once upon a time there was a bridge."
    4.06 vad_start ann
    4.07 silence after 1920 ms
    4.20 status idle
    4.20 a1 cut, heard 1920 ms "Once upon a time"
    4.20 -> truncate a1 at 1920 ms
    5.16 vad_end ann
    5.35 status thinking
    5.35 -> create
    5.64 transcript ann "stop"
    5.65 a2 started
    5.65 status acting
    5.65 sound
    5.85 speak a2 "As you like."
    6.63 a2 finished, heard 1000 ms "As you like."
    6.63 status idle
    6.65 silence after 1000 ms
    "#);
}

/// The last lesson: the room is left before the model is, and nothing of it is heard afterwards.
#[test]
fn who_ends_in_mid_sentence_is_silent_at_once_and_leaves() {
    let script = r#"
        human 0.5..1.5 "tell me a story"
        model audio 20 s "Once upon a time there was a bridge."
        at 4.0 client delete
        until 9
        "#;
    assert_snapshot!(timeline(script), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "tell me a story"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    4.00 a1 cut, heard 1860 ms ""
    4.00 left: deleted
    4.00 ended: deleted
    4.00 error AGENT_DELETED "the agent was deleted by its owner"
    4.00 silence after 1860 ms
    "#);
    let after = play(script).lines().filter(|(at, _)| at.as_secs() >= 5).count();
    assert_eq!(after, 0);
}
