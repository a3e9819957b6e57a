//! An agent at a room's door, with a client that is told what becomes of it.

use callbridge::agent::{Command, JoinRequest, Notification};
use callbridge::ids::{AgentId, CallId, UserId};
use callbridge::privacy::Secret;
use callbridge::runtime::{Gateway, Subscription};
use serde_json::json;

use super::harness::{House, SILENT};
use super::in_time;

/// An agent, and a client of it.
pub(crate) struct Agent {
    house: Gateway,
    id: AgentId,
    client: Subscription,
}

impl Agent {
    pub(crate) async fn of(house: &House) -> Self {
        let metadata = json!({"voice": {"enabled": true}, "model": {"profile": SILENT}});
        let body = json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": metadata});
        let id = AgentId::new(house.agent(body).await);
        let owner = UserId::new("usr_bootstrap");
        let client = house.gateway.subscribe(&owner, &id).await.expect("a client");
        Self { house: house.gateway.clone(), id, client }
    }

    pub(crate) async fn join(&self, room: &str, token: Option<&str>) {
        let request = JoinRequest {
            call: CallId::new("call_1"),
            room_url: format!("https://call.example/rooms/{room}"),
            token: token.map(Secret::new),
            participant_name: None,
        };
        let taken = self.house.command(&self.id, Command::Join(request)).await;
        taken.expect("the agent is in no call");
    }

    /// Waits until it is told this.
    pub(crate) async fn told(&mut self, kind: &str) -> Notification {
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

    /// Waits until it is told why it cannot come in.
    pub(crate) async fn refused(&mut self) -> String {
        let Notification::Error { code, .. } = self.told("error").await else {
            panic!("an error is an error")
        };
        code.to_owned()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "these tests wait for few kinds")]
fn kind_of(notification: &Notification) -> &'static str {
    match notification {
        Notification::RoomJoined { .. } => "room_joined",
        Notification::RoomLeft { .. } => "room_left",
        Notification::ParticipantJoined(_) => "participant_joined",
        Notification::Error { .. } => "error",
        _ => "something else",
    }
}
