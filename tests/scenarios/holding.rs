//! Turns by our own ear, half duplex, echo, greetings, and who comes and goes.

use insta::assert_snapshot;

use super::timeline;

/// Turns by our own ear: one human.
#[test]
fn our_ear_takes_the_turn_after_the_silence_that_was_asked_for() {
    assert_snapshot!(timeline(
        r#"
        agent turns gateway 500ms
        human 0.5..2.0 "what time is it"
        model audio 1 s "It is noon."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    2.32 vad_end ann
    2.52 status thinking
    2.52 -> commit
    2.52 -> create
    2.82 transcript ann "what time is it"
    2.82 a1 started
    2.82 status acting
    2.82 sound
    3.02 speak a1 "It is noon."
    3.80 a1 finished, heard 1000 ms "It is noon."
    3.80 status idle
    3.82 silence after 1000 ms
    "##);
}

/// Turns by our own ear: the turn is over when both are silent.
#[test]
fn two_who_speak_into_each_other_are_one_turn_by_our_ear() {
    assert_snapshot!(timeline(
        r#"
        agent turns gateway 500ms
        human ann 0.5..2.0 "what time is it"
        human bob 1.5..3.0 "and what day"
        model audio 1 s "Noon, on a Monday."
        until 7
        "#
    ), @r##"
    0.00 joined ann, bob
    0.56 vad_start ann
    1.56 vad_start bob
    2.32 vad_end ann
    3.32 vad_end bob
    3.52 status thinking
    3.52 -> commit
    3.52 -> create
    3.82 transcript bob "what time is it and what day"
    3.82 a1 started
    3.82 status acting
    3.82 sound
    4.02 speak a1 "Noon, on a Monday."
    4.80 a1 finished, heard 1000 ms "Noon, on a Monday."
    4.80 status idle
    4.82 silence after 1000 ms
    "##);
}

/// Turns by our own ear: who thinks for a moment goes on.
#[test]
fn a_pause_within_the_silence_ends_no_turn_by_our_ear() {
    assert_snapshot!(timeline(
        r#"
        agent turns gateway 800ms
        human 0.5..1.5 "what I wanted"
        human 2.1..3.0 "to ask"
        model audio 1 s "Yes?"
        until 7
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    2.16 vad_start ann
    3.26 vad_end ann
    3.76 status thinking
    3.76 -> commit
    3.76 -> create
    4.06 transcript ann "what I wanted to ask"
    4.06 a1 started
    4.06 status acting
    4.06 sound
    4.26 speak a1 "Yes?"
    5.04 a1 finished, heard 1000 ms "Yes?"
    5.04 status idle
    5.06 silence after 1000 ms
    "##);
}

/// Turns by our own ear: what was only a click is taken out of the model's ear.
#[test]
fn noise_alone_is_no_turn_by_our_ear() {
    assert_snapshot!(timeline(
        r"
        agent turns gateway 500ms
        noise 1.0 80ms
        until 5
        "
    ), @r##"
    0.00 joined ann
    1.06 vad_start ann
    1.42 vad_end ann
    1.62 -> clear
    "##);
}

/// Turns by our own ear: nobody else cancels.
#[test]
fn a_barge_in_by_our_ear_cancels_and_cuts() {
    assert_snapshot!(timeline(
        r#"
        agent turns gateway 500ms
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge." speed 1
        human 4.0..5.0 "stop"
        model audio 1 s "As you like."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.86 status thinking
    1.86 -> commit
    1.86 -> create
    2.16 transcript ann "tell me a story"
    2.16 a1 started
    2.16 status acting
    2.16 sound
    4.06 vad_start ann
    4.08 silence after 1920 ms
    4.20 status idle
    4.20 a1 cut, heard 1900 ms "Once"
    4.20 -> cancel r1
    4.20 -> truncate a1 at 1900 ms
    5.16 vad_end ann
    5.36 status thinking
    5.36 -> commit
    5.36 -> create
    5.66 transcript ann "stop"
    5.66 a2 started
    5.66 status acting
    5.66 sound
    5.86 speak a2 "As you like."
    6.64 a2 finished, heard 1000 ms "As you like."
    6.64 status idle
    6.66 silence after 1000 ms
    "##);
}

/// Half duplex: nobody is heard while the agent speaks, and everybody after.
#[test]
fn who_is_half_duplex_is_not_interrupted() {
    assert_snapshot!(timeline(
        r#"
        agent half-duplex
        human 0.5..1.5 "tell me a story"
        model audio 3 s "Once upon a time there was a bridge."
        human 3.0..4.0 "stop"
        human 6.5..7.5 "go on"
        model audio 1 s "That was all."
        until 11
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
    2.74 speak a1 "Once upon a time there was a bridge."
    5.12 a1 finished, heard 3000 ms "Once upon a time there was a bridge."
    5.12 status idle
    5.14 silence after 3000 ms
    6.56 vad_start ann
    7.66 vad_end ann
    7.85 status thinking
    8.14 transcript ann "stop go on"
    8.14 a2 started
    8.14 status acting
    8.14 sound
    8.34 speak a2 "That was all."
    9.12 a2 finished, heard 1000 ms "That was all."
    9.12 status idle
    9.14 silence after 1000 ms
    "##);
}

/// `min_speech` of 0: there is nothing between a beginning and its meaning.
#[test]
fn without_a_least_length_the_first_sound_breaks_the_agent_off() {
    assert_snapshot!(timeline(
        r#"
        agent min-speech 0ms
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge." speed 1
        human 4.0..5.0 "stop"
        model audio 1 s "As you like."
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
    4.06 vad_start ann
    4.06 status idle
    4.06 a1 cut, heard 1920 ms "Once upon"
    4.06 -> cancel r1
    4.06 -> truncate a1 at 1920 ms
    4.06 silence after 1920 ms
    5.16 vad_end ann
    5.35 status thinking
    5.64 transcript ann "stop"
    5.64 a2 started
    5.64 status acting
    5.64 sound
    5.84 speak a2 "As you like."
    6.62 a2 finished, heard 1000 ms "As you like."
    6.62 status idle
    6.64 silence after 1000 ms
    "##);
}

/// A large `min_speech`: an "mhm" holds the agent, and it goes on; the server does not interrupt.
#[test]
fn a_word_shorter_than_the_least_length_only_holds_the_agent() {
    assert_snapshot!(timeline(
        r#"
        agent min-speech 900ms
        agent turns model {"type":"server_vad","interrupt_response":false,"create_response":true}
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        human 4.0..4.4 ""
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
    3.34 speak a1 "Once upon a time there was a bridge."
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.72 vad_end ann
    4.72 sound
    5.22 transcript ann ""
    8.78 a1 finished, heard 6000 ms "Once upon a time there was a bridge."
    8.78 status idle
    8.80 silence after 4080 ms
    "##);
}

/// Echo without the guard: the agent cuts itself off, as every agent without one does.
#[test]
fn the_agents_own_echo_is_heard_as_speech_without_a_guard() {
    assert_snapshot!(timeline(
        r#"
        agent no-echo-guard
        echo 150ms -10dB
        human 0.5..1.5 "tell me a story"
        model audio 5 s "Once upon a time there was a bridge."
        until 5
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
    2.42 vad_start ann
    2.44 silence after 300 ms
    2.52 status idle
    2.52 a1 cut, heard 300 ms ""
    2.52 -> cancel r1
    2.52 -> truncate a1 at 300 ms
    2.82 vad_end ann
    "##);
}

/// Double talk: the guard lets a human through who speaks while the echo is heard.
#[test]
fn who_speaks_over_the_agents_echo_is_heard() {
    assert_snapshot!(timeline(
        r#"
        echo 150ms -18dB
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        human 4.5..6.0 "stop it"
        until 6.4
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
    4.58 vad_start ann
    4.60 silence after 2460 ms
    4.72 status idle
    4.72 a1 cut, heard 2440 ms "Once upon a"
    4.72 -> truncate a1 at 2440 ms
    6.32 vad_end ann
    "##);
}

/// Greeting: not into an empty room.
#[test]
fn the_first_who_comes_into_an_empty_room_is_greeted() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Hello."
        joins ann 2.0
        model audio 1 s "Hello."
        until 5
        "#
    ), @r##"
    0.00 joined nobody
    2.00 ann comes in
    2.00 status thinking
    2.00 -> create "Say exactly: \"Hello.\""
    2.30 a1 started
    2.30 status acting
    2.30 sound
    2.50 speak a1 "Hello."
    3.28 a1 finished, heard 1000 ms "Hello."
    3.28 status idle
    3.30 silence after 1000 ms
    "##);
}

/// Greeting: a human speaks while the model is still being opened.
#[test]
fn who_speaks_first_is_answered_and_not_greeted() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Hello."
        model mute 0..1
        human 0.1..1.0 "who is there"
        model raw {"type":"session.updated","session":{"type":"realtime"}} at 0.6
        model audio 1 s "It is me."
        until 5
        "#
    ), @r##"
    0.00 joined ann
    0.16 vad_start ann
    1.26 vad_end ann
    1.45 status thinking
    1.74 transcript ann "who is there"
    1.74 a1 started
    1.74 status acting
    1.74 sound
    1.94 speak a1 "It is me."
    2.72 a1 finished, heard 1000 ms "It is me."
    2.72 status idle
    2.74 silence after 1000 ms
    "##);
}
