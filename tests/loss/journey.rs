//! Packets over a road into an uplink, in simulated time: what came out, and when.

use std::time::{Duration, Instant};

use bytes::Bytes;
use callbridge::load::road::{Road, RoadConfig, RoadStats};
use callbridge::media::{Frame24k, OpusPacket, SpeechConfig, Uplink, UplinkOutput, UplinkStats};
use callbridge::sys::clock;

use crate::sound::packet;

/// A sender, a road and a receiver.
pub(crate) struct Journey<'a> {
    pub(crate) payloads: &'a [Bytes],
    pub(crate) packets: usize,
    pub(crate) road: RoadConfig,
    pub(crate) seed: u64,
    /// How much faster the sender's clock is than ours, in parts per million.
    pub(crate) faster_ppm: i32,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What came out, if it was to be kept.
    pub(crate) frames: Vec<Frame24k>,
    /// How many frames came out.
    pub(crate) given: usize,
    /// How long after it was due each frame of the sender's came out, in order.
    pub(crate) late: Vec<Duration>,
    /// How long each was kept: from its arrival on, or, if it did not arrive, from when it was due.
    pub(crate) kept: Vec<Duration>,
    /// The longest time in which nothing came out.
    pub(crate) longest_stall: Duration,
    /// The furthest that what came out was ahead of, or behind, the sender's RTP time, in samples.
    pub(crate) furthest: i64,
    pub(crate) stats: UplinkStats,
    pub(crate) road: RoadStats,
}

impl Journey<'_> {
    /// Travels to the end.
    pub(crate) fn travel(&self, keep_frames: bool) -> Outcome {
        let began = clock::now();
        let mut travel = Travel {
            journey: self,
            began,
            road: Road::new(self.road.clone(), self.seed, began),
            uplink: Uplink::new(SpeechConfig::default(), began).expect("an uplink"),
            arrived: vec![None; self.packets],
            given: 0,
            came_out: 0,
            last_out: None,
            outcome: Outcome::new(),
            keep_frames,
        };
        for number in 0..self.packets {
            let now = travel.sent(number);
            travel.pass_until(now);
            let packet = packet(self.payloads, number);
            let bytes = packet.payload.len() + OVERHEAD_BYTES;
            travel.road.push(packet, bytes, now);
        }
        let end = travel.sent(self.packets) + Duration::from_millis(30);
        travel.pass_until(end + self.road.delay);
        travel.outcome.given = travel.given;
        travel.outcome.stats = travel.uplink.stats();
        travel.outcome.road = travel.road.stats();
        travel.outcome
    }
}

impl Outcome {
    fn new() -> Self {
        Self {
            frames: Vec::new(),
            given: 0,
            late: Vec::new(),
            kept: Vec::new(),
            longest_stall: Duration::ZERO,
            furthest: 0,
            stats: UplinkStats::default(),
            road: RoadStats::default(),
        }
    }

    /// A line of percentiles for the table.
    pub(crate) fn line(&self) -> String {
        let ms = |times: &[Duration], percent| at(times, percent).as_secs_f64() * 1000.0;
        format!(
            "{:7.1} {:7.1} {:7.1} | {:7.1} {:7.1} {:7.1} | {:6.1}",
            ms(&self.late, 50),
            ms(&self.late, 95),
            ms(&self.late, 99),
            ms(&self.kept, 50),
            ms(&self.kept, 95),
            ms(&self.kept, 99),
            self.longest_stall.as_secs_f64() * 1000.0,
        )
    }
}

/// The value that so many percent of all times do not exceed.
pub(crate) fn at(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() - 1) * percent / 100).copied().expect("there are some")
}

struct Travel<'a> {
    journey: &'a Journey<'a>,
    began: Instant,
    road: Road<OpusPacket>,
    uplink: Uplink,
    arrived: Vec<Option<Instant>>,
    /// Frames that came out.
    given: usize,
    /// Frames of the sender's for which these stand.
    came_out: usize,
    last_out: Option<Instant>,
    outcome: Outcome,
    keep_frames: bool,
}

impl Travel<'_> {
    fn sent(&self, number: usize) -> Instant {
        let micros = u64::try_from(number).expect("small") * 20_000;
        let drift = i64::try_from(micros).expect("small") * i64::from(self.journey.faster_ppm);
        let nanos = i64::try_from(micros * 1000).expect("small") - drift / 1000;
        self.began + Duration::from_nanos(nanos.unsigned_abs())
    }

    /// Lets everything happen that happens up to this instant, each at its own.
    fn pass_until(&mut self, until: Instant) {
        loop {
            let next = [self.road.poll_timeout(), self.uplink.poll_timeout()];
            let Some(now) = next.into_iter().flatten().min().filter(|at| *at <= until) else {
                return;
            };
            while let Some(packet) = self.road.poll(now) {
                let number = usize::from(packet.sequence) | self.came_out & !0xffff;
                // The number that is nearest to what came out last.
                let number = [number.wrapping_sub(0x1_0000), number, number + 0x1_0000]
                    .into_iter()
                    .min_by_key(|number| number.abs_diff(self.came_out))
                    .expect("one of three");
                self.arrived[number].get_or_insert(now);
                self.uplink.push(packet, now);
                self.drain(now);
            }
            if self.uplink.poll_timeout().is_some_and(|at| at <= now) {
                self.uplink.handle_timeout(now);
                self.drain(now);
            }
        }
    }

    fn drain(&mut self, now: Instant) {
        let silent = self.uplink.stats().silence;
        let mut count = 0;
        while let Some(output) = self.uplink.poll() {
            if let UplinkOutput::Frame(frame) = output {
                count += 1;
                if self.keep_frames {
                    self.outcome.frames.push(frame);
                }
            }
        }
        self.total(count, now);
        let stats = self.uplink.stats();
        if stats.silence == silent {
            self.reckon(now, stats.ahead);
        }
    }

    fn total(&mut self, count: usize, now: Instant) {
        if count > 0 {
            let stalled = self.last_out.map_or(Duration::ZERO, |last| now - last);
            self.outcome.longest_stall = self.outcome.longest_stall.max(stalled);
            self.last_out = Some(now);
        }
        self.given += count;
    }

    /// Packets have been decoded: what came out stands for this much of the sender's time.
    fn reckon(&mut self, now: Instant, ahead: i64) {
        self.outcome.furthest =
            if ahead.abs() > self.outcome.furthest.abs() { ahead } else { self.outcome.furthest };
        let given = i64::try_from(self.given).expect("small");
        let stands_for = given - (ahead + 240).div_euclid(480);
        let stands_for = usize::try_from(stands_for).unwrap_or(0).min(self.journey.packets);
        while self.came_out < stands_for {
            let due = self.sent(self.came_out) + self.journey.road.delay;
            let arrived = self.arrived[self.came_out].unwrap_or(due);
            self.outcome.late.push(now.saturating_duration_since(due));
            self.outcome.kept.push(now.saturating_duration_since(arrived));
            self.came_out += 1;
        }
    }
}

/// What a packet is wrapped in: UDP, RTP, SRTP.
const OVERHEAD_BYTES: usize = 50;
