//! What a session knows and does: client events in, server events and work out. No socket here.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::answer::Answer;
use super::conversation::{Conversation, words_of};
use super::ear::Ear;
use super::listening::Turn;
use super::outbox::{Outbox, new_id};
use super::recognizer::{HearError, Recognizer};
use super::reply::Mind;
use super::seats::{Seat, Seats};
use super::settings::Settings;
use super::voice::{Voice, VoiceError};
use super::wire::{Refusal, read};
use crate::models::wire::{
    ClientEvent, Empty, Item, ItemCreate, ItemEvent, ItemKind, ItemTruncate, ItemTruncated,
    PcmDecoder, ServerEvent, SessionEvent,
};
use crate::sys::clock;

/// Work that takes time, and tells its outcome to [`Dialogue::on_done`].
pub(super) type Work = std::pin::Pin<Box<dyn Future<Output = Done> + Send>>;

/// Work that has come to its end.
#[derive(Debug)]
pub(super) enum Done {
    /// What was said in a turn.
    Words {
        /// The turn's item.
        item_id: String,
        /// The guesses at it that were told already.
        told: String,
        /// How long it was, in seconds.
        seconds: f64,
        /// The words.
        words: Result<String, HearError>,
    },
    /// A guess at what is being said.
    Guess {
        /// The turn's item.
        item_id: String,
        /// The words so far.
        words: Result<String, HearError>,
    },
    /// A sentence is made.
    Sentence {
        /// The answer it belongs to.
        response_id: String,
        /// Its sound at 24 kHz.
        sound: Result<Vec<i16>, VoiceError>,
    },
    /// A pause in writing is over.
    Paused {
        /// The answer that is written.
        response_id: String,
    },
    /// The work was stopped: nobody waits for it.
    Stopped,
}

/// A session without its socket.
#[derive(Debug)]
pub(super) struct Dialogue {
    /// What the client is to be told.
    pub(super) outbox: Outbox,
    pub(super) works: Works,
    pub(super) settings: Settings,
    pub(super) conversation: Conversation,
    pub(super) conversation_id: String,
    pub(super) mind: Mind,
    /// Those under way; at most one of them is in the conversation.
    pub(super) answers: Vec<Answer>,
    /// Turns whose words are still sought: an answer waits for them.
    pub(super) unheard: usize,
    /// A turn ended while an answer was under way, and wants one of its own.
    pub(super) is_answer_due: bool,
    pub(super) has_spoken: bool,
    seats: Seats,
    /// Its right to hear and speak, once it does.
    seat: Option<Seat>,
    pub(super) voice: Voice,
    pub(super) recognizer: Recognizer,
    pub(super) ear: Ear,
    pub(super) pcm: PcmDecoder,
    pub(super) turn: Option<Turn>,
}

/// New work for whoever runs the dialogue.
#[derive(Default)]
pub(super) struct Works(pub(super) Vec<Work>);

impl std::fmt::Debug for Works {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Works").field(&self.0.len()).finish()
    }
}

impl Dialogue {
    /// A session that has just been opened.
    pub(super) fn new(model: &str, voice: Voice, recognizer: Recognizer, seats: Seats) -> Self {
        let expires_at = clock::unix_ms() / 1000 + super::session::LIFETIME.as_secs();
        let settings = Settings::new(&new_id("sess"), model, voice, expires_at);
        let mut dialogue = Self {
            outbox: Outbox::new(),
            works: Works::default(),
            ear: Ear::new(settings.detection()),
            settings,
            conversation: Conversation::default(),
            conversation_id: new_id("conv"),
            mind: Mind::default(),
            answers: Vec::new(),
            unheard: 0,
            is_answer_due: false,
            has_spoken: false,
            seats,
            seat: None,
            voice,
            recognizer,
            pcm: PcmDecoder::default(),
            turn: None,
        };
        let session = Box::new(dialogue.settings.session().clone());
        dialogue.outbox.push(&ServerEvent::SessionCreated(SessionEvent { session }));
        dialogue
    }

    /// Takes the work that has come up.
    pub(super) fn take_works(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.works.0)
    }

    /// Takes a client's event. A bad one is refused, and ends nothing.
    pub(super) fn on_text(&mut self, text: &str) {
        let (event_id, outcome) = match read(text) {
            Ok(asked) => (asked.event_id, self.on_event(asked.event, &asked.session)),
            Err((refusal, event_id)) => (event_id, Err(refusal)),
        };
        if let Err(refusal) = outcome {
            self.refuse(refusal, event_id);
        }
    }

    /// Tells the client that something it sent was not taken.
    pub(super) fn refuse(&mut self, refusal: Refusal, event_id: Option<String>) {
        tracing::debug!(?refusal, "an event is refused");
        self.outbox.push(&refusal.event(event_id));
    }

    /// Takes the outcome of work.
    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Words { item_id, told, seconds, words } => {
                self.on_words(&item_id, &told, seconds, words);
            }
            Done::Guess { item_id, words } => self.on_guess(&item_id, words),
            Done::Sentence { response_id, sound } => self.on_sentence(&response_id, sound),
            Done::Paused { response_id } => self.on_pause(&response_id),
            Done::Stopped => {}
        }
    }

    /// Local time.
    pub(super) fn now() -> DateTime {
        let unix_ms = i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
        let timestamp = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::MAX);
        timestamp.to_zoned(TimeZone::system()).datetime()
    }

    fn on_event(
        &mut self,
        event: ClientEvent<'_>,
        session: &serde_json::Value,
    ) -> Result<(), Refusal> {
        match event {
            ClientEvent::SessionUpdate(_) => self.update(session),
            ClientEvent::Append(append) => {
                self.take_seat()?;
                self.append(&append.audio)
            }
            ClientEvent::Commit(_) => self.commit(),
            ClientEvent::Clear(_) => {
                self.ear.clear();
                self.turn = None;
                self.outbox.push(&ServerEvent::Cleared(Empty {}));
                Ok(())
            }
            ClientEvent::ItemCreate(create) => self.create_item(create),
            ClientEvent::ItemRetrieve(item) => self.retrieve(&item.item_id),
            ClientEvent::ItemTruncate(truncate) => self.truncate(truncate),
            ClientEvent::ItemDelete(item) => {
                self.conversation.delete(&item.item_id)?;
                self.outbox.push(&ServerEvent::ItemDeleted(item));
                Ok(())
            }
            ClientEvent::ResponseCreate(create) => {
                self.answer(create.response.map(|params| *params).unwrap_or_default())
            }
            ClientEvent::ResponseCancel(cancel) => self.cancel(cancel.response_id.as_deref()),
            // Refused on reading.
            ClientEvent::OutputClear(_) | ClientEvent::Unknown(_) => Ok(()),
        }
    }

    fn update(&mut self, session: &serde_json::Value) -> Result<(), Refusal> {
        if !self.settings.is_text_only_with(session) {
            self.take_seat()?;
        }
        self.settings.update(session, self.has_spoken)?;
        if self.ear.detection() != self.settings.detection().as_ref() {
            self.ear.set_detection(self.settings.detection());
            self.turn = None;
        }
        let session = Box::new(self.settings.session().clone());
        self.outbox.push(&ServerEvent::SessionUpdated(SessionEvent { session }));
        Ok(())
    }

    /// A session that hears or speaks is a voice session, whatever it was before.
    pub(super) fn take_seat(&mut self) -> Result<(), Refusal> {
        if self.seat.is_none() {
            self.seat = self.seats.take();
        }
        let message = "Too many sessions hear and speak; this one may read and write.";
        let refusal = || Refusal::new("session_limit_reached", message);
        self.seat.as_ref().map(|_| ()).ok_or_else(refusal)
    }

    fn create_item(&mut self, create: ItemCreate) -> Result<(), Refusal> {
        let mut item = *create.item;
        check_item(&item)?;
        let call_id = item.call_id.as_deref().unwrap_or_default();
        if item.kind == ItemKind::FunctionCallOutput && !self.conversation.has_call(call_id) {
            let message = format!("Tool call ID '{call_id}' not found in conversation.");
            return Err(Refusal::invalid("item.call_id", message));
        }
        item.id.get_or_insert_with(|| new_id("item"));
        item.object = Some("realtime.item".to_owned());
        item.status = Some("completed".to_owned());
        self.mind.learn(item.role.as_deref(), &words_of(&item));
        self.add_item(item, create.previous_item_id.as_deref())
    }

    /// Adds an item that is whole, and tells the client.
    pub(super) fn add_item(&mut self, item: Item, previous: Option<&str>) -> Result<(), Refusal> {
        let previous_item_id = self.conversation.add(item.clone(), previous)?;
        let event = ItemEvent { previous_item_id, item: Box::new(item) };
        self.outbox.push(&ServerEvent::ItemAdded(event.clone()));
        self.outbox.push(&ServerEvent::ItemDone(event));
        Ok(())
    }

    fn retrieve(&mut self, id: &str) -> Result<(), Refusal> {
        let item = self.conversation.get(id).cloned();
        let item = item.ok_or_else(|| Refusal::no_item("item_retrieve_invalid_item_id", id))?;
        let event = ItemEvent { previous_item_id: None, item: Box::new(item) };
        self.outbox.push(&ServerEvent::ItemRetrieved(event));
        Ok(())
    }

    fn truncate(&mut self, asked: ItemTruncate) -> Result<(), Refusal> {
        let ItemTruncate { item_id, content_index, audio_end_ms } = asked;
        self.conversation.truncate(&item_id, content_index, audio_end_ms)?;
        let event = ItemTruncated { item_id, content_index, audio_end_ms };
        self.outbox.push(&ServerEvent::ItemTruncated(event));
        Ok(())
    }
}

/// Whether a client may add such an item.
fn check_item(item: &Item) -> Result<(), Refusal> {
    let role = item.role.as_deref();
    match item.kind {
        ItemKind::FunctionCall => match (&item.call_id, &item.name) {
            (Some(_), Some(_)) => Ok(()),
            (None, _) => Err(Refusal::missing("item.call_id")),
            (_, None) => Err(Refusal::missing("item.name")),
        },
        ItemKind::FunctionCallOutput if item.call_id.is_none() => {
            Err(Refusal::missing("item.call_id"))
        }
        ItemKind::FunctionCallOutput if item.output.is_none() => {
            Err(Refusal::missing("item.output"))
        }
        ItemKind::FunctionCallOutput => Ok(()),
        ItemKind::Message => {
            let wanted = match role {
                Some("user" | "system") => "input_text",
                Some("assistant") => "output_text",
                Some(_) => {
                    let message = "Supported values are: 'system', 'user' and 'assistant'.";
                    return Err(Refusal::invalid("item.role", message));
                }
                None => return Err(Refusal::missing("item.role")),
            };
            let parts = item.content.as_deref().ok_or_else(|| Refusal::missing("item.content"))?;
            if parts.iter().all(|part| part.kind == wanted) {
                return Ok(());
            }
            let message = format!("Of this role, '{wanted}' is taken here.");
            Err(Refusal::invalid("item.content[0].type", message))
        }
        ItemKind::Other => {
            let message = "Supported values are: 'message', 'function_call' and \
                           'function_call_output'.";
            Err(Refusal::invalid("item.type", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_items_the_protocol_knows_may_be_added() {
        let wrong_role = Item { role: Some("robot".into()), ..Item::input_text("user", "x") };
        let no_output = Item { output: None, ..Item::function_call_output("call_1", "x") };
        let other = Item { kind: ItemKind::Other, ..Item::default() };
        for item in [wrong_role, no_output, other, Item::input_text("assistant", "x")] {
            assert!(check_item(&item).is_err(), "{item:?}");
        }
        assert_eq!(check_item(&Item::input_text("system", "x")), Ok(()));
    }
}
