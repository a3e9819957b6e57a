//! Sessions that cannot be had, grow old, go deaf or fail again and again.

use insta::assert_snapshot;

use super::{brief, timeline};

/// Refused with 429, and then taken.
#[test]
fn a_server_that_has_no_room_for_a_moment_is_asked_again() {
    assert_snapshot!(timeline(
        r#"
        model refuse 429 0..1.5
        agent greeting "Hello."
        model audio 1 s "Hello."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.00 model socket 1 is refused: 429
    0.01 model socket 2 is refused: 429
    0.27 model socket 3 is refused: 429
    0.78 model socket 4 is refused: 429
    1.79 model socket 5 opens
    1.81 status thinking
    1.81 ->5 create "Say exactly: \"Hello.\""
    2.11 a1 started
    2.11 status acting
    2.11 sound
    2.31 speak a1 "Hello."
    3.09 a1 finished, heard 1000 ms "Hello."
    3.09 status idle
    3.11 silence after 1000 ms
    "##);
}

/// Rotation at rest: a new socket takes over in silence, with what was said.
#[test]
fn a_session_grows_old_and_is_replaced_at_rest() {
    assert_snapshot!(timeline(
        r#"
        model session 100
        human 1.0..2.0 "hello"
        model audio 1 s "Hello."
        human 100.0..101.0 "are you still there"
        model audio 1 s "I am."
        until 105
        "#
    ), @r##"
      0.00 joined ann
      1.06 vad_start ann
      2.16 vad_end ann
      2.35 status thinking
      2.64 transcript ann "hello"
      2.64 a1 started
      2.64 status acting
      2.64 sound
      2.84 speak a1 "Hello."
      3.62 a1 finished, heard 1000 ms "Hello."
      3.62 status idle
      3.64 silence after 1000 ms
     83.33 model socket 2 opens
     83.36 ->2 item user "hello"
     83.36 ->2 item assistant "Hello."
    100.06 vad_start ann
    101.16 vad_end ann
    101.35 status thinking
    101.64 transcript ann "are you still there"
    101.64 s2.a2 started
    101.64 status acting
    101.64 sound
    101.84 speak s2.a2 "I am."
    102.62 s2.a2 finished, heard 1000 ms "I am."
    102.62 status idle
    102.64 silence after 1000 ms
    "##);
}

/// Rotation forced: the agent speaks on and on.
#[test]
fn a_session_that_ends_in_mid_answer_is_replaced_before_it_ends() {
    assert_snapshot!(timeline(
        r#"
        model session 60
        human 40.0..41.0 "tell me everything"
        model audio 30 s "One two three four five six seven eight nine ten eleven twelve." speed 1
        model audio 10 s "Thirteen fourteen." speed 1
        until 72
        "#
    ), @r##"
     0.00 joined ann
    40.06 vad_start ann
    41.16 vad_end ann
    41.35 status thinking
    41.64 transcript ann "tell me everything"
    41.64 a1 started
    41.64 status acting
    41.64 sound
    50.00 model socket 2 opens
    50.02 ->2 item user "tell me everything"
    58.04 speak a1 "One two three four five six "
    58.04 ->2 item assistant "One two three four five six "
    58.04 ->2 create "You were cut off by a fault while you were answe..."
    58.22 a1 finished, heard 16600 ms "One two three four five six "
    58.22 status thinking
    58.24 silence after 16600 ms
    58.34 s2.a2 started
    58.34 status acting
    58.34 sound
    68.34 s2.a2 finished, heard 10000 ms "Thirteen fourteen."
    68.34 status thinking
    68.34 speak s2.a2 "Thirteen fourteen."
    68.34 status idle
    68.34 silence after 10000 ms
    "##);
}

/// Repeated failure: the clients are told, the call is left, and the agent goes on.
#[test]
fn sessions_that_break_again_and_again_end_the_call_and_not_the_agent() {
    assert_snapshot!(timeline(
        r#"
        model drop 1006 at 2.0
        model drop 1006 at 4.0
        model drop 1006 at 6.0
        model drop 1006 at 8.0
        model drop 1006 at 10.0
        model drop 1006 at 12.0
        model text "I am."
        at 20.0 client asks "are you there"
        until 24
        "#
    ), @r##"
     0.00 joined ann
     2.00 model socket 1 closes without a goodbye
     2.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     2.00 model socket 2 opens
     4.00 model socket 2 closes without a goodbye
     4.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     4.00 model socket 3 opens
     6.00 model socket 3 closes without a goodbye
     6.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     6.00 model socket 4 opens
     8.00 model socket 4 closes without a goodbye
     8.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     8.00 model socket 5 opens
    10.00 model socket 5 closes without a goodbye
    10.00 fatal TRANSCRIBER_FATAL
    10.00 left: TRANSCRIBER_FATAL
    20.00 status thinking
    20.00 model socket 1001 opens
    20.02 ->1001 item user "event: are you there"
    20.02 ->1001 create
    20.32 status acting
    20.32 speak a1 "I am."
    20.32 status idle
    "##);
}

/// Half-open at rest: our ping is not answered, and what is said meanwhile is heard by the next.
#[test]
fn a_socket_that_goes_deaf_at_rest_is_replaced() {
    assert_snapshot!(brief(
        r#"
        model half-open at 2.0
        human 6.0..7.0 "hello"
        model audio 1 s "Hello."
        until 20
        "#
    ), @r##"
     0.00 joined ann
     6.06 vad_start ann
     7.16 vad_end ann
    12.02 error MODEL_RECONNECTING "it gives no sign of life"
    12.02 model socket 2 opens
    12.05 status thinking
    12.34 transcript ann "hello"
    12.34 s2.a1 started
    12.34 status acting
    12.34 sound
    12.54 speak s2.a1 "Hello."
    13.32 s2.a1 finished, heard 1000 ms "Hello."
    13.32 status idle
    13.34 silence after 1000 ms
    "##);
}

/// An error that no other session would mend.
#[test]
fn a_key_that_has_no_money_left_ends_the_call() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model fail insufficient_quota
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "hello"
    2.14 error MODEL_RESPONSE_FAILED "the model failed to answer: insufficient_quota"
    2.14 status idle
    2.14 fatal TRANSCRIBER_FATAL
    2.14 left: TRANSCRIBER_FATAL
    "##);
}

/// `server_error` twice, without an answer in between.
#[test]
fn a_server_that_fails_once_is_kept_and_twice_is_left() {
    assert_snapshot!(brief(
        r#"
        model error server_error at 1.0
        model error server_error at 2.0
        human 3.0..4.0 "hello"
        model audio 1 s "Hello."
        until 7
        "#
    ), @r##"
    0.00 joined ann
    1.01 error MODEL_COMPLAINT "server_error: as the script has it"
    2.01 error MODEL_COMPLAINT "server_error: as the script has it"
    2.01 error MODEL_RECONNECTING "server_error: as the script has it"
    2.01 model socket 2 opens
    3.06 vad_start ann
    4.16 vad_end ann
    4.35 status thinking
    4.64 transcript ann "hello"
    4.64 s2.a1 started
    4.64 status acting
    4.64 sound
    4.84 speak s2.a1 "Hello."
    5.62 s2.a1 finished, heard 1000 ms "Hello."
    5.62 status idle
    5.64 silence after 1000 ms
    "##);
}

/// The server begins an answer and never ends it.
#[test]
fn an_answer_that_hangs_is_given_up() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model hang
        human 45.0..46.0 "hello?"
        model audio 1 s "Hello."
        until 50
        "#
    ), @r##"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
     1.85 status thinking
     2.14 transcript ann "hello"
    21.85 status idle
    31.85 error MODEL_COMPLAINT "response_timeout: progress of an answer"
    31.85 error MODEL_RESPONSE_FAILED "the model failed to answer: response_timeout"
    31.85 -> cancel r1
    45.06 vad_start ann
    46.16 vad_end ann
    46.35 status thinking
    46.64 transcript ann "hello?"
    46.64 a1 started
    46.64 status acting
    46.64 sound
    46.84 speak a1 "Hello."
    47.62 a1 finished, heard 1000 ms "Hello."
    47.62 status idle
    47.64 silence after 1000 ms
    "##);
}

/// Rotation due while the agent speaks: it takes over in the silence after it.
#[test]
fn a_rotation_waits_for_the_end_of_a_turn() {
    assert_snapshot!(timeline(
        r#"
        model session 60
        human 45.0..46.0 "tell me a story"
        model audio 5 s "Once upon a time there was a bridge." speed 1
        human 55.0..56.0 "go on"
        model audio 1 s "That was all."
        until 59
        "#
    ), @r##"
     0.00 joined ann
    45.06 vad_start ann
    46.16 vad_end ann
    46.35 status thinking
    46.64 transcript ann "tell me a story"
    46.64 a1 started
    46.64 status acting
    46.64 sound
    50.00 model socket 2 opens
    50.02 ->2 item user "tell me a story"
    51.64 a1 finished, heard 5000 ms "Once upon a time there was a bridge."
    51.64 status thinking
    51.64 speak a1 "Once upon a time there was a bridge."
    51.64 status idle
    51.64 ->2 item assistant "Once upon a time there was a bridge."
    51.64 silence after 5000 ms
    55.06 vad_start ann
    56.16 vad_end ann
    56.35 status thinking
    56.64 transcript ann "go on"
    56.64 s2.a2 started
    56.64 status acting
    56.64 sound
    56.84 speak s2.a2 "That was all."
    57.62 s2.a2 finished, heard 1000 ms "That was all."
    57.62 status idle
    57.64 silence after 1000 ms
    "##);
}

/// `say` while no session can be had.
#[test]
fn what_a_client_has_to_say_waits_for_the_session() {
    assert_snapshot!(timeline(
        r#"
        model drop 1006 at 1.0
        model refuse 503 0.9..2.0
        at 1.5 client say "Lunch is ready."
        model audio 1 s "Lunch is ready."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    1.00 model socket 1 closes without a goodbye
    1.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    1.00 model socket 2 is refused: 503
    1.26 model socket 3 is refused: 503
    1.50 status thinking
    1.77 model socket 4 is refused: 503
    2.78 model socket 5 opens
    2.80 ->5 create "Say exactly: \"Lunch is ready.\""
    3.10 s2.a1 started
    3.10 status acting
    3.10 sound
    3.30 speak s2.a1 "Lunch is ready."
    4.08 s2.a1 finished, heard 1000 ms "Lunch is ready."
    4.08 status idle
    4.10 silence after 1000 ms
    "##);
}

/// `say` before the first session stands.
#[test]
fn a_client_may_say_something_before_the_model_listens() {
    assert_snapshot!(timeline(
        r#"
        model mute 0..1
        at 0.3 client say "Lunch is ready."
        model raw {"type":"session.updated","session":{"type":"realtime"}} at 0.8
        model audio 1 s "Lunch is ready."
        until 4
        "#
    ), @r##"
    0.00 joined ann
    0.80 status thinking
    0.80 -> create "Say exactly: \"Lunch is ready.\""
    1.10 a1 started
    1.10 status acting
    1.10 sound
    1.30 speak a1 "Lunch is ready."
    2.08 a1 finished, heard 1000 ms "Lunch is ready."
    2.08 status idle
    2.10 silence after 1000 ms
    "##);
}

/// `leave` while no session can be had: nothing is opened any more.
#[test]
fn a_call_is_left_while_its_session_is_being_replaced() {
    assert_snapshot!(timeline(
        r"
        model drop 1006 at 1.0
        model refuse 503 0.9..30.0
        at 2.0 client leave
        until 12
        "
    ), @r##"
    0.00 joined ann
    1.00 model socket 1 closes without a goodbye
    1.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    1.00 model socket 2 is refused: 503
    1.26 model socket 3 is refused: 503
    1.77 model socket 4 is refused: 503
    2.00 left: requested
    "##);
}

/// The socket breaks, and no other is to be had.
#[test]
fn no_other_session_in_time_ends_the_call() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 1 s "Hello."
        model drop 1006 at 4.0
        model refuse 503 3.9..60.0
        until 40
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
     4.00 model socket 1 closes without a goodbye
     4.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     4.00 model socket 2 is refused: 503
     4.26 model socket 3 is refused: 503
     4.77 model socket 4 is refused: 503
     5.78 model socket 5 is refused: 503
     7.79 model socket 6 is refused: 503
    11.80 model socket 7 is refused: 503
    15.81 model socket 8 is refused: 503
    15.82 fatal TRANSCRIBER_FATAL
    15.82 left: TRANSCRIBER_FATAL
    "##);
}
