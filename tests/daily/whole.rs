//! A whole gateway whose agent is brought into rooms of Daily, and what its client is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use callbridge::agent::{Command, JoinRequest, Limits, Notification};
use callbridge::api::{self, ApiConfig};
use callbridge::ids::{AgentId, CallId, UserId};
use callbridge::models::ModelProfile;
use callbridge::privacy::Secret;
use callbridge::rooms::{DailyConfig, PlacesConfig, Rooms, RoomsConfig};
use callbridge::runtime::{Gateway, Models, Shell, Subscription};
use callbridge::store::Store;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::guest::{Python, in_time};

#[tokio::test]
async fn a_client_is_told_who_is_in_the_room_and_why_it_was_left() {
    let mut house = House::open(Some(Python::StandIn)).await;
    house.join("https://stand-in.daily.co/end/ejected").await;
    let Notification::RoomJoined { participants, .. } = house.told("room_joined").await else {
        panic!("a joining is a joining")
    };
    assert_eq!(participants[0].name, "Ann");
    let Notification::RoomLeft { reason, .. } = house.told("room_left").await else {
        panic!("a leaving is a leaving")
    };
    assert_eq!(reason, "the room has ended the call: sent out: so it is");
}

#[tokio::test]
async fn a_client_is_told_why_the_room_cannot_be_had() {
    let mut house = House::open(Some(Python::StandIn)).await;
    house.join("https://stand-in.daily.co/refuse/full").await;
    assert_eq!(house.refused().await, "ROOM_FULL");
    // And the agent may try again.
    house.join("https://stand-in.daily.co/crash").await;
    house.told("room_joined").await;
    house.told("room_left").await;
}

#[tokio::test]
async fn without_dailys_package_its_rooms_are_not_taken() {
    let mut house = House::open(None).await;
    house.join("https://stand-in.daily.co/stay").await;
    assert_eq!(house.refused().await, "UNSUPPORTED_ROOM");
}

struct House {
    gateway: Gateway,
    agent: AgentId,
    client: Subscription,
    calls: u32,
    _mind: std::net::TcpListener,
}

impl House {
    async fn open(python: Option<Python>) -> Self {
        let store = Store::open("sqlite::memory:").await.unwrap();
        store.ensure_bootstrap(&Secret::new(KEY), 1).await.unwrap();
        let rooms = Rooms::new(&RoomsConfig {
            media_listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            media_tcp_listen: None,
            public_ip: None,
            open: true,
        });
        // A model that never answers.
        let mind = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("ws://{}", mind.local_addr().unwrap());
        let silent = ModelProfile::new("silent", url);
        let profiles = BTreeMap::from([("silent".to_owned(), silent)]).into_iter().collect();
        let models = Models { default: "silent".into(), profiles };
        let daily = python.map(|python| DailyConfig { python: python.path() });
        let shell = Shell::new(rooms.unwrap(), models, Limits::default());
        let shell = shell.visiting(PlacesConfig { files: false, daily });
        let gateway = Gateway::start(shell, store).await.unwrap();
        let agent = AgentId::new(make_agent(&gateway).await);
        let client = gateway.subscribe(&UserId::new("usr_bootstrap"), &agent).await.unwrap();
        Self { gateway, agent, client, calls: 0, _mind: mind }
    }

    async fn join(&mut self, room: &str) {
        self.calls += 1;
        let request = JoinRequest {
            call: CallId::new(format!("call_{}", self.calls)),
            room_url: room.into(),
            token: None,
            participant_name: None,
        };
        let taken = self.gateway.command(&self.agent, Command::Join(request)).await;
        taken.expect("the agent is in no call");
    }

    /// Waits until the client is told this.
    async fn told(&mut self, kind: &str) -> Notification {
        in_time(async {
            loop {
                let stamped = self.client.notifications.recv().await.expect("the agent lives");
                if kind_of(&stamped.notification) == kind {
                    return stamped.notification.clone();
                }
            }
        })
        .await
    }

    async fn refused(&mut self) -> &'static str {
        let Notification::Error { code, .. } = self.told("error").await else {
            panic!("an error is an error")
        };
        code
    }
}

async fn make_agent(gateway: &Gateway) -> String {
    let config = ApiConfig::default();
    let router = api::router(gateway.clone(), config);
    let body =
        json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {"voice": {"enabled": true}}});
    let request = Request::post("/api/agents")
        .header("x-api-key", KEY)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    let made = router.oneshot(request.unwrap()).await.unwrap();
    let bytes = to_bytes(made.into_body(), 1 << 20).await.unwrap();
    let made: Value = serde_json::from_slice(&bytes).unwrap();
    made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "these tests wait for few kinds")]
fn kind_of(notification: &Notification) -> &'static str {
    match notification {
        Notification::RoomJoined { .. } => "room_joined",
        Notification::RoomLeft { .. } => "room_left",
        Notification::Error { .. } => "error",
        _ => "something else",
    }
}

const KEY: &str = "ak_0123456789abcdefghijklmnopqrstuv";
