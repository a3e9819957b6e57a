//! Sessions in text, as agents outside calls have them.

use callbridge::agent::{
    AgentSpec, Medium, ModelAction, ModelEvent, ModelFailure, ResponseOutcome, Role,
};
use callbridge::ids::ToolCallId;
use callbridge::media::Frame24k;
use callbridge::meter::Meter;
use callbridge::models::open;
use callbridge::models::scripted::ScriptedModel;
use callbridge::privacy::Pii;

use super::{Scene, done, event, heard, profile, started, weather_in_paris, words};

#[tokio::test]
async fn a_text_is_answered_in_text() {
    let mut scene =
        Scene::start_in_text(include_str!("../../fixtures/sessions/text_answer.jsonl")).await;
    // There is no queue for sound, and no failure either.
    assert!(scene.link.audio.send(heard(&Frame24k::SILENCE)).await.is_err());
    scene.tell(Role::System, r#"{"place":"Rome"}"#).await;
    scene.tell(Role::Assistant, "Good morning.").await;
    scene.tell(Role::User, "new-message: Ann wrote: what time is it?").await;
    scene.respond().await;
    let expected = [
        started("resp_1"),
        words("item_1", "It ", false),
        words("item_1", "It is noon.", false),
        words("item_1", "It is noon.", true),
        done("resp_1", ResponseOutcome::Completed),
    ];
    assert_eq!(scene.items_until_done("resp_1").await, expected);
    let recording = scene.close().await;
    assert!(recording.samples.is_empty());
    let session = &recording.events[0]["session"];
    assert_eq!(session["audio"].to_string(), r#"{"input":{"turn_detection":null}}"#);
}

#[tokio::test]
async fn a_tool_is_called_in_text_and_words_in_deltas_alone_are_final_once() {
    let mut scene =
        Scene::start_in_text(include_str!("../../fixtures/sessions/text_tool_call.jsonl")).await;
    scene.tell(Role::User, "new-message: Ann wrote: what is the weather in Paris?").await;
    scene.respond().await;
    let expected =
        [started("resp_1"), weather_in_paris(), done("resp_1", ResponseOutcome::Completed)];
    assert_eq!(scene.items_until_done("resp_1").await, expected);
    let output = Pii::new(r#"{"sky":"clear"}"#.to_owned());
    scene.act(ModelAction::ToolOutput { id: ToolCallId::new("call_1"), output }).await;
    scene.respond().await;
    let expected = [
        started("resp_2"),
        words("item_2", "Clear ", false),
        words("item_2", "Clear skies.", false),
        words("item_2", "Clear skies.", true),
        done("resp_2", ResponseOutcome::Completed),
    ];
    assert_eq!(scene.items_until_done("resp_2").await, expected);
    scene.close().await;
}

#[tokio::test]
async fn an_answer_in_text_is_cancelled_and_the_next_one_asked_for_is_not_lost() {
    let mut scene =
        Scene::start_in_text(include_str!("../../fixtures/sessions/text_cancel.jsonl")).await;
    scene.tell(Role::User, "Count to one hundred.").await;
    scene.respond().await;
    assert_eq!(scene.item().await, started("resp_1"));
    assert_eq!(scene.item().await, words("item_1", "One, ", false));
    scene.act(ModelAction::Cancel).await;
    let expected = [words("item_1", "One, ", true), done("resp_1", ResponseOutcome::Cancelled)];
    assert_eq!(scene.items_until_done("resp_1").await, expected);
    scene.tell(Role::User, "What time is it?").await;
    scene.respond().await;
    let items = scene.items_until_done("resp_2").await;
    assert_eq!(
        items[2..],
        [words("item_2", "Noon.", true), done("resp_2", ResponseOutcome::Completed)]
    );
    scene.close().await;
}

#[tokio::test]
async fn a_session_lost_in_mid_answer_says_what_came_and_that_it_is_lost() {
    let mut scene =
        Scene::start_in_text(include_str!("../../fixtures/sessions/text_lost.jsonl")).await;
    scene.tell(Role::User, "new-message: Ann wrote: what time is it?").await;
    scene.respond().await;
    assert_eq!(scene.item().await, started("resp_1"));
    assert_eq!(scene.item().await, words("item_1", "It is ", false));
    assert!(matches!(scene.failure().await, ModelFailure::Lost(_)));
    scene.ends().await;
}

#[tokio::test]
async fn sessions_one_after_another_each_get_their_script() {
    let [lost, answer] = [
        include_str!("../../fixtures/sessions/text_lost.jsonl"),
        include_str!("../../fixtures/sessions/text_answer.jsonl"),
    ];
    let server = ScriptedModel::play_each(&[lost, answer]).await.unwrap();
    let link = open(&profile(&server), AgentSpec::default(), Medium::Text, &Meter::new());
    let mut scene = Scene { server, link };
    is_ready_in_text(&mut scene).await;
    scene.tell(Role::User, "new-message: Ann wrote: what time is it?").await;
    scene.respond().await;
    assert_eq!(scene.item().await, started("resp_1"));
    assert_eq!(scene.item().await, words("item_1", "It is ", false));
    assert!(matches!(scene.failure().await, ModelFailure::Lost(_)));

    scene.link = open(&profile(&scene.server), AgentSpec::default(), Medium::Text, &Meter::new());
    is_ready_in_text(&mut scene).await;
    scene.tell(Role::System, r#"{"place":"Rome"}"#).await;
    scene.tell(Role::Assistant, "Good morning.").await;
    scene.tell(Role::User, "new-message: Ann wrote: what time is it?").await;
    scene.respond().await;
    assert_eq!(scene.items_until_done("resp_1").await.len(), 5);
    scene.act(ModelAction::Close).await;
    let recordings = scene.server.finish_each().await.unwrap();
    assert_eq!(recordings.iter().map(|one| one.events.len()).collect::<Vec<_>>(), [3, 5]);
}

async fn is_ready_in_text(scene: &mut Scene) {
    let ready = ModelEvent::Ready { takes_turns: false };
    assert_eq!(scene.item().await, event(ready));
}
