//! What users of other bridges complain of most, each as a conversation that goes well:
//! interruptions, turns, and what is heard.

use insta::assert_snapshot;

use super::{play, timeline};

/// Complaint 1: a click or a cough holds the agent for a moment, and it goes on where it was.
#[test]
fn noises_do_not_end_what_the_agent_says() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        noise 3.5 20ms
        noise 5.0 80ms
        until 10
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
    3.34 speak a1 "Once upon a time there was a bridge."
    3.56 vad_start ann
    3.58 silence after 1440 ms
    3.86 vad_end ann
    3.86 sound
    5.06 vad_start ann
    5.08 silence after 1220 ms
    5.40 vad_end ann
    5.40 sound
    8.76 a1 finished, heard 6000 ms "Once upon a time there was a bridge."
    8.76 status idle
    8.78 silence after 3380 ms
    "#);
}

/// Complaint 1: who wants to be spoken over only by whole words says so.
#[test]
fn an_uh_huh_does_not_end_what_an_agent_says_that_wants_whole_words() {
    assert_snapshot!(timeline(
        r#"
        agent min-speech 800ms
        agent turns model {"type":"server_vad","interrupt_response":false}
        human 0.5..1.5 "tell me a story"
        model audio 5 s "Once upon a time there was a bridge."
        human 3.5..3.9 "uh-huh"
        model nothing
        until 10
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
    3.14 speak a1 "Once upon a time there was a bridge."
    3.56 vad_start ann
    3.58 silence after 1440 ms
    4.22 vad_end ann
    4.22 sound
    4.72 transcript ann "uh-huh"
    7.78 a1 finished, heard 5000 ms "Once upon a time there was a bridge."
    7.78 status idle
    7.80 silence after 3580 ms
    "#);
}

/// Complaint 1: a real interruption is not missed because it is short.
#[test]
fn a_short_stop_is_obeyed() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 6 s "Once upon a time there was a bridge."
        human 4.0..4.3 "stop"
        model audio 1 s "As you like."
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
    3.34 speak a1 "Once upon a time there was a bridge."
    4.06 vad_start ann
    4.06 silence after 1920 ms
    4.20 status idle
    4.20 a1 cut, heard 1920 ms "Once upon a"
    4.20 -> truncate a1 at 1920 ms
    4.62 vad_end ann
    4.83 status thinking
    5.12 transcript ann "stop"
    5.12 a2 started
    5.12 status acting
    5.12 sound
    5.32 speak a2 "As you like."
    6.10 a2 finished, heard 1000 ms "As you like."
    6.10 status idle
    6.12 silence after 1000 ms
    "#);
}

/// Complaint 3: after an interruption the model knows what was heard, and the next one is cut as
/// exactly as the first.
#[test]
fn one_interruption_after_another_leaves_the_agent_able_to_speak() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "count to a hundred"
        model audio 9 s "One, two, three, four, five, six, seven, eight, nine, ten."
        human 4.0..5.0 "in French"
        model audio 9 s "Un, deux, trois, quatre, cinq, six, sept, huit, neuf, dix."
        human 8.0..9.0 "in German"
        model audio 2 s "Eins, zwei, drei."
        until 14
        "#
    ), @r#"
     0.00 joined ann
     0.56 vad_start ann
     1.66 vad_end ann
     1.85 status thinking
     2.14 transcript ann "count to a hundred"
     2.14 a1 started
     2.14 status acting
     2.14 sound
     3.94 speak a1 "One, two, three, four, five, six, seven, eight, nine, ten."
     4.06 vad_start ann
     4.06 silence after 1920 ms
     4.20 status idle
     4.20 a1 cut, heard 1920 ms "One, two,"
     4.20 -> truncate a1 at 1920 ms
     5.16 vad_end ann
     5.35 status thinking
     5.64 transcript ann "in French"
     5.64 a2 started
     5.64 status acting
     5.64 sound
     7.44 speak a2 "Un, deux, trois, quatre, cinq, six, sept, huit, neuf, dix."
     8.06 vad_start ann
     8.08 silence after 2440 ms
     8.20 status idle
     8.20 a2 cut, heard 2420 ms "Un, deux,"
     8.20 -> truncate a2 at 2420 ms
     9.16 vad_end ann
     9.35 status thinking
     9.64 transcript ann "in German"
     9.64 a3 started
     9.64 status acting
     9.64 sound
    10.04 speak a3 "Eins, zwei, drei."
    11.62 a3 finished, heard 2000 ms "Eins, zwei, drei."
    11.62 status idle
    11.64 silence after 2000 ms
    "#);
}

/// Complaint 6: who pauses to think is not answered too early where the agent waits longer.
#[test]
fn a_pause_for_thought_does_not_end_a_turn() {
    assert_snapshot!(timeline(
        r#"
        agent turns gateway 900ms
        human 0.5..1.5 "I would like"
        human 2.1..3.0 "a table for two"
        model audio 1 s "At what time?"
        until 7
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    2.16 vad_start ann
    3.26 vad_end ann
    3.86 status thinking
    3.86 -> commit
    3.86 -> create
    4.16 transcript ann "I would like a table for two"
    4.16 a1 started
    4.16 status acting
    4.16 sound
    4.36 speak a1 "At what time?"
    5.14 a1 finished, heard 1000 ms "At what time?"
    5.14 status idle
    5.16 silence after 1000 ms
    "#);
}

/// Complaint 6: nor is anybody kept waiting who has finished.
#[test]
fn a_turn_is_over_as_soon_as_the_agent_is_told_to_take_it() {
    assert_snapshot!(timeline(
        r#"
        agent turns gateway 350ms
        human 0.5..1.5 "a table for two"
        model audio 1 s "At what time?"
        until 5
        "#
    ), @r#"
    0.00 joined ann
    0.56 vad_start ann
    1.66 vad_end ann
    1.71 status thinking
    1.71 -> commit
    1.71 -> create
    2.01 transcript ann "a table for two"
    2.01 a1 started
    2.01 status acting
    2.01 sound
    2.21 speak a1 "At what time?"
    2.99 a1 finished, heard 1000 ms "At what time?"
    2.99 status idle
    3.01 silence after 1000 ms
    "#);
}

/// Complaint 13: the agent does not answer itself, however long it speaks to a loudspeaker.
#[test]
fn a_loudspeaker_beside_the_microphone_is_no_second_speaker() {
    assert_snapshot!(timeline(
        r#"
        echo 80ms -10dB
        human 0.5..1.5 "tell me a story"
        model audio 8 s "Once upon a time there was a bridge."
        until 13
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
     3.74 speak a1 "Once upon a time there was a bridge."
    10.12 a1 finished, heard 8000 ms "Once upon a time there was a bridge."
    10.12 status idle
    10.14 silence after 8000 ms
    "#);
}

/// Complaint 22: who spoke is told of everyone, and one does not speak for the other.
#[test]
fn three_people_are_told_apart_and_the_last_word_is_answered() {
    assert_snapshot!(timeline(
        r#"
        human ann 0.5..0.9 "shall we"
        human bob 1.1..2.6 "I would rather eat next door"
        human cid 2.8..3.2 "when"
        model audio 1 s "At noon, next door."
        until 8
        "#
    ), @r#"
    0.00 joined ann, bob, cid
    0.56 vad_start ann
    1.16 vad_start bob
    1.22 vad_end ann
    2.86 vad_start cid
    2.92 vad_end bob
    3.52 vad_end cid
    3.73 status thinking
    4.02 transcript bob "shall we I would rather eat next door when"
    4.02 a1 started
    4.02 status acting
    4.02 sound
    4.22 speak a1 "At noon, next door."
    5.00 a1 finished, heard 1000 ms "At noon, next door."
    5.00 status idle
    5.02 silence after 1000 ms
    "#);
}

/// Complaint 22: one may leave in mid-sentence, and the others are answered.
#[test]
fn who_leaves_in_mid_sentence_does_not_keep_the_turn_open() {
    assert_snapshot!(timeline(
        r#"
        human ann 0.5..1.5 "good morning"
        model audio 1 s "Good morning."
        human bob 4.0..9.0 "well, what I wanted to say"
        leaves bob 5.0 "its connection is gone"
        model audio 1 s "Bob is gone."
        until 9
        "#
    ), @r#"
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
    5.00 vad_end bob
    5.00 bob is gone: its connection is gone
    5.35 status thinking
    5.64 transcript bob "well, what I wanted to say"
    5.64 a2 started
    5.64 status acting
    5.64 sound
    5.84 speak a2 "Bob is gone."
    6.62 a2 finished, heard 1000 ms "Bob is gone."
    6.62 status idle
    6.64 silence after 1000 ms
    "#);
}

/// Complaint 27: what was cut off is never heard, not even when the next answer comes.
#[test]
fn nothing_of_a_cut_answer_is_heard_before_the_next_one() {
    let played = play(
        r#"
        human 0.5..1.5 "tell me a story"
        model audio 30 s "Once upon a time there was a bridge." speed 3
        at 4.0 client interrupt
        at 6.0 client say "Done."
        model audio 1 s "Done."
        until 9
        "#,
    );
    let is_sound = |line: &str| line.starts_with("sound") || line.starts_with("silence");
    let sound = played.lines().filter(|(_, line)| is_sound(line));
    let sound: Vec<_> = sound.map(|(at, line)| format!("{:.2} {line}", at.as_secs_f64())).collect();
    assert_snapshot!(sound.join("\n"), @r"
    2.14 sound
    4.02 silence after 1880 ms
    6.30 sound
    7.30 silence after 1000 ms
    ");
}

/// Complaint 32: a greeting begins with the first word that the model has made, and all of it is
/// heard; the silence before it is not.
#[test]
fn a_greeting_begins_at_once_and_is_whole() {
    assert_snapshot!(timeline(
        r#"
        agent greeting "Welcome to the bridge."
        model audio 2 s "Welcome to the bridge." silence 0.6
        until 4
        "#
    ), @r#"
    0.00 joined ann
    0.02 status thinking
    0.02 -> create "Say exactly: \"Welcome to the bridge.\""
    0.44 a1 started
    0.44 status acting
    0.44 sound
    0.72 speak a1 "Welcome to the bridge."
    1.86 a1 finished, heard 1440 ms "Welcome to the bridge."
    1.86 status idle
    1.88 silence after 1440 ms
    "#);
}

/// Complaint 33: a muted line interrupts nobody: not by its silence, nor by its gaps.
#[test]
fn a_line_that_is_muted_and_comes_back_interrupts_nobody() {
    assert_snapshot!(timeline(
        r#"
        human 0.5..1.5 "tell me a story"
        gap 2.5..4.0
        gap 4.5..5.5
        model audio 5 s "Once upon a time there was a bridge."
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
    3.14 speak a1 "Once upon a time there was a bridge."
    7.12 a1 finished, heard 5000 ms "Once upon a time there was a bridge."
    7.12 status idle
    7.14 silence after 5000 ms
    "#);
}

/// Complaint 34: the fortieth turn is answered as quickly as the first.
#[test]
fn a_long_call_gets_no_slower() {
    let mut script = String::from("until 205\n");
    for turn in 0..40 {
        let at = turn * 5 + 1;
        script += &format!("human {at}..{} \"question {turn}\"\n", at + 1);
        script += "model audio 1 s \"Yes.\"\n";
    }
    let played = play(&script);
    let when = |what: &str| -> Vec<_> {
        played.lines().filter(|(_, line)| *line == what).map(|(at, _)| at).collect()
    };
    let (ends, sounds) = (when("vad_end ann"), when("sound"));
    let waits: Vec<_> =
        ends.iter().zip(&sounds).map(|(end, sound)| sound.saturating_sub(*end)).collect();
    assert_eq!(waits.len(), 40);
    let slower =
        waits.iter().max().zip(waits.iter().min()).map(|(most, least)| most.saturating_sub(*least));
    assert!(slower.is_some_and(|by| by.as_millis() <= 40), "{waits:?}");
}
