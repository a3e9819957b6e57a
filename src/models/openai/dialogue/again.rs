//! Second tries: answers that failed in passing, or came in writing, are asked for once more; to
//! the agent, both are one. And what is left of a conversation whose server is gone.

use std::time::{Duration, Instant};

use super::{Dialogue, say, tag};
use crate::agent::{Medium, ModelEvent, ResponseOutcome};
use crate::ids::ResponseId;
use crate::models::openai::answers::Standing;
use crate::models::openai::errors;
use crate::models::openai::recent::Recent;
use crate::models::openai::sequencer::Request;
use crate::models::wire::{RateLimits, Response};

/// How far second tries have gone.
#[derive(Debug, Default)]
pub(in crate::models::openai) struct Second {
    /// The answer whose beginning was told and whose end is still to come, from another.
    begun: Option<ResponseId>,
    /// How often it was asked for again.
    tries: usize,
    /// Whether the answer before came in writing, and was asked for in speech.
    was_written: bool,
}

/// What was wanted of a server that is gone.
#[derive(Debug, Default, PartialEq)]
pub(in crate::models::openai) struct Unfinished {
    /// The answer that is to be had from another, if any.
    pub(in crate::models::openai) request: Option<Request>,
    /// Whether somebody has asked for it in words of their own: if not, it would have come of
    /// what was heard.
    pub(in crate::models::openai) was_asked: bool,
    /// Whether something of it was said already.
    pub(in crate::models::openai) was_begun: bool,
}

/// By which names the agent knows answers.
#[derive(Debug, Default)]
pub(super) struct Told {
    names: Recent<(String, ResponseId), NAMES_KEPT>,
}

impl Second {
    /// The answer that the next one carries on.
    pub(super) fn take_told(&mut self) -> Option<ResponseId> {
        self.begun.take()
    }

    /// An answer came to its end, for the agent, too.
    pub(super) fn on_end(&mut self) {
        self.tries = 0;
    }
}

impl Told {
    /// From here on, the one is told as the other.
    pub(super) fn set(&mut self, id: &str, told: ResponseId) {
        self.names.push((id.to_owned(), told));
    }

    /// The answer as the agent knows it.
    pub(super) fn name(&mut self, id: &ResponseId) -> ResponseId {
        let known = self.names.find(|(known, _)| known == id.as_str());
        known.map_or_else(|| id.clone(), |(_, told)| told.clone())
    }

    /// The event as the agent understands it.
    pub(super) fn renamed(&mut self, mut event: ModelEvent) -> ModelEvent {
        if let ModelEvent::ToolCall { response, .. } | ModelEvent::ResponseDone { response, .. } =
            &mut event
        {
            *response = self.name(response);
        }
        event
    }
}

impl Dialogue {
    /// Asks once more for an answer that has gone wrong, if there is hope. False if there is none.
    pub(super) fn tries_again(
        &mut self,
        response: &Response,
        outcome: &ResponseOutcome,
        now: Instant,
    ) -> bool {
        let id = ResponseId::new(response.id.as_str());
        if self.tools.has_reported(&id) {
            return false;
        }
        match outcome {
            ResponseOutcome::Failed(code) if errors::is_passing(code) => {
                let Some(wait) = WAITS.get(self.second.tries) else { return false };
                let is_silent = !self.voice.has_told(&response.id);
                if !is_silent || !self.sequencer.on_failed(&id, tag(response), now + *wait) {
                    return false;
                }
                self.second.tries += 1;
                tracing::debug!(code, "an answer failed, and is asked for again");
            }
            ResponseOutcome::Completed if self.medium == Medium::Voice => {
                let was_written = std::mem::take(&mut self.second.was_written);
                let Some(unspoken) = self.voice.unspoken(&response.id) else { return false };
                if was_written || unspoken.text.trim().is_empty() {
                    return false;
                }
                self.second.was_written = true;
                for item in &unspoken.items {
                    self.voice.forget(item);
                    self.delete_item(item);
                }
                let step = self.sequencer.request(Some(say(&unspoken.text)), now);
                self.take(step);
                let step = self.sequencer.on_done(&id, tag(response), now);
                self.take(step);
            }
            ResponseOutcome::Completed
            | ResponseOutcome::Cancelled
            | ResponseOutcome::Incomplete
            | ResponseOutcome::Failed(_) => return false,
        }
        self.second.begun = Some(self.told.name(&id));
        true
    }

    /// Breaks off the running answer, and drops what was to come after it.
    pub(super) fn break_off(&mut self, now: Instant) {
        let step = self.sequencer.cancel(now);
        self.take(step);
        self.owed_until = None;
        self.drop_second();
    }

    /// Somebody speaks: what failed before is of no interest any more.
    pub(super) fn on_new_speech(&mut self, now: Instant) {
        let (was_resting, step) = self.sequencer.drop_resting(now);
        if was_resting {
            self.drop_second();
        }
        self.take(step);
    }

    /// Ends, for the agent, an answer that nothing more will come of; unless it is on its way.
    pub(super) fn drop_second(&mut self) {
        if self.sequencer.is_asking() {
            return;
        }
        if let Some(response) = self.second.take_told() {
            self.second = Second::default();
            let outcome = ResponseOutcome::Cancelled;
            self.tell(ModelEvent::ResponseDone { response, outcome });
        }
    }

    /// The server says how much it will still take, and when it will take more.
    pub(super) fn on_rate_limits(&mut self, event: &RateLimits, now: Instant) {
        let spent = event.rate_limits.iter().filter(|limit| limit.remaining < 1.0);
        let wait = spent.map(|limit| limit.reset_seconds).fold(0.0, f64::max);
        if wait > 0.0 && wait.is_finite() {
            let wait = Duration::from_secs_f64(wait.min(RESET_MAX.as_secs_f64()));
            self.sequencer.rest_until(now + wait);
        }
    }

    /// Nothing more will come: ends all that is under way, and tells what is still wanted.
    pub(in crate::models::openai) fn dismantle(&mut self) -> Unfinished {
        let owed = self.owed_until.take().is_some();
        let wreck = self.sequencer.dismantle();
        let mut unfinished = Unfinished::default();
        if let Some(running) = wreck.running {
            let id = running.response;
            let is_wanted = running.request.is_some() && !self.tools.has_reported(&id);
            unfinished.was_begun = is_wanted && self.voice.has_told(id.as_str());
            unfinished.request = running.request.filter(|_| is_wanted);
            unfinished.was_asked =
                unfinished.request.as_ref().is_some_and(|request| request.instructions.is_some());
            if self.answers.standing(id.as_str()) != Standing::Over {
                let outcome = match is_wanted {
                    true => ResponseOutcome::Incomplete,
                    false => ResponseOutcome::Cancelled,
                };
                self.end(&id, outcome);
            }
        }
        if let Some(waiting) = wreck.waiting {
            unfinished.was_asked |= waiting.instructions.is_some();
            unfinished.request = Some(Request::both(unfinished.request.take(), waiting));
        }
        if let Some(response) = self.second.take_told() {
            let outcome = ResponseOutcome::Incomplete;
            self.tell(ModelEvent::ResponseDone { response, outcome });
        }
        if owed && unfinished.request.is_none() {
            unfinished.request = Some(Request::new(None));
        }
        self.voice.complete_all();
        self.collect_voice();
        unfinished
    }

    /// The words so far of something that was said to the agent.
    pub(in crate::models::openai) fn draft(&mut self, item_id: &str) -> String {
        self.ear.draft(item_id)
    }
}

/// How long a server is left alone before it is asked again.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// However long the server wants to be left alone, somebody is waiting for its answer.
const RESET_MAX: Duration = Duration::from_secs(5);

/// Answers of which something may still be told under another name.
const NAMES_KEPT: usize = 8;
