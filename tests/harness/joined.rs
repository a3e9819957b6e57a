//! An agent, its conversation with a model and the socket to it, joined without tasks, rooms or
//! servers: what happens to a frame between the network and the model's socket, and back.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use callbridge::agent::{AgentSpec, Command, JoinRequest, Limits, Participant, RoomEvent};
use callbridge::ids::{CallId, ClientId, ParticipantId};
use callbridge::media::OpusPacket;
use callbridge::models::ModelProfile;
use callbridge::models::conversation::{Conversation, LinkId, Output, WallClock};
use callbridge::models::dialect::HearingRate;
use callbridge::models::wire::{FrameWriter, ServerEvent, output_audio_delta};
use callbridge::runtime::{Core, Effect, Seed, Stimulus};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, WebSocket};

/// A call without a room and without a server.
pub(crate) struct Call {
    core: Core,
    conversation: Option<Conversation>,
    born: VecDeque<Stimulus>,
    writer: FrameWriter,
    socket: WebSocket<Wire>,
    now: Instant,
    human: ParticipantId,
    /// How many packets of the human's have come.
    heard: u16,
    /// How many frames the model's socket has taken.
    pub(crate) appended: usize,
    /// Packets of the agent's that have left, until somebody takes them.
    pub(crate) said: Vec<OpusPacket>,
}

impl Call {
    pub(crate) fn new(now: Instant) -> Self {
        let seed = Seed {
            spec: Arc::new(AgentSpec { voice_enabled: true, ..AgentSpec::default() }),
            limits: Arc::new(Limits::default()),
            expires_at: None,
            own: ParticipantId::new("p_agent"),
            silero: None,
        };
        let mut call = Self {
            core: Core::new(seed, now),
            conversation: None,
            born: VecDeque::new(),
            writer: FrameWriter::new(HearingRate::Khz24),
            socket: WebSocket::from_raw_socket(Wire::default(), Role::Client, None),
            now,
            human: ParticipantId::new("p_ann"),
            heard: 0,
            appended: 0,
            said: Vec::with_capacity(64),
        };
        call.feed(Stimulus::ClientConnected(ClientId::new("cl_1")));
        call.feed(Stimulus::Command(Command::Join(JoinRequest {
            call: CallId::new("call_1"),
            room_url: "rooms/hall".to_owned(),
            token: None,
            participant_name: None,
        })));
        call
    }

    /// A packet of the human's, 20 ms after the one before.
    pub(crate) fn hear(&mut self, payload: Bytes) {
        self.now += FRAME;
        let packet = OpusPacket {
            participant: self.human.clone(),
            sequence: self.heard,
            timestamp: u32::from(self.heard).wrapping_mul(960),
            marker: false,
            payload,
            at: self.now,
        };
        self.heard = self.heard.wrapping_add(1);
        self.feed(Stimulus::Packet(packet));
        self.pass_time();
    }

    /// The server sends this.
    pub(crate) fn arrive(&mut self, bytes: &[u8]) {
        self.socket.get_mut().receive(bytes);
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => self.read(&text),
                Ok(other) => assert!(other.is_ping(), "the server sends text"),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.live();
    }

    fn read(&mut self, text: &str) {
        let conversation = self.conversation.as_mut().expect("the model is there");
        conversation.handle_text(LINK, text, self.now);
        self.obey();
    }

    fn pass_time(&mut self) {
        let conversation = self.conversation.as_mut().expect("the model is there");
        if conversation.poll_timeout().is_some_and(|at| at <= self.now) {
            conversation.handle_timeout(self.now);
            self.obey();
        }
        if self.core.poll_timeout().is_some_and(|at| at <= self.now) {
            self.feed(Stimulus::TimePassed);
        }
    }

    fn feed(&mut self, stimulus: Stimulus) {
        self.born.push_back(stimulus);
        self.live();
    }

    /// All that follows, as the agent's task does it.
    fn live(&mut self) {
        while let Some(stimulus) = self.born.pop_front() {
            self.core.handle(stimulus, self.now).expect("nothing is refused");
            while let Some(effect) = self.core.poll_effect() {
                self.perform(effect);
            }
            self.core.poll_snapshot();
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for others")]
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send(packet) => self.said.push(packet),
            Effect::Hear(heard) => {
                let conversation = self.conversation.as_mut().expect("the model is there");
                conversation.handle_frame(&heard.frame, self.now);
                self.obey();
            }
            Effect::JoinRoom(_) => {
                let participants =
                    vec![Participant { id: ParticipantId::new("p_ann"), name: "Ann".to_owned() }];
                self.born.push_back(Stimulus::Room(RoomEvent::Joined { participants }));
            }
            Effect::OpenModel { spec, medium } => {
                let profile = ModelProfile::new("test", "ws://test");
                let clock = WallClock { now: self.now, unix_ms: 0 };
                let conversation = Conversation::new(&profile, &spec, medium, clock);
                self.conversation = Some(conversation.expect("the agent can be told"));
                self.obey();
            }
            _ => {}
        }
    }

    /// All that the conversation wants, as the session's task does it.
    fn obey(&mut self) {
        loop {
            let conversation = self.conversation.as_mut().expect("the model is there");
            let Some(output) = conversation.poll_output() else { return };
            match output {
                Output::Connect(link) => {
                    assert_eq!(link, LINK);
                    conversation.on_connected(link, self.now);
                }
                Output::Send { text, .. } => {
                    if text.contains("session.update") {
                        conversation.handle_text(LINK, UPDATED, self.now);
                    }
                    self.send(Message::text(text));
                }
                Output::SendFrame { frame, .. } => {
                    let frame = conversation.frame(frame).expect("it is kept");
                    let text = Utf8Bytes::try_from(self.writer.append(frame));
                    self.send(Message::Text(text.expect("base64 is text")));
                    self.appended += 1;
                }
                Output::Ping(link) => conversation.on_alive(link, self.now),
                Output::Item(item) => self.born.push_back(Stimulus::Model(item)),
                Output::Close(_) | Output::Ended(_) => {}
            }
        }
    }

    fn send(&mut self, message: Message) {
        self.socket.send(message).expect("the wire takes all");
    }
}

/// The network, as far as a socket sees it.
#[derive(Default)]
struct Wire {
    incoming: Vec<u8>,
    read: usize,
    written: usize,
}

impl Wire {
    fn receive(&mut self, bytes: &[u8]) {
        self.incoming.clear();
        self.incoming.extend_from_slice(bytes);
        self.read = 0;
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let waiting = &self.incoming[self.read..];
        if waiting.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = waiting.len().min(buffer.len());
        buffer[..count].copy_from_slice(&waiting[..count]);
        self.read += count;
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a server sends with this text.
pub(crate) fn sent(text: String) -> Vec<u8> {
    let mut server = WebSocket::from_raw_socket(io::Cursor::new(Vec::new()), Role::Server, None);
    server.send(Message::text(text)).expect("there is room");
    server.get_ref().get_ref().clone()
}

/// The server begins to answer.
pub(crate) fn created(response: &str) -> Vec<u8> {
    let response = format!(r#"{{"id":"{response}"}}"#);
    sent(format!(r#"{{"type":"response.created","event_id":"event_1","response":{response}}}"#))
}

/// More of a voice.
pub(crate) fn delta(response: &str, item: &str, samples: &[i16]) -> Vec<u8> {
    sent(
        ServerEvent::AudioDelta(output_audio_delta(response, item, samples))
            .encode(Some("event_2")),
    )
}

const LINK: LinkId = LinkId(1);
const UPDATED: &str = r#"{"type":"session.updated","session":{}}"#;

/// How many packets come in the time of a delta.
pub(crate) const FRAMES_PER_DELTA: usize = 5;

const FRAME: Duration = Duration::from_millis(20);
