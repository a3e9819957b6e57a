//! RED: packets that bring older ones along (RFC 2198, as it wraps Opus in browsers).

use bytes::Bytes;
use thiserror::Error;

use super::packet::OpusPacket;

/// A payload is not RED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a payload is not RED")]
pub struct MalformedRed;

/// Takes packets apart, and gives each part as the packet it once was, if that has not come.
///
/// A part tells its RTP time and not its number, and between packets of sound there may be others,
/// which only probe the network. So a part that is new by its time takes the nearest number before
/// that no packet has come with.
#[derive(Clone, Debug)]
pub struct RedReader {
    /// The payload type of what is wrapped.
    inner: u8,
    seen: Seen,
}

impl RedReader {
    /// A reader of what wraps this payload type.
    #[must_use]
    pub const fn new(inner: u8) -> Self {
        Self { inner, seen: Seen::new() }
    }

    /// Takes a packet apart. Gives the parts that are new, the oldest first; the packet's own part
    /// is last, and empty if it is something else than sound.
    pub fn read(
        &mut self,
        packet: OpusPacket,
        mut give: impl FnMut(OpusPacket),
    ) -> Result<(), MalformedRed> {
        if packet.payload.is_empty() {
            if self.seen.take(packet.sequence) {
                give(packet);
            }
            return Ok(());
        }
        let blocks = Blocks::read(&packet.payload)?;
        let places = self.places(&blocks, &packet);
        let mut rest = packet.payload.slice(blocks.headers..);
        for (block, place) in blocks.older().iter().zip(places) {
            let payload = rest.split_to(usize::from(block.length));
            if let Some(sequence) = place
                && self.seen.take(sequence)
            {
                let timestamp = block.time_before(&packet);
                self.seen.note_time(timestamp);
                give(OpusPacket { sequence, timestamp, marker: false, payload, ..packet.clone() });
            }
        }
        if self.seen.take(packet.sequence) {
            self.seen.note_time(packet.timestamp);
            let payload = if blocks.inner == self.inner { rest } else { Bytes::new() };
            give(OpusPacket { payload, ..packet });
        }
        Ok(())
    }

    /// Takes a packet that is not wrapped; tells whether it is new.
    pub const fn pass(&mut self, packet: &OpusPacket) -> bool {
        let is_new = self.seen.take(packet.sequence);
        if is_new {
            self.seen.note_time(packet.timestamp);
        }
        is_new
    }

    /// The numbers of those older parts that are new, from the last one back.
    fn places(&self, blocks: &Blocks, packet: &OpusPacket) -> [Option<u16>; OLDER_MAX] {
        let (mut places, mut before) = ([None; OLDER_MAX], packet.sequence);
        for (block, place) in blocks.older().iter().zip(&mut places).rev() {
            let is_sound = block.payload_type == self.inner && block.length > 0;
            if is_sound && !self.seen.has_time(block.time_before(packet)) {
                *place = self.seen.free_before(before);
                before = place.unwrap_or(before);
            }
        }
        places
    }
}

/// A part that was sent before.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    payload_type: u8,
    /// How much earlier its RTP time is.
    offset: u16,
    length: u16,
}

impl Block {
    const fn time_before(self, packet: &OpusPacket) -> u32 {
        packet.timestamp.wrapping_sub(self.offset as u32)
    }
}

/// What a packet's headers say.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    older: [Block; OLDER_MAX],
    count: usize,
    /// The payload type of the packet's own part.
    inner: u8,
    /// How long the headers are.
    headers: usize,
}

impl Blocks {
    fn read(payload: &[u8]) -> Result<Self, MalformedRed> {
        let (mut older, mut count, mut headers) = ([Block::default(); OLDER_MAX], 0, 0);
        let mut length = 0;
        loop {
            match payload[headers..] {
                [first, ..] if first & 0x80 == 0 => {
                    headers += 1;
                    let fits = headers + length <= payload.len();
                    let blocks = Self { older, count, inner: first, headers };
                    return if fits { Ok(blocks) } else { Err(MalformedRed) };
                }
                [first, a, b, c, ..] if count < OLDER_MAX => {
                    let fields = u32::from_be_bytes([0, a, b, c]);
                    let block = Block {
                        payload_type: first & 0x7F,
                        offset: low_bits(fields >> 10, 14),
                        length: low_bits(fields, 10),
                    };
                    older[count] = block;
                    (count, headers) = (count + 1, headers + 4);
                    length += usize::from(block.length);
                }
                _ => return Err(MalformedRed),
            }
        }
    }

    fn older(&self) -> &[Block] {
        &self.older[..self.count]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "no more than 16 bits are asked for")]
const fn low_bits(number: u32, bits: u32) -> u16 {
    (number & ((1 << bits) - 1)) as u16
}

/// Which packets of a stream have come.
#[derive(Clone, Debug)]
struct Seen {
    newest: Option<u16>,
    /// Bit `k` tells of the packet `k` before the newest.
    before: u64,
    /// The times of the last packets of sound, and where the next one goes.
    times: [Option<u32>; TIMES],
    next_time: usize,
}

impl Seen {
    const fn new() -> Self {
        Self { newest: None, before: 0, times: [None; TIMES], next_time: 0 }
    }

    const fn note_time(&mut self, time: u32) {
        self.times[self.next_time] = Some(time);
        self.next_time = (self.next_time + 1) % TIMES;
    }

    fn has_time(&self, time: u32) -> bool {
        self.times.contains(&Some(time))
    }

    /// The nearest number before this one that is not known to have come.
    fn free_before(&self, sequence: u16) -> Option<u16> {
        (1..=FREE_MAX).map(|back| sequence.wrapping_sub(back)).find(|sequence| {
            let back =
                self.newest.map_or(-1, |newest| newest.wrapping_sub(*sequence).cast_signed());
            u32::try_from(back).map_or(true, |back| {
                self.before.checked_shr(back).is_some_and(|seen| seen & 1 == 0)
            })
        })
    }

    /// Marks a packet as seen; tells whether it is new. What is too old to know is not.
    const fn take(&mut self, sequence: u16) -> bool {
        let Some(newest) = self.newest else {
            (self.newest, self.before) = (Some(sequence), 1);
            return true;
        };
        let ahead = sequence.wrapping_sub(newest).cast_signed();
        if ahead > 0 || ahead.unsigned_abs() > RESTART {
            let is_near = ahead > 0 && ahead.unsigned_abs() < SEEN;
            self.before = if is_near { self.before << ahead } else { 0 } | 1;
            self.newest = Some(sequence);
            return true;
        }
        let back = ahead.unsigned_abs();
        if back >= SEEN || self.before >> back & 1 == 1 {
            return false;
        }
        self.before |= 1 << back;
        true
    }
}

/// Older parts that are taken; browsers send one or two.
const OLDER_MAX: usize = 8;

/// So many packets before the newest are known.
const SEEN: u16 = 64;
const _: () = assert!(SEEN as u32 == u64::BITS);

/// So many times are remembered: twice as many as one packet can repeat.
const TIMES: usize = 16;

/// How far back a place is looked for: a burst of probes, and what was lost around it.
const FREE_MAX: u16 = 32;

/// A jump back by so many packets is a new beginning of the stream (RFC 3550, appendix A.1).
const RESTART: u16 = 3000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ParticipantId;

    #[test]
    fn nothing_comes_twice_where_nothing_is_lost() {
        let mut reader = RedReader::new(OPUS);
        let heard: Vec<_> = (10..20).flat_map(|number| read(&mut reader, number)).collect();
        let expected: Vec<_> = (8..20).map(|number| (number, time(number), word(number))).collect();
        assert_eq!(heard, expected, "from the first packet's own past on");
    }

    #[test]
    fn what_was_lost_is_brought_by_the_next() {
        let mut reader = RedReader::new(OPUS);
        read(&mut reader, 10);
        let heard = read(&mut reader, 13);
        let sequences: Vec<_> = heard.iter().map(|part| part.0).collect();
        assert_eq!(sequences, [11, 12, 13]);
        assert_eq!(heard[0], (11, time(11), word(11)), "exactly as it was");
        assert_eq!(read(&mut reader, 11), [], "it comes too late");
    }

    #[test]
    fn the_numbers_wrap() {
        let mut reader = RedReader::new(OPUS);
        read(&mut reader, 65_534);
        let heard: Vec<_> = read(&mut reader, 1).iter().map(|part| part.0).collect();
        assert_eq!(heard, [65_535, 0, 1]);
    }

    #[test]
    fn a_stream_that_begins_anew_is_heard() {
        let mut reader = RedReader::new(OPUS);
        read(&mut reader, 40_000);
        let heard: Vec<_> = read(&mut reader, 100).iter().map(|part| part.0).collect();
        assert_eq!(heard, [98, 99, 100]);
    }

    #[test]
    fn probes_between_packets_of_sound_are_no_sound_and_lose_none() {
        let mut reader = RedReader::new(OPUS);
        read(&mut reader, 10);
        let mut heard = Vec::new();
        // What was said as 11 is lost, and so is one of the probes from 12 to 16.
        for probe in [12, 13, 15, 16] {
            reader
                .read(OpusPacket { timestamp: time(11), ..packet(probe) }, |part| {
                    heard.push((part.sequence, part.payload));
                })
                .unwrap();
        }
        let later = OpusPacket { sequence: 17, payload: wrapped(12), ..packet(12) };
        reader.read(later, |part| heard.push((part.sequence, part.payload))).unwrap();
        let nothing = |sequence| (sequence, Bytes::new());
        let probes = [12, 13, 15, 16].map(nothing);
        assert_eq!(heard, [&probes[..], &[(14, word(11)), (17, word(12))]].concat());
    }

    #[test]
    fn what_is_not_sound_keeps_its_place_and_is_empty() {
        let mut reader = RedReader::new(OPUS);
        let payload = Bytes::from_static(&[101, 1, 2, 3, 4]);
        let mut heard = Vec::new();
        reader.read(OpusPacket { payload, ..packet(5) }, |part| heard.push(part)).unwrap();
        assert_eq!((heard[0].sequence, heard[0].payload.len()), (5, 0));
    }

    #[test]
    fn headers_that_promise_too_much_are_refused() {
        for payload in [&[0x80 | OPUS][..], &[0x80 | OPUS, 0, 0, 5, OPUS, 1, 2, 3, 4], &[0xFF; 64]]
        {
            assert_eq!(read_bytes(payload), Err(MalformedRed), "{payload:?}");
        }
        assert_eq!(read_bytes(&[0x80 | OPUS, 0, 0, 4, OPUS, 1, 2, 3, 4]), Ok(2));
        assert_eq!(read_bytes(&[OPUS]), Ok(1), "nothing was sent");
    }

    proptest! {
        #[test]
        fn nonsense_hurts_nobody(payloads in prop::collection::vec(
            (any::<u16>(), prop::collection::vec(any::<u8>(), 0..80)), 1..50,
        )) {
            let mut reader = RedReader::new(OPUS);
            for (sequence, payload) in payloads {
                let length = payload.len();
                let packet = OpusPacket { sequence, payload: payload.into(), ..packet(0) };
                let (mut given, mut parts) = (0, 0);
                let _ = reader.read(packet, |part| {
                    given += part.payload.len();
                    parts += 1;
                });
                prop_assert!(given <= length && parts <= OLDER_MAX + 1);
            }
        }

        #[test]
        fn with_any_two_lost_in_a_row_all_is_heard_once(
            lost in prop::collection::vec(any::<bool>(), 100),
        ) {
            let mut reader = RedReader::new(OPUS);
            let (mut heard, mut in_a_row) = (Vec::new(), 0);
            for (number, lost) in (1000..).zip(lost) {
                in_a_row = if lost && in_a_row < 2 { in_a_row + 1 } else { 0 };
                if in_a_row == 0 {
                    heard.extend(read(&mut reader, number).into_iter().map(|part| part.0));
                }
            }
            prop_assert!(heard.windows(2).all(|pair| pair[1] == pair[0] + 1), "{:?}", heard);
        }
    }

    /// A packet of this number, with the two before it, read.
    fn read(reader: &mut RedReader, number: u16) -> Vec<(u16, u32, Bytes)> {
        let mut parts = Vec::new();
        let packet = OpusPacket { payload: wrapped(number), ..packet(number) };
        let give = |part: OpusPacket| parts.push((part.sequence, part.timestamp, part.payload));
        reader.read(packet, give).unwrap();
        parts
    }

    fn wrapped(number: u16) -> Bytes {
        let older = [number.wrapping_sub(2), number.wrapping_sub(1)];
        let mut payload = Vec::new();
        for (number, offset) in older.iter().zip([1920_u32, 960]) {
            let length = u32::try_from(word(*number).len()).unwrap();
            let [_, a, b, c] = (offset << 10 | length).to_be_bytes();
            payload.extend([0x80 | OPUS, a, b, c]);
        }
        payload.push(OPUS);
        payload.extend(older.iter().flat_map(|number| word(*number)).chain(word(number)));
        payload.into()
    }

    fn read_bytes(payload: &[u8]) -> Result<usize, MalformedRed> {
        let mut parts = 0;
        let payload = Bytes::copy_from_slice(payload);
        RedReader::new(OPUS).read(OpusPacket { payload, ..packet(5) }, |_| parts += 1)?;
        Ok(parts)
    }

    fn packet(number: u16) -> OpusPacket {
        OpusPacket {
            participant: ParticipantId::new("ann"),
            sequence: number,
            timestamp: time(number),
            marker: false,
            payload: Bytes::new(),
            at: crate::sys::clock::now(),
        }
    }

    fn time(number: u16) -> u32 {
        u32::from(number.wrapping_sub(65_000)) * 960
    }

    fn word(number: u16) -> Bytes {
        Bytes::from(format!("sound {number}"))
    }

    const OPUS: u8 = 111;
}
