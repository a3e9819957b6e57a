//! What the doctor says of TURN servers: a real coturn, started as `docker-compose.yml` starts it.

use std::net::UdpSocket;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

use super::worlds::{Told, World};

#[tokio::test]
async fn a_relay_of_the_compose_file_is_well_by_each_of_its_ways() {
    let relay = Relay::start("north-wind").await;
    for transport in ["udp", "tcp"] {
        let told = relay.doctor(transport, "north-wind").await;
        assert_eq!(told.code, Some(0), "{}", told.out);
        let line = told.line("ok       turn");
        assert!(line.contains("relays, from 127.0.0.1"), "{line}");
        assert!(!told.out.contains("north-wind"), "{}", told.out);
    }
}

#[tokio::test]
async fn a_relay_with_another_secret_is_told() {
    let relay = Relay::start("north-wind").await;
    let told = relay.doctor("udp", "south-wind").await;
    assert_eq!(told.code, Some(1), "{}", told.out);
    let line = told.line("failed   turn");
    assert!(line.contains("refuses us: 401") && line.contains("turn.secret"), "{line}");
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_told() {
    let closed = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let url = format!("turn:{}", closed.local_addr().expect("an address"));
    let told = World::new().doctor(&["--turn-urls", &url, "--turn-secret", "north-wind"]).await;
    let line = told.line("warning  turn");
    assert!(line.contains("does not answer"), "{line}");
    let told = World::new();
    let told = told.doctor(&["--turn-urls", "turn:turn.invalid", "--turn-secret", "x-y"]).await;
    assert!(told.line("failed   turn").contains("has no address"), "{}", told.out);
}

/// A coturn. Dropping it ends it.
struct Relay {
    port: u16,
    _server: Child,
}

impl Relay {
    async fn start(secret: &str) -> Self {
        // It takes no port of the system's choosing, so it is given one that is free.
        let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let mut command = Command::new("packaging/coturn/start");
        command.env("CALLBRIDGE_TURN_SECRET", secret).env("RELAY_PORT", port.to_string());
        command.env_remove("CALLBRIDGE_LISTEN").env_remove("CALLBRIDGE_PUBLIC_IP");
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let server = command.spawn().expect("a shell");
        let answers = async {
            let mut again = interval(Duration::from_millis(50));
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                again.tick().await;
            }
        };
        timeout(PATIENCE, answers).await.expect("no coturn: run `make test-deps`");
        Self { port, _server: server }
    }

    async fn doctor(&self, transport: &str, secret: &str) -> Told {
        let url = format!("turn:127.0.0.1:{}?transport={transport}", self.port);
        World::new().doctor(&["--turn-urls", &url, "--turn-secret", secret]).await
    }
}

/// Far above what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(40);
