//! Are the ports free, or a gateway's already? And which addresses would callers be told?

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::net::TcpListener;

use super::finding::Finding;
use crate::cli::health::{self, Trust};
use crate::config::Config;
use crate::rooms::{Rooms, RoomsConfig};

/// Who has the port of HTTP, and so the ports of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Nobody has it, or a stranger.
    NotOurs,
    /// A gateway that is well.
    Ours,
}

/// Whether HTTP can be served at `listen`, or is served there already: at this URL, then.
pub(super) async fn http(listen: SocketAddr, url: &str) -> (Finding, Door) {
    let Err(error) = TcpListener::bind(listen).await else {
        return (Finding::fine(HTTP, format!("{listen} is free")), Door::NotOurs);
    };
    let is_taken = error.kind() == ErrorKind::AddrInUse;
    if is_taken && health::ask(url, Trust::Anybody).await.is_ok() {
        let seen = format!("{listen} is served by a gateway that is well");
        return (Finding::fine(HTTP, seen), Door::Ours);
    }
    let (seen, remedy) = refusal(listen, &error, "listen", "ss -ltnp");
    (Finding::failed(HTTP, seen, remedy), Door::NotOurs)
}

/// Whether media can arrive where it should.
pub(super) fn media(config: &Config, door: Door) -> Finding {
    let shown: Vec<String> = config.media_listen.iter().map(ToString::to_string).collect();
    let shown = shown.join(", ");
    for &listen in &config.media_listen {
        match UdpSocket::bind(listen) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse && door == Door::Ours => {
                return Finding::fine(MEDIA, format!("{shown}: held by the gateway that runs"));
            }
            Err(error) => {
                let (seen, remedy) = refusal(listen, &error, "media_listen", "ss -lunp");
                return Finding::failed(MEDIA, seen, remedy);
            }
        }
    }
    for &listen in config.media_tcp_listen.iter().flatten() {
        let Err(error) = std::net::TcpListener::bind(listen) else { continue };
        if error.kind() != ErrorKind::AddrInUse || door != Door::Ours {
            let (seen, remedy) = refusal(listen, &error, "media_tcp_listen", "ss -ltnp");
            return Finding::failed(MEDIA, seen, remedy);
        }
    }
    let any = if config.media_listen.iter().all(|at| at.port() == 0) { " (any port)" } else { "" };
    Finding::fine(MEDIA, format!("{shown}{any} is free"))
}

/// Which addresses callers would be told. Must be called within tokio.
pub(super) fn ice(config: &Config) -> Finding {
    let anywhere = |at: &SocketAddr| SocketAddr::new(at.ip(), 0);
    let rooms = Rooms::new(&RoomsConfig {
        media_listen: config.media_listen.iter().map(anywhere).collect(),
        media_tcp_listen: Some(Vec::new()),
        public_ip: config.public_ip,
        open: false,
    });
    match rooms {
        Ok(rooms) => {
            let offered: Vec<_> = rooms.media_addresses().iter().map(SocketAddr::ip).collect();
            judge_ice(&offered, config.public_ip)
        }
        Err(error) => {
            let remedy = "set media_listen to an address of this machine";
            Finding::failed(ICE, format!("no address to offer: {error}"), remedy)
        }
    }
}

/// What callers can do with these addresses, of which `public_ip` is one if all is well.
fn judge_ice(offered: &[IpAddr], public_ip: Option<IpAddr>) -> Finding {
    let shown: Vec<String> = offered.iter().map(ToString::to_string).collect();
    let seen = format!("callers are told {}", shown.join(", "));
    if let Some(public) = public_ip {
        return judge_public_ip(public, offered, seen);
    }
    if offered.iter().all(IpAddr::is_loopback) {
        let remedy = "if others shall call, set listen and media_listen to an address of this \
                      machine";
        return Finding::warning(ICE, format!("{seen}: only this machine can call"), remedy);
    }
    if offered.iter().all(|ip| reach(*ip) != Reach::Everywhere) {
        let remedy = "if callers come from elsewhere, set public_ip to the address that they see";
        return Finding::warning(ICE, format!("{seen}: only networks near by can call"), remedy);
    }
    Finding::fine(ICE, seen)
}

fn judge_public_ip(public: IpAddr, offered: &[IpAddr], seen: String) -> Finding {
    if !offered.contains(&public) {
        let family = if public.is_ipv4() { "IPv4" } else { "IPv6" };
        let seen = format!("public_ip {public} is {family}, and no media_listen is: {seen}");
        return Finding::failed(ICE, seen, format!("add an {family} address to media_listen"));
    }
    match reach(public) {
        Reach::Everywhere => Finding::fine(ICE, seen),
        Reach::Nearby => {
            let remedy = "set it to the address that callers see, unless all are in that network";
            Finding::warning(ICE, format!("public_ip {public} is a private one: {seen}"), remedy)
        }
        Reach::Here => {
            let remedy = "set public_ip to the address that callers see, or leave it out";
            Finding::failed(ICE, format!("public_ip {public} leads nowhere: {seen}"), remedy)
        }
    }
}

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Everywhere,
    Nearby,
    Here,
}

/// RFC 1918 and RFC 6598 for IPv4, RFC 4193 for IPv6.
const fn reach(ip: IpAddr) -> Reach {
    let (is_here, is_nearby) = match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            (ip.is_loopback() || ip.is_link_local(), ip.is_private() || is_shared)
        }
        IpAddr::V6(ip) => (ip.is_loopback() || ip.is_unicast_link_local(), ip.is_unique_local()),
    };
    match (is_here, is_nearby) {
        (true, _) => Reach::Here,
        (false, true) => Reach::Nearby,
        (false, false) => Reach::Everywhere,
    }
}

/// Why an address cannot be had, and what to do; `lister` names who has it.
fn refusal(listen: SocketAddr, error: &io::Error, setting: &str, lister: &str) -> (String, String) {
    let kind = error.kind();
    if kind == ErrorKind::AddrInUse {
        let remedy =
            format!("stop that program (`{lister}` names it), or set {setting} to another port");
        (format!("{listen} is taken by another program"), remedy)
    } else if kind == ErrorKind::AddrNotAvailable {
        let remedy = format!(
            "set {setting} to one (`ip address` lists them); that of a NAT before it is public_ip"
        );
        (format!("{listen} is no address of this machine"), remedy)
    } else if kind == ErrorKind::PermissionDenied {
        let remedy = format!("set {setting} to a port above 1023, or give CAP_NET_BIND_SERVICE");
        (format!("{listen} is not for this user"), remedy)
    } else {
        (format!("{listen} cannot be used: {error}"), format!("set {setting} to another address"))
    }
}

const HTTP: &str = "http";
const MEDIA: &str = "media";
const ICE: &str = "ice";

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn loopback_is_for_this_machine_only() {
        let finding = ice_of(&["127.0.0.1"], None);
        assert!(finding.line().contains("only this machine can call"), "{finding:?}");
        assert!(matches!(finding.state, State::Warning { .. }));
    }

    #[test]
    fn private_addresses_alone_ask_for_a_public_one() {
        for near in ["10.0.0.5", "100.64.1.1", "fd00::1"] {
            let finding = ice_of(&["127.0.0.1", near], None);
            assert!(finding.line().contains("set public_ip"), "{finding:?}");
        }
        assert_eq!(ice_of(&["10.0.0.5", "203.0.113.7"], None).state, State::Fine);
    }

    #[test]
    fn a_public_address_must_be_one_that_can_be_offered_and_reached() {
        let behind_nat = ice_of(&["203.0.113.7", "10.0.0.5"], Some("203.0.113.7"));
        assert_eq!(behind_nat.state, State::Fine);
        let other_family = ice_of(&["10.0.0.5"], Some("2001:db8::7"));
        assert!(other_family.is_failed() && other_family.line().contains("add an IPv6 address"));
        let private = ice_of(&["192.168.0.9", "10.0.0.5"], Some("192.168.0.9"));
        assert!(matches!(private.state, State::Warning { .. }), "{private:?}");
        assert!(ice_of(&["127.0.0.1"], Some("127.0.0.1")).is_failed());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_a_strangers_unless_it_answers_as_a_gateway() {
        let stranger = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let at = stranger.local_addr().expect("an address");
        // It hangs up on whoever asks.
        let asked = async { drop(stranger.accept().await) };
        let url = format!("http://{at}");
        let ((finding, door), ()) = tokio::join!(http(at, &url), asked);
        assert_eq!(door, Door::NotOurs);
        assert!(finding.line().contains("taken by another program"), "{finding:?}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told_as_such() {
        let (finding, _) = http("192.0.2.1:8080".parse().expect("an address"), "").await;
        assert!(finding.line().contains("no address of this machine"), "{finding:?}");
    }

    fn ice_of(offered: &[&str], public_ip: Option<&str>) -> Finding {
        let ip = |text: &&str| text.parse().expect("an address");
        let offered: Vec<_> = offered.iter().map(ip).collect();
        judge_ice(&offered, public_ip.as_ref().map(ip))
    }
}
