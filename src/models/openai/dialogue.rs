//! The conversation with one server, without its socket: events and actions in, requests and
//! items out. It joins the machines of this folder and holds no state of its own beyond them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub(super) use self::again::Unfinished;
use self::again::{Second, Told};
use self::reading::{TAG, outcome, response_of, tag};
use super::answers::{Answers, Standing};
use super::ear::{Ear, Turns};
use super::errors::{self, CUT_PREFIX, Severity};
use super::sequencer::{Due, Overdue, Sequencer, Step};
use super::tools::Tools;
use super::voice::{Cut, Part, Voice, Words};
use crate::agent::{Medium, ModelAction, ModelEvent, ResponseOutcome, Role};
use crate::ids::ResponseId;
use crate::models::ModelItem;
use crate::models::wire::{
    ClientEvent, Empty, ErrorBody, Field, Item, ItemCreate, ItemRef, ItemTruncate, Response,
    ResponseCancel, ResponseCreate, ResponseParams, ServerEvent,
};
use crate::privacy::Pii;

/// The machine.
#[derive(Debug)]
pub(super) struct Dialogue {
    medium: Medium,
    /// Whether the model is shown images.
    sees: bool,
    turns: Turns,
    sequencer: Sequencer,
    ear: Ear,
    voice: Voice,
    tools: Tools,
    answers: Answers,
    /// Whether the server tells which conversation an answer belongs to.
    names_conversations: bool,
    items: VecDeque<ModelItem>,
    requests: VecDeque<Request>,
    requests_made: u64,
    /// What is done about answers that went wrong.
    second: Second,
    /// By which answers are told whose beginning another has told.
    told: Told,
    /// Until when the server owes an answer: it took a turn as over, and answers by itself.
    owed_until: Option<Instant>,
    /// Errors of a server in trouble, since its last answer that came to its end.
    troubles: u32,
    breakdown: Option<Breakdown>,
}

/// Why a session is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Breakdown {
    /// No other would be, either.
    Fatal(String),
    /// Another may do better.
    Lost(String),
}

/// To be sent to the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    /// By which an error may name it.
    pub(super) event_id: String,
    /// What is asked.
    pub(super) event: ClientEvent<'static>,
}

impl Dialogue {
    /// A conversation in which nothing was said; `sees` is whether the model is shown images.
    pub(super) fn new(medium: Medium, sees: bool, turns: Turns) -> Self {
        Self {
            medium,
            sees,
            turns,
            sequencer: Sequencer::default(),
            ear: Ear::new(turns.interrupts),
            voice: Voice::new(medium == Medium::Voice),
            tools: Tools::default(),
            answers: Answers::default(),
            names_conversations: false,
            items: VecDeque::new(),
            requests: VecDeque::new(),
            requests_made: 0,
            second: Second::default(),
            told: Told::default(),
            owed_until: None,
            troubles: 0,
            breakdown: None,
        }
    }

    /// Does what the agent wants, except for `Open` and `Close`, which are the session's.
    pub(super) fn handle_action(&mut self, action: ModelAction, now: Instant) {
        match action {
            ModelAction::AddText { role, text } => {
                let text = text.expose();
                self.create_item(match role {
                    Role::System => Item::input_text("system", text),
                    Role::User => Item::input_text("user", text),
                    Role::Assistant => Item::output_text(text),
                });
            }
            ModelAction::AddImage { url } if self.sees => {
                self.create_item(Item::input_image(url.expose()));
            }
            ModelAction::AddImage { .. } => {
                tracing::debug!("an image was dropped: this model sees none");
            }
            ModelAction::ToolOutput { id, output } => {
                self.create_item(Item::function_call_output(id.as_str(), output.expose()));
            }
            ModelAction::Respond { instructions } => {
                let step = self.sequencer.request(instructions, now);
                self.take(step);
            }
            // The agent was slower than the server, which has broken off by itself.
            ModelAction::GiveWay { utterance } if self.ear.is_answered(&utterance) => {}
            ModelAction::Cancel | ModelAction::GiveWay { .. } => self.break_off(now),
            ModelAction::Truncate { utterance, end_ms } => {
                if let Some(cut) = self.voice.cut(utterance.as_str(), end_ms) {
                    self.cut(utterance.as_str(), cut);
                }
            }
            ModelAction::Commit => self.request("commit", ClientEvent::Commit(Empty {})),
            ModelAction::Clear => self.request("clear", ClientEvent::Clear(Empty {})),
            ModelAction::Open { .. } | ModelAction::Close => {}
        }
    }

    /// Sends an item of the conversation as it is, to its end or after another.
    pub(super) fn add_item(&mut self, item: Item, previous_item_id: Option<String>) {
        let create = ItemCreate { previous_item_id, item: Box::new(item) };
        self.request("item", ClientEvent::ItemCreate(create));
    }

    /// Takes an item out of the server's conversation.
    pub(super) fn delete_item(&mut self, item_id: &str) {
        self.cut(item_id, Cut::Delete);
    }

    /// Takes in what the server says.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is told apart in a second step")]
    pub(super) fn handle_event(&mut self, event: ServerEvent<'_>, now: Instant) {
        if let Some(response_id) = response_of(&event) {
            let standing = self.answers.standing(self.asking(response_id).as_str());
            if standing == Standing::Beside {
                return;
            }
            self.sequencer.on_progress(now);
            if standing != Standing::Wanted && !matches!(event, ServerEvent::ResponseDone(_)) {
                return;
            }
        }
        match event {
            ServerEvent::Error(event) => self.on_error(&event.error, now),
            ServerEvent::ResponseCreated(event) => self.on_response_created(&event.response, now),
            ServerEvent::ResponseDone(event) => self.on_response_done(&event.response, now),
            // Some servers speak whatever they are asked for; the words come as well.
            ServerEvent::AudioDelta(_) | ServerEvent::AudioDone(_)
                if self.medium == Medium::Text => {}
            ServerEvent::AudioDelta(event) => {
                if !self.voice.on_audio(&event) {
                    self.complain("bad_audio", "a stretch of sound is not base64");
                }
            }
            ServerEvent::AudioDone(event) => self.voice.on_audio_done(&event),
            ServerEvent::TranscriptDelta(event) => self.voice.on_words(&event, Words::Spoken),
            ServerEvent::TextDelta(event) => self.voice.on_words(&event, Words::Written),
            ServerEvent::TranscriptDone(event) => {
                let part = Part { item_id: &event.item_id, response_id: &event.response_id };
                self.voice.on_text(part, event.transcript, Words::Spoken);
            }
            ServerEvent::TextDone(event) => {
                let part = Part { item_id: &event.item_id, response_id: &event.response_id };
                self.voice.on_text(part, event.text, Words::Written);
            }
            ServerEvent::RateLimits(event) => self.on_rate_limits(&event, now),
            other => self.on_hearing_or_tool(other, now),
        }
        self.collect_voice();
        self.collect_words();
    }

    /// Lets go of words that wait for those of turns before: no more of them may come.
    pub(super) fn release_words(&mut self) {
        self.ear.release_words();
        self.collect_words();
    }

    /// Frees what has waited too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self.sequencer.handle_timeout(now) {
            Some(Due::Overdue(overdue)) => {
                self.complain("response_timeout", overdue.reason);
                self.give_up(overdue);
            }
            Some(Due::Again(step)) => self.take(step),
            None => {}
        }
        self.owed_until = self.owed_until.filter(|until| now < *until);
        self.ear.handle_timeout(now);
        self.collect_words();
    }

    /// When there is something to be freed, and what was waited for.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let words = self.ear.poll_timeout().map(|until| (until, "the words of an earlier turn"));
        self.sequencer.poll_timeout().into_iter().chain(words).min()
    }

    /// What is to be sent.
    pub(super) fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// What there is for the agent, in its order.
    pub(super) fn poll_item(&mut self) -> Option<ModelItem> {
        self.items.pop_front()
    }

    /// Why the session is of no use any more, once.
    pub(super) fn poll_breakdown(&mut self) -> Option<Breakdown> {
        self.breakdown.take()
    }

    /// Whether nobody is heard, and no answer runs or is wanted.
    pub(super) fn is_at_rest(&self) -> bool {
        self.sequencer.is_idle() && !self.ear.is_hearing() && self.owed_until.is_none()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what else there is needs no reaction")]
    fn on_hearing_or_tool(&mut self, event: ServerEvent<'_>, now: Instant) {
        let told = match event {
            ServerEvent::SpeechStarted(event) => {
                self.owed_until = None;
                self.on_new_speech(now);
                self.ear.on_started(event.item_id)
            }
            ServerEvent::SpeechStopped(event) => Some(self.ear.on_stopped(&event.item_id)),
            ServerEvent::Committed(event) => {
                let told = self.ear.on_committed(&event);
                self.items.extend(told.map(ModelItem::Event));
                return self.on_turn_over(now);
            }
            ServerEvent::TranscriptionFailed(event) => {
                self.complain(event.error.code(), &event.error.message);
                self.ear.on_failed(&event, now);
                None
            }
            ServerEvent::OutputItemAdded(event) => {
                self.tools.on_item(&event.item, self.asking(&event.response_id));
                None
            }
            ServerEvent::OutputItemDone(event) => {
                self.tools.on_item_done(&event.item, self.asking(&event.response_id))
            }
            ServerEvent::ArgumentsDone(event) => {
                self.tools.on_arguments(&event, self.asking(&event.response_id));
                None
            }
            other => {
                self.ear.on_other(other, now);
                None
            }
        };
        if let Some(event) = told {
            self.tell(event);
        }
    }

    /// The server has taken a turn as over: it answers, or is asked to.
    fn on_turn_over(&mut self, now: Instant) {
        if self.turns.creates {
            self.owed_until = Some(now + OWED_LIMIT);
        } else if self.turns.by_server {
            let step = self.sequencer.request(None, now);
            self.take(step);
        }
    }

    fn on_response_created(&mut self, response: &Response, now: Instant) {
        if self.is_beside(response) {
            return self.answers.set(&response.id, Standing::Beside);
        }
        let id = ResponseId::new(response.id.as_str());
        let step = self.sequencer.on_created(&id, tag(response), now);
        self.owed_until = None;
        match self.second.take_told() {
            // To the agent, it is the answer that has begun already.
            Some(begun) => self.told.set(&response.id, begun),
            None => self.tell(ModelEvent::ResponseStarted { response: id }),
        }
        self.take(step);
    }

    fn on_response_done(&mut self, response: &Response, now: Instant) {
        let id = ResponseId::new(response.id.as_str());
        let mut outcome = outcome(response);
        if let ResponseOutcome::Failed(code) = &outcome
            && errors::is_fatal(code)
        {
            self.breakdown = Some(Breakdown::Fatal(code.clone()));
        }
        self.owed_until = None;
        let standing = self.answers.standing(&response.id);
        if standing == Standing::Unwanted || self.sequencer.is_revoked(tag(response)) {
            // That it was complete before it heard of our wish makes it no more wanted.
            outcome = ResponseOutcome::Cancelled;
        } else if standing == Standing::Wanted {
            let is_complete = outcome == ResponseOutcome::Completed;
            let calls = self.tools.on_response_done(&id, &response.output, is_complete);
            for call in calls {
                self.tell(call);
            }
            if self.tries_again(response, &outcome, now) {
                return self.answers.set(&response.id, Standing::Over);
            }
        }
        if standing != Standing::Over {
            self.end(&id, outcome);
        }
        let step = self.sequencer.on_done(&id, tag(response), now);
        self.take(step);
    }

    /// Tells the end of an answer, and of what it was saying.
    fn end(&mut self, response: &ResponseId, mut outcome: ResponseOutcome) {
        let only_text = self.voice.on_response_done(response.as_str());
        self.collect_voice();
        let is_odd = only_text && self.medium == Medium::Voice;
        if is_odd && outcome == ResponseOutcome::Completed {
            self.complain("text_only_response", "the model has answered in words without sound");
            // Nobody is to wait for the sound.
            outcome = ResponseOutcome::Incomplete;
        }
        if outcome == ResponseOutcome::Completed {
            self.troubles = 0;
        }
        self.second.on_end();
        self.answers.set(response.as_str(), Standing::Over);
        self.tell(ModelEvent::ResponseDone { response: response.clone(), outcome });
    }

    /// Ends an answer whose end the server does not tell, and goes on.
    fn give_up(&mut self, overdue: Overdue) {
        let Overdue { response, is_cancelled, next, .. } = overdue;
        let answers = &mut self.answers;
        let untold = response.filter(|it| answers.standing(it.as_str()) != Standing::Over);
        // It may be told to break off: that it is over counts for more.
        self.take(next);
        if let Some(response) = untold {
            self.end(
                &response,
                match is_cancelled {
                    true => ResponseOutcome::Cancelled,
                    false => ResponseOutcome::Failed("response_timeout".to_owned()),
                },
            );
        }
        // What was to be said in place of an answer that failed is late, too.
        self.drop_second();
    }

    fn on_error(&mut self, error: &ErrorBody, now: Instant) {
        tracing::debug!(code = error.code(), message = error.message, "the model complains");
        match errors::severity(error) {
            Severity::Benign => {}
            Severity::Answering => self.sequencer.on_refused(now),
            Severity::NothingToCancel => {
                if let Some(overdue) = self.sequencer.on_cancel_refused(now) {
                    self.give_up(overdue);
                }
            }
            Severity::Fatal => self.breakdown = Some(Breakdown::Fatal(line(error))),
            Severity::Expired => self.breakdown = Some(Breakdown::Lost(line(error))),
            Severity::Failing => {
                self.troubles += 1;
                if self.troubles >= TROUBLES_MAX {
                    self.breakdown = Some(Breakdown::Lost(line(error)));
                }
                self.complain(error.code(), &error.message);
            }
            Severity::Survivable => self.complain(error.code(), &error.message),
        }
    }

    /// An answer beside the conversation says so by a `null`, which from servers that never name
    /// a conversation means nothing.
    fn is_beside(&mut self, response: &Response) -> bool {
        self.names_conversations |= response.conversation_id.value().is_some();
        self.names_conversations
            && response.conversation_id == Field::Null
            && tag(response).is_none()
    }

    /// The answer an event belongs to; servers that do not say mean the one that runs.
    fn asking(&self, response_id: &str) -> ResponseId {
        let running = self.sequencer.running().filter(|_| response_id.is_empty());
        running.cloned().unwrap_or_else(|| ResponseId::new(response_id))
    }

    fn take(&mut self, step: Option<Step>) {
        match step {
            Some(Step::Create { tag, instructions }) => {
                let metadata = BTreeMap::from([(TAG.to_owned(), tag.to_string())]);
                let params = ResponseParams {
                    instructions: instructions.map(|text| text.expose().clone()),
                    metadata: Some(metadata),
                    ..ResponseParams::default()
                };
                let create = ResponseCreate { response: Some(Box::new(params)) };
                self.request("create", ClientEvent::ResponseCreate(create));
            }
            Some(Step::Cancel { response }) => {
                self.answers.set(response.as_str(), Standing::Unwanted);
                let cancel = ResponseCancel { response_id: Some(response.as_str().to_owned()) };
                self.request("cancel", ClientEvent::ResponseCancel(cancel));
            }
            None => {}
        }
    }

    fn cut(&mut self, item_id: &str, cut: Cut) {
        let item_id = item_id.to_owned();
        let event = match cut {
            Cut::Delete => ClientEvent::ItemDelete(ItemRef { item_id }),
            Cut::Keep { content_index, audio_end_ms } => {
                ClientEvent::ItemTruncate(ItemTruncate { item_id, content_index, audio_end_ms })
            }
        };
        self.request(CUT_PREFIX.trim_end_matches('_'), event);
    }

    fn create_item(&mut self, item: Item) {
        self.add_item(item, None);
    }

    fn request(&mut self, purpose: &str, event: ClientEvent<'static>) {
        self.requests_made += 1;
        let event_id = format!("{purpose}_{}", self.requests_made);
        self.requests.push_back(Request { event_id, event });
    }

    fn collect_voice(&mut self) {
        self.items.extend(std::iter::from_fn(|| self.voice.poll_item()));
    }

    fn collect_words(&mut self) {
        while let Some(event) = self.ear.poll_words() {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: ModelEvent) {
        self.items.push_back(ModelItem::Event(self.told.renamed(event)));
    }

    fn complain(&mut self, code: &str, message: &str) {
        let (code, message) = (code.to_owned(), message.to_owned());
        self.tell(ModelEvent::Complaint { code, message });
    }
}

fn line(error: &ErrorBody) -> String {
    format!("{}: {}", error.code(), error.message)
}

/// The words that make a model say a text and nothing else.
fn say(text: &str) -> Pii<String> {
    Pii::new(format!("Say exactly: \"{text}\""))
}

/// How long a server that answers by itself may take to begin. Beyond this, there was no speech
/// in the turn after all.
const OWED_LIMIT: Duration = Duration::from_secs(10);

/// So many errors of its own, without an answer in between, are too many for a session.
const TROUBLES_MAX: u32 = 2;

mod again;
mod reading;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod words_tests;
