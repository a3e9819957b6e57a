//! Words that wait for others when the session they came from is over.

use super::*;

#[test]
fn words_that_wait_for_lost_ones_are_told_before_the_session_is_lost() {
    let mut scene = waiting_for_words();
    scene.lose(1, None);
    let items = scene.items();
    assert_eq!(items[0], transcript_item("u2", "And tomorrow?"));
    assert_eq!(items[1], reconnecting());
    let told_again = items.iter().filter(|item| **item == items[0]).count();
    assert_eq!(told_again, 1, "{items:?}");
}

#[test]
fn words_that_wait_for_lost_ones_are_told_before_a_call_ends() {
    let mut scene = waiting_for_words();
    scene.act(ModelAction::Close);
    assert_eq!(scene.items(), [transcript_item("u2", "And tomorrow?")]);
}

/// The words of the second turn are there, and those of the first are not.
fn waiting_for_words() -> Scene {
    let mut scene = Scene::standing();
    scene.turn(1, "u1");
    scene.turn(1, "u2");
    scene.hear(1, &transcription("u2", "And tomorrow?"));
    let is_told = |item: &ModelItem| *item == transcript_item("u2", "And tomorrow?");
    assert!(!scene.items().iter().any(is_told));
    scene
}
