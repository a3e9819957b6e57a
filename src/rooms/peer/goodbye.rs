//! Hears the goodbye of a stream (RTCP BYE), which the engine itself makes nothing of.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::rtcp::goodbye::Goodbye;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

/// Goodbyes of one peer that may wait to be heard.
///
/// When full: the next one is not told; it would say nothing new.
pub(super) const GOODBYES_CAPACITY: usize = 1;

/// Where it stands among the engine's own interceptors: behind them all, which need their RTCP.
pub(super) const PLACE: Slot = Slot::Custom(20_000);

/// Tells when a peer says that a stream of its own is over (RFC 3550, section 6.6).
pub(super) struct Farewells {
    heard: mpsc::Sender<()>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Farewells {
    pub(super) fn new(heard: mpsc::Sender<()>) -> Self {
        Self { heard, inbound: VecDeque::new(), outbound: VecDeque::new() }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Farewells {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if is_goodbye(&packet.message.packet) {
            // One that waits already says the same.
            let _ = self.heard.try_send(());
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for Farewells {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

fn is_goodbye(packet: &Packet) -> bool {
    let Packet::Rtcp(packets) = packet else { return false };
    packets.iter().any(|packet| packet.as_any().is::<Goodbye>())
}
