//! The parts that nobody can do without who brings an agent into a call: SRTP, libopus and a
//! speech detector. What they cost by themselves says what the machine takes for the work, at any
//! pace: it is the measure for everything else.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rtc::crypto::{CryptoError, default_provider};
use rtc::rtp;
use rtc::shared::error::Error as RtcError;
use rtc::shared::marshal::{Marshal as _, Unmarshal as _};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;
use tokio::sync::oneshot;

use super::talk::{self, TalkError};
use crate::media::{
    CodecError, Decoder, Downsampler, Encoder, FRAME_MS, Frame16k, Frame24k, MalformedPayload, Vad,
};
use crate::sys::{clock, tasks};

/// The parts do not work; they do on every machine or on none.
#[derive(Debug, Error)]
pub enum BareError {
    /// What is said could not be prepared.
    #[error(transparent)]
    Talk(#[from] TalkError),
    /// There is no codec.
    #[error("the codec cannot be had: {0}")]
    Codec(#[from] CodecError),
    /// The codec does not understand itself.
    #[error("a packet cannot be decoded: {0}")]
    Payload(#[from] MalformedPayload),
    /// A packet cannot be made, encrypted or decrypted.
    #[error("a packet cannot be had: {0}")]
    Packet(#[from] RtcError),
    /// There is no cryptography.
    #[error("there is no cryptography: {0}")]
    Cryptography(#[from] CryptoError),
    /// The system's count of a thread's time makes no sense.
    #[error("the time that a thread takes cannot be told")]
    Time,
    /// The thread that measures has broken.
    #[error("the measuring has broken off")]
    Broken,
}

/// A second of each, shared by all calls.
#[derive(Debug)]
pub struct Sound {
    /// The human speaks: packets as they come off the network, encrypted.
    pub voiced: Vec<BytesMut>,
    /// The human is silent, in a room that is not quite.
    pub quiet: Vec<BytesMut>,
    /// The agent speaks: the same as the human.
    pub speech: Vec<Frame24k>,
}

impl Sound {
    /// Reads, encodes and encrypts it.
    pub fn new() -> Result<Self, BareError> {
        let speech: Vec<_> = talk::speech()?.into_iter().take(FRAMES).collect();
        let voiced = encrypted(&speech)?;
        Ok(Self { voiced, quiet: encrypted(&noise())?, speech })
    }
}

/// One call of the parts alone, with the gateway's settings.
pub struct Bare {
    decoder: Decoder,
    encoder: Encoder,
    vad: Vad,
    inward: Context,
    outward: Context,
    at_16k: Vec<Frame16k>,
}

impl Bare {
    /// A call in which nothing was said.
    pub fn new(sound: &Sound) -> Result<Self, BareError> {
        let mut downsampler = Downsampler::new();
        Ok(Self {
            decoder: Decoder::new()?,
            encoder: Encoder::new()?,
            vad: Vad::new(),
            inward: context()?,
            outward: context()?,
            at_16k: sound.speech.iter().map(|frame| downsampler.convert(frame)).collect(),
        })
    }

    /// The packet of this number comes in, and is detected.
    pub fn hear(&mut self, packet: &BytesMut, number: usize) -> Result<(), BareError> {
        let mut packet = self.inward.decrypt_rtp(packet)?;
        let packet = rtp::Packet::unmarshal(&mut packet)?;
        self.decoder.decode(&packet.payload)?;
        while let Some(frame) = self.decoder.pull() {
            black_box(frame);
            black_box(self.vad.is_voice(&self.at_16k[number % self.at_16k.len()]));
        }
        Ok(())
    }

    /// A frame of the agent's goes out.
    pub fn say(&mut self, frame: &Frame24k) -> Result<(), BareError> {
        let packet = rtp_packet(0, self.encoder.encode(frame)).marshal()?;
        black_box(self.outward.encrypt_rtp(&packet)?);
        Ok(())
    }

    /// All that 20 ms ask for: the agent listens for a second, and speaks for one.
    fn frame(&mut self, sound: &Sound, tick: usize) -> Result<(), BareError> {
        let (second, number) = (tick / FRAMES, tick % FRAMES);
        if second.is_multiple_of(2) {
            return self.hear(&sound.voiced[number], number);
        }
        self.hear(&sound.quiet[number], number)?;
        self.say(&sound.speech[number])
    }
}

impl std::fmt::Debug for Bare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bare").finish_non_exhaustive()
    }
}

/// Processor time that a second of one call takes, in milliseconds, when so many are served for
/// `length` by one thread: their frames are due evenly over each 20 ms, and between them it sleeps.
/// More than a hundred are measured as a hundred, which one thread can do.
///
/// Dropping the future ends the thread.
pub async fn paced(calls: u32, length: Duration) -> Result<f64, BareError> {
    // Closed as soon as nobody waits any more; nothing is ever sent.
    let (wanted, _waiting) = oneshot::channel();
    let work = move || serve(calls.clamp(1, CALLS_MAX), length, &wanted);
    tasks::spawn_blocking(work).await.map_err(|_| BareError::Broken)?
}

fn serve(calls: u32, length: Duration, wanted: &oneshot::Sender<()>) -> Result<f64, BareError> {
    let sound = Sound::new()?;
    let mut bare = Vec::new();
    while bare.len() < calls as usize && !wanted.is_closed() {
        bare.push(settled(&sound)?);
    }
    let ticks = u32::try_from(length.as_millis() / u128::from(FRAME_MS)).unwrap_or(u32::MAX).max(1);
    let (start, before) = (clock::now(), processor_time()?);
    for tick in (0..ticks).take_while(|_| !wanted.is_closed()) {
        for (number, call) in (0..).zip(&mut bare) {
            let due = start + TICK * tick + TICK * number / calls;
            std::thread::sleep(due.saturating_duration_since(clock::now()));
            call.frame(&sound, tick as usize)?;
        }
    }
    let took = processor_time()?.saturating_sub(before);
    Ok(took.as_secs_f64() / TICK.as_secs_f64() * 1e3 / f64::from(calls * ticks))
}

/// A call that has gone on for so long that its encoder has left its first mode.
fn settled(sound: &Sound) -> Result<Bare, BareError> {
    let mut call = Bare::new(sound)?;
    for frame in sound.speech.iter().cycle().take(SETTLED) {
        call.say(frame)?;
    }
    sound.quiet.iter().zip(0..).try_for_each(|(packet, number)| call.hear(packet, number))?;
    Ok(call)
}

/// What this thread has taken.
fn processor_time() -> Result<Duration, BareError> {
    clock_gettime(ClockId::ThreadCPUTime).try_into().map_err(|_| BareError::Time)
}

/// Noise of a few steps, as of any microphone: one second.
#[must_use]
pub fn noise() -> Vec<Frame24k> {
    let mut state = 1_u32;
    let mut sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i16::try_from(state >> 28).unwrap_or(0) - 8
    };
    (0..FRAMES).map(|_| Frame24k::new(std::array::from_fn(|_| sample()))).collect()
}

fn encrypted(frames: &[Frame24k]) -> Result<Vec<BytesMut>, BareError> {
    let (mut encoder, mut out) = (Encoder::new()?, context()?);
    let packets = (0..).zip(frames).map(|(number, frame)| {
        let packet = rtp_packet(number, encoder.encode(frame)).marshal()?;
        Ok(out.encrypt_rtp(&packet)?)
    });
    packets.collect()
}

/// A packet of a stream, of that number.
#[must_use]
pub fn rtp_packet(number: u16, payload: Bytes) -> rtp::Packet {
    let header = rtp::Header {
        version: 2,
        payload_type: 111,
        sequence_number: number,
        timestamp: u32::from(number) * 960,
        ssrc: 1,
        ..rtp::Header::default()
    };
    rtp::Packet { header, payload }
}

/// The profile that browsers and the gateway settle on.
pub fn context() -> Result<Context, BareError> {
    let profile = ProtectionProfile::AeadAes128Gcm;
    let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
    let crypto = default_provider()?;
    Ok(Context::new(&key, &salt, profile, None, None, crypto.crypto())?)
}

/// One second of them.
const FRAMES: usize = 50;
const TICK: Duration = Duration::from_millis(FRAME_MS);
/// As many as one thread does with ease on a slow machine.
const CALLS_MAX: u32 = 100;
/// Six seconds: an encoder is prepared for loss during its first five.
const SETTLED: usize = 6 * FRAMES;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_part_takes_part() {
        let sound = Sound::new().unwrap();
        assert_eq!((sound.voiced.len(), sound.quiet.len(), sound.speech.len()), (50, 50, 50));
        let mut call = settled(&sound).unwrap();
        (0..2 * FRAMES).try_for_each(|tick| call.frame(&sound, tick)).unwrap();
        let mut foreign = sound.voiced[0].clone();
        foreign[20] ^= 1;
        assert!(matches!(call.hear(&foreign, 0), Err(BareError::Packet(_))), "it is encrypted");
        assert!(paced(2, TICK * 3).await.unwrap() > 0.0);
    }

    /// The runtime waits for its threads, and so does this test.
    #[tokio::test]
    async fn whoever_asks_no_more_ends_the_measuring() {
        let mut asked = Box::pin(paced(1, Duration::from_secs(24 * 60 * 60)));
        assert!(futures_util::poll!(&mut asked).is_pending());
    }
}
