//! Whose a datagram is, on a port that all legs share. A table; it does no I/O.
//!
//! A request is told by the ufrag it names, an answer by the transaction it repeats, and the rest
//! by its source. A source belongs to the leg that was first proven to sit behind it. As nothing
//! here is authenticated (the leg itself does that), a live source is never given to another leg:
//! it moves only after it has been silent.
//!
//! Connections are sources like any other; they are gone when they are closed, and not by silence.
//!
//! A NAT may give a peer another source in mid-call. The engine stays with the pair of addresses
//! that it has chosen, whatever comes; so once it has proven that its peer speaks from elsewhere,
//! and the old source is silent, the new one is shown to it under the old one's name. An answer is
//! always shown under the name that the engine has asked: after a restart of ICE it may ask one
//! peer by both. From a connection to datagrams a peer may change while both are there: so does one
//! whose connection was the faster to be set up, and the engine's choice was made by that.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::inbox::{Inbox, Source};
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
    paths: HashMap<Source, Path>,
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

    /// Whom a connection is for that begins with this packet.
    pub(super) fn asked_for(&self, first: &[u8]) -> Option<Arc<Inbox>> {
        let Kind::Request { ufrag: Some(ufrag), .. } = stun::classify(first) else { return None };
        self.legs.get(ufrag)?.upgrade()
    }

    /// Whose `datagram` is, and under which name the engine of that leg knows its source.
    pub(super) fn route(
        &mut self,
        from: Source,
        datagram: &[u8],
        now: Instant,
    ) -> Option<(Arc<Inbox>, SocketAddr)> {
        let kind = stun::classify(datagram);
        let (inbox, asked) = match kind {
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
                self.note_choice(from, &inbox, kind);
                inbox
            }
            None => self.by_source(from, now)?,
        };
        let asked = asked.filter(|peer| inbox.source_of(*peer) == from);
        let name = asked.unwrap_or_else(|| self.known_as(from, &inbox));
        Some((inbox, name))
    }

    /// The leg of `inbox` has proven that its `peer` also speaks from another source.
    pub(super) fn prove(
        &mut self,
        from: Source,
        peer: SocketAddr,
        inbox: &Weak<Inbox>,
        now: Instant,
    ) {
        let Some(inbox) = inbox.upgrade() else { return };
        let former = inbox.source_of(peer);
        let is_quiet = self.paths.get(&former).is_none_or(|path| {
            !path.is_of(&inbox) || now.saturating_duration_since(path.heard) >= QUIET
        });
        let Some(path) = self.paths.get_mut(&from).filter(|path| path.is_of(&inbox)) else {
            return;
        };
        let is_better =
            path.is_chosen && matches!((former, from), (Source::Stream(_), Source::Datagrams(_)));
        if (is_quiet || is_better) && former != from {
            path.known_as = peer;
            inbox.redirect(peer, from);
            tracing::info!("a peer has moved to another source");
        }
    }

    /// A connection is closed: nothing will come from there, and another source may take its name.
    pub(super) fn forget(&mut self, from: Source) {
        self.paths.remove(&from);
    }

    fn known_as(&self, from: Source, inbox: &Arc<Inbox>) -> SocketAddr {
        let path = self.paths.get(&from).filter(|path| path.is_of(inbox));
        path.map_or(from.address(), |path| path.known_as)
    }

    /// Forgets legs that are gone and answers that never came.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.legs.retain(|_, inbox| inbox.strong_count() > 0);
        self.paths.retain(|_, path| path.inbox.strong_count() > 0);
        self.questions.retain(|_, question| now.duration_since(question.asked) < ANSWER);
    }

    fn claim(&mut self, from: Source, inbox: &Arc<Inbox>, now: Instant) {
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

    fn note_choice(&mut self, from: Source, inbox: &Arc<Inbox>, kind: Kind<'_>) {
        if let Kind::Request { nominates, .. } = kind
            && let Some(path) = self.paths.get_mut(&from).filter(|path| path.is_of(inbox))
        {
            path.is_chosen = nominates;
        }
    }

    fn by_source(&mut self, from: Source, now: Instant) -> Option<Arc<Inbox>> {
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
    /// Whether the peer's last question named this as the way of its choice.
    is_chosen: bool,
}

impl Path {
    fn new(from: Source, inbox: &Arc<Inbox>, now: Instant) -> Self {
        Self {
            inbox: Arc::downgrade(inbox),
            heard: now,
            known_as: from.address(),
            is_chosen: false,
        }
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
    use super::super::stun::tests::{answer, nominating, request};
    use super::super::tcp::Outlet;
    use super::*;
    use crate::meter::Meter;

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
        port.demux.expect([2; 12], address(1), Arc::downgrade(&two), port.now);

        assert!(port.hears(&two, 1, &answer([2; 12])));
        assert!(port.hears(&one, 1, MEDIA), "an answer steals no live source either");
        assert!(port.hears(&one, 1, &answer([2; 12])), "a second answer is nobody's in particular");
    }

    #[test]
    fn an_answer_proves_a_source_that_never_asks() {
        let mut port = Port::new();
        let one = port.leg("one");
        port.demux.expect([2; 12], address(1), Arc::downgrade(&one), port.now);
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
        one.talks_to(address(1));
        port.hears(&one, 2, &request("one:x", [2; 12]));
        port.proves(&one, 2);
        assert_eq!(port.demux.known_as(source(2), &one), address(2), "it may have two networks");

        port.now += QUIET;
        port.hears(&one, 2, &request("one:x", [3; 12]));
        port.proves(&one, 2);
        assert_eq!(port.demux.known_as(source(2), &one), address(1));
        assert_eq!(one.source_of(address(1)), source(2), "what is said to it goes there");

        port.now += QUIET;
        port.hears(&one, 1, &request("one:x", [4; 12]));
        port.proves(&one, 1);
        assert_eq!(one.source_of(address(1)), source(1), "and it may come back");
    }

    #[test]
    fn an_answer_comes_from_whom_the_engine_has_asked() {
        let mut port = Port::new();
        let one = port.leg("one");
        port.hears(&one, 1, &request("one:x", [1; 12]));
        one.talks_to(address(1));
        port.now += QUIET;
        port.hears(&one, 2, &request("one:x", [2; 12]));
        port.proves(&one, 2);
        for (question, asked) in [([3; 12], 1), ([4; 12], 2)] {
            port.demux.expect(question, address(asked), Arc::downgrade(&one), port.now);
            let (_, name) = port.demux.route(source(2), &answer(question), port.now).unwrap();
            assert_eq!(name, address(asked));
        }
        port.demux.expect([5; 12], address(1), Arc::downgrade(&one), port.now);
        let (_, name) = port.demux.route(source(3), &answer([5; 12]), port.now).unwrap();
        assert_eq!(name, address(3), "a stranger answers for nobody");
    }

    #[test]
    fn the_source_of_another_leg_takes_nobodys_name() {
        let mut port = Port::new();
        let (one, two) = (port.leg("one"), port.leg("two"));
        port.hears(&one, 1, &request("one:x", [1; 12]));
        port.hears(&two, 2, &request("two:x", [2; 12]));
        one.talks_to(address(1));
        port.now += QUIET;
        port.proves(&one, 2);
        assert_eq!(one.source_of(address(1)), source(1));
        assert_eq!(port.demux.known_as(source(2), &two), address(2));
    }

    #[test]
    fn a_connection_and_datagrams_of_one_address_are_two_sources() {
        let mut port = Port::new();
        let (one, two) = (port.leg("one"), port.leg("two"));
        port.hears(&one, 1, &request("one:x", [1; 12]));
        let stream = Source::Stream(address(1));
        let (inbox, _) = port.demux.route(stream, &request("two:x", [2; 12]), port.now).unwrap();
        assert!(Arc::ptr_eq(&inbox, &two));
        assert!(port.hears(&one, 1, MEDIA));
        let (inbox, _) = port.demux.route(stream, MEDIA, port.now).unwrap();
        assert!(Arc::ptr_eq(&inbox, &two));
    }

    #[test]
    fn a_peer_whose_connection_is_cut_keeps_its_name_in_the_next_one_at_once() {
        let mut port = Port::new();
        let one = port.leg("one");
        let mut outlets = Vec::new();
        for number in [1, 2] {
            let (outlet, waiting) = Outlet::new(Meter::new());
            one.connect(address(number), outlet);
            outlets.push(waiting);
            let stream = Source::Stream(address(number));
            port.demux.route(stream, &request("one:x", [1; 12]), port.now);
        }
        one.talks_to(address(1));
        let (cut, next) = (Source::Stream(address(1)), Source::Stream(address(2)));
        port.demux.prove(next, address(1), &Arc::downgrade(&one), port.now);
        assert_eq!(one.source_of(address(1)), cut, "not while it is there");

        drop(outlets.remove(0));
        port.demux.forget(cut);
        port.demux.prove(next, address(1), &Arc::downgrade(&one), port.now);
        assert_eq!(one.source_of(address(1)), next);
        assert_eq!(port.demux.known_as(next, &one), address(1));
        assert_eq!(one.source_at(address(1)), cut, "nothing goes there as a datagram");
    }

    #[test]
    fn a_peer_may_choose_datagrams_while_its_connection_is_there() {
        let mut port = Port::new();
        let one = port.leg("one");
        let (outlet, _waiting) = Outlet::new(Meter::new());
        one.connect(address(1), outlet);
        let stream = Source::Stream(address(1));
        port.demux.route(stream, &nominating("one:x", [1; 12]), port.now);
        one.talks_to(address(1));
        for asking in [request("one:x", [2; 12]), MEDIA.to_vec()] {
            port.hears(&one, 2, &asking);
            port.proves(&one, 2);
            assert_eq!(one.source_of(address(1)), stream, "it has only looked");
        }
        port.hears(&one, 2, &nominating("one:x", [3; 12]));
        port.proves(&one, 2);
        assert_eq!(one.source_of(address(1)), source(2));
    }

    #[test]
    fn a_connection_is_for_whom_its_first_request_names_and_else_for_nobody() {
        let mut port = Port::new();
        let one = port.leg("one");
        let asked_for = |first: &[u8]| port.demux.asked_for(first);
        let found = asked_for(&request("one:x", [1; 12])).unwrap();
        assert!(Arc::ptr_eq(&found, &one));
        for first in [request("two:x", [1; 12]), request("one", [1; 12]), MEDIA.to_vec()] {
            assert!(asked_for(&first).is_none());
        }
        assert!(asked_for(&answer([1; 12])).is_none());
    }

    #[test]
    fn a_leg_that_is_gone_leaves_nothing_behind() {
        let mut port = Port::new();
        let one = port.leg("one");
        port.hears(&one, 1, &request("one:x", [1; 12]));
        port.demux.expect([2; 12], address(1), Arc::downgrade(&one), port.now);
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

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn source(port: u16) -> Source {
        Source::Datagrams(address(port))
    }
}
