//! Sound in events: base64 of 16-bit little-endian samples, without a JSON tree on the way.

use base64_simd::{AsOut as _, STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};

use super::server::AudioDelta;
use crate::media::Frame24k;

/// Writes one frame as an `input_audio_buffer.append` event.
///
/// `buffer` is reused: its memory comes back as soon as the event before has been sent.
pub fn append_frame(buffer: &mut BytesMut, frame: &Frame24k) -> Bytes {
    let mut pcm = [0; 2 * Frame24k::SAMPLES];
    for (bytes, sample) in pcm.chunks_exact_mut(2).zip(frame.iter()) {
        bytes.copy_from_slice(&sample.to_le_bytes());
    }
    buffer.reserve(APPEND_HEAD.len() + APPEND_TAIL.len() + STANDARD.encoded_length(pcm.len()));
    buffer.put_slice(APPEND_HEAD);
    put_base64(buffer, &pcm);
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

const APPEND_HEAD: &[u8] = br#"{"type":"input_audio_buffer.append","audio":""#;
const APPEND_TAIL: &[u8] = br#""}"#;
