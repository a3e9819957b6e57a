//! An endpoint with manners of its own in front of rooms of ours, and what was asked of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use callbridge::privacy::Secret;
use callbridge::rooms::{IceSession, Rooms, RoomsConfig, TrickleAnswer};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// An endpoint whose only room is `lobby`.
pub(crate) struct Endpoint {
    pub(crate) rooms: Rooms,
    pub(crate) url: String,
    asked: watch::Receiver<Vec<Asked>>,
    _server: JoinSet<()>,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method and path.
    pub(crate) what: String,
    pub(crate) token: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) body: String,
}

#[derive(Clone)]
struct House {
    rooms: Rooms,
    asked: Arc<watch::Sender<Vec<Asked>>>,
    /// What the house is told, by the test, to say of itself.
    manners: Arc<Mutex<Manners>>,
}

/// Where it sends people, and the server for ICE that it recommends.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    pub(crate) elsewhere: Option<String>,
    pub(crate) link: Option<String>,
}

impl Endpoint {
    pub(crate) async fn open(manners: Manners) -> Self {
        let rooms = Rooms::new(&RoomsConfig {
            media_listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            media_tcp_listen: None,
            public_ip: None,
            open: true,
        });
        let rooms = rooms.unwrap();
        let (told, asked) = watch::channel(Vec::new());
        let manners = Arc::new(Mutex::new(manners));
        let house = House { rooms: rooms.clone(), asked: Arc::new(told), manners };
        let router = Router::new()
            .route("/whip/lobby", routing::post(lobby))
            .route("/whip/deaf", routing::post(deaf))
            .route("/whip/unreachable", routing::post(unreachable))
            .route("/whip/silent", routing::post(std::future::pending::<()>))
            .route("/whip/moved", redirect(StatusCode::TEMPORARY_REDIRECT))
            .route("/whip/gone", redirect(StatusCode::PERMANENT_REDIRECT))
            .route("/whip/status/{status}", routing::post(status))
            .route("/session/{key}", routing::patch(patch).delete(delete))
            .layer(from_fn_with_state(house.clone(), note))
            .with_state(house);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { rooms, url, asked, _server: server }
    }

    pub(crate) fn whip(&self, door: &str) -> String {
        format!("{}/whip/{door}", self.url)
    }

    /// Everything that was asked up to now.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// Waits until something like this is asked.
    pub(crate) async fn is_asked(&mut self, what: impl Fn(&Asked) -> bool) -> Asked {
        let mut found = None;
        let asked = self.asked.wait_for(|asked| {
            found = asked.iter().find(|asked| what(asked)).cloned();
            found.is_some()
        });
        super::within(asked).await.unwrap();
        found.unwrap()
    }
}

async fn note(State(house): State<House>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Parts { method, uri, headers, .. } = &parts;
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let text =
        |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
    let asked = Asked {
        what: format!("{method} {}", uri.path()),
        token: text(header::AUTHORIZATION),
        tag: text(header::IF_MATCH),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    house.asked.send_modify(|all| all.push(asked));
    next.run(Request::from_parts(parts, body.into())).await
}

async fn lobby(State(house): State<House>, offer: String) -> Response {
    let answer = house.rooms.enter("lobby", None, "Far", &offer).await.unwrap();
    // Relative to `/whip/lobby`.
    let location = format!("../session/{}", answer.key.expose());
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, location.parse().unwrap());
    headers.insert(header::ETAG, format!("\"{}\"", answer.ice_etag).parse().unwrap());
    if let Some(link) = &house.manners.lock().unwrap().link {
        headers.insert(header::LINK, link.parse().unwrap());
    }
    (StatusCode::CREATED, headers, answer.sdp).into_response()
}

/// It listens and says nothing.
async fn deaf(State(house): State<House>, offer: String) -> Response {
    let answer = house.rooms.enter("lobby", None, "Far", &offer).await.unwrap();
    let location = format!("/session/{}", answer.key.expose());
    let sdp = answer.sdp.replace("a=sendrecv", "a=recvonly");
    (StatusCode::CREATED, [(header::LOCATION, location)], sdp).into_response()
}

/// Nobody is where it says to send to.
async fn unreachable(State(house): State<House>, offer: String) -> Response {
    let answer = house.rooms.enter("lobby", None, "Far", &offer).await.unwrap();
    let port = format!(" {} typ host", house.rooms.media_addresses()[0].port());
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let nowhere = format!(" {} typ host", nobody.local_addr().unwrap().port());
    let location = format!("/session/{}", answer.key.expose());
    let sdp = answer.sdp.replace(&port, &nowhere);
    // It must not find us either.
    house.rooms.hang_up("lobby", &answer.key).await;
    (StatusCode::CREATED, [(header::LOCATION, location)], sdp).into_response()
}

async fn status(Path(status): Path<u16>) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}

fn redirect(status: StatusCode) -> MethodRouter<House> {
    routing::post(async move |State(house): State<House>| {
        let elsewhere = house.manners.lock().unwrap().elsewhere.clone();
        (status, [(header::LOCATION, elsewhere.unwrap_or_else(|| "lobby".to_owned()))])
    })
}

async fn patch(State(house): State<House>, Path(key): Path<String>, fragment: Bytes) -> Response {
    let fragment = String::from_utf8(fragment.to_vec()).unwrap();
    let key = Secret::new(key);
    match house.rooms.trickle("lobby", &key, IceSession::Any, &fragment).await.unwrap() {
        TrickleAnswer::Restarted { fragment, ice_etag } => {
            ([(header::ETAG, format!("\"{ice_etag}\""))], fragment).into_response()
        }
        TrickleAnswer::Added | TrickleAnswer::Outdated => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn delete(State(house): State<House>, Path(key): Path<String>) -> StatusCode {
    house.rooms.hang_up("lobby", &Secret::new(key)).await;
    StatusCode::OK
}

/// A STUN server that sees everybody at 203.0.113.7:4321 (RFC 8489); its URL.
pub(crate) async fn stun_server(tasks: &mut JoinSet<()>) -> String {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("stun:{}", socket.local_addr().unwrap());
    tasks.spawn(async move {
        let mut request = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut request).await.unwrap();
            if length < 20 {
                continue;
            }
            // Success, with one XOR-MAPPED-ADDRESS of IPv4; cookie and transaction as they came.
            let mut answer = vec![0x01, 0x01, 0, 12];
            answer.extend_from_slice(&request[4..20]);
            answer.extend_from_slice(&[0x00, 0x20, 0, 8, 0, 1]);
            answer.extend_from_slice(&(0x10E1_u16 ^ 0x2112).to_be_bytes());
            let address = u32::from_be_bytes([203, 0, 113, 7]) ^ 0x2112_A442;
            answer.extend_from_slice(&address.to_be_bytes());
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    url
}
