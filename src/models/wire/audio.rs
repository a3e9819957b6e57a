//! Sound in events: base64 of 16-bit little-endian samples, without a JSON tree on the way.

use base64_simd::{AsOut as _, STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};

use super::server::AudioDelta;
use crate::media::{Downsampler, Frame24k};
use crate::models::dialect::HearingRate;

/// Writes one frame as an `input_audio_buffer.append` event.
///
/// `buffer` is reused: its memory comes back as soon as the event before has been sent.
pub fn append_frame(buffer: &mut BytesMut, frame: &Frame24k) -> Bytes {
    append(buffer, &frame[..])
}

/// What a server hears, frame by frame, as events at its rate.
#[derive(Debug)]
pub struct FrameWriter {
    buffer: BytesMut,
    /// None where the house rate is the server's.
    downsampler: Option<Box<Downsampler>>,
}

impl FrameWriter {
    /// Begins a stream of sound at this rate.
    #[must_use]
    pub fn new(rate: HearingRate) -> Self {
        let downsampler = match rate {
            HearingRate::Khz24 => None,
            HearingRate::Khz16 => Some(Box::default()),
        };
        Self { buffer: BytesMut::with_capacity(BUFFER_BYTES), downsampler }
    }

    /// Writes the next frame, as [`append_frame`] does.
    pub fn append(&mut self, frame: &Frame24k) -> Bytes {
        match &mut self.downsampler {
            None => append(&mut self.buffer, &frame[..]),
            Some(downsampler) => append(&mut self.buffer, &downsampler.convert(frame)[..]),
        }
    }
}

/// Writes the samples of one frame, of whichever rate.
fn append(buffer: &mut BytesMut, samples: &[i16]) -> Bytes {
    let mut pcm = [0; 2 * Frame24k::SAMPLES];
    for (bytes, sample) in pcm.chunks_exact_mut(2).zip(samples) {
        bytes.copy_from_slice(&sample.to_le_bytes());
    }
    let pcm = &pcm[..2 * samples.len()];
    buffer.reserve(APPEND_HEAD.len() + APPEND_TAIL.len() + STANDARD.encoded_length(pcm.len()));
    buffer.put_slice(APPEND_HEAD);
    put_base64(buffer, pcm);
    buffer.put_slice(APPEND_TAIL);
    buffer.split().freeze()
}

/// A stretch of the agent's sound as an event, for servers; ids must need no JSON escapes.
#[must_use]
pub fn output_audio_delta<'a>(
    response_id: &'a str,
    item_id: &'a str,
    samples: &[i16],
) -> AudioDelta<'a> {
    AudioDelta {
        response_id: response_id.into(),
        item_id: item_id.into(),
        output_index: 0,
        content_index: 0,
        delta: pcm_to_base64(samples).into(),
    }
}

/// Samples as events carry them.
#[must_use]
pub fn pcm_to_base64(samples: &[i16]) -> String {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    STANDARD.encode_to_string(bytes)
}

/// Turns base64 stretches of one stream back into samples; a stretch may end within a sample.
#[derive(Debug, Default)]
pub struct PcmDecoder {
    bytes: Vec<u8>,
}

impl PcmDecoder {
    /// The samples that are complete with this stretch.
    pub fn decode(&mut self, base64: &str) -> Result<Vec<i16>, base64_simd::Error> {
        STANDARD.decode_append(base64, &mut self.bytes)?;
        let (pairs, _) = self.bytes.as_chunks::<2>();
        let samples = pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        let whole = 2 * pairs.len();
        self.bytes.drain(..whole);
        Ok(samples)
    }
}

fn put_base64(buffer: &mut BytesMut, bytes: &[u8]) {
    let start = buffer.len();
    buffer.resize(start + STANDARD.encoded_length(bytes.len()), 0);
    let _ = STANDARD.encode(bytes, buffer[start..].as_out());
}

/// Room for a few frames as events, of about 1.4 kB each.
const BUFFER_BYTES: usize = 8 * 1024;

const APPEND_HEAD: &[u8] = br#"{"type":"input_audio_buffer.append","audio":""#;
const APPEND_TAIL: &[u8] = br#""}"#;
