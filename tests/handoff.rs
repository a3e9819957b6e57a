//! Handoff over REST: what moves to the agent that goes on, who is told, and what is refused.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::net::SocketAddr;

use axum::http::{Method, StatusCode};
use callbridge::models::scripted::ScriptedModel;
use futures_util::future::join_all;
use harness::raw::Raw;
use harness::{Answer, House, KEY, SILENT};
use serde_json::{Value, json};

#[tokio::test]
async fn a_new_agent_goes_on_with_all_that_was_said_and_known() {
    let asked = [("system", STATE), ("user", "new-message: Ann wrote: hi")];
    let story = "The conversation so far:\nnew-message: Ann wrote: hi\nYou said: Good morning.";
    let known = [
        ("system", story),
        ("system", STATE),
        ("user", "handoff: You go on in the place of another (billing). {\"mood\":\"angry\"}"),
    ];
    let scripts = [script(&asked, "Good morning."), script(&known, "I am Ben.")];
    let mut model = ScriptedModel::play_each(&[&scripts[0], &scripts[1]]).await.expect("scripts");
    let (house, url) = served(House::with_model(model.url()).await).await;
    let first = house.agent(agent("Ada", &json!({"userId": "u1"}))).await;
    let mut ada = Raw::connect(&url, KEY, &first).await;
    ada.say(event("new-message", "Ann wrote: hi", true)).await;
    ada.status("idle").await;

    let wish = json!({
        "to": agent("Ben", &json!({})), "reason": "billing", "context": {"mood": "angry"},
    });
    let handed = hand_off(&house, &first, wish).await;
    assert_eq!(handed.status, StatusCode::ACCEPTED, "{}", handed.text);
    let second = handed.json()["to"].as_str().expect("an id").to_owned();
    assert_eq!(handed.json(), json!({"from": first, "to": second}));
    told_of_the_handoff(&mut ada, &second).await;
    assert_eq!(read(&house, &first).await.refusal(), (404, "AGENT_NOT_FOUND".into()));
    let held = read(&house, &second).await.json();
    assert_eq!((&held["name"], &held["userId"]), (&json!("Ben"), &json!("u1")));
    let again = agent("Cleo", &json!({"userId": "u1"}));
    let again = house.ask(Method::POST, "/api/agents", Some(again)).await;
    assert_eq!(again.refusal(), (409, "DUPLICATE_SESSION".into()));
    assert_eq!(again.json()["agentId"], second);

    // The word that was handed over is answered as soon as somebody is there to hear it.
    let mut ben = Raw::connect(&url, KEY, &second).await;
    let said = ben.event_where("speak", |event| event["isFinal"] == true).await;
    assert_eq!(said["text"], "I am Ben.");
    house.ask(Method::DELETE, &format!("/api/agents/{second}"), None).await;
    model.finish_each().await.expect("all went by the scripts");
}

#[tokio::test]
async fn an_agent_that_is_there_goes_on_and_keeps_what_it_knew() {
    let known = [("system", STATE), ("user", "greeted: Bo\nnew-message: Cy wrote: and I?")];
    let script = script(&known, "You too.");
    let mut model = ScriptedModel::play(&script).await.expect("a script");
    let (house, url) = served(House::with_model(model.url()).await).await;
    let first = house.agent(agent("Ada", &json!({"userId": "u1"}))).await;
    let second = house.agent(agent("Ben", &json!({}))).await;
    let mut ada = Raw::connect(&url, KEY, &first).await;
    ada.say(event("greeted", "Bo", false)).await;
    ada.settled().await;
    let mut ben = Raw::connect(&url, KEY, &second).await;

    let handed = hand_off(&house, &first, json!({"to": second})).await;
    assert_eq!(handed.json(), json!({"from": first, "to": second}));
    ada.ends().await;
    assert_eq!(read(&house, &second).await.json()["userId"], "u1");
    ben.say(event("new-message", "Cy wrote: and I?", true)).await;
    let said = ben.event_where("speak", |event| event["isFinal"] == true).await;
    assert_eq!(said["text"], "You too.");
    house.ask(Method::DELETE, &format!("/api/agents/{second}"), None).await;
    model.finish().await.expect("all went by the script");
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_leaves_nobody_behind() {
    let (house, url) = served(House::open().await).await;
    let unheld = house.agent(agent("Una", &json!({}))).await;
    let first = house.agent(agent("Ada", &json!({"userId": "u1"}))).await;
    let other = house.agent(agent("Bo", &json!({"userId": "u2"}))).await;
    let mut voiced = agent("Cy", &json!({}));
    voiced["metadata"]["voice"] = json!({"enabled": true});
    voiced["metadata"]["model"] = json!({"profile": SILENT});
    let calling = house.agent(voiced).await;
    let _held = Raw::connect(&url, KEY, &first).await;
    let mut in_call = Raw::connect(&url, KEY, &calling).await;
    in_call.say(json!({"type": "join-room", "roomUrl": "rooms/kitchen"})).await;
    in_call.event("room_joined").await;

    let new = agent("Dee", &json!({}));
    let foreign = agent("Dee", &json!({"userId": "u3"}));
    let mut profile = agent("Dee", &json!({}));
    profile["metadata"]["model"] = json!({"profile": "unheard-of"});
    for (id, to, status, code) in [
        (&unheld, new.clone(), 409, "INVALID_STATE"),
        (&unheld, json!(first), 409, "INVALID_STATE"),
        (&first, json!(first), 400, "VALIDATION_ERROR"),
        (&first, json!("ag_unknown"), 404, "AGENT_NOT_FOUND"),
        (&"ag_unknown".to_owned(), new, 404, "AGENT_NOT_FOUND"),
        (&first, json!(calling), 409, "AGENT_BUSY"),
        (&first, json!(other), 409, "DUPLICATE_SESSION"),
        (&first, foreign, 400, "VALIDATION_ERROR"),
        (&first, profile, 400, "VALIDATION_ERROR"),
        (&first, Value::Null, 400, "VALIDATION_ERROR"),
    ] {
        let refused = hand_off(&house, id, json!({"to": to})).await;
        assert_eq!(refused.refusal(), (status, code.to_owned()), "{id} to {to}");
    }
    assert_eq!(house.gateway.live_agents(), 4);
    assert_eq!(read(&house, &first).await.json()["state"], "connected");
    assert_eq!(read(&house, &calling).await.json()["call"]["stage"], "in_call");
}

#[tokio::test]
async fn of_many_handoffs_at_once_exactly_one_succeeds() {
    let (house, url) = served(House::open().await).await;
    let first = house.agent(agent("Ada", &json!({"userId": "u1"}))).await;
    let mut ada = Raw::connect(&url, KEY, &first).await;
    taken(&house, &first).await;
    let wish = || json!({"to": agent("Ben", &json!({}))});
    let answers = join_all((0..8).map(|_| hand_off(&house, &first, wish()))).await;
    let (done, refused): (Vec<Answer>, Vec<Answer>) =
        answers.into_iter().partition(|answer| answer.status == StatusCode::ACCEPTED);
    assert_eq!((done.len(), house.gateway.live_agents()), (1, 1));
    for answer in refused {
        let (status, code) = answer.refusal();
        assert!(matches!((status, &*code), (409, "INVALID_STATE") | (404, "AGENT_NOT_FOUND")));
    }
    ada.ends().await;
    let list = house.ask(Method::GET, "/api/agents", None).await.json();
    assert_eq!(
        (&list["agents"][0]["id"], &list["agents"][0]["userId"]),
        (&done[0].json()["to"], &json!("u1"))
    );
}

#[tokio::test]
async fn two_agents_that_are_handed_to_each_other_are_not_both_lost() {
    let (house, url) = served(House::open().await).await;
    let (one, two) =
        (house.agent(agent("Ada", &json!({}))).await, house.agent(agent("Ben", &json!({}))).await);
    let _clients = (Raw::connect(&url, KEY, &one).await, Raw::connect(&url, KEY, &two).await);
    taken(&house, &one).await;
    taken(&house, &two).await;
    let answers = tokio::join!(
        hand_off(&house, &one, json!({"to": two})),
        hand_off(&house, &two, json!({"to": one})),
    );
    let taken =
        [&answers.0, &answers.1].into_iter().filter(|one| one.status == StatusCode::ACCEPTED);
    assert_eq!(house.gateway.live_agents(), 2 - taken.count(), "{answers:?}");
    assert!(house.gateway.live_agents() >= 1, "{answers:?}");
}

/// The clients of the first: that it goes, to whom, that it has gone; and the end.
async fn told_of_the_handoff(client: &mut Raw, heir: &str) {
    client.seen.clear();
    assert_eq!(client.event("state").await["to"], "handing_off");
    let told = client.event("handoff").await;
    assert_eq!((&told["toAgentId"], &told["reason"]), (&json!(heir), &json!("billing")));
    let ended = client.event("state").await;
    assert_eq!((&ended["from"], &ended["to"]), (&json!("handing_off"), &json!("ended")));
    client.ends().await;
    assert_eq!(client.seen, ["state", "handoff", "state"]);
}

/// Waits until a client of this agent is known to it.
async fn taken(house: &House, id: &str) {
    while read(house, id).await.json()["state"] != "connected" {
        tokio::task::yield_now().await;
    }
}

async fn served(mut house: House) -> (House, String) {
    let address: SocketAddr = house.serve().await;
    (house, format!("http://{address}"))
}

async fn hand_off(house: &House, id: &str, wish: Value) -> Answer {
    house.ask(Method::POST, &format!("/api/agents/{id}/handoff"), Some(wish)).await
}

async fn read(house: &House, id: &str) -> Answer {
    house.ask(Method::GET, &format!("/api/agents/{id}"), None).await
}

fn agent(name: &str, more: &Value) -> Value {
    merged(&json!({"name": name, "agentType": "HUMA-0.1", "metadata": {}}), more)
}

fn event(name: &str, description: &str, triggering: bool) -> Value {
    json!({
        "type": "context-update", "triggering": triggering, "name": name,
        "context": {"topic": "cats"}, "description": description,
    })
}

/// A text session that is told these texts, by these roles, and then writes one answer.
fn script(told: &[(&str, &str)], answer: &str) -> String {
    let session = json!({"type": "realtime", "id": "sess_1"});
    let mut lines = vec![
        send("session.created", &json!({"session": session})),
        json!({"expect": "session.update", "with": {"session": {"output_modalities": ["text"]}}}),
        send("session.updated", &json!({"session": session})),
    ];
    lines.extend(told.iter().map(|(role, text)| {
        let content = json!([{"type": "input_text", "text": text}]);
        let item = json!({"item": {"role": role, "content": content}});
        json!({"expect": "conversation.item.create", "with": item})
    }));
    let response = |status: &str| {
        let metadata = json!({"callbridge": "1"});
        json!({"response": {"id": "resp_1", "status": status, "output": [], "metadata": metadata}})
    };
    let item = json!({"id": "item_1", "type": "message", "role": "assistant", "content": []});
    let place = json!({"response_id": "resp_1", "output_index": 0});
    lines.extend([
        json!({"expect": "response.create"}),
        send("response.created", &response("in_progress")),
        send("response.output_item.added", &merged(&place, &json!({"item": item}))),
        send(
            "response.output_text.done",
            &merged(&place, &json!({"item_id": "item_1", "content_index": 0, "text": answer})),
        ),
        send("response.done", &response("completed")),
    ]);
    lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

fn send(kind: &str, fields: &Value) -> Value {
    json!({"send": merged(&json!({"type": kind, "event_id": "e"}), fields)})
}

fn merged(one: &Value, more: &Value) -> Value {
    let mut fields = one.as_object().expect("an object").clone();
    fields.extend(more.as_object().expect("an object").clone());
    fields.into()
}

const STATE: &str = "The current state: {\"topic\":\"cats\"}";
