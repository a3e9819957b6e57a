//! Sound, both ways: order, codecs, detection, the ear, the mix and the playout.

use std::time::{Duration, Instant};

use callbridge::ids::{ParticipantId, UtteranceId};
use callbridge::media::{
    Converter, Detector, Downlink, DownlinkOutput, Duplex, Ear, Frame24k, Hearing, Mix, OpusPacket,
    Senses, SpeechConfig, Suppression, Uplink, UplinkOutput,
};

use super::{FRAME, blocks};

const WARM_UP_FRAMES: usize = 200;
const FRAMES: usize = 500;

/// How many blocks were allocated for frames while warm.
pub(super) fn allocated(start: Instant) -> u64 {
    let speech = speech();
    let mut call = Call::new(start);
    let mut now = start;
    let mut warm = 0;
    for n in 0..WARM_UP_FRAMES + FRAMES {
        if n == WARM_UP_FRAMES {
            warm = blocks();
            call.frames_heard = 0;
        }
        now += FRAME;
        call.speak(n, &speech[n % speech.len()], now);
        call.leave_and_return(n, now);
    }
    let allocated = blocks() - warm;
    assert!(call.frames_heard >= FRAMES - 2, "only {} frames were heard", call.frames_heard);
    assert!(call.edges > 2, "only {} edges were found", call.edges);
    assert!(call.uplink.stats().lost > 20, "only {} packets were lost", call.uplink.stats().lost);
    assert!(call.echoes > FRAMES / 4, "only {} frames were our own", call.echoes);
    allocated
}

/// An agent that speaks into its own ear over a road that loses and swaps packets.
struct Call {
    downlink: Downlink,
    uplink: Uplink,
    /// Another ear of ours, which knows our own voice.
    guarded: Uplink,
    echoes: usize,
    /// An ear that suppresses noise, controls the gain, and hears by a network.
    senses: Senses,
    ear: Ear,
    us: ParticipantId,
    other: ParticipantId,
    utterances: Vec<UtteranceId>,
    on_the_road: Option<OpusPacket>,
    frames_heard: usize,
    edges: usize,
}

impl Call {
    fn new(now: Instant) -> Self {
        let us = ParticipantId::new("p_1");
        let utterance = |n| UtteranceId::new(format!("utt_{n}"));
        Self {
            downlink: Downlink::new(us.clone(), now).expect("libopus gives an encoder"),
            uplink: Uplink::new(SpeechConfig::default(), now).expect("libopus gives a decoder"),
            guarded: guarded(now),
            echoes: 0,
            senses: Senses::new(Hearing {
                detector: Detector::Earshot,
                noise_suppression: Some(Suppression::High),
                gain_control: true,
            }),
            ear: Ear::new(),
            us,
            other: ParticipantId::new("p_2"),
            utterances: (0..20).map(utterance).collect(),
            on_the_road: None,
            frames_heard: 0,
            edges: 0,
        }
    }

    /// One frame through the downlink; utterances change every second.
    fn speak(&mut self, n: usize, frame: &Frame24k, now: Instant) {
        let utterance = &self.utterances[n / 50 % self.utterances.len()];
        self.downlink.push(utterance, &frame[..]).expect("little speech waits");
        if n % 50 == 49 {
            self.downlink.finish(utterance);
        }
        while let Some(output) = self.downlink.poll(now) {
            if let DownlinkOutput::Packet(packet) = output {
                self.carry(n, packet, now);
            }
        }
    }

    /// Every 13th packet is lost, every 7th is overtaken by the one behind it.
    fn carry(&mut self, n: usize, packet: OpusPacket, now: Instant) {
        if n % 13 == 12 {
            return;
        }
        if n % 7 == 6 && self.on_the_road.is_none() {
            self.on_the_road = Some(packet);
            return;
        }
        self.guarded.push(packet.clone(), now);
        self.uplink.push(packet, now);
        if let Some(overtaken) = self.on_the_road.take() {
            self.uplink.push(overtaken, now);
        }
    }

    /// What was said comes out of the uplink, and is mixed.
    fn leave_and_return(&mut self, n: usize, now: Instant) {
        if self.uplink.poll_timeout().is_some_and(|due| due <= now) {
            self.uplink.handle_timeout(now);
        }
        if self.guarded.poll_timeout().is_some_and(|due| due <= now) {
            self.guarded.handle_timeout(now);
        }
        while let Some(output) = self.guarded.poll_beside(Some(self.downlink.own_voice())) {
            self.echoes += usize::from(output == UplinkOutput::Frame(Frame24k::SILENCE));
        }
        while let Some(output) = self.uplink.poll() {
            match output {
                UplinkOutput::Edge(_) => self.edges += 1,
                UplinkOutput::Frame(mut frame) => {
                    self.senses.hear(&mut frame);
                    self.ear.push(&self.us, &frame);
                    self.ear.push(&self.other, &frame);
                    while let Some(heard) = self.ear.poll() {
                        let mut mix = Mix::new();
                        mix.add(&heard);
                        assert_eq!(mix.without(&heard), Frame24k::SILENCE, "frame {n}");
                        self.frames_heard += 1;
                    }
                }
            }
        }
    }
}

fn guarded(now: Instant) -> Uplink {
    let mut uplink = Uplink::new(SpeechConfig::default(), now).expect("libopus gives a decoder");
    uplink.set_manner(Duration::from_millis(160), Duplex::Guarded);
    uplink
}

fn speech() -> Vec<Frame24k> {
    let path = "fixtures/audio/what-time-is-it-16000hz-16bit-mono.wav";
    let mut wav = hound::WavReader::open(path).expect("the fixture is there");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    let mut resampled = Vec::new();
    let mut converter = Converter::new(wav.spec().sample_rate, 24_000).expect("a usual rate");
    converter.convert(&samples, &mut resampled);
    converter.flush(&mut resampled);
    resampled.resize(resampled.len() + 24_000, 0);
    let (frames, _) = resampled.as_chunks::<480>();
    frames.iter().copied().map(Frame24k::new).collect()
}
