//! A gateway for tests of the API: a store in memory, rooms on loopback, and no model that answers.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test program uses its part of it, and fails with it"
)]

mod conformance;
pub(crate) mod mind;
pub(crate) mod raw;
pub(crate) mod talk;

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::response::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use callbridge::agent::Limits;
use callbridge::api::{self, ApiConfig, IceServers, Rates};
use callbridge::models::ModelProfile;
use callbridge::privacy::Secret;
use callbridge::rooms::{Rooms, RoomsConfig};
use callbridge::runtime::{
    AdmissionPolicy, Gateway, Journal, Models, RecordingPolicy, Recordings, Shell, WebhookPolicy,
};
use callbridge::store::Store;
use callbridge::sys::lanes::LaneThreads;
use callbridge::sys::tasks::{self, Task};
use callbridge::traces::Traces;
use conformance::Conformance;
use serde_json::Value;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// The key of the user `bootstrap`.
pub(crate) const KEY: &str = "ak_0123456789abcdefghijklmnopqrstuv";
/// What the operator shows.
pub(crate) const ADMIN: &str = "the-operators-own-token";

/// A model profile that never answers: what opens it waits until its own deadline.
pub(crate) const SILENT: &str = "silent";

/// A running gateway and its API.
pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) router: Router,
    served: Option<Task>,
    /// What every answer must agree with.
    described: Conformance,
    /// Takes connections, and says nothing to anybody.
    _mind: std::net::TcpListener,
    /// What serves the calls, if they have threads of their own: it ends last.
    _threads: Option<LaneThreads>,
}

/// What differs from house to house.
struct Setup {
    /// Whether anybody may open a room by entering it.
    open: bool,
    /// The mind of agents that name none.
    model: Option<ModelProfile>,
    /// Where agents' lives are written down, if they are.
    journal: Option<Journal>,
    /// Where traces of calls are sent, if they are.
    traces: Option<Traces>,
    /// Where calls are recorded, if they may be.
    recordings: Option<RecordingPolicy>,
    /// Whether new calls are taken.
    admission: AdmissionPolicy,
    /// Where webhooks may lead.
    webhooks: WebhookPolicy,
    /// The servers that callers are told of.
    ice: IceServers,
    /// Whether a proxy on this machine is believed.
    trusts_loopback: bool,
    /// Whether calls have threads of their own, as in the program, or run where the test does.
    in_lanes: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            open: true,
            model: None,
            journal: None,
            traces: None,
            recordings: None,
            admission: AdmissionPolicy::OPEN,
            webhooks: WebhookPolicy::default(),
            ice: IceServers::default(),
            trusts_loopback: false,
            in_lanes: false,
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl House {
    /// On loopback: rooms are open, and made on first use.
    pub(crate) async fn open() -> Self {
        Self::of(Setup::default()).await
    }

    /// A gateway with a store of its own.
    async fn of(setup: Setup) -> Self {
        let store = Store::open("sqlite::memory:").await.expect("a store in memory");
        Self::build(store, Rates::default(), setup).await
    }

    /// A gateway that starts with what this store has.
    pub(crate) async fn over(store: Store) -> Self {
        Self::build(store, Rates::default(), Setup::default()).await
    }

    pub(crate) async fn open_with(rates: Rates) -> Self {
        let store = Store::open("sqlite::memory:").await.expect("a store in memory");
        Self::build(store, rates, Setup::default()).await
    }

    /// As off loopback: over this store, with rooms that only their owners make.
    pub(crate) async fn locked(store: Store) -> Self {
        Self::build(store, Rates::default(), Setup { open: false, ..Setup::default() }).await
    }

    /// A gateway whose agents think with the model of this address, if they name none.
    pub(crate) async fn with_model(url: &str) -> Self {
        Self::with_profile(ModelProfile::local(url)).await
    }

    /// As `with_model`, with threads for calls.
    pub(crate) async fn in_lanes(url: &str) -> Self {
        let model = Some(ModelProfile::local(url));
        Self::of(Setup { model, in_lanes: true, ..Setup::default() }).await
    }

    /// As `with_model`, for a model that is spoken to in a certain way.
    pub(crate) async fn with_profile(model: ModelProfile) -> Self {
        let model = Some(model);
        Self::of(Setup { model, ..Setup::default() }).await
    }

    /// The same, and agents' lives are written down.
    pub(crate) async fn journaling(model_url: &str, journal: Journal) -> Self {
        let (model, journal) = (Some(ModelProfile::local(model_url)), Some(journal));
        Self::of(Setup { model, journal, ..Setup::default() }).await
    }

    /// As `with_model`, with traces of every call.
    pub(crate) async fn traced(model_url: &str, traces: Traces) -> Self {
        let (model, traces) = (Some(ModelProfile::local(model_url)), Some(traces));
        Self::of(Setup { model, traces, ..Setup::default() }).await
    }

    /// The same as `with_model`, and calls may be recorded.
    pub(crate) async fn recording(model_url: &str, policy: RecordingPolicy) -> Self {
        let (model, recordings) = (Some(ModelProfile::local(model_url)), Some(policy));
        Self::of(Setup { model, recordings, ..Setup::default() }).await
    }

    /// A gateway that refuses new calls by this policy.
    pub(crate) async fn admitting(admission: AdmissionPolicy) -> Self {
        Self::of(Setup { admission, ..Setup::default() }).await
    }

    /// A gateway over this store whose webhooks may lead to this machine.
    pub(crate) async fn hooking(store: Store) -> Self {
        let webhooks = WebhookPolicy { private: true };
        Self::build(store, Rates::default(), Setup { webhooks, ..Setup::default() }).await
    }

    /// A gateway that believes proxies on this machine.
    pub(crate) async fn behind_proxy(rates: Rates) -> Self {
        let store = Store::open("sqlite::memory:").await.expect("a store in memory");
        Self::build(store, rates, Setup { trusts_loopback: true, ..Setup::default() }).await
    }

    /// As off loopback, and callers are told of these servers for ICE.
    pub(crate) async fn recommending(ice: IceServers) -> Self {
        Self::of(Setup { open: false, ice, ..Setup::default() }).await
    }

    async fn build(store: Store, rates: Rates, setup: Setup) -> Self {
        store.ensure_bootstrap(&Secret::new(KEY), 1).await.expect("the bootstrap key");
        let hosted = RoomsConfig {
            media_listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            media_tcp_listen: None,
            public_ip: None,
            open: setup.open,
        };
        let threads = setup.in_lanes.then(|| LaneThreads::for_all_cores().expect("threads"));
        let lanes = threads.as_ref().map(LaneThreads::lanes).unwrap_or_default();
        let rooms = Rooms::in_lanes(&hosted, lanes);
        let mind = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("ws://{}", mind.local_addr().expect("an address"));
        let silent = ModelProfile::new(SILENT, url);
        let profiles = setup.model.into_iter().map(|profile| ("none".to_owned(), profile));
        let profiles = profiles.chain([(SILENT.to_owned(), silent)]).collect();
        let models = Models { default: "none".into(), profiles };
        let shell = Shell::new(rooms.expect("a media port"), models, Limits::default());
        let shell = shell.journaling(setup.journal).admitting(setup.admission);
        let shell = shell.hooking(setup.webhooks);
        let shell = shell.tracing(setup.traces);
        let recordings = setup.recordings.map(|policy| Recordings::open(policy, &shell.meter));
        let shell = shell.recording(recordings.transpose().expect("a folder"));
        let gateway = Gateway::start(shell, store).await.expect("a gateway");
        let admin_token = Some(Secret::new(ADMIN));
        let trusted = setup.trusts_loopback.then(|| IpAddr::from([127, 0, 0, 1]).into());
        let trusted_proxies = trusted.into_iter().collect();
        let config = ApiConfig { admin_token, rates, ice: setup.ice, trusted_proxies };
        let router = api::router(gateway.clone(), config);
        let (_, document) = ask(&router, Request::get("/openapi.json").body(Body::empty())).await;
        let described = Conformance(serde_json::from_str(&document).expect("a document"));
        Self { gateway, router, served: None, described, _mind: mind, _threads: threads }
    }

    /// Serves on a free port of loopback for as long as the house stands.
    pub(crate) async fn serve(&mut self) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = api::serve(listener, self.router.clone(), std::future::pending());
        self.served = Some(tasks::spawn("api", async {
            served.await.expect("it serves to the end");
        }));
        address
    }

    /// Asks as `bootstrap`, with a JSON body if there is one.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder().method(method).uri(path).header("x-api-key", KEY);
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.expect("a request")).await
    }

    /// Asks without a key and without a body.
    pub(crate) async fn bare(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        self.send(request.expect("a request")).await
    }

    /// Asks, and holds the answer against the description.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (parts, text) = ask(&self.router, Ok(request)).await;
        self.described.check((&method, &path), (parts.status, &parts.headers, &text));
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Makes an agent and tells its id.
    pub(crate) async fn agent(&self, body: Value) -> String {
        let made = self.ask(Method::POST, "/api/agents", Some(body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Makes one more key of `bootstrap`: its text, and its path.
    pub(crate) async fn spare_key(&self) -> (String, String) {
        let keys = "/api/users/usr_bootstrap/api-keys";
        let key = self.ask(Method::POST, keys, Some(serde_json::json!({}))).await.json();
        let of = |field: &str| key[field].as_str().expect("text").to_owned();
        (of("key"), format!("{keys}/{}", of("id")))
    }
}

async fn ask(router: &Router, request: axum::http::Result<Request<Body>>) -> (Parts, String) {
    let request = request.expect("a request");
    let response = router.clone().oneshot(request).await.expect("it never fails");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.expect("a body");
    (parts, String::from_utf8(bytes.to_vec()).expect("text"))
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The status and the code of an error, whose envelope must be whole.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        let status = self.status.as_u16();
        assert_eq!(body["statusCode"], status, "{body}");
        assert_eq!(body["error"], self.status.canonical_reason().expect("a reason"), "{body}");
        assert!(!body["message"].as_str().expect("a message").is_empty(), "{body}");
        (status, body["code"].as_str().expect("a code").to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}
