//! A Realtime server in memory: it hears what it is sent, takes turns as its settings say, and
//! answers by the script. What it says is due at an instant, and is lost with its socket.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answering, Step};
use super::manner::{Manner, dressed, prelude, raw};
use super::script::{Answer, Fault, Outage, OutageKind, Script, Spoken};
use super::session::{Edge, Session};
use crate::media::Frame24k;
use crate::models::conversation::LinkId;

/// The server, and all sessions with it.
#[derive(Debug)]
pub(super) struct Server {
    sessions: BTreeMap<LinkId, Session>,
    answers: VecDeque<Answer>,
    outages: Vec<Outage>,
    session_lasts: Duration,
    manner: Manner,
    /// What people say and no turn has taken in yet, in the order of its time.
    words: VecDeque<Spoken>,
    voice: Vec<i16>,
    counts: Counts,
    due: BTreeMap<(Duration, u64), (LinkId, Due)>,
    dues: u64,
}

/// What the server does next.
#[derive(Debug)]
pub(super) enum Said {
    /// It sends this.
    Text(String),
    /// It sends this: that what it was asked for cannot be, with this code.
    Refused(String, String),
    /// It closes the socket.
    Closed(Option<u16>),
}

/// Names of what the server makes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    heard: u32,
    items: u32,
    spoken: u32,
    responses: u32,
    calls: u32,
}

#[derive(Debug)]
enum Due {
    Say(Value),
    /// The words of a turn, as an event and as what was said.
    Words(Value, Vec<Spoken>),
    Refuse(Value),
    Raw(String),
    Answer {
        response: String,
        step: Step,
    },
    Close(Option<u16>),
    Expire,
}

impl Server {
    pub(super) fn new(script: &Script, voice: Vec<i16>) -> Self {
        let lines = script.people.iter().flat_map(|person| &person.lines);
        let mut words: Vec<Spoken> = lines.cloned().collect();
        words.sort_by_key(|spoken| spoken.from);
        Self {
            sessions: BTreeMap::new(),
            answers: script.answers.clone().into(),
            outages: script.outages.clone(),
            session_lasts: script.session.unwrap_or(SESSION),
            manner: script.manner,
            words: words.into(),
            voice,
            counts: Counts::default(),
            due: BTreeMap::new(),
            dues: 0,
        }
    }

    /// A client asks for a socket: the HTTP status if it is refused one.
    pub(super) fn connect(&mut self, link: LinkId, now: Duration) -> Result<(), u16> {
        let outage = self.outages.iter().find(|outage| (outage.from..outage.to).contains(&now));
        let kind = outage.map(|outage| outage.kind);
        if let Some(OutageKind::Refuse(status)) = kind {
            return Err(status);
        }
        let session = Session::new(kind == Some(OutageKind::Mute));
        self.sessions.insert(link, session);
        let expires_at = START_UNIX_SECONDS + (now + self.session_lasts).as_secs();
        let session =
            json!({"type": "realtime", "id": format!("sess_{link:?}"), "expires_at": expires_at});
        if let Some(first) = prelude(self.manner) {
            self.say(link, now, first);
        }
        if self.manner != Manner::SilentFirst {
            self.say(link, now, json!({"type": "session.created", "session": session}));
        }
        self.put(link, now + self.session_lasts, Due::Expire);
        Ok(())
    }

    /// The client is gone.
    pub(super) fn disconnect(&mut self, link: LinkId) {
        self.sessions.remove(&link);
        // What it had heard and not told, another may hear.
        for (of, due) in self.due.values_mut() {
            if let (true, Due::Words(_, said)) = (*of == link, due) {
                self.words.extend(said.drain(..));
            }
        }
        self.words.make_contiguous().sort_by_key(|spoken| spoken.from);
    }

    /// Whether the socket is there and alive.
    pub(super) fn is_alive(&self, link: LinkId) -> bool {
        self.sessions.get(&link).is_some_and(|session| !session.is_half_open)
    }

    /// The client says something.
    pub(super) fn take(&mut self, link: LinkId, text: &str, now: Duration) {
        let session = self.sessions.get_mut(&link).filter(|session| !session.is_half_open);
        let Some(session) = session else { return };
        let event: Value = serde_json::from_str(text).unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "session.update" => {
                session.configure(&event["session"]["audio"]["input"]);
                if !session.is_mute {
                    let session = event["session"].clone();
                    self.say(link, now, json!({"type": "session.updated", "session": session}));
                }
            }
            "conversation.item.create" => self.add_item(link, &event, now),
            "conversation.item.truncate" => self.truncate(link, &event, now),
            "conversation.item.delete" => {
                let id = text_of(&event["item_id"]);
                let known = session.items.remove(&id);
                self.acknowledge(
                    link,
                    known,
                    json!({"type": "conversation.item.deleted", "item_id": id}),
                    now,
                );
            }
            "response.create" => self.create(link, &event, now),
            "response.cancel" => self.cancel(link, &event, now),
            "input_audio_buffer.commit" => self.commit(link, now),
            "input_audio_buffer.clear" => {
                (session.loud_ms, session.hearing) = (0, None);
                self.say(link, now, json!({"type": "input_audio_buffer.cleared"}));
            }
            _ => {}
        }
    }

    /// The client sends sound.
    pub(super) fn hear(&mut self, link: LinkId, frame: &Frame24k, now: Duration) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        if session.is_half_open {
            return;
        }
        match session.hear(frame) {
            None => {}
            Some(Edge::Started { at_ms }) => {
                self.counts.heard += 1;
                let item = format!("u{}", self.counts.heard);
                session.hearing = Some(item.clone());
                let breaks_off = session.turns.is_some_and(|turns| turns.interrupts);
                let started = "input_audio_buffer.speech_started";
                self.say(
                    link,
                    now,
                    json!({"type": started, "audio_start_ms": at_ms, "item_id": item}),
                );
                if breaks_off {
                    self.break_off(link, "turn_detected", now);
                }
            }
            Some(Edge::Stopped) => {
                let item = session.hearing.clone().unwrap_or_default();
                let stopped = "input_audio_buffer.speech_stopped";
                let at_ms = session.clock_ms;
                self.say(
                    link,
                    now,
                    json!({"type": stopped, "audio_end_ms": at_ms, "item_id": item}),
                );
                self.commit(link, now);
                let creates = self.sessions[&link].turns.is_some_and(|turns| turns.creates);
                if creates && self.sessions[&link].active.is_none() {
                    self.answer(link, &Value::Null, now);
                }
            }
        }
    }

    /// Something happens to the socket that is in use.
    pub(super) fn suffer(&mut self, fault: Fault, now: Duration) {
        let Some((&link, session)) = self.sessions.iter_mut().next_back() else { return };
        match fault {
            Fault::Close(1006) => self.put(link, now, Due::Close(None)),
            Fault::Close(code) => self.put(link, now, Due::Close(Some(code))),
            Fault::HalfOpen => session.is_half_open = true,
            Fault::Expire => self.put(link, now, Due::Expire),
            Fault::Error(code) => self.complain(link, &code, "as the script has it", now),
            Fault::Raw(text) => self.put(link, now, Due::Raw(text)),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// What is due by now: one thing, of one socket.
    pub(super) fn poll(&mut self, now: Duration) -> Option<(LinkId, Said)> {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            let (_, (link, due)) = self.due.pop_first()?;
            let Some(session) = self.sessions.get_mut(&link) else { continue };
            let text = match due {
                Due::Say(event) | Due::Words(event, _) => Some(event.to_string()),
                Due::Refuse(event) => {
                    let code = text_of(&event["error"]["code"]);
                    return Some((link, Said::Refused(event.to_string(), code)));
                }
                Due::Raw(text) => {
                    let event = raw(&text, &self.voice);
                    session.count(&event);
                    Some(event)
                }
                Due::Answer { response, step } => session.step(&response, &step, &self.voice),
                Due::Close(code) => {
                    self.disconnect(link);
                    return Some((link, Said::Closed(code)));
                }
                Due::Expire => {
                    let message = "Your session hit the maximum duration of 60 minutes.";
                    self.complain(link, "session_expired", message, now);
                    self.put(link, now + NETWORK, Due::Close(Some(1001)));
                    continue;
                }
            };
            let text = text.and_then(|text| dressed(text, self.manner));
            if let Some(text) = text.filter(|_| self.is_alive(link)) {
                return Some((link, Said::Text(text)));
            }
        }
        None
    }

    fn add_item(&mut self, link: LinkId, event: &Value, now: Duration) {
        let mut item = event["item"].clone();
        let id = item["id"].as_str().map_or_else(
            || {
                self.counts.items += 1;
                format!("i{}", self.counts.items)
            },
            str::to_owned,
        );
        item["id"] = json!(id);
        if let Some(session) = self.sessions.get_mut(&link) {
            session.items.insert(id.clone());
            session.last_item = Some(id);
        }
        for kind in ["conversation.item.added", "conversation.item.done"] {
            self.say(link, now, json!({"type": kind, "item": item}));
        }
    }

    fn truncate(&mut self, link: LinkId, event: &Value, now: Duration) {
        let (id, end_ms) = (text_of(&event["item_id"]), event["audio_end_ms"].as_u64());
        let end_ms = end_ms.unwrap_or_default();
        let sent_ms = self.sessions.get(&link).and_then(|session| session.sent_ms.get(&id));
        match sent_ms {
            None => {
                let message = "Only model output audio messages can be truncated";
                self.refuse(link, "invalid_value", message, now);
            }
            Some(sent_ms) if *sent_ms < end_ms => {
                let message =
                    format!("Audio content of {sent_ms}ms is already shorter than {end_ms}ms");
                self.refuse(link, "invalid_value", &message, now);
            }
            Some(_) => {
                let kind = "conversation.item.truncated";
                self.say(
                    link,
                    now,
                    json!({
                        "type": kind, "item_id": id, "content_index": 0, "audio_end_ms": end_ms,
                    }),
                );
            }
        }
    }

    fn acknowledge(&mut self, link: LinkId, is_known: bool, event: Value, now: Duration) {
        if is_known {
            self.say(link, now, event);
        } else {
            self.refuse(link, "item_not_found", "there is no such item", now);
        }
    }

    fn create(&mut self, link: LinkId, event: &Value, now: Duration) {
        let is_busy = self.sessions.get(&link).is_some_and(|session| session.active.is_some());
        if is_busy {
            let message = "Conversation already has an active response in progress";
            self.refuse(link, "conversation_already_has_active_response", message, now);
        } else {
            self.answer(link, &event["response"]["metadata"], now);
        }
    }

    fn cancel(&mut self, link: LinkId, event: &Value, now: Duration) {
        let active = self.sessions.get(&link).and_then(|session| session.active.as_ref());
        let wanted = event["response_id"].as_str();
        if active.is_some_and(|active| wanted.is_none_or(|id| active.response == id)) {
            self.break_off(link, "client_cancelled", now);
        } else {
            let message = "Cancellation failed: no active response found";
            self.refuse(link, "response_cancel_not_active", message, now);
        }
    }

    fn break_off(&mut self, link: LinkId, reason: &str, now: Duration) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let Some(active) = session.active.take() else { return };
        let details = json!({"type": "cancelled", "reason": reason});
        self.say(link, now, active.done("cancelled", &details));
    }

    /// The turn is over: what was heard becomes an item, and its words come a little later.
    fn commit(&mut self, link: LinkId, now: Duration) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let item = session.hearing.take().unwrap_or_else(|| {
            self.counts.heard += 1;
            format!("u{}", self.counts.heard)
        });
        let before = session.last_item.replace(item.clone());
        session.items.insert(item.clone());
        let content = json!([{"type": "input_audio", "transcript": null}]);
        let whole = json!({"id": item, "type": "message", "role": "user", "content": content});
        let committed = "input_audio_buffer.committed";
        self.say(
            link,
            now,
            json!({
                "type": committed, "item_id": item, "previous_item_id": before,
            }),
        );
        for kind in ["conversation.item.added", "conversation.item.done"] {
            self.say(
                link,
                now,
                json!({
                    "type": kind, "item": whole, "previous_item_id": before,
                }),
            );
        }
        self.transcribe(link, &item, now);
    }

    /// The words of a turn: what was said since the last one. Late, or never, if one of them is.
    fn transcribe(&mut self, link: LinkId, item: &str, now: Duration) {
        let said = std::iter::from_fn(|| self.words.pop_front_if(|spoken| spoken.from < now));
        let said: Vec<Spoken> = said.collect();
        let after = said.iter().try_fold(TRANSCRIBING, |longest, spoken| {
            spoken.known_after.map(|after| after.max(longest))
        });
        let what = "conversation.item.input_audio_transcription";
        let words = said.iter().map(|spoken| spoken.text.as_str());
        let text = words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ");
        let mut event = if after.is_some() {
            json!({"type": format!("{what}.completed"), "transcript": text})
        } else {
            let error = json!({"code": "audio_unintelligible", "message": "it is no speech"});
            json!({"type": format!("{what}.failed"), "error": error})
        };
        (event["item_id"], event["content_index"]) = (json!(item), json!(0));
        self.put(link, now + after.unwrap_or(TRANSCRIBING), Due::Words(event, said));
    }

    /// Begins the next answer of the script.
    fn answer(&mut self, link: LinkId, metadata: &Value, now: Duration) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let counts = &mut self.counts;
        counts.responses += 1;
        let response = format!("r{}", counts.responses);
        let active = Answering::new(response.clone(), metadata.clone());
        let created = active.created();
        session.active = Some(active);
        let answer = self.answers.pop_front().unwrap_or_else(Answer::silence);
        let mut names = (
            || {
                counts.spoken += 1;
                format!("a{}", counts.spoken)
            },
            || {
                counts.calls += 1;
                format!("tc{}", counts.calls)
            },
        );
        let steps = super::answer::steps(&answer, &mut names.0, &mut names.1);
        self.say(link, now, created);
        for (after, step) in steps {
            self.put(link, now + after, Due::Answer { response: response.clone(), step });
        }
    }

    fn complain(&mut self, link: LinkId, code: &str, message: &str, now: Duration) {
        self.say(link, now, complaint(code, message));
    }

    /// What the client asks for cannot be.
    fn refuse(&mut self, link: LinkId, code: &str, message: &str, now: Duration) {
        self.put(link, now + NETWORK, Due::Refuse(complaint(code, message)));
    }

    fn say(&mut self, link: LinkId, now: Duration, event: Value) {
        self.put(link, now + NETWORK, Due::Say(event));
    }

    fn put(&mut self, link: LinkId, at: Duration, due: Due) {
        self.dues += 1;
        self.due.insert((at, self.dues), (link, due));
    }
}

fn complaint(code: &str, message: &str) -> Value {
    let error = json!({
        "type": "invalid_request_error", "code": code, "message": message, "event_id": null,
    });
    json!({"type": "error", "error": error})
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The wall clock when a rehearsal begins, in seconds since the Unix epoch.
pub(super) const START_UNIX_SECONDS: u64 = 1_800_000_000;

/// One way through the network.
pub(super) const NETWORK: Duration = Duration::from_millis(10);

/// From the end of a turn to its words, where nobody has said any.
const TRANSCRIBING: Duration = Duration::from_millis(300);

/// How long a session lives where the script does not say.
const SESSION: Duration = Duration::from_secs(3_600);
