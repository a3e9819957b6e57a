//! A real call: a caller over WebRTC asks for the weather, the local model asks a tool for it, and
//! the agent tells it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Method;
use callbridge::media::OpusPacket;
use callbridge::rooms::whip;
use callbridge::sys::tasks::{self, Task};
use serde_json::{Value, json};

use crate::harness::raw::Raw;
use crate::harness::talk::Talk;
use crate::harness::{House, KEY};

/// An agent that has answered, still in its call.
pub(crate) struct Call {
    client: Raw,
    /// Its id.
    pub(crate) agent: String,
    caller: Task,
}

impl Call {
    /// Goes on until the answer has been heard to its end.
    pub(crate) async fn answered(house: &House, address: SocketAddr) -> Self {
        let agent = house.agent(agent()).await;
        let mut client = Raw::connect(&format!("http://{address}"), KEY, &agent).await;
        client.say(json!({"type": "join-room", "roomUrl": "rooms/hall"})).await;
        client.event("room_joined").await;
        let url = format!("http://{address}/rooms/hall/whip?name=Ann");
        let caller = speaking(whip::dial(&url, None).await.expect("a call"));
        let asked = client.event("tool-call").await;
        let id = &asked["toolCallId"];
        let result = json!({"type": "tool-result", "toolCallId": id, "success": true,
                            "result": {"weather": WEATHER}});
        client.say(result).await;
        client.spoken().await;
        Self { client, agent, caller }
    }

    /// Goes on with a new agent.
    pub(crate) async fn handed_off(self, house: &House, address: SocketAddr) -> Self {
        let Self { mut client, agent: first, caller } = self;
        let path = format!("/api/agents/{first}/handoff");
        let handed = house.ask(Method::POST, &path, Some(json!({"to": agent()}))).await.json();
        client.event("handoff").await;
        let agent = handed["to"].as_str().expect("an id").to_owned();
        let client = Raw::connect(&format!("http://{address}"), KEY, &agent).await;
        Self { client, agent, caller }
    }

    /// The agent leaves, and the caller after it.
    pub(crate) async fn leave(mut self) {
        self.client.say(json!({"type": "leave-room"})).await;
        self.client.event("room_left").await;
        drop(self.caller);
    }
}

/// What the tool says: somebody's speech, which no metric and no trace may have.
pub(crate) const WEATHER: &str = "sunny with a breeze from Montmartre";

fn agent() -> Value {
    let place =
        json!({"name": "place", "type": "string", "required": true, "description": "A town"});
    let weather = json!({"name": "weather", "description": "The weather", "parameters": [place]});
    let voice = json!({"enabled": true});
    let metadata = json!({"className": "Host", "tools": [weather], "voice": voice});
    json!({"name": "Ada", "agentType": "HUMA-0.1", "metadata": metadata})
}

/// Asks in real time, and is silent then, for as long as the task is kept.
fn speaking(call: whip::Call) -> Task {
    let talk = Talk::of("tell-me-the-weather-in-paris-16000hz-16bit-mono.wav");
    tasks::spawn("a caller", async move {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        let silence = talk.packets.last().expect("it ends in silence");
        for number in 0_u16.. {
            clock.tick().await;
            call.send(&OpusPacket {
                sequence: number,
                timestamp: u32::from(number) * 960,
                ..talk.packets.get(usize::from(number)).unwrap_or(silence).clone()
            });
        }
    })
}
