//! Rooms over REST: made, kept, locked, ended; and agents at their doors.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's helpers may fail the test")]

mod agent;
mod asking;
#[path = "../harness/mod.rs"]
mod harness;

use std::time::Duration;

use agent::Agent;
use asking::{as_bearer, call, first_caption, key_of_another, offer, patch};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use callbridge::agent::Notification;
use callbridge::api::{IceServers, TurnServers};
use callbridge::ids::UserId;
use callbridge::privacy::Secret;
use callbridge::runtime::{NewRoom, ROOMS_PER_OWNER_MAX};
use callbridge::store::{RoomRecord, Store};
use callbridge::sys::clock;
use harness::{House, KEY};
use serde_json::{Value, json};

#[tokio::test]
async fn a_room_is_made_read_listed_and_ended() {
    let house = closed_house().await;
    let body = json!({"name": "office", "ttlSeconds": 3600});
    let made = house.ask(Method::POST, "/api/rooms", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.header("location"), "/api/rooms/office");
    let mut room = made.json();
    let token = room["token"].as_str().expect("a token").to_owned();
    assert!(token.starts_with("rt_") && token.len() == 35, "{token}");
    assert_eq!((&room["name"], &room["open"]), (&json!("office"), &json!(false)));
    assert_eq!(room["url"], "/rooms/office");
    let times = ["createdAt", "expiresAt"].map(|field| instant(&room[field]));
    assert_eq!(times[1].as_millisecond() - times[0].as_millisecond(), 3_600_000);

    room.as_object_mut().expect("an object").remove("token");
    let path = "/api/rooms/office";
    assert_eq!(house.ask(Method::GET, path, None).await.json(), room, "the token is told once");
    let list = house.ask(Method::GET, "/api/rooms", None).await.json();
    assert_eq!(list, json!({"rooms": [room], "nextCursor": null}));

    let ended = house.ask(Method::DELETE, path, None).await;
    assert_eq!((ended.status, ended.text.as_str()), (StatusCode::NO_CONTENT, ""));
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(house.ask(method, path, None).await.refusal(), not_found());
    }
    assert_eq!(house.ask(Method::GET, "/rooms/office", None).await.refusal(), not_found());
}

#[tokio::test]
async fn a_room_may_be_asked_for_with_nothing() {
    let house = closed_house().await;
    let made = house.ask(Method::POST, "/api/rooms", None).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let room = made.json();
    let name = room["name"].as_str().expect("a name of ours");
    assert_eq!(name.split('-').count(), 3, "{name}");
    assert_eq!((&room["expiresAt"], &room["open"]), (&Value::Null, &json!(false)));
    assert!(room["token"].is_string());

    let open = make(&house, json!({"open": true})).await;
    assert_eq!((&open["token"], &open["open"]), (&Value::Null, &json!(true)));
    assert_ne!(open["name"], room["name"]);
}

#[tokio::test]
async fn whoever_may_enter_is_told_of_servers_for_ice() {
    let house = House::recommending(servers()).await;
    let body = json!({"name": "office"});
    let made = house.ask(Method::POST, "/api/rooms", Some(body)).await.json();
    let token = made["token"].as_str().expect("a token");
    let told = before_entering(&house, &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "<stun:s.example>; rel=\"ice-server\"");
    let turn = "<turn:t.example>; rel=\"ice-server\"; username=\"";
    assert!(told[1].starts_with(turn), "{told:?}");

    let (_call, answer) = call(&house, "office", Some(token)).await;
    let links: Vec<_> = answer.headers.get_all("link").iter().collect();
    assert_eq!(links.len(), 2, "{links:?}");
    let who = format!(":{}\"; credential=\"", answer.header("participant-id"));
    assert!(links[1].to_str().expect("text").contains(&who), "{links:?}");

    let stranger = [("authorization", "Bearer rt_1")];
    let preflight = [("access-control-request-method", "POST")];
    for headers in [&[][..], &stranger, &preflight] {
        assert_eq!(before_entering(&house, headers).await, Vec::<String>::new(), "{headers:?}");
    }
}

/// The servers that are told of to whoever asks before entering the office.
async fn before_entering(house: &House, headers: &[(&str, &str)]) -> Vec<String> {
    let request = Request::builder().method(Method::OPTIONS).uri("/rooms/office/whip");
    let with = |request: axum::http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    let request = headers.iter().fold(request, with);
    let answer = house.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let links = answer.headers.get_all("link").iter();
    links.map(|link| link.to_str().expect("text").to_owned()).collect()
}

fn servers() -> IceServers {
    let secret = Secret::new("north");
    let turn =
        TurnServers { urls: vec!["turn:t.example".into()], secret, ttl: Duration::from_hours(1) };
    IceServers { stun: vec!["stun:s.example".into()], turn: Some(turn) }
}

#[tokio::test]
async fn a_rooms_url_is_where_it_was_made() {
    let house = closed_house().await;
    let request = Request::builder().method(Method::POST).uri("/api/rooms");
    let request = request.header("x-api-key", KEY).header("host", "call.example");
    // Nobody is trusted to say this.
    let request = request.header("x-forwarded-proto", "https");
    let body = Body::from(json!({"name": "office"}).to_string());
    let made = house.send(request.body(body).expect("a request")).await;
    assert_eq!(made.json()["url"], "http://call.example/rooms/office");
}

#[tokio::test]
async fn mistakes_of_a_wish_are_named() {
    let house = closed_house().await;
    let body = json!({"name": "no way", "ttlSeconds": 0, "open": "yes"});
    let refused = house.ask(Method::POST, "/api/rooms", Some(body)).await;
    assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".into()));
    let paths: Vec<_> = (0..3).map(|at| refused.json()["details"][at]["path"].clone()).collect();
    assert_eq!(paths, ["name", "ttlSeconds", "open"]);
    let list = house.ask(Method::GET, "/api/rooms?limit=0", None).await;
    assert_eq!(list.refusal(), (400, "VALIDATION_ERROR".into()));
    let list = house.ask(Method::GET, "/api/rooms?cursor=x", None).await;
    assert_eq!(list.refusal(), (400, "VALIDATION_ERROR".into()));
}

#[tokio::test]
async fn a_long_list_of_rooms_comes_in_pages() {
    let house = closed_house().await;
    for name in ["a", "b", "c"] {
        make(&house, json!({"name": name})).await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/rooms?limit=2".to_owned();
    loop {
        let page = house.ask(Method::GET, &path, None).await.json();
        let rooms = page["rooms"].as_array().expect("rooms").iter();
        seen.extend(rooms.map(|room| room["name"].as_str().expect("a name").to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/api/rooms?limit=2&cursor={cursor}");
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "c"]);
}

#[tokio::test]
async fn anothers_room_is_as_good_as_none_but_its_name_is_taken() {
    let house = closed_house().await;
    make(&house, json!({"name": "office"})).await;
    let other = key_of_another(&house).await;
    for method in [Method::GET, Method::DELETE] {
        let answer = as_bearer(&house, &other, method, "/api/rooms/office", json!({})).await;
        assert_eq!(answer.refusal(), not_found());
    }
    let list = as_bearer(&house, &other, Method::GET, "/api/rooms", json!({})).await.json();
    assert_eq!(list["rooms"], json!([]));
    let body = json!({"name": "office"});
    let taken = as_bearer(&house, &other, Method::POST, "/api/rooms", body.clone()).await;
    assert_eq!(taken.refusal(), (409, "ROOM_EXISTS".into()));
    let taken = house.ask(Method::POST, "/api/rooms", Some(body)).await;
    assert_eq!(taken.refusal(), (409, "ROOM_EXISTS".into()));
    let nobody = as_bearer(&house, "wrong", Method::POST, "/api/rooms", json!({})).await;
    assert_eq!(nobody.refusal(), (401, "UNAUTHORIZED".into()));
}

#[tokio::test]
async fn of_a_hundred_who_want_one_name_one_gets_it() {
    let house = closed_house().await;
    let wishes = (0..100).map(|_| house.ask(Method::POST, "/api/rooms", Some(office())));
    let answers = futures_util::future::join_all(wishes).await;
    let made = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    let taken = answers.iter().filter(|answer| answer.status == StatusCode::CONFLICT).count();
    assert_eq!((made, taken), (1, 99));
}

#[tokio::test]
async fn an_owner_has_so_many_rooms_and_no_more() {
    let house = closed_house().await;
    let owner = UserId::new("usr_bootstrap");
    let wishes = (0..ROOMS_PER_OWNER_MAX)
        .map(|_| house.gateway.create_room(&owner, NewRoom { name: None, ttl: None, open: false }));
    let made = futures_util::future::join_all(wishes).await;
    assert!(made.iter().all(Result::is_ok));
    let refused = house.ask(Method::POST, "/api/rooms", None).await;
    assert_eq!(refused.refusal(), (503, "CAPACITY".into()));
    assert!(!refused.header("retry-after").is_empty());
    let name = &made[0].as_ref().expect("made").room.name;
    house.ask(Method::DELETE, &format!("/api/rooms/{name}"), None).await;
    make(&house, json!({})).await;
}

#[tokio::test]
async fn a_room_made_on_first_use_is_taken_over_only_if_nobody_is_inside() {
    let house = House::open().await;
    let mut agent = Agent::of(&house).await;
    agent.join("office", None).await;
    agent.told("room_joined").await;
    let occupied = house.ask(Method::POST, "/api/rooms", Some(office())).await;
    assert_eq!(occupied.refusal(), (409, "ROOM_EXISTS".into()));
    let list = house.ask(Method::GET, "/api/rooms", None).await.json();
    assert_eq!(list["rooms"], json!([]), "nothing is left of the attempt");

    let page = house.ask(Method::GET, "/rooms/kitchen", None).await;
    assert!(page.text.contains(r#"data-open="true""#));
    make(&house, json!({"name": "kitchen"})).await;
    let page = house.ask(Method::GET, "/rooms/kitchen", None).await;
    assert!(page.text.contains(r#"data-open="false""#));
}

#[tokio::test]
async fn agents_come_in_with_the_token_and_no_other_way() {
    let house = closed_house().await;
    let token = token(&make(&house, office()).await);
    let mut agent = Agent::of(&house).await;
    for (room, token, code) in [
        ("office", None, "ROOM_UNAUTHORIZED"),
        ("office", Some("rt_wrong"), "ROOM_UNAUTHORIZED"),
        ("nowhere", Some(token.as_str()), "ROOM_NOT_FOUND"),
    ] {
        agent.join(room, token).await;
        assert_eq!(agent.refused().await, code, "{room} {token:?}");
    }
    agent.join("office", Some(&token)).await;
    agent.told("room_joined").await;
}

#[tokio::test]
async fn deleting_a_room_puts_everyone_out() {
    let house = closed_house().await;
    let token = token(&make(&house, office()).await);
    let mut agent = Agent::of(&house).await;
    agent.join("office", Some(&token)).await;
    agent.told("room_joined").await;
    let (mut call, _) = call(&house, "office", Some(&token)).await;
    agent.told("participant_joined").await;

    let ended = house.ask(Method::DELETE, "/api/rooms/office", None).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    agent.told("room_left").await;
    in_time(async { while call.packets.recv().await.is_some() {} }).await;
    agent.join("office", Some(&token)).await;
    assert_eq!(agent.refused().await, "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn a_room_ends_in_time_with_everyone_in_it() {
    let house = closed_house().await;
    let made_at = clock::now();
    let room = make(&house, json!({"name": "office", "ttlSeconds": 1})).await;
    let lasting = make(&house, json!({"name": "lasting", "ttlSeconds": 3600})).await;
    let mut agent = Agent::of(&house).await;
    agent.join("office", Some(&token(&room))).await;
    agent.told("room_joined").await;
    agent.told("room_left").await;
    let lived = clock::now() - made_at;
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&lived), "{lived:?}");
    // The row goes right after everyone has gone; only then is the name free.
    let again = async {
        while house.ask(Method::POST, "/api/rooms", Some(office())).await.status
            != StatusCode::CREATED
        {
            tokio::task::yield_now().await;
        }
    };
    in_time(again).await;
    let kept = house.ask(Method::GET, "/api/rooms/lasting", None).await;
    assert_eq!(kept.json()["expiresAt"], lasting["expiresAt"]);
}

#[tokio::test]
async fn rooms_are_there_after_a_restart_with_the_same_token_and_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("callbridge.db").display());
    let house = House::locked(store(&database).await).await;
    let room = make(&house, office()).await;
    make(&house, json!({"name": "open", "open": true})).await;
    let overdue = RoomRecord {
        name: "overdue".into(),
        owner: UserId::new("usr_bootstrap"),
        token: None,
        created_at_ms: 1,
        expires_at_ms: Some(2),
    };
    house.gateway.store().insert_room(&overdue).await.expect("kept");
    let mut agent = Agent::of(&house).await;
    agent.join("office", Some(&token(&room))).await;
    agent.told("room_joined").await;
    // As with a crash, nothing is told to anyone, and nothing is flushed.
    drop((agent, house));

    let house = House::locked(store(&database).await).await;
    let list = house.ask(Method::GET, "/api/rooms", None).await.json();
    let rooms = list["rooms"].as_array().expect("rooms").iter();
    let mut names: Vec<_> = rooms.map(|room| room["name"].as_str().expect("a name")).collect();
    names.sort_unstable();
    assert_eq!(names, ["office", "open"]);
    assert_eq!(house.ask(Method::GET, "/rooms/overdue", None).await.refusal(), not_found());
    let first = first_caption(&house, "/rooms/office/events", Some(&token(&room))).await;
    assert_eq!(first, r#"{"type":"participants","participants":[]}"#);
    let open = house.ask(Method::GET, "/rooms/open", None).await;
    assert!(open.text.contains(r#"data-open="true""#));
    assert_eq!(offer(&house, "office", Some("rt_wrong"), "x").await.status, 401);
    call(&house, "office", Some(&token(&room))).await;
}

#[tokio::test]
async fn no_token_lies_in_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("callbridge.db");
    let house = House::locked(store(&format!("sqlite:{}", file.display())).await).await;
    let token = token(&make(&house, office()).await);
    house.gateway.drain(Duration::ZERO).await;
    let bytes = std::fs::read(file).expect("read");
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("office") && !holds(&token) && !holds(&token[3..]));
}

#[tokio::test]
async fn a_drain_closes_the_rooms_and_takes_no_wish() {
    let house = closed_house().await;
    let token = token(&make(&house, office()).await);
    let (mut call, _) = call(&house, "office", Some(&token)).await;
    house.gateway.drain(Duration::ZERO).await;
    in_time(async { while call.packets.recv().await.is_some() {} }).await;
    let refused = house.ask(Method::POST, "/api/rooms", None).await;
    assert_eq!(refused.refusal(), (503, "SERVER_SHUTDOWN".into()));
}

#[tokio::test]
async fn people_come_in_with_the_token_and_no_other_way() {
    let house = closed_house().await;
    let token = token(&make(&house, office()).await);
    let page = house.ask(Method::GET, "/rooms/office", None).await;
    assert!(page.text.contains(r#"data-open="false""#), "the page asks for the token");
    assert!(!page.text.contains(&token));
    let unauthorized = (401, "ROOM_UNAUTHORIZED".to_owned());
    assert_eq!(offer(&house, "office", None, "v=0").await.refusal(), unauthorized);
    assert_eq!(offer(&house, "office", Some("rt_wrong"), "v=0").await.refusal(), unauthorized);
    let query = format!("/rooms/office/whip?token={token}");
    let asked = Request::builder().method(Method::POST).uri(query);
    let asked = asked.header("content-type", "application/sdp").body(Body::from("v=0"));
    let in_query = house.send(asked.expect("a request")).await;
    assert_eq!(in_query.refusal(), unauthorized, "a query reaches logs, and is not looked at");
    assert_eq!(offer(&house, "nowhere", Some(&token), "v=0").await.refusal(), not_found());
    call(&house, "office", Some(&token)).await;
}

#[tokio::test]
async fn what_all_can_see_of_a_participant_opens_nothing() {
    let house = closed_house().await;
    let token = token(&make(&house, office()).await);
    let (_call, entered) = call(&house, "office", Some(&token)).await;
    let location = entered.header("location").to_owned();
    let id = entered.header("participant-id").to_owned();
    let (path, key) = location.rsplit_once('/').expect("a path");
    assert_eq!(path, "/rooms/office/participants");
    assert_ne!(key, id);

    let public = format!("{path}/{id}");
    assert_eq!(house.ask(Method::DELETE, &public, None).await.refusal(), not_found());
    assert_eq!(patch(&house, &public, None).await.refusal(), not_found());
    let events = "/rooms/office/events";
    let unauthorized = (401, "ROOM_UNAUTHORIZED".to_owned());
    for query in [String::new(), format!("?participant={id}"), format!("?token={token}")] {
        let refused = house.ask(Method::GET, &format!("{events}{query}"), None).await;
        assert_eq!(refused.refusal(), unauthorized, "{query}");
    }
    let mine = first_caption(&house, &format!("{events}?participant={key}"), None).await;
    assert!(!mine.contains(key), "nobody is told of another's key: {mine}");

    assert_eq!(patch(&house, &location, Some("\"another\"")).await.refusal(), outdated());
    assert_eq!(patch(&house, &location, Some(entered.header("etag"))).await.status, 204);
    assert_eq!(patch(&house, &location, Some("*")).await.status, 204);
    assert_eq!(patch(&house, &location, None).await.status, 204);
    assert_eq!(house.ask(Method::DELETE, &location, None).await.status, StatusCode::OK);
    assert_eq!(house.ask(Method::DELETE, &location, None).await.refusal(), not_found());
}

#[tokio::test]
async fn agents_know_a_participant_by_the_id_in_its_location() {
    let house = closed_house().await;
    let token = token(&make(&house, office()).await);
    let mut agent = Agent::of(&house).await;
    agent.join("office", Some(&token)).await;
    agent.told("room_joined").await;
    let (_call, entered) = call(&house, "office", Some(&token)).await;
    let Notification::ParticipantJoined(ann) = agent.told("participant_joined").await else {
        panic!("somebody has come in")
    };
    let (_, id) = entered.header("location").rsplit_once('/').expect("a path");
    assert_eq!((ann.id.as_str(), ann.name.as_str()), (id, "Ann"));
    assert_ne!(id, entered.header("participant-id"), "others know them by another name");
}

async fn closed_house() -> House {
    House::locked(store("sqlite::memory:").await).await
}

async fn store(database: &str) -> Store {
    Store::open(database).await.expect("a store")
}

fn office() -> Value {
    json!({"name": "office"})
}

async fn make(house: &House, body: Value) -> Value {
    let made = house.ask(Method::POST, "/api/rooms", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    made.json()
}

fn token(room: &Value) -> String {
    room["token"].as_str().expect("a token").to_owned()
}

fn not_found() -> (u16, String) {
    (404, "ROOM_NOT_FOUND".into())
}

fn outdated() -> (u16, String) {
    (412, "PRECONDITION_FAILED".into())
}

fn instant(value: &Value) -> jiff::Timestamp {
    value.as_str().expect("a time").parse().expect("ISO-8601")
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens in time")
}
