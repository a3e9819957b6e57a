//! Speaks for the house to a telephone: Opus in, G.711 out, packet by packet.

use tokio::sync::mpsc;

use super::engine::Mouth;
use crate::media::{OpusPacket, TICKS_PER_TELEPHONE_TICK, TelephoneOut};

/// Packets that may wait to be interpreted: 160 ms.
///
/// When full: the newest packet is dropped; the listener hears a gap.
pub(super) const TO_INTERPRET_CAPACITY: usize = 8;

/// Speaks until nobody can say anything any more.
pub(super) async fn run(
    mut telephone: TelephoneOut,
    mouth: Mouth,
    mut packets: mpsc::Receiver<OpusPacket>,
) {
    let mut clock = Clock::default();
    while let Some(packet) = packets.recv().await {
        match telephone.convert(&packet.payload) {
            Ok(payload) => {
                let timestamp = clock.telephone_time(packet.timestamp);
                mouth.send(&OpusPacket { timestamp, payload, ..packet });
            }
            Err(error) => tracing::debug!(%error, "a packet cannot be said over a telephone"),
        }
    }
}

/// From the house's RTP time to a telephone's. Both begin anywhere and wrap, so that only steps
/// can be divided.
#[derive(Debug, Default)]
struct Clock {
    last: Option<(u32, u32)>,
}

impl Clock {
    fn telephone_time(&mut self, time: u32) -> u32 {
        let (last, telephone) = self.last.unwrap_or((time, time));
        let step = time.wrapping_sub(last).cast_signed() / TICKS_PER_TELEPHONE_TICK.cast_signed();
        let telephone = telephone.wrapping_add_signed(step);
        self.last = Some((time, telephone));
        telephone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telephones_time_goes_on_through_the_wrap_and_back() {
        let mut clock = Clock::default();
        let begin = u32::MAX - 959;
        let first = clock.telephone_time(begin);
        let steps = [960_u32, 1920, 960, 48_000].map(|step| {
            clock.telephone_time(begin.wrapping_add(step)).wrapping_sub(first).cast_signed()
        });
        assert_eq!(steps, [160, 320, 160, 8_000]);
    }
}
