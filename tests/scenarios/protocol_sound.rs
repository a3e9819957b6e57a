//! The wire protocol as it is met: items, sound and turns.

use insta::assert_snapshot;

use super::timeline;

/// Fixture 8: each audio item has counters of its own.
#[test]
fn two_items_of_one_answer_are_counted_apart() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 2 s "One, and two." + audio 4 s "Three, four, five, six, seven, eight."
        human 5.5..6.5 "stop"
        model audio 1 s "As you like."
        until 10
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
    2.54 speak a1 "One, and two."
    3.34 speak a2 "Three, four, five, six, seven, eight."
    4.12 a1 finished, heard 2000 ms "One, and two."
    4.12 status thinking
    4.14 a2 started
    4.14 status acting
    5.56 vad_start ann
    5.58 silence after 3440 ms
    5.70 status idle
    5.70 a2 cut, heard 1420 ms "Three, four,"
    5.70 -> truncate a2 at 1420 ms
    6.66 vad_end ann
    6.85 status thinking
    7.14 transcript ann "stop"
    7.14 a3 started
    7.14 status acting
    7.14 sound
    7.34 speak a3 "As you like."
    8.12 a3 finished, heard 1000 ms "As you like."
    8.12 status idle
    8.14 silence after 1000 ms
    "##);
}

/// Fixture 8: the cut falls into the first of two items; the second is unknown to everybody.
#[test]
fn items_that_nobody_has_heard_are_deleted() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 4 s "One, two, three, four." + audio 2 s "Five, six."
        human 3.5..4.5 "stop"
        model audio 1 s "As you like."
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
    2.94 speak a1 "One, two, three, four."
    3.34 speak a2 "Five, six."
    3.56 vad_start ann
    3.58 silence after 1440 ms
    3.70 status idle
    3.70 a1 cut, heard 1420 ms "One,"
    3.70 a2 cut, heard 0 ms ""
    3.70 -> truncate a1 at 1420 ms
    3.70 -> delete a2
    4.66 vad_end ann
    4.85 status thinking
    5.14 transcript ann "stop"
    5.14 a3 started
    5.14 status acting
    5.14 sound
    5.34 speak a3 "As you like."
    6.12 a3 finished, heard 1000 ms "As you like."
    6.12 status idle
    6.14 silence after 1000 ms
    "##);
}

/// Fixture 8: the item's id changes between two deltas.
#[test]
fn sound_that_comes_under_another_name_is_counted_under_it() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model hang
        model raw {"type":"response.output_audio.delta","response_id":"r1","item_id":"x1",\
          "delta":48000} at 2.0
        model raw {"type":"response.output_audio.delta","response_id":"r1","item_id":"x2",\
          "delta":96000} at 2.1
        human 3.5..4.5 "stop"
        model audio 1 s "As you like."
        until 8
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.00 x1 started
    2.00 status acting
    2.00 sound
    2.14 transcript ann "hello"
    2.98 x1 finished, heard 1000 ms ""
    2.98 status thinking
    3.00 x2 started
    3.00 status acting
    3.56 vad_start ann
    3.58 silence after 1580 ms
    3.70 status idle
    3.70 x2 cut, heard 560 ms ""
    3.70 -> cancel r1
    3.70 -> truncate x2 at 560 ms
    4.66 vad_end ann
    4.85 status thinking
    5.14 transcript ann "stop"
    5.14 a1 started
    5.14 status acting
    5.14 sound
    5.34 speak a1 "As you like."
    6.12 a1 finished, heard 1000 ms "As you like."
    6.12 status idle
    6.14 silence after 1000 ms
    "##);
}

/// Fixture 9: late deltas of the answer that was cut.
#[test]
fn sound_that_comes_after_its_cancel_is_not_heard() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 4 s "One, two, three, four." speed 1
        human 3.5..4.5 "stop"
        model raw {"type":"response.output_audio.delta","response_id":"r1","item_id":"a1",\
          "delta":48000} at 3.8
        model raw {"type":"response.output_audio_transcript.delta","response_id":"r1",\
          "item_id":"a1","delta":"late"} at 3.8
        model raw {"type":"response.output_audio.delta","response_id":"r1","item_id":"a1",\
          "delta":48000} at 5.0
        model audio 1 s "As you like."
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
    3.56 vad_start ann
    3.58 silence after 1440 ms
    3.70 status idle
    3.70 a1 cut, heard 1420 ms "One,"
    3.70 -> cancel r1
    3.70 -> truncate a1 at 1420 ms
    4.66 vad_end ann
    4.85 status thinking
    5.14 transcript ann "stop"
    5.14 a2 started
    5.14 status acting
    5.14 sound
    5.34 speak a2 "As you like."
    6.12 a2 finished, heard 1000 ms "As you like."
    6.12 status idle
    6.14 silence after 1000 ms
    "##);
}

/// Fixture 9: somebody else's response out of band, while the agent speaks.
#[test]
fn an_answer_beside_the_conversation_is_not_heard() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model audio 2 s "One, two."
        model raw {"type":"response.created","response":{"id":"b1","status":"in_progress",\
          "conversation_id":null,"output":[]}} at 2.2
        model raw {"type":"response.output_audio.delta","response_id":"b1","item_id":"b2",\
          "delta":48000} at 2.3
        model raw {"type":"response.done","response":{"id":"b1","status":"completed",\
          "conversation_id":null,"output":[]}} at 2.4
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
    2.54 speak a1 "One, two."
    4.12 a1 finished, heard 2000 ms "One, two."
    4.12 status idle
    4.14 silence after 2000 ms
    "##);
}

/// Fixture 10: an odd number of bytes, none at all, and two seconds at once.
#[test]
fn sound_may_come_in_any_measure() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "hello"
        model hang
        model raw {"type":"response.output_audio.delta","response_id":"r1","item_id":"x1",\
          "delta":24001} at 2.0
        model raw {"type":"response.output_audio.delta","response_id":"r1","item_id":"x1",\
          "delta":0} at 2.05
        model raw {"type":"response.output_audio.delta","response_id":"r1","item_id":"x1",\
          "delta":23999} at 2.1
        model raw {"type":"response.output_audio.delta","response_id":"r1","item_id":"x1",\
          "delta":96000} at 2.2
        model raw {"type":"response.output_audio.done","response_id":"r1","item_id":"x1"} at 2.3
        model raw {"type":"response.output_audio_transcript.done","response_id":"r1",\
          "item_id":"x1","transcript":"All of it."} at 2.3
        model raw {"type":"response.done","response":{"id":"r1","status":"completed",\
          "output":[],"usage":null}} at 2.4
        until 8
        "#
    ), @r##"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.00 x1 started
    2.00 status acting
    2.00 sound
    2.14 transcript ann "hello"
    2.30 speak x1 "All of it."
    4.98 x1 finished, heard 3000 ms "All of it."
    4.98 status idle
    5.00 silence after 3000 ms
    "##);
}

/// Fixture 10: a burst; the cut near its end is true.
#[test]
fn a_minute_that_comes_in_three_seconds_is_heard_as_a_minute() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me everything"
        model audio 60 s "One two three four five six seven eight nine ten eleven twelve." speed \
          20
        human 50.0..51.0 "stop"
        model audio 1 s "As you like."
        until 55
        "#
    ), @r##"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
     1.85 status thinking
     2.14 transcript ann "tell me everything"
     2.14 a1 started
     2.14 status acting
     2.14 sound
     5.14 speak a1 "One two three four five six seven eight nine ten eleven twelve."
    50.06 vad_start ann
    50.08 silence after 47940 ms
    50.20 status idle
    50.20 a1 cut, heard 47920 ms "One two three four five six seven eight nine ten"
    50.20 -> truncate a1 at 47920 ms
    51.16 vad_end ann
    51.35 status thinking
    51.64 transcript ann "stop"
    51.64 a2 started
    51.64 status acting
    51.64 sound
    51.84 speak a2 "As you like."
    52.62 a2 finished, heard 1000 ms "As you like."
    52.62 status idle
    52.64 silence after 1000 ms
    "##);
}

/// Fixture 11: `speech_started` twice.
#[test]
fn a_second_beginning_without_an_end_changes_nothing() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..2.5 "tell me a story"
        model raw {"type":"input_audio_buffer.speech_started","audio_start_ms":1500,\
          "item_id":"u1"} at 1.5
        model raw {"type":"input_audio_buffer.speech_started","audio_start_ms":1700,\
          "item_id":"u7"} at 1.7
        model audio 1 s "Once."
        until 6
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
    3.52 speak a1 "Once."
    4.30 a1 finished, heard 1000 ms "Once."
    4.30 status idle
    4.32 silence after 1000 ms
    "##);
}

/// Fixture 11: `speech_started` while nothing plays and nobody speaks, and no end to it.
#[test]
fn speech_that_only_the_model_hears_ends_by_itself() {
    assert_snapshot!(timeline(
        r#"
        model raw {"type":"input_audio_buffer.speech_started","audio_start_ms":900,\
          "item_id":"u7"} at 1.0
        human 13.0..14.0 "hello"
        model audio 1 s "Hello."
        until 18
        "#
    ), @r##"
     0.00 joined ann
    13.06 vad_start ann
    14.16 vad_end ann
    14.35 status thinking
    14.64 transcript ann "hello"
    14.64 a1 started
    14.64 status acting
    14.64 sound
    14.84 speak a1 "Hello."
    15.62 a1 finished, heard 1000 ms "Hello."
    15.62 status idle
    15.64 silence after 1000 ms
    "##);
}

/// Fixture 11: the model's ear hears what ours does not, and has cancelled its answer.
#[test]
fn the_models_word_breaks_the_agent_off() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 4 s "One, two, three, four." speed 1
        model raw {"type":"input_audio_buffer.speech_started","audio_start_ms":2900,\
          "item_id":"u7"} at 3.0
        model raw {"type":"response.done","response":{"id":"r1","status":"cancelled",\
          "status_details":{"type":"cancelled","reason":"turn_detected"},"output":[],\
          "usage":null}} at 3.01
        model raw {"type":"input_audio_buffer.speech_stopped","audio_end_ms":3500,\
          "item_id":"u7"} at 3.5
        model raw {"type":"input_audio_buffer.committed","item_id":"u7"} at 3.5
        until 17
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
    3.00 status idle
    3.00 a1 cut, heard 860 ms "One,"
    3.00 -> cancel r1
    3.00 -> truncate a1 at 860 ms
    3.02 silence after 880 ms
    3.50 status thinking
    "##);
}
