//! A browser behind a firewall that lets no UDP pass: its sound goes over TCP (RFC 6544).

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::gateway::Gateway;
use super::lan::{self, Neighbour};
use super::page::{TURN, question};
use super::peer::{Agent, Peer, chromium};

#[test]
fn a_browser_without_udp_is_heard_and_hears_over_tcp() {
    let _turn = TURN.blocking_lock();
    lan::run(Duration::from_secs(240), async {
        let firewall = Firewall::new(Neighbour::new());
        firewall.rule("meta l4proto udp drop");
        let (gateway, mut agent) = start().await;
        agent.join("wire").await;
        let mut page = visit(&gateway, &firewall.next_door);
        page.order("\"join\"").await;
        let joined = page.next().await;
        assert_eq!(joined["way"]["by"], "tcp", "{joined}");
        let talked = talk(&mut page).await;
        assert_eq!(talked["way"]["by"], "tcp", "{talked}");

        // A middlebox has forgotten the connection: the browser makes another one.
        let port = talked["port"].as_u64().unwrap();
        firewall.rule(&format!("tcp dport {port} reject with tcp reset"));
        tokio::time::sleep(CUT).await;
        firewall.open();
        firewall.rule("meta l4proto udp drop");
        let healed = talk(&mut page).await;
        assert_eq!(healed["way"]["by"], "tcp", "{healed}");
        assert_eq!(healed["entered"], 1, "{healed}");
        page.finish().await;
    });
}

#[test]
fn a_browser_prefers_udp_and_goes_over_to_tcp_when_that_is_lost() {
    let _turn = TURN.blocking_lock();
    lan::run(Duration::from_secs(240), async {
        let firewall = Firewall::new(Neighbour::new());
        let (gateway, mut agent) = start().await;
        agent.join("wire").await;
        let mut page = visit(&gateway, &firewall.next_door);
        page.order("\"join\"").await;
        page.next().await;
        let talked = talk(&mut page).await;
        assert_eq!(talked["way"]["by"], "udp", "{talked}");

        firewall.rule("meta l4proto udp drop");
        let moved = talk(&mut page).await;
        assert_eq!(moved["way"]["by"], "tcp", "{moved}");
        assert_eq!(moved["entered"], 1, "{moved}");
        page.finish().await;
    });
}

async fn start() -> (Gateway, Agent) {
    let gateway = Gateway::start_with(&[
        ("CALLBRIDGE_LISTEN", "10.77.0.1:0"),
        ("CALLBRIDGE_MEDIA_LISTEN", "10.77.0.1:0"),
        ("CALLBRIDGE_ROOMS_OPEN", "true"),
    ])
    .await;
    let agent = Agent::create(&gateway).await;
    (gateway, agent)
}

fn visit(gateway: &Gateway, next_door: &Neighbour) -> Peer {
    let (browser, room, microphone) = (chromium(), gateway.room("wire"), question(gateway));
    let args =
        [browser.as_os_str(), OsStr::new(&room), microphone.as_os_str(), gateway.url().as_ref()];
    Peer::node_by(next_door.command("node").into(), "tcp.cjs", &args)
}

/// Waits until the page was heard, and has heard; how that went.
async fn talk(page: &mut Peer) -> Value {
    page.order("\"talk\"").await;
    page.next().await
}

/// What stands between the gateway and the neighbour, and drops what comes to either of them.
struct Firewall {
    next_door: Neighbour,
}

impl Firewall {
    fn new(next_door: Neighbour) -> Self {
        let firewall = Self { next_door };
        firewall.nft("add table inet wall");
        firewall.nft("add chain inet wall in { type filter hook input priority 0; }");
        firewall
    }

    fn rule(&self, rule: &str) {
        self.nft(&format!("add rule inet wall in iifname \"lan*\" {rule}"));
    }

    /// Lets all pass.
    fn open(&self) {
        self.nft("flush chain inet wall in");
    }

    fn nft(&self, order: &str) {
        for mut nft in [Command::new("nft"), self.next_door.command("nft")] {
            let status = nft.arg(order).status();
            let status = status.expect("`nft` is there: run `make test-deps`");
            assert!(status.success(), "nft {order}");
        }
    }
}

/// How long the connection is refused: until the browser has said something into it.
const CUT: Duration = Duration::from_millis(500);
