//! What is said to Janus and what it says, as JSON: its own API and that of its AudioBridge.
//!
//! Only what a participant needs of it (<https://janus.conf.meetecho.com/docs/rest.html> and
//! `audiobridge.html` beside it).

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::privacy::Secret;

/// The number or the text by which Janus knows a room or somebody in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Number(u64),
    Text(String),
}

/// Something to be asked, without the envelope.
#[derive(Clone)]
pub(super) struct Request {
    body: Value,
    /// Whether an acknowledgement is all of the answer.
    pub(super) is_acknowledged: bool,
}

/// What every request carries.
#[derive(Clone, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) transaction: u64,
    pub(super) session: Option<u64>,
    pub(super) api_secret: Option<&'a Secret>,
    pub(super) token: Option<&'a Secret>,
}

/// How a room is entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) room: &'a Id,
    pub(super) display: &'a str,
    pub(super) pin: Option<&'a Secret>,
    /// For rooms that list who is allowed.
    pub(super) token: Option<&'a Secret>,
}

impl Request {
    fn new(body: Value) -> Self {
        Self { body, is_acknowledged: false }
    }

    /// A session, please.
    pub(super) fn create() -> Self {
        Self::new(json!({"janus": "create"}))
    }

    /// The session is ours, over this connection from here on.
    pub(super) fn claim() -> Self {
        Self::new(json!({"janus": "claim"}))
    }

    /// We are still there.
    pub(super) fn keep_alive() -> Self {
        Self { is_acknowledged: true, ..Self::new(json!({"janus": "keepalive"})) }
    }

    /// The end of the session, and of all in it.
    pub(super) fn destroy() -> Self {
        Self::new(json!({"janus": "destroy"}))
    }

    /// A handle of the AudioBridge.
    pub(super) fn attach() -> Self {
        Self::new(json!({"janus": "attach", "plugin": "janus.plugin.audiobridge"}))
    }

    /// The end of a handle, and of the leg that belongs to it.
    pub(super) fn detach(handle: u64) -> Self {
        Self::new(json!({"janus": "detach", "handle_id": handle}))
    }

    /// A room that mixes in our rate, and tells soon who speaks in it.
    pub(super) fn make_room(
        handle: u64,
        room: &Id,
        pin: Option<&Secret>,
        secret: Option<&Secret>,
    ) -> Self {
        let mut body = json!({
            "request": "create",
            "room": room.json(),
            "permanent": false,
            "sampling_rate": 48_000,
            "audiolevel_event": true,
            "audio_active_packets": ACTIVE_PACKETS,
        });
        put(&mut body, "pin", pin);
        put(&mut body, "secret", secret);
        Self::message(handle, &body)
    }

    /// The end of a room, for everybody in it.
    pub(super) fn destroy_room(handle: u64, room: &Id, secret: Option<&Secret>) -> Self {
        let mut body = json!({"request": "destroy", "room": room.json()});
        put(&mut body, "secret", secret);
        Self::message(handle, &body)
    }

    /// We come in.
    pub(super) fn join(handle: u64, entry: &Entry<'_>) -> Self {
        let Entry { room, display, pin, token } = *entry;
        let mut body = json!({
            "request": "join",
            "room": room.json(),
            "display": display,
            "muted": false,
        });
        put(&mut body, "pin", pin);
        put(&mut body, "token", token);
        Self::message(handle, &body)
    }

    /// Our offer, with every candidate in it.
    pub(super) fn offer(handle: u64, sdp: &str) -> Self {
        let mut request = Self::message(handle, &json!({"request": "configure", "muted": false}));
        request.body["jsep"] = json!({"type": "offer", "sdp": sdp, "trickle": false});
        request
    }

    /// Who is there?
    pub(super) fn list(handle: u64, room: &Id) -> Self {
        Self::message(handle, &json!({"request": "listparticipants", "room": room.json()}))
    }

    /// We go.
    pub(super) fn leave(handle: u64) -> Self {
        Self::message(handle, &json!({"request": "leave"}))
    }

    fn message(handle: u64, body: &Value) -> Self {
        Self::new(json!({"janus": "message", "handle_id": handle, "body": body}))
    }

    /// The text that is sent.
    pub(super) fn encode(mut self, envelope: &Envelope<'_>) -> String {
        self.body["transaction"] = json!(envelope.transaction.to_string());
        if let Some(session) = envelope.session {
            self.body["session_id"] = json!(session);
        }
        put(&mut self.body, "apisecret", envelope.api_secret);
        put(&mut self.body, "token", envelope.token);
        self.body.to_string()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.body["body"]["request"].as_str().or(self.body["janus"].as_str());
        f.write_str(verb.unwrap_or_default())
    }
}

fn put(body: &mut Value, name: &str, secret: Option<&Secret>) {
    if let Some(secret) = secret {
        body[name] = json!(secret.expose());
    }
}

impl Id {
    /// The ways in which a room's name may be meant: as a number, if it is one, and as text.
    pub(super) fn spellings(text: &str) -> Vec<Self> {
        let number = text.parse().ok().map(Self::Number);
        number.into_iter().chain([Self::Text(text.to_owned())]).collect()
    }

    fn json(&self) -> Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Text(text) => json!(text),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Something that Janus has said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    /// Which request of ours it answers.
    pub(super) transaction: Option<u64>,
    /// Which handle it is about.
    pub(super) handle: Option<u64>,
    pub(super) word: Word,
}

/// What it has said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// The answer will come.
    Ack,
    /// It is done; new things have a number.
    Success(Option<u64>),
    /// It is not done.
    Refused(Refusal),
    /// The AudioBridge's word, perhaps with an answer to our offer.
    Bridge(Bridge, Option<String>),
    /// A candidate (`candidate:…`).
    Candidate(String),
    /// The leg is over, for this reason.
    HungUp(String),
    /// The session is over.
    TimedOut,
    /// Nothing that concerns us.
    Other,
}

/// Why Janus, or the AudioBridge, does not do something. Their codes do not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u64,
    pub(super) reason: String,
}

/// What the AudioBridge has said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bridge {
    /// We are in under this name, with these others.
    In { me: Id, people: Vec<Person> },
    /// All who are there, ourselves among them.
    All(Vec<Person>),
    /// Some have come, or have changed.
    Some(Vec<Person>),
    /// Somebody has gone.
    Gone(Id),
    /// Somebody was sent out.
    Kicked(Id),
    /// The room is no more.
    Destroyed,
    /// Somebody has begun to speak, or has ended.
    Talking { id: Id, is_talking: bool },
    /// It is not done.
    Refused(Refusal),
    /// What was asked is done, or does not concern us.
    Done,
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Person {
    pub(super) id: Id,
    #[serde(default, deserialize_with = "perhaps")]
    pub(super) display: String,
    /// Whether their sound can come and go.
    #[serde(default = "yes")]
    pub(super) setup: bool,
    #[serde(default)]
    pub(super) muted: bool,
    /// Told only where the room watches who speaks.
    #[serde(default)]
    pub(super) talking: bool,
}

impl Message {
    /// Reads what has come; `None` if it is nothing that Janus says.
    pub(super) fn read(text: &str) -> Option<Self> {
        let Frame { janus, transaction, sender, data, error, plugindata, jsep, candidate, reason } =
            serde_json::from_str(text).ok()?;
        let word = match (janus.as_str(), plugindata) {
            ("ack", _) => Word::Ack,
            ("event" | "success", Some(PluginData { data })) => {
                Word::Bridge(data.read(), jsep.map(|jsep| jsep.sdp))
            }
            ("success", None) => Word::Success(data.map(|data| data.id)),
            ("error", _) => {
                let ErrorBody { code, reason } = error.unwrap_or_default();
                Word::Refused(Refusal { code, reason })
            }
            ("trickle", _) => match candidate.and_then(|it| it.candidate) {
                Some(candidate) => Word::Candidate(candidate),
                None => Word::Other,
            },
            ("hangup", _) => Word::HungUp(reason.unwrap_or_default()),
            ("detached", _) => Word::HungUp("the handle is gone".to_owned()),
            ("timeout", _) => Word::TimedOut,
            _ => Word::Other,
        };
        let transaction = transaction.and_then(|number| number.parse().ok());
        Some(Self { transaction, handle: sender, word })
    }

    /// The number of what was made.
    pub(super) const fn made(&self) -> Option<u64> {
        if let Word::Success(number) = self.word { number } else { None }
    }
}

#[derive(Deserialize)]
struct Frame {
    janus: String,
    transaction: Option<String>,
    sender: Option<u64>,
    data: Option<Created>,
    error: Option<ErrorBody>,
    plugindata: Option<PluginData>,
    jsep: Option<Jsep>,
    candidate: Option<Candidate>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    id: u64,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    code: u64,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Jsep {
    sdp: String,
}

#[derive(Deserialize)]
struct Candidate {
    /// Absent where there are no more.
    candidate: Option<String>,
}

#[derive(Deserialize)]
struct PluginData {
    data: BridgeBody,
}

#[derive(Deserialize)]
struct BridgeBody {
    #[serde(default)]
    audiobridge: String,
    id: Option<Id>,
    participants: Option<Vec<Person>>,
    leaving: Option<Id>,
    kicked: Option<Id>,
    error_code: Option<u64>,
    #[serde(default)]
    error: String,
}

impl BridgeBody {
    fn read(self) -> Bridge {
        let Self { audiobridge, id, participants, leaving, kicked, error_code, error } = self;
        if let Some(code) = error_code {
            return Bridge::Refused(Refusal { code, reason: error });
        }
        match (audiobridge.as_str(), id, participants) {
            ("joined" | "roomchanged", Some(me), people) => {
                Bridge::In { me, people: people.unwrap_or_default() }
            }
            ("participants", _, Some(people)) => Bridge::All(people),
            ("joined" | "event", None, Some(people)) => Bridge::Some(people),
            ("talking", Some(id), _) => Bridge::Talking { id, is_talking: true },
            ("stopped-talking", Some(id), _) => Bridge::Talking { id, is_talking: false },
            ("destroyed", ..) => Bridge::Destroyed,
            _ => match (kicked, leaving) {
                (Some(id), _) => Bridge::Kicked(id),
                (None, Some(id)) => Bridge::Gone(id),
                (None, None) => Bridge::Done,
            },
        }
    }
}

/// A text that may be null.
fn perhaps<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(text)?.unwrap_or_default())
}

const fn yes() -> bool {
    true
}

/// So many packets of speech make somebody a speaker: 200 ms.
const ACTIVE_PACKETS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bridge_says_of_people_is_read() {
        let ann = Person {
            id: Id::Number(9),
            display: "Ann".into(),
            setup: false,
            muted: true,
            talking: false,
        };
        let people = r#"[{"id":9,"display":"Ann","setup":false,"muted":true}]"#;
        let me = Id::Text("me".into());
        for (said, expected) in [
            (
                format!(r#""audiobridge":"joined","participants":{people}"#),
                Bridge::Some(vec![ann.clone()]),
            ),
            (
                format!(r#""audiobridge":"event","participants":{people}"#),
                Bridge::Some(vec![ann.clone()]),
            ),
            (
                format!(r#""audiobridge":"joined","id":"me","participants":{people}"#),
                Bridge::In { me, people: vec![ann.clone()] },
            ),
            (
                format!(r#""audiobridge":"participants","participants":{people}"#),
                Bridge::All(vec![ann]),
            ),
            (r#""audiobridge":"event","leaving":9"#.into(), Bridge::Gone(Id::Number(9))),
            (r#""audiobridge":"event","kicked":9"#.into(), Bridge::Kicked(Id::Number(9))),
            (r#""audiobridge":"destroyed","room":1"#.into(), Bridge::Destroyed),
            (
                r#""audiobridge":"talking","room":1,"id":9"#.into(),
                Bridge::Talking { id: Id::Number(9), is_talking: true },
            ),
            (r#""audiobridge":"left","room":1,"id":9"#.into(), Bridge::Done),
            (
                r#""audiobridge":"event","error_code":485,"error":"No such room (9)""#.into(),
                Bridge::Refused(Refusal { code: 485, reason: "No such room (9)".into() }),
            ),
        ] {
            let text =
                format!(r#"{{"janus":"event","sender":4,"plugindata":{{"data":{{{said}}}}}}}"#);
            let message = Message::read(&text).unwrap();
            assert_eq!(message.word, Word::Bridge(expected, None), "{said}");
            assert_eq!((message.handle, message.transaction), (Some(4), None));
        }
    }

    #[test]
    fn what_janus_itself_says_is_read() {
        let word = |text: &str| Message::read(text).map(|message| message.word);
        assert_eq!(word(r#"{"janus":"ack","transaction":"7"}"#), Some(Word::Ack));
        assert_eq!(word(r#"{"janus":"success","data":{"id":5}}"#), Some(Word::Success(Some(5))));
        assert_eq!(
            word(r#"{"janus":"trickle","candidate":{"candidate":"candidate:1"}}"#),
            Some(Word::Candidate("candidate:1".into()))
        );
        assert_eq!(
            word(r#"{"janus":"trickle","candidate":{"completed":true}}"#),
            Some(Word::Other)
        );
        assert_eq!(word(r#"{"janus":"timeout","session_id":3}"#), Some(Word::TimedOut));
        let refusal = Refusal { code: 458, reason: "No such session".into() };
        let text = r#"{"janus":"error","error":{"code":458,"reason":"No such session"}}"#;
        assert_eq!(word(text), Some(Word::Refused(refusal)));
        assert_eq!(word("[]"), None);
    }

    #[test]
    fn secrets_are_sent_and_not_shown() {
        let secret = Secret::new("hush");
        let (room, pin) = (Id::Number(1234), Some(&secret));
        let request = Request::join(2, &Entry { room: &room, display: "Ada", pin, token: None });
        assert_eq!(format!("{request:?}"), "join");
        let envelope = Envelope { transaction: 7, session: Some(3), api_secret: pin, token: None };
        let sent: Value = serde_json::from_str(&request.encode(&envelope)).unwrap();
        assert_eq!((&sent["apisecret"], &sent["body"]["pin"]), (&json!("hush"), &json!("hush")));
        assert_eq!((&sent["session_id"], &sent["transaction"]), (&json!(3), &json!("7")));
        assert_eq!(sent["body"]["room"], 1234);
        assert!(sent.get("token").is_none() && sent["body"].get("token").is_none());
    }

    #[test]
    fn a_room_may_be_a_number_or_a_text() {
        let text = |text: &str| Id::Text(text.into());
        assert_eq!(Id::spellings("1234"), [Id::Number(1234), text("1234")]);
        assert_eq!(Id::spellings("lobby"), [text("lobby")]);
    }
}
