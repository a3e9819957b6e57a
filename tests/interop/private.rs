//! HTTPS: REST, Socket.IO and WHIP with a certificate from files, which is changed in mid-call.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::{Method, StatusCode};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::gateway::{Gateway, PATIENCE};
use super::peer::{Agent, fixture};

#[tokio::test]
async fn everything_goes_over_https_and_a_new_certificate_is_shown_in_mid_call() {
    let house = Authority::new();
    let first = house.issue();
    let gateway = house.gateway().await;
    assert!(gateway.url().starts_with("https://"), "{}", gateway.url());
    assert_eq!(shown_at(&gateway, &house).await, first);

    let (status, _) = gateway.ask(Method::GET, "/api/agents", None).await;
    assert_eq!(status, StatusCode::OK);
    let room = gateway.create_room("office").await;
    assert_eq!(room["url"], gateway.room("office"), "its URL is of HTTPS");

    let id = gateway.create_agent().await;
    let mut node = Command::new("node");
    node.env("NODE_EXTRA_CA_CERTS", house.root());
    let mut agent = Agent::connect_by(node, &gateway, id).await;
    agent.join_by(json!({"roomUrl": "rooms/office", "token": room["token"]})).await;
    let mut calling = call(&gateway, &house, room["token"].as_str().unwrap());
    let mut calling = calling.spawn().expect("the program runs");
    assert_eq!(agent.event("participant_joined").await["name"], "Caller");

    let second = house.issue();
    let changed = async {
        let mut again = tokio::time::interval(Duration::from_millis(250));
        while shown_at(&gateway, &house).await != second {
            again.tick().await;
        }
    };
    timeout(PATIENCE, changed).await.expect("the new certificate is shown");
    agent.event_where("transcript", |event| event["isFinal"] == true).await;
    let ended = timeout(PATIENCE, calling.wait()).await.expect("the call ends").unwrap();
    assert!(ended.success(), "the caller has heard an answer: {ended}");
    assert_eq!(agent.event("participant_left").await["name"], "Caller");
}

#[tokio::test]
async fn a_gateway_with_https_is_asked_for_its_health_by_its_settings() {
    let house = Authority::new();
    house.issue();
    let gateway = house.gateway().await;
    let address = gateway.url().strip_prefix("https://").unwrap();
    for (command, wanted) in [("health", "ok"), ("doctor", "served by a gateway that is well")] {
        let mut asking = Command::new(env!("CARGO_BIN_EXE_callbridge"));
        asking.arg(command).current_dir(gateway.folder()).env("CALLBRIDGE_LISTEN", address);
        let asked = asking.envs(house.settings()).stdin(Stdio::null()).output();
        let asked = timeout(PATIENCE, asked).await.expect("it ends").unwrap();
        let told = String::from_utf8(asked.stdout).unwrap();
        assert!(told.contains(wanted), "{command}: {told}");
    }
}

#[tokio::test]
async fn plain_http_at_the_door_of_https_is_answered_by_nobody() {
    let house = Authority::new();
    house.issue();
    let gateway = house.gateway().await;
    let plain = gateway.url().replace("https://", "http://");
    let asked = reqwest::Client::new().get(format!("{plain}/healthz")).timeout(PATIENCE);
    asked.send().await.expect_err("it is no TLS");
    let (status, _) = gateway.ask(Method::GET, "/healthz", None).await;
    assert_eq!(status, StatusCode::OK, "and others are served as before");
}

/// A caller that trusts this authority, and asks something of whoever is in the office.
fn call(gateway: &Gateway, house: &Authority, token: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbridge"));
    command.arg("call").arg(gateway.whip("office", "Caller")).args(["--token", token]);
    command.arg("--wav").arg(fixture("what-time-is-it"));
    command.arg("--out").arg(gateway.folder().join("heard.wav"));
    command.env("SSL_CERT_FILE", house.root()).current_dir(gateway.folder());
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

/// The certificate that a new connection is shown.
async fn shown_at(gateway: &Gateway, house: &Authority) -> CertificateDer<'static> {
    let address = gateway.url().strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await.expect("a connection");
    let mut roots = RootCertStore::empty();
    roots.add(house.certificate()).expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let greeted = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = timeout(PATIENCE, greeted).await.expect("in time").expect("TLS");
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("certificates")[0].clone().into_owned()
}

/// Whoever issues the gateway's certificates, and where these are.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        callbridge::sys::tls::choose_cryptography();
        let mut params = CertificateParams::default();
        // Whoever has the name of their own issuer is taken for one who vouches for themselves.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        let certificate: &rcgen::Certificate = self.issuer.as_ref();
        certificate.der().clone()
    }

    /// Writes a new certificate for this machine where the gateway looks, and its key.
    fn issue(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.folder.path().join("c.pem"), certificate.pem()).unwrap();
        std::fs::write(self.folder.path().join("k.pem"), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    /// The file with the certificate of the authority itself.
    fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    fn settings(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [("CALLBRIDGE_TLS_CERTIFICATE", path("c.pem")), ("CALLBRIDGE_TLS_KEY", path("k.pem"))]
    }

    async fn gateway(&self) -> Gateway {
        let settings = self.settings();
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        Gateway::start_trusted(&settings, &self.root()).await
    }
}
