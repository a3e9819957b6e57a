//! Floods: many messages from one client, as fast as it can, in order and none lost.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Method;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use harness::{House, KEY};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

const FLOOD: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_io_takes_a_flood_with_acknowledgements() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::socket_io(address, &id).await;
    // Not a word is read before the last one is sent.
    for number in 0..FLOOD {
        let message = json!(["message", context(number)]);
        client.feed(format!("42{number}{message}")).await;
    }
    client.flush().await;
    for number in 0..FLOOD {
        let ack = client.skip_to("43").await;
        assert_eq!(ack, format!(r#"43{number}[{{"ok":true}}]"#));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_io_takes_a_flood_without_acknowledgements() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::socket_io(address, &id).await;
    for number in 0..FLOOD {
        client.feed(format!("42{}", json!(["message", result(number)]))).await;
    }
    client.flush().await;
    // Each is for no call at all, and is refused as such: so each was taken, and in this order.
    for number in 0..FLOOD {
        let packet = client.skip_to(r#"42["error","#).await;
        let told: Value = serde_json::from_str(&packet[2..]).expect("JSON");
        assert_refused(&told[1], number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_takes_a_flood_with_acknowledgements() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::websocket(address, &id).await;
    for number in 0..FLOOD {
        let mut message = context(number);
        message["ack"] = json!(number);
        client.feed(message.to_string()).await;
    }
    client.flush().await;
    for number in 0..FLOOD {
        let ack = client.skip_to(r#"{"type":"ack""#).await;
        assert_eq!(ack, format!(r#"{{"type":"ack","ack":{number},"ok":true}}"#));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_takes_a_flood_without_acknowledgements() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let Client { mut sends, mut reads } = Client::websocket(address, &id).await;
    let send = async {
        for number in 0..FLOOD {
            sends.feed(Message::text(result(number).to_string())).await.expect("taken");
        }
        sends.flush().await.expect("sent");
    };
    let read = async {
        for number in 0..FLOOD {
            let told = skip_to(&mut reads, r#"{"type":"error""#).await;
            assert_refused(&serde_json::from_str(&told).expect("JSON"), number);
        }
    };
    tokio::join!(send, read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_talk_at_once_are_all_taken_and_all_told() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut listener = Client::websocket(address, &id).await;
    let talk = async |mut client: Client| {
        for number in 0..500 {
            let mut message = context(number);
            message["ack"] = json!(number);
            client.feed(message.to_string()).await;
        }
        client.flush().await;
        for number in 0..500 {
            let ack = client.skip_to(r#"{"type":"ack""#).await;
            assert_eq!(ack, format!(r#"{{"type":"ack","ack":{number},"ok":true}}"#));
        }
    };
    let clients = (0..40).map(async |_| talk(Client::websocket(address, &id).await).await);
    futures_util::future::join_all(clients).await;
    listener.feed(json!({"type": "interrupt", "ack": "still here"}).to_string()).await;
    listener.flush().await;
    let ack = listener.skip_to(r#"{"type":"ack""#).await;
    assert_eq!(ack, r#"{"type":"ack","ack":"still here","ok":true}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_sent_on_the_heels_of_the_handshake_are_all_taken() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut socket_io = Client::socket_io(address, &id).await;
    for number in 0..2_000 {
        socket_io.feed(format!("42{number}{}", json!(["message", context(number)]))).await;
    }
    socket_io.flush().await;
    let mut websocket = Client::websocket(address, &id).await;
    for number in 0..2_000 {
        let mut message = context(number);
        message["ack"] = json!(number);
        websocket.feed(message.to_string()).await;
    }
    websocket.flush().await;
    for number in 0..2_000 {
        let ack = socket_io.skip_to("43").await;
        assert_eq!(ack, format!(r#"43{number}[{{"ok":true}}]"#));
        let ack = websocket.skip_to(r#"{"type":"ack""#).await;
        assert_eq!(ack, format!(r#"{{"type":"ack","ack":{number},"ok":true}}"#));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_mailbox_holds_is_refused_message_by_message() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::socket_io(address, &id).await;
    // Seven of these fill a mailbox of 16 MiB while the first of them is read.
    let big = "x".repeat(7 * 1024 * 1024);
    for number in 0..8 {
        let message = json!(["message", {"type": "say", "text": big}]);
        client.feed(format!("42{number}{message}")).await;
    }
    client.flush().await;
    let mut codes = Vec::new();
    for _ in 0..8 {
        let ack = client.skip_to("43").await;
        let body: Value = serde_json::from_str(&ack[3..]).expect("JSON");
        codes.push(body[0]["code"].as_str().expect("a code").to_owned());
    }
    assert!(codes.iter().any(|code| code == "BAD_MESSAGE"), "some are read: {codes:?}");
    let known = ["BAD_MESSAGE", "QUEUE_FULL"];
    assert!(codes.iter().all(|code| known.contains(&code.as_str())), "{codes:?}");
    client.feed(r#"429["interrupt"]"#.to_owned()).await;
    client.flush().await;
    assert_eq!(client.skip_to("439").await, r#"439[{"ok":true}]"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_disconnected_in_the_end() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let stream = socket.connect(address).await.expect("a connection");
    let query = format!("EIO=4&transport=websocket&agentId={id}&apiKey={KEY}");
    let url = format!("ws://{address}/socket.io/?{query}");
    let stream = MaybeTlsStream::Plain(stream);
    let (stream, _) = client_async(url, stream).await.expect("a WebSocket");
    let (sends, reads) = stream.split();
    let mut client = Client { sends, reads };
    client.feed("40".to_owned()).await;
    client.flush().await;
    client.skip_to("40{").await;
    for number in 0..FLOOD {
        client
            .feed(format!(r#"42{number}["no such message at all, and so an error comes back"]"#))
            .await;
    }
    client.flush().await;
    let path = format!("/api/agents/{id}");
    let mut look = tokio::time::interval(Duration::from_millis(100));
    let gone = async {
        while house.ask(Method::GET, &path, None).await.json()["clients"] != 0 {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), gone).await.expect("it is let go in time");
}

fn assert_refused(told: &Value, number: usize) {
    assert_eq!(told["code"], "UNKNOWN_TOOL_CALL", "{told}");
    let message = told["message"].as_str().expect("a message");
    assert!(message.contains(&format!("tc_{number:05}")), "{number}: {message}");
}

fn context(number: usize) -> Value {
    let content =
        json!({"name": format!("e{number}"), "context": {"n": number}, "triggering": false});
    json!({"type": "huma-0.1-event", "content": content})
}

fn result(number: usize) -> Value {
    json!({"type": "tool-result", "toolCallId": format!("tc_{number:05}"), "success": true})
}

async fn served() -> (House, SocketAddr) {
    let mut house = House::open().await;
    let address = house.serve().await;
    (house, address)
}

fn agent() -> Value {
    json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {}})
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A client that speaks either protocol by hand.
struct Client {
    sends: SplitSink<Stream, Message>,
    reads: SplitStream<Stream>,
}

impl Client {
    async fn socket_io(address: SocketAddr, agent: &str) -> Self {
        let query = format!("EIO=4&transport=websocket&agentId={agent}&apiKey={KEY}");
        let mut client = Self::dial(format!("ws://{address}/socket.io/?{query}")).await;
        client.feed("40".to_owned()).await;
        client.flush().await;
        client.skip_to("40{").await;
        client
    }

    async fn websocket(address: SocketAddr, agent: &str) -> Self {
        Self::dial(format!("ws://{address}/api/agents/{agent}/socket?apiKey={KEY}")).await
    }

    async fn dial(url: String) -> Self {
        let (stream, _) = connect_async(url).await.expect("a WebSocket");
        let (sends, reads) = stream.split();
        Self { sends, reads }
    }

    async fn feed(&mut self, text: String) {
        self.sends.feed(Message::text(text)).await.expect("taken");
    }

    async fn flush(&mut self) {
        self.sends.flush().await.expect("sent");
    }

    async fn skip_to(&mut self, start: &str) -> String {
        skip_to(&mut self.reads, start).await
    }
}

/// The next text that begins so.
async fn skip_to(reads: &mut SplitStream<Stream>, start: &str) -> String {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(30), reads.next()).await;
        let message = next.expect("it comes within 30 s").expect("a frame, not the end");
        let Message::Text(text) = message.expect("a frame, not a failure") else { continue };
        assert!(!text.contains("QUEUE_FULL") || start.starts_with("43"), "{text}");
        if text.starts_with(start) {
            return text.to_string();
        }
    }
}
