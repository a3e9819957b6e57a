//! A caller in a room of ours whose NAT gives them another address in mid-call.

use std::cell::Cell;

use callbridge::load::road::{Fate, Relay, RoadConfig};

use super::*;

#[tokio::test]
async fn a_caller_is_heard_and_hears_on_after_their_nat_has_moved_them() {
    let media_listen = vec![SocketAddr::new(LOOPBACK, 0)];
    let rooms = Rooms::new(&RoomsConfig {
        media_listen,
        media_tcp_listen: None,
        public_ip: None,
        open: true,
    })
    .unwrap();
    let target = rooms.media_addresses()[0];
    let (up, down) = (RoadConfig::default(), RoadConfig::default());
    let relay = Relay::start(target, up, down, 1).await.unwrap();
    let places = Places::new(rooms.clone(), PlacesConfig::default());
    let mut agent = join(&places, "rooms/lobby");
    let mut call = enter_by(&rooms, &relay, target).await;
    let playout = agent.playout.clone();
    // Packets go on where those before have ended: one that comes again is no packet.
    let numbers = Cell::new(0);
    let next = || packet(numbers.replace(numbers.get() + 1));
    let answer = |_| playout.try_send(next()).is_ok();

    for stall in [Duration::ZERO, Duration::from_millis(300)] {
        says_until_heard(|_| call.send(&next()), &mut agent.packets).await;
        says_until_heard(&answer, &mut call.packets).await;
        relay.interrupt(stall, Fate::Lost);
        relay.rebind();
        let speaking = async {
            let mut pause = tokio::time::interval(Duration::from_millis(20));
            loop {
                pause.tick().await;
                call.send(&next());
            }
        };
        // What was on the way is not what comes after.
        let heard_on = async {
            while agent.packets.try_recv().is_ok() {}
            for _ in 0..50 {
                agent.packets.recv().await.expect("the link is open");
            }
        };
        tokio::select! {
            () = within(heard_on) => {}
            () = speaking => {}
        }
        while call.packets.try_recv().is_ok() {}
        says_until_heard(&answer, &mut call.packets).await;
    }
    while let Ok(event) = agent.events.try_recv() {
        assert!(!matches!(event, RoomEvent::ParticipantLeft { .. }), "{event:?}");
    }
}

/// Comes in over a relay, which is the only way to and fro.
async fn enter_by(rooms: &Rooms, relay: &Relay, target: SocketAddr) -> Call {
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let lines = caller.offer().split_inclusive('\n');
    let offer: String = lines.filter(|line| !line.starts_with("a=candidate")).collect();
    let answer = rooms.enter("lobby", None, "Ann", &offer).await.unwrap();
    let host = |port: u16| format!(" {port} typ host");
    let sdp = answer.sdp.replace(&host(target.port()), &host(relay.local_addr().port()));
    caller.connect(&sdp).await.unwrap()
}
