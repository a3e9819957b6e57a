//! The report: its shape, in memory and as JSON.

use serde::Serialize;

/// All runs of a measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// What was measured, on what, in words.
    pub about: String,
    /// One for each number of calls.
    pub runs: Vec<Run>,
}

/// What one run has shown. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// So many calls at once.
    pub calls: u32,
    /// How long figures were taken, in seconds.
    pub seconds: f64,
    /// What has happened how often.
    pub counts: Counts,
    /// From the caller's offer to the connection's being up.
    pub connected_ms: Spread,
    /// From the caller's offer to the first packet of the agent's.
    pub first_audio_ms: Spread,
    /// From the caller's giving a packet to its socket to its 20 ms being at the model.
    pub uplink_ms: Spread,
    /// By how much later than on its tick a caller has sent each packet. Where this is much, the
    /// machine was too busy to measure on.
    pub caller_late_ms: Spread,
    /// From the model's sending the first sound of an answer to its first packet at the caller.
    pub downlink_ms: Spread,
    /// From the first audible packet of whoever speaks over an answer to the answer's last packet.
    pub barge_in_ms: Spread,
    /// By how much the model is wrong about where an answer was cut; without its sign.
    pub truncation_error_ms: Spread,
    /// By how much later than 20 ms after the packet before each packet of an answer came.
    pub gap_ms: Spread,
    /// The worst of these in each call.
    pub worst_gap_ms: Spread,
    /// How much of each call's sound has come to the model.
    pub coverage_percent: Spread,
    /// How much longer the uplink was in the last quarter of a call than in the first; without
    /// its sign.
    pub drift_ms: Spread,
    /// What the gateway costs, if its process can be seen.
    pub gateway: Option<Cost>,
    /// What the callers and the model cost.
    pub generator: Option<Cost>,
    /// What the parts alone cost at the pace of so many calls, SRTP, libopus and a detector, in
    /// milliseconds of CPU for each second of each call: before the run and after it.
    pub bare_ms_per_call_second: Option<f64>,
    /// Reasons why calls have failed, each once.
    pub failures: Vec<String>,
}

/// What has happened how often in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls that were begun.
    pub begun: u32,
    /// Calls that were held to their end.
    pub held: u32,
    /// Calls that were refused by admission.
    pub refused: u32,
    /// Calls that have failed otherwise.
    pub failed: u32,
    /// Sentences said.
    pub sentences: u32,
    /// Sentences that were not found again at the model.
    pub unmatched: u32,
    /// Answers that were sent by the model.
    pub answers: u32,
    /// Answers of which the caller has heard nothing.
    pub unheard: u32,
    /// Times that a caller has waited for an answer in vain.
    pub missed: u32,
    /// Answers that were spoken over while they were heard.
    pub barge_ins: u32,
    /// Answers that the gateway has told the model to cut.
    pub truncations: u32,
    /// Packets of answers that the caller has got.
    pub packets: u64,
    /// Packets of answers that were lost on their way to the caller.
    pub lost: u64,
    /// Errors that agents have told of.
    pub errors: u32,
    /// Agents that were there when all calls were over.
    pub left_behind: u32,
}

/// How figures are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// Of a hundred, 95 are not above.
    pub p95: f64,
    /// Of a hundred, 99 are not above.
    pub p99: f64,
    /// Of a thousand, 999 are not above.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
}

/// What a process costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Milliseconds of CPU for each second of each call.
    pub cpu_ms_per_call_second: f64,
    /// Of one core, in percent.
    pub cpu_percent: f64,
    /// Resident memory before the first call, in MiB.
    pub idle_mib: f64,
    /// Resident memory amid the calls, in MiB.
    pub busy_mib: f64,
    /// The most that it ever was, in MiB.
    pub peak_mib: f64,
    /// How much each call adds, in KiB.
    pub kib_per_call: f64,
    /// By how much memory grows with each call that has come and gone, in KiB; of calls in a row
    /// only.
    pub slope_kib_per_call: Option<f64>,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets before, amid and after the calls.
    pub files: [u64; 3],
}

impl Run {
    /// How many times what the parts alone cost the gateway does.
    #[must_use]
    pub fn times_bare(&self) -> Option<f64> {
        Some(self.gateway?.cpu_ms_per_call_second / self.bare_ms_per_call_second?)
    }
}

impl Report {
    /// The report as JSON, for programs.
    ///
    /// # Panics
    /// Never: a report is made of numbers and text.
    #[must_use]
    #[expect(clippy::expect_used, reason = "every report can be written")]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is numbers and text")
    }

    /// How many calls have failed, refusals apart.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.runs.iter().map(|run| run.counts.failed).sum()
    }
}
