//! Calls that find no way but through a TURN server: a real coturn, on loopback.

use std::net::UdpSocket;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::gateway::{Gateway, PATIENCE};
use super::page::{TURN, question};
use super::peer::{Agent, Peer, chromium};
use super::sound::missed;

#[tokio::test]
async fn a_browser_that_may_use_only_a_relay_is_heard_and_answered() {
    let _turn = TURN.lock().await;
    let coturn = Coturn::start("north-wind").await;
    let gateway = gateway(&coturn, "north-wind").await;
    let room = gateway.create_room("office").await;
    let mut agent = Agent::create(&gateway).await;
    let url = gateway.room("office");
    agent.join_by(json!({"roomUrl": url, "token": room["token"]})).await;

    let mut page = visit(&gateway, &format!("{url}#token={}", room["token"].as_str().unwrap()));
    assert_eq!(page.next().await, json!({"joined": true}));
    assert_eq!(agent.event("participant_joined").await["name"], "Carol");
    let asked = agent.event_where("transcript", |event| event["isFinal"] == true).await;
    assert!(missed("What time is it?", asked["text"].as_str().unwrap()).len() <= 1, "{asked}");
    // The browser asks again and again, perhaps before the answer is over.
    let answered = agent.event_where("speak-status", |event| event["status"] != "started").await;
    assert!(answered["heardMs"].as_u64() > Some(0), "{answered}");
    let way = page.next().await;
    assert_eq!(way["local"], "relay", "{way}");
    page.finish().await;
    assert_eq!(agent.event("participant_left").await["name"], "Carol");
}

#[tokio::test]
async fn a_wrong_secret_is_told_with_the_name_of_the_relay() {
    let _turn = TURN.lock().await;
    let coturn = Coturn::start("north-wind").await;
    let gateway = gateway(&coturn, "south-wind").await;
    let mut page = visit(&gateway, &gateway.room("lobby"));
    let refused = page.next().await;
    let message = format!(
        "The sound does not get through. The relay {} refuses us: 401 Unauthorized.",
        coturn.url()
    );
    let wanted = json!({"joined": false, "code": "MEDIA_FAILED", "message": message});
    assert_eq!(refused, wanted);
    page.finish().await;
}

/// A gateway whose callers are told of this server, and that makes passwords with this secret.
async fn gateway(coturn: &Coturn, secret: &str) -> Gateway {
    let settings =
        [("CALLBRIDGE_TURN_URLS", coturn.url()), ("CALLBRIDGE_TURN_SECRET", secret.to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    Gateway::start_with(&settings).await
}

fn visit(gateway: &Gateway, room: &str) -> Peer {
    let (browser, microphone) = (chromium(), question(gateway));
    let args = [browser.as_os_str(), room.as_ref(), microphone.as_os_str()];
    Peer::node("relay.cjs", &args)
}

/// A TURN server. Dropping it ends it.
struct Coturn {
    port: u16,
    _server: Child,
    _folder: TempDir,
}

impl Coturn {
    /// Starts one whose passwords are made with this secret, and waits until it takes connections.
    async fn start(secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It takes no port of the system's choosing, so it is given one that is free.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nallow-loopback-peers\n\
             listening-port={port}\nuse-auth-secret\nstatic-auth-secret={secret}\n\
             realm=callbridge.test\nno-cli\nno-tls\nno-dtls\nlog-file=stdout\n\
             userdb={0}/turndb\npidfile={0}/pid\n",
            folder.path().display(),
        );
        let file = folder.path().join("turnserver.conf");
        std::fs::write(&file, settings).unwrap();
        let server = Command::new("turnserver")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run turnserver ({error}): run `make test-deps`")
            });
        let answers = async {
            let mut again = tokio::time::interval(Duration::from_millis(50));
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                again.tick().await;
            }
        };
        timeout(PATIENCE, answers).await.expect("coturn starts");
        Self { port, _server: server, _folder: folder }
    }

    fn url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.port)
    }
}
