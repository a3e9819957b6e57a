//! Nothing is allocated per frame once warm: counted over real packets, both ways, between the
//! network and the model's socket.
//!
//! The count covers the Rust side. libopus and the detector work in memory that they took when
//! they were made. One test only: the count is of the whole process.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail where its ground gives way"
)]

#[path = "../harness/joined.rs"]
mod joined;
mod media;
mod model;

use std::time::Duration;

use callbridge::sys::clock;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const FRAME: Duration = Duration::from_millis(20);

#[test]
fn no_frame_allocates_once_warm() {
    let _profiler = dhat::Profiler::builder().testing().build();
    assert_eq!(media::allocated(clock::now()), 0, "blocks allocated for sound while warm");
    let counted = model::allocated(clock::now());
    assert_eq!(counted.for_frames, 0, "blocks allocated on the way to the model's socket");
    let most = counted.deltas * BLOCKS_PER_DELTA;
    let Counted { for_deltas, .. } = counted;
    assert!(for_deltas <= most, "{for_deltas} blocks allocated for {} deltas", counted.deltas);
}

/// How many blocks were allocated while warm.
struct Counted {
    for_frames: u64,
    deltas: u64,
    /// For deltas of 100 ms, and the packets that come of them.
    for_deltas: u64,
}

/// The samples, and names: of the event, the answer and the utterance.
const BLOCKS_PER_DELTA: u64 = 4;

fn blocks() -> u64 {
    dhat::HeapStats::get().total_blocks
}
