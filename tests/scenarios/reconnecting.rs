//! Sockets that break, at every moment of a conversation.

use insta::assert_snapshot;

use super::timeline;

/// Reconnect while hearing: the next session hears the turn from its beginning.
#[test]
fn a_socket_that_breaks_while_somebody_speaks_costs_no_word() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..3.0 "it is a long story"
        model drop 1006 at 1.5
        model audio 1 s "Indeed."
        until 7
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.50 model socket 1 closes without a goodbye
    1.50 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    1.50 transcript ann ""
    1.50 model socket 2 opens
    3.32 vad_end ann
    3.53 status thinking
    3.82 transcript ann "it is a long story"
    3.82 s2.a1 started
    3.82 status acting
    3.82 sound
    4.02 speak s2.a1 "Indeed."
    4.80 s2.a1 finished, heard 1000 ms "Indeed."
    4.80 status idle
    4.82 silence after 1000 ms
    "##);
}

/// Reconnect while thinking: the words are not known yet, so the turn is heard again.
#[test]
fn a_socket_that_breaks_before_the_answer_began_costs_no_answer() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "what time is it"
        model hang
        model drop 1006 at 2.0
        model audio 1 s "It is noon."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.00 model socket 1 closes without a goodbye
    2.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    2.00 status idle
    2.00 transcript ann ""
    2.00 model socket 2 opens
    2.03 status thinking
    2.32 transcript ann "what time is it"
    2.32 s2.a1 started
    2.32 status acting
    2.32 sound
    2.52 speak s2.a1 "It is noon."
    3.30 s2.a1 finished, heard 1000 ms "It is noon."
    3.30 status idle
    3.32 silence after 1000 ms
    "##);
}

/// Reconnect while thinking: the words are known, so they are told, and answered.
#[test]
fn a_socket_that_breaks_when_the_words_are_known_costs_no_answer() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "what time is it"
        model hang
        model drop 1006 at 2.5
        model audio 1 s "It is noon."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "what time is it"
    2.50 model socket 1 closes without a goodbye
    2.50 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    2.50 status idle
    2.50 model socket 2 opens
    2.52 ->2 item user "what time is it"
    2.52 ->2 create
    2.53 status thinking
    2.82 s2.a1 started
    2.82 status acting
    2.82 sound
    3.02 speak s2.a1 "It is noon."
    3.80 s2.a1 finished, heard 1000 ms "It is noon."
    3.80 status idle
    3.82 silence after 1000 ms
    "##);
}

/// Reconnect while held: a cough, and the socket breaks in it.
#[test]
fn a_socket_that_breaks_while_the_agent_is_held_changes_nothing_for_the_human() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 4 s "Once upon a time there was a bridge."
        noise 4.0 100ms
        model drop 1006 at 4.2
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
    2.94 speak a1 "Once upon a time there was a bridge."
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.20 model socket 1 closes without a goodbye
    4.20 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    4.20 model socket 2 opens
    4.22 ->2 item user "tell me a story"
    4.22 ->2 item assistant "Once upon a time there was a bridge."
    4.44 vad_end ann
    4.44 sound
    6.50 a1 finished, heard 4000 ms "Once upon a time there was a bridge."
    6.50 status idle
    6.52 silence after 2080 ms
    "##);
}

/// Reconnect after a cut: the new session knows as much of the answer as was heard.
#[test]
fn a_socket_that_breaks_in_a_barge_in_forgets_what_was_not_heard() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 8 s "Once upon a time there was a bridge that nobody dared to cross."
        human 4.0..5.5 "stop there"
        model drop 1006 at 4.8
        model audio 1 s "As you like."
        until 10
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
    3.74 speak a1 "Once upon a time there was a bridge that nobody dared to cross."
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.20 status idle
    4.20 a1 cut, heard 1920 ms "Once upon a"
    4.20 -> truncate a1 at 1920 ms
    4.80 model socket 1 closes without a goodbye
    4.80 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    4.80 transcript ann ""
    4.80 model socket 2 opens
    4.82 ->2 item user "tell me a story"
    4.82 ->2 item assistant "Once upon a"
    5.82 vad_end ann
    6.03 status thinking
    6.32 transcript ann "stop there"
    6.32 s2.a2 started
    6.32 status acting
    6.32 sound
    6.52 speak s2.a2 "As you like."
    7.30 s2.a2 finished, heard 1000 ms "As you like."
    7.30 status idle
    7.32 silence after 1000 ms
    "##);
}

/// Reconnect at the greeting: it is asked for again.
#[test]
fn a_socket_that_breaks_before_the_greeting_does_not_cost_it() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Hello."
        model hang
        model drop 1006 at 0.2
        model audio 1 s "Hello."
        until 4
        "#
    ), @r##"
    0.00 joined ann
    0.02 status thinking
    0.02 -> create "Say exactly: \"Hello.\""
    0.20 model socket 1 closes without a goodbye
    0.20 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    0.20 status idle
    0.20 model socket 2 opens
    0.22 ->2 create "Say exactly: \"Hello.\""
    0.23 status thinking
    0.52 s2.a1 started
    0.52 status acting
    0.52 sound
    0.72 speak s2.a1 "Hello."
    1.50 s2.a1 finished, heard 1000 ms "Hello."
    1.50 status idle
    1.52 silence after 1000 ms
    "##);
}

/// Reconnect in the greeting.
#[test]
fn a_socket_that_breaks_in_the_greeting_has_it_finished() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Hello, and welcome."
        model audio 2 s "Hello, and welcome." speed 1
        model drop 1006 at 1.4
        model audio 1 s "And welcome."
        until 5
        "#
    ), @r##"
    0.00 joined ann
    0.02 status thinking
    0.02 -> create "Say exactly: \"Hello, and welcome.\""
    0.32 a1 started
    0.32 status acting
    0.32 sound
    1.40 model socket 1 closes without a goodbye
    1.40 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    1.40 speak a1 "Hello, "
    1.40 model socket 2 opens
    1.42 ->2 item assistant "Hello, "
    1.42 ->2 create "Say exactly: \"Hello, and welcome.\"\n\nYou were cut..."
    1.50 a1 finished, heard 1200 ms "Hello, "
    1.50 status thinking
    1.52 silence after 1200 ms
    1.72 s2.a2 started
    1.72 status acting
    1.72 sound
    1.92 speak s2.a2 "And welcome."
    2.70 s2.a2 finished, heard 1000 ms "And welcome."
    2.70 status idle
    2.72 silence after 1000 ms
    "##);
}

/// Reconnect at rest.
#[test]
fn a_socket_that_breaks_at_rest_is_replaced_unnoticed() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 1 s "Hello."
        model drop 1006 at 5.0
        human 5.2..6.2 "are you there"
        model audio 1 s "I am."
        until 9
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
    5.00 model socket 1 closes without a goodbye
    5.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    5.00 model socket 2 opens
    5.02 ->2 item user "hello"
    5.02 ->2 item assistant "Hello."
    5.26 vad_start ann
    6.36 vad_end ann
    6.55 status thinking
    6.84 transcript ann "are you there"
    6.84 s2.a2 started
    6.84 status acting
    6.84 sound
    7.04 speak s2.a2 "I am."
    7.82 s2.a2 finished, heard 1000 ms "I am."
    7.82 status idle
    7.84 silence after 1000 ms
    "##);
}

/// The socket breaks in mid-answer, and the human asks what is the matter.
#[test]
fn who_speaks_while_no_session_can_be_had_is_heard_by_the_next() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge." speed 1
        model drop 1006 at 4.0
        model refuse 503 3.9..8.0
        human 5.5..6.5 "are you there"
        model audio 1 s "I am."
        until 15
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
     4.00 model socket 1 closes without a goodbye
     4.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     4.00 speak a1 "Once upon "
     4.00 model socket 2 is refused: 503
     4.12 a1 finished, heard 2000 ms "Once upon "
     4.12 status idle
     4.14 silence after 2000 ms
     4.26 model socket 3 is refused: 503
     4.77 model socket 4 is refused: 503
     5.56 vad_start ann
     5.78 model socket 5 is refused: 503
     6.66 vad_end ann
     7.79 model socket 6 is refused: 503
    11.80 model socket 7 opens
    11.82 ->7 item user "tell me a story"
    11.82 ->7 item assistant "Once upon "
    11.83 status thinking
    12.12 transcript ann "are you there"
    12.12 s2.a2 started
    12.12 status acting
    12.12 sound
    12.32 speak s2.a2 "I am."
    13.10 s2.a2 finished, heard 1000 ms "I am."
    13.10 status idle
    13.12 silence after 1000 ms
    "##);
}

/// The same, and the human is still at it when the next session stands.
#[test]
fn who_speaks_when_the_session_is_back_is_not_spoken_over() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge." speed 1
        model drop 1006 at 4.0
        model refuse 503 3.9..7.0
        human 6.0..10.5 "are you there or are you not"
        model audio 1 s "I am."
        until 15
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
     4.00 model socket 1 closes without a goodbye
     4.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     4.00 speak a1 "Once upon "
     4.00 model socket 2 is refused: 503
     4.12 a1 finished, heard 2000 ms "Once upon "
     4.12 status idle
     4.14 silence after 2000 ms
     4.26 model socket 3 is refused: 503
     4.77 model socket 4 is refused: 503
     5.78 model socket 5 is refused: 503
     6.06 vad_start ann
     7.79 model socket 6 opens
     7.81 ->6 item user "tell me a story"
     7.81 ->6 item assistant "Once upon "
    10.82 vad_end ann
    11.03 status thinking
    11.32 transcript ann "are you there or are you not"
    11.32 s2.a2 started
    11.32 status acting
    11.32 sound
    11.52 speak s2.a2 "I am."
    12.30 s2.a2 finished, heard 1000 ms "I am."
    12.30 status idle
    12.32 silence after 1000 ms
    "##);
}
