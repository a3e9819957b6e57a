//! When a leg's packets came off the network. The engine passes on what is in a packet, and not
//! when it came; but their order and their numbers are not encrypted (RFC 3711, section 3.1).

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::sys::clock;

/// How many packets of a leg are remembered, the latest: more than wait for an engine that keeps
/// up with a call.
const REMEMBERED: usize = 64;

/// For how long a datagram is believed to have waited for us, at most: one that seems older was
/// stamped before the wall clock was set.
const BELIEVED: Duration = Duration::from_secs(1);

/// When the latest packets of one leg came. One task notes, one asks.
#[derive(Debug)]
pub(in crate::rooms) struct Arrivals {
    began: Instant,
    /// By the last bits of its number, each packet's whole number, and above it when it came: in
    /// microseconds since the beginning, and one more.
    places: [AtomicU64; REMEMBERED],
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { began: clock::now(), places: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Arrivals {
    /// A datagram came at `at`. What is no RTP has no number, and is not noted.
    fn note(&self, datagram: &[u8], at: Instant) {
        let Some(sequence) = sequence_of(datagram) else { return };
        let us = at.saturating_duration_since(self.began).as_micros();
        let us = u64::try_from(us).unwrap_or(u64::MAX) + 1;
        self.place(sequence).store(us << 16 | u64::from(sequence), Ordering::Relaxed);
    }

    /// When the packet of this number came, if it is one of the latest.
    pub(in crate::rooms) fn of(&self, sequence: u16) -> Option<Instant> {
        let noted = self.place(sequence).load(Ordering::Relaxed);
        let us = (noted >> 16).checked_sub(1)?;
        let is_it = noted & u64::from(u16::MAX) == u64::from(sequence);
        is_it.then(|| self.began + Duration::from_micros(us))
    }

    fn place(&self, sequence: u16) -> &AtomicU64 {
        &self.places[usize::from(sequence) % REMEMBERED]
    }
}

/// The number of an RTP packet; other protocols share its way (RFC 7983, section 7; RFC 5761,
/// section 4).
fn sequence_of(datagram: &[u8]) -> Option<u16> {
    match *datagram {
        [128..=191, kind, high, low, ..] if !matches!(kind & 0x7f, 64..=95) => {
            Some(u16::from_be_bytes([high, low]))
        }
        _ => None,
    }
}

/// When a datagram came that is read `now`: as the kernel has stamped it, where it does.
fn arrival(meta: &RecvMeta, now: Instant) -> Instant {
    let waited = meta.timestamp.map_or(Duration::ZERO, |stamp| clock::unix().saturating_sub(stamp));
    now.checked_sub(waited.min(BELIEVED)).unwrap_or(now)
}

/// A leg's socket, with a note of when each packet came.
#[derive(Debug)]
pub(super) struct Noting {
    pub(super) socket: Arc<dyn AsyncUdpSocket>,
    pub(super) arrivals: Arc<Arrivals>,
}

impl AsyncUdpSocket for Noting {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(cx, buffers, metas);
        if let Poll::Ready(Ok(count)) = received {
            let now = clock::now();
            for (buffer, meta) in buffers.iter().zip(metas.iter()).take(count) {
                let at = arrival(meta, now);
                // The kernel may have put several datagrams of one source into one buffer.
                let datagrams = buffer[..meta.len].chunks(meta.stride.max(1));
                datagrams.for_each(|datagram| self.arrivals.note(datagram, at));
            }
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{Ipv4Addr, UdpSocket};

    use webrtc::runtime::{Runtime as _, TokioRuntime};

    use super::*;

    #[test]
    fn a_packet_has_come_when_it_was_noted_until_others_take_its_place() {
        let (arrivals, at) = (Arrivals::default(), |ms| Duration::from_millis(ms));
        let began = arrivals.began;
        for sequence in [65_534, 65_535, 0, 1] {
            arrivals.note(&rtp(sequence), began + at(u64::from(sequence)));
        }
        for sequence in [65_534, 65_535, 0, 1] {
            assert_eq!(arrivals.of(sequence), Some(began + at(u64::from(sequence))));
        }
        arrivals.note(&rtp(1), began + at(9));
        assert_eq!(arrivals.of(1), Some(began + at(9)), "it was sent again");
        let later = 1 + u16::try_from(REMEMBERED).unwrap();
        arrivals.note(&rtp(later), began + at(10));
        assert_eq!((arrivals.of(1), arrivals.of(2)), (None, None));
    }

    #[test]
    fn what_is_no_rtp_takes_nobodys_place() {
        let arrivals = Arrivals::default();
        arrivals.note(&rtp(7), arrivals.began);
        let late = arrivals.began + BELIEVED;
        let [control, handshake, check] = [(0x80, 200), (22, 254), (0, 1)];
        for (first, second) in [control, handshake, check] {
            arrivals.note(&[first, second, 0, 7], late);
        }
        arrivals.note(&rtp(7)[..3], late);
        assert_eq!(arrivals.of(7), Some(arrivals.began));
    }

    #[tokio::test]
    async fn what_has_waited_in_the_socket_is_as_old_as_that() {
        let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = ours.local_addr().unwrap();
        let socket = TokioRuntime.wrap_udp_socket(ours).unwrap();
        let noting = Noting { socket, arrivals: Arc::default() };
        let caller = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // The kernel begins to stamp some time after it was told to; until then it does so when
        // a packet is read.
        for sequence in 0..u16::MAX {
            caller.send_to(&rtp(sequence), to).unwrap();
            let waiting = clock::now();
            receive(&noting).await;
            if noting.arrivals.of(sequence).unwrap() <= waiting {
                return;
            }
        }
        panic!("as if nothing had waited");
    }

    #[test]
    fn a_wall_clock_that_is_set_makes_a_packet_no_older_than_is_believed() {
        let (now, mut meta) = (clock::now(), RecvMeta::default());
        assert_eq!(arrival(&meta, now), now, "there is none");
        meta.timestamp = Some(Duration::ZERO);
        assert_eq!(arrival(&meta, now) + BELIEVED, now);
        meta.timestamp = Some(clock::unix() + BELIEVED);
        assert_eq!(arrival(&meta, now), now);
    }

    async fn receive(socket: &Noting) {
        let (mut buffer, mut metas) = ([0; 100], [RecvMeta::default()]);
        let received =
            poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut metas));
        assert_eq!(received.await.unwrap(), 1);
    }

    fn rtp(sequence: u16) -> [u8; 12] {
        let mut packet = [0; 12];
        packet[..2].copy_from_slice(&[0x80, 111]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet
    }
}
