//! How a stay fails, with a stand-in for the helper.

use callbridge::agent::RoomFailure;

use super::guest::{Guest, Python, lives};

#[tokio::test]
async fn each_refusal_has_its_code() {
    for (cause, code) in [
        ("not_found", "ROOM_NOT_FOUND"),
        ("unauthorized", "ROOM_UNAUTHORIZED"),
        ("token_expired", "ROOM_UNAUTHORIZED"),
        ("full", "ROOM_FULL"),
        ("unreachable", "ROOM_UNREACHABLE"),
        ("media", "MEDIA_FAILED"),
        ("no_package", "ROOM_UNREACHABLE"),
        ("something_new", "ROOM_UNREACHABLE"),
    ] {
        let mut ida = Guest::join(Python::StandIn, &format!("refuse/{cause}"), Some("t"));
        assert_eq!(ida.failed().await.code(), code, "{cause}");
        ida.leave().await;
    }
}

#[tokio::test]
async fn who_is_sent_out_is_told_why() {
    for (cause, failure) in [
        ("ejected", RoomFailure::Closed("sent out: so it is".into())),
        ("ended", RoomFailure::Closed("the meeting is over: so it is".into())),
        ("token_expired", RoomFailure::Unauthorized),
        ("unreachable", RoomFailure::Closed("Daily is out of reach: so it is".into())),
    ] {
        let mut ida = Guest::join(Python::StandIn, &format!("end/{cause}"), None);
        ida.is_in().await;
        let pid = ida.witnessed("process")["pid"].as_u64().unwrap();
        assert_eq!(ida.failed().await, failure);
        ida.leave().await;
        assert!(!lives(pid));
    }
}

#[tokio::test]
async fn a_crash_ends_the_call_with_its_reason() {
    let mut ida = Guest::join(Python::StandIn, "crash", None);
    ida.is_in().await;
    let pid = ida.witnessed("process")["pid"].as_u64().unwrap();
    assert_eq!(ida.failed().await, RoomFailure::Closed("the helper has ended".into()));
    ida.leave().await;
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_helper_that_is_silent_is_given_up() {
    let mut ida = Guest::join(Python::StandIn, "hang", None);
    ida.is_in().await;
    let pid = ida.witnessed("process")["pid"].as_u64().unwrap();
    // Nothing else will come: time may pass at once.
    tokio::time::pause();
    let failure = RoomFailure::Closed("the helper was not heard of for 5 s".into());
    assert_eq!(ida.failed().await, failure);
    tokio::time::resume();
    ida.leave().await;
    assert!(!lives(pid));
}

#[tokio::test]
async fn what_is_no_protocol_ends_the_call() {
    for (room, said) in [
        ("garbage", "the helper sent a message of an unknown kind"),
        ("endless", "the helper sent a message of an impossible length"),
    ] {
        let mut ida = Guest::join(Python::StandIn, room, None);
        ida.is_in().await;
        assert_eq!(ida.failed().await, RoomFailure::Closed(said.into()));
        ida.leave().await;
    }
}

#[tokio::test]
async fn without_its_program_no_room_of_daily_is_reached() {
    let mut ida = Guest::join(Python::None, "stay", None);
    let failure = ida.failed().await;
    assert_eq!(failure.code(), "ROOM_UNREACHABLE");
    assert!(failure.to_string().contains("the helper cannot be started"), "{failure}");
    ida.leave().await;
}
