//! How long the stages of a frame's way take, and how often what happens: counted where it is seen.
//!
//! A meter is a value that is handed down like any other, and cheap to clone. To observe is to add
//! to a few atomic numbers: no lock, no allocation, so it may be done for every frame.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A part of a frame's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From a packet's coming off the network to the agent's task taking it.
    UplinkQueue,
    /// Order, decoding, detection: what the agent's task does for one packet.
    UplinkWork,
    /// From the agent's task to the last byte given to the model's socket.
    UplinkSocket,
    /// The whole way of a frame: packet in, model's socket written.
    Uplink,
    /// From the model's event off its socket to the agent's task taking it.
    DownlinkQueue,
    /// From the first sound of an utterance off the model's socket to its first packet's leaving
    /// the agent's task.
    DownlinkFirst,
    /// How late a frame that was due has left the pacer.
    PacerLate,
    /// From the agent's task to the packet's being given to the network.
    DownlinkSend,
}

impl Stage {
    /// All of them, in the order of the way.
    pub const ALL: [Self; 8] = [
        Self::UplinkQueue,
        Self::UplinkWork,
        Self::UplinkSocket,
        Self::Uplink,
        Self::DownlinkQueue,
        Self::DownlinkFirst,
        Self::PacerLate,
        Self::DownlinkSend,
    ];

    /// The name by which operators know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UplinkQueue => "uplink_queue",
            Self::UplinkWork => "uplink_work",
            Self::UplinkSocket => "uplink_socket",
            Self::Uplink => "uplink",
            Self::DownlinkQueue => "downlink_queue",
            Self::DownlinkFirst => "downlink_first",
            Self::PacerLate => "pacer_late",
            Self::DownlinkSend => "downlink_send",
        }
    }
}

/// A part of what a caller waits for after having spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// From the end of speech to the first sound of the answer: all of it.
    Total,
    /// Until the turn was taken as over.
    EndOfTurn,
    /// From then on until the model's first sound was here.
    Model,
}

impl Wait {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Total, Self::EndOfTurn, Self::Model];

    /// The name by which operators know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::EndOfTurn => "end_of_turn",
            Self::Model => "model",
        }
    }
}

/// A family of counters: what they count, and what tells them apart.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name by which operators know it, without prefix and suffix.
    pub name: &'static str,
    /// What it counts, in one sentence.
    pub help: &'static str,
    /// What tells its counters apart; empty if there is but one.
    pub label: &'static str,
    /// Its counters, each with its value of the label.
    pub counters: &'static [(Counter, &'static str)],
}

macro_rules! counters {
    ($(#[doc = $help:literal] $name:ident by $label:literal
       { $($counter:ident $value:literal)+ })+) => {
        /// Something that happens and is counted. Its family says what it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is described by its family")]
        pub enum Counter {
            $($($counter,)+)+
        }

        /// All families, in the order in which operators see them.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: stringify!($name),
            help: $help.trim_ascii_start(),
            label: $label,
            counters: &[$((Counter::$counter, $value)),+],
        }),+];

        const COUNTERS: usize = [$($(Counter::$counter),+),+].len();
    };
}

counters! {
    /// Calls that agents have left, by why.
    calls_ended by "reason" {
        CallRequested "requested" CallIdle "idle" CallAlone "alone"
        CallAbandoned "abandoned"
        CallRoom "room" CallModel "model" CallHandedOff "handed_off" CallExpired "expired"
        CallDeleted "deleted" CallInactive "inactive" CallShutdown "shutdown"
        CallCrashed "crashed"
    }
    /// Steps of agents from one state into another, by the one that they came into.
    agent_transitions by "state" {
        ToCreated "created" ToConnected "connected" ToActive "active"
        ToHandingOff "handing_off" ToEnded "ended"
    }
    /// Agents that are over, by why.
    agents_ended by "reason" {
        AgentExpired "expired" AgentDeleted "deleted" AgentInactive "inactive"
        AgentHandedOff "handed_off" AgentCrashed "crashed"
    }
    /// Joins of agents that came to nothing, by the code that their clients were told.
    joins_failed by "code" {
        JoinUnsupported "UNSUPPORTED_ROOM" JoinNotFound "ROOM_NOT_FOUND"
        JoinUnauthorized "ROOM_UNAUTHORIZED" JoinUnreachable "ROOM_UNREACHABLE"
        JoinFull "ROOM_FULL" JoinMedia "MEDIA_FAILED" JoinClosed "ROOM_CLOSED"
    }
    /// New work that was refused, by why.
    admission_refused by "reason" {
        RefusedPressure "pressure" RefusedPace "pace" RefusedCalls "calls_max"
        RefusedAgents "agents_max"
    }
    /// Answers of agents that callers have heard, by how they ended.
    answers by "outcome" { AnswerFinished "finished" AnswerInterrupted "interrupted" }
    /// Times that somebody began to speak in a call, by our own ear.
    speech_starts by "" { SpeechStarted "" }
    /// Calls of tools within calls, by how they ended.
    tool_calls by "outcome" {
        ToolCompleted "completed" ToolFailed "failed" ToolTimeout "timeout"
        ToolInterrupted "interrupted" ToolEnded "ended"
    }
    /// Errors of models that clients were told, by code.
    model_errors by "code" {
        ModelUnavailable "MODEL_UNAVAILABLE" ModelFatal "TRANSCRIBER_FATAL"
        ModelResponseFailed "MODEL_RESPONSE_FAILED" ModelReconnecting "MODEL_RECONNECTING"
        ModelComplaint "MODEL_COMPLAINT"
    }
    /// Sessions with models that were asked for.
    model_sessions_opened by "" { ModelOpened "" }
    /// Sessions with models that are over.
    model_sessions_closed by "" { ModelClosed "" }
    /// Packets from callers that did not come as they should, by what became of them.
    packets by "fate" {
        PacketLost "lost" PacketRecovered "recovered" PacketLate "late"
        PacketDuplicate "duplicate" PacketMalformed "malformed"
    }
    /// Packets from callers that were dropped because a queue was full, by whose.
    packets_dropped by "queue" { DroppedRoom "room" DroppedAgent "agent" }
    /// Connections that came to carry a call's media over TCP, by what became of them at first.
    media_tcp_connections by "fate" {
        StreamJoined "joined" StreamRefused "refused" StreamSilent "silent"
        StreamCrowded "crowded"
    }
    /// Connections with a call's media over TCP that are closed, by why.
    media_tcp_connections_closed by "reason" {
        StreamLeft "left" StreamClosed "peer" StreamMalformed "malformed"
        StreamIdle "idle" StreamStalled "stalled"
    }
    /// Packets to callers over TCP that were dropped because their connection did not take them.
    media_tcp_packets_dropped by "" { StreamPacketDropped "" }
    /// Samples at 24 kHz that were made up for packets that were lost.
    samples_concealed by "" { SampleConcealed "" }
    /// Frames of 20 ms of silence that stood in for late packets, or were left out again for them.
    silence_frames by "fate" { SilenceGiven "given" SilenceRepaid "repaid" }
    /// Frames of 20 ms that went nowhere because a queue was full, by who did not take them.
    frames_refused by "by" { FrameModel "model" FrameRoom "room" }
    /// Packets of agents' sound that left, by what is in them.
    packets_sent by "kind" { SentSpeech "speech" SentClosing "closing" }
    /// Times that an answer ran dry before its end, since the model was slower than speech.
    underruns by "" { Underrun "" }
    /// Frames of 20 ms by which agents' clocks were moved on, since they were served too late.
    frames_skipped by "" { FrameSkipped "" }
    /// Samples at 24 kHz that came when their answer had been broken off.
    samples_unheard by "" { SampleUnheard "" }
    /// Clients that were disconnected because they did not take what they were told.
    clients_dropped by "" { ClientDropped "" }
    /// Attempts to deliver webhooks, and deliveries that are lost, by what became of them.
    webhook_deliveries by "outcome" {
        HookDelivered "delivered" HookRetried "retried" HookGivenUp "given_up"
        HookDropped "dropped"
    }
    /// Recordings of calls that were begun.
    recordings_begun by "" { RecordingBegun "" }
    /// Recordings of calls that are over, by how; those that were not begun as well.
    recordings_ended by "outcome" {
        RecordingFinished "finished" RecordingLost "lost" RecordingFailed "failed"
    }
    /// Frames of 20 ms that recordings have silence in place of, by why.
    recording_frames_dropped by "reason" { RecordingFrameQueue "queue" RecordingFrameLate "late" }
    /// Bytes of sound that recordings have written.
    recording_bytes by "" { RecordingBytes "" }
    /// Attempts to bring recordings to the object storage, by what became of them.
    recording_uploads by "outcome" { RecordingUploaded "uploaded" RecordingUploadFailed "failed" }
}

/// Counts durations by stage, and what happens. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    numbers: Arc<Numbers>,
    latest: Arc<Latest>,
}

impl Meter {
    /// A meter that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same meter, for somebody who wants to know what was observed last by it and by its own
    /// clones.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { numbers: Arc::clone(&self.numbers), latest: Arc::default() }
    }

    /// Something has taken so long.
    pub fn observe(&self, stage: Stage, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.numbers.stages[stage as usize].add(us, &BOUNDS_US);
        self.latest.0[stage as usize].store(us, Ordering::Relaxed);
    }

    /// A caller has waited for so long.
    pub fn observe_wait(&self, wait: Wait, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.numbers.waits[wait as usize].add(us, &WAIT_BOUNDS_US);
    }

    /// How long it has taken last, in microseconds; 0 if it was never observed.
    #[must_use]
    pub fn latest_us(&self, stage: Stage) -> u64 {
        self.latest.0[stage as usize].load(Ordering::Relaxed)
    }

    /// It has happened once more.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// It has happened so many times more.
    pub fn add(&self, counter: Counter, times: u64) {
        self.numbers.counters[counter as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// How often it has happened so far.
    #[must_use]
    pub fn times(&self, counter: Counter) -> u64 {
        self.numbers.counters[counter as usize].load(Ordering::Relaxed)
    }

    /// What was counted of a stage so far.
    #[must_use]
    pub fn read(&self, stage: Stage) -> Counted {
        self.numbers.stages[stage as usize].read()
    }

    /// What was counted of callers' waiting so far, by [`WAIT_BOUNDS_US`].
    #[must_use]
    pub fn read_wait(&self, wait: Wait) -> Counted {
        self.numbers.waits[wait as usize].read()
    }
}

/// Counts of one stage, or of one part of callers' waiting, read at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many there were up to each bound ([`BOUNDS_US`] for a stage) and above the one before;
    /// the last number counts those above all bounds.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// Their sum, in microseconds.
    pub sum_us: u64,
}

impl Counted {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How many there were of a stage above the largest of [`BOUNDS_US`] that is not above `limit`.
    #[must_use]
    pub fn above(&self, limit: Duration) -> u64 {
        let bounds = BOUNDS_US.iter().filter(|bound| u128::from(**bound) <= limit.as_micros());
        self.buckets.iter().skip(bounds.count()).sum()
    }
}

/// Upper bounds of the buckets, in microseconds, inclusive.
pub const BOUNDS_US: [u64; 15] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000, 100_000, 250_000,
    1_000_000, 5_000_000,
];

/// Upper bounds of the buckets of callers' waiting, in microseconds, inclusive. They are close
/// where people tell a quick answer from a slow one.
pub const WAIT_BOUNDS_US: [u64; BOUNDS_US.len()] = [
    100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 800_000, 1_000_000, 1_250_000, 1_500_000,
    2_000_000, 3_000_000, 5_000_000, 10_000_000, 20_000_000,
];

#[derive(Debug)]
struct Numbers {
    stages: [Histogram; Stage::ALL.len()],
    waits: [Histogram; Wait::ALL.len()],
    counters: [AtomicU64; COUNTERS],
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            stages: array::from_fn(|_| Histogram::default()),
            waits: array::from_fn(|_| Histogram::default()),
            counters: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

#[derive(Debug, Default)]
struct Latest([AtomicU64; Stage::ALL.len()]);

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    fn add(&self, us: u64, bounds: &[u64; BOUNDS_US.len()]) {
        let place = bounds.partition_point(|bound| *bound < us);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn read(&self) -> Counted {
        Counted {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let meter = Meter::new();
        for us in [0, 50, 51, 2_000, 6_000_000] {
            meter.observe(Stage::Uplink, Duration::from_micros(us));
        }
        let counted = meter.clone().read(Stage::Uplink);
        assert_eq!((counted.count(), counted.sum_us), (5, 6_002_101));
        assert_eq!((counted.buckets[0], counted.buckets[1], counted.buckets[5]), (2, 1, 1));
        assert_eq!(counted.buckets[BOUNDS_US.len()], 1);
        assert_eq!(meter.read(Stage::PacerLate).count(), 0);
    }

    #[test]
    fn those_above_a_limit_are_counted_from_the_bound_that_is_next_to_it_below() {
        let meter = Meter::new();
        for ms in [1, 10, 11, 15, 21] {
            meter.observe(Stage::PacerLate, Duration::from_millis(ms));
        }
        let above = |ms| meter.read(Stage::PacerLate).above(Duration::from_millis(ms));
        assert_eq!((above(0), above(10), above(19), above(20)), (5, 3, 3, 1));
    }

    #[test]
    fn waiting_counts_by_bounds_of_its_own_and_in_no_stage() {
        let meter = Meter::new();
        meter.observe_wait(Wait::Model, Duration::from_millis(250));
        meter.observe_wait(Wait::Model, Duration::from_secs(30));
        let counted = meter.read_wait(Wait::Model);
        assert_eq!((counted.buckets[2], counted.buckets[WAIT_BOUNDS_US.len()]), (1, 1));
        assert_eq!(meter.read_wait(Wait::Total).count(), 0);
        assert!(Stage::ALL.iter().all(|stage| meter.read(*stage).count() == 0));
    }

    #[test]
    fn every_counter_has_a_place_and_a_series_of_its_own() {
        let series = FAMILIES.iter().flat_map(|family| family.counters);
        assert!(series.clone().enumerate().all(|(place, (counter, _))| *counter as usize == place));
        assert_eq!(series.count(), COUNTERS);
        let names = FAMILIES.iter().map(|family| family.name);
        assert_eq!(names.collect::<std::collections::BTreeSet<_>>().len(), FAMILIES.len());
        for family in FAMILIES {
            let values: std::collections::BTreeSet<_> =
                family.counters.iter().map(|(_, value)| value).collect();
            assert_eq!(values.len(), family.counters.len(), "{}", family.name);
            let is_told_apart = family.counters.iter().all(|(_, value)| !value.is_empty());
            assert_eq!(is_told_apart, !family.label.is_empty(), "{}", family.name);
        }
    }

    #[test]
    fn what_is_observed_apart_counts_for_all_and_is_the_latest_of_its_own() {
        let meter = Meter::new();
        let own = meter.apart();
        meter.observe(Stage::Uplink, Duration::from_micros(7));
        own.clone().observe(Stage::Uplink, Duration::from_micros(5));
        assert_eq!((meter.latest_us(Stage::Uplink), own.latest_us(Stage::Uplink)), (7, 5));
        assert_eq!(meter.read(Stage::Uplink).count(), 2);
    }

    #[test]
    fn what_happens_is_counted_by_all_clones() {
        let meter = Meter::new();
        meter.count(Counter::ClientDropped);
        meter.clone().add(Counter::ClientDropped, 2);
        assert_eq!(meter.times(Counter::ClientDropped), 3);
        assert_eq!(meter.times(Counter::FrameRoom), 0);
    }

    #[test]
    fn every_stage_has_a_place_and_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Stage::ALL.map(Stage::name).into();
        assert_eq!(names.len(), Stage::ALL.len());
        assert!(Stage::ALL.iter().enumerate().all(|(place, stage)| *stage as usize == place));
    }
}
