//! What operators measure: `GET /metrics`, as Prometheus reads it.
//!
//! Nothing is counted here. Each scrape reads what the meter, the agents and the kernel have
//! counted, and writes it down. No series tells whose call it is, or what is said in it.

use std::fmt::{self, Write as _};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use crate::meter::{BOUNDS_US, Counted, Counter, FAMILIES, Meter, Stage, WAIT_BOUNDS_US, Wait};
use crate::runtime::{Figures, Gateway};
use crate::sys::process::Usage;
use crate::sys::tasks;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(scrape))
}

/// What the gateway measures of itself
///
/// The text format of Prometheus, or OpenMetrics if `Accept` asks for it. No key is needed, and
/// nothing in it tells whose calls they are.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "health",
    responses((status = 200, description = "All series.", content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    ))),
)]
async fn scrape(State(api): State<Api>, headers: HeaderMap) -> Response {
    let scrape = Scrape::of(&api.gateway).await;
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants_open = accepted.is_some_and(|kinds| kinds.contains("application/openmetrics-text"));
    let Ok(text) = scrape.open_metrics() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if wants_open {
        ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
    } else {
        ([(header::CONTENT_TYPE, PLAIN)], plain(&text)).into_response()
    }
}

/// All that one scrape tells.
#[derive(Clone, Debug)]
struct Scrape {
    meter: Meter,
    figures: Figures,
    tasks: usize,
    /// The busy share of each thread for calls.
    lanes_busy: Vec<f64>,
    /// Not every system shows it.
    process: Option<Usage>,
}

impl Scrape {
    async fn of(gateway: &Gateway) -> Self {
        let process = match tasks::spawn_blocking(Usage::read).await {
            Ok(Ok(usage)) => Some(usage),
            Ok(Err(error)) => {
                tracing::debug!(%error, "what the process takes cannot be read");
                None
            }
            Err(error) => {
                tracing::error!(%error, "reading what the process takes has failed");
                None
            }
        };
        Self {
            meter: gateway.meter().clone(),
            figures: gateway.figures(),
            tasks: gateway.tasks(),
            lanes_busy: gateway.lanes_busy(),
            process,
        }
    }

    fn open_metrics(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(&mut encoder);
        page.stages(&self.meter)?;
        page.waits(&self.meter)?;
        for family in FAMILIES {
            let value = |counter: Counter| self.meter.times(counter);
            let series: Vec<_> =
                family.counters.iter().map(|(counter, label)| (*label, value(*counter))).collect();
            let name = format!("callbridge_{}", family.name);
            page.counters(&name, family.help, family.label, &series)?;
        }
        page.figures(&self.figures)?;
        let sessions = [Counter::ModelOpened, Counter::ModelClosed];
        let [opened, closed] = sessions.map(|counter| self.meter.times(counter));
        let about = "Sessions with models that are open, or being opened.";
        page.gauge("callbridge_model_sessions", about, opened.saturating_sub(closed))?;
        let recordings =
            [Counter::RecordingBegun, Counter::RecordingFinished, Counter::RecordingLost];
        let [begun, finished, lost] = recordings.map(|counter| self.meter.times(counter));
        let running = begun.saturating_sub(finished + lost);
        page.gauge("callbridge_recordings", "Calls that are being recorded.", running)?;
        page.gauge("callbridge_tasks", "Tasks that are alive.", self.tasks as u64)?;
        page.lanes(&self.lanes_busy)?;
        page.build()?;
        self.process.as_ref().map_or(Ok(()), |usage| page.process(usage))
    }
}

/// Writes families one after another.
struct Page<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Page<'_, '_> {
    fn stages(&mut self, meter: &Meter) -> fmt::Result {
        let about = "How long the stages of a frame's way have taken.";
        let series = Stage::ALL.map(|stage| (stage.name(), meter.read(stage)));
        self.histograms("callbridge_stage", about, ("stage", BOUNDS_US), &series)
    }

    fn waits(&mut self, meter: &Meter) -> fmt::Result {
        let about = "How long callers have waited for an answer, by what for.";
        let series = Wait::ALL.map(|wait| (wait.name(), meter.read_wait(wait)));
        self.histograms("callbridge_turn", about, ("part", WAIT_BOUNDS_US), &series)
    }

    /// Durations, by a label whose values have these bounds in microseconds.
    fn histograms(
        &mut self,
        name: &str,
        about: &str,
        (label, bounds_us): (&str, [u64; BOUNDS_US.len()]),
        series: &[(&'static str, Counted)],
    ) -> fmt::Result {
        let (kind, seconds) = (MetricType::Histogram, Unit::Seconds);
        let mut family = self.0.encode_descriptor(name, about, Some(&seconds), kind)?;
        for (word, counted) in series {
            let bounds = bounds_us.map(in_seconds).into_iter().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counted.buckets).collect();
            let sum = in_seconds(counted.sum_us);
            let label = [(label, *word)];
            let mut one = family.encode_family(&label)?;
            one.encode_histogram::<NoLabelSet>(sum, counted.count(), &buckets, None)?;
        }
        Ok(())
    }

    fn figures(&mut self, figures: &Figures) -> fmt::Result {
        let about = "Agents that live, by state.";
        self.gauges("callbridge_agents", about, "state", &figures.agents)?;
        let about = "Agents that are known, and whose tasks are over: always 0.";
        self.gauge("callbridge_zombies", about, figures.zombies)?;
        let about = "Calls that agents are in, or on their way into or out of, by stage.";
        self.gauges("callbridge_calls", about, "stage", &figures.calls)?;
        let about = "Others that agents have with them in their calls.";
        self.gauge("callbridge_participants", about, figures.participants)?;
        let about = "Clients that are connected.";
        self.gauge("callbridge_clients", about, figures.clients)?;
        let about = "Entries of calls that wait to be written, and places kept for calls' ends.";
        self.gauge("callbridge_archive_queue", about, figures.archive_queue)?;
        let about = "Whether new calls are taken, but for their pace and caps.";
        self.gauge("callbridge_admission_open", about, figures.takes_calls.into())?;
        let about = "Whether the gateway is ready, and not going down.";
        self.gauge("callbridge_ready", about, figures.is_ready.into())
    }

    fn lanes(&mut self, busy: &[f64]) -> fmt::Result {
        let name = "callbridge_lane_busy";
        let about = "Share of the last second in which each thread for calls was at work.";
        let (kind, unit) = (MetricType::Gauge, Unit::Other("ratio".to_owned()));
        let mut family = self.0.encode_descriptor(name, about, Some(&unit), kind)?;
        for (lane, share) in busy.iter().enumerate() {
            family.encode_family(&[("lane", lane)])?.encode_gauge(share)?;
        }
        Ok(())
    }

    /// What every exporter calls so.
    fn process(&mut self, usage: &Usage) -> fmt::Result {
        let Usage { resident_bytes, cpu_seconds, open_files, open_files_max, threads } = *usage;
        let about = "Processor time since the start.";
        let (kind, unit) = (MetricType::Counter, Unit::Seconds);
        let mut cpu = self.0.encode_descriptor("process_cpu", about, Some(&unit), kind)?;
        cpu.encode_counter(&cpu_seconds, NO_EXEMPLAR)?;
        let about = "Memory that is there.";
        let (kind, unit) = (MetricType::Gauge, Unit::Bytes);
        let mut memory =
            self.0.encode_descriptor("process_resident_memory", about, Some(&unit), kind)?;
        memory.encode_gauge(&resident_bytes)?;
        self.gauge("process_open_fds", "File descriptors that are open.", open_files)?;
        self.gauge("process_max_fds", "File descriptors that may be open.", open_files_max)?;
        self.gauge("process_threads", "Threads.", threads)
    }

    fn build(&mut self) -> fmt::Result {
        let about = "Which callbridge this is; always 1.";
        let kind = MetricType::Gauge;
        let mut family = self.0.encode_descriptor("callbridge_build_info", about, None, kind)?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        family.encode_family(&version)?.encode_gauge(&1_u64)
    }

    fn gauge(&mut self, name: &str, about: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, about, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges(
        &mut self,
        name: &str,
        about: &str,
        label: &str,
        series: &[(&'static str, u64)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, about, None, MetricType::Gauge)?;
        for (word, value) in series {
            family.encode_family(&[(label, *word)])?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn counters(
        &mut self,
        name: &str,
        about: &str,
        label: &str,
        series: &[(&'static str, u64)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, about, None, MetricType::Counter)?;
        for (word, value) in series {
            if label.is_empty() {
                family.encode_counter(value, NO_EXEMPLAR)?;
            } else {
                family.encode_family(&[(label, *word)])?.encode_counter(value, NO_EXEMPLAR)?;
            }
        }
        Ok(())
    }
}

/// The same in the older format of Prometheus, in which a counter's whole name has its type, and
/// units have no line.
fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let counter = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter"));
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        let next_is_counter = lines.peek().is_some_and(|next| next.ends_with(" counter"));
        let written = match (counter, help) {
            (Some(name), _) => writeln!(text, "# TYPE {name}_total counter"),
            (_, Some((name, about))) if next_is_counter => {
                writeln!(text, "# HELP {name}_total {about}")
            }
            _ => writeln!(text, "{line}"),
        };
        debug_assert!(written.is_ok(), "writing to a text never fails");
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "285 years of microseconds are exact")]
fn in_seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_formats_are_well_formed_and_say_the_same() {
        let text = scrape().open_metrics().expect("written");
        assert!(text.ends_with("# EOF\n"));
        let open = parse(&text, "_total");
        let plain = parse(&plain(&text), "");
        assert_eq!(open.samples, plain.samples);
        assert_eq!(open.families.len(), plain.families.len());
    }

    #[test]
    fn what_was_counted_is_told() {
        let scrape = scrape();
        scrape.meter.observe(Stage::Uplink, Duration::from_micros(700));
        scrape.meter.observe(Stage::Uplink, Duration::from_secs(9));
        scrape.meter.add(Counter::PacketLost, 3);
        scrape.meter.observe_wait(Wait::Total, Duration::from_millis(750));
        let page = parse(&plain(&scrape.open_metrics().expect("written")), "");
        for (series, value) in [
            (r#"callbridge_stage_seconds_bucket{le="0.0005",stage="uplink"}"#, "0"),
            (r#"callbridge_stage_seconds_bucket{le="0.001",stage="uplink"}"#, "1"),
            (r#"callbridge_stage_seconds_bucket{le="5.0",stage="uplink"}"#, "1"),
            (r#"callbridge_stage_seconds_bucket{le="+Inf",stage="uplink"}"#, "2"),
            (r#"callbridge_stage_seconds_count{stage="uplink"}"#, "2"),
            (r#"callbridge_stage_seconds_sum{stage="uplink"}"#, "9.0007"),
            (r#"callbridge_packets_total{fate="lost"}"#, "3"),
            (r#"callbridge_turn_seconds_bucket{le="0.6",part="total"}"#, "0"),
            (r#"callbridge_turn_seconds_bucket{le="0.8",part="total"}"#, "1"),
            (r#"callbridge_turn_seconds_count{part="model"}"#, "0"),
            ("callbridge_zombies", "0"),
            (r#"callbridge_agents{state="active"}"#, "0"),
            ("callbridge_participants", "3"),
            ("callbridge_admission_open", "1"),
            (r#"callbridge_lane_busy_ratio{lane="1"}"#, "0.5"),
            ("process_cpu_seconds_total", "1.5"),
            ("process_resident_memory_bytes", "4096"),
        ] {
            assert_eq!(page.samples.get(series).map(String::as_str), Some(value), "{series}");
        }
    }

    #[test]
    fn the_manual_names_every_metric_and_no_other() {
        let manual = include_str!("../../docs/operations.md");
        let cells = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let is_metric =
            |name: &&str| name.starts_with("callbridge_") || name.starts_with("process_");
        let named: BTreeSet<_> = cells.filter(is_metric).map(str::to_owned).collect();
        let page = parse(&scrape().open_metrics().expect("written"), "_total");
        let there: BTreeSet<_> = page.families.into_keys().collect();
        assert_eq!(named, there);
    }

    #[test]
    fn labels_come_from_closed_sets_and_are_few() {
        let page = parse(&plain(&scrape().open_metrics().expect("written")), "");
        let mut labels = BTreeSet::new();
        for series in page.samples.keys() {
            let inside = series.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
            labels.extend(inside.split(',').filter_map(|label| Some(label.split_once('=')?.0)));
        }
        let known = [
            "by", "code", "fate", "kind", "lane", "le", "outcome", "part", "queue", "reason",
            "stage", "state", "version",
        ];
        assert_eq!(labels, BTreeSet::from(known));
        assert!(page.samples.len() < 320, "{} series", page.samples.len());
    }

    fn scrape() -> Scrape {
        Scrape {
            meter: Meter::new(),
            figures: Figures { participants: 3, clients: 4, ..Figures::new(true, true) },
            tasks: 5,
            lanes_busy: vec![0.25, 0.5],
            process: Some(Usage {
                resident_bytes: 4096,
                cpu_seconds: 1.5,
                open_files: 6,
                open_files_max: 7,
                threads: 8,
            }),
        }
    }

    struct Parsed {
        /// The type of each, by name.
        families: BTreeMap<String, String>,
        samples: BTreeMap<String, String>,
    }

    /// Reads a page, and fails on whatever a strict reader would not take.
    fn parse(text: &str, counter_suffix: &str) -> Parsed {
        let (mut families, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let (mut helped, mut family, mut kind) = (String::new(), String::new(), String::new());
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, about) = rest.split_once(' ').expect("a help text");
                assert!(about.ends_with('.') && about.len() > 5, "{line}");
                name.clone_into(&mut helped);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, of) = rest.split_once(' ').expect("a type");
                assert_eq!(name, helped, "its help stands before it");
                assert!(["counter", "gauge", "histogram"].contains(&of), "{line}");
                (family, kind) = (name.to_owned(), of.to_owned());
                let known = families.insert(family.clone(), kind.clone());
                assert_eq!(known, None, "{line}: twice");
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').expect("a unit");
                assert!(name == family && name.ends_with(unit), "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
                let name = series.split('{').next().unwrap_or_default();
                let suffixes: &[&str] = match kind.as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "counter" => &[counter_suffix],
                    _ => &[""],
                };
                let own = name.strip_prefix(family.as_str());
                assert!(own.is_some_and(|suffix| suffixes.contains(&suffix)), "{line}: {family}");
                assert!(kind != "counter" || name.ends_with("_total"), "{line}");
                let is_new = samples.insert(series.to_owned(), value.to_owned()).is_none();
                assert!(is_new, "{line}: twice");
            }
        }
        Parsed { families, samples }
    }
}
