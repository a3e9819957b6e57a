//! One trace a call: what goes on its record becomes spans, with the times that the record has.
//!
//! The ids of a trace and of its first span follow from the call's id, so that whoever knows the
//! call finds its trace. After a handoff the heir goes on with the same trace.

use sha2::{Digest as _, Sha256};

use crate::agent::{RecordEntry, ToolOutcome, ToolRecord, TurnRecord};
use crate::ids::{AgentId, CallId};
use crate::sys::{clock, entropy};
use crate::traces::{Span, Traces, Value};

/// Tool calls that may wait for the turn that they belong to.
///
/// When full: the oldest becomes a part of the call itself.
const TOOLS_CAPACITY: usize = 64;

/// Follows the calls of one agent.
#[derive(Debug)]
pub(super) struct Tracer {
    /// Nobody wants to know, if it is not there.
    traces: Option<Traces>,
    agent: AgentId,
    open: Option<OpenTrace>,
}

/// The trace of a call that goes on. It passes to the heir with the call.
#[derive(Debug)]
pub(super) struct OpenTrace {
    call: CallId,
    trace: u128,
    root: u64,
    begun_unix_ms: u64,
    /// Resolved, and not yet part of a turn.
    tools: Vec<ToolRecord>,
    /// When the session with the model that is open was opened, in milliseconds since the epoch.
    session_unix_ms: Option<u64>,
}

impl Tracer {
    pub(super) const fn new(traces: Option<Traces>, agent: AgentId) -> Self {
        Self { traces, agent, open: None }
    }

    /// Something goes on record.
    pub(super) fn record(&mut self, call: &CallId, entry: &RecordEntry) {
        if self.traces.is_none() {
            return;
        }
        match entry {
            RecordEntry::Began { .. } => {
                self.abandon();
                self.open = Some(OpenTrace::begin(call.clone(), clock::unix_ms()));
            }
            RecordEntry::Turn(turn) => self.on_turn(turn),
            RecordEntry::Tool(tool) => self.on_tool(tool.clone()),
            RecordEntry::HandedOff { to, at_ms, .. } => {
                self.settle();
                let to = ("callbridge.handoff.to", Value::Text(to.to_string()));
                self.emit_part(Part::new("handoff", (*at_ms, *at_ms)).with(vec![to]));
            }
            RecordEntry::Ended { reason, .. } => self.end(reason, None),
            RecordEntry::Participant(_) | RecordEntry::Line(_) => {}
        }
    }

    /// Whether there is a session with a model.
    pub(super) fn set_session(&mut self, is_there: bool) {
        let Some(open) = &mut self.open else { return };
        if is_there {
            open.session_unix_ms.get_or_insert_with(clock::unix_ms);
        } else if let Some(since) = open.session_unix_ms.take() {
            self.emit_session(since);
        }
    }

    /// The trace, for the agent that the call goes on with.
    pub(super) fn pass_on(&mut self) -> Option<OpenTrace> {
        self.open.take()
    }

    /// Goes on with the trace of another agent's call.
    pub(super) fn go_on_with(&mut self, trace: Option<OpenTrace>) {
        if trace.is_some() {
            self.abandon();
            self.open = trace;
        }
    }

    fn on_turn(&mut self, turn: &TurnRecord) {
        let Some(open) = &mut self.open else { return };
        let Some((start_ms, end_ms)) = extent(turn) else { return };
        let (within, others) = std::mem::take(&mut open.tools)
            .into_iter()
            .partition::<Vec<_>, _>(|tool| (start_ms..=end_ms).contains(&tool.asked_ms));
        let root = open.root;
        let id = new_id();
        self.emit(Some(root), id, Part::new("turn", (start_ms, end_ms)).with(told_of_turn(turn)));
        for (name, from, to) in [
            ("speech", turn.speech_start_ms, turn.speech_end_ms),
            ("end of turn", turn.speech_end_ms, turn.turn_end_ms),
            ("model", turn.turn_end_ms, turn.first_audio_ms),
            ("answer", turn.first_audio_ms, turn.last_audio_ms),
        ] {
            if let (Some(from), Some(to)) = (from, to)
                && from <= to
            {
                self.emit(Some(id), new_id(), Part::new(name, (from, to)));
            }
        }
        for tool in &within {
            self.emit_tool(id, tool);
        }
        for tool in &others {
            self.emit_tool(root, tool);
        }
    }

    fn on_tool(&mut self, tool: ToolRecord) {
        let Some(open) = &mut self.open else { return };
        open.tools.push(tool);
        if open.tools.len() > TOOLS_CAPACITY {
            let (root, oldest) = (open.root, open.tools.remove(0));
            self.emit_tool(root, &oldest);
        }
    }

    /// Ends everything within the call.
    fn settle(&mut self) {
        self.set_session(false);
        let Some(open) = &mut self.open else { return };
        let (root, tools) = (open.root, std::mem::take(&mut open.tools));
        for tool in &tools {
            self.emit_tool(root, tool);
        }
    }

    fn end(&mut self, reason: &str, failure: Option<String>) {
        self.settle();
        let Some(open) = self.open.as_ref() else { return };
        let (root, end_ms) = (open.root, clock::unix_ms().saturating_sub(open.begun_unix_ms));
        let reason = ("callbridge.call.reason", Value::Text(reason.to_owned()));
        let part = Part { failure, ..Part::new("call", (0, end_ms)).with(vec![reason]) };
        self.emit(None, root, part);
        self.open = None;
    }

    /// Ends a trace whose end nobody will tell.
    fn abandon(&mut self) {
        self.end(CRASHED, Some(CRASHED.to_owned()));
    }

    fn emit_session(&self, since_unix_ms: u64) {
        let Some(open) = &self.open else { return };
        let call_ms = |unix_ms: u64| unix_ms.saturating_sub(open.begun_unix_ms);
        let extent_ms = (call_ms(since_unix_ms), call_ms(clock::unix_ms()));
        self.emit_part(Part::new("model session", extent_ms));
    }

    fn emit_tool(&self, parent: u64, tool: &ToolRecord) {
        let text = |text: &str| Value::Text(text.to_owned());
        let attributes = vec![
            ("callbridge.tool.name", text(&tool.name)),
            ("callbridge.tool_call.id", text(tool.id.as_str())),
            ("callbridge.tool_call.outcome", text(tool.outcome.as_str())),
        ];
        let failure = match tool.outcome {
            ToolOutcome::Failed | ToolOutcome::Timeout => Some(tool.outcome.as_str().to_owned()),
            ToolOutcome::Completed | ToolOutcome::Interrupted | ToolOutcome::Ended => None,
        };
        let extent_ms = (tool.asked_ms, tool.asked_ms + tool.took_ms);
        let part = Part { failure, ..Part::new("tool", extent_ms).with(attributes) };
        self.emit(Some(parent), new_id(), part);
    }

    /// A span right below the call's.
    fn emit_part(&self, part: Part) {
        let Some(open) = &self.open else { return };
        self.emit(Some(open.root), new_id(), part);
    }

    /// A span of this agent's.
    fn emit(&self, parent: Option<u64>, id: u64, part: Part) {
        let (Some(traces), Some(open)) = (&self.traces, &self.open) else { return };
        let Part { name, extent_ms: (start_ms, end_ms), mut attributes, failure } = part;
        attributes.push(("callbridge.call.id", Value::Text(open.call.to_string())));
        attributes.push(("callbridge.agent.id", Value::Text(self.agent.to_string())));
        traces.send(Span {
            trace: open.trace,
            id,
            parent,
            name,
            start_unix_ms: open.begun_unix_ms + start_ms,
            end_unix_ms: open.begun_unix_ms + end_ms,
            attributes,
            failure,
        });
    }
}

impl Drop for Tracer {
    /// An agent that goes in the middle of a call has crashed.
    fn drop(&mut self) {
        self.abandon();
    }
}

impl OpenTrace {
    fn begin(call: CallId, begun_unix_ms: u64) -> Self {
        let digest: [u8; 32] = Sha256::digest(call.as_str()).into();
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        let (trace, root) = (number(&digest[..16]), number(&digest[16..24]));
        let root = u64::try_from(root).unwrap_or(u64::MAX).max(1);
        Self { call, trace, root, begun_unix_ms, tools: Vec::new(), session_unix_ms: None }
    }
}

/// What a span tells.
struct Part {
    name: &'static str,
    /// Its beginning and its end, in milliseconds of the call.
    extent_ms: (u64, u64),
    attributes: Vec<(&'static str, Value)>,
    failure: Option<String>,
}

impl Part {
    const fn new(name: &'static str, extent_ms: (u64, u64)) -> Self {
        Self { name, extent_ms, attributes: Vec::new(), failure: None }
    }

    fn with(self, attributes: Vec<(&'static str, Value)>) -> Self {
        Self { attributes, ..self }
    }
}

/// From the first to the last that is known of a turn.
fn extent(turn: &TurnRecord) -> Option<(u64, u64)> {
    let known = [
        turn.speech_start_ms,
        turn.speech_end_ms,
        turn.turn_end_ms,
        turn.answer_ms,
        turn.first_audio_ms,
        turn.last_audio_ms,
    ];
    let known = known.into_iter().flatten();
    known.clone().min().zip(known.max())
}

fn told_of_turn(turn: &TurnRecord) -> Vec<(&'static str, Value)> {
    let by = if turn.turn_end_is_ours { "gateway" } else { "model" };
    let latency = turn.latency();
    let participant = turn.participant.as_ref().map(ToString::to_string);
    let known = [
        ("callbridge.participant.id", participant.map(Value::Text)),
        ("callbridge.turn.interrupted", Some(Value::Bool(turn.interrupted))),
        ("callbridge.turn.heard_ms", Some(Value::Whole(turn.heard_ms))),
        ("callbridge.turn.end_by", turn.turn_end_ms.map(|_| Value::Text(by.to_owned()))),
        ("callbridge.turn.wait_ms", latency.map(|latency| Value::Whole(latency.total_ms))),
        (
            "callbridge.turn.end_of_turn_ms",
            latency.and_then(|latency| latency.end_of_turn_ms).map(Value::Whole),
        ),
        ("callbridge.turn.model_ms", latency.and_then(|l| l.model_ms).map(Value::Whole)),
        ("callbridge.turn.uplink_us", turn.uplink_us.map(Value::Whole)),
        ("callbridge.turn.downlink_us", turn.downlink_us.map(Value::Whole)),
    ];
    known.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "any 64 of 128 random bits will do")]
fn new_id() -> u64 {
    (entropy::bits() as u64).max(1)
}

/// Why a trace ended whose agent has panicked.
const CRASHED: &str = "agent crashed";

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::ids::ToolCallId;
    use crate::privacy::Pii;
    use crate::traces::Item;

    #[test]
    fn a_call_is_a_tree_of_its_turns_tools_and_sessions() {
        let mut scene = Scene::new("ag_1");
        scene.tracer.set_session(true);
        scene.tool("t1", 700, ToolOutcome::Completed);
        scene.tool("t2", 9_000, ToolOutcome::Timeout);
        scene.record(&RecordEntry::Turn(turn()));
        scene.record(&RecordEntry::Ended { reason: "requested".into(), at_ms: 9_500 });
        let spans = scene.spans();
        let tree: Vec<_> = spans.iter().map(|span| (parent(&spans, span), span.name)).collect();
        assert_eq!(
            tree,
            [
                ("call", "turn"),
                ("turn", "speech"),
                ("turn", "end of turn"),
                ("turn", "model"),
                ("turn", "answer"),
                ("turn", "tool"),
                ("call", "tool"),
                ("call", "model session"),
                ("", "call"),
            ]
        );
        let start = spans[8].start_unix_ms;
        let extents =
            spans.iter().map(|span| (span.start_unix_ms - start, span.end_unix_ms - start));
        let extents: Vec<_> = extents.take(7).collect();
        let turn = [(100, 3_000), (100, 500), (500, 600), (600, 900), (900, 3_000)];
        assert_eq!(extents[..5], turn);
        assert_eq!(extents[5..], [(700, 720), (9_000, 9_020)]);
        assert_eq!((&spans[5].failure, spans[6].failure.as_deref()), (&None, Some("timeout")));
        assert_eq!(value(&spans[0], "callbridge.turn.wait_ms"), Some(&Value::Whole(400)));
    }

    #[test]
    fn the_same_call_is_the_same_trace_with_the_heir() {
        let mut first = Scene::new("ag_1");
        let to = AgentId::new("ag_2");
        first.record(&RecordEntry::HandedOff { to, reason: "billing".into(), at_ms: 5 });
        let mut heir = Scene::without_call("ag_2");
        heir.tracer.go_on_with(first.tracer.pass_on());
        heir.record(&RecordEntry::Turn(turn()));
        heir.record(&RecordEntry::Ended { reason: "idle".into(), at_ms: 9 });
        let (first, heir) = (first.spans(), heir.spans());
        let names = |spans: &[Span]| spans.iter().map(|span| span.name).collect::<Vec<_>>();
        assert_eq!(names(&first), ["handoff"], "the first agent does not end the call");
        assert_eq!(names(&heir)[5..], ["call"]);
        assert_eq!((first[0].trace, first[0].parent), (heir[0].trace, heir[0].parent));
        let agent = |span: &Span| value(span, "callbridge.agent.id").cloned();
        assert_eq!(agent(&first[0]), Some(Value::Text("ag_1".into())));
        assert_eq!(agent(&heir[0]), Some(Value::Text("ag_2".into())));
    }

    #[test]
    fn an_agent_that_goes_in_a_call_has_crashed_in_it() {
        let Scene { tracer, mut inbox } = Scene::new("ag_1");
        drop(tracer);
        let spans = drained(&mut inbox);
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].failure.as_deref(), Some(CRASHED));
    }

    #[test]
    fn no_span_has_what_a_tool_was_told_or_has_said() {
        let mut scene = Scene::new("ag_1");
        scene.tool("t1", 700, ToolOutcome::Completed);
        scene.record(&RecordEntry::Ended { reason: "requested".into(), at_ms: 9_500 });
        let told = format!("{:?}", scene.spans());
        assert!(told.contains("look_up") && !told.contains("heron"), "{told}");
    }

    #[test]
    fn tools_that_wait_for_a_turn_that_never_comes_are_bounded() {
        let mut scene = Scene::new("ag_1");
        for _ in 0..=TOOLS_CAPACITY {
            scene.tool("t1", 1, ToolOutcome::Completed);
        }
        assert_eq!(scene.tracer.open.as_ref().map(|open| open.tools.len()), Some(TOOLS_CAPACITY));
        let spans = scene.spans();
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].name, "tool");
    }

    struct Scene {
        tracer: Tracer,
        inbox: mpsc::Receiver<Item>,
    }

    impl Scene {
        fn new(agent: &str) -> Self {
            let mut scene = Self::without_call(agent);
            scene.record(&RecordEntry::Began { room_url: "rooms/a".into(), participants: vec![] });
            scene
        }

        fn without_call(agent: &str) -> Self {
            let (traces, inbox) = Traces::to_nowhere(256);
            Self { tracer: Tracer::new(Some(traces), AgentId::new(agent)), inbox }
        }

        fn record(&mut self, entry: &RecordEntry) {
            self.tracer.record(&CallId::new("call_1"), entry);
        }

        fn tool(&mut self, id: &str, asked_ms: u64, outcome: ToolOutcome) {
            self.record(&RecordEntry::Tool(ToolRecord {
                id: ToolCallId::new(id),
                name: "look_up".into(),
                arguments_json: Pii::new(r#"{"word":"heron"}"#.into()),
                outcome,
                output: Pii::new("the heron is a bird".into()),
                asked_ms,
                took_ms: 20,
            }));
        }

        fn spans(&mut self) -> Vec<Span> {
            drained(&mut self.inbox)
        }
    }

    /// All spans so far.
    fn drained(inbox: &mut mpsc::Receiver<Item>) -> Vec<Span> {
        let mut spans = Vec::new();
        while let Ok(Item::Span(span)) = inbox.try_recv() {
            spans.push(*span);
        }
        spans
    }

    fn parent(spans: &[Span], span: &Span) -> &'static str {
        let parent = spans.iter().find(|other| Some(other.id) == span.parent);
        parent.map_or("", |parent| parent.name)
    }

    fn value<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
        span.attributes.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    fn turn() -> TurnRecord {
        TurnRecord {
            speech_start_ms: Some(100),
            speech_end_ms: Some(500),
            turn_end_ms: Some(600),
            answer_ms: Some(650),
            first_audio_ms: Some(900),
            last_audio_ms: Some(3_000),
            ..TurnRecord::default()
        }
    }
}
