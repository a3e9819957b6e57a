//! The places under test, each with its real server.

use std::path::PathBuf;

use callbridge::privacy::{Secret, SecretHash};
use callbridge::rooms::{Places, PlacesConfig, RoomName, Rooms, RoomsConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::gateway::Gateway;
use super::janus::{self, Manner};
use super::lan::{self, Neighbour};

/// Which adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hosted,
    Whip,
    Janus,
    Recorded,
}

/// All of them. The machine next door takes the wire along when it goes, so Janus is the last.
pub(crate) const KINDS: [Kind; 4] = [Kind::Hosted, Kind::Whip, Kind::Recorded, Kind::Janus];

/// A place, its server, and the door to it.
pub(crate) struct Venue {
    pub(crate) kind: Kind,
    pub(crate) places: Places,
    server: Server,
    token: Option<Secret>,
    folder: TempDir,
    /// A server that takes connections and never says a word.
    deaf: TcpListener,
}

enum Server {
    /// It is in this process.
    None,
    Gateway(Box<Gateway>),
    /// It is next door.
    Janus(janus::Server, Neighbour),
}

/// Why a door is closed, where it is, the key that is tried, and the code that must come.
type ClosedDoor = (&'static str, String, Option<Secret>, &'static str);

impl Kind {
    /// A WHIP endpoint mixes all others into one voice, and tells nobody who they are.
    pub(crate) fn tells_who_is_there(self) -> bool {
        matches!(self, Self::Hosted | Self::Janus)
    }

    /// Whether there is a server of its own that can be lost.
    pub(crate) fn has_a_server(self) -> bool {
        matches!(self, Self::Whip | Self::Janus)
    }

    /// A recording talks to one agent each time it is joined.
    pub(crate) fn is_shared(self) -> bool {
        self != Self::Recorded
    }
}

impl Venue {
    pub(crate) async fn open(kind: Kind) -> Self {
        let media_listen = vec![format!("{}:0", lan::HERE).parse().unwrap()];
        let rooms = Rooms::new(&RoomsConfig {
            media_listen,
            media_tcp_listen: None,
            public_ip: None,
            open: false,
        });
        let rooms = rooms.unwrap();
        let config = PlacesConfig { files: true, ..PlacesConfig::default() };
        let places = Places::new(rooms.clone(), config);
        let (mut token, mut server) = (None, Server::None);
        match kind {
            Kind::Hosted => {
                let key = Secret::new("rt_right");
                let lobby = RoomName::parse("lobby").unwrap();
                rooms.make(lobby, Some(SecretHash::of(&key))).await.unwrap();
                token = Some(key);
            }
            Kind::Whip => {
                let gateway = Gateway::start_with(FAR_GATEWAY).await;
                let made = gateway.create_room("lobby").await;
                token = made["token"].as_str().map(Secret::new);
                server = Server::Gateway(Box::new(gateway));
            }
            Kind::Janus => {
                let next_door = Neighbour::new();
                let janus = janus::Server::start(&next_door, Manner::default()).await;
                server = Server::Janus(janus, next_door);
            }
            Kind::Recorded => {}
        }
        let deaf = TcpListener::bind((lan::HERE, 0)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { kind, places, server, token, folder, deaf }
    }

    /// Where it is joined.
    pub(crate) fn url(&self) -> String {
        self.url_of("lobby")
    }

    pub(crate) fn token(&self) -> Option<Secret> {
        self.token.clone()
    }

    fn url_of(&self, room: &str) -> String {
        match self.kind {
            Kind::Hosted => format!("rooms/{room}"),
            Kind::Whip => format!("http://{FAR_ADDRESS}/rooms/{room}/whip"),
            Kind::Janus => {
                let room = if room == "lobby" { janus::ROOM } else { "4321" };
                format!("janus+ws://{}:{}/janus?room={room}", lan::NEXT_DOOR, janus::PORT)
            }
            Kind::Recorded => format!("wav:{QUESTION}?out={}", self.out().display()),
        }
    }

    /// Doors that do not open, by what is wrong with them.
    pub(crate) fn closed_doors(&self) -> Vec<ClosedDoor> {
        let wrong = Some(Secret::new("rt_wrong"));
        let key = self.token();
        let no_such = ("no such room", self.url_of("attic"), key.clone(), "ROOM_NOT_FOUND");
        let no_key = ("no key", self.url(), None, "ROOM_UNAUTHORIZED");
        let wrong_key = ("a wrong key", self.url(), wrong, "ROOM_UNAUTHORIZED");
        let nobody = |scheme: &str, path: &str| {
            ("nobody there", format!("{scheme}://{}:9{path}", lan::HERE), None, "ROOM_UNREACHABLE")
        };
        match self.kind {
            Kind::Hosted => vec![no_such, no_key, wrong_key],
            Kind::Whip => vec![no_such, no_key, wrong_key, nobody("http", "/whip")],
            Kind::Janus => {
                let locked = self.url().replace(janus::ROOM, janus::LOCKED_ROOM);
                let wrong = Some(Secret::new("open"));
                vec![
                    no_such,
                    ("no pin", locked.clone(), None, "ROOM_UNAUTHORIZED"),
                    ("a wrong pin", locked, wrong, "ROOM_UNAUTHORIZED"),
                    nobody("janus+ws", "/janus?room=1234"),
                ]
            }
            Kind::Recorded => {
                let text = self.folder.path().join("text.wav");
                std::fs::write(&text, "no sound").unwrap();
                let text = format!("wav:{}", text.display());
                vec![
                    ("no such file", "wav:attic.wav".to_owned(), None, "ROOM_NOT_FOUND"),
                    ("a file that is no WAV", text, None, "MEDIA_FAILED"),
                ]
            }
        }
    }

    /// A door behind which nobody ever says a word, where there can be one.
    pub(crate) fn deaf_server(&self) -> Option<String> {
        let address = self.deaf.local_addr().unwrap();
        match self.kind {
            Kind::Hosted | Kind::Recorded => None,
            Kind::Whip => Some(format!("http://{address}/whip")),
            Kind::Janus => Some(format!("janus+ws://{address}/janus?room=1234")),
        }
    }

    /// Kills the server as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        match &mut self.server {
            Server::None => panic!("{:?} has no server", self.kind),
            Server::Gateway(gateway) => gateway.kill().await,
            Server::Janus(janus, _) => janus.kill(),
        }
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        match &mut self.server {
            Server::None => panic!("{:?} has no server", self.kind),
            Server::Gateway(gateway) => gateway.restart().await,
            Server::Janus(janus, next_door) => janus.restart(next_door).await,
        }
    }

    /// What the place has kept of what an agent said, at 24 kHz.
    pub(crate) fn kept(&self) -> Vec<i16> {
        let mut wav = hound::WavReader::open(self.out()).expect("what was said is kept");
        assert_eq!(wav.spec().sample_rate, 24_000);
        wav.samples().map(Result::unwrap).collect()
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("said.wav")
    }
}

/// A gateway that others host, on the test's own network.
const FAR_GATEWAY: &[(&str, &str)] = &[
    ("CALLBRIDGE_LISTEN", FAR_ADDRESS),
    ("CALLBRIDGE_MEDIA_LISTEN", "10.77.0.1:0"),
    ("CALLBRIDGE_ROOMS_OPEN", "false"),
];

const FAR_ADDRESS: &str = "10.77.0.1:8090";

/// What the recorded caller says.
const QUESTION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/audio/repeat-after-me-16000hz-16bit-mono.wav");
