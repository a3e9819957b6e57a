//! Callers behind a NAT, and a gateway behind another: a router of the kernel's own between them,
//! so that neither sees the other's address.
//!
//! ```text
//! caller 192.168.9.2 --- 198.51.100.9 [router] 203.0.113.7 --- 10.77.0.1 gateway, relay
//! ```

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{interval, timeout};

use super::gateway::{Gateway, PATIENCE};
use super::lan::{self, FAR_END, HERE, Machine};
use super::page::{TURN, is_heard, question};
use super::peer::{Agent, Peer, chromium};
use super::sound::{missed, words_in};

/// What callers see of the gateway.
const PUBLIC: &str = "203.0.113.7";

#[test]
fn a_caller_behind_a_nat_calls_a_gateway_behind_another() {
    let _turn = TURN.blocking_lock();
    lan::run(LIMIT, async {
        let router = Router::new(Manner::KeepsPorts);
        let way = talk(&router, &[]).await;
        // The router's far side, which the gateway sees and the caller does not know.
        assert_eq!(way, json!({"local": "prflx", "remote": "host"}));
        assert!(router.translated() > 100, "{}", router.translated());
    });
}

#[test]
fn a_symmetric_nat_needs_no_relay_for_a_gateway_has_a_public_address() {
    let _turn = TURN.blocking_lock();
    lan::run(LIMIT, async {
        let router = Router::new(Manner::Symmetric);
        let way = talk(&router, &[]).await;
        assert_ne!(way["local"], "relay", "{way}");
        assert!(router.translated() > 100, "{}", router.translated());
    });
}

#[test]
fn where_nothing_else_goes_out_the_call_goes_by_the_relay() {
    let _turn = TURN.blocking_lock();
    lan::run(LIMIT, async {
        let router = Router::new(Manner::RelayAlone);
        let _relay = relay().await;
        let urls = format!("turn:{PUBLIC}:{RELAY_PORT}?transport=udp");
        let settings =
            [("CALLBRIDGE_TURN_URLS", urls.as_str()), ("CALLBRIDGE_TURN_SECRET", SECRET)];
        talk(&router, &settings).await;
        // The router counts what it lets through, and that is for the relay. The browser itself may
        // call this way `prflx`: the gateway sees the relay at an address that callers do not know.
        assert!(router.translated() > 100, "{}", router.translated());
    });
}

/// A browser behind the router asks an agent for the time, and both hear each other; by which way.
async fn talk(router: &Router, settings: &[(&'static str, &str)]) -> Value {
    let common = [
        ("CALLBRIDGE_LISTEN", "10.77.0.1:8080"),
        ("CALLBRIDGE_MEDIA_LISTEN", "10.77.0.1:0"),
        ("CALLBRIDGE_PUBLIC_IP", PUBLIC),
        ("CALLBRIDGE_ROOMS_OPEN", "true"),
    ];
    let gateway = Gateway::start_with(&[&common, settings].concat()).await;
    let mut agent = Agent::create(&gateway).await;
    agent.join("far").await;
    let seen = |url: &str| url.replace(HERE, PUBLIC);
    let (browser, microphone) = (chromium(), question(&gateway));
    let (room, origin) = (seen(&gateway.room("far")), seen(gateway.url()));
    let args: [&OsStr; 4] = [browser.as_ref(), room.as_ref(), microphone.as_ref(), origin.as_ref()];
    let node = router.caller.command("node").into();
    let mut page = Peer::node_by(node, "room_page_trouble.cjs", &args);
    page.order("\"join\"").await;
    assert_eq!(page.next().await, json!({"joined": true}));
    let asked = agent.event_where("transcript", |event| event["isFinal"] == true).await;
    assert!(missed("What time is it?", asked["text"].as_str().unwrap()).len() <= 1, "{asked}");
    let said = agent.spoken().await;
    let heard = gateway.folder().join("heard.wav");
    page.order(&json!({"write": heard}).to_string()).await;
    page.next().await;
    let words = words_in(&heard).await;
    assert!(is_heard(&said, &words), "the page has heard {words:?} of {said:?}");
    page.order("\"way\"").await;
    let way = page.next().await;
    page.finish().await;
    way
}

/// How a router treats what its caller sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It gives them its own address, and leaves them their ports.
    KeepsPorts,
    /// It gives them another port for each far end.
    Symmetric,
    /// The same, and it lets nothing out but to the relay and to the page.
    RelayAlone,
}

/// The router, and the caller behind it.
struct Router {
    machine: Machine,
    caller: Machine,
}

impl Router {
    fn new(manner: Manner) -> Self {
        let (machine, caller) = (Machine::new(), Machine::new());
        machine.plug_in(FAR_END, "10.77.0.2/24");
        lan::ip(&["route", "add", "default", "via", "10.77.0.2"]);
        lan::ip(&["link", "add", "home0", "type", "veth", "peer", "name", "home1"]);
        machine.plug_in("home0", "192.168.9.1/24");
        caller.plug_in("home1", "192.168.9.2/24");
        caller.ip(&["route", "add", "default", "via", "192.168.9.1"]);
        let mut forwarding = machine.command("sh");
        forwarding.args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
        assert!(forwarding.status().unwrap().success());
        let router = Self { machine, caller };
        router.rule(manner);
        router
    }

    fn rule(&self, manner: Manner) {
        let port = match manner {
            Manner::KeepsPorts => "",
            Manner::Symmetric | Manner::RelayAlone => ":50000-59999 fully-random",
        };
        let firewall = match manner {
            Manner::KeepsPorts | Manner::Symmetric => String::new(),
            Manner::RelayAlone => {
                format!(
                    "iifname home0 udp dport != {RELAY_PORT} drop
                    iifname home0 tcp dport != {{ {RELAY_PORT}, 8080 }} drop"
                )
            }
        };
        let rules = format!(
            "table ip router {{
                chain destinations {{
                    type nat hook prerouting priority dstnat
                    iifname home0 ip daddr {PUBLIC} dnat to {HERE}
                }}
                chain sources {{
                    type nat hook postrouting priority srcnat
                    oifname {FAR_END} meta l4proto {{ tcp, udp }} snat to 198.51.100.9{port}
                }}
                chain passing {{
                    type filter hook forward priority filter; policy drop
                    {firewall}
                    meta l4proto udp ct status dnat counter accept
                    ct status dnat accept
                }}
            }}"
        );
        let mut nft = self.machine.command("nft");
        let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "no `nft`: run `make test-deps`");
    }

    /// How many datagrams have gone through it with other addresses than they came with.
    fn translated(&self) -> u64 {
        let mut nft = self.machine.command("nft");
        let output = nft.args(["list", "chain", "ip", "router", "passing"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let count = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        count.expect("a counter").parse().unwrap()
    }
}

/// A coturn beside the gateway, as the compose file starts it.
async fn relay() -> Child {
    let mut command = Command::new("packaging/coturn/start");
    command.env("CALLBRIDGE_LISTEN", "10.77.0.1:8080").env("CALLBRIDGE_PUBLIC_IP", PUBLIC);
    command.env("CALLBRIDGE_TURN_SECRET", SECRET).stdout(Stdio::null()).stderr(Stdio::null());
    let relay = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let answers = async {
        let mut again = interval(Duration::from_millis(50));
        while TcpStream::connect((HERE, RELAY_PORT)).await.is_err() {
            again.tick().await;
        }
    };
    timeout(PATIENCE, answers).await.expect("no coturn: run `make test-deps`");
    relay
}

/// In a network of its own, so it is nobody else's.
const RELAY_PORT: u16 = 3478;

const SECRET: &str = "north-wind";

/// For a whole test.
const LIMIT: Duration = Duration::from_secs(240);
