//! The way to a model and back: the agent, its conversation, and the socket.

use std::time::Instant;

use bytes::Bytes;
use callbridge::load::bare;
use callbridge::media::Encoder;

use super::joined::{Call, FRAMES_PER_DELTA, created, delta};
use super::{Counted, blocks};

/// Beyond the time between two signs of life, in which the tape grows.
const WARM_UP_FRAMES: usize = 600;
const FRAMES: usize = 500;
const WARM_UP_DELTAS: usize = 20;
const DELTAS: usize = 50;

/// How many blocks were allocated for frames to the model, and for deltas from it, while warm.
pub(super) fn allocated(now: Instant) -> Counted {
    let mut call = Call::new(now);
    let voice: Vec<i16> = (0..2_400).map(|n| if n % 120 < 40 { 6_000 } else { -3_000 }).collect();
    let (payloads, created, delta) = (noise(), created("r1"), delta("r1", "a1", &voice));
    let mut payloads = payloads.iter().cycle().cloned();
    let mut hear = |call: &mut Call, frames| {
        payloads.by_ref().take(frames).for_each(|payload| call.hear(payload));
    };
    hear(&mut call, WARM_UP_FRAMES);
    let (warm, appended) = (blocks(), call.appended);
    hear(&mut call, FRAMES);
    let for_frames = blocks() - warm;
    assert_eq!(call.appended - appended, FRAMES, "each frame goes to the model");

    call.arrive(&created);
    let mut warm = 0;
    for number in 0..WARM_UP_DELTAS + DELTAS {
        if number == WARM_UP_DELTAS {
            warm = blocks();
        }
        call.said.clear();
        call.arrive(&delta);
        hear(&mut call, FRAMES_PER_DELTA);
        assert!(!call.said.is_empty(), "each delta is spoken");
    }
    Counted { for_frames, deltas: DELTAS as u64, for_deltas: blocks() - warm }
}

/// The quiet noise of a human who says nothing, so that no edge is found.
fn noise() -> Vec<Bytes> {
    let mut encoder = Encoder::new().expect("libopus gives an encoder");
    bare::noise().iter().map(|frame| encoder.encode(frame)).collect()
}
