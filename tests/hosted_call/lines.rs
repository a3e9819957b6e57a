//! What lines to a room are like: the codecs they speak, what is lost on them, and who is told.

use std::collections::BTreeSet;

use callbridge::agent::LineQuality;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn a_telephone_and_an_agent_hear_each_other() {
    for (codec, payload_type) in [(Codec::Pcmu, 0), (Codec::Pcma, 8)] {
        let rooms = open_rooms();
        let mut agent = join(&rooms, "lobby");
        let caller = Caller::prepare_with(LOOPBACK, &[codec]).await.unwrap();
        let answer = rooms.enter("lobby", None, "Ann", caller.offer()).await.unwrap();
        assert!(answer.sdp.contains(&format!("SAVPF {payload_type}\r\n")), "{}", answer.sdp);
        talk(&mut agent, &mut caller.connect(&answer.sdp).await.unwrap()).await;
    }
}

#[tokio::test]
async fn whoever_knows_no_opus_is_answered_in_what_they_know() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    // We offer all that we know, and the far end takes the telephone's part of it only.
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let poor = caller.offer().replace("opus/48000/2", "speex/16000");
    let answer = rooms.enter("lobby", None, "Ann", &poor).await.unwrap();
    assert!(answer.sdp.contains("SAVPF 0\r\n"), "{}", answer.sdp);
    talk(&mut agent, &mut caller.connect(&answer.sdp).await.unwrap()).await;
}

#[tokio::test]
async fn where_nothing_is_spoken_in_common_it_is_said_so() {
    let rooms = open_rooms();
    let caller = Caller::prepare_with(LOOPBACK, &[Codec::Opus]).await.unwrap();
    let offer = caller.offer().replace("opus/48000/2", "G722/8000");
    let refused = rooms.enter("lobby", None, "Ann", &offer).await.unwrap_err();
    assert_eq!(refused.code(), "MEDIA_FAILED");
    assert!(refused.to_string().contains("neither Opus"), "{refused}");
}

#[tokio::test]
async fn lost_packets_are_asked_for_and_come_both_ways() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let caller = Caller::prepare_with(LOOPBACK, &[Codec::Opus]).await.unwrap();
    let answer = rooms.enter("lobby", None, "Ann", caller.offer()).await.unwrap();
    assert!(answer.sdp.contains("a=rtcp-fb:111 nack\r\n"), "{}", answer.sdp);
    let address = rooms.media_addresses()[0];
    let road = Road::build(address).await;
    let port = |address: SocketAddr| format!(" {} typ host", address.port());
    let answer = answer.sdp.replace(&port(address), &port(road.address));
    let mut call = caller.connect(&answer).await.unwrap();
    say_until(&call, &mut agent.packets, 0).await;

    let (mut to_agent, mut to_ann) = (BTreeSet::new(), BTreeSet::new());
    for number in 100..200 {
        call.send(&packet(number));
        agent.playout.send(packet(number)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        while let Ok(packet) = agent.packets.try_recv() {
            to_agent.insert(packet.payload);
        }
        while let Ok(packet) = call.packets.try_recv() {
            to_ann.insert(packet.payload);
        }
    }
    // The last ones may still be on their way, and nothing shows yet that they are missing.
    for number in 100..190 {
        assert!(to_agent.contains(&payload(number)), "{number} has not come up");
        assert!(to_ann.contains(&payload(number)), "{number} has not come down");
    }
}

#[tokio::test]
async fn an_agent_is_told_what_becomes_of_packets_both_ways() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let (call, ann) = enter(&rooms, "lobby", "Ann").await;
    assert_eq!(arrival(&mut agent).await, ann);
    let telling = async {
        for number in 0..u16::MAX {
            // Every fourth of ours never leaves, and every tenth of hers.
            if number % 4 != 3 {
                let _ = agent.playout.send(packet(number)).await;
            }
            if number % 10 != 9 {
                call.send(&packet(number));
            }
            if let Some(line) = told(&mut agent)
                && line.lost_down_percent > 20
                && line.lost_up_percent > 5
                && line.round_trip_ms.is_some()
            {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nobody has told")
    };
    let line = within(telling).await;
    assert!((20..=30).contains(&line.lost_down_percent), "{line:?}");
    assert!((5..=15).contains(&line.lost_up_percent), "{line:?}");
    assert!(line.round_trip_ms.is_some_and(|ms| ms < 500), "{line:?}");
}

/// The latest that an agent was told of a line since the last time.
fn told(agent: &mut RoomLink) -> Option<LineQuality> {
    let mut told = None;
    while let Ok(event) = agent.events.try_recv() {
        if let RoomEvent::Quality { line, .. } = event {
            told = Some(line);
        }
    }
    told
}

/// Lets both say a tone, and listens whether each hears the other's as loud as it was said.
async fn talk(agent: &mut RoomLink, call: &mut Call) {
    let (mut ann_tone, mut agent_tone) = (Tone::new(ANN_HERTZ), Tone::new(AGENT_HERTZ));
    let (mut to_ann, mut to_agent) = (Recording::new(), Recording::new());
    for _ in 0..100 {
        call.send(&ann_tone.next());
        agent.playout.send(agent_tone.next()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        to_ann.take(&mut call.packets);
        to_agent.take(&mut agent.packets);
    }
    assert!(to_ann.is_continuous() && to_agent.is_continuous());
    for (heard, hertz, other) in
        [(to_ann, AGENT_HERTZ, ANN_HERTZ), (to_agent, ANN_HERTZ, AGENT_HERTZ)]
    {
        let (strength, noise) = (heard.strength(hertz), heard.strength(other));
        assert!((4800.0..7200.0).contains(&strength), "{hertz} Hz: {strength}");
        assert!(noise < 100.0, "{other} Hz: {noise}");
    }
}

/// A way between a caller and the house on which every seventh packet of speech is lost.
struct Road {
    address: SocketAddr,
    _ways: JoinSet<()>,
}

impl Road {
    async fn build(house: SocketAddr) -> Self {
        let near = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        let address = near.local_addr().unwrap();
        let far = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        far.connect(house).await.unwrap();
        let mut ways = JoinSet::new();
        ways.spawn(async move {
            let (mut from_near, mut from_far) = ([0; 2048], [0; 2048]);
            let (mut caller, mut ups, mut downs) = (None, 0, 0);
            loop {
                tokio::select! {
                    Ok((length, from)) = near.recv_from(&mut from_near) => {
                        caller = Some(from);
                        if !is_lost(&from_near[..length], &mut ups) {
                            let _ = far.send(&from_near[..length]).await;
                        }
                    }
                    Ok(length) = far.recv(&mut from_far) => {
                        if let Some(caller) = caller && !is_lost(&from_far[..length], &mut downs) {
                            let _ = near.send_to(&from_far[..length], caller).await;
                        }
                    }
                }
            }
        });
        Self { address, _ways: ways }
    }
}

/// Counts packets of speech (RTP, and not RTCP; RFC 5761, section 4).
fn is_lost(datagram: &[u8], count: &mut u32) -> bool {
    let is_rtp = matches!(datagram, [0x80..=0xBF, kind, ..] if !(192..=223).contains(kind));
    *count += u32::from(is_rtp);
    is_rtp && count.is_multiple_of(7)
}
