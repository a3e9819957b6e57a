//! Rooms that empty, and what clients ask while the agent speaks or is held.

use insta::assert_snapshot;

use super::timeline;

/// Greeting: a human speaks into it.
#[test]
fn a_greeting_can_be_cut() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Hello, and welcome to the bridge."
        model audio 4 s "Hello, and welcome to the bridge."
        human 1.5..2.5 "good morning"
        model audio 1 s "Good morning."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.02 status thinking
    0.02 -> create "Say exactly: \"Hello, and welcome to the bridge.\""
    0.32 a1 started
    0.32 status acting
    0.32 sound
    1.12 speak a1 "Hello, and welcome to the bridge."
    1.56 vad_start ann
    1.58 silence after 1260 ms
    1.70 status idle
    1.70 a1 cut, heard 1240 ms "Hello, and"
    1.70 -> truncate a1 at 1240 ms
    2.66 vad_end ann
    2.85 status thinking
    3.14 transcript ann "good morning"
    3.14 a2 started
    3.14 status acting
    3.14 sound
    3.34 speak a2 "Good morning."
    4.12 a2 finished, heard 1000 ms "Good morning."
    4.12 status idle
    4.14 silence after 1000 ms
    "##);
}

/// The model is closed with the last human, and opened with what was said before for the next.
#[test]
fn an_empty_room_costs_nothing_and_who_comes_back_is_known() {
    assert_snapshot!(timeline(
        r#"
        human ann 0.5..1.5 "my name is Ann"
        model audio 1 s "Hello, Ann."
        leaves ann 5.0 "fell silent"
        joins bob 8.0
        human bob 9.0..10.0 "who was here"
        model audio 1 s "Ann was."
        until 14
        "#
    ), @r##"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
     1.85 status thinking
     2.14 transcript ann "my name is Ann"
     2.14 a1 started
     2.14 status acting
     2.14 sound
     2.34 speak a1 "Hello, Ann."
     3.12 a1 finished, heard 1000 ms "Hello, Ann."
     3.12 status idle
     3.14 silence after 1000 ms
     5.00 ann is gone: fell silent
     8.00 bob comes in
     8.00 model socket 1001 opens
     8.02 ->1001 item system "The conversation so far:\nann said: my name is An..."
     9.06 vad_start bob
    10.16 vad_end bob
    10.35 status thinking
    10.64 transcript bob "who was here"
    10.64 a2 started
    10.64 status acting
    10.64 sound
    10.84 speak a2 "Ann was."
    11.62 a2 finished, heard 1000 ms "Ann was."
    11.62 status idle
    11.64 silence after 1000 ms
    "##);
}

/// The last human goes in mid-answer.
#[test]
fn who_leaves_while_the_agent_speaks_silences_it() {
    assert_snapshot!(timeline(
        r#"
        human ann 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        leaves ann 4.0 "hung up"
        until 7
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
    3.34 speak a1 "Once upon a time there was a bridge."
    4.00 ann is gone: hung up
    4.00 a1 cut, heard 1860 ms "Once upon a"
    4.00 status idle
    4.02 silence after 1880 ms
    "##);
}

/// One of two goes while it may be speaking.
#[test]
fn who_leaves_while_it_holds_the_agent_lets_it_go_on() {
    assert_snapshot!(timeline(
        r#"
        human ann 0.5..1.5 "tell me a story"
        joins bob 0.1
        model audio 4 s "Once upon a time there was a bridge."
        noise bob 3.5 400ms
        leaves bob 3.62 "fell silent"
        until 8
        "#
    ), @r##"
    0.00 joined ann
    0.10 bob comes in
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "tell me a story"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.94 speak a1 "Once upon a time there was a bridge."
    3.56 vad_start bob
    3.58 silence after 1440 ms
    3.62 vad_end bob
    3.62 bob is gone: fell silent
    3.62 sound
    6.16 a1 finished, heard 4000 ms "Once upon a time there was a bridge."
    6.16 status idle
    6.18 silence after 2560 ms
    "##);
}

/// `say` while the agent speaks: it comes after it.
#[test]
fn what_a_client_has_to_say_waits_for_the_answer() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 2 s "Hello to you."
        at 2.5 client say "Lunch is ready."
        model audio 1 s "Lunch is ready."
        until 7
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
    2.54 speak a1 "Hello to you."
    2.54 -> create "Say exactly: \"Lunch is ready.\""
    3.04 speak a2 "Lunch is ready."
    4.12 a1 finished, heard 2000 ms "Hello to you."
    4.12 status thinking
    4.14 a2 started
    4.14 status acting
    5.12 a2 finished, heard 1000 ms "Lunch is ready."
    5.12 status idle
    5.14 silence after 3000 ms
    "##);
}

/// `interrupt` while a human may be speaking.
#[test]
fn an_interruption_while_held_drops_what_was_held() {
    assert_snapshot!(timeline(
        r#"
        agent min-speech 900ms
        agent turns model {"type":"server_vad","interrupt_response":false,"create_response":true}
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        human 4.0..4.4 ""
        at 4.2 client interrupt
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
    3.34 speak a1 "Once upon a time there was a bridge."
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.20 a1 cut, heard 1920 ms "Once upon a"
    4.20 status idle
    4.20 -> truncate a1 at 1920 ms
    4.72 vad_end ann
    4.93 status thinking
    5.22 transcript ann ""
    5.22 status idle
    "##);
}

/// `set-muted` in mid-answer, a question while muted, and one after it.
#[test]
fn who_is_muted_falls_silent_and_answers_nobody() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        at 3.0 client mute
        human 4.0..5.0 "are you there"
        model audio 1 s "I am."
        at 7.0 client unmute
        human 7.5..8.5 "and now"
        model audio 1 s "Here I am."
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
     3.00 a1 cut, heard 860 ms "Once"
     3.00 status idle
     3.00 -> cancel r1
     3.00 -> truncate a1 at 860 ms
     3.02 silence after 880 ms
     4.06 vad_start ann
     5.16 vad_end ann
     5.35 status thinking
     5.35 status idle
     5.35 -> cancel r2
     5.64 transcript ann "are you there"
     7.56 vad_start ann
     8.66 vad_end ann
     8.85 status thinking
     9.14 transcript ann "and now"
     9.14 a3 started
     9.14 status acting
     9.14 sound
     9.34 speak a3 "Here I am."
    10.12 a3 finished, heard 1000 ms "Here I am."
    10.12 status idle
    10.14 silence after 1000 ms
    "##);
}

/// `leave` while a human may be speaking.
#[test]
fn who_leaves_the_call_while_held_is_silent_at_once() {
    assert_snapshot!(timeline(
        r#"
        agent min-speech 900ms
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        human 4.0..4.6 ""
        at 4.1 client leave
        until 6
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
    3.34 speak a1 "Once upon a time there was a bridge."
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.10 status idle
    4.10 a1 cut, heard 1920 ms "Once upon a"
    4.10 left: requested
    "##);
}

/// `leave` while the agent speaks.
#[test]
fn who_leaves_the_call_in_mid_sentence_tells_what_was_heard() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        at 4.0 client leave
        until 6
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
    3.34 speak a1 "Once upon a time there was a bridge."
    4.00 status idle
    4.00 a1 cut, heard 1860 ms "Once upon a"
    4.00 left: requested
    4.00 silence after 1860 ms
    "##);
}

/// `delete` while the agent speaks.
#[test]
fn who_is_deleted_in_mid_sentence_leaves_the_call_first() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        at 4.0 client delete
        until 8
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
    3.34 speak a1 "Once upon a time there was a bridge."
    4.00 a1 cut, heard 1860 ms "Once upon a"
    4.00 left: deleted
    4.00 ended: deleted
    4.00 error AGENT_DELETED "the agent was deleted by its owner"
    4.00 silence after 1860 ms
    "##);
}

/// The process goes down while the agent speaks: the running turn ends first.
#[test]
fn a_shutdown_lets_the_answer_be_heard_out() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 4 s "Once upon a time there was a bridge."
        at 4.0 client shutdown
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
    6.12 a1 finished, heard 4000 ms "Once upon a time there was a bridge."
    6.12 left: shutdown
    6.12 error SERVER_SHUTDOWN "the server is shutting down; the agent is kept"
    6.14 silence after 4000 ms
    "##);
}

/// `asks` in mid-answer: one answer more, and no cut.
#[test]
fn news_while_the_agent_speaks_are_answered_after_it() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 2 s "Hello to you."
        at 2.5 client asks "lunch is ready"
        model audio 1 s "Lunch is ready."
        until 7
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
    2.50 -> item user "event: lunch is ready"
    2.54 speak a1 "Hello to you."
    2.54 -> create
    3.04 speak a2 "Lunch is ready."
    4.12 a1 finished, heard 2000 ms "Hello to you."
    4.12 status thinking
    4.14 a2 started
    4.14 status acting
    5.12 a2 finished, heard 1000 ms "Lunch is ready."
    5.12 status idle
    5.14 silence after 3000 ms
    "##);
}

/// `tells`: the model knows it with the next turn.
#[test]
fn news_without_a_question_are_known_and_not_answered() {
    assert_snapshot!(timeline(
        r#"
        at 0.5 client tells "lunch is ready"
        human 1.5..2.5 "what is there"
        model audio 1 s "Lunch."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.50 -> item user "event: lunch is ready"
    1.56 vad_start ann
    2.66 vad_end ann
    2.85 status thinking
    3.14 transcript ann "what is there"
    3.14 a1 started
    3.14 status acting
    3.14 sound
    3.34 speak a1 "Lunch."
    4.12 a1 finished, heard 1000 ms "Lunch."
    4.12 status idle
    4.14 silence after 1000 ms
    "##);
}
