//! The wire protocol as it is met: words, ends of sessions, and answers without sound.

use insta::assert_snapshot;

use super::{brief, timeline};

/// Fixture 11: the idle time-out commits an empty item, and answers.
#[test]
fn a_model_that_has_waited_for_long_speaks_of_its_own_accord() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 1 s "Hello."
        model raw {"type":"input_audio_buffer.timeout_triggered","audio_start_ms":3000,\
          "audio_end_ms":8000,"item_id":"u7"} at 8.0
        model raw {"type":"input_audio_buffer.committed","item_id":"u7",\
          "previous_item_id":"a1"} at 8.0
        model raw {"type":"response.created","response":{"id":"r7","status":"in_progress",\
          "conversation_id":"conv_1","output":[]}} at 8.01
        model raw {"type":"response.output_audio.delta","response_id":"r7","item_id":"x7",\
          "delta":48000} at 8.3
        model raw {"type":"response.output_audio_transcript.done","response_id":"r7",\
          "item_id":"x7","transcript":"Are you there?"} at 8.4
        model raw {"type":"response.output_audio.done","response_id":"r7","item_id":"x7"} at 8.4
        model raw {"type":"response.done","response":{"id":"r7","status":"completed",\
          "conversation_id":"conv_1","output":[]}} at 8.4
        until 11
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "hello"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Hello."
    3.12 a1 finished, heard 1000 ms "Hello."
    3.12 status idle
    3.14 silence after 1000 ms
    8.01 status thinking
    8.30 x7 started
    8.30 status acting
    8.30 sound
    8.40 speak x7 "Are you there?"
    9.28 x7 finished, heard 1000 ms "Are you there?"
    9.28 status idle
    9.30 silence after 1000 ms
    "##);
}

/// Fixture 12: the first turn's transcription is slower than the second turn.
#[test]
fn words_that_come_after_the_next_answer_are_told_as_they_come() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "good morning" known 6s
        model audio 1 s "Good morning."
        human 4.5..5.5 "how are you"
        model audio 1 s "Fine."
        until 10
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Good morning."
    3.12 a1 finished, heard 1000 ms "Good morning."
    3.12 status idle
    3.14 silence after 1000 ms
    4.56 vad_start ann
    5.66 vad_end ann
    5.85 status thinking
    6.14 a2 started
    6.14 status acting
    6.14 sound
    6.34 speak a2 "Fine."
    7.12 a2 finished, heard 1000 ms "Fine."
    7.12 status idle
    7.14 silence after 1000 ms
    7.84 transcript ann "good morning"
    7.84 transcript ann "how are you"
    "##);
}

/// Fixture 12: a transcription that fails; and one that is empty.
#[test]
fn words_that_cannot_be_had_are_settled() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "good morning" unknown
        model audio 1 s "Good morning."
        human 4.5..5.5 ""
        model audio 1 s "Fine."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 error MODEL_COMPLAINT "audio_unintelligible: it is no speech"
    2.14 transcript ann ""
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Good morning."
    3.12 a1 finished, heard 1000 ms "Good morning."
    3.12 status idle
    3.14 silence after 1000 ms
    4.56 vad_start ann
    5.66 vad_end ann
    5.85 status thinking
    6.14 transcript ann ""
    6.14 a2 started
    6.14 status acting
    6.14 sound
    6.34 speak a2 "Fine."
    7.12 a2 finished, heard 1000 ms "Fine."
    7.12 status idle
    7.14 silence after 1000 ms
    "##);
}

/// Fixture 13: `session_expired`, and close 1001, at rest.
#[test]
fn a_session_that_expires_is_followed_by_another() {
    assert_snapshot!(brief(
        r#"
        human 0.5..1.5 "hello"
        model audio 1 s "Hello."
        model expire at 5.0
        human 6.0..7.0 "are you still there"
        model audio 1 s "I am."
        until 11
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "hello"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Hello."
    3.12 a1 finished, heard 1000 ms "Hello."
    3.12 status idle
    3.14 silence after 1000 ms
    5.01 error MODEL_RECONNECTING "session_expired"
    5.01 model socket 2 opens
    5.03 ->2 item user "hello"
    5.03 ->2 item assistant "Hello."
    6.06 vad_start ann
    7.16 vad_end ann
    7.35 status thinking
    7.64 transcript ann "are you still there"
    7.64 s2.a2 started
    7.64 status acting
    7.64 sound
    7.84 speak s2.a2 "I am."
    8.62 s2.a2 finished, heard 1000 ms "I am."
    8.62 status idle
    8.64 silence after 1000 ms
    "##);
}

/// Fixture 13: `session_expired`, and close 1001, while the agent speaks.
#[test]
fn a_session_that_expires_in_mid_answer_is_followed_by_another() {
    assert_snapshot!(brief(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 4 s "Once upon a time there was a bridge." speed 1
        model expire at 3.5
        model audio 2 s "There was a bridge."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "tell me a story"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    3.51 error MODEL_RECONNECTING "session_expired"
    3.51 speak a1 "Once upon "
    3.51 model socket 2 opens
    3.52 a1 finished, heard 1400 ms "Once upon "
    3.52 status idle
    3.53 ->2 item user "tell me a story"
    3.53 ->2 item assistant "Once upon "
    3.53 ->2 create "You were cut off by a fault while you were answe..."
    3.54 status thinking
    3.54 silence after 1400 ms
    3.83 s2.a2 started
    3.83 status acting
    3.83 sound
    4.23 speak s2.a2 "There was a bridge."
    5.81 s2.a2 finished, heard 2000 ms "There was a bridge."
    5.81 status idle
    5.83 silence after 2000 ms
    "##);
}

/// Fixture 13: 1006 when all sound has come; it is heard to its end.
#[test]
fn a_socket_that_breaks_while_the_last_of_an_answer_is_heard_costs_no_word() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 4 s "Once upon a time there was a bridge."
        model drop 1006 at 4.0
        human 8.0..9.0 "go on"
        model audio 1 s "That was all."
        until 12
        "#
    ), @r##"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
     1.85 status thinking
     2.14 transcript ann "tell me a story"
     2.14 a1 started
     2.14 status acting
     2.14 sound
     2.94 speak a1 "Once upon a time there was a bridge."
     4.00 model socket 1 closes without a goodbye
     4.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     4.00 model socket 2 opens
     4.02 ->2 item user "tell me a story"
     4.02 ->2 item assistant "Once upon a time there was a bridge."
     6.12 a1 finished, heard 4000 ms "Once upon a time there was a bridge."
     6.12 status idle
     6.14 silence after 4000 ms
     8.06 vad_start ann
     9.16 vad_end ann
     9.35 status thinking
     9.64 transcript ann "go on"
     9.64 s2.a2 started
     9.64 status acting
     9.64 sound
     9.84 speak s2.a2 "That was all."
    10.62 s2.a2 finished, heard 1000 ms "That was all."
    10.62 status idle
    10.64 silence after 1000 ms
    "##);
}

/// Fixture 13: close 4000.
#[test]
fn a_server_that_refuses_our_shape_is_not_asked_again() {
    assert_snapshot!(timeline(
        r"
        model close 4000 at 1.0
        until 4
        "
    ), @r##"
    0.00 joined ann
    1.00 model socket 1 closes with 4000
    1.00 fatal TRANSCRIBER_FATAL
    1.00 left: TRANSCRIBER_FATAL
    "##);
}

/// Fixture 13: half-open, in mid-answer.
#[test]
fn a_socket_that_has_gone_deaf_is_noticed_and_replaced() {
    assert_snapshot!(brief(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge." speed 1
        model half-open at 3.5
        model audio 2 s "There was a bridge."
        until 24
        "#
    ), @r##"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
     1.85 status thinking
     2.14 transcript ann "tell me a story"
     2.14 a1 started
     2.14 status acting
     2.14 sound
     3.57 silence after 1430 ms
    15.34 error MODEL_RECONNECTING "it gives no sign of life"
    15.34 a1 finished, heard 1400 ms "Once "
    15.34 status thinking
    15.34 speak a1 "Once "
    15.34 status idle
    15.34 model socket 2 opens
    15.36 ->2 item user "tell me a story"
    15.36 ->2 item assistant "Once "
    15.36 ->2 create "You were cut off by a fault while you were answe..."
    15.37 status thinking
    15.66 s2.a2 started
    15.66 status acting
    15.66 sound
    16.06 speak s2.a2 "There was a bridge."
    17.64 s2.a2 finished, heard 2000 ms "There was a bridge."
    17.64 status idle
    17.66 silence after 2000 ms
    "##);
}

/// Fixture 14: no `session.updated` in time.
#[test]
fn settings_that_are_never_confirmed_are_tried_on_another_socket() {
    assert_snapshot!(timeline(
        r#"
        model mute 0..4
        human 1.0..2.0 "hello"
        model audio 1 s "Hello."
        until 14
        "#
    ), @r##"
     0.00 joined ann
     1.06 vad_start ann
     2.16 vad_end ann
    10.01 model socket 2 opens
    10.04 status thinking
    10.33 transcript ann "hello"
    10.33 a1 started
    10.33 status acting
    10.33 sound
    10.53 speak a1 "Hello."
    11.31 a1 finished, heard 1000 ms "Hello."
    11.31 status idle
    11.33 silence after 1000 ms
    "##);
}

/// Fixture 14: no `session.updated` ever.
#[test]
fn settings_that_no_server_confirms_end_the_call() {
    assert_snapshot!(timeline(
        r"
        model mute 0..60
        until 30
        "
    ), @r##"
     0.00 joined ann
    10.01 model socket 2 opens
    20.00 fatal MODEL_UNAVAILABLE
    20.00 left: MODEL_UNAVAILABLE
    "##);
}

/// Fixture 15: text only; it is asked for once more, to be spoken.
#[test]
fn an_answer_in_words_alone_is_spoken() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model text "Hello."
        model audio 1 s "Hello."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "hello"
    2.14 -> delete a1
    2.14 -> create "Say exactly: \"Hello.\""
    2.44 a2 started
    2.44 status acting
    2.44 sound
    2.64 speak a2 "Hello."
    3.42 a2 finished, heard 1000 ms "Hello."
    3.42 status idle
    3.44 silence after 1000 ms
    "##);
}

/// Fixture 15: text only, twice.
#[test]
fn words_that_the_model_will_not_speak_are_told() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model text "Hello."
        model text "Hello."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "hello"
    2.14 -> delete a1
    2.14 -> create "Say exactly: \"Hello.\""
    2.44 speak a2 "Hello."
    2.44 error MODEL_COMPLAINT "text_only_response: the model has answered in words without sound"
    2.44 status idle
    "##);
}
