//! A conversation that outlives its sockets, without them: time is an argument, and whatever is
//! to be sent or told comes out of [`Conversation::poll_output`].
//!
//! ```text
//!             ready              lost                  ready
//!   Opening ---------> Standing ---------> Lost ----------------> Standing
//!      |                  |    ^             |
//!      | no hope          |    | ready, and  | no hope
//!      v                  v    | at a rest   v
//!    Ended <---- closed   another link     Ended
//! ```

mod changing;
mod noting;

use std::collections::VecDeque;
use std::time::Instant;

use super::chronicle::{Chronicle, Telling};
use super::dialogue::{Breakdown, Dialogue, Unfinished};
use super::ear::Turns;
use super::errors;
use super::heartbeat::Beat;
use super::links::{Link, Phase};
use super::ports::{ConnectError, LinkId, Output, WallClock};
use super::retry::{Losses, Retry};
use super::sequencer::Request;
use super::setup::session_update;
use super::tape::Tape;
use crate::agent::{AgentSpec, Medium, ModelAction, ModelFailure, Role};
use crate::media::Frame24k;
use crate::models::dialect::{Dialect, Transcribes};
use crate::models::wire::{ClientEvent, Field, Item, ServerEvent, SessionUpdate, encode_for};
use crate::models::{Deadlines, ModelProfile};
use crate::privacy::Pii;

/// The machine.
#[derive(Debug)]
pub struct Conversation {
    dialect: Dialect,
    deadlines: Deadlines,
    clock: WallClock,
    medium: Medium,
    /// Whether the model is shown images.
    sees: bool,
    turns: Turns,
    /// The settings, as they go out.
    update: String,
    /// What the agent is, for answers that begin in the middle.
    instructions: String,
    stage: Stage,
    /// The link that stands and that everything goes to.
    current: Option<Link>,
    /// The link that is to be the next one.
    next: Option<Link>,
    /// The link that was the last one, and until when its late words are waited for.
    leaving: Option<(Link, Instant)>,
    /// When the next link is tried again.
    again_at: Option<Instant>,
    retry: Retry,
    losses: Losses,
    /// The link for which no other is to be had: it is used up to its end.
    stays: Option<LinkId>,
    links_made: u32,
    sessions: u32,
    chronicle: Chronicle,
    tape: Tape,
    /// What is to be answered as soon as somebody can.
    unfinished: Unfinished,
    /// Until when there is something of ours to be heard, as far as we can tell from here.
    plays_until: Instant,
    /// When it is asked again whether this is a good moment to change links.
    look_at: Option<Instant>,
    outputs: VecDeque<Output>,
}

/// How the conversation stands. What is waited for ends with the budget of `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No session has stood yet.
    Opening,
    /// A session stands.
    Standing,
    /// The session was lost, and another is being opened.
    Lost,
    /// All is over.
    Ended,
}

/// Which of the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Current,
    Next,
    Leaving,
}

impl Conversation {
    /// A conversation that begins by asking for a socket. Fails if the agent cannot be told to a
    /// server at all.
    pub fn new(
        profile: &ModelProfile,
        spec: &AgentSpec,
        medium: Medium,
        clock: WallClock,
    ) -> Result<Self, ModelFailure> {
        let update = session_update(profile, spec, medium)
            .map_err(|error| ModelFailure::Unavailable(error.to_string()))?;
        let (now, deadlines) = (clock.now, profile.deadlines);
        let turns = Turns::of(&update);
        let mut conversation = Self {
            deadlines,
            clock,
            medium,
            sees: profile.images,
            turns,
            instructions: match medium {
                Medium::Voice => spec.instructions.clone(),
                Medium::Text => String::new(),
            },
            stage: Stage::Opening,
            current: None,
            next: None,
            leaving: None,
            again_at: None,
            retry: Retry::first(now + deadlines.connect + deadlines.configure),
            losses: Losses::default(),
            stays: None,
            links_made: 0,
            sessions: 0,
            chronicle: Chronicle::default(),
            tape: Tape::new(turns.by_server, is_transcribed(profile, &update)),
            unfinished: Unfinished::default(),
            plays_until: now,
            look_at: None,
            outputs: VecDeque::new(),
            update: update_text(&profile.dialect, update),
            dialect: profile.dialect,
        };
        conversation.open_next(now);
        Ok(conversation)
    }

    /// Does what the agent wants. After `Close` comes `Ended`.
    pub fn handle_action(&mut self, action: ModelAction, now: Instant) {
        if self.stage == Stage::Ended {
            return;
        }
        match action {
            ModelAction::Close => {
                self.release_words(now);
                self.end(Ok(()));
            }
            ModelAction::Open { .. } => {}
            action if self.medium == Medium::Text && self.current.is_some() => {
                self.pass_on(action, now);
            }
            ModelAction::AddText { role, text } => {
                let text = text.expose();
                self.tell(match role {
                    Role::System => Item::input_text("system", text),
                    Role::User => Item::input_text("user", text),
                    Role::Assistant => Item::output_text(text),
                });
            }
            ModelAction::AddImage { url } if self.sees => {
                self.tell(Item::input_image(url.expose()));
            }
            ModelAction::AddImage { .. } => {
                tracing::debug!("an image was dropped: this model sees none");
            }
            ModelAction::ToolOutput { id, output } => {
                if self.chronicle.on_output(id.as_str(), output.expose()) {
                    self.tell_untold(Slot::Current);
                } else {
                    self.pass_on(ModelAction::ToolOutput { id, output }, now);
                }
            }
            ModelAction::Truncate { utterance, end_ms } => {
                self.cut(utterance.as_str(), end_ms);
                // A cut comes with a flush: nothing of ours is left to be heard.
                self.plays_until = now;
                self.pass_on(ModelAction::Truncate { utterance, end_ms }, now);
            }
            ModelAction::Cancel => {
                self.unfinished = Unfinished::default();
                self.pass_on(ModelAction::Cancel, now);
            }
            ModelAction::GiveWay { utterance } => {
                self.unfinished = Unfinished::default();
                self.pass_on(ModelAction::GiveWay { utterance }, now);
            }
            ModelAction::Respond { instructions } => self.respond(instructions, now),
            ModelAction::Commit => {
                self.tape.commit(now);
                self.pass_on(ModelAction::Commit, now);
            }
            ModelAction::Clear => {
                self.tape.clear();
                self.pass_on(ModelAction::Clear, now);
            }
        }
        self.collect(now);
    }

    /// Lets the model hear what was said, 20 ms of it.
    pub fn handle_frame(&mut self, frame: &Frame24k, now: Instant) {
        if self.medium == Medium::Text || self.stage == Stage::Ended {
            return;
        }
        let frame = self.tape.push(frame, now);
        if let Some(link) = &self.current {
            self.outputs.push_back(Output::SendFrame { link: link.id, frame });
        }
    }

    /// A frame that is to be sent, before anything else is asked of the conversation.
    #[must_use]
    pub fn frame(&self, number: u64) -> Option<&Frame24k> {
        self.tape.frame(number)
    }

    /// A socket stands.
    pub fn on_connected(&mut self, link: LinkId, now: Instant) {
        let limit = self.retry.until();
        let Some(next) = self.next.as_mut().filter(|next| next.id == link) else { return };
        next.on_connected(&self.deadlines, limit, now);
        self.outputs.push_back(Output::Send { link, text: self.update.clone() });
    }

    /// A socket could not be opened.
    pub fn on_refused(&mut self, link: LinkId, error: &ConnectError, now: Instant) {
        if self.slot(link) == Some(Slot::Next) {
            self.next = None;
            let retry_after = error.retry_after();
            self.try_again(error.is_passing(), retry_after, &error.to_string(), now);
        }
    }

    /// A server says something.
    pub fn handle_text(&mut self, link: LinkId, text: &str, now: Instant) {
        self.on_alive(link, now);
        let Some(slot) = self.slot(link) else { return };
        let event = match ServerEvent::decode(text) {
            Ok(message) => message.event,
            Err(error) => return tracing::debug!(%error, "a model event that cannot be read"),
        };
        match slot {
            Slot::Next if !self.next.as_ref().is_some_and(Link::stands) => {
                self.on_setup_event(&event, now);
            }
            Slot::Leaving if !is_about_words(&event) => {}
            Slot::Current | Slot::Next | Slot::Leaving => {
                self.note(slot, &event, now);
                if let Some(link) = self.link(slot) {
                    link.dialogue.handle_event(event, now);
                }
                self.collect(now);
                self.look_for_breakdown(slot, now);
            }
        }
        self.change_if_at_rest(now);
    }

    /// A server gives a sign of life, of whatever kind.
    pub fn on_alive(&mut self, link: LinkId, now: Instant) {
        let Some(slot) = self.slot(link) else { return };
        if slot == Slot::Current {
            self.tape.on_alive();
        }
        if let Some(link) = self.link(slot) {
            link.heartbeat.on_message(now);
        }
    }

    /// A socket is gone; `reason` is for people, `code` is from the server's close frame.
    pub fn on_closed(&mut self, link: LinkId, code: Option<u16>, reason: &str, now: Instant) {
        let may_reopen = code.is_none_or(errors::may_reopen);
        match self.slot(link) {
            Some(Slot::Current) => self.lose(may_reopen, reason, now),
            Some(Slot::Next) => {
                self.next = None;
                self.try_again(may_reopen, None, reason, now);
            }
            Some(Slot::Leaving) => self.leaving = None,
            None => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in [Slot::Current, Slot::Next, Slot::Leaving] {
            self.handle_link_timeout(slot, now);
        }
        if self.leaving.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.part();
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.open_next(now);
        }
        self.rotate_if_due(now);
        self.collect(now);
        self.change_if_at_rest(now);
    }

    /// What is to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = [self.current.as_ref(), self.next.as_ref()];
        let links = links.into_iter().flatten().map(Link::poll_timeout);
        let leaving = self.leaving.as_ref().map(|(_, until)| *until);
        let own = [leaving, self.again_at, self.look_at, self.rotation_at()];
        links.chain(own.into_iter().flatten()).min()
    }

    fn handle_link_timeout(&mut self, slot: Slot, now: Instant) {
        let Deadlines { connect, configure, .. } = self.deadlines;
        let Some(link) = self.link(slot) else { return };
        let id = link.id;
        match &link.phase {
            Phase::Connecting { until } if *until <= now => {
                let limit = connect.as_millis();
                self.abandon_next(&format!("no connection within {limit} ms"), now);
            }
            Phase::Configuring { until, complaint } if *until <= now => {
                let limit = configure.as_millis();
                let last = complaint.as_ref();
                let last = last.map(|last| format!("; its last error: {last}")).unwrap_or_default();
                let reason = format!("no session.updated within {limit} ms{last}");
                self.abandon_next(&reason, now);
            }
            Phase::Connecting { .. } | Phase::Configuring { .. } => {}
            Phase::Standing => {
                link.dialogue.handle_timeout(now);
                match link.heartbeat.handle_timeout(now) {
                    Some(Beat::Ping) => self.outputs.push_back(Output::Ping(id)),
                    Some(Beat::Dead) => self.drop_link(slot, "it gives no sign of life", now),
                    None => {}
                }
            }
        }
    }

    /// The agent wants an answer: now, or from the session that is being opened.
    fn respond(&mut self, instructions: Option<Pii<String>>, now: Instant) {
        if self.current.is_some() {
            return self.pass_on(ModelAction::Respond { instructions }, now);
        }
        let wanted = Request::new(instructions);
        self.unfinished.request = Some(Request::both(self.unfinished.request.take(), wanted));
        self.unfinished.was_asked = true;
    }

    /// Does on the current link what is about things of its own.
    fn pass_on(&mut self, action: ModelAction, now: Instant) {
        let Some(link) = &mut self.current else { return };
        if let Some(action) = link.own_action(action) {
            link.dialogue.handle_action(action, now);
        }
    }

    /// Adds something to the conversation.
    fn tell(&mut self, item: Item) {
        self.chronicle.tell(item);
        self.tell_untold(Slot::Current);
    }

    /// Tells a link what it does not know yet.
    fn tell_untold(&mut self, slot: Slot) {
        let Some(session) = self.link(slot).map(|link| link.session) else { return };
        let tellings = self.chronicle.untold(session);
        self.send_tellings(slot, tellings);
    }

    /// Of what the agent said, only this was heard.
    fn cut(&mut self, name: &str, end_ms: u64) {
        let slots = [Slot::Current, Slot::Next];
        let sessions = slots.map(|slot| self.link(slot).map_or(0, |link| link.session));
        for (session, tellings) in self.chronicle.cut(name, end_ms, &sessions) {
            let is_it = |link: &Option<Link>| link.as_ref().is_some_and(|it| it.session == session);
            let slot = if is_it(&self.current) { Slot::Current } else { Slot::Next };
            self.send_tellings(slot, tellings);
        }
    }

    fn send_tellings(&mut self, slot: Slot, tellings: Vec<Telling>) {
        let Some(link) = self.link(slot) else { return };
        for telling in tellings {
            match telling {
                Telling::Create { previous_item_id, item } => {
                    link.dialogue.add_item(*item, previous_item_id);
                }
                Telling::Delete { item_id } => link.dialogue.delete_item(&item_id),
            }
        }
    }

    fn slot(&self, link: LinkId) -> Option<Slot> {
        let is_it = |other: &Option<Link>| other.as_ref().is_some_and(|other| other.id == link);
        if is_it(&self.current) {
            Some(Slot::Current)
        } else if is_it(&self.next) {
            Some(Slot::Next)
        } else {
            self.leaving.as_ref().filter(|(leaving, _)| leaving.id == link).map(|_| Slot::Leaving)
        }
    }

    const fn link(&mut self, slot: Slot) -> Option<&mut Link> {
        match slot {
            Slot::Current => self.current.as_mut(),
            Slot::Next => self.next.as_mut(),
            Slot::Leaving => match &mut self.leaving {
                Some((link, _)) => Some(link),
                None => None,
            },
        }
    }
}

/// Whether the words of others will be told.
fn is_transcribed(profile: &ModelProfile, update: &SessionUpdate) -> bool {
    if profile.dialect.transcribes == Transcribes::Unasked {
        return true;
    }
    let input = update.session.audio.as_ref().and_then(|audio| audio.input.as_ref());
    input.is_some_and(|input| matches!(input.transcription, Field::Value(_)))
}

/// The settings, as they go out.
fn update_text(dialect: &Dialect, update: SessionUpdate) -> String {
    let update = ClientEvent::SessionUpdate(update);
    // Every dialect has words for its settings.
    encode_for(dialect, &update, Some(UPDATE_ID)).unwrap_or_default()
}

/// Whether an event tells the words of somebody else.
const fn is_about_words(event: &ServerEvent<'_>) -> bool {
    matches!(
        event,
        ServerEvent::TranscriptionDelta(_)
            | ServerEvent::TranscriptionUpdated(_)
            | ServerEvent::TranscriptionCompleted(_)
            | ServerEvent::TranscriptionFailed(_)
    )
}

/// The event id of our settings, by which their refusal is known.
const UPDATE_ID: &str = "setup_1";

#[cfg(test)]
mod tests;
