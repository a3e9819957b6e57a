//! From link to link: how they are opened, fail, are lost, and take over from each other.

use std::time::{Duration, Instant};

use super::{
    Breakdown, Conversation, Dialogue, Link, Output, Phase, Retry, Slot, Stage, UPDATE_ID,
};
use crate::agent::{Medium, ModelAction, ModelEvent, ModelFailure};
use crate::ids::UtteranceId;
use crate::models::ModelItem;
use crate::models::openai::dialogue::Unfinished;
use crate::models::openai::errors;
use crate::models::openai::ports::LinkId;
use crate::models::openai::sequencer::Request;
use crate::models::openai::tape::{Fate, Lost, Piece};
use crate::models::wire::{ErrorBody, ServerEvent};
use crate::privacy::Pii;

impl Conversation {
    /// Asks for the next socket.
    pub(super) fn open_next(&mut self, now: Instant) {
        self.again_at = None;
        self.links_made += 1;
        let id = LinkId(self.links_made);
        let until = self.retry.until().min(now + self.deadlines.connect);
        let dialogue = Dialogue::new(self.medium, self.sees, self.turns);
        self.next = Some(Link::new(id, dialogue, &self.deadlines, until, now));
        self.outputs.push_back(Output::Connect(id));
    }

    /// What the next server says until it has taken our settings.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else counts before that")]
    pub(super) fn on_setup_event(&mut self, event: &ServerEvent<'_>, now: Instant) {
        let clock = self.clock;
        let Some(link) = &mut self.next else { return };
        match event {
            ServerEvent::SessionCreated(event) => link.on_session(event, &clock),
            ServerEvent::SessionUpdated(event) => {
                link.on_session(event, &clock);
                self.on_ready(now);
            }
            ServerEvent::Error(event) => self.on_setup_error(&event.error, now),
            _ => tracing::trace!(kind = event.type_name(), "before the session stands"),
        }
    }

    /// Errors that do not name our settings are remembered.
    fn on_setup_error(&mut self, error: &ErrorBody, now: Instant) {
        let told = format!("{}: {}", error.code(), error.message);
        let is_ours = error.event_id.as_deref() == Some(UPDATE_ID);
        if is_ours || errors::is_fatal(error.code()) {
            self.close(Slot::Next);
            self.try_again(false, None, &told, now);
        } else if let Some(Link { phase: Phase::Configuring { complaint, .. }, .. }) =
            &mut self.next
        {
            *complaint = Some(told);
        }
    }

    /// The next session stands.
    fn on_ready(&mut self, now: Instant) {
        let Some(link) = &mut self.next else { return };
        self.sessions += 1;
        link.session = self.sessions;
        link.phase = Phase::Standing;
        match self.stage {
            Stage::Opening => {
                let takes_turns = self.turns.by_server;
                self.give(ModelEvent::Ready { takes_turns });
                self.take_over(now);
            }
            Stage::Lost => {
                self.inform(Slot::Next);
                self.give(ModelEvent::Restored);
                self.take_over(now);
            }
            Stage::Standing => {
                self.inform(Slot::Next);
                self.look_at = Some(now);
            }
            Stage::Ended => {}
        }
    }

    /// The next link becomes the current one, and hears what no server has understood.
    fn take_over(&mut self, now: Instant) {
        self.current = self.next.take();
        self.stage = Stage::Standing;
        self.look_at = None;
        self.inform(Slot::Current);
        if self.medium == Medium::Text {
            // A text session that is lost is lost; its memory is its server's.
            self.chronicle.clear();
            self.update = String::new();
        }
        let rewound = self.tape.rewind(now);
        let Some(link) = &mut self.current else { return };
        link.first_frame = rewound.from;
        let id = link.id;
        for piece in rewound.pieces {
            match piece {
                Piece::Frame(frame) => {
                    self.outputs.push_back(Output::SendFrame { link: id, frame });
                }
                Piece::Commit => {
                    self.pass_on(ModelAction::Commit, now);
                    self.collect_requests(Slot::Current);
                }
            }
        }
        self.resume(rewound.has_turn, now);
        self.collect(now);
    }

    /// Asks for what the last server owed, unless the turn it belongs to will be heard again.
    fn resume(&mut self, has_turn: bool, now: Instant) {
        let Unfinished { request, was_asked, was_begun } = std::mem::take(&mut self.unfinished);
        let Some(request) = request.filter(|_| was_asked || !has_turn) else { return };
        let instructions = match request.instructions {
            told if !was_begun => told,
            told => {
                let told =
                    told.map_or_else(|| self.instructions.clone(), |told| told.expose().clone());
                Some(Pii::new(format!("{told}\n\n{GO_ON}")))
            }
        };
        self.pass_on(ModelAction::Respond { instructions }, now);
    }

    /// The attempt at the next link has failed.
    pub(super) fn try_again(
        &mut self,
        may_do_better: bool,
        retry_after: Option<Duration>,
        reason: &str,
        now: Instant,
    ) {
        tracing::debug!(reason, "a model's link could not be opened");
        let again = self.retry.next(retry_after, now).filter(|_| may_do_better);
        match (self.stage, again) {
            (Stage::Ended, _) => {}
            (_, Some(at)) if at <= now => self.open_next(now),
            (_, Some(at)) => self.again_at = Some(at),
            (Stage::Opening, None) => {
                self.end(Err(ModelFailure::Unavailable(reason.to_owned())));
            }
            (Stage::Lost, None) => self.end(Err(ModelFailure::Lost(reason.to_owned()))),
            // The session that stands is used up to its end.
            (Stage::Standing, None) => self.stays = self.current.as_ref().map(|link| link.id),
        }
    }

    /// Gives the next link up.
    pub(super) fn abandon_next(&mut self, reason: &str, now: Instant) {
        self.close(Slot::Next);
        self.try_again(true, None, reason, now);
    }

    /// Gives a link up on which there is no sign of life, or no sense.
    pub(super) fn drop_link(&mut self, slot: Slot, reason: &str, now: Instant) {
        match slot {
            Slot::Current => self.lose(true, reason, now),
            Slot::Next => self.abandon_next(reason, now),
            Slot::Leaving => self.part(),
        }
    }

    /// Looks whether a session has said that it is of no use any more.
    pub(super) fn look_for_breakdown(&mut self, slot: Slot, now: Instant) {
        let breakdown = self.link(slot).and_then(|link| link.dialogue.poll_breakdown());
        match (breakdown, slot) {
            (Some(Breakdown::Fatal(reason)), Slot::Current) => {
                self.release_words(now);
                self.end(Err(ModelFailure::Lost(reason)));
            }
            (Some(Breakdown::Fatal(reason)), Slot::Next) => {
                self.close(Slot::Next);
                self.try_again(false, None, &reason, now);
            }
            (Some(Breakdown::Fatal(reason) | Breakdown::Lost(reason)), _) => {
                self.drop_link(slot, &reason, now);
            }
            (None, _) => {}
        }
    }

    /// The current link is gone: another is opened at once, if that makes sense.
    pub(super) fn lose(&mut self, may_reopen: bool, reason: &str, now: Instant) {
        self.release_words(now);
        let is_hopeless = self.medium == Medium::Text || !may_reopen || self.losses.on_loss(now);
        if is_hopeless {
            return self.end(Err(ModelFailure::Lost(reason.to_owned())));
        }
        let Some(link) = self.current.take() else { return };
        tracing::info!(reason, "a model session was lost, and another is being opened");
        self.give(ModelEvent::Reconnecting { reason: reason.to_owned() });
        self.part();
        let lost = self.tape.on_lost();
        self.wind_up(link, lost, now);
        self.part();
        self.stage = Stage::Lost;
        self.retry = Retry::new(now + OUTAGE_MAX);
        match &self.next {
            Some(next) if next.stands() => {
                self.give(ModelEvent::Restored);
                self.take_over(now);
            }
            // It is on its way already.
            Some(_) => {}
            None => self.try_again(true, None, reason, now),
        }
    }

    /// Ends for the agent what is under way on a link, and keeps what is still wanted. The link
    /// is left as the one that leaves.
    fn wind_up(&mut self, mut link: Link, lost: Vec<Lost>, now: Instant) {
        let unfinished = link.dialogue.dismantle();
        if let Some(request) = unfinished.request {
            self.unfinished.request = Some(Request::both(self.unfinished.request.take(), request));
        }
        self.unfinished.was_asked |= unfinished.was_asked;
        self.unfinished.was_begun |= unfinished.was_begun;
        let drafts: Vec<String> = lost
            .iter()
            .map(|turn| link.own(&turn.name).map(|id| link.dialogue.draft(id)))
            .map(Option::unwrap_or_default)
            .collect();
        self.leaving = Some((link, now));
        self.collect(now);
        for (turn, draft) in lost.into_iter().zip(drafts) {
            self.settle(turn, draft);
        }
    }

    /// Tells the agent that an utterance is over whose words will not come from this server.
    fn settle(&mut self, turn: Lost, draft: String) {
        let text = match turn.fate {
            Fate::HeardAgain => {
                self.chronicle.remove(&turn.name);
                String::new()
            }
            Fate::Sound(sound) => {
                self.chronicle.on_left_over(&turn.name, &draft, sound);
                draft
            }
        };
        let (utterance, text) = (UtteranceId::new(turn.name), Pii::new(text));
        self.give(ModelEvent::Transcript { utterance, text, is_final: true });
    }

    /// When the session that stands has grown so old that another is to be opened.
    pub(super) fn rotation_at(&self) -> Option<Instant> {
        let current = self.current.as_ref().filter(|_| self.medium == Medium::Voice)?;
        let is_free = self.next.is_none() && self.again_at.is_none();
        (is_free && self.stays != Some(current.id)).then(|| current.life.soft())
    }

    pub(super) fn rotate_if_due(&mut self, now: Instant) {
        if self.rotation_at().is_some_and(|at| at <= now)
            && let Some(current) = &self.current
        {
            self.retry = Retry::new(current.life.end());
            self.open_next(now);
        }
    }

    /// Lets the next link take over if it is ready and nobody would notice; or if there is no
    /// more time.
    pub(super) fn change_if_at_rest(&mut self, now: Instant) {
        if self.leaving.is_some() && !self.tape.awaits_words() {
            self.part();
        }
        let is_ready = self.next.as_ref().is_some_and(Link::stands);
        let Some(current) = self.current.as_ref().filter(|_| is_ready) else {
            self.look_at = None;
            return;
        };
        let is_at_rest = current.dialogue.is_at_rest()
            && self.plays_until <= now
            && !self.tape.awaits_words()
            && self.unfinished.request.is_none();
        if is_at_rest || current.life.hard() <= now {
            self.change(now);
        } else {
            self.look_at = Some(now + LOOK_EVERY);
        }
    }

    /// The next link takes over from the one that stands. What is under way there, if anything,
    /// is ended; its late words are still taken.
    fn change(&mut self, now: Instant) {
        self.release_words(now);
        let Some(link) = self.current.take() else { return };
        self.part();
        let lost = self.tape.on_left();
        self.wind_up(link, lost, now);
        self.leaving = self.leaving.take().map(|(link, _)| (link, now + LATE_WORDS_MAX));
        tracing::debug!("a model session has taken over from another");
        self.take_over(now);
        if !self.tape.awaits_words() {
            self.part();
        }
    }

    /// Closes the link that leaves.
    pub(super) fn part(&mut self) {
        self.close(Slot::Leaving);
    }

    /// All is over.
    pub(super) fn end(&mut self, result: Result<(), ModelFailure>) {
        if self.stage == Stage::Ended {
            return;
        }
        self.stage = Stage::Ended;
        (self.again_at, self.look_at) = (None, None);
        for slot in [Slot::Leaving, Slot::Current, Slot::Next] {
            self.close(slot);
        }
        self.outputs.push_back(Output::Ended(result));
    }

    fn close(&mut self, slot: Slot) {
        let link = match slot {
            Slot::Current => self.current.take(),
            Slot::Next => self.next.take(),
            Slot::Leaving => self.leaving.take().map(|(link, _)| link),
        };
        self.outputs.extend(link.map(|link| Output::Close(link.id)));
    }

    /// Tells a link all that it does not know, in front of whatever comes next.
    fn inform(&mut self, slot: Slot) {
        self.tell_untold(slot);
        self.collect_requests(slot);
    }

    fn give(&mut self, event: ModelEvent) {
        self.outputs.push_back(Output::Item(ModelItem::Event(event)));
    }
}

/// What a model is told that is to take up the answer of another.
const GO_ON: &str = "You were cut off by a fault while you were answering. What you have said of \
    your answer is in the conversation. Go on from there without a word about the fault, and \
    repeat nothing.";

/// How long a call may be without a mind.
const OUTAGE_MAX: Duration = Duration::from_secs(15);

/// How long the words of a turn may still come from a session that was left.
const LATE_WORDS_MAX: Duration = Duration::from_secs(10);

/// How often it is asked whether this is a good moment to change links.
const LOOK_EVERY: Duration = Duration::from_millis(100);
