//! Sessions that outlive their sockets, over real sockets.

use std::time::Duration;

use callbridge::agent::{
    AgentSpec, Medium, ModelAction, ModelEvent, ModelFailure, ResponseOutcome,
};
use callbridge::ids::UtteranceId;
use callbridge::media::Frame24k;
use callbridge::meter::Meter;
use callbridge::models::scripted::ScriptedModel;
use callbridge::models::{Deadlines, ModelItem, ModelProfile, open};
use callbridge::privacy::Pii;

use super::{SHORT, Scene, done, event, heard, sound, started, words};

#[tokio::test]
async fn an_answer_goes_on_after_a_socket_was_cut_in_the_middle_of_it() {
    let scripts = [
        include_str!("../../fixtures/sessions/lost_in_answer.jsonl"),
        include_str!("../../fixtures/sessions/answer_goes_on.jsonl"),
    ];
    let mut scene = start(&scripts, Deadlines::default()).await;
    scene.is_ready().await;
    say(&scene, 5).await;
    let items = scene.items_until_done("resp_1").await;
    let (last, before) = items.split_last().unwrap();
    assert_eq!(*last, done("resp_1", ResponseOutcome::Incomplete));
    let expected = [
        ModelItem::AudioDone { utterance: UtteranceId::new("item_a1") },
        words("item_a1", "Once upon a time", true),
    ];
    assert!(is_reconnecting(&before[before.len() - 3]), "{before:?}");
    assert_eq!(before[before.len() - 2..], expected);
    assert_eq!(scene.item().await, event(ModelEvent::Restored));
    let items = scene.items_until_done("s2.resp_1").await;
    assert!(items.contains(&sound("s2.item_a1", 200)));
    let recordings = close(scene).await;
    let asked = &recordings[1].last().unwrap()["response"]["instructions"];
    assert!(asked.as_str().unwrap().contains("Go on from there"), "{asked}");
}

#[tokio::test]
async fn a_turn_that_nobody_heard_to_its_end_is_heard_again() {
    let scripts = [
        include_str!("../../fixtures/sessions/lost_in_turn.jsonl"),
        include_str!("../../fixtures/sessions/turn_heard_again.jsonl"),
    ];
    let mut scene = start(&scripts, Deadlines::default()).await;
    scene.is_ready().await;
    say(&scene, 35).await;
    let items = scene.items_until_done("s2.resp_1").await;
    assert_eq!(items.iter().filter(|item| is_reconnecting(item)).count(), 1);
    let text = Pii::new("What time is it?".to_owned());
    let utterance = UtteranceId::new("s2.item_u1");
    assert!(items.contains(&event(ModelEvent::Transcript { utterance, text, is_final: true })));
    close(scene).await;
}

#[tokio::test]
async fn a_session_at_its_end_is_followed_by_another() {
    for expired in [
        include_str!("../../fixtures/sessions/expired.jsonl"),
        include_str!("../../fixtures/sessions/going_away.jsonl"),
        include_str!("../../fixtures/sessions/drops_at_once.jsonl"),
    ] {
        let scripts = [expired, include_str!("../../fixtures/sessions/answers_once.jsonl")];
        let mut scene = start(&scripts, Deadlines::default()).await;
        scene.is_ready().await;
        answers_after_a_loss(&mut scene, 2).await;
        close(scene).await;
    }
}

#[tokio::test]
async fn a_half_open_socket_is_noticed_and_replaced() {
    let scripts = [
        include_str!("../../fixtures/sessions/half_open.jsonl"),
        include_str!("../../fixtures/sessions/answers_once.jsonl"),
    ];
    let deadlines = Deadlines { ping_every: SHORT, ping_limit: SHORT, ..Deadlines::default() };
    let mut scene = start(&scripts, deadlines).await;
    scene.is_ready().await;
    // A script that stalls has no end to wait for.
    answers_after_a_loss(&mut scene, 2).await;
}

#[tokio::test]
async fn a_server_that_never_takes_the_settings_is_asked_again() {
    let scripts = [
        include_str!("../../fixtures/sessions/silent_setup.jsonl"),
        include_str!("../../fixtures/sessions/answers_once.jsonl"),
    ];
    let deadlines = Deadlines { configure: SHORT, ..Deadlines::default() };
    let mut scene = start(&scripts, deadlines).await;
    answers_once(&mut scene).await;
    close(scene).await;
}

#[tokio::test]
async fn a_server_that_is_busy_at_first_is_asked_again() {
    let scripts = [
        include_str!("../../fixtures/sessions/refused_rate.jsonl"),
        include_str!("../../fixtures/sessions/refused_rate.jsonl"),
        include_str!("../../fixtures/sessions/answers_once.jsonl"),
    ];
    let mut scene = start(&scripts, Deadlines::default()).await;
    answers_once(&mut scene).await;
    close(scene).await;
}

#[tokio::test]
async fn a_server_that_drops_everybody_is_given_up() {
    let scripts = [include_str!("../../fixtures/sessions/drops_at_once.jsonl"); 5];
    let mut scene = start(&scripts, Deadlines::default()).await;
    scene.is_ready().await;
    for _ in 0..4 {
        assert!(is_reconnecting(&scene.item().await));
        assert_eq!(scene.item().await, event(ModelEvent::Restored));
    }
    assert!(matches!(scene.failure().await, ModelFailure::Lost(_)));
    scene.ends().await;
}

#[tokio::test]
async fn another_session_takes_over_without_a_word_about_it() {
    let scripts = [
        include_str!("../../fixtures/sessions/rotated_first.jsonl"),
        include_str!("../../fixtures/sessions/rotated_second.jsonl"),
    ];
    let session_cap = Duration::from_millis(1_200);
    let mut scene = start(&scripts, Deadlines { session_cap, ..Deadlines::default() }).await;
    answers_once(&mut scene).await;
    // The second server answers what it hears, and it hears nothing until it has taken over.
    let audio = scene.link.audio.clone();
    let speaking = async move {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while audio.send(heard(&Frame24k::SILENCE)).await.is_ok() {
            pace.tick().await;
        }
    };
    let items = tokio::select! {
        items = scene.items_until_done("s2.resp_1") => items,
        () = speaking => panic!("the session has ended"),
    };
    assert_eq!(items[0], started("s2.resp_1"));
    close(scene).await;
}

#[tokio::test]
async fn an_answer_refused_for_its_rate_comes_a_moment_later() {
    let script = include_str!("../../fixtures/sessions/rate_limited_answer.jsonl");
    let mut scene = start(&[script], Deadlines::default()).await;
    scene.is_ready().await;
    scene.respond().await;
    let items = scene.items_until_done("resp_1").await;
    assert_eq!(items[0], started("resp_1"));
    assert!(items.contains(&sound("item_a2", 100)));
    assert_eq!(items.last(), Some(&done("resp_1", ResponseOutcome::Completed)));
    close(scene).await;
}

#[tokio::test]
async fn an_answer_in_writing_is_spoken() {
    let script = include_str!("../../fixtures/sessions/written_answer.jsonl");
    let mut scene = start(&[script], Deadlines::default()).await;
    scene.is_ready().await;
    scene.respond().await;
    let items = scene.items_until_done("resp_1").await;
    let expected = [
        started("resp_1"),
        words("item_a2", "Noon.", false),
        sound("item_a2", 100),
        ModelItem::AudioDone { utterance: UtteranceId::new("item_a2") },
        words("item_a2", "Noon.", true),
        done("resp_1", ResponseOutcome::Completed),
    ];
    assert_eq!(items, expected);
    close(scene).await;
}

async fn start(scripts: &[&str], deadlines: Deadlines) -> Scene {
    let server = ScriptedModel::play_each(scripts).await.unwrap();
    let profile = ModelProfile { deadlines, ..ModelProfile::local(server.url()) };
    let link = open(&profile, AgentSpec::default(), Medium::Voice, &Meter::new());
    Scene { server, link }
}

async fn say(scene: &Scene, frames: usize) {
    for _ in 0..frames {
        scene.link.audio.send(heard(&Frame24k::SILENCE)).await.unwrap();
    }
}

async fn answers_once(scene: &mut Scene) {
    scene.is_ready().await;
    scene.respond().await;
    let items = scene.items_until_done("resp_1").await;
    assert_eq!(items[0], started("resp_1"));
}

/// The first session breaks by itself, and the next one answers.
async fn answers_after_a_loss(scene: &mut Scene, session: u32) {
    assert!(is_reconnecting(&scene.item().await));
    assert_eq!(scene.item().await, event(ModelEvent::Restored));
    scene.respond().await;
    let response = format!("s{session}.resp_1");
    let items = scene.items_until_done(&response).await;
    assert_eq!(items.last(), Some(&done(&response, ResponseOutcome::Completed)));
}

fn is_reconnecting(item: &ModelItem) -> bool {
    matches!(item, ModelItem::Event(ModelEvent::Reconnecting { .. }))
}

/// Ends the conversation, and gives what each server has received but for sound.
async fn close(mut scene: Scene) -> Vec<Vec<serde_json::Value>> {
    scene.act(ModelAction::Close).await;
    assert_eq!(scene.link.items.recv().await.map(|arrived| arrived.item), None);
    let recordings = scene.server.finish_each().await.unwrap();
    recordings.into_iter().map(|recording| recording.events).collect()
}
