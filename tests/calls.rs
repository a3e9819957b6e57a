//! The archive over REST: what is kept of a call, for whom, for how long, and after a crash.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use callbridge::agent::{Line, Participant, RecordEntry, ToolOutcome, ToolRecord, TurnRecord};
use callbridge::ids::{AgentId, CallId, ParticipantId, ToolCallId, UserId};
use callbridge::privacy::{Pii, Secret};
use callbridge::store::{CallEntry, Store};
use callbridge::sys::clock;
use harness::{House, KEY};
use serde_json::{Value, json};

/// When the calls of these tests began, where it does not matter: nothing is swept while a house
/// stands for less than an hour.
const NEW_YEAR_MS: u64 = 1_767_225_600_000;

#[tokio::test]
async fn a_past_call_is_listed_and_read_in_full() {
    let house = House::open().await;
    write(house.gateway.store(), "call_1", NEW_YEAR_MS, full_call()).await;
    let summary = json!({
        "id": "call_1", "agentId": "ag_2", "agentName": "Ida", "userId": "u1",
        "roomUrl": "rooms/hall", "startedAt": "2026-01-01T00:00:00.000Z",
        "endedAt": "2026-01-01T00:00:07.000Z", "durationMs": 7_000, "reason": "left",
    });
    let list = house.ask(Method::GET, "/api/calls", None).await.json();
    assert_eq!(list, json!({"calls": [summary], "nextCursor": null}));

    let mut whole = summary;
    whole["participants"] = json!([{"id": "p_1", "name": "Ann"}]);
    whole["transcript"] = json!([
        {"atMs": 300, "participantId": "p_1", "speaker": "participant", "text": "what is it?"},
        {"atMs": 900, "participantId": null, "speaker": "agent", "text": "a heron"},
    ]);
    whole["turns"] = json!([{
        "participantId": "p_1", "speechStartMs": 300, "speechEndMs": 500, "turnEndMs": 600,
        "transcriptMs": 650, "answerMs": 700, "firstAudioMs": 900, "lastAudioMs": 1_500,
        "latencyMs": 400, "heardMs": 600, "interrupted": true,
        "latency": {
            "totalMs": 400, "endOfTurnMs": 100, "endOfTurnBy": "gateway", "modelMs": 298,
            "gatewayUs": {"uplink": 310, "downlink": 1_250},
        },
    }]);
    whole["toolCalls"] = json!([{
        "toolCallId": "tc_1", "toolName": "look_up", "arguments": {"word": "heron"},
        "outcome": "completed", "output": "a bird", "askedMs": 700, "tookMs": 20,
    }]);
    whole["handoffs"] = json!([{
        "fromAgentId": "ag_1", "toAgentId": "ag_2", "reason": "billing", "atMs": 2_000,
    }]);
    whole["recorded"] = json!(false);
    assert_eq!(house.ask(Method::GET, "/api/calls/call_1", None).await.json(), whole);
}

#[tokio::test]
async fn what_did_not_happen_is_null_and_a_gap_is_told() {
    let house = House::open().await;
    let turn = RecordEntry::Turn(TurnRecord::default());
    let mut entries = entries("call_1", NEW_YEAR_MS, vec![began(), turn, ended()]);
    for entry in &mut entries {
        entry.user_id = None;
    }
    entries[1].follows_a_gap = true;
    house.gateway.store().record(&entries).await.expect("written");
    let call = house.ask(Method::GET, "/api/calls/call_1", None).await.json();
    assert_eq!((&call["incomplete"], &call["userId"]), (&json!(true), &Value::Null));
    let turn = &call["turns"][0];
    assert_eq!((&turn["latencyMs"], &turn["participantId"]), (&Value::Null, &Value::Null));
    assert_eq!(turn.get("latency"), None);
    assert_eq!((&turn["heardMs"], &turn["interrupted"]), (&json!(0), &json!(false)));
}

#[tokio::test]
async fn an_erased_call_is_gone() {
    let house = House::open().await;
    write(house.gateway.store(), "call_1", NEW_YEAR_MS, vec![began(), ended()]).await;
    let erased = house.ask(Method::DELETE, "/api/calls/call_1", None).await;
    assert_eq!((erased.status, erased.text.as_str()), (StatusCode::NO_CONTENT, ""));
    for method in [Method::GET, Method::DELETE] {
        let gone = house.ask(method, "/api/calls/call_1", None).await;
        assert_eq!(gone.refusal(), (404, "NOT_FOUND".into()));
    }
    let list = house.ask(Method::GET, "/api/calls", None).await.json();
    assert_eq!(list["calls"], json!([]));
}

#[tokio::test]
async fn a_long_list_of_calls_comes_in_pages_newest_first() {
    let house = House::open().await;
    for (id, started_at_ms) in [("call_1", 1), ("call_2", 2), ("call_3", 3)] {
        write(house.gateway.store(), id, NEW_YEAR_MS + started_at_ms, vec![began(), ended()]).await;
    }
    let first = house.ask(Method::GET, "/api/calls?limit=2", None).await.json();
    assert_eq!(ids(&first), ["call_3", "call_2"]);
    let cursor = first["nextCursor"].as_str().expect("more");
    let path = format!("/api/calls?limit=2&cursor={cursor}");
    let second = house.ask(Method::GET, &path, None).await.json();
    assert_eq!((ids(&second), &second["nextCursor"]), (vec!["call_1"], &Value::Null));
}

#[tokio::test]
async fn the_calls_of_one_agent_are_listed_for_each_that_was_in_them() {
    let house = House::open().await;
    write(house.gateway.store(), "call_1", NEW_YEAR_MS, full_call()).await;
    write(house.gateway.store(), "call_2", NEW_YEAR_MS + 1, vec![began(), ended()]).await;
    for (agent, expected) in
        [("ag_1", vec!["call_2", "call_1"]), ("ag_2", vec!["call_1"]), ("ag_3", vec![])]
    {
        let path = format!("/api/calls?agentId={agent}");
        let list = house.ask(Method::GET, &path, None).await.json();
        assert_eq!(ids(&list), expected, "{agent}");
    }
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let house = House::open().await;
    for query in ["limit=0", "limit=101", "limit=x", "cursor=x", "limit=1&limit=2"] {
        let answer = house.ask(Method::GET, &format!("/api/calls?{query}"), None).await;
        assert_eq!(answer.refusal(), (400, "VALIDATION_ERROR".into()), "{query}");
    }
}

#[tokio::test]
async fn anothers_call_is_as_good_as_none() {
    let house = House::open().await;
    write(house.gateway.store(), "call_1", NEW_YEAR_MS, vec![began(), ended()]).await;
    let store = house.gateway.store();
    let other = store.create_user("a@b.c", None, 1).await.expect("made").id;
    let key = store.create_key(&other, None, None, 1).await.expect("made").expect("a key");
    let ask = |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("x-api-key", key.text.expose());
        house.send(request.body(Body::empty()).expect("a request"))
    };
    for method in [Method::GET, Method::DELETE] {
        let answer = ask(method, "/api/calls/call_1").await;
        assert_eq!(answer.refusal(), (404, "NOT_FOUND".into()));
    }
    assert_eq!(ask(Method::GET, "/api/calls").await.json()["calls"], json!([]));
    assert_eq!(ask(Method::GET, "/api/calls?agentId=ag_1").await.json()["calls"], json!([]));
    let own = house.ask(Method::GET, "/api/calls/call_1", None).await;
    assert_eq!(own.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_key_no_call_is_shown() {
    let house = House::open().await;
    for (method, path) in [
        (Method::GET, "/api/calls"),
        (Method::GET, "/api/calls/call_1"),
        (Method::DELETE, "/api/calls/call_1"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        let answer = house.send(request.expect("a request")).await;
        assert_eq!(answer.refusal(), (401, "UNAUTHORIZED".into()));
    }
}

#[tokio::test]
async fn a_call_that_a_crash_has_cut_off_is_closed_when_the_gateway_starts_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = in_file(folder.path()).await;
    let begun_at_ms = clock::unix_ms();
    let said = RecordEntry::Line(Line {
        participant: None,
        text: Pii::new("good morning".into()),
        at_ms: 900,
    });
    write(&store, "call_1", begun_at_ms, vec![began(), said]).await;
    // The process ends here, and nobody tells the store.
    drop(store);

    let house = House::over(in_file(folder.path()).await).await;
    let call = house.ask(Method::GET, "/api/calls/call_1", None).await.json();
    assert_eq!(call["reason"], "server crashed");
    assert_eq!(call["durationMs"], 1_000, "it ended at its last entry");
    assert_eq!(call["transcript"][0]["text"], "good morning");
}

#[tokio::test]
async fn calls_over_their_time_are_forgotten_when_the_gateway_starts() {
    const DAY_MS: u64 = 86_400_000;
    let store = Store::open("sqlite::memory:").await.expect("a store in memory");
    store.ensure_bootstrap(&Secret::new(KEY), 1).await.expect("the bootstrap key");
    let now_ms = clock::unix_ms();
    write(&store, "call_1", now_ms - 31 * DAY_MS, vec![began(), ended()]).await;
    write(&store, "call_2", now_ms - 29 * DAY_MS, vec![began(), ended()]).await;
    let house = House::over(store).await;
    let list = house.ask(Method::GET, "/api/calls", None).await.json();
    assert_eq!(ids(&list), ["call_2"]);
}

/// Writes what happened in a call of `bootstrap`, one entry a second.
async fn write(store: &Store, call: &str, begun_at_ms: u64, what: Vec<RecordEntry>) {
    store.record(&entries(call, begun_at_ms, what)).await.expect("written");
}

fn entries(call: &str, begun_at_ms: u64, what: Vec<RecordEntry>) -> Vec<CallEntry> {
    let times = (0..).map(|second| begun_at_ms + 1_000 * second);
    let entry = |(entry, at_ms)| CallEntry {
        call: CallId::new(call),
        owner: UserId::new("usr_bootstrap"),
        agent: AgentId::new("ag_1"),
        agent_name: "Ida".into(),
        user_id: Some("u1".into()),
        at_ms,
        follows_a_gap: false,
        entry,
    };
    what.into_iter().zip(times).map(entry).collect()
}

/// One entry of each kind, over seven seconds.
fn full_call() -> Vec<RecordEntry> {
    let ann = ParticipantId::new("p_1");
    vec![
        began(),
        RecordEntry::Participant(Participant { id: ann.clone(), name: "Ann".into() }),
        RecordEntry::Line(Line {
            participant: Some(ann.clone()),
            text: Pii::new("what is it?".into()),
            at_ms: 300,
        }),
        RecordEntry::Tool(ToolRecord {
            id: ToolCallId::new("tc_1"),
            name: "look_up".into(),
            arguments_json: Pii::new(r#"{"word":"heron"}"#.into()),
            outcome: ToolOutcome::Completed,
            output: Pii::new("a bird".into()),
            asked_ms: 700,
            took_ms: 20,
        }),
        RecordEntry::Line(Line { participant: None, text: Pii::new("a heron".into()), at_ms: 900 }),
        RecordEntry::Turn(TurnRecord {
            participant: Some(ann),
            speech_start_ms: Some(300),
            speech_end_ms: Some(500),
            turn_end_ms: Some(600),
            transcript_ms: Some(650),
            answer_ms: Some(700),
            first_audio_ms: Some(900),
            last_audio_ms: Some(1_500),
            heard_ms: 600,
            interrupted: true,
            turn_end_is_ours: true,
            uplink_us: Some(310),
            downlink_us: Some(1_250),
        }),
        RecordEntry::HandedOff { to: AgentId::new("ag_2"), reason: "billing".into(), at_ms: 2_000 },
        ended(),
    ]
}

fn began() -> RecordEntry {
    RecordEntry::Began { room_url: "rooms/hall".into(), participants: Vec::new() }
}

fn ended() -> RecordEntry {
    RecordEntry::Ended { reason: "left".into(), at_ms: 7_000 }
}

fn ids(list: &Value) -> Vec<&str> {
    let calls = list["calls"].as_array().expect("calls").iter();
    calls.map(|call| call["id"].as_str().expect("an id")).collect()
}

async fn in_file(folder: &std::path::Path) -> Store {
    let url = format!("sqlite:{}", folder.join("callbridge.db").display());
    let store = Store::open(&url).await.expect("a store in a file");
    store.ensure_bootstrap(&Secret::new(KEY), 1).await.expect("the bootstrap key");
    store
}
