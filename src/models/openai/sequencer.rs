//! Who may answer, and when: the one owner of `response.create` and `response.cancel`.
//!
//! ```text
//!            request            created             done
//!   Free ------------> Requested ------> Active ------------> Free
//!    |                     |  |             |
//!    |  created (VAD)      |  | refused     | cancel
//!    +---------------------|--|---> Active  +-------> Cancelling ----> Free
//!                          |  +---> Blocked                 ^    done
//!                          +--------------------------------+
//!                             cancel (sent once the answer has a name)
//!
//!   Active --- failed in passing ---> Resting --- a moment later ---> Requested
//! ```
//!
//! A server writes one answer at a time. What is asked for meanwhile is merged into one request
//! after it. Every state but `Free` has a deadline, because events get lost.

use std::time::{Duration, Instant};

use crate::ids::ResponseId;
use crate::privacy::Pii;

/// To be sent to the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// `response.create`, with the tag in its metadata.
    Create { tag: u64, instructions: Option<Pii<String>> },
    /// `response.cancel`, by name.
    Cancel { response: ResponseId },
}

/// An answer that never came to its end, and what can be sent in its place.
#[derive(Debug, PartialEq)]
pub(super) struct Overdue {
    /// The answer, if it had a name.
    pub(super) response: Option<ResponseId>,
    /// Whether it had been told to break off.
    pub(super) is_cancelled: bool,
    /// What was waited for.
    pub(super) reason: &'static str,
    /// What had to wait for it.
    pub(super) next: Option<Step>,
}

/// What was due, when its time has come.
#[derive(Debug, PartialEq)]
pub(super) enum Due {
    /// Something was waited for in vain.
    Overdue(Overdue),
    /// It is time to ask again.
    Again(Option<Step>),
}

/// What was under way when the server was lost.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wreck {
    /// The answer that was being given, if it had a name.
    pub(super) running: Option<Running>,
    /// What had been asked for and not begun.
    pub(super) waiting: Option<Request>,
}

/// An answer that was being given.
#[derive(Debug, PartialEq)]
pub(super) struct Running {
    pub(super) response: ResponseId,
    /// What it answers; `None` if it had been told to break off.
    pub(super) request: Option<Request>,
}

/// The machine.
#[derive(Debug, Default)]
pub(super) struct Sequencer {
    state: State,
    /// Asked for while the server was busy.
    waiting: Option<Request>,
    tags: u64,
    /// The last tag of a request made before we broke off: its answer, and all before, are not
    /// wanted, however late they come.
    revoked: u64,
    /// Whether the server repeats our metadata, so that a missing tag means a foreign answer.
    tags_come_back: bool,
}

/// An answer that somebody wants; or two, of which one has words of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Request {
    /// Whether the agent is to say what it has to say, by its own instructions.
    is_plain: bool,
    /// What to say, in place of the agent's own instructions.
    pub(super) instructions: Option<Pii<String>>,
}

impl Request {
    pub(super) const fn new(instructions: Option<Pii<String>>) -> Self {
        Self { is_plain: instructions.is_none(), instructions }
    }

    /// What was wanted before, if anything was, and what is wanted after it.
    pub(super) fn both(before: Option<Self>, later: Self) -> Self {
        match before {
            Some(before) => before.and(later),
            None => later,
        }
    }

    /// What is wanted twice without words is wanted once; words are said together.
    fn and(self, later: Self) -> Self {
        let instructions = match (self.instructions, later.instructions) {
            (Some(first), Some(second)) => {
                Some(Pii::new(format!("{}\n\n{}", first.expose(), second.expose())))
            }
            (first, second) => first.or(second),
        };
        Self { is_plain: self.is_plain || later.is_plain, instructions }
    }

    /// The one answer to ask for, and the other.
    fn first(self) -> (Self, Option<Self>) {
        match self {
            Self { is_plain: true, instructions: Some(words) } => {
                (Self::new(None), Some(Self::new(Some(words))))
            }
            one => (one, None),
        }
    }
}

#[derive(Debug, Default, PartialEq)]
enum State {
    /// The server is not answering, as far as we know.
    #[default]
    Free,
    /// We have asked; the answer has no name yet.
    Requested { tag: u64, request: Request, until: Instant },
    /// We have asked and changed our mind; the answer has no name yet.
    Revoked { tag: u64, until: Instant },
    /// The server refused to answer: it says it is at another answer, which we do not know.
    Blocked { until: Instant },
    /// The server is answering, of its own accord or because we asked. `is_assumed`: only the
    /// order of events says that this is the answer to what we asked.
    Active { response: ResponseId, asked: Option<Request>, is_assumed: bool, until: Instant },
    /// The server has been told to break off.
    Cancelling { response: ResponseId, until: Instant },
    /// The server could not answer just then; it is asked again in a moment.
    Resting { request: Request, until: Instant },
}

impl Sequencer {
    /// Asks for an answer, at once or after the running one.
    pub(super) fn request(
        &mut self,
        instructions: Option<Pii<String>>,
        now: Instant,
    ) -> Option<Step> {
        let wanted = Request::new(instructions);
        self.waiting = Some(Request::both(self.waiting.take(), wanted));
        self.next_if_free(now)
    }

    /// Breaks off the running answer, and forgets what was to come after it.
    ///
    /// An answer that has no name yet is broken off as soon as it has one.
    pub(super) fn cancel(&mut self, now: Instant) -> Option<Step> {
        self.waiting = None;
        self.revoked = self.tags;
        match std::mem::take(&mut self.state) {
            State::Requested { tag, until, .. } => {
                self.state = State::Revoked { tag, until };
                None
            }
            State::Active { response, .. } => Some(self.break_off(response, now)),
            State::Resting { .. } => None,
            unchanged @ (State::Free
            | State::Revoked { .. }
            | State::Blocked { .. }
            | State::Cancelling { .. }) => {
                self.state = unchanged;
                None
            }
        }
    }

    /// The server has begun to answer; `tag` is from the answer's metadata.
    pub(super) fn on_created(
        &mut self,
        response: &ResponseId,
        tag: Option<u64>,
        now: Instant,
    ) -> Option<Step> {
        self.tags_come_back |= tag.is_some();
        match std::mem::take(&mut self.state) {
            State::Requested { request, .. } if self.is_revoked(tag) => {
                self.wait_again(request);
                Some(self.break_off(response.clone(), now))
            }
            _ if self.is_revoked(tag) => Some(self.break_off(response.clone(), now)),
            State::Requested { tag: ours, request, .. } if !self.answers(ours, tag) => {
                // The server was quicker by itself. It will refuse our request; ask again later.
                self.wait_again(request);
                self.activate(response, None, false, now);
                None
            }
            State::Requested { request, .. } => {
                self.activate(response, Some(request), tag.is_none(), now);
                None
            }
            State::Revoked { tag: ours, .. } if self.answers(ours, tag) => {
                Some(self.break_off(response.clone(), now))
            }
            State::Free
            | State::Revoked { .. }
            | State::Blocked { .. }
            | State::Active { .. }
            | State::Cancelling { .. }
            | State::Resting { .. } => {
                self.activate(response, None, false, now);
                None
            }
        }
    }

    /// Whether an answer with this tag was revoked before it had a name.
    pub(super) fn is_revoked(&self, tag: Option<u64>) -> bool {
        tag.is_some_and(|tag| tag <= self.revoked)
    }

    /// The answer that runs, or is being broken off.
    pub(super) fn running(&self) -> Option<&ResponseId> {
        match &self.state {
            State::Active { response, .. } | State::Cancelling { response, .. } => Some(response),
            State::Free
            | State::Requested { .. }
            | State::Revoked { .. }
            | State::Blocked { .. }
            | State::Resting { .. } => None,
        }
    }

    /// Whether nothing runs, and nothing is asked for.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Free && self.waiting.is_none()
    }

    /// Whether an answer was asked for that has not begun, or runs.
    pub(super) const fn is_asking(&self) -> bool {
        !matches!(self.state, State::Free | State::Blocked { .. } | State::Resting { .. })
    }

    /// Something came of an answer: it lives.
    pub(super) fn on_progress(&mut self, now: Instant) {
        if let State::Active { until, .. } = &mut self.state {
            *until = now + SILENCE_LIMIT;
        }
    }

    /// An answer has come to its end, whichever way, perhaps without having been announced.
    pub(super) fn on_done(
        &mut self,
        response: &ResponseId,
        tag: Option<u64>,
        now: Instant,
    ) -> Option<Step> {
        let over = match &self.state {
            State::Requested { tag: ours, .. } | State::Revoked { tag: ours, .. } => {
                tag == Some(*ours)
            }
            State::Active { response: running, .. }
            | State::Cancelling { response: running, .. } => running == response,
            State::Blocked { .. } => true,
            State::Free | State::Resting { .. } => false,
        };
        if over {
            self.state = State::Free;
        }
        self.next_if_free(now)
    }

    /// The server refused our request: `conversation_already_has_active_response`.
    ///
    /// The request is made again after the answer it names, which we may or may not know.
    pub(super) fn on_refused(&mut self, now: Instant) {
        match std::mem::take(&mut self.state) {
            State::Requested { request, .. } => {
                self.wait_again(request);
                self.state = State::Blocked { until: now + UNKNOWN_ANSWER_LIMIT };
            }
            State::Revoked { .. } => {
                self.state = State::Blocked { until: now + UNKNOWN_ANSWER_LIMIT };
            }
            State::Active { response, asked: Some(request), is_assumed: true, until } => {
                self.wait_again(request);
                self.state = State::Active { response, asked: None, is_assumed: false, until };
            }
            unchanged @ (State::Free
            | State::Blocked { .. }
            | State::Active { .. }
            | State::Cancelling { .. }
            | State::Resting { .. }) => self.state = unchanged,
        }
    }

    /// The server had nothing to break off: `response_cancel_not_active`. What it was to break
    /// off is over, and its end may never be told.
    pub(super) fn on_cancel_refused(&mut self, now: Instant) -> Option<Overdue> {
        if !matches!(self.state, State::Cancelling { .. }) {
            return None;
        }
        Some(self.free("response.done after a refused cancel", now))
    }

    /// An answer failed in passing: it is asked for again in a moment. False if it is not the one
    /// that runs, or not wanted any more.
    pub(super) fn on_failed(
        &mut self,
        response: &ResponseId,
        tag: Option<u64>,
        until: Instant,
    ) -> bool {
        let request = match &self.state {
            State::Active { response: running, asked, .. } if running == response => {
                asked.clone().unwrap_or_default()
            }
            State::Requested { tag: ours, request, .. } if tag == Some(*ours) => request.clone(),
            State::Free
            | State::Requested { .. }
            | State::Revoked { .. }
            | State::Blocked { .. }
            | State::Active { .. }
            | State::Cancelling { .. }
            | State::Resting { .. } => return false,
        };
        self.state = State::Resting { request, until };
        true
    }

    /// The server says when it will be able to answer again.
    pub(super) fn rest_until(&mut self, at: Instant) {
        if let State::Resting { until, .. } = &mut self.state {
            *until = at;
        }
    }

    /// Does not ask again for an answer that failed. True if that was to be done.
    pub(super) fn drop_resting(&mut self, now: Instant) -> (bool, Option<Step>) {
        if !matches!(self.state, State::Resting { .. }) {
            return (false, None);
        }
        self.state = State::Free;
        (true, self.next_if_free(now))
    }

    /// The server is gone: tells what was under way, and forgets it.
    pub(super) fn dismantle(&mut self) -> Wreck {
        let running = match std::mem::take(&mut self.state) {
            State::Requested { request, .. } | State::Resting { request, .. } => {
                self.wait_again(request);
                None
            }
            State::Active { response, asked, .. } => {
                Some(Running { response, request: Some(asked.unwrap_or_default()) })
            }
            State::Cancelling { response, .. } => Some(Running { response, request: None }),
            State::Free | State::Revoked { .. } | State::Blocked { .. } => None,
        };
        Wreck { running, waiting: self.waiting.take() }
    }

    /// When this machine will have waited long enough, and for what.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Free => None,
            State::Requested { until, .. } | State::Revoked { until, .. } => {
                Some((until, "response.created"))
            }
            State::Blocked { until } => Some((until, "an unknown answer's end")),
            State::Active { until, .. } => Some((until, "progress of an answer")),
            State::Cancelling { until, .. } => Some((until, "response.done after a cancel")),
            State::Resting { until, .. } => Some((until, "the moment to ask again")),
        }
    }

    /// Frees a machine that has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        let (until, reason) = self.poll_timeout()?;
        if now < until {
            return None;
        }
        if let State::Resting { request, .. } = &self.state {
            let request = request.clone();
            self.state = State::Free;
            self.wait_again(request);
            return Some(Due::Again(self.next_if_free(now)));
        }
        if let State::Active { response, .. } = &self.state {
            // The server may be at it for ever: it takes nothing else before it has let go.
            let response = response.clone();
            let next = Some(self.break_off(response.clone(), now));
            let overdue = Overdue { response: Some(response), is_cancelled: false, reason, next };
            return Some(Due::Overdue(overdue));
        }
        Some(Due::Overdue(self.free(reason, now)))
    }

    /// Waits no longer, and goes on with what had to wait.
    fn free(&mut self, reason: &'static str, now: Instant) -> Overdue {
        let response = self.running().cloned();
        let is_cancelled = matches!(self.state, State::Cancelling { .. });
        self.state = State::Free;
        Overdue { response, is_cancelled, reason, next: self.next_if_free(now) }
    }

    /// Whether an answer with this tag is the one we asked for.
    fn answers(&self, ours: u64, tag: Option<u64>) -> bool {
        tag.map_or(!self.tags_come_back, |tag| tag == ours)
    }

    fn activate(
        &mut self,
        response: &ResponseId,
        asked: Option<Request>,
        is_assumed: bool,
        now: Instant,
    ) {
        let (response, until) = (response.clone(), now + SILENCE_LIMIT);
        self.state = State::Active { response, asked, is_assumed, until };
    }

    fn break_off(&mut self, response: ResponseId, now: Instant) -> Step {
        self.state = State::Cancelling { response: response.clone(), until: now + CANCEL_LIMIT };
        Step::Cancel { response }
    }

    /// Puts a refused request in front of what was asked for after it.
    fn wait_again(&mut self, request: Request) {
        self.waiting = Some(match self.waiting.take() {
            Some(later) => request.and(later),
            None => request,
        });
    }

    fn next_if_free(&mut self, now: Instant) -> Option<Step> {
        if self.state != State::Free {
            return None;
        }
        let (request, rest) = self.waiting.take()?.first();
        self.waiting = rest;
        self.tags += 1;
        let tag = self.tags;
        let instructions = request.instructions.clone();
        self.state = State::Requested { tag, request, until: now + CREATED_LIMIT };
        Some(Step::Create { tag, instructions })
    }
}

/// How long a server may take to begin an answer. Under load it may queue; beyond this the event
/// is lost.
const CREATED_LIMIT: Duration = Duration::from_secs(10);

/// How long an answer may give no sign of life. Reasoning and server-side tools take their time.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// How long an answer we know nothing of may block us.
const UNKNOWN_ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long a server may take to break off; it needs no thought for it.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_request_is_sent_at_once_when_nothing_runs() {
        let (mut sequencer, now) = free();
        assert_eq!(sequencer.request(None, now), create(1));
    }

    #[test]
    fn requests_while_busy_become_one_request_after_it() {
        let (mut sequencer, now) = active("r1");
        assert_eq!(sequencer.request(None, now), None);
        assert_eq!(sequencer.request(None, now), None);
        assert_eq!(sequencer.on_done(&id("r1"), None, now), create(2));
        assert_eq!(sequencer.on_done(&id("r1"), None, now), None);
    }

    #[test]
    fn words_to_say_are_said_together_and_do_not_replace_an_answer() {
        let (mut sequencer, now) = active("r1");
        assert_eq!(sequencer.request(Some(Pii::new("Be brief.".into())), now), None);
        assert_eq!(sequencer.request(None, now), None);
        assert_eq!(sequencer.request(Some(Pii::new("Be kind.".into())), now), None);
        assert_eq!(sequencer.on_done(&id("r1"), None, now), create(2));
        assert_eq!(sequencer.on_created(&id("r2"), Some(2), now), None);
        let words = Some(Pii::new("Be brief.\n\nBe kind.".to_owned()));
        let next = Some(Step::Create { tag: 3, instructions: words });
        assert_eq!(sequencer.on_done(&id("r2"), Some(2), now), next);
    }

    #[test]
    fn an_answer_of_the_servers_own_making_is_waited_for() {
        let (mut sequencer, now) = free();
        assert_eq!(sequencer.on_created(&id("vad"), None, now), None);
        assert_eq!(sequencer.request(None, now), None);
        assert_eq!(sequencer.on_done(&id("vad"), None, now), create(1));
    }

    #[test]
    fn an_active_answer_is_cancelled_by_name() {
        let (mut sequencer, now) = active("r1");
        assert_eq!(sequencer.cancel(now), cancel("r1"));
        assert_eq!(sequencer.cancel(now), None);
        assert_eq!(sequencer.request(None, now), None);
        assert_eq!(sequencer.on_done(&id("r1"), None, now), create(2));
    }

    #[test]
    fn a_cancel_before_created_is_remembered() {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        assert_eq!(sequencer.cancel(now), None);
        assert_eq!(sequencer.on_created(&id("r1"), Some(1), now), cancel("r1"));
        assert_eq!(sequencer.on_done(&id("r1"), None, now), None);
        assert_eq!(sequencer.poll_timeout(), None);
    }

    #[test]
    fn a_request_right_after_a_cancel_waits_for_the_cancelled_answers_end() {
        let (mut sequencer, now) = active("r1");
        sequencer.cancel(now);
        assert_eq!(sequencer.request(Some(Pii::new("Be brief.".into())), now), None);
        let instructions = Some(Pii::new("Be brief.".to_owned()));
        let next = Some(Step::Create { tag: 2, instructions });
        assert_eq!(sequencer.on_done(&id("r1"), Some(1), now), next);
    }

    #[test]
    fn a_request_after_a_cancel_before_created_waits_for_the_revoked_answers_end() {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        sequencer.cancel(now);
        assert_eq!(sequencer.request(None, now), None);
        assert_eq!(sequencer.on_created(&id("r1"), Some(1), now), cancel("r1"));
        assert_eq!(sequencer.on_done(&id("r1"), Some(1), now), create(2));
        assert_eq!(sequencer.on_created(&id("r2"), Some(2), now), None);
    }

    #[test]
    fn a_request_after_a_cancel_outlives_a_server_that_never_ends_the_answer() {
        let (mut sequencer, now) = active("r1");
        sequencer.cancel(now);
        sequencer.request(None, now);
        let (until, _) = sequencer.poll_timeout().unwrap();
        let over = overdue(&mut sequencer, until);
        assert!(over.is_cancelled);
        assert_eq!((over.response, over.next), (Some(id("r1")), create(2)));
    }

    #[test]
    fn a_request_after_a_cancel_survives_the_refusal_of_the_revoked_one() {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        sequencer.cancel(now);
        sequencer.request(None, now);
        sequencer.on_refused(now);
        assert_eq!(sequencer.on_done(&id("unknown"), None, now), create(2));
    }

    #[test]
    fn a_revoked_answer_that_comes_after_its_deadline_is_broken_off_all_the_same() {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        sequencer.cancel(now);
        sequencer.request(None, now);
        let (until, _) = sequencer.poll_timeout().unwrap();
        assert_eq!(overdue(&mut sequencer, until).next, create(2));
        assert!(sequencer.is_revoked(Some(1)) && !sequencer.is_revoked(Some(2)));
        assert_eq!(sequencer.on_created(&id("r1"), Some(1), now), cancel("r1"));
        assert_eq!(sequencer.on_done(&id("r1"), Some(1), now), create(3));
    }

    #[test]
    fn a_cancel_when_nothing_runs_is_not_sent() {
        let (mut sequencer, now) = free();
        assert_eq!(sequencer.cancel(now), None);
    }

    #[test]
    fn a_cancel_forgets_what_was_to_come_after() {
        let (mut sequencer, now) = active("r1");
        sequencer.request(None, now);
        sequencer.cancel(now);
        assert_eq!(sequencer.on_done(&id("r1"), None, now), None);
    }

    #[test]
    fn a_refused_request_is_made_again_after_the_unknown_answer() {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        sequencer.on_refused(now);
        assert_eq!(sequencer.on_created(&id("vad"), None, now), None);
        sequencer.on_refused(now);
        assert_eq!(sequencer.on_done(&id("vad"), None, now), create(2));
    }

    #[test]
    fn a_refused_request_survives_an_answer_that_ends_unannounced() {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        sequencer.on_refused(now);
        assert_eq!(sequencer.on_done(&id("before"), None, now), create(2));
    }

    #[test]
    fn a_foreign_answer_is_told_from_ours_by_its_tag() {
        let (mut sequencer, now) = active("r1");
        sequencer.on_done(&id("r1"), None, now);
        sequencer.request(None, now);
        sequencer.on_created(&id("vad"), None, now);
        sequencer.on_refused(now);
        assert_eq!(sequencer.on_done(&id("vad"), None, now), create(3));
    }

    #[test]
    fn a_request_is_not_lost_to_an_answer_that_came_first() {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        sequencer.on_created(&id("vad"), None, now);
        sequencer.on_refused(now);
        assert_eq!(sequencer.on_done(&id("vad"), None, now), create(2));
    }

    #[test]
    fn a_cancel_with_nothing_to_cancel_frees_the_machine() {
        let (mut sequencer, now) = active("r1");
        sequencer.cancel(now);
        sequencer.request(None, now);
        let freed = sequencer.on_cancel_refused(now).unwrap();
        assert_eq!((freed.response, freed.is_cancelled), (Some(id("r1")), true));
        assert_eq!(freed.next, create(2));
        assert_eq!(sequencer.on_cancel_refused(now), None);
    }

    #[test]
    fn no_state_is_waited_in_for_ever() {
        let (mut sequencer, now) = active("r1");
        sequencer.request(None, now);
        let (until, _) = sequencer.poll_timeout().unwrap();
        assert_eq!(sequencer.handle_timeout(now), None);
        let over = overdue(&mut sequencer, until);
        assert_eq!(over.response, Some(id("r1")));
        assert_eq!(over.next, cancel("r1"));
        let (until, reason) = sequencer.poll_timeout().unwrap();
        assert_eq!(reason, "response.done after a cancel");
        assert_eq!(overdue(&mut sequencer, until).next, create(2));
        let (until, reason) = sequencer.poll_timeout().unwrap();
        assert_eq!(reason, "response.created");
        assert_eq!(overdue(&mut sequencer, until).next, None);
        assert_eq!(sequencer.poll_timeout(), None);
    }

    #[test]
    fn an_answer_that_ends_unannounced_is_known_by_its_tag() {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        sequencer.request(None, now);
        assert_eq!(sequencer.on_done(&id("other"), None, now), None);
        assert_eq!(sequencer.on_done(&id("r1"), Some(1), now), create(2));
    }

    #[test]
    fn progress_moves_the_deadline() {
        let (mut sequencer, now) = active("r1");
        let (before, _) = sequencer.poll_timeout().unwrap();
        sequencer.on_progress(now + Duration::from_secs(1));
        let (after, _) = sequencer.poll_timeout().unwrap();
        assert_eq!(after - before, Duration::from_secs(1));
    }

    fn free() -> (Sequencer, Instant) {
        (Sequencer::default(), clock::now())
    }

    /// Ours, created, with its tag.
    fn active(response: &str) -> (Sequencer, Instant) {
        let (mut sequencer, now) = free();
        sequencer.request(None, now);
        sequencer.on_created(&id(response), Some(1), now);
        (sequencer, now)
    }

    fn id(text: &str) -> ResponseId {
        ResponseId::new(text)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the machine answers")]
    fn create(tag: u64) -> Option<Step> {
        Some(Step::Create { tag, instructions: None })
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the machine answers")]
    fn cancel(response: &str) -> Option<Step> {
        Some(Step::Cancel { response: id(response) })
    }

    fn overdue(sequencer: &mut Sequencer, until: Instant) -> Overdue {
        match sequencer.handle_timeout(until) {
            Some(Due::Overdue(overdue)) => overdue,
            other => panic!("nothing is overdue: {other:?}"),
        }
    }

    #[test]
    fn an_answer_that_failed_is_asked_for_again_in_a_moment() {
        let (mut sequencer, now) = free();
        let instructions = Some(Pii::new("Be brief.".to_owned()));
        sequencer.request(instructions.clone(), now);
        sequencer.on_created(&id("r1"), Some(1), now);
        let until = now + Duration::from_secs(1);
        assert!(sequencer.on_failed(&id("r1"), Some(1), until));
        assert_eq!(sequencer.handle_timeout(now), None);
        let again = Due::Again(Some(Step::Create { tag: 2, instructions }));
        assert_eq!(sequencer.handle_timeout(until), Some(again));
    }

    #[test]
    fn a_cancel_drops_what_was_to_be_asked_again() {
        let (mut sequencer, now) = active("r1");
        assert!(sequencer.on_failed(&id("r1"), None, now + Duration::from_secs(1)));
        assert_eq!(sequencer.cancel(now), None);
        assert!(sequencer.is_idle());
        assert_eq!(sequencer.poll_timeout(), None);
    }

    #[test]
    fn a_wreck_tells_what_was_wanted() {
        let (mut sequencer, now) = free();
        let request = |text: &str| Some(Request::new(Some(Pii::new(text.to_owned()))));
        sequencer.request(Some(Pii::new("one".to_owned())), now);
        let wreck = Wreck { running: None, waiting: request("one") };
        assert_eq!(sequencer.dismantle(), wreck);
        sequencer.request(Some(Pii::new("one".to_owned())), now);
        sequencer.request(Some(Pii::new("two".to_owned())), now);
        sequencer.on_created(&id("r1"), Some(2), now);
        let running = Some(Running { response: id("r1"), request: request("one") });
        assert_eq!(sequencer.dismantle(), Wreck { running, waiting: request("two") });
        assert!(sequencer.is_idle());
    }
}
