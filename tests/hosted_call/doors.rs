//! Who may come into a room and watch it, and what becomes of those inside when it closes.

use super::*;

#[tokio::test]
async fn a_room_with_a_token_needs_it() {
    let rooms = Rooms::new(&RoomsConfig { open: false, ..config() }).unwrap();
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let enter = async |token: Option<&Secret>| {
        rooms.enter("office", token, "Ann", caller.offer()).await.map(|_| ())
    };
    assert_eq!(enter(None).await, Err(RoomFailure::NotFound));
    assert_eq!(rooms.view("office").await, None);

    let token = Secret::new("rt_1");
    let lock = || Some(SecretHash::of(&token));
    assert_eq!(rooms.make(name("office"), lock()).await, Ok(()));
    assert_eq!(rooms.make(name("office"), lock()).await, Err(MakeRoomError::Exists));
    assert_eq!(rooms.view("office").await.map(|room| room.open), Some(false));
    assert_eq!(enter(None).await, Err(RoomFailure::Unauthorized));
    assert_eq!(enter(Some(&Secret::new("rt_0"))).await, Err(RoomFailure::Unauthorized));
    assert_eq!(enter(Some(&token)).await, Ok(()));

    let refused = RoomEvent::Failed(RoomFailure::Unauthorized);
    assert_eq!(event(&mut join(&rooms, "office")).await, refused);
    let mut agent =
        join_as(&rooms, &JoinRequest { token: Some(token.clone()), ..request("office") });
    assert!(matches!(event(&mut agent).await, RoomEvent::Joined { .. }));

    assert!(rooms.remove("office").await);
    assert!(matches!(event(&mut agent).await, RoomEvent::Failed(RoomFailure::Closed(_))));
    assert_eq!(within(agent.events.recv()).await, None);
    assert!(!rooms.remove("office").await);
}

#[tokio::test]
async fn a_room_made_on_first_use_gives_way_to_a_made_one_once_it_is_empty() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    event(&mut agent).await;
    let token = Secret::new("rt_1");
    let lock = || Some(SecretHash::of(&token));
    let occupied = rooms.make(name("lobby"), lock()).await;
    assert_eq!(occupied, Err(MakeRoomError::Exists), "somebody is in it");

    let mut presence = rooms.watch("lobby", None).await.unwrap();
    drop(agent);
    within(presence.wait_for(Vec::is_empty)).await.unwrap();
    let made = async {
        // The seat is given back a moment after the farewell is told.
        while rooms.make(name("lobby"), lock()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(made).await;
    assert!(within(presence.changed()).await.is_err(), "who watched without a token is put out");
    assert_eq!(rooms.watch("lobby", None).await.err(), Some(RoomFailure::Unauthorized));
    assert!(rooms.watch("lobby", Some(&token)).await.is_ok());
}

#[tokio::test]
async fn a_locked_room_is_watched_by_token_or_from_inside() {
    let rooms = Rooms::new(&RoomsConfig { open: false, ..config() }).unwrap();
    let token = Secret::new("rt_1");
    rooms.make(name("office"), Some(SecretHash::of(&token))).await.unwrap();
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let ann = rooms.enter("office", Some(&token), "Ann", caller.offer()).await.unwrap();
    assert!(rooms.watch_from_inside("office", &ann.key).await.is_ok(), "even on the way in");
    let _call = caller.connect(&ann.sdp).await.unwrap();
    let mut presence = rooms.watch("office", Some(&token)).await.unwrap();
    within(presence.wait_for(|present| present.len() == 1)).await.unwrap();

    for stranger in [&Secret::new("p_another"), &token] {
        let refused = rooms.watch_from_inside("office", stranger).await;
        assert_eq!(refused.err(), Some(RoomFailure::Unauthorized));
    }
    assert!(rooms.hang_up("office", &ann.key).await);
    let refused = rooms.watch_from_inside("office", &ann.key).await;
    assert_eq!(refused.err(), Some(RoomFailure::Unauthorized), "she has left");
}

#[tokio::test]
async fn everyone_is_put_out_when_the_house_closes() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let (mut call, _) = enter(&rooms, "lobby", "Ann").await;
    arrival(&mut agent).await;
    within(rooms.close_all()).await;
    assert!(matches!(event(&mut agent).await, RoomEvent::Failed(RoomFailure::Closed(_))));
    within(async { while call.packets.recv().await.is_some() {} }).await;
}

fn name(text: &str) -> RoomName {
    RoomName::parse(text).unwrap()
}
