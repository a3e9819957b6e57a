//! Opus in Ogg (RFC 3533, RFC 7845): two voices as two streams of one packet, page by page.
//!
//! The channels are coded apart (channel mapping family 1, two streams, none coupled), so nothing
//! of one voice leaks into the other, as it does where Opus codes them as a stereo picture.

use ::opus::{Application, Bitrate, Channels, Encoder, Signal};

use super::frame::{Frame24k, HOUSE_RATE};
use super::opus::CodecError;
use super::packet::RTP_TICKS_PER_FRAME;
use super::reel::StereoFrame;

/// Codes stereo frames, and puts pages together; one for each second of sound.
#[derive(Debug)]
pub struct OggOpus {
    encoders: [Encoder; 2],
    scratch: Box<[u8; STREAM_BYTES_MAX]>,
    pages: Pages,
    pre_skip: u16,
    frames: u64,
}

/// The container: packets in, pages out.
#[derive(Debug)]
struct Pages {
    serial: u32,
    number: u32,
    lacing: Vec<u8>,
    body: Vec<u8>,
}

impl OggOpus {
    /// A stream of this number, and its first two pages: what it is, and who has made it.
    pub fn begin(serial: u32, out: &mut Vec<u8>) -> Result<Self, CodecError> {
        let mut encoders = [encoder()?, encoder()?];
        let lookahead = encoders[0].get_lookahead()?.unsigned_abs() * TICKS_PER_SAMPLE;
        let pre_skip = u16::try_from(lookahead).unwrap_or(u16::MAX);
        let (lacing, body) = (Vec::with_capacity(255), Vec::with_capacity(PAGE_BYTES));
        let mut pages = Pages { serial, number: 0, lacing, body };
        pages.put(&head(pre_skip));
        pages.close(FIRST, 0, out);
        pages.put(&tags());
        pages.close(0, 0, out);
        let scratch = Box::new([0; STREAM_BYTES_MAX]);
        Ok(Self { encoders, scratch, pages, pre_skip, frames: 0 })
    }

    /// Adds 20 ms; once a second that gives a page.
    pub fn push(&mut self, frames: &StereoFrame, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if self.pages.lacing.len() + PACKET_LACES_MAX > 255 || self.is_second() {
            self.pages.close(0, self.granule(), out);
        }
        self.code(frames)?;
        self.frames += 1;
        Ok(())
    }

    /// The last page. It ends with the last sample that was pushed (RFC 7845, section 4.4): what
    /// the encoders still hold is coded with it, and what lies behind is cut off.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let end = self.granule() + u64::from(self.pre_skip);
        self.code(&[Frame24k::SILENCE; 2])?;
        self.pages.close(LAST, end, out);
        Ok(())
    }

    fn is_second(&self) -> bool {
        self.frames.is_multiple_of(FRAMES_PER_PAGE) && !self.pages.lacing.is_empty()
    }

    /// How many samples at 48 kHz the packets so far give.
    const fn granule(&self) -> u64 {
        self.frames * RTP_TICKS_PER_FRAME as u64
    }

    /// One packet of two streams. All but the last tell their length themselves (RFC 6716,
    /// appendix B).
    fn code(&mut self, [left, right]: &StereoFrame) -> Result<(), CodecError> {
        let length = self.encoders[0].encode(&left[..], &mut self.scratch[..])?;
        let (first, rest) = self.scratch[..length].split_first().unwrap_or((&0, &[]));
        self.pages.begin_packet();
        self.pages.body.push(*first);
        put_length(rest.len(), &mut self.pages.body);
        self.pages.body.extend_from_slice(rest);
        let length = self.encoders[1].encode(&right[..], &mut self.scratch[..])?;
        self.pages.body.extend_from_slice(&self.scratch[..length]);
        self.pages.end_packet();
        Ok(())
    }
}

impl Pages {
    fn put(&mut self, packet: &[u8]) {
        self.begin_packet();
        self.body.extend_from_slice(packet);
        self.end_packet();
    }

    /// Packets lie one behind the other; where this one begins is where those before have ended.
    fn begin_packet(&self) {
        debug_assert_eq!(self.laced(), self.body.len(), "every packet is ended");
    }

    fn end_packet(&mut self) {
        let length = self.body.len() - self.laced();
        self.lacing.extend(std::iter::repeat_n(255, length / 255));
        self.lacing.push(u8::try_from(length % 255).unwrap_or_default());
    }

    fn laced(&self) -> usize {
        self.lacing.iter().map(|lace| usize::from(*lace)).sum()
    }

    /// Ends the page, up to whose end the stream has so many samples at 48 kHz.
    fn close(&mut self, flags: u8, granule: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"OggS\0");
        out.push(flags);
        out.extend_from_slice(&granule.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(u8::try_from(self.lacing.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&self.lacing);
        out.extend_from_slice(&self.body);
        sign_page(&mut out[start..]);
        self.number += 1;
        self.lacing.clear();
        self.body.clear();
    }
}

/// How many bytes of laces and body follow a page's fixed header, from the header and the laces
/// that are there; `None` if this is no page, or its laces are not all there.
#[must_use]
pub fn page_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..PAGE_HEADER).filter(|header| header.starts_with(b"OggS\0"))?;
    let laces = usize::from(header[PAGE_HEADER - 1]);
    let lacing = bytes.get(PAGE_HEADER..PAGE_HEADER + laces)?;
    Some(laces + lacing.iter().map(|lace| usize::from(*lace)).sum::<usize>())
}

/// Whether a whole page is as it was written.
#[must_use]
pub fn is_sound_page(page: &[u8]) -> bool {
    let mut copy = page.to_vec();
    if copy.len() < PAGE_HEADER {
        return false;
    }
    sign_page(&mut copy);
    copy == page
}

/// Makes a whole page the last of its stream.
pub fn mark_last_page(page: &mut [u8]) {
    page[PAGE_FLAGS] |= LAST;
    sign_page(page);
}

/// Writes the checksum of a whole page into it (RFC 3533, section 6).
fn sign_page(page: &mut [u8]) {
    page[PAGE_SUM..PAGE_SUM + 4].fill(0);
    let sum = page.iter().fold(0_u32, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
            let shifted = sum << 1;
            if sum & 0x8000_0000 == 0 { shifted } else { shifted ^ 0x04c1_1db7 }
        })
    });
    page[PAGE_SUM..PAGE_SUM + 4].copy_from_slice(&sum.to_le_bytes());
}

/// The identification header (RFC 7845, section 5.1).
fn head(pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x02".to_vec();
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&HOUSE_RATE.to_le_bytes());
    // No gain; family 1, two streams, none coupled, and each channel has its own.
    head.extend_from_slice(&[0, 0, 1, 2, 0, 0, 1]);
    head
}

/// The comment header (RFC 7845, section 5.2).
fn tags() -> Vec<u8> {
    let vendor = concat!("callbridge ", env!("CARGO_PKG_VERSION"));
    let length = u32::try_from(vendor.len()).unwrap_or_default();
    let mut tags = b"OpusTags".to_vec();
    tags.extend_from_slice(&length.to_le_bytes());
    tags.extend_from_slice(vendor.as_bytes());
    tags.extend_from_slice(&[0; 4]);
    tags
}

/// The length of a frame in one byte or two (RFC 6716, section 3.2.1).
#[expect(clippy::cast_possible_truncation, reason = "a frame has 1275 bytes at most")]
fn put_length(length: usize, out: &mut Vec<u8>) {
    if length < 252 {
        out.push(length as u8);
    } else {
        let low = 252 + (length & 3);
        out.extend_from_slice(&[low as u8, ((length - low) >> 2) as u8]);
    }
}

fn encoder() -> Result<Encoder, CodecError> {
    let mut encoder = Encoder::new(HOUSE_RATE, Channels::Mono, Application::Audio)?;
    // Opus' transform mode, which costs least (see the encoder of calls).
    encoder.set_signal(Signal::Music)?;
    encoder.set_complexity(COMPLEXITY)?;
    encoder.set_bitrate(Bitrate::Bits(BITS_PER_SECOND))?;
    Ok(encoder)
}

/// Opus' samples are counted at 48 kHz.
const TICKS_PER_SAMPLE: u32 = 2;

const COMPLEXITY: i32 = 5;
/// Of each channel, while somebody speaks.
const BITS_PER_SECOND: i32 = 32_000;

/// A second.
const FRAMES_PER_PAGE: u64 = 50;

/// The longest frame there is (RFC 6716, section 3.2.1), and its first byte.
const STREAM_BYTES_MAX: usize = 1_276;
/// Laces of the largest packet: two streams, the length of one, and the last lace.
const PACKET_LACES_MAX: usize = (2 * STREAM_BYTES_MAX + 2) / 255 + 1;
/// What a page of a second usually has room in.
const PAGE_BYTES: usize = 16 * 1024;

/// The fixed part of a page, which ends with the number of laces.
pub const PAGE_HEADER: usize = 27;
const PAGE_FLAGS: usize = 5;
const PAGE_SUM: usize = 22;
const FIRST: u8 = 2;
const LAST: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::opus::Decoder;
    use crate::media::testing::tone;

    #[test]
    fn two_voices_come_back_each_in_its_channel_and_in_time() {
        let sound: Vec<_> = crate::media::frames_of(&tone(440.0, 8_000.0, 24_000)).collect();
        let mut file = Vec::new();
        let mut ogg = OggOpus::begin(7, &mut file).unwrap();
        for frame in &sound {
            ogg.push(&[*frame, Frame24k::SILENCE], &mut file).unwrap();
        }
        let pre_skip = usize::from(ogg.pre_skip);
        ogg.finish(&mut file).unwrap();
        let (left, right) = decoded(&file);
        assert_eq!(left.len(), 24_000 + 480);
        assert!(right.iter().all(|sample| sample.abs() <= 1), "nothing leaks");
        let original: Vec<i16> = sound.iter().flat_map(|frame| frame.to_vec()).collect();
        let error: i64 = (2_400..20_000)
            .map(|n| i64::from(left[n + pre_skip / 2]) - i64::from(original[n]))
            .map(|error| error * error)
            .sum();
        let power: i64 = original[2_400..20_000].iter().map(|s| i64::from(*s).pow(2)).sum();
        assert!(error * 20 < power, "{error} of {power}");
    }

    #[test]
    fn pages_are_signed_numbered_and_counted_to_the_sample() {
        let mut file = Vec::new();
        let mut ogg = OggOpus::begin(7, &mut file).unwrap();
        for _ in 0..120 {
            ogg.push(&[Frame24k::SILENCE; 2], &mut file).unwrap();
        }
        let pre_skip = u64::from(ogg.pre_skip);
        ogg.finish(&mut file).unwrap();
        let pages = pages(&file);
        let flags: Vec<_> = pages.iter().map(|page| page[PAGE_FLAGS]).collect();
        assert_eq!(flags, [FIRST, 0, 0, 0, LAST]);
        let granules: Vec<_> = pages.iter().map(|page| granule(page)).collect();
        assert_eq!(granules, [0, 0, 48_000, 96_000, 120 * 960 + pre_skip]);
        for (number, page) in pages.iter().enumerate() {
            assert!(is_sound_page(page));
            assert_eq!(usize::from(page[18]), number);
        }
    }

    #[test]
    fn a_page_can_be_made_the_last_and_a_broken_one_is_found() {
        let mut file = Vec::new();
        OggOpus::begin(7, &mut file).unwrap();
        let mut page = pages(&file)[1].to_vec();
        mark_last_page(&mut page);
        assert!(is_sound_page(&page) && page[PAGE_FLAGS] == LAST);
        page[PAGE_HEADER + 5] ^= 1;
        assert!(!is_sound_page(&page));
        assert_eq!(page_length(b"RIFF"), None);
    }

    /// The checksum of a page that is known: an empty first page of stream 0.
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        let mut page = vec![0; PAGE_HEADER];
        page[..4].copy_from_slice(b"OggS");
        sign_page(&mut page);
        let sum = u32::from_le_bytes(page[PAGE_SUM..PAGE_SUM + 4].try_into().unwrap());
        // Bit by bit, as polynomial division without tables.
        let mut unsigned = page.clone();
        unsigned[PAGE_SUM..PAGE_SUM + 4].fill(0);
        let mut rest = 0_u64;
        let bits = |byte: &u8| {
            let byte = *byte;
            (0..8).rev().map(move |n| byte >> n & 1)
        };
        for bit in unsigned.iter().chain(&[0; 4]).flat_map(bits) {
            rest = rest << 1 | u64::from(bit);
            if rest >> 32 == 1 {
                rest ^= 0x1_04c1_1db7;
            }
        }
        assert_eq!(u64::from(sum), rest);
    }

    fn pages(mut file: &[u8]) -> Vec<&[u8]> {
        let mut pages = Vec::new();
        while let Some(length) = page_length(file) {
            let (page, rest) = file.split_at(PAGE_HEADER + length);
            pages.push(page);
            file = rest;
        }
        assert!(file.is_empty());
        pages
    }

    fn granule(page: &[u8]) -> u64 {
        u64::from_le_bytes(page[6..14].try_into().unwrap())
    }

    fn decoded(file: &[u8]) -> (Vec<i16>, Vec<i16>) {
        let (mut one, mut two) = (Decoder::new().unwrap(), Decoder::new().unwrap());
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for page in &pages(file)[2..] {
            let laces = usize::from(page[PAGE_HEADER - 1]);
            let (lacing, mut body) = page[PAGE_HEADER..].split_at(laces);
            let mut length = 0;
            for lace in lacing {
                length += usize::from(*lace);
                if *lace < 255 {
                    let (packet, rest) = body.split_at(length);
                    (body, length) = (rest, 0);
                    let (size, head) = match packet[1] {
                        short @ 0..=251 => (usize::from(short), 2),
                        low => (usize::from(packet[2]) * 4 + usize::from(low), 3),
                    };
                    let mut first = vec![packet[0]];
                    first.extend_from_slice(&packet[head..head + size]);
                    one.decode(&first).unwrap();
                    two.decode(&packet[head + size..]).unwrap();
                    left.extend_from_slice(&one.pull().unwrap()[..]);
                    right.extend_from_slice(&two.pull().unwrap()[..]);
                }
            }
        }
        (left, right)
    }
}
