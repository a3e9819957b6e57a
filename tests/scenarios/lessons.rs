//! What others have learnt from speech models in the field, a lesson a test: interruptions,
//! answers that collide, and sound.

use insta::assert_snapshot;

use super::timeline;

/// Lesson 1: a cut is never beyond what the model has sent, however little that is.
#[test]
fn a_cut_in_an_answer_that_is_still_coming_names_no_more_than_has_come() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 8 s "Once upon a time there was a bridge that nobody dared to cross." speed 1
        human 4.5..5.5 "stop"
        model audio 1 s "As you like."
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
    4.56 vad_start ann
    4.58 silence after 2440 ms
    4.70 status idle
    4.70 a1 cut, heard 2420 ms "Once upon a"
    4.70 -> cancel r1
    4.70 -> truncate a1 at 2420 ms
    5.66 vad_end ann
    5.85 status thinking
    6.14 transcript ann "stop"
    6.14 a2 started
    6.14 status acting
    6.14 sound
    6.34 speak a2 "As you like."
    7.12 a2 finished, heard 1000 ms "As you like."
    7.12 status idle
    7.14 silence after 1000 ms
    "#);
}

/// Lesson 2: what has not been heard at all is taken out of the conversation, not cut to nothing.
#[test]
fn what_was_queued_behind_a_cut_answer_is_deleted() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me two stories"
        model audio 4 s "The first story is short." + audio 4 s "The second one is not."
        human 4.0..5.0 "stop"
        model audio 1 s "As you like."
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "tell me two stories"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.94 speak a1 "The first story is short."
    3.74 speak a2 "The second one is not."
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.20 status idle
    4.20 a1 cut, heard 1920 ms "The first"
    4.20 a2 cut, heard 0 ms ""
    4.20 -> truncate a1 at 1920 ms
    4.20 -> delete a2
    5.16 vad_end ann
    5.35 status thinking
    5.64 transcript ann "stop"
    5.64 a3 started
    5.64 status acting
    5.64 sound
    5.84 speak a3 "As you like."
    6.62 a3 finished, heard 1000 ms "As you like."
    6.62 status idle
    6.64 silence after 1000 ms
    "#);
}

/// Lesson 3: whoever wants an answer, the model is asked for one at a time.
#[test]
fn wishes_to_speak_that_come_at_once_do_not_collide() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "good morning"
        model audio 2 s "Good morning."
        at 2.5 client say "Lunch is ready."
        at 2.6 client say "It is soup."
        at 2.7 client asks "the soup is hot"
        model audio 1 s "Lunch is ready."
        model audio 1 s "Mind, it is hot."
        model audio 1 s "It is soup."
        until 9
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "good morning"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.54 speak a1 "Good morning."
    2.54 -> create "Say exactly: \"Lunch is ready.\""
    2.70 -> item user "event: the soup is hot"
    3.04 speak a2 "Lunch is ready."
    3.04 -> create
    3.54 speak a3 "Mind, it is hot."
    3.54 -> create "Say exactly: \"It is soup.\""
    4.04 speak a4 "It is soup."
    4.12 a1 finished, heard 2000 ms "Good morning."
    4.12 status thinking
    4.14 a2 started
    4.14 status acting
    5.12 a2 finished, heard 1000 ms "Lunch is ready."
    5.12 status thinking
    5.14 a3 started
    5.14 status acting
    6.12 a3 finished, heard 1000 ms "Mind, it is hot."
    6.12 status thinking
    6.14 a4 started
    6.14 status acting
    7.12 a4 finished, heard 1000 ms "It is soup."
    7.12 status idle
    7.14 silence after 5000 ms
    "#);
}

/// Lesson 3, the race itself: the server begins of its own accord just when it is asked.
#[test]
fn a_wish_that_crosses_with_the_servers_own_answer_is_fulfilled_after_it() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "good morning"
        model audio 1 s "Good morning."
        at 1.845 client say "Lunch is ready."
        model audio 1 s "Lunch is ready."
        until 6
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.84 status thinking
    1.84 -> create "Say exactly: \"Lunch is ready.\""
    1.85 -> refused: conversation_already_has_active_response
    2.14 transcript ann "good morning"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    2.34 speak a1 "Good morning."
    2.34 -> create "Say exactly: \"Lunch is ready.\""
    2.84 speak a2 "Lunch is ready."
    3.12 a1 finished, heard 1000 ms "Good morning."
    3.12 status thinking
    3.14 a2 started
    3.14 status acting
    4.12 a2 finished, heard 1000 ms "Lunch is ready."
    4.12 status idle
    4.14 silence after 2000 ms
    "#);
}

/// Lesson 4: an answer that is broken off before it has a name is never heard.
#[test]
fn an_answer_that_is_broken_off_before_it_begins_is_not_heard() {
    assert_snapshot!(timeline(
        r#"
        at 1.0 client say "Lunch is ready."
        at 1.005 client interrupt
        model audio 2 s "Lunch is ready."
        human 3.0..4.0 "hello"
        model audio 1 s "Hello."
        "#
    ), @r#"
    0.00 joined ann
    1.00 status thinking
    1.00 -> create "Say exactly: \"Lunch is ready.\""
    1.00 status idle
    1.01 status thinking
    1.01 -> cancel r1
    1.02 status idle
    3.06 vad_start ann
    4.16 vad_end ann
    4.35 status thinking
    4.64 transcript ann "hello"
    4.64 a2 started
    4.64 status acting
    4.64 sound
    4.84 speak a2 "Hello."
    5.62 a2 finished, heard 1000 ms "Hello."
    5.62 status idle
    5.64 silence after 1000 ms
    "#);
}

/// Lesson 5: what is complete is cut, not cancelled; the server would only complain.
#[test]
fn nothing_is_cancelled_when_the_model_has_finished_before_it_is_heard() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge." speed 20
        human 4.0..5.0 "stop"
        model nothing
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
    2.44 speak a1 "Once upon a time there was a bridge."
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.20 status idle
    4.20 a1 cut, heard 1920 ms "Once upon a"
    4.20 -> truncate a1 at 1920 ms
    5.16 vad_end ann
    5.35 status thinking
    5.64 transcript ann "stop"
    5.64 status idle
    "#);
}

/// Lesson 6: a minute of sound may lie here, and not a frame of it leaves after the cut.
#[test]
fn a_minute_of_sound_that_has_come_in_a_second_stops_at_once() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a long story"
        model audio 60 s "Once upon a time, and so on for a minute." speed 60
        human 5.0..6.0 "enough"
        model audio 1 s "As you like."
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.85 status thinking
    2.14 transcript ann "tell me a long story"
    2.14 a1 started
    2.14 status acting
    2.14 sound
    3.14 speak a1 "Once upon a time, and so on for a minute."
    5.06 vad_start ann
    5.08 silence after 2940 ms
    5.20 status idle
    5.20 a1 cut, heard 2920 ms ""
    5.20 -> truncate a1 at 2920 ms
    6.16 vad_end ann
    6.35 status thinking
    6.64 transcript ann "enough"
    6.64 a2 started
    6.64 status acting
    6.64 sound
    6.84 speak a2 "As you like."
    7.62 a2 finished, heard 1000 ms "As you like."
    7.62 status idle
    7.64 silence after 1000 ms
    "#);
}

/// Lesson 12: a model that is no faster than speech is heard without a gap.
#[test]
fn an_answer_that_comes_as_slowly_as_it_is_heard_has_no_gaps() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 5 s "Once upon a time there was a bridge." speed 1
        until 9
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
    7.14 a1 finished, heard 5000 ms "Once upon a time there was a bridge."
    7.14 status thinking
    7.14 speak a1 "Once upon a time there was a bridge."
    7.14 status idle
    7.14 silence after 5000 ms
    "#);
}

/// Lesson 13: the first syllable waits for somebody who hears it.
#[test]
fn a_greeting_is_kept_for_the_first_who_comes() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Welcome."
        joins ann 3.0
        model audio 1 s "Welcome."
        until 6
        "#
    ), @r#"
    0.00 joined nobody
    3.00 ann comes in
    3.00 status thinking
    3.00 -> create "Say exactly: \"Welcome.\""
    3.30 a1 started
    3.30 status acting
    3.30 sound
    3.50 speak a1 "Welcome."
    4.28 a1 finished, heard 1000 ms "Welcome."
    4.28 status idle
    4.30 silence after 1000 ms
    "#);
}

/// Lesson 14: what somebody says while the model's session is being opened is heard from its
/// first syllable on.
#[test]
fn who_speaks_before_the_model_listens_is_heard() {
    assert_snapshot!(timeline(
        r#"
        model refuse 503 0.0..1.5
        human 0.1..0.8 "is anybody there"
        model audio 1 s "I am."
        until 7
        "#
    ), @r#"
    0.00 joined ann
    0.00 model socket 1 is refused: 503
    0.01 model socket 2 is refused: 503
    0.16 vad_start ann
    0.27 model socket 3 is refused: 503
    0.78 model socket 4 is refused: 503
    1.12 vad_end ann
    1.79 model socket 5 opens
    1.82 status thinking
    2.11 transcript ann "is anybody there"
    2.11 a1 started
    2.11 status acting
    2.11 sound
    2.31 speak a1 "I am."
    3.09 a1 finished, heard 1000 ms "I am."
    3.09 status idle
    3.11 silence after 1000 ms
    "#);
}

/// Lesson 15: a line on which no packets come any more is silence, and silence ends a turn.
#[test]
fn a_turn_ends_though_packets_stop_in_the_middle_of_it() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..3.0 "what time is it"
        gap 1.5..9.0
        model audio 1 s "It is noon."
        until 5
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.70 vad_end ann
    1.89 status thinking
    2.18 transcript ann "what time is it"
    2.18 a1 started
    2.18 status acting
    2.18 sound
    2.38 speak a1 "It is noon."
    3.16 a1 finished, heard 1000 ms "It is noon."
    3.16 status idle
    3.18 silence after 1000 ms
    "#);
}
