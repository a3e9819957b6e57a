//! PURE. Sound as values: no tasks, no clock, and no allocation per frame once warm.

mod cushion;
mod downlink;
mod echo;
mod fade;
mod frame;
mod g711;
mod gain;
mod gate;
mod hearing;
mod microphone;
mod mix;
mod ogg;
mod opus;
mod order;
mod pacer;
mod packet;
mod playout;
mod reception;
mod recorded;
mod red;
mod reel;
mod resample;
mod speech;
mod tape;
mod telephone;
#[cfg(test)]
mod testing;
mod timeline;
mod track;
mod uplink;
mod vad;
mod wav;

/// Opus to and from the house rate.
pub use self::opus::{CodecError, Decoder, Encoder, MalformedPayload, fec_samples};
/// The bounds of what is gathered for a model that runs dry.
pub use cushion::{CUSHION_MAX_MS, CUSHION_MIN_MS};
/// The agent's voice: speech in at any pace, packets out on time.
pub use downlink::{Downlink, DownlinkOutput, DownlinkStats};
/// Our own voice, as it may come back.
pub use echo::{ECHO_DELAY_MAX, OwnVoice};
/// 20 ms of sound, and how long samples last.
pub use frame::{FRAME_MS, Frame, Frame16k, Frame24k, Frame48k, HOUSE_RATE, TimedFrame, ms_of_24k};
/// What a telephone speaks.
pub use g711::Law;
/// Who is heard while we speak.
pub use gate::{Duplex, HALF_DUPLEX_TAIL};
/// How a participant is listened to.
pub use hearing::{Hearing, Senses, Suppression};
/// A caller's side of a stream.
pub use microphone::Microphone;
/// Several voices in one: for listeners in a room, and for a model.
pub use mix::{EAR_QUEUE_CAPACITY, Ear, Mix, STALLED_FRAMES, STANDING_FRAMES};
/// Recordings as Opus in Ogg.
pub use ogg::{OggOpus, PAGE_HEADER, is_sound_page, mark_last_page, page_length};
/// Packets back into sequence.
pub use order::{Before, GAP_WAIT_MAX, Order, OrderStats, Ordered};
/// When the next frame is due.
pub use pacer::{CATCH_UP_FRAMES, Pacer, Tick};
/// Opus on its way between a room and an agent.
pub use packet::{OpusPacket, PAYLOAD_MAX, RTP_TICKS_PER_FRAME};
/// Speech that waits to be heard.
pub use playout::{
    Flooded, Flushed, LEAD_IN_MS, Playout, PlayoutFrame, TRIMMED_MAX_SECONDS, UNHEARD_MAX_SECONDS,
};
/// What becomes of our packets on their way to those who listen.
pub use reception::Reception;
/// A caller who was recorded before.
pub use recorded::{GREETING_MAX, GREETING_PATIENCE, LISTENING_MAX, Manners, RecordedCaller, Wait};
/// Packets that bring older ones along.
pub use red::{MalformedRed, RedReader};
/// The two channels of a recording.
pub use reel::{REEL_LAG, Reel, StereoFrame};
/// From one rate to another.
pub use resample::{Converter, Downsampler, RateError};
/// When speech begins and ends.
pub use speech::{Edge, EdgeKind, ONSET_WINDOW_MAX, Speech, SpeechConfig};
/// A call on its own clock.
pub use tape::{Side, Tape, Taped};
/// Between a telephone and the house.
pub use telephone::{TICKS_PER_TELEPHONE_TICK, TelephoneIn, TelephoneOut};
/// What a stream sounded like, as a recording.
pub use track::{AUDIBLE, Track};
/// A participant's voice: packets in, frames and edges out.
pub use uplink::{
    LATE_AFTER, QUIET_AFTER, QUIET_AFTER_MAX, SILENCE_CATCH_UP_FRAMES, Uplink, UplinkOutput,
    UplinkStats,
};
/// Is this speech?
pub use vad::{Detector, SileroError, SileroModel, Vad};
/// Recordings, in and out.
pub use wav::{WAV_SECONDS_MAX, WavError, frames_of, read_wav, write_stereo_wav, write_wav};
