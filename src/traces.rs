//! Traces of calls, on their way to a collector: OTLP over HTTP, in protobuf (OpenTelemetry
//! protocol 1.x).
//!
//! Nobody waits for it. Spans go into a bounded queue, one task sends them in batches, and a
//! collector that is not there costs a call nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::sys::tasks::{self, Task};
use crate::sys::{clock, tls};

/// Spans that may wait to be sent.
///
/// When full: the span is lost, and the first loss is logged.
pub const SPANS_CAPACITY: usize = 8_192;

/// The collector cannot be reached by such an address.
#[derive(Debug, Error)]
#[error("no traces can be sent there: {0}")]
pub struct TracesError(String);

/// Something that took its time within a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace: u128,
    /// The span within it; never 0.
    pub id: u64,
    /// The span that it is a part of; `None` for the trace's first.
    pub parent: Option<u64>,
    /// What took its time.
    pub name: &'static str,
    /// When it began, in milliseconds since the Unix epoch.
    pub start_unix_ms: u64,
    /// When it ended, in the same.
    pub end_unix_ms: u64,
    /// What is known of it. No speech, no secret.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it has failed, if it has.
    pub failure: Option<String>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word or an id.
    Text(String),
    /// A number.
    Whole(u64),
    /// Yes or no.
    Bool(bool),
}

/// The way to the collector. Cheap to clone; the task behind it lives as long as a clone.
#[derive(Clone, Debug)]
pub struct Traces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<Item>,
    has_lost: AtomicBool,
    _sending: Option<Task>,
}

/// What waits for the task.
#[derive(Debug)]
pub(crate) enum Item {
    /// To be sent.
    Span(Box<Span>),
    /// Answered when all that came before it has been tried.
    Flush(oneshot::Sender<()>),
}

impl Traces {
    /// Sends to the collector at this address, as in `http://127.0.0.1:4318`; `/v1/traces` follows
    /// it. Headers come from `OTEL_EXPORTER_OTLP_HEADERS`, as the specification of OpenTelemetry's
    /// exporters has it. Must be called within tokio.
    pub fn open(endpoint: &str) -> Result<Self, TracesError> {
        tls::choose_cryptography();
        let client = reqwest::Client::builder().timeout(EXPORT_PATIENCE).build();
        let client = client.map_err(|error| TracesError(error.to_string()))?;
        let exporter = SpanExporter::builder().with_http().with_http_client(client);
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = exporter.with_endpoint(url).with_protocol(Protocol::HttpBinary);
        let exporter = exporter.with_timeout(EXPORT_PATIENCE).build();
        let mut exporter = exporter.map_err(|error| TracesError(error.to_string()))?;
        exporter.set_resource(&resource());
        let (queue, inbox) = mpsc::channel(SPANS_CAPACITY);
        Ok(Self::over(queue, Some(tasks::spawn("traces", send(exporter, inbox)))))
    }

    fn over(queue: mpsc::Sender<Item>, sending: Option<Task>) -> Self {
        Self(Arc::new(Inner { queue, has_lost: AtomicBool::new(false), _sending: sending }))
    }

    /// Hands a span over, and never waits.
    pub fn send(&self, span: Span) {
        let is_lost = self.0.queue.try_send(Item::Span(Box::new(span))).is_err();
        if is_lost && !self.0.has_lost.swap(true, Ordering::Relaxed) {
            tracing::warn!("the collector of traces is too slow: from here on spans may be lost");
        }
    }

    /// Waits until everything handed over so far has been tried; whether it has, after `patience`.
    pub async fn flush(&self, patience: Duration) -> bool {
        let (reply, tried) = oneshot::channel();
        let flushed =
            async { self.0.queue.send(Item::Flush(reply)).await.is_ok() && tried.await.is_ok() };
        tokio::time::timeout(patience, flushed).await.unwrap_or(false)
    }

    /// A way that ends in the hands of a test.
    #[cfg(test)]
    pub(crate) fn to_nowhere(capacity: usize) -> (Self, mpsc::Receiver<Item>) {
        let (queue, inbox) = mpsc::channel(capacity);
        (Self::over(queue, None), inbox)
    }
}

/// The task: sends what waits, in batches, until nobody can hand it anything any more.
async fn send(exporter: SpanExporter, mut inbox: mpsc::Receiver<Item>) {
    let mut is_failing = false;
    while let Some(batch) = gather(&mut inbox).await {
        let (mut spans, mut flushes) = (Vec::with_capacity(batch.len()), Vec::new());
        for item in batch {
            match item {
                Item::Span(span) => spans.push(data(*span)),
                Item::Flush(reply) => flushes.push(reply),
            }
        }
        if !spans.is_empty() {
            let outcome = tokio::time::timeout(EXPORT_PATIENCE, exporter.export(spans)).await;
            let failure = match outcome {
                Ok(outcome) => outcome.err().map(|error| error.to_string()),
                Err(_) => Some("it did not answer in time".to_owned()),
            };
            is_failing = told(is_failing, failure.as_deref());
        }
        for reply in flushes {
            // Whoever has lost patience needs no answer.
            let _ = reply.send(());
        }
    }
}

/// Logs a failure when it begins, and its end; whether there is one.
fn told(was_failing: bool, failure: Option<&str>) -> bool {
    match failure {
        Some(error) if was_failing => tracing::debug!(error, "traces are still not taken"),
        Some(error) => tracing::warn!(error, "traces are not taken, and are lost until they are"),
        None if was_failing => tracing::info!("traces are taken again"),
        None => {}
    }
    failure.is_some()
}

/// What waits, and what comes within a second, unless somebody waits for it or it is much.
async fn gather(inbox: &mut mpsc::Receiver<Item>) -> Option<Vec<Item>> {
    let mut batch = Vec::new();
    if inbox.recv_many(&mut batch, BATCH_MAX).await == 0 {
        return None;
    }
    let due = clock::now() + PERIOD;
    while batch.len() < BATCH_MAX && !batch.iter().any(|item| matches!(item, Item::Flush(_))) {
        let room = BATCH_MAX - batch.len();
        match tokio::time::timeout_at(due.into(), inbox.recv_many(&mut batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Some(batch)
}

fn data(span: Span) -> SpanData {
    let id = |id: u64| SpanId::from_bytes(id.to_be_bytes());
    let trace = TraceId::from_bytes(span.trace.to_be_bytes());
    let state = TraceState::default();
    let attributes = span.attributes.into_iter().map(|(key, value)| match value {
        Value::Text(text) => KeyValue::new(key, text),
        Value::Whole(number) => KeyValue::new(key, i64::try_from(number).unwrap_or(i64::MAX)),
        Value::Bool(is_so) => KeyValue::new(key, is_so),
    });
    SpanData {
        span_context: SpanContext::new(trace, id(span.id), TraceFlags::SAMPLED, false, state),
        parent_span_id: span.parent.map_or(SpanId::INVALID, id),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: at(span.start_unix_ms),
        end_time: at(span.end_unix_ms),
        attributes: attributes.collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME")).build(),
    }
}

fn at(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_ms)
}

/// What all spans have in common; `OTEL_RESOURCE_ATTRIBUTES` may add to it.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder().with_service_name(env!("CARGO_PKG_NAME")).with_attribute(version).build()
}

/// How long the collector may take for a batch.
const EXPORT_PATIENCE: Duration = Duration::from_secs(5);

/// For how long a batch waits to grow.
const PERIOD: Duration = Duration::from_secs(1);

/// Spans in one request.
const BATCH_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_finds_a_full_queue_is_lost_and_nobody_waits() {
        let (traces, mut inbox) = Traces::to_nowhere(1);
        traces.send(span(1));
        traces.send(span(2));
        assert!(matches!(inbox.recv().await, Some(Item::Span(span)) if span.id == 1));
        assert!(inbox.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_collector_that_is_not_there_holds_up_nobody() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = closed.local_addr().expect("an address");
        drop(closed);
        let traces = Traces::open(&format!("http://{at}/")).expect("an address");
        traces.send(span(1));
        assert!(traces.flush(Duration::from_mins(1)).await, "it was tried");
    }

    #[tokio::test]
    async fn what_is_no_address_is_refused() {
        assert!(Traces::open("not an address").is_err());
    }

    #[test]
    fn a_failure_is_told_once_until_it_is_over() {
        assert!(told(false, Some("refused")));
        assert!(told(true, Some("refused")));
        assert!(!told(true, None));
    }

    fn span(id: u64) -> Span {
        Span {
            trace: 1,
            id,
            parent: None,
            name: "call",
            start_unix_ms: 1,
            end_unix_ms: 2,
            attributes: vec![("callbridge.call.id", Value::Text("call_1".into()))],
            failure: None,
        }
    }
}
