//! The conversation with one server, without its socket: events and actions in, requests and
//! items out. It joins the machines of this folder and holds no state of its own beyond them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::answers::{Answers, Standing};
use super::ear::Ear;
use super::errors::{self, CUT_PREFIX, Severity};
use super::sequencer::{Overdue, Sequencer, Step};
use super::tools::Tools;
use super::voice::{Cut, Voice};
use crate::agent::{Medium, ModelAction, ModelEvent, ModelFailure, ResponseOutcome, Role};
use crate::ids::ResponseId;
use crate::models::ModelItem;
use crate::models::wire::{
    ClientEvent, ErrorBody, Field, Item, ItemCreate, ItemRef, ItemTruncate, Response,
    ResponseCancel, ResponseCreate, ResponseParams, ResponseStatus, ServerEvent,
};
use crate::privacy::Pii;

/// The machine.
#[derive(Debug)]
pub(super) struct Dialogue {
    medium: Medium,
    /// Whether the model is shown images.
    sees: bool,
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
    failure: Option<ModelFailure>,
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
    pub(super) fn new(medium: Medium, sees: bool) -> Self {
        Self {
            medium,
            sees,
            sequencer: Sequencer::default(),
            ear: Ear::default(),
            voice: Voice::default(),
            tools: Tools::default(),
            answers: Answers::default(),
            names_conversations: false,
            items: VecDeque::new(),
            requests: VecDeque::new(),
            requests_made: 0,
            failure: None,
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
            ModelAction::Cancel => {
                let step = self.sequencer.cancel(now);
                self.take(step);
            }
            ModelAction::Truncate { utterance, heard_ms } => {
                if let Some(cut) = self.voice.cut(utterance.as_str(), heard_ms) {
                    self.cut(utterance.as_str(), cut);
                }
            }
            ModelAction::Open { .. } | ModelAction::Close => {}
        }
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
            ServerEvent::AudioDelta(event) => {
                if !self.voice.on_audio(&event) {
                    self.complain("bad_audio", "a stretch of sound is not base64");
                }
            }
            ServerEvent::AudioDone(event) => self.voice.on_audio_done(&event),
            ServerEvent::TranscriptDelta(event) | ServerEvent::TextDelta(event) => {
                self.voice.on_words(&event);
            }
            ServerEvent::TranscriptDone(event) => {
                self.voice.on_text(&event.item_id, &event.response_id, event.transcript);
            }
            ServerEvent::TextDone(event) => {
                self.voice.on_text(&event.item_id, &event.response_id, event.text);
            }
            other => self.on_hearing_or_tool(other),
        }
        self.collect_voice();
    }

    /// Frees what has waited too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(overdue) = self.sequencer.handle_timeout(now) {
            self.complain("response_timeout", overdue.reason);
            self.give_up(overdue);
        }
    }

    /// When there is something to be freed, and what was waited for.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.sequencer.poll_timeout()
    }

    /// What is to be sent.
    pub(super) fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// What there is for the agent, in its order.
    pub(super) fn poll_item(&mut self) -> Option<ModelItem> {
        self.items.pop_front()
    }

    /// Whether there is something for the agent.
    pub(super) fn has_items(&self) -> bool {
        !self.items.is_empty()
    }

    /// Why the session is of no use any more, once.
    pub(super) fn poll_failure(&mut self) -> Option<ModelFailure> {
        self.failure.take()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what else there is needs no reaction")]
    fn on_hearing_or_tool(&mut self, event: ServerEvent<'_>) {
        let told = match event {
            ServerEvent::SpeechStarted(event) => self.ear.on_started(event.item_id),
            ServerEvent::SpeechStopped(event) => Some(self.ear.on_stopped(&event.item_id)),
            ServerEvent::Committed(event) => self.ear.on_committed(&event.item_id),
            ServerEvent::TranscriptionDelta(event) => self.ear.on_words(&event),
            ServerEvent::TranscriptionCompleted(event) => Some(self.ear.on_transcript(event)),
            ServerEvent::TranscriptionFailed(event) => {
                self.complain(event.error.code(), &event.error.message);
                Some(self.ear.on_failed(&event))
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
                tracing::trace!(kind = other.type_name(), "a model event without consequence");
                None
            }
        };
        self.items.extend(told.map(ModelItem::Event));
    }

    fn on_response_created(&mut self, response: &Response, now: Instant) {
        if self.is_beside(response) {
            return self.answers.set(&response.id, Standing::Beside);
        }
        let id = ResponseId::new(response.id.as_str());
        let step = self.sequencer.on_created(&id, tag(response), now);
        self.tell(ModelEvent::ResponseStarted { response: id });
        self.take(step);
    }

    fn on_response_done(&mut self, response: &Response, now: Instant) {
        let id = ResponseId::new(response.id.as_str());
        let mut outcome = outcome(response);
        if let ResponseOutcome::Failed(code) = &outcome
            && errors::is_fatal(code)
        {
            self.failure = Some(ModelFailure::Lost(code.clone()));
        }
        let standing = self.answers.standing(&response.id);
        if standing == Standing::Unwanted || self.sequencer.is_revoked(tag(response)) {
            // That it was complete before it heard of our wish makes it no more wanted.
            outcome = ResponseOutcome::Cancelled;
        } else if standing == Standing::Wanted {
            let is_complete = outcome == ResponseOutcome::Completed;
            let calls = self.tools.on_response_done(&id, &response.output, is_complete);
            self.items.extend(calls.into_iter().map(ModelItem::Event));
        }
        if standing != Standing::Over {
            self.end(&id, outcome);
        }
        let step = self.sequencer.on_done(&id, tag(response), now);
        self.take(step);
    }

    /// Tells the end of an answer, and of what it was saying.
    fn end(&mut self, response: &ResponseId, outcome: ResponseOutcome) {
        let only_text = self.voice.on_response_done(response.as_str());
        self.collect_voice();
        let is_odd = only_text && self.medium == Medium::Voice;
        if is_odd && outcome == ResponseOutcome::Completed {
            self.complain("text_only_response", "the model has answered in words without sound");
        }
        self.answers.set(response.as_str(), Standing::Over);
        self.tell(ModelEvent::ResponseDone { response: response.clone(), outcome });
    }

    /// Ends an answer whose end the server does not tell, and goes on.
    fn give_up(&mut self, overdue: Overdue) {
        if let Some(response) = overdue.response {
            self.end(
                &response,
                match overdue.is_cancelled {
                    true => ResponseOutcome::Cancelled,
                    false => ResponseOutcome::Failed("response_timeout".to_owned()),
                },
            );
        }
        self.take(overdue.next);
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
            Severity::Fatal => {
                let reason = format!("{}: {}", error.code(), error.message);
                self.failure = Some(ModelFailure::Lost(reason));
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
        let create = ItemCreate { previous_item_id: None, item: Box::new(item) };
        self.request("item", ClientEvent::ItemCreate(create));
    }

    fn request(&mut self, purpose: &str, event: ClientEvent<'static>) {
        self.requests_made += 1;
        let event_id = format!("{purpose}_{}", self.requests_made);
        self.requests.push_back(Request { event_id, event });
    }

    fn collect_voice(&mut self) {
        self.items.extend(std::iter::from_fn(|| self.voice.poll_item()));
    }

    fn tell(&mut self, event: ModelEvent) {
        self.items.push_back(ModelItem::Event(event));
    }

    fn complain(&mut self, code: &str, message: &str) {
        let (code, message) = (code.to_owned(), message.to_owned());
        self.tell(ModelEvent::Complaint { code, message });
    }
}

/// The words that make a model say a text and nothing else.
pub(super) fn say(text: &str) -> Pii<String> {
    Pii::new(format!("Say exactly: \"{text}\""))
}

/// The answer an event belongs to, if it is told apart by it.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others belong to no answer")]
fn response_of<'e>(event: &'e ServerEvent<'_>) -> Option<&'e str> {
    let id = match event {
        ServerEvent::AudioDelta(event) => &event.response_id,
        ServerEvent::AudioDone(event) => event.response_id.as_str(),
        ServerEvent::TranscriptDelta(event) | ServerEvent::TextDelta(event) => &event.response_id,
        ServerEvent::TranscriptDone(event) => &event.response_id,
        ServerEvent::TextDone(event) => &event.response_id,
        ServerEvent::OutputItemAdded(event) | ServerEvent::OutputItemDone(event) => {
            &event.response_id
        }
        ServerEvent::PartAdded(event) | ServerEvent::PartDone(event) => &event.response_id,
        ServerEvent::ArgumentsDelta(event) => &event.response_id,
        ServerEvent::ArgumentsDone(event) => &event.response_id,
        ServerEvent::ResponseDone(event) => &event.response.id,
        _ => return None,
    };
    Some(id)
}

fn outcome(response: &Response) -> ResponseOutcome {
    let details = response.status_details.as_ref();
    match response.status {
        ResponseStatus::Completed | ResponseStatus::InProgress | ResponseStatus::Other => {
            ResponseOutcome::Completed
        }
        ResponseStatus::Cancelled => ResponseOutcome::Cancelled,
        ResponseStatus::Incomplete => ResponseOutcome::Incomplete,
        ResponseStatus::Failed => {
            let error = details.and_then(|details| details.error.as_ref());
            let code = error.map_or("failed", ErrorBody::code);
            ResponseOutcome::Failed(code.to_owned())
        }
    }
}

fn tag(response: &Response) -> Option<u64> {
    response.metadata.as_ref()?.get(TAG)?.parse().ok()
}

/// The key in a response's metadata under which we find our own requests again.
const TAG: &str = "callbridge";

#[cfg(test)]
mod tests;
