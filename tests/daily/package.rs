//! The helper itself: over a package that is made up, and over Daily's.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Duration;

use callbridge::agent::{RoomEvent, RoomFailure};
use callbridge::privacy::Pii;

use super::guest::{Guest, Python};
use super::lan;
use super::staying::tone;

#[tokio::test]
async fn the_helper_tells_what_daily_tells() {
    let mut ida = Guest::join(Python::MadeUpPackage, "hall", None);
    assert_eq!(ida.is_in().await, [("d1".into(), "Ann".into())]);
    let Some(RoomEvent::ParticipantJoined(bob)) = ida.told().await else { panic!("nobody") };
    assert_eq!((bob.id.as_str(), bob.name.as_str()), ("d2", "Ida's friend"));
    for words in ["hi", "{\"score\": 7}"] {
        let (id, text) = (bob.id.clone(), Pii::new(words.to_owned()));
        assert_eq!(ida.told().await, Some(RoomEvent::Message { id, text }));
    }
    assert_eq!(ida.hears().await.participant, bob.id);
    ida.says(&tone(0)).await;
    let left = RoomEvent::ParticipantLeft { id: bob.id, reason: "left the call".into() };
    assert_eq!(ida.told().await, Some(left));
    ida.leave().await;
}

#[tokio::test]
async fn the_helper_plays_what_an_agent_says() {
    let mut ida = Guest::join(Python::MadeUpPackage, "hall", None);
    ida.is_in().await;
    let mut heard = Vec::new();
    for number in 0..20 {
        ida.says(&tone(number)).await;
        let packet = ida.hears().await;
        heard.extend((packet.participant.as_str() == "d1").then_some(packet.sequence));
    }
    assert_eq!(heard[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    ida.leave().await;
}

#[tokio::test]
async fn a_pause_is_seen_in_a_voices_time_and_not_in_its_numbers() {
    let mut ida = Guest::join(Python::MadeUpPackage, "pausing", None);
    ida.is_in().await;
    let [first, second, third] = [ida.hears().await, ida.hears().await, ida.hears().await];
    assert_eq!([first.sequence, second.sequence, third.sequence], [0, 1, 2]);
    assert_eq!(second.timestamp, 960);
    let passed = third.timestamp - second.timestamp;
    assert!(passed >= 20 * 960 && passed.is_multiple_of(960), "{passed}");
    ida.leave().await;
}

#[test]
fn the_helper_ends_with_the_gateway() {
    let (mut child, mut socket) = started(Python::Real);
    hello(&mut socket);
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_helper_ends_when_the_gateway_is_silent() {
    let (mut child, mut socket) = started(Python::MadeUpPackage);
    let told = std::io::read_to_string(&mut socket).unwrap();
    assert!(told.ends_with(r#"{"type": "left"}"#), "{told}");
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn a_microphone_that_daily_does_not_tell_of_delays_the_joining_only() {
    let mut ida = Guest::join(Python::MadeUpPackage, "shy", None);
    assert_eq!(ida.is_in().await, [("d1".into(), "Ann".into())]);
    ida.leave().await;
}

#[tokio::test]
async fn the_helper_knows_daily_by_its_words() {
    for (words, code) in [
        ("NoLongerAvailable", "ROOM_NOT_FOUND"),
        ("The meeting you are looking for does not exist", "ROOM_NOT_FOUND"),
        ("Unauthorized: You are not authorized to join this meeting.", "ROOM_UNAUTHORIZED"),
        ("exp-token", "ROOM_UNAUTHORIZED"),
        ("meeting-full", "ROOM_FULL"),
        ("NoWorkerAvailable", "ROOM_UNREACHABLE"),
        ("something else", "ROOM_UNREACHABLE"),
    ] {
        // The made-up room refuses with whatever the token says.
        let mut ida = Guest::join(Python::MadeUpPackage, "refusing", Some(words));
        assert_eq!(ida.failed().await.code(), code, "{words}");
        ida.leave().await;
    }
}

#[tokio::test]
async fn the_helper_tells_why_daily_has_ended_a_call() {
    for (room, words) in [
        ("ejecting", "sent out: You have been ejected from the meeting"),
        ("over", "the meeting is over"),
    ] {
        let mut ida = Guest::join(Python::MadeUpPackage, room, None);
        ida.is_in().await;
        assert_eq!(ida.failed().await, RoomFailure::Closed(words.into()));
        ida.leave().await;
    }
}

#[tokio::test]
async fn what_the_package_does_not_take_is_a_failure_with_its_words() {
    let mut ida = Guest::join(Python::MadeUpPackage, "no-such-act", None);
    let words = "Daily: AttributeError: 'CallClient' object has no attribute 'no-such-act'";
    assert_eq!(ida.failed().await, RoomFailure::Unreachable(words.into()));
    ida.leave().await;
}

#[tokio::test]
async fn a_package_that_crashes_takes_nothing_with_it() {
    let mut ida = Guest::join(Python::MadeUpPackage, "crashing", None);
    assert_eq!(ida.failed().await, RoomFailure::Unreachable("the helper has ended".into()));
    ida.leave().await;
}

#[test]
fn dailys_own_package_says_in_time_that_a_room_is_out_of_reach() {
    // A network of its own, so that nobody is called.
    lan::run(Duration::from_secs(60), async {
        let mut ida = Guest::join(Python::Real, "nowhere", Some("t-123"));
        let failure = ida.failed().await;
        // Its helper has started, made its microphone and asked: only an answer is missing.
        let words = "Daily did not let us in within 15 s";
        assert_eq!(failure, RoomFailure::Unreachable(words.into()));
        assert_eq!(failure.code(), "ROOM_UNREACHABLE");
        ida.leave().await;
    });
}

#[test]
fn who_gives_up_joining_by_dailys_own_package_is_gone_in_time() {
    lan::run(Duration::from_secs(30), async {
        let ida = Guest::join(Python::Real, "nowhere", None);
        tokio::time::timeout(Duration::from_secs(10), ida.leave()).await.expect("in time");
    });
}

/// The helper as the gateway starts it.
fn started(python: Python) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(python.path());
    command.args(["-I", "-u", "-c", include_str!("../../assets/daily/helper.py")]);
    let child = command.env_clear().stdin(OwnedFd::from(theirs)).spawn().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (child, ours)
}

/// Reads the helper's first message.
fn hello(socket: &mut UnixStream) {
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    socket.read_exact(&mut message).unwrap();
    let message = String::from_utf8(message).unwrap();
    assert!(message.contains(r#""type": "hello", "version": 1"#), "{message}");
}
