//! What happens in a room, with a stand-in for the helper.

use callbridge::agent::RoomEvent;
use callbridge::media::{Decoder, Frame24k};
use callbridge::privacy::Pii;

use super::guest::{Guest, Python, lives};

#[tokio::test]
async fn an_agent_hears_each_by_name_and_is_told_who_comes_and_goes() {
    let mut ida = Guest::join(Python::StandIn, "talk", Some("t-123"));
    assert_eq!(ida.is_in().await, [("d1".into(), "Ann".into())]);
    for number in 0..20 {
        let packet = ida.hears().await;
        assert_eq!((packet.participant.as_str(), packet.sequence), ("d1", number));
        assert_eq!(packet.timestamp, u32::from(number) * 960);
    }
    let Some(RoomEvent::ParticipantJoined(bob)) = ida.told().await else { panic!("nobody") };
    assert_eq!((bob.id.as_str(), bob.name.as_str()), ("d2", "Bob"));
    let packet = ida.hears().await;
    assert_eq!((packet.participant.as_str(), packet.sequence), ("d2", 7));
    let (id, text) = (bob.id.clone(), Pii::new("hello there".to_owned()));
    assert_eq!(ida.told().await, Some(RoomEvent::Message { id, text }));
    let left = RoomEvent::ParticipantLeft { id: bob.id, reason: "left the call".into() };
    assert_eq!(ida.told().await, Some(left));
    assert!(ida.link.packets.is_empty(), "who is not in is not heard");
    ida.leave().await;
}

#[tokio::test]
async fn what_an_agent_says_is_played_as_it_was_said() {
    let mut ida = Guest::join(Python::StandIn, "echo", None);
    ida.is_in().await;
    let mut decoder = Decoder::new().unwrap();
    let mut level = 0;
    for number in 0..50 {
        ida.says(&tone(number)).await;
        let packet = ida.hears().await;
        assert_eq!(packet.sequence, u16::try_from(number).unwrap());
        decoder.decode(&packet.payload).unwrap();
        level = decoder.pull().expect("a frame").level();
    }
    let said = tone(0).level();
    assert!((said / 2..said * 2).contains(&level), "{level} of {said}");
    ida.leave().await;
}

#[tokio::test]
async fn the_token_goes_by_the_socket_alone_and_no_key_of_the_gateway_is_seen() {
    let mut ida = Guest::join(Python::StandIn, "stay", Some("t-secret"));
    ida.is_in().await;
    let (join, process) = (ida.witnessed("join"), ida.witnessed("process"));
    assert_eq!((&join["token"], &join["name"]), (&"t-secret".into(), &"Ida".into()));
    assert!(!process.to_string().contains("t-secret"), "{process}");
    // The shell that starts the stand-in has these of its own.
    let own = ["PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"];
    let environment = process["environment"].as_object().expect("a map");
    let others: Vec<_> = environment.keys().filter(|key| !own.contains(&key.as_str())).collect();
    assert!(others.is_empty(), "{others:?}");
    ida.leave().await;
}

#[tokio::test]
async fn who_leaves_says_so_and_leaves_no_process_behind() {
    let mut ida = Guest::join(Python::StandIn, "stay", None);
    ida.is_in().await;
    let pid = ida.witnessed("process")["pid"].as_u64().unwrap();
    assert!(lives(pid));
    let notes = ida.leave().await;
    assert!(notes.has("order"), "it was told to leave");
    assert!(!lives(pid), "it has ended, and was reaped");
}

#[tokio::test]
async fn a_helper_that_does_not_end_is_killed() {
    let mut ida = Guest::join(Python::StandIn, "hang", None);
    ida.is_in().await;
    let pid = ida.witnessed("process")["pid"].as_u64().unwrap();
    ida.leave().await;
    assert!(!lives(pid));
}

#[tokio::test]
async fn an_agent_that_goes_down_with_its_task_kills_the_helper() {
    let mut ida = Guest::join(Python::StandIn, "hang", None);
    ida.is_in().await;
    let pid = ida.witnessed("process")["pid"].as_u64().unwrap();
    drop(ida);
    super::guest::in_time(async {
        while lives(pid) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_sound_is_bounded_and_hides_no_event() {
    let mut ida = Guest::join(Python::StandIn, "flood", None);
    ida.is_in().await;
    let Some(RoomEvent::ParticipantJoined(bob)) = ida.told().await else { panic!("nobody") };
    assert_eq!(bob.name, "Bob");
    assert_eq!(ida.link.packets.len(), callbridge::rooms::PACKETS_CAPACITY);
    ida.leave().await;
}

#[tokio::test]
async fn an_agent_that_takes_no_events_is_out() {
    let mut ida = Guest::join(Python::StandIn, "crowd", None);
    super::guest::in_time(ida.link.playout.closed()).await;
    let mut told = 0;
    while ida.told().await.is_some() {
        told += 1;
    }
    assert_eq!(told, callbridge::rooms::EVENTS_CAPACITY);
}

#[tokio::test]
async fn a_helper_that_does_not_read_costs_sound_and_nothing_else() {
    let mut ida = Guest::join(Python::StandIn, "deaf", None);
    ida.is_in().await;
    for number in 0..1000 {
        ida.says(&tone(number)).await;
    }
    ida.open_gate();
    let Some(RoomEvent::ParticipantJoined(bob)) = ida.told().await else { panic!("nobody") };
    assert_eq!(bob.name, "Bob");
    ida.leave().await;
}

/// A frame of 440 Hz, the one of this number.
pub(crate) fn tone(number: usize) -> Frame24k {
    let mut frame = Frame24k::SILENCE;
    for (at, sample) in frame.iter_mut().enumerate() {
        let at = f64::from(u32::try_from(number * 480 + at).unwrap()) / 24_000.0;
        let height = 8000.0 * (at * 440.0 * std::f64::consts::TAU).sin();
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 8000")]
        {
            *sample = height as i16;
        }
    }
    frame
}
