//! Tool calls, as servers tell them.

use super::*;

#[test]
fn calls_are_reported_when_their_items_are_complete_and_name_their_answer() {
    let mut scene = Scene::new();
    scene.hear(&call_added("i1", "c1", "weather"));
    scene.hear(&call_added("i2", "c2", "time"));
    scene.hear(&arguments("i2", "c2", r#"{\"zone\":1}"#));
    scene.hear(&arguments("i1", "c1", "{}"));
    assert_eq!(scene.items(), []);
    scene.hear(&call_done("i2", "c2", "time", "completed"));
    scene.hear(&call_done("i1", "c1", "weather", "completed"));
    scene.hear(&call_done("i1", "c1", "weather", "completed"));
    assert_eq!(
        scene.items(),
        [call_item("c2", "time", r#"{"zone":1}"#), call_item("c1", "weather", "{}")]
    );
}

#[test]
fn a_call_told_only_by_the_answers_end_is_not_lost() {
    let mut scene = Scene::new();
    scene.hear(&arguments("i1", "c1", "{}"));
    scene.hear(
        r#"{"type":"response.done","response":{"id":"r","status":"completed","usage":null,
            "output":[{"id":"i1","type":"function_call","call_id":"c1","name":"weather",
            "arguments":"{}"},{"id":"i2","type":"function_call","status":"incomplete",
            "call_id":"c2","name":"time","arguments":"{\"zo"}]}}"#,
    );
    let expected = [call_item("c1", "weather", "{}"), done_item("r", ResponseOutcome::Completed)];
    assert_eq!(scene.items(), expected);
}

#[test]
fn a_call_whose_item_is_never_ended_is_reported_with_its_whole_answer() {
    let mut scene = Scene::new();
    scene.hear(&call_added("i1", "c1", "weather"));
    scene.hear(&arguments("i1", "c1", r#"{\"a\":1}"#));
    scene.hear(&done("r", "completed"));
    let call = call_item("c1", "weather", r#"{"a":1}"#);
    assert_eq!(scene.items(), [call, done_item("r", ResponseOutcome::Completed)]);
}

#[test]
fn a_call_whose_item_was_not_completed_is_not_reported() {
    let mut scene = Scene::new();
    scene.hear(&call_added("i1", "c1", "weather"));
    scene.hear(&arguments("i1", "c1", "{"));
    scene.hear(&call_done("i1", "c1", "weather", "incomplete"));
    scene.hear(&call_added("i2", "c2", "weather"));
    scene.hear(&arguments("i2", "c2", "{"));
    scene.hear(
        r#"{"type":"response.done","response":{"id":"r","status":"incomplete","output":[
            {"id":"i2","type":"function_call","call_id":"c2","name":"weather","arguments":"{"}]}}"#,
    );
    assert_eq!(scene.items(), [done_item("r", ResponseOutcome::Incomplete)]);
}

#[test]
fn a_call_of_an_answer_that_we_have_broken_off_is_not_reported() {
    let mut scene = Scene::new();
    scene.hear(&created("r"));
    scene.hear(&call_added("i1", "c1", "weather"));
    scene.items();
    scene.act(ModelAction::Cancel);
    scene.hear(&arguments("i1", "c1", "{}"));
    scene.hear(&call_done("i1", "c1", "weather", "completed"));
    scene.hear(&done_with_call("r", "completed", "null"));
    scene.hear(&call_done("i1", "c1", "weather", "completed"));
    assert_eq!(scene.items(), [done_item("r", ResponseOutcome::Cancelled)]);
}

#[test]
fn a_call_of_an_answer_broken_off_before_it_was_created_is_not_reported() {
    let mut scene = Scene::new();
    scene.act(ModelAction::Respond { instructions: None });
    scene.act(ModelAction::Cancel);
    scene.hear(&created("r"));
    scene.hear(&call_added("i1", "c1", "weather"));
    scene.hear(&call_done("i1", "c1", "weather", "completed"));
    scene.hear(&done_with_call("r", "cancelled", "null"));
    assert_eq!(scene.requests(), ["response.create", "response.cancel"]);
    let started = event(ModelEvent::ResponseStarted { response: ResponseId::new("r") });
    assert_eq!(scene.items(), [started, done_item("r", ResponseOutcome::Cancelled)]);
}

#[test]
fn a_call_of_a_revoked_answer_that_ends_unannounced_is_not_reported() {
    let mut scene = Scene::new();
    scene.act(ModelAction::Respond { instructions: None });
    scene.act(ModelAction::Cancel);
    scene.hear(&done_with_call("r", "completed", r#"{"callbridge":"1"}"#));
    assert_eq!(scene.items(), [done_item("r", ResponseOutcome::Cancelled)]);
}

#[test]
fn a_call_that_names_no_answer_is_of_the_one_that_runs() {
    let mut scene = Scene::new();
    scene.hear(&created("r"));
    scene.items();
    scene.hear(
        r#"{"type":"response.output_item.done","item":{"id":"i1","type":"function_call",
            "call_id":"c1","name":"weather","arguments":"{}"}}"#,
    );
    assert_eq!(scene.items(), [call_item("c1", "weather", "{}")]);
    scene.act(ModelAction::Cancel);
    scene.hear(
        r#"{"type":"response.output_item.done","item":{"id":"i2","type":"function_call",
            "call_id":"c2","name":"weather","arguments":"{}"}}"#,
    );
    assert_eq!(scene.items(), []);
}

fn call_added(item: &str, call: &str, name: &str) -> String {
    format!(
        r#"{{"type":"response.output_item.added","response_id":"r","output_index":0,"item":
            {{"id":"{item}","type":"function_call","status":"in_progress","call_id":"{call}",
            "name":"{name}","arguments":""}}}}"#
    )
}

fn arguments(item: &str, call: &str, arguments: &str) -> String {
    format!(
        r#"{{"type":"response.function_call_arguments.done","response_id":"r",
            "item_id":"{item}","output_index":0,"call_id":"{call}","arguments":"{arguments}"}}"#
    )
}

/// The end of a call's item, which repeats no arguments.
fn call_done(item: &str, call: &str, name: &str, status: &str) -> String {
    format!(
        r#"{{"type":"response.output_item.done","response_id":"r","output_index":0,"item":
            {{"id":"{item}","type":"function_call","status":"{status}","call_id":"{call}",
            "name":"{name}"}}}}"#
    )
}

/// The end of an answer that asks for a tool.
fn done_with_call(response: &str, status: &str, metadata: &str) -> String {
    format!(
        r#"{{"type":"response.done","response":{{"id":"{response}","status":"{status}",
            "metadata":{metadata},"output":[{{"id":"i1","type":"function_call",
            "status":"completed","call_id":"c1","name":"weather","arguments":"{{}}"}}]}}}}"#
    )
}

fn call_item(id: &str, name: &str, arguments: &str) -> ModelItem {
    event(ModelEvent::ToolCall {
        response: ResponseId::new("r"),
        id: ToolCallId::new(id),
        name: name.to_owned(),
        arguments_json: arguments.to_owned(),
    })
}
