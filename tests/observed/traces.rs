//! The trace of a real call, as a collector is sent it: OTLP over HTTP, in protobuf.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use callbridge::api;
use callbridge::sys::tasks::{self, Task};
use callbridge::traces::Traces;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode as SpanStatus};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::call::{Call, WEATHER};
use crate::harness::House;
use crate::model::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_one_trace_with_its_turn_its_tool_and_its_session() {
    let model = Server::start().await;
    let mut collector = Collector::start(StatusCode::OK).await;
    let traces = Traces::open(&collector.url).expect("an address");
    let mut house = House::traced(&model.url(), traces).await;
    let address = house.serve().await;
    Call::answered(&house, address).await.leave().await;
    assert_eq!(house.gateway.drain(Duration::from_secs(5)).await, []);

    let sent = collector.sent();
    let service = sent.iter().flat_map(|request| &request.resource_spans);
    let service = service.flat_map(|of| &of.resource.as_ref().expect("a resource").attributes);
    assert!(service.clone().any(|one| one.key == "service.name" && text(one) == "callbridge"));
    let spans = spans(&sent);
    let call = one(&spans, "call");
    assert_eq!(call.parent_span_id, Vec::<u8>::new());
    assert_eq!(attribute(call, "callbridge.call.reason"), "requested");
    assert!(spans.iter().all(|span| span.trace_id == call.trace_id));
    assert_eq!(one(&spans, "model session").parent_span_id, call.span_id);
    let turn = one(&spans, "turn");
    assert_eq!(turn.parent_span_id, call.span_id);
    for name in ["speech", "end of turn", "model", "answer", "tool"] {
        let part = one(&spans, name);
        assert_eq!(part.parent_span_id, turn.span_id, "{name}");
        assert!(part.start_time_unix_nano >= turn.start_time_unix_nano, "{name}");
        assert!(part.end_time_unix_nano >= part.start_time_unix_nano, "{name}");
    }
    for span in &spans {
        assert!(span.start_time_unix_nano >= call.start_time_unix_nano, "{span:?}");
        assert!(span.end_time_unix_nano <= call.end_time_unix_nano, "{span:?}");
        assert!(attribute(span, "callbridge.agent.id").starts_with("ag_"), "{span:?}");
        assert!(attribute(span, "callbridge.call.id").starts_with("call_"), "{span:?}");
        let code = span.status.as_ref().map_or(SpanStatus::Unset, Status::code);
        assert_eq!(code, SpanStatus::Unset, "{span:?}");
    }
    let tool = one(&spans, "tool");
    assert_eq!(attribute(tool, "callbridge.tool.name"), "weather");
    assert_eq!(attribute(tool, "callbridge.tool_call.outcome"), "completed");
    let all = format!("{sent:?}");
    assert!(!all.contains("Paris") && !all.contains(WEATHER) && !all.contains("ak_"), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_handed_off_stays_one_trace() {
    let model = Server::start().await;
    let mut collector = Collector::start(StatusCode::OK).await;
    let traces = Traces::open(&collector.url).expect("an address");
    let mut house = House::traced(&model.url(), traces).await;
    let address = house.serve().await;
    let first = Call::answered(&house, address).await;
    let giver = first.agent.clone();
    let second = first.handed_off(&house, address).await;
    let heir = second.agent.clone();
    second.leave().await;
    assert_eq!(house.gateway.drain(Duration::from_secs(5)).await, []);

    let sent = collector.sent();
    let spans = spans(&sent);
    let call = one(&spans, "call");
    assert!(spans.iter().all(|span| span.trace_id == call.trace_id));
    let handoff = one(&spans, "handoff");
    assert_eq!(handoff.parent_span_id, call.span_id);
    assert_eq!(attribute(handoff, "callbridge.handoff.to"), heir);
    for (name, by) in [("turn", &giver), ("handoff", &giver), ("call", &heir)] {
        assert_eq!(attribute(one(&spans, name), "callbridge.agent.id"), by, "{name}");
    }
    let sessions: Vec<_> = spans.iter().filter(|span| span.name == "model session").collect();
    let by: Vec<_> = sessions.iter().map(|span| attribute(span, "callbridge.agent.id")).collect();
    assert_eq!(by, [&giver, &heir], "each has its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_everything_is_nothing_to_a_call() {
    let model = Server::start().await;
    let mut collector = Collector::start(StatusCode::SERVICE_UNAVAILABLE).await;
    let traces = Traces::open(&collector.url).expect("an address");
    let mut house = House::traced(&model.url(), traces).await;
    let address = house.serve().await;
    Call::answered(&house, address).await.leave().await;
    assert_eq!(house.gateway.drain(Duration::from_secs(5)).await, []);
    assert!(!collector.sent().is_empty(), "it was tried");
}

/// Takes what it is sent, and answers as it was told.
struct Collector {
    url: String,
    inbox: mpsc::Receiver<ExportTraceServiceRequest>,
    _serving: Task,
}

type Outbox = (StatusCode, mpsc::Sender<ExportTraceServiceRequest>);

impl Collector {
    async fn start(answer: StatusCode) -> Self {
        let (outbox, inbox) = mpsc::channel(64);
        let router = Router::new().route("/v1/traces", post(take)).with_state((answer, outbox));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let served = api::serve(listener, router, std::future::pending());
        let serving = tasks::spawn("collector", async { served.await.expect("it serves") });
        Self { url, inbox, _serving: serving }
    }

    /// Everything so far.
    fn sent(&mut self) -> Vec<ExportTraceServiceRequest> {
        std::iter::from_fn(|| self.inbox.try_recv().ok()).collect()
    }
}

async fn take(
    State((answer, outbox)): State<Outbox>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    outbox.try_send(ExportTraceServiceRequest::decode(body).expect("protobuf")).expect("room");
    answer
}

fn spans(sent: &[ExportTraceServiceRequest]) -> Vec<&Span> {
    let resources = sent.iter().flat_map(|request| &request.resource_spans);
    resources.flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans).collect()
}

fn one<'a>(spans: &[&'a Span], name: &str) -> &'a Span {
    let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    assert_eq!(named.len(), 1, "one {name} in {names:?}");
    named[0]
}

fn attribute<'a>(span: &'a Span, key: &str) -> &'a str {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    text(found.unwrap_or_else(|| panic!("no {key} in {span:?}")))
}

fn text(attribute: &KeyValue) -> &str {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text,
        other => panic!("{}: {other:?}", attribute.key),
    }
}
