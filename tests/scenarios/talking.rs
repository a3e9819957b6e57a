//! Turns, and what breaks into them.

use insta::assert_snapshot;

use super::{play, timeline};

#[test]
fn a_question_is_answered() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..2.0 "what time is it"
        model audio 1.5 s "It is noon."
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    2.32 vad_end ann
    2.53 status thinking
    2.82 transcript ann "what time is it"
    2.82 a1 started
    2.82 status acting
    2.82 sound
    3.12 speak a1 "It is noon."
    4.30 a1 finished, heard 1500 ms "It is noon."
    4.30 status idle
    4.32 silence after 1500 ms
    "##);
}

#[test]
fn a_barge_in_cuts_the_answer_and_the_model_is_told_where() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..2.5 "tell me a story"
        model audio 10 s "Once upon a time there was a bridge that nobody dared to cross."
        human 5.0..6.0 "stop"
        model audio 1 s "As you like."
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    2.84 vad_end ann
    3.03 status thinking
    3.32 transcript ann "tell me a story"
    3.32 a1 started
    3.32 status acting
    3.32 sound
    5.06 vad_start ann
    5.08 silence after 1760 ms
    5.20 status idle
    5.20 a1 cut, heard 1740 ms "Once upon"
    5.20 -> cancel r1
    5.20 -> truncate a1 at 1740 ms
    6.16 vad_end ann
    6.35 status thinking
    6.64 transcript ann "stop"
    6.64 a2 started
    6.64 status acting
    6.64 sound
    6.84 speak a2 "As you like."
    7.62 a2 finished, heard 1000 ms "As you like."
    7.62 status idle
    7.64 silence after 1000 ms
    "##);
}

#[test]
fn a_cough_only_holds_the_answer() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..2.0 "tell me a story"
        model audio 4 s "Once upon a time there was a bridge."
        noise 4.5 100ms
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    2.32 vad_end ann
    2.53 status thinking
    2.82 transcript ann "tell me a story"
    2.82 a1 started
    2.82 status acting
    2.82 sound
    3.62 speak a1 "Once upon a time there was a bridge."
    4.56 vad_start ann
    4.58 silence after 1760 ms
    4.94 vad_end ann
    4.94 sound
    7.18 a1 finished, heard 4000 ms "Once upon a time there was a bridge."
    7.18 status idle
    7.20 silence after 2260 ms
    "##);
}

#[test]
fn a_tool_runs_while_the_agent_talks() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather "what the weather is"
        human 0.5..2.0 "how is the weather in Paris"
        model audio 1.5 s "Let me look." + tool weather {"city":"Paris"}
        tool weather after 2.5 {"sky":"clear"}
        model audio 1 s "It is clear."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    2.32 vad_end ann
    2.53 status thinking
    2.82 transcript ann "how is the weather in Paris"
    2.82 a1 started
    2.82 status acting
    2.82 sound
    3.12 speak a1 "Let me look."
    3.12 tool tc1 weather {"city":"Paris"}
    4.30 a1 finished, heard 1500 ms "Let me look."
    4.32 silence after 1500 ms
    5.62 status thinking
    5.62 -> output tc1 {"sky":"clear"}
    5.62 -> create
    5.92 a3 started
    5.92 status acting
    5.92 sound
    6.12 speak a3 "It is clear."
    6.90 a3 finished, heard 1000 ms "It is clear."
    6.90 status idle
    6.92 silence after 1000 ms
    "##);
}

#[test]
fn two_humans_are_told_apart() {
    assert_snapshot!(timeline(
        r#"
        human ann 0.5..1.5 "good morning"
        model audio 1 s "Good morning."
        human bob 4.0..5.0 "and to me"
        model audio 1 s "And to you."
        until 9
        "#
    ), @r##"
    0.00 joined ann, bob
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "good morning"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Good morning."
    3.12 a1 finished, heard 1000 ms "Good morning."
    3.12 status idle
    3.14 silence after 1000 ms
    4.06 vad_start bob
    5.16 vad_end bob
    5.35 status thinking
    5.64 transcript bob "and to me"
    5.64 a2 started
    5.64 status acting
    5.64 sound
    5.84 speak a2 "And to you."
    6.62 a2 finished, heard 1000 ms "And to you."
    6.62 status idle
    6.64 silence after 1000 ms
    "##);
}

#[test]
fn a_socket_that_drops_in_mid_sentence_is_replaced() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..2.0 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge." speed 1
        model drop 1006 at 4.0
        model audio 2 s "There was a bridge."
        human 9.0..10.0 "go on"
        model audio 1 s "That was all."
        "#
    ), @r##"
     0.00 joined ann
     0.56 vad_start ann
     2.32 vad_end ann
     2.53 status thinking
     2.82 transcript ann "tell me a story"
     2.82 a1 started
     2.82 status acting
     2.82 sound
     4.00 model socket 1 closes without a goodbye
     4.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
     4.00 a1 finished, heard 1200 ms "Once "
     4.00 status thinking
     4.00 speak a1 "Once "
     4.00 status idle
     4.00 model socket 2 opens
     4.02 ->2 item user "tell me a story"
     4.02 ->2 item assistant "Once "
     4.02 ->2 create "You were cut off by a fault while you were answe..."
     4.02 silence after 1200 ms
     4.03 status thinking
     4.32 s2.a2 started
     4.32 status acting
     4.32 sound
     4.72 speak s2.a2 "There was a bridge."
     6.30 s2.a2 finished, heard 2000 ms "There was a bridge."
     6.30 status idle
     6.32 silence after 2000 ms
     9.06 vad_start ann
    10.16 vad_end ann
    10.35 status thinking
    10.64 transcript ann "go on"
    10.64 s2.a3 started
    10.64 status acting
    10.64 sound
    10.84 speak s2.a3 "That was all."
    11.62 s2.a3 finished, heard 1000 ms "That was all."
    11.62 status idle
    11.64 silence after 1000 ms
    "##);
}

#[test]
fn an_hour_passes_with_rotation_and_no_turn_is_lost() {
    let mut script = String::from("until 3600\n");
    for turn in 0..120 {
        let at = turn * 30;
        script += &format!("human {}..{} \"question {turn}\"\n", at + 1, at + 2);
        script += &format!("model audio 2 s \"Answer {turn}.\"\n");
    }
    let timeline = play(&script).to_string();
    let count = |part: &str| timeline.lines().filter(|line| line.contains(part)).count();
    assert_eq!(
        (count("transcript ann"), count(" finished, heard 2000 ms")),
        (120, 120),
        "{timeline}"
    );
    assert_eq!((count("opens"), count("error")), (1, 0), "{timeline}");
}

#[test]
fn a_greeting_waits_for_nobody() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Hello."
        model audio 1 s "Hello."
        until 3
        "#
    ), @r##"
    0.00 joined ann
    0.02 status thinking
    0.02 -> create "Say exactly: \"Hello.\""
    0.32 a1 started
    0.32 status acting
    0.32 sound
    0.52 speak a1 "Hello."
    1.30 a1 finished, heard 1000 ms "Hello."
    1.30 status idle
    1.32 silence after 1000 ms
    "##);
}

#[test]
fn the_agents_echo_does_not_interrupt_it() {
    assert_snapshot!(timeline(
        r#"
        echo 150ms -12dB
        human 0.5..2.0 "tell me a story"
        model audio 5 s "Once upon a time there was a bridge."
        until 10
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    2.32 vad_end ann
    2.53 status thinking
    2.82 transcript ann "tell me a story"
    2.82 a1 started
    2.82 status acting
    2.82 sound
    3.82 speak a1 "Once upon a time there was a bridge."
    7.80 a1 finished, heard 5000 ms "Once upon a time there was a bridge."
    7.80 status idle
    7.82 silence after 5000 ms
    "#);
}

#[test]
fn an_answer_that_is_refused_for_a_moment_is_asked_for_again() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "are you there"
        model fail rate_limit_exceeded
        model audio 1 s "I am."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "are you there"
    3.14 -> create
    3.44 a1 started
    3.44 status acting
    3.44 sound
    3.64 speak a1 "I am."
    4.42 a1 finished, heard 1000 ms "I am."
    4.42 status idle
    4.44 silence after 1000 ms
    "##);
}

#[test]
fn what_a_client_has_said_is_said() {
    assert_snapshot!(timeline(
        r#"
        model audio 1 s "Lunch is ready."
        at 1.0 client say "Lunch is ready."
        at 1.5 client interrupt
        until 3
        "#
    ), @r##"
    0.00 joined ann
    1.00 status thinking
    1.00 -> create "Say exactly: \"Lunch is ready.\""
    1.30 a1 started
    1.30 status acting
    1.30 sound
    1.50 a1 cut, heard 200 ms ""
    1.50 status idle
    1.50 -> cancel r1
    1.50 -> truncate a1 at 200 ms
    1.52 silence after 220 ms
    "##);
}

#[test]
fn a_caller_who_goes_is_told_and_the_turn_is_over() {
    assert_snapshot!(timeline(
        r#"
        joins bob 0.5
        human bob 1.0..3.0 "well, I think"
        leaves bob 2.0 "fell silent"
        until 4
        "#
    ), @r##"
    0.00 joined nobody
    0.50 bob comes in
    1.06 vad_start bob
    2.00 vad_end bob
    2.00 bob is gone: fell silent
    "##);
}

#[test]
fn a_server_that_cannot_be_had_is_a_fatal_end() {
    assert_snapshot!(timeline(
        r"
        model refuse 503 0.0..60.0
        until 40
        "
    ), @r##"
    0.00 joined ann
    0.00 model socket 1 is refused: 503
    0.01 model socket 2 is refused: 503
    0.27 model socket 3 is refused: 503
    0.78 model socket 4 is refused: 503
    1.79 model socket 5 is refused: 503
    1.80 fatal MODEL_UNAVAILABLE
    1.80 left: MODEL_UNAVAILABLE
    "##);
}
