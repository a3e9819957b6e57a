//! What every place must do, whoever hosts it: the same checks for each adapter, against the real
//! server of each. What a place cannot do (a recording takes no second guest) is said in
//! `venue.rs`, and nothing is left out silently.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

#[path = "../interop/gateway.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod gateway;
mod guest;
#[path = "../janus/server.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod janus;
#[path = "../harness/lan.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod lan;
mod venue;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use callbridge::agent::{RoomEvent, RoomFailure};
use callbridge::rooms::RoomUrl;
use callbridge::sys::tasks;
use futures_util::FutureExt as _;
use guest::Guest;
use venue::{KINDS, Kind, Venue};

/// Runs a check against every kind of place, each with a server of its own.
fn everywhere<F: Future<Output = ()>>(check: impl Fn(Venue) -> F) {
    lan::run(LIMIT, async {
        for kind in KINDS {
            let checking = AssertUnwindSafe(check(Venue::open(kind).await)).catch_unwind().await;
            assert!(checking.is_ok(), "at {kind:?}, as is said above");
        }
    });
}

#[test]
fn who_comes_in_is_told_who_is_there_first_of_all() {
    everywhere(async |venue| {
        let mut ann = Guest::join(&venue, "Ann");
        let first = ann.event().await;
        assert!(matches!(first, RoomEvent::Joined { .. }), "{first:?}");
    });
}

#[test]
fn who_comes_and_goes_is_told_by_name() {
    everywhere(async |venue| {
        if !venue.kind.tells_who_is_there() {
            return;
        }
        let mut ann = Guest::enter(&venue, "Ann").await;
        let bob = Guest::enter(&venue, "Bob").await;
        assert_eq!(bob.others(), ["Ann"]);
        let bobs_id = ann.met("Bob").await;
        drop(bob);
        let left = ann.until("Bob's leaving", |event| {
            let RoomEvent::ParticipantLeft { id, .. } = event else { return None };
            Some(id)
        });
        assert_eq!(left.await, bobs_id);
    });
}

#[test]
fn what_one_says_the_other_hears_both_ways() {
    everywhere(async |venue| {
        let mut ann = Guest::enter(&venue, "Ann").await;
        if venue.kind == Kind::Recorded {
            ann.hears_anybody().await;
            return ann.leave_and_find_what_it_said(&venue, 440.0).await;
        }
        let mut bob = Guest::enter(&venue, "Bob").await;
        ann.sings(440.0);
        bob.sings(660.0);
        tokio::join!(ann.hears(660.0), bob.hears(440.0));
    });
}

#[test]
fn who_was_silent_for_a_while_is_heard_again() {
    everywhere(async |venue| {
        if !venue.kind.is_shared() {
            return;
        }
        let mut ann = Guest::enter(&venue, "Ann").await;
        let mut bob = Guest::enter(&venue, "Bob").await;
        ann.sings(440.0);
        bob.hears(440.0).await;
        ann.falls_silent();
        bob.hears_nothing_of(440.0).await;
        ann.sings(880.0);
        bob.hears(880.0).await;
    });
}

#[test]
fn two_agents_of_one_owner_may_be_in_one_room() {
    everywhere(async |venue| {
        if !venue.kind.is_shared() {
            return;
        }
        let first = Guest::enter(&venue, "Ann").await;
        let second = Guest::enter(&venue, "Ann").await;
        assert!(first.is_in() && second.is_in());
    });
}

#[test]
fn who_is_not_let_in_is_told_why() {
    everywhere(async |venue| {
        for (what, url, token, expected) in venue.closed_doors() {
            let mut guest = Guest::join_at(&venue, "Ann", &url, token);
            let told = guest.event().await;
            let RoomEvent::Failed(failure) = told else { panic!("{what}: {told:?}") };
            assert_eq!(failure.code(), expected, "{what}: {failure}");
        }
    });
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    everywhere(async |venue| {
        let Some(url) = venue.deaf_server() else { return };
        let mut guest = Guest::join_at(&venue, "Ann", &url, None);
        let told = guest.event_within(JOIN).await;
        let RoomEvent::Failed(failure) = told else { panic!("{told:?}") };
        assert!(matches!(failure, RoomFailure::Unreachable(_)), "{failure:?}");
    });
}

#[test]
fn who_leaves_leaves_nothing_behind() {
    everywhere(async |venue| {
        let before = tasks::count();
        for _ in 0..3 {
            drop(Guest::enter(&venue, "Ann").await);
            // One who leaves before it is in.
            drop(Guest::join(&venue, "Bob"));
        }
        venue.places.part().await;
        guest::until("every task has ended", || tasks::count() <= before).await;
    });
}

#[test]
fn a_server_that_is_killed_ends_the_stay_with_a_reason() {
    everywhere(async |mut venue| {
        if !venue.kind.has_a_server() {
            return;
        }
        let mut ann = Guest::enter(&venue, "Ann").await;
        venue.kill().await;
        let ended = ann.until("the end", |event| {
            let RoomEvent::Failed(failure) = event else { return None };
            Some(failure)
        });
        let failure = tokio::time::timeout(REJOIN, ended).await.expect("in time");
        assert!(!failure.to_string().is_empty(), "{failure:?}");
    });
}

#[test]
fn a_server_that_comes_back_is_joined_again_without_a_word() {
    everywhere(async |mut venue| {
        if !venue.kind.has_a_server() {
            return;
        }
        let mut ann = Guest::enter(&venue, "Ann").await;
        venue.kill().await;
        venue.restart().await;
        let mut bob = Guest::enter(&venue, "Bob").await;
        ann.sings(440.0);
        bob.hears(440.0).await;
        bob.sings(660.0);
        ann.hears(660.0).await;
        assert!(ann.is_in(), "it was never told that it is out");
    });
}

#[test]
fn a_url_is_one_of_its_kind() {
    everywhere(async |venue| {
        let url = RoomUrl::parse(&venue.url()).unwrap();
        let is_right = match venue.kind {
            Kind::Hosted => matches!(url, RoomUrl::Hosted(_)),
            Kind::Whip => matches!(url, RoomUrl::Whip(_)),
            Kind::Janus => matches!(url, RoomUrl::Janus(_)),
            Kind::Recorded => matches!(url, RoomUrl::Recorded(_)),
        };
        assert!(is_right, "{url:?}");
    });
}

/// The longest that one check may take, at all places together.
const LIMIT: Duration = Duration::from_secs(180);

/// Within this a join has come to something.
const JOIN: Duration = Duration::from_secs(20);

/// Within this a stay is joined again, or over.
const REJOIN: Duration = Duration::from_secs(45);
