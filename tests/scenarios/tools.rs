//! Tools in a conversation: several, late, failing, and across barge-ins and sessions.

use insta::assert_snapshot;

use super::timeline;

/// Tools: one is quick and one is slow; the model answers when it knows both.
#[test]
fn two_tools_at_once_are_answered_together() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        agent tool traffic
        tool weather after 0.3 {"sky":"clear"}
        tool traffic after 2.5 {"jam":true}
        human 0.5..1.5 "shall I drive"
        model tool weather {} + tool traffic {}
        model audio 1 s "Better not."
        until 8
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "shall I drive"
    2.14 tool tc1 weather {}
    2.14 status acting
    2.14 tool tc2 traffic {}
    2.44 -> output tc1 {"sky":"clear"}
    4.64 status thinking
    4.64 -> output tc2 {"jam":true}
    4.64 -> create
    4.94 a3 started
    4.94 status acting
    4.94 sound
    5.14 speak a3 "Better not."
    5.92 a3 finished, heard 1000 ms "Better not."
    5.92 status idle
    5.94 silence after 1000 ms
    "##);
}

/// Tools: time-out; the model is told, and speaks.
#[test]
fn a_tool_that_nobody_answers_is_given_up_in_time() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather timeout 2
        human 0.5..1.5 "how is the weather"
        model audio 1 s "Let me look." + tool weather {}
        model audio 1 s "I cannot tell."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Let me look."
    2.34 tool tc1 weather {}
    3.12 a1 finished, heard 1000 ms "Let me look."
    3.14 silence after 1000 ms
    4.34 cancel tool tc1 Timeout
    4.34 status thinking
    4.34 -> output tc1 {"error":"the tool did not answer in time"}
    4.34 -> create
    4.64 a3 started
    4.64 status acting
    4.64 sound
    4.84 speak a3 "I cannot tell."
    5.62 a3 finished, heard 1000 ms "I cannot tell."
    5.62 status idle
    5.64 silence after 1000 ms
    "##);
}

/// Tools: a failure is a result.
#[test]
fn a_tool_that_fails_is_answered() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        tool weather after 0.5 "no such city"
        human 0.5..1.5 "how is the weather in Pariss"
        model tool weather {"city":"Pariss"}
        model audio 1 s "I do not know that city."
        until 7
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather in Pariss"
    2.14 tool tc1 weather {"city":"Pariss"}
    2.14 status acting
    2.64 status thinking
    2.64 -> output tc1 {"error":"no such city"}
    2.64 -> create
    2.94 a2 started
    2.94 status acting
    2.94 sound
    3.14 speak a2 "I do not know that city."
    3.92 a2 finished, heard 1000 ms "I do not know that city."
    3.92 status idle
    3.94 silence after 1000 ms
    "##);
}

/// Tools: the model makes one up.
#[test]
fn a_tool_that_was_never_declared_fails_at_once() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "launch it"
        model tool launch {}
        model audio 1 s "I cannot do that."
        until 7
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "launch it"
    2.14 -> output tc1 {"error":"there is no such tool"}
    2.14 -> create
    2.44 a2 started
    2.44 status acting
    2.44 sound
    2.64 speak a2 "I cannot do that."
    3.42 a2 finished, heard 1000 ms "I cannot do that."
    3.42 status idle
    3.44 silence after 1000 ms
    "##);
}

/// Tools: the filler is said after a second of silence.
#[test]
fn silence_while_a_tool_runs_is_filled_once() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather "" timeout 10 filler "One moment."
        tool weather after 4.0 {"sky":"clear"}
        human 0.5..1.5 "how is the weather"
        model tool weather {}
        model audio 1 s "One moment."
        model audio 1 s "It is clear."
        until 10
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 tool tc1 weather {}
    2.14 status acting
    3.14 -> create "Say exactly: \"One moment.\""
    3.44 a2 started
    3.44 sound
    3.64 speak a2 "One moment."
    4.42 a2 finished, heard 1000 ms "One moment."
    4.44 silence after 1000 ms
    6.14 status thinking
    6.14 -> output tc1 {"sky":"clear"}
    6.14 -> create
    6.44 a3 started
    6.44 status acting
    6.44 sound
    6.64 speak a3 "It is clear."
    7.42 a3 finished, heard 1000 ms "It is clear."
    7.42 status idle
    7.44 silence after 1000 ms
    "##);
}

/// Tools: nobody is spoken over for a result.
#[test]
fn a_result_that_comes_while_somebody_speaks_is_answered_with_them() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        tool weather after 2.0 {"sky":"clear"}
        human 0.5..1.5 "how is the weather"
        model audio 1 s "Let me look." + tool weather {}
        human 4.0..5.5 "in Paris, I mean"
        model audio 1 s "It is clear in Paris."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Let me look."
    2.34 tool tc1 weather {}
    3.12 a1 finished, heard 1000 ms "Let me look."
    3.14 silence after 1000 ms
    4.06 vad_start ann
    4.34 status idle
    4.34 -> output tc1 {"sky":"clear"}
    5.82 vad_end ann
    6.03 status thinking
    6.32 transcript ann "in Paris, I mean"
    6.32 a3 started
    6.32 status acting
    6.32 sound
    6.52 speak a3 "It is clear in Paris."
    7.30 a3 finished, heard 1000 ms "It is clear in Paris."
    7.30 status idle
    7.32 silence after 1000 ms
    "##);
}

/// Tools: who cuts the agent off keeps the result of what it has called.
#[test]
fn a_result_that_comes_after_a_barge_in_is_kept() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        tool weather after 3.0 {"sky":"clear"}
        human 0.5..1.5 "how is the weather"
        model audio 3 s "Let me look, that will take a moment." + tool weather {}
        human 4.0..5.0 "take your time"
        model audio 1 s "Thank you."
        model audio 1 s "It is clear."
        until 10
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.74 speak a1 "Let me look, that will take a moment."
    2.74 tool tc1 weather {}
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.20 a1 cut, heard 1920 ms "Let me look, that will"
    4.20 -> truncate a1 at 1920 ms
    5.16 vad_end ann
    5.64 transcript ann "take your time"
    5.64 a3 started
    5.64 sound
    5.74 -> output tc1 {"sky":"clear"}
    5.84 speak a3 "Thank you."
    5.84 -> create
    6.34 speak a4 "It is clear."
    6.62 a3 finished, heard 1000 ms "Thank you."
    6.62 status thinking
    6.64 a4 started
    6.64 status acting
    7.62 a4 finished, heard 1000 ms "It is clear."
    7.62 status idle
    7.64 silence after 2000 ms
    "##);
}

/// Tools: the call is told to the new session as a pair with its result.
#[test]
fn a_result_that_comes_after_the_session_was_lost_is_told_to_the_next() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        tool weather after 3.0 {"sky":"clear"}
        human 0.5..1.5 "how is the weather"
        model audio 1 s "Let me look." + tool weather {}
        model drop 1006 at 4.0
        model audio 1 s "It is clear."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Let me look."
    2.34 tool tc1 weather {}
    3.12 a1 finished, heard 1000 ms "Let me look."
    3.14 silence after 1000 ms
    4.00 model socket 1 closes without a goodbye
    4.00 error MODEL_RECONNECTING "the model's session is being opened anew: closed by the script"
    4.00 model socket 2 opens
    4.02 ->2 item user "how is the weather"
    4.02 ->2 item assistant "Let me look."
    5.34 status thinking
    5.34 ->2 call cb_3 weather
    5.34 ->2 output cb_3 {"sky":"clear"}
    5.34 ->2 create
    5.64 s2.a3 started
    5.64 status acting
    5.64 sound
    5.84 speak s2.a3 "It is clear."
    6.62 s2.a3 finished, heard 1000 ms "It is clear."
    6.62 status idle
    6.64 silence after 1000 ms
    "##);
}

/// Tools: `interrupt` is for the client's tools as well.
#[test]
fn an_interruption_takes_the_tool_back() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        tool weather after 5.0 {"sky":"clear"}
        human 0.5..1.5 "how is the weather"
        model audio 3 s "Let me look." + tool weather {}
        at 3.0 client interrupt
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.74 speak a1 "Let me look."
    2.74 tool tc1 weather {}
    3.00 cancel tool tc1 Interrupted
    3.00 a1 cut, heard 860 ms "Let"
    3.00 status idle
    3.00 -> output tc1 {"error":"the tool was interrupted"}
    3.00 -> truncate a1 at 860 ms
    3.02 silence after 880 ms
    7.74 refused UNKNOWN_TOOL_CALL
    "##);
}

/// Tools: nobody runs them for a call that is over.
#[test]
fn a_tool_is_taken_back_when_the_call_is_left() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        human 0.5..1.5 "how is the weather"
        model audio 1 s "Let me look." + tool weather {}
        at 4.0 client leave
        until 7
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Let me look."
    2.34 tool tc1 weather {}
    3.12 a1 finished, heard 1000 ms "Let me look."
    3.14 silence after 1000 ms
    4.00 cancel tool tc1 Ended
    4.00 status idle
    4.00 left: requested
    "##);
}
