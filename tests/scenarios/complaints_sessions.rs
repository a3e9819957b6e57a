//! What users of other bridges complain of most, each as a conversation that goes well: sessions,
//! tools, and the ends of calls.

use insta::assert_snapshot;

use super::{brief, timeline};

/// Complaint 4: a session that expires in mid-sentence costs nobody a word.
#[test]
fn a_session_that_expires_while_somebody_speaks_hears_them_all_the_same() {
    assert_snapshot!(brief(
        r#"
        human 0.5..1.5 "my name is Ann"
        model audio 1 s "Hello, Ann."
        human 5.0..8.0 "what is my name"
        model expire at 6.0
        model audio 1 s "Ann."
        until 12
        "#
    ), @r#"
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
    5.06 vad_start ann
    6.01 error MODEL_RECONNECTING "session_expired"
    6.01 transcript ann ""
    6.01 model socket 2 opens
    6.03 ->2 item user "my name is Ann"
    6.03 ->2 item assistant "Hello, Ann."
    8.32 vad_end ann
    8.51 status thinking
    8.80 transcript ann "what is my name"
    8.80 s2.a2 started
    8.80 status acting
    8.80 sound
    9.00 speak s2.a2 "Ann."
    9.78 s2.a2 finished, heard 1000 ms "Ann."
    9.78 status idle
    9.80 silence after 1000 ms
    "#);
}

/// Complaint 5: when the last human is gone, nothing is heard or paid for any more.
#[test]
fn an_empty_room_costs_nothing_and_who_comes_back_is_known() {
    assert_snapshot!(timeline(
        r#"
        human ann 0.5..1.5 "my name is Ann"
        model audio 20 s "Hello, Ann, it is so good to hear you again after all this time."
        leaves ann 4.0 "fell silent"
        joins bob 8.0
        human bob 9.0..10.0 "who was that"
        model audio 1 s "That was Ann."
        until 14
        "#
    ), @r#"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
     1.85 status thinking
     2.14 transcript ann "my name is Ann"
     2.14 a1 started
     2.14 status acting
     2.14 sound
     4.00 ann is gone: fell silent
     4.00 a1 cut, heard 1860 ms ""
     4.00 status idle
     4.02 silence after 1880 ms
     8.00 bob comes in
     8.00 model socket 1001 opens
     8.02 ->1001 item system "The conversation so far:\nann said: my name is An..."
     9.06 vad_start bob
    10.16 vad_end bob
    10.35 status thinking
    10.64 transcript bob "who was that"
    10.64 a2 started
    10.64 status acting
    10.64 sound
    10.84 speak a2 "That was Ann."
    11.62 a2 finished, heard 1000 ms "That was Ann."
    11.62 status idle
    11.64 silence after 1000 ms
    "#);
}

/// Complaint 5: a process that goes down lets the sentence end, and then leaves.
#[test]
fn a_shutdown_waits_for_the_end_of_the_sentence() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 3 s "Once upon a time there was a bridge."
        at 3.0 client shutdown
        until 12
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
    5.12 a1 finished, heard 3000 ms "Once upon a time there was a bridge."
    5.12 left: shutdown
    5.12 error SERVER_SHUTDOWN "the server is shutting down; the agent is kept"
    5.14 silence after 3000 ms
    "#);
}

/// Complaint 7: what an interrupted answer wanted done is not done.
#[test]
fn a_tool_of_an_answer_that_was_broken_off_does_not_run() {
    let call = r#""type":"function_call","call_id":"late","name":"hang_up","arguments":"{}""#;
    let done = r#""type":"response.output_item.done","response_id":"r1""#;
    let script = format!(
        r#"
        agent tool hang_up "ends the call"
        human 0.5..1.5 "good night"
        model audio 4 s "Good night, then I hang up." speed 1
        human 3.5..4.5 "wait"
        model raw {{{done},"item":{{"id":"f1",{call}}}}} at 3.71
        model audio 1 s "I wait."
        until 9
        "#
    );
    assert_snapshot!(timeline(&script), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "good night"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    3.56 vad_start ann
    3.58 silence after 1440 ms
    3.70 status idle
    3.70 a1 cut, heard 1420 ms "Good"
    3.70 -> cancel r1
    3.70 -> truncate a1 at 1420 ms
    4.66 vad_end ann
    4.85 status thinking
    5.14 transcript ann "wait"
    5.14 a2 started
    5.14 status acting
    5.14 sound
    5.34 speak a2 "I wait."
    6.12 a2 finished, heard 1000 ms "I wait."
    6.12 status idle
    6.14 silence after 1000 ms
    "#);
}

/// Complaint 7: a result that comes while the agent speaks is told once, and spoken of afterwards.
#[test]
fn a_result_that_comes_while_the_agent_speaks_is_answered_behind_the_sentence() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather "what the weather is"
        human 0.5..1.5 "how is the weather"
        model tool weather {} + audio 4 s "Let me look, it may take a while."
        tool weather after 0.5 {"sky":"clear"}
        model audio 1 s "It is clear."
        until 10
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 tool tc1 weather {}
    2.14 status acting
    2.14 a2 started
    2.14 sound
    2.64 -> output tc1 {"sky":"clear"}
    2.94 speak a2 "Let me look, it may take a while."
    2.94 -> create
    3.44 speak a3 "It is clear."
    6.12 a2 finished, heard 4000 ms "Let me look, it may take a while."
    6.12 status thinking
    6.14 a3 started
    6.14 status acting
    7.12 a3 finished, heard 1000 ms "It is clear."
    7.12 status idle
    7.14 silence after 5000 ms
    "#);
}

/// Complaint 7: a tool that has failed is spoken of; it is not waited for.
#[test]
fn a_tool_that_fails_is_told_to_the_model() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather "what the weather is"
        human 0.5..1.5 "how is the weather"
        model tool weather {}
        tool weather after 0.5 "no such town"
        model audio 1 s "I cannot tell."
        until 6
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "how is the weather"
    2.14 tool tc1 weather {}
    2.14 status acting
    2.64 status thinking
    2.64 -> output tc1 {"error":"no such town"}
    2.64 -> create
    2.94 a2 started
    2.94 status acting
    2.94 sound
    3.14 speak a2 "I cannot tell."
    3.92 a2 finished, heard 1000 ms "I cannot tell."
    3.92 status idle
    3.94 silence after 1000 ms
    "#);
}

/// Complaint 9: results of two tools, a client's wish and a human's turn, all at once.
#[test]
fn everything_at_once_makes_one_answer_at_a_time() {
    assert_snapshot!(timeline(
        r#"
        agent tool time "what time it is"
        agent tool weather "what the weather is"
        human 0.5..1.5 "the time and the weather"
        model tool time {} + tool weather {}
        tool time after 1.0 {"time":"noon"}
        tool weather after 1.2 {"sky":"clear"}
        at 3.3 client say "Mind the step."
        model audio 1 s "Mind the step."
        model audio 1 s "It is noon and clear."
        until 9
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "the time and the weather"
    2.14 tool tc1 time {}
    2.14 status acting
    2.14 tool tc2 weather {}
    3.14 -> output tc1 {"time":"noon"}
    3.30 -> create "Say exactly: \"Mind the step.\""
    3.34 status thinking
    3.34 -> output tc2 {"sky":"clear"}
    3.60 a3 started
    3.60 status acting
    3.60 sound
    3.80 speak a3 "Mind the step."
    3.80 -> create
    4.30 speak a4 "It is noon and clear."
    4.58 a3 finished, heard 1000 ms "Mind the step."
    4.58 status thinking
    4.60 a4 started
    4.60 status acting
    5.58 a4 finished, heard 1000 ms "It is noon and clear."
    5.58 status idle
    5.60 silence after 2000 ms
    "#);
}

/// Complaint 10: a model that never begins is given up, and the next turn is answered.
#[test]
fn a_model_that_says_nothing_does_not_make_the_agent_mute() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "are you there"
        model hang
        human 4.0..5.0 "hello"
        model audio 1 s "Here I am."
        until 9
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "are you there"
    4.06 vad_start ann
    4.20 status idle
    4.20 -> cancel r1
    5.16 vad_end ann
    5.35 status thinking
    5.64 transcript ann "hello"
    5.64 a1 started
    5.64 status acting
    5.64 sound
    5.84 speak a1 "Here I am."
    6.62 a1 finished, heard 1000 ms "Here I am."
    6.62 status idle
    6.64 silence after 1000 ms
    "#);
}

/// Complaint 10: nor does one that stops in mid-sentence: it is told to break off what it never
/// ends, and then says what was wanted.
#[test]
fn a_model_that_stops_in_mid_sentence_does_not_make_the_agent_mute() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 2 s "Once upon a time." + hang
        at 26 client say "Well."
        model audio 1 s "Well."
        until 40
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
     2.54 speak a1 "Once upon a time."
     4.12 a1 finished, heard 2000 ms "Once upon a time."
     4.12 status thinking
     4.14 silence after 2000 ms
    24.12 status idle
    26.00 status thinking
    32.54 error MODEL_COMPLAINT "response_timeout: progress of an answer"
    32.54 error MODEL_RESPONSE_FAILED "the model failed to answer: response_timeout"
    32.54 -> cancel r1
    32.55 -> create "Say exactly: \"Well.\""
    32.85 a2 started
    32.85 status acting
    32.85 sound
    33.05 speak a2 "Well."
    33.83 a2 finished, heard 1000 ms "Well."
    33.83 status idle
    33.85 silence after 1000 ms
    "#);
}

/// Complaint 15: words that come after the answer to them are told all the same, once.
#[test]
fn words_that_come_after_their_answer_are_told() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "what time is it"
        model audio 200ms "Noon." after 20ms
        until 5
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    1.86 a1 started
    1.86 status acting
    1.86 sound
    1.90 speak a1 "Noon."
    2.04 a1 finished, heard 200 ms "Noon."
    2.04 status idle
    2.06 silence after 200 ms
    2.14 transcript ann "what time is it"
    "#);
}

/// Complaint 20: a call in which nothing happens is left; one in which somebody speaks is not.
#[test]
fn only_a_call_in_which_nothing_happens_is_left_for_idleness() {
    assert_snapshot!(timeline(
        r#"
        human 250.0..251.0 "still there"
        model audio 1 s "Yes."
        until 570
        "#
    ), @r#"
      0.00 joined ann
    250.06 vad_start ann
    251.16 vad_end ann
    251.35 status thinking
    251.64 transcript ann "still there"
    251.64 a1 started
    251.64 status acting
    251.64 sound
    251.84 speak a1 "Yes."
    252.62 a1 finished, heard 1000 ms "Yes."
    252.62 status idle
    252.64 silence after 1000 ms
    552.62 left: idle
    "#);
}

/// Complaint 26: the second call begins anew, and is not mute.
#[test]
fn a_second_call_is_as_good_as_the_first() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 9 s "Once upon a time there was a bridge."
        at 4.0 client leave
        at 6.0 client join
        human 7.0..8.0 "hello"
        model audio 1 s "Hello again."
        until 12
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
    3.94 speak a1 "Once upon a time there was a bridge."
    4.00 status idle
    4.00 a1 cut, heard 1860 ms "Once"
    4.00 left: requested
    4.00 silence after 1860 ms
    6.00 joined ann
    6.00 model socket 1001 opens
    6.02 ->1001 item system "The conversation so far:\nann said: tell me a sto..."
    7.06 vad_start ann
    8.16 vad_end ann
    8.35 status thinking
    8.64 transcript ann "hello"
    8.64 a2 started
    8.64 status acting
    8.64 sound
    8.84 speak a2 "Hello again."
    9.62 a2 finished, heard 1000 ms "Hello again."
    9.62 status idle
    9.64 silence after 1000 ms
    "#);
}

/// Complaint 28: an agent that is to hang up says goodbye first: its client knows when that was
/// heard.
#[test]
fn a_goodbye_is_heard_to_its_end_before_the_client_is_told_so() {
    assert_snapshot!(timeline(
        r#"
        agent tool hang_up "ends the call"
        human 0.5..1.5 "good night"
        model audio 3 s "Good night, and thank you for calling." + tool hang_up {}
        at 5.2 client leave
        until 9
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "good night"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.74 speak a1 "Good night, and thank you for calling."
    2.74 tool tc1 hang_up {}
    5.12 a1 finished, heard 3000 ms "Good night, and thank you for calling."
    5.14 silence after 3000 ms
    5.20 cancel tool tc1 Ended
    5.20 status idle
    5.20 left: requested
    "#);
}
