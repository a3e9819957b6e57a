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

#[derive(Clone, Debug, PartialEq)]
struct Request {
    instructions: Option<Pii<String>>,
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
    /// The server is answering. `assumed` is our request, as long as only the order of events
    /// says that this is the answer to it.
    Active { response: ResponseId, assumed: Option<Request>, until: Instant },
    /// The server has been told to break off.
    Cancelling { response: ResponseId, until: Instant },
}

impl Sequencer {
    /// Asks for an answer, at once or after the running one.
    pub(super) fn request(
        &mut self,
        instructions: Option<Pii<String>>,
        now: Instant,
    ) -> Option<Step> {
        let merged = self.waiting.take().and_then(|request| request.instructions);
        self.waiting = Some(Request { instructions: merge(merged, instructions) });
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
                self.activate(response, None, now);
                None
            }
            State::Requested { request, .. } => {
                self.activate(response, Some(request).filter(|_| tag.is_none()), now);
                None
            }
            State::Revoked { tag: ours, .. } if self.answers(ours, tag) => {
                Some(self.break_off(response.clone(), now))
            }
            State::Free
            | State::Revoked { .. }
            | State::Blocked { .. }
            | State::Active { .. }
            | State::Cancelling { .. } => {
                self.activate(response, None, now);
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
            | State::Blocked { .. } => None,
        }
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
            State::Free => false,
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
            State::Active { response, assumed: Some(request), until } => {
                self.wait_again(request);
                self.state = State::Active { response, assumed: None, until };
            }
            unchanged @ (State::Free
            | State::Blocked { .. }
            | State::Active { .. }
            | State::Cancelling { .. }) => self.state = unchanged,
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
        }
    }

    /// Frees a machine that has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Overdue> {
        let (until, reason) = self.poll_timeout()?;
        if now < until {
            return None;
        }
        Some(self.free(reason, now))
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

    fn activate(&mut self, response: &ResponseId, assumed: Option<Request>, now: Instant) {
        let until = now + SILENCE_LIMIT;
        self.state = State::Active { response: response.clone(), assumed, until };
    }

    fn break_off(&mut self, response: ResponseId, now: Instant) -> Step {
        self.state = State::Cancelling { response: response.clone(), until: now + CANCEL_LIMIT };
        Step::Cancel { response }
    }

    /// Puts a refused request in front of what was asked for after it.
    fn wait_again(&mut self, request: Request) {
        let later = self.waiting.take().and_then(|later| later.instructions);
        self.waiting = Some(Request { instructions: merge(request.instructions, later) });
    }

    fn next_if_free(&mut self, now: Instant) -> Option<Step> {
        if self.state != State::Free {
            return None;
        }
        let request = self.waiting.take()?;
        self.tags += 1;
        let tag = self.tags;
        let instructions = request.instructions.clone();
        self.state = State::Requested { tag, request, until: now + CREATED_LIMIT };
        Some(Step::Create { tag, instructions })
    }
}

/// Both, in their order; an answer without instructions of its own adds none.
fn merge(first: Option<Pii<String>>, second: Option<Pii<String>>) -> Option<Pii<String>> {
    match (first, second) {
        (Some(first), Some(second)) => {
            Some(Pii::new(format!("{}\n\n{}", first.expose(), second.expose())))
        }
        (first, second) => first.or(second),
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
        assert_eq!(sequencer.request(Some(Pii::new("Be brief.".into())), now), None);
        assert_eq!(sequencer.request(Some(Pii::new("Be kind.".into())), now), None);
        let merged = Some(Pii::new("Be brief.\n\nBe kind.".to_owned()));
        let next = Some(Step::Create { tag: 2, instructions: merged });
        assert_eq!(sequencer.on_done(&id("r1"), None, now), next);
        assert_eq!(sequencer.on_done(&id("r1"), None, now), None);
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
        assert_eq!(sequencer.request(None, now), None);
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
        let overdue = sequencer.handle_timeout(until).unwrap();
        assert!(overdue.is_cancelled);
        assert_eq!((overdue.response, overdue.next), (Some(id("r1")), create(2)));
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
        assert_eq!(sequencer.handle_timeout(until).unwrap().next, create(2));
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
        let overdue = sequencer.handle_timeout(until).unwrap();
        assert_eq!(overdue.response, Some(id("r1")));
        assert_eq!(overdue.next, create(2));
        let (until, reason) = sequencer.poll_timeout().unwrap();
        assert_eq!(reason, "response.created");
        assert_eq!(sequencer.handle_timeout(until).unwrap().next, None);
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
}
