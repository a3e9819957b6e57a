//! Conversations in text, and answers that are broken off.

use super::*;

#[test]
fn an_answer_in_text_is_told_without_complaint_and_is_final_once() {
    let mut scene = Scene::of(Medium::Text);
    scene.hear(&created("r"));
    scene.hear(&text_delta("r", "a", "It is "));
    scene.hear(&text_delta("r", "a", "noon."));
    scene.hear(
        r#"{"type":"response.output_text.done","response_id":"r","item_id":"a",
            "text":"It is noon."}"#,
    );
    scene.hear(&text_delta("r", "a", "late"));
    scene.hear(&done("r", "completed"));
    scene.hear(&done("r", "completed"));
    let expected = [
        event(ModelEvent::ResponseStarted { response: ResponseId::new("r") }),
        words_item("a", "It is ", false),
        words_item("a", "It is noon.", false),
        words_item("a", "It is noon.", true),
        done_item("r", ResponseOutcome::Completed),
    ];
    assert_eq!(scene.items(), expected);
}

#[test]
fn words_that_come_in_deltas_alone_are_final_with_their_answer() {
    let mut scene = Scene::of(Medium::Text);
    scene.hear(&text_delta("r", "a", "Hi"));
    scene.hear(&done("r", "completed"));
    let expected = [
        words_item("a", "Hi", false),
        words_item("a", "Hi", true),
        done_item("r", ResponseOutcome::Completed),
    ];
    assert_eq!(scene.items(), expected);
}

#[test]
fn what_the_agent_has_said_is_told_as_the_models_own_text() {
    let mut scene = Scene::of(Medium::Text);
    for role in [Role::Assistant, Role::User] {
        scene.act(ModelAction::AddText { role, text: Pii::new("Hello.".into()) });
    }
    let item = |event_id: &str, role: &str, kind: &str| {
        json!({"type": "conversation.item.create", "event_id": event_id, "item":
            {"type": "message", "role": role, "content": [{"type": kind, "text": "Hello."}]}})
    };
    let expected =
        [item("item_1", "assistant", "output_text"), item("item_2", "user", "input_text")];
    assert_eq!(scene.sent(), expected);
}

#[test]
fn an_image_is_shown_to_models_that_see() {
    let mut scene = Scene::of(Medium::Text);
    let url = "data:image/png;base64,AAAA";
    let image = || ModelAction::AddImage { url: Pii::new(url.into()) };
    scene.act(image());
    let content = json!([{"type": "input_image", "image_url": url}]);
    let item = json!({"type": "message", "role": "user", "content": content});
    let create = json!({"type": "conversation.item.create", "event_id": "item_1", "item": item});
    assert_eq!(scene.sent(), [create]);

    let mut blind = Dialogue::new(Medium::Text, false, Turns::OURS);
    blind.handle_action(image(), clock::now());
    assert_eq!(blind.poll_request(), None);
}

#[test]
fn a_cancelled_answer_ends_as_cancelled_even_if_it_was_complete_by_then() {
    let mut scene = Scene::of(Medium::Text);
    scene.hear(&created("r"));
    scene.hear(&text_delta("r", "a", "It "));
    scene.items();
    scene.act(ModelAction::Cancel);
    scene.hear(&text_delta("r", "a", "is noon."));
    scene.hear(&done("r", "completed"));
    scene.hear(&error("response_cancel_not_active", "nothing to cancel"));
    let cancelled = done_item("r", ResponseOutcome::Cancelled);
    assert_eq!(scene.items(), [words_item("a", "It ", true), cancelled]);
}

#[test]
fn a_cancelled_answer_ends_though_the_server_says_it_does_not_run() {
    let mut scene = Scene::of(Medium::Text);
    scene.hear(&created("r"));
    scene.items();
    scene.act(ModelAction::Cancel);
    scene.act(ModelAction::Respond { instructions: None });
    assert_eq!(scene.requests(), ["response.cancel"]);
    scene.hear(&error("response_cancel_not_active", "nothing to cancel"));
    assert_eq!(scene.items(), [done_item("r", ResponseOutcome::Cancelled)]);
    assert_eq!(scene.requests(), ["response.create"]);
    scene.hear(&done("r", "completed"));
    assert_eq!(scene.items(), []);
}

#[test]
fn a_cancelled_answer_ends_in_time_though_the_server_says_nothing() {
    let mut scene = Scene::of(Medium::Text);
    scene.hear(&created("r"));
    scene.items();
    scene.act(ModelAction::Cancel);
    scene.act(ModelAction::Respond { instructions: None });
    scene.act(ModelAction::Respond { instructions: None });
    let (until, _) = scene.dialogue.poll_timeout().unwrap();
    assert!(until - scene.now <= Duration::from_secs(5));
    scene.dialogue.handle_timeout(until);
    assert_eq!(scene.items().last(), Some(&done_item("r", ResponseOutcome::Cancelled)));
    assert_eq!(scene.requests(), ["response.cancel", "response.create"]);
    scene.hear(&text_delta("r", "a", "late"));
    scene.hear(&done("r", "cancelled"));
    assert_eq!(scene.items(), []);
}

#[test]
fn an_answer_asked_for_right_after_a_cancel_comes_once_the_cancelled_one_has_ended() {
    let mut scene = Scene::of(Medium::Text);
    scene.act(ModelAction::Respond { instructions: None });
    scene.act(ModelAction::Cancel);
    scene.act(ModelAction::Respond { instructions: None });
    assert_eq!(scene.requests(), ["response.create"]);
    scene.hear(&created("r1"));
    assert_eq!(scene.requests(), ["response.cancel"]);
    scene.hear(&done("r1", "cancelled"));
    assert_eq!(scene.requests(), ["response.create"]);
    scene.items();
    scene.hear(&created("r2"));
    scene.hear(&text_delta("r2", "a", "Hi"));
    let started = event(ModelEvent::ResponseStarted { response: ResponseId::new("r2") });
    assert_eq!(scene.items(), [started, words_item("a", "Hi", false)]);
}

fn text_delta(response: &str, item: &str, delta: &str) -> String {
    format!(
        r#"{{"type":"response.output_text.delta","response_id":"{response}",
            "item_id":"{item}","output_index":0,"content_index":0,"delta":"{delta}"}}"#
    )
}
