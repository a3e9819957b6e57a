//! An agent in a room of any kind, in a gateway of the command's own.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::app::Minds;
use crate::cli::house::House;
use crate::cli::serve::Signals;
use crate::cli::socketio::SocketClient;
use crate::cli::timeline::Timeline;
use crate::config::{Config, RoomsConfig};
use crate::privacy::Secret;

/// An agent's visit to a room.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) room: String,
    pub(super) token: Option<Secret>,
    pub(super) instructions: Option<String>,
    pub(super) greeting: Option<String>,
    /// How long it stays, unless the room ends before.
    pub(super) seconds: Option<Duration>,
}

/// Brings the agent in, prints what happens, and goes when the room ends, or when it is told to.
pub(super) async fn run(config: Config, visit: Visit) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let minds = Minds::open(&config.model).await?;
    // Whoever starts this can read and write the files themselves.
    let rooms = RoomsConfig { files: true, ..config.rooms.clone() };
    let house = House::open(Config { rooms, ..config }, minds).await?;
    let stayed = async {
        let agent = house.create_agent(TTL, &visit.metadata()).await?;
        let client = SocketClient::connect(house.at(), &agent, house.key()).await?;
        let stay = Stay { client, timeline: Timeline::new(false), is_in: false, fault: None };
        stay.run(&visit, signals).await
    };
    let stayed = stayed.await;
    // The house is closed in any case, and says if it could not be.
    house.close().await?;
    stayed
}

impl Visit {
    fn metadata(&self) -> Value {
        let mut model = json!({});
        if let Some(greeting) = &self.greeting {
            model["greeting"] = json!(greeting);
        }
        json!({
            "className": "Assistant",
            "personality": "Friendly and brief.",
            "instructions": self.instructions.as_deref().unwrap_or(INSTRUCTIONS),
            "tools": [],
            "voice": { "enabled": true },
            "model": model,
        })
    }

    fn join(&self) -> Value {
        let mut join = json!({ "type": "join-daily-room", "roomUrl": self.room });
        if let Some(token) = &self.token {
            join["token"] = json!(token.expose());
        }
        join
    }
}

/// The agent's client while the agent is in the room.
struct Stay {
    client: SocketClient,
    timeline: Timeline,
    /// Whether it has come in.
    is_in: bool,
    /// Why the call is no good, though it has taken place.
    fault: Option<String>,
}

impl Stay {
    async fn run(mut self, visit: &Visit, signals: Signals) -> anyhow::Result<()> {
        self.ask(&visit.join()).await?;
        let mut stopped = pin!(signals.first());
        let enough = tokio::time::sleep(visit.seconds.unwrap_or(TTL));
        let mut enough = pin!(enough);
        let is_over = loop {
            tokio::select! {
                event = self.client.next() => {
                    let event = event?.context("the agent's client was disconnected")?;
                    if self.on_event(&event)? {
                        break true;
                    }
                }
                () = &mut stopped => break false,
                () = &mut enough => break false,
            }
        };
        if !is_over {
            tokio::time::timeout(LEAVING, self.leave())
                .await
                .context("the agent does not leave")??;
        }
        self.fault.map_or(Ok(()), |fault| bail!(fault))
    }

    /// Takes an event; whether the agent is out.
    fn on_event(&mut self, event: &Value) -> anyhow::Result<bool> {
        self.timeline.event(event);
        let told = || format!("{}: {}", text(event, "code"), text(event, "message"));
        match text(event, "type") {
            "room_joined" => self.is_in = true,
            "error" if !self.is_in => bail!(told()),
            "transcriber_fatal_error" => self.fault = Some(told()),
            _ => {}
        }
        Ok(text(event, "type") == "room_left")
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        self.ask(&json!({ "type": "leave-daily-room" })).await?;
        loop {
            let event = self.client.next().await?.context("the client was disconnected")?;
            if self.on_event(&event)? {
                return Ok(());
            }
        }
    }

    async fn ask(&mut self, message: &Value) -> anyhow::Result<()> {
        let answer = self.client.ask(message).await?;
        ensure!(answer["ok"] == true, "{}: {}", text(&answer, "code"), text(&answer, "message"));
        Ok(())
    }
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

/// What an agent is told to do if nobody says.
const INSTRUCTIONS: &str = "Answer what you are asked, in one or two short sentences.";

/// How long the agent lives, and stays where nobody says how long.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the agent may take to leave.
const LEAVING: Duration = Duration::from_secs(20);
