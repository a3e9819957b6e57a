//! An agent's side of a stay, over a helper of the test's choice.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callbridge::agent::{JoinRequest, Participant, RoomEvent, RoomFailure};
use callbridge::ids::{CallId, ParticipantId};
use callbridge::media::{Encoder, Frame24k, OpusPacket};
use callbridge::privacy::Secret;
use callbridge::rooms::{DailyConfig, Places, PlacesConfig, RoomLink, Rooms, RoomsConfig};
use callbridge::sys::clock;
use serde_json::Value;
use tempfile::TempDir;

/// An agent in a room of Daily, or on its way there.
pub(crate) struct Guest {
    pub(crate) link: RoomLink,
    places: Places,
    witness: TempDir,
    encoder: Encoder,
    said: u16,
}

/// What the helper is run by.
#[derive(Clone, Copy)]
pub(crate) enum Python {
    /// Another program in the helper's place; the room says what it does.
    StandIn,
    /// The helper, over a package that is made up; the room says what happens there.
    MadeUpPackage,
    /// The helper, over Daily's package.
    Real,
    /// No program.
    None,
}

impl Python {
    pub(crate) fn path(self) -> PathBuf {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daily");
        match self {
            Self::StandIn => here.join("stand_in"),
            Self::MadeUpPackage => here.join("with_package"),
            Self::Real => real(),
            Self::None => here.join("nothing"),
        }
    }
}

fn real() -> PathBuf {
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/callbridge");
    let cache = std::env::var_os("CALLBRIDGE_CACHE").map_or_else(home, PathBuf::from);
    let python = cache.join("daily/bin/python");
    assert!(python.exists(), "{} is missing: run `make test-deps`", python.display());
    python
}

impl Guest {
    /// Joins this room as Ida, with this token.
    pub(crate) fn join(python: Python, room: &str, token: Option<&str>) -> Self {
        let witness = tempfile::tempdir().unwrap();
        let rooms = Rooms::new(&RoomsConfig {
            media_listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            media_tcp_listen: None,
            public_ip: None,
            open: true,
        });
        let daily = Some(DailyConfig { python: python.path() });
        let places = Places::new(rooms.unwrap(), PlacesConfig { files: false, daily });
        let path = witness.path().display();
        let link = places.join(&JoinRequest {
            call: CallId::new("call_1"),
            room_url: format!("https://stand-in.daily.co/{room}?witness={path}"),
            token: token.map(Secret::new),
            participant_name: Some("Ida".into()),
        });
        Self { link, places, witness, encoder: Encoder::new().unwrap(), said: 0 }
    }

    /// The next that it is told.
    pub(crate) async fn told(&mut self) -> Option<RoomEvent> {
        in_time(self.link.events.recv()).await
    }

    /// It is told that it is in, with these others.
    pub(crate) async fn is_in(&mut self) -> Vec<(String, String)> {
        match self.told().await {
            Some(RoomEvent::Joined { participants }) => participants.iter().map(plain).collect(),
            other => panic!("not in: {other:?}"),
        }
    }

    /// It is told why it is not in, or out; and that was the last word.
    pub(crate) async fn failed(&mut self) -> RoomFailure {
        match self.told().await {
            Some(RoomEvent::Failed(failure)) => {
                assert_eq!(self.told().await, None, "the link has ended");
                failure
            }
            other => panic!("it did not fail: {other:?}"),
        }
    }

    pub(crate) async fn hears(&mut self) -> OpusPacket {
        in_time(self.link.packets.recv()).await.expect("a packet")
    }

    /// Says 20 ms of this.
    pub(crate) async fn says(&mut self, frame: &Frame24k) {
        let packet = OpusPacket {
            participant: ParticipantId::new("me"),
            sequence: self.said,
            timestamp: u32::from(self.said) * 960,
            marker: self.said == 0,
            payload: self.encoder.encode(frame),
            at: clock::now(),
        };
        self.said = self.said.wrapping_add(1);
        in_time(self.link.playout.send(packet)).await.expect("it is in");
    }

    /// What the stand-in has put down under this name.
    pub(crate) fn witnessed(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.witness.path().join(name));
        serde_json::from_str(&text.expect("it was put down")).unwrap()
    }

    /// Lets a stand-in go on that waits for it.
    pub(crate) fn open_gate(&self) {
        std::fs::write(self.witness.path().join("gate"), "").unwrap();
    }

    /// Leaves, and waits until its goodbye has been said. What is left are the notes.
    pub(crate) async fn leave(self) -> Notes {
        let Self { link, places, witness, .. } = self;
        drop(link);
        in_time(places.part()).await;
        Notes(witness)
    }
}

/// What the stand-in has put down.
pub(crate) struct Notes(TempDir);

impl Notes {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.path().join(name).exists()
    }
}

fn plain(participant: &Participant) -> (String, String) {
    (participant.id.as_str().to_owned(), participant.name.clone())
}

/// Whether a process is there, be it a zombie.
pub(crate) fn lives(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits for it, but not for ever.
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("in time")
}
