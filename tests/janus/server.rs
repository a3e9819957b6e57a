//! A real Janus on the neighbour's machine, and the way to it.

use std::fmt::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::gateway::PATIENCE;
use super::lan::{NEXT_DOOR, Neighbour};

/// How a Janus is set up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Whether its candidates come after its answer.
    pub(crate) full_trickle: bool,
    /// For how long a session outlives its connection, in seconds.
    pub(crate) reclaim_seconds: u32,
    /// Whether rooms and people have texts for names, and no numbers.
    pub(crate) string_ids: bool,
    /// What every request must bring.
    pub(crate) api_secret: Option<&'static str>,
}

/// A running Janus. Dropping it kills it.
pub(crate) struct Server {
    process: Child,
    folder: TempDir,
}

/// The room that is there, and that has no pin.
pub(crate) const ROOM: &str = "1234";

/// A room with the pin `sesame`.
pub(crate) const LOCKED_ROOM: &str = "5678";

/// What lets somebody kick others out of the rooms.
pub(crate) const SECRET: &str = "of-the-room";

/// In a network of its own, so it is nobody else's.
pub(crate) const PORT: u16 = 8188;

impl Server {
    pub(crate) async fn start(neighbour: &Neighbour, manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        for (name, text) in [
            ("janus.jcfg", general(place, manner)),
            ("janus.transport.websockets.jcfg", websockets()),
            ("janus.plugin.audiobridge.jcfg", rooms(manner)),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let process = run(neighbour, place);
        let server = Self { process, folder };
        server.listens().await;
        server
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Has it hang: its connections stand, and nothing comes of them.
    pub(crate) fn freeze(&self) {
        let stop = format!("kill -STOP {}", self.process.id());
        let status = std::process::Command::new("sh").args(["-c", &stop]).status().unwrap();
        assert!(status.success());
    }

    /// Starts another one that knows nothing of what the first did.
    pub(crate) async fn restart(&mut self, neighbour: &Neighbour) {
        self.process = run(neighbour, self.folder.path().to_str().unwrap());
        self.listens().await;
    }

    async fn listens(&self) {
        let asking = async {
            let mut again = interval(Duration::from_millis(50));
            loop {
                again.tick().await;
                if TcpStream::connect((NEXT_DOOR, PORT)).await.is_ok() {
                    return;
                }
            }
        };
        timeout(PATIENCE, asking).await.expect("Janus listens");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The way of sound between the machines, which can be closed while all else goes through.
pub(crate) struct Road;

impl Road {
    pub(crate) fn close() {
        for settings in [
            // Rules are asked in their order, and that for our own addresses is the first.
            "rule add pref 100 lookup local",
            "rule del pref 0",
            "rule add pref 50 ipproto udp blackhole",
        ] {
            Self::ip(settings);
        }
    }

    pub(crate) fn open() {
        Self::ip("rule del pref 50");
    }

    fn ip(settings: &str) {
        let status = std::process::Command::new("ip").args(settings.split(' ')).status().unwrap();
        assert!(status.success(), "ip {settings}");
    }
}

fn run(neighbour: &Neighbour, place: &str) -> Child {
    let mut command = neighbour.command("janus");
    let log =
        if std::env::var_os("JANUS_LOG").is_some() { Stdio::inherit() } else { Stdio::null() };
    let child = command.args(["-F", place]).stdin(Stdio::null()).stdout(log).spawn();
    child.expect("`janus` is there: run `make test-deps`")
}

fn general(place: &str, manner: Manner) -> String {
    let Manner { full_trickle, reclaim_seconds, api_secret, .. } = manner;
    let folder = janus_folder();
    let mut text = format!(
        "general: {{ configs_folder = \"{place}\"; plugins_folder = \"{folder}/plugins\"; \
         transports_folder = \"{folder}/transports\"; debug_level = 4; \
         reclaim_session_timeout = {reclaim_seconds};"
    );
    if let Some(secret) = api_secret {
        write!(text, " api_secret = \"{secret}\";").unwrap();
    }
    let others = "http mqtt nanomsg pfunix rabbitmq".split(' ');
    let others: Vec<_> = others.map(|name| format!("libjanus_{name}.so")).collect();
    let others = others.join(",");
    let rest = format!(
        " }}\nnat: {{ full_trickle = {full_trickle} }}\n\
         media: {{ rtp_port_range = \"20000-20400\" }}\n\
         transports: {{ disable = \"{others}\" }}\n"
    );
    text + &rest
}

fn websockets() -> String {
    format!(
        "general: {{ json = \"compact\"; ws = true; ws_port = {PORT}; ws_ip = \"{NEXT_DOOR}\" }}\n"
    )
}

fn rooms(manner: Manner) -> String {
    let room = format!(
        "sampling_rate = 48000, audiolevel_event = true, audio_active_packets = 10, \
         secret = \"{SECRET}\""
    );
    format!(
        "general: {{ string_ids = {} }}\nroom-{ROOM}: {{ description = \"Open\", {room} }}\n\
         room-{LOCKED_ROOM}: {{ description = \"Locked\", pin = \"sesame\", {room} }}\n",
        manner.string_ids
    )
}

/// Where the package has put its plugins, on whatever processor this is.
fn janus_folder() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let mut folders = folders.map(|folder| folder.path().join("janus"));
    let folder = folders.find(|folder| folder.join("plugins").is_dir());
    folder.expect("Janus is there: run `make test-deps`").to_str().unwrap().to_owned()
}
