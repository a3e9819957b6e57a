//! The report as a table that people read, and that a page of the documentation can hold.

use super::wire::{Cost, Report, Run, Spread};

/// The runs side by side, as a table in Markdown.
#[must_use]
pub fn table(report: &Report) -> String {
    let heads = report.runs.iter().map(|run| match run.calls {
        1 => "1 call".to_owned(),
        calls => format!("{calls} calls"),
    });
    let mut lines = match report.about.as_str() {
        "" => Vec::new(),
        about => vec![format!("{about}\n")],
    };
    lines.push(line("", heads));
    lines.push(line("---", report.runs.iter().map(|_| "---".to_owned())));
    for (name, cell) in ROWS {
        lines.push(line(name, report.runs.iter().map(cell)));
    }
    let failures = report.runs.iter().flat_map(|run| &run.failures);
    lines.extend(failures.map(|failure| format!("\nfailed: {failure}")));
    lines.join("\n")
}

type Cell = fn(&Run) -> String;

const ROWS: &[(&str, Cell)] = &[
    ("uplink, ms: p50 / p95 / p99 / p99.9 / worst", |run| times(&run.uplink_ms)),
    ("downlink, ms: p50 / p95 / p99 / p99.9 / worst", |run| times(&run.downlink_ms)),
    ("barge-in to silence, ms: p50 / p95 / p99 / p99.9 / worst", |run| times(&run.barge_in_ms)),
    ("truncation error, ms: p50 / p95 / p99 / p99.9 / worst", |run| {
        times(&run.truncation_error_ms)
    }),
    ("playout gap beyond 20 ms, ms: p50 / p95 / p99 / p99.9 / worst", |run| times(&run.gap_ms)),
    ("worst gap of a call, ms: p50 / worst", |run| {
        some(&run.worst_gap_ms, |it| format!("{:.1} / {:.1}", it.p50, it.max))
    }),
    ("caller's sound at the model, %: median / least", |run| {
        some(&run.coverage_percent, |it| format!("{:.2} / {:.2}", it.p50, it.min))
    }),
    ("growth of the uplink over a call, ms: median / worst", |run| {
        some(&run.drift_ms, |it| format!("{:.1} / {:.1}", it.p50, it.max))
    }),
    ("offer to connected, ms: p50 / p95 / worst", |run| short(&run.connected_ms)),
    ("offer to first sound, ms: p50 / p95 / worst", |run| short(&run.first_audio_ms)),
    ("gateway: CPU, ms per second of call", |run| {
        cost(run.gateway, |it| format!("{:.2}", it.cpu_ms_per_call_second))
    }),
    ("bare parts at that pace: CPU, ms per second of call", |run| {
        number(run.bare_ms_per_call_second)
    }),
    ("gateway / bare parts", |run| number(run.times_bare())),
    ("gateway: CPU, % of a core", |run| cost(run.gateway, |it| format!("{:.1}", it.cpu_percent))),
    ("gateway: memory, MiB: idle / busy / peak", |run| {
        cost(run.gateway, |it| {
            format!("{:.1} / {:.1} / {:.1}", it.idle_mib, it.busy_mib, it.peak_mib)
        })
    }),
    ("gateway: memory, KiB per call", |run| {
        cost(run.gateway, |it| format!("{:.0}", it.kib_per_call))
    }),
    ("gateway: growth, KiB per call that has gone", |run| {
        let slope = |it: Cost| it.slope_kib_per_call.map(|slope| format!("{slope:.2}"));
        run.gateway.and_then(slope).unwrap_or_else(nothing)
    }),
    ("gateway: threads", |run| cost(run.gateway, |it| it.threads.to_string())),
    ("gateway: open files: before / amid / after", |run| {
        cost(run.gateway, |it| format!("{} / {} / {}", it.files[0], it.files[1], it.files[2]))
    }),
    ("generator: packets sent late by, ms: p50 / p95 / p99 / p99.9 / worst", |run| {
        times(&run.caller_late_ms)
    }),
    ("generator: CPU, ms per second of call", |run| {
        cost(run.generator, |it| format!("{:.2}", it.cpu_ms_per_call_second))
    }),
    ("calls: held / refused / failed", |run| {
        format!("{} / {} / {}", run.counts.held, run.counts.refused, run.counts.failed)
    }),
    ("sentences: said / not found at the model", |run| {
        format!("{} / {}", run.counts.sentences, run.counts.unmatched)
    }),
    ("answers: sent / unheard / waited for in vain", |run| {
        let counts = run.counts;
        format!("{} / {} / {}", counts.answers, counts.unheard, counts.missed)
    }),
    ("barge-ins / truncations", |run| {
        format!("{} / {}", run.counts.barge_ins, run.counts.truncations)
    }),
    ("packets of answers: heard / lost", |run| {
        format!("{} / {}", run.counts.packets, run.counts.lost)
    }),
    ("errors told by agents / agents left behind", |run| {
        format!("{} / {}", run.counts.errors, run.counts.left_behind)
    }),
];

fn line(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {name} | {} |", cells.join(" | "))
}

fn times(spread: &Spread) -> String {
    some(spread, |it| {
        format!("{:.1} / {:.1} / {:.1} / {:.1} / {:.1}", it.p50, it.p95, it.p99, it.p999, it.max)
    })
}

fn short(spread: &Spread) -> String {
    some(spread, |it| format!("{:.0} / {:.0} / {:.0}", it.p50, it.p95, it.max))
}

fn some(spread: &Spread, cell: fn(&Spread) -> String) -> String {
    if spread.count == 0 { nothing() } else { cell(spread) }
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(nothing, |it| format!("{it:.2}"))
}

fn cost(cost: Option<Cost>, cell: fn(Cost) -> String) -> String {
    cost.map_or_else(nothing, cell)
}

fn nothing() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stand_side_by_side_and_what_was_not_measured_is_a_dash() {
        let spread =
            Spread { count: 2, min: 0.5, p50: 1.0, p95: 2.0, p99: 3.0, p999: 4.0, max: 5.04 };
        let one = Run { calls: 1, uplink_ms: spread, ..Run::default() };
        let two = Run { calls: 20, failures: vec!["late".to_owned()], ..Run::default() };
        let table = table(&Report { about: String::new(), runs: vec![one, two] });
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "|  | 1 call | 20 calls |");
        assert_eq!(
            lines[2],
            "| uplink, ms: p50 / p95 / p99 / p99.9 / worst | 1.0 / 2.0 / 3.0 / 4.0 / 5.0 | – |"
        );
        assert_eq!(lines.last(), Some(&"failed: late"));
        let rows = lines.iter().filter(|line| line.starts_with('|'));
        assert!(rows.clone().all(|row| row.matches(" |").count() == 3), "{table}");
    }
}
