//! The wire protocol as it is met: events, shapes, names, calls and errors. Each group is one of
//! those that servers in the field have shown.

use insta::assert_snapshot;

use super::timeline;

/// Fixture 1: an unknown event, an unknown field, a null where there may be one, no event id.
#[test]
fn what_the_protocol_does_not_know_yet_is_passed_over() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 1 s "Hello."
        model raw {"type":"session.weather_changed","sky":"clear"} at 0.2
        model raw {"type":"input_audio_buffer.dtmf_event_received","event":"5",\
          "received_at":1800000000} at 0.3
        model raw {"type":"conversation.item.added","previous_item_id":null,"item":{"id":"x1",\
          "type":"message","role":"user","mood":"good","content":[]}} at 0.4
        model raw {"no":"type"} at 0.5
        model raw {this is no JSON} at 0.6
        until 5
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
    "##);
}

/// Fixture 2: `conversation.created` comes first.
#[test]
fn a_conversation_may_be_told_of_before_a_session() {
    assert_snapshot!(timeline(
        r#"
        model manner conversation-first
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

/// Fixture 2: no `session.created` at all.
#[test]
fn a_server_may_wait_for_us_to_speak_first() {
    assert_snapshot!(timeline(
        r#"
        model manner silent-first
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

/// Fixture 3: a voice that is an object, a format without its rate, sparse turns, a strength.
#[test]
fn a_session_may_be_confirmed_in_another_shape() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Hello."
        model mute 0..1
        model raw {"type":"session.updated","session":{"type":"realtime",\
          "voice":{"id":"voice_1"},"audio":{"input":{"format":{"type":"audio/pcm"},\
          "turn_detection":{"type":"server_vad"},"noise_reduction":{"type":"near_field",\
          "strength":1}},"output":{"voice":{"id":"voice_1"}}}}} at 0.5
        model audio 1 s "Hello."
        until 3
        "#
    ), @r##"
    0.00 joined ann
    0.50 status thinking
    0.50 -> create "Say exactly: \"Hello.\""
    0.80 a1 started
    0.80 status acting
    0.80 sound
    1.00 speak a1 "Hello."
    1.78 a1 finished, heard 1000 ms "Hello."
    1.78 status idle
    1.80 silence after 1000 ms
    "##);
}

/// Fixture 4: audio, words and items under the names of the beta.
#[test]
fn the_names_of_the_first_version_are_understood() {
    assert_snapshot!(timeline(
        r#"
        model manner beta
        human 0.5..1.5 "hello"
        model audio 3 s "Hello to you, and a good morning."
        human 3.5..4.5 "stop"
        model text "Yes."
        model audio 1 s "Yes."
        until 8
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
    2.74 speak a1 "Hello to you, and a good morning."
    3.56 vad_start ann
    3.58 silence after 1440 ms
    3.70 status idle
    3.70 a1 cut, heard 1420 ms "Hello to you,"
    3.70 -> truncate a1 at 1420 ms
    4.66 vad_end ann
    4.85 status thinking
    5.14 transcript ann "stop"
    5.14 -> delete a2
    5.14 -> create "Say exactly: \"Yes.\""
    5.44 a3 started
    5.44 status acting
    5.44 sound
    5.64 speak a3 "Yes."
    6.42 a3 finished, heard 1000 ms "Yes."
    6.42 status idle
    6.44 silence after 1000 ms
    "##);
}

/// Fixture 5: `arguments.done` has no name; the item has it.
#[test]
fn a_call_whose_name_stands_only_in_its_item_is_made() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        tool weather after 0.5 {"sky":"clear"}
        human 0.5..1.5 "how is the weather"
        model audio 1 s "Let me look."
        model raw {"type":"response.output_item.added","response_id":"r1","item":{"id":"f1",\
          "type":"function_call","call_id":"c1","name":"weather","arguments":""}} at 2.2
        model raw {"type":"response.function_call_arguments.done","response_id":"r1",\
          "item_id":"f1","call_id":"c1","arguments":"{}"} at 2.3
        model audio 1 s "It is clear."
        until 6
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
    2.34 tool c1 weather {}
    2.84 -> output c1 {"sky":"clear"}
    2.84 -> create
    3.12 a1 finished, heard 1000 ms "Let me look."
    3.12 status thinking
    3.14 a2 started
    3.14 status acting
    3.34 speak a2 "It is clear."
    4.12 a2 finished, heard 1000 ms "It is clear."
    4.12 status idle
    4.14 silence after 2000 ms
    "##);
}

/// Fixture 5: calls beside each other, and speech in the same answer.
#[test]
fn two_calls_of_one_answer_are_answered_once() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        agent tool traffic
        tool weather after 1.0 {"sky":"clear"}
        tool traffic after 2.0 {"jam":false}
        human 0.5..1.5 "can I go out"
        model audio 1 s "Let me look." + tool weather {"city":"Paris"} + tool traffic {"city":\
          "Paris"}
        model audio 1 s "You can."
        until 9
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "can I go out"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Let me look."
    2.34 tool tc1 weather {"city":"Paris"}
    2.34 tool tc2 traffic {"city":"Paris"}
    3.12 a1 finished, heard 1000 ms "Let me look."
    3.14 silence after 1000 ms
    3.34 -> output tc1 {"sky":"clear"}
    4.34 status thinking
    4.34 -> output tc2 {"jam":false}
    4.34 -> create
    4.64 a4 started
    4.64 status acting
    4.64 sound
    4.84 speak a4 "You can."
    5.62 a4 finished, heard 1000 ms "You can."
    5.62 status idle
    5.64 silence after 1000 ms
    "##);
}

/// Fixture 5: the call comes after the human has cut in.
#[test]
fn a_call_of_an_answer_that_was_broken_off_is_not_made() {
    assert_snapshot!(timeline(
        r#"
        agent tool weather
        tool weather after 0.5 {"sky":"clear"}
        human 0.5..1.5 "how is the weather"
        model audio 4 s "Let me look, and then we shall see what there is to see." speed 1 + \
          tool weather {"city":"Paris"}
        human 3.5..4.5 "never mind"
        model audio 1 s "As you like."
        model raw {"type":"response.output_item.done","response_id":"r1","item":{"id":"f9",\
          "type":"function_call","call_id":"c9","name":"weather","arguments":"{}",\
          "status":"completed"}} at 3.9
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
    3.56 vad_start ann
    3.58 silence after 1440 ms
    3.70 status idle
    3.70 a1 cut, heard 1420 ms "Let me look, and"
    3.70 -> cancel r1
    3.70 -> truncate a1 at 1420 ms
    4.66 vad_end ann
    4.85 status thinking
    5.14 transcript ann "never mind"
    5.14 a3 started
    5.14 status acting
    5.14 sound
    5.34 speak a3 "As you like."
    6.12 a3 finished, heard 1000 ms "As you like."
    6.12 status idle
    6.14 silence after 1000 ms
    "##);
}

/// Fixture 6: an active response, a cut that is too long, a cancel too late; none names its event.
#[test]
fn errors_that_name_no_event_end_nothing() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 2 s "Hello, and a good morning."
        model error invalid_value at 2.5
        model error response_cancel_not_active at 2.6
        model error conversation_already_has_active_response at 2.7
        until 6
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
    2.51 error MODEL_COMPLAINT "invalid_value: as the script has it"
    2.54 speak a1 "Hello, and a good morning."
    4.12 a1 finished, heard 2000 ms "Hello, and a good morning."
    4.12 status idle
    4.14 silence after 2000 ms
    "##);
}

/// Fixture 6: the server is at an answer that we have not heard of.
#[test]
fn a_request_that_another_answer_stands_in_the_way_of_is_made_after_it() {
    assert_snapshot!(timeline(
        r#"
        at 1.0 client say "Lunch is ready."
        model raw {"type":"response.created","response":{"id":"r0","status":"in_progress",\
          "output":[]}} at 0.985
        model raw {"type":"error","error":{"type":"invalid_request_error",\
          "code":"conversation_already_has_active_response",\
          "message":"Conversation already has an active response","event_id":null}} at 1.02
        model raw {"type":"response.done","response":{"id":"r0","status":"completed",\
          "output":[],"usage":null}} at 1.5
        model audio 1 s "Lunch is ready."
        until 6
        "#
    ), @r##"
    0.00 joined ann
    0.98 status thinking
    1.50 -> create "Say exactly: \"Lunch is ready.\""
    1.80 a1 started
    1.80 status acting
    1.80 sound
    2.00 speak a1 "Lunch is ready."
    2.78 a1 finished, heard 1000 ms "Lunch is ready."
    2.78 status idle
    2.80 silence after 1000 ms
    "##);
}

/// Fixture 7: `response.done` with status cancelled, and nothing else.
#[test]
fn an_answer_that_is_cancelled_before_it_says_anything_leaves_silence() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model hang
        model raw {"type":"response.done","response":{"id":"r1","status":"cancelled",\
          "status_details":{"type":"cancelled","reason":"turn_detected"},"output":[],\
          "usage":null}} at 2.5
        human 3.5..4.5 "hello?"
        model audio 1 s "Hello."
        until 8
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "hello"
    2.50 status idle
    3.56 vad_start ann
    4.66 vad_end ann
    4.85 status thinking
    5.14 transcript ann "hello?"
    5.14 a1 started
    5.14 status acting
    5.14 sound
    5.34 speak a1 "Hello."
    6.12 a1 finished, heard 1000 ms "Hello."
    6.12 status idle
    6.14 silence after 1000 ms
    "##);
}

/// Fixture 7: incomplete, because of `max_output_tokens`.
#[test]
fn an_answer_over_its_length_is_heard_as_far_as_it_goes() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 2 s "Once upon a time there was" + incomplete max_output_tokens
        human 6.0..7.0 "go on"
        model audio 1 s "a bridge."
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
    2.54 speak a1 "Once upon a time there was"
    4.12 a1 finished, heard 2000 ms "Once upon a time there was"
    4.12 status idle
    4.14 silence after 2000 ms
    6.06 vad_start ann
    7.16 vad_end ann
    7.35 status thinking
    7.64 transcript ann "go on"
    7.64 a2 started
    7.64 status acting
    7.64 sound
    7.84 speak a2 "a bridge."
    8.62 a2 finished, heard 1000 ms "a bridge."
    8.62 status idle
    8.64 silence after 1000 ms
    "##);
}

/// Fixture 7: failed with a rate limit, twice.
#[test]
fn a_rate_limit_in_an_answer_is_waited_out() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model fail rate_limit_exceeded
        model fail rate_limit_exceeded
        model audio 1 s "Hello."
        until 12
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "hello"
    3.14 -> create
    6.44 -> create
    6.74 a1 started
    6.74 status acting
    6.74 sound
    6.94 speak a1 "Hello."
    7.72 a1 finished, heard 1000 ms "Hello."
    7.72 status idle
    7.74 silence after 1000 ms
    "##);
}
