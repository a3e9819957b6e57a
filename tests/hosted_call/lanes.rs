//! Rooms on threads of their own.

use callbridge::rooms::Rooms;
use callbridge::sys::lanes::{LaneThreads, Lanes};
use callbridge::sys::tasks;

use super::*;

#[tokio::test]
async fn a_call_runs_in_a_lane_and_leaves_nothing_there() {
    let threads = LaneThreads::for_all_cores().unwrap();
    let lanes = threads.lanes();
    let rooms = Rooms::in_lanes(&config(), lanes.clone()).unwrap();
    let before = running(&lanes);
    let inside = rooms.clone();
    let joined = lanes.pick().spawn("agent", async move { join(&inside, "lobby") });
    let mut agent = joined.await.unwrap();
    assert_eq!(event(&mut agent).await, RoomEvent::Joined { participants: vec![] });
    let empty = before + 1;
    assert!(running(&lanes) >= empty, "the room runs where its agent does");

    let (mut call, ann) = enter(&rooms, "lobby", "Ann").await;
    assert_eq!(arrival(&mut agent).await, ann);
    assert!(running(&lanes) >= empty + 2, "and so do a leg and its engine");
    say_until(&call, &mut agent.packets, 0).await;
    agent.playout.send(packet(1)).await.unwrap();
    assert!(!hear_until(&mut call.packets, 1).await.is_empty());

    drop((call, agent));
    // The room stays for a while.
    let none_left = async {
        while running(&lanes) > empty {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(none_left).await;
}

/// Tasks in the lanes, and not here.
fn running(lanes: &Lanes) -> usize {
    lanes.tasks() - tasks::count()
}
