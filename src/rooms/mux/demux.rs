//! Whose a datagram is, on a port that all legs share. A table; it does no I/O.
//!
//! A request is told by the ufrag it names, an answer by the transaction it repeats, and the rest
//! by its source. A source belongs to the leg that was first proven to sit behind it. As nothing
//! here is authenticated (the leg itself does that), a live source is never given to another leg:
//! it moves only after it has been silent.
//!
//! A NAT may give a peer another source in mid-call. The engine stays with the pair of addresses
//! that it has chosen, whatever comes; so once it has proven that its peer speaks from elsewhere,
//! and the old source is silent, the new one is shown to it under the old one's name. An answer is
//! always shown under the name that the engine has asked: after a restart of ICE it may ask one
//! peer by both.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::inbox::Inbox;
use super::stun::{self, Kind, Transaction};

/// How long a source must have been silent before another leg may have it: longer than any pause
/// between a peer's consent checks that its leg would survive.
const SILENT: Duration = Duration::from_secs(5);

/// How long a peer's source must have been silent before another one takes its name: a peer with
/// two networks may check both while it speaks over one.
const QUIET: Duration = Duration::from_millis(800);

/// How long an answer is waited for: far more than any round trip.
const ANSWER: Duration = Duration::from_secs(10);

/// How many sources may be known on one port; it takes a hostile host to reach it.
const PATHS_MAX: usize = 16_384;

/// How many answers may be outstanding on one port.
const QUESTIONS_MAX: usize = 16_384;

/// Who is who on one port.
#[derive(Debug, Default)]
pub(super) struct Demux {
    legs: HashMap<Box<str>, Weak<Inbox>>,
    paths: HashMap<SocketAddr, Path>,
    questions: HashMap<Transaction, Question>,
}

impl Demux {
    /// Requests that name `ufrag` are for `inbox`; those that name `replaces` no longer are.
    pub(super) fn register(&mut self, ufrag: &str, replaces: Option<&str>, inbox: Weak<Inbox>) {
        if let Some(old) = replaces {
            self.legs.remove(old);
        }
        self.legs.insert(ufrag.into(), inbox);
    }

    /// The leg of `inbox` has asked `peer` a question, and its answer will be for it.
    pub(super) fn expect(
        &mut self,
        question: Transaction,
        peer: SocketAddr,
        inbox: Weak<Inbox>,
        now: Instant,
    ) {
        if self.questions.len() < QUESTIONS_MAX {
            self.questions.insert(question, Question { inbox, peer, asked: now });
        }
    }

    /// Whose `datagram` is, and under which name the engine of that leg knows its source.
    pub(super) fn route(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Option<(Arc<Inbox>, SocketAddr)> {
        let (inbox, asked) = match stun::classify(datagram) {
            Kind::Request { ufrag, .. } => {
                let inbox = ufrag.and_then(|ufrag| self.legs.get(ufrag)).and_then(Weak::upgrade);
                (inbox, None)
            }
            Kind::Answer { transaction } => match self.questions.remove(&transaction) {
                Some(question) => (question.inbox.upgrade(), Some(question.peer)),
                None => (None, None),
            },
            Kind::Other => (None, None),
        };
        let inbox = match inbox {
            Some(inbox) => {
                self.claim(from, &inbox, now);
                inbox
            }
            None => self.by_source(from, now)?,
        };
        let asked = asked.filter(|peer| inbox.address_of(*peer) == from);
        let name = asked.unwrap_or_else(|| self.known_as(from, &inbox));
        Some((inbox, name))
    }

    /// The leg of `inbox` has proven that its `peer` also speaks from another source.
    pub(super) fn prove(
        &mut self,
        from: SocketAddr,
        peer: SocketAddr,
        inbox: &Weak<Inbox>,
        now: Instant,
    ) {
        let Some(inbox) = inbox.upgrade() else { return };
        let former = inbox.address_of(peer);
        let is_quiet = self.paths.get(&former).is_none_or(|path| {
            !path.is_of(&inbox) || now.saturating_duration_since(path.heard) >= QUIET
        });
        let Some(path) = self.paths.get_mut(&from).filter(|path| path.is_of(&inbox)) else {
            return;
        };
        if is_quiet && former != from {
            path.known_as = peer;
            inbox.redirect(peer, from);
            tracing::info!("a peer has moved to another source");
        }
    }

    fn known_as(&self, from: SocketAddr, inbox: &Arc<Inbox>) -> SocketAddr {
        self.paths.get(&from).filter(|path| path.is_of(inbox)).map_or(from, |path| path.known_as)
    }

    /// Forgets legs that are gone and answers that never came.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.legs.retain(|_, inbox| inbox.strong_count() > 0);
        self.paths.retain(|_, path| path.inbox.strong_count() > 0);
        self.questions.retain(|_, question| now.duration_since(question.asked) < ANSWER);
    }

    fn claim(&mut self, from: SocketAddr, inbox: &Arc<Inbox>, now: Instant) {
        let paths = self.paths.len();
        match self.paths.get_mut(&from) {
            Some(path) if path.is_of(inbox) => path.heard = now,
            Some(path) if path.is_live(now) => {}
            Some(path) => *path = Path::new(from, inbox, now),
            None if paths < PATHS_MAX => {
                self.paths.insert(from, Path::new(from, inbox, now));
            }
            None => {}
        }
    }

    fn by_source(&mut self, from: SocketAddr, now: Instant) -> Option<Arc<Inbox>> {
        let path = self.paths.get_mut(&from)?;
        path.heard = now;
        path.inbox.upgrade()
    }
}

/// A source that a leg was proven to sit behind.
#[derive(Debug)]
struct Path {
    inbox: Weak<Inbox>,
    heard: Instant,
    known_as: SocketAddr,
}

impl Path {
    fn new(from: SocketAddr, inbox: &Arc<Inbox>, now: Instant) -> Self {
        Self { inbox: Arc::downgrade(inbox), heard: now, known_as: from }
    }

    fn is_of(&self, inbox: &Arc<Inbox>) -> bool {
        std::ptr::eq(self.inbox.as_ptr(), Arc::as_ptr(inbox))
    }

    fn is_live(&self, now: Instant) -> bool {
        self.inbox.strong_count() > 0 && now.duration_since(self.heard) < SILENT
    }
}

/// An answer that is waited for.
#[derive(Debug)]
struct Question {
    inbox: Weak<Inbox>,
    /// Who was asked, as the engine knows them.
    peer: SocketAddr,
    asked: Instant,
}

#[cfg(test)]
mod tests {
    use super::super::stun::tests::{answer, request};
    use super::*;

    const MEDIA: &[u8] = &[0x80; 60];

    #[test]
    fn media_follows_the_request_that_named_its_leg() {
        let mut port = Port::new();
        let one = port.leg("one");
        assert!(!port.hears(&one, 1, MEDIA), "nobody sits behind this source");
        assert!(port.hears(&one, 1, &request("one:x", [1; 12])));
        assert!(port.hears(&one, 1, MEDIA));
        assert!(!port.hears(&one, 2, MEDIA));
    }

    #[test]
    fn a_live_source_cannot_be_stolen_but_a_silent_one_moves() {
        let mut port = Port::new();
        let (one, two) = (port.leg("one"), port.leg("two"));
        port.hears(&one, 1, &request("one:x", [1; 12]));

        assert!(port.hears(&two, 1, &request("two:x", [2; 12])), "the request itself arrives");
        assert!(port.hears(&one, 1, MEDIA), "but the source has not moved");

        port.now += SILENT;
        port.hears(&two, 1, &request("two:x", [3; 12]));
        assert!(port.hears(&two, 1, MEDIA));
    }

    #[test]
    fn an_answer_goes_to_the_leg_that_asked_wherever_it_comes_from() {
        let mut port = Port::new();
        let (one, two) = (port.leg("one"), port.leg("two"));
        port.hears(&one, 1, &request("one:x", [1; 12]));
        port.demux.expect([2; 12], source(1), Arc::downgrade(&two), port.now);

        assert!(port.hears(&two, 1, &answer([2; 12])));
        assert!(port.hears(&one, 1, MEDIA), "an answer steals no live source either");
        assert!(port.hears(&one, 1, &answer([2; 12])), "a second answer is nobody's in particular");
    }

    #[test]
    fn an_answer_proves_a_source_that_never_asks() {
        let mut port = Port::new();
        let one = port.leg("one");
        port.demux.expect([2; 12], source(1), Arc::downgrade(&one), port.now);
        port.hears(&one, 1, &answer([2; 12]));
        assert!(port.hears(&one, 1, MEDIA));
    }

    #[test]
    fn after_a_restart_the_new_ufrag_counts_and_the_old_source_still_works() {
        let mut port = Port::new();
        let one = port.leg("old");
        port.hears(&one, 1, &request("old:x", [1; 12]));
        port.demux.register("new", Some("old"), Arc::downgrade(&one));

        assert!(port.hears(&one, 2, &request("new:x", [2; 12])));
        assert!(port.hears(&one, 1, &request("old:x", [3; 12])), "by its source");
        assert!(!port.hears(&one, 3, &request("old:x", [4; 12])));
    }

    #[test]
    fn a_peer_that_has_moved_keeps_its_name_once_its_old_source_is_silent() {
        let mut port = Port::new();
        let one = port.leg("one");
        port.hears(&one, 1, &request("one:x", [1; 12]));
        one.talks_to(source(1));
        port.hears(&one, 2, &request("one:x", [2; 12]));
        port.proves(&one, 2);
        assert_eq!(port.demux.known_as(source(2), &one), source(2), "it may have two networks");

        port.now += QUIET;
        port.hears(&one, 2, &request("one:x", [3; 12]));
        port.proves(&one, 2);
        assert_eq!(port.demux.known_as(source(2), &one), source(1));
        assert_eq!(one.address_of(source(1)), source(2), "what is said to it goes there");

        port.now += QUIET;
        port.hears(&one, 1, &request("one:x", [4; 12]));
        port.proves(&one, 1);
        assert_eq!(one.address_of(source(1)), source(1), "and it may come back");
    }

    #[test]
    fn an_answer_comes_from_whom_the_engine_has_asked() {
        let mut port = Port::new();
        let one = port.leg("one");
        port.hears(&one, 1, &request("one:x", [1; 12]));
        one.talks_to(source(1));
        port.now += QUIET;
        port.hears(&one, 2, &request("one:x", [2; 12]));
        port.proves(&one, 2);
        for (question, asked) in [([3; 12], 1), ([4; 12], 2)] {
            port.demux.expect(question, source(asked), Arc::downgrade(&one), port.now);
            let (_, name) = port.demux.route(source(2), &answer(question), port.now).unwrap();
            assert_eq!(name, source(asked));
        }
        port.demux.expect([5; 12], source(1), Arc::downgrade(&one), port.now);
        let (_, name) = port.demux.route(source(3), &answer([5; 12]), port.now).unwrap();
        assert_eq!(name, source(3), "a stranger answers for nobody");
    }

    #[test]
    fn the_source_of_another_leg_takes_nobodys_name() {
        let mut port = Port::new();
        let (one, two) = (port.leg("one"), port.leg("two"));
        port.hears(&one, 1, &request("one:x", [1; 12]));
        port.hears(&two, 2, &request("two:x", [2; 12]));
        one.talks_to(source(1));
        port.now += QUIET;
        port.proves(&one, 2);
        assert_eq!(one.address_of(source(1)), source(1));
        assert_eq!(port.demux.known_as(source(2), &two), source(2));
    }

    #[test]
    fn a_leg_that_is_gone_leaves_nothing_behind() {
        let mut port = Port::new();
        let one = port.leg("one");
        port.hears(&one, 1, &request("one:x", [1; 12]));
        port.demux.expect([2; 12], source(1), Arc::downgrade(&one), port.now);
        drop(one);
        port.now += ANSWER;
        port.demux.sweep(port.now);

        let Demux { legs, paths, questions } = port.demux;
        assert!(legs.is_empty() && paths.is_empty() && questions.is_empty());
    }

    struct Port {
        demux: Demux,
        now: Instant,
    }

    impl Port {
        fn new() -> Self {
            Self { demux: Demux::default(), now: crate::sys::clock::now() }
        }

        fn leg(&mut self, ufrag: &str) -> Arc<Inbox> {
            let inbox = Arc::new(Inbox::new());
            self.demux.register(ufrag, None, Arc::downgrade(&inbox));
            inbox
        }

        fn hears(&mut self, leg: &Arc<Inbox>, port: u16, datagram: &[u8]) -> bool {
            let routed = self.demux.route(source(port), datagram, self.now);
            routed.is_some_and(|(inbox, _)| Arc::ptr_eq(&inbox, leg))
        }

        /// The leg has answered a request of this source.
        fn proves(&mut self, leg: &Arc<Inbox>, port: u16) {
            let peer = leg.peer().unwrap();
            self.demux.prove(source(port), peer, &Arc::downgrade(leg), self.now);
        }
    }

    fn source(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }
}
