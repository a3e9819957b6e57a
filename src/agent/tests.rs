//! Timelines of whole agents: what clients see and what the shell must do, in order.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not singled out is printed as it is")]

mod barge_in;
mod handoff;
mod presence;
mod records;
mod rounds;
mod turns;
mod waiting;

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::ids::{CallId, ClientId, ParticipantId, ResponseId, ToolCallId, UtteranceId};
use crate::sys::clock;

#[test]
fn a_question_is_heard_answered_and_spoken() {
    let mut scene = Scene::in_call();
    scene.at(500).speech(EdgeKind::Started);
    scene.at(520).model(ModelEvent::SpeechStarted { utterance: utterance("u1"), interrupts: true });
    scene.at(2000).speech(EdgeKind::Stopped);
    scene.at(2200).model(ModelEvent::SpeechStopped { utterance: utterance("u1") });
    scene.at(2210).model(ModelEvent::ResponseStarted { response: ResponseId::new("r1") });
    scene.at(2300).model(transcript("u1", "what time is it"));
    scene.at(2400).model(words("s1", "It is noon."));
    scene.at(2410).playback(PlaybackEvent::Started { utterance: utterance("s1") });
    scene.at(2420).model(done("r1"));
    scene.at(3400).playback(PlaybackEvent::Finished { utterance: utterance("s1"), heard_ms: 990 });
    insta::assert_snapshot!(scene.told(), @r#"
     500 VadStart { participant: p_1, at_ms: 500 }
    2000 VadEnd { participant: p_1, at_ms: 2000 }
    2200 Status(Thinking)
    2300 transcript p_1 "what time is it" final=true
    2400 speak s1 "It is noon."
    2410 speak-status s1 Started 0 ms ""
    2410 Status(Acting)
    3400 speak-status s1 Finished 990 ms "It is noon."
    3400 Status(Idle)
    "#);
}

#[test]
fn a_barge_in_takes_back_what_was_not_heard() {
    let mut scene = Scene::speaking("one two three four");
    scene.unheard.push(cut("s1", 500, 1000));
    scene.at(5000).speech(EdgeKind::Started);
    scene.at(5160).speech(EdgeKind::Sustained);
    scene.at(5170).model(words("s1", "one two three four five"));
    insta::assert_snapshot!(scene.told(), @r#"
    5000 VadStart { participant: p_1, at_ms: 5000 }
    5000 > Playback(Hold)
    5160 > Playback(Flush)
    5160 > Model(Cancel)
    5160 Status(Idle)
    5160 > Model(Truncate { utterance: s1, end_ms: 500 })
    5160 speak-status s1 Interrupted 500 ms "one two"
    "#);
}

#[test]
fn time_to_live_in_a_call_ends_in_four_steps() {
    let mut scene = Scene::new(Some(60));
    scene.connect();
    scene.join();
    scene.take();
    scene.at(60_000).timeout();
    insta::assert_snapshot!(scene.told(), @r#"
    60000 > Playback(Flush)
    60000 > Model(Close)
    60000 > Room(Leave)
    60000 VoiceStatus { status: Left, reason: Some("expired") }
    60000 RoomLeft { call: call_1, room_url: "rooms/a", reason: "expired" }
    60000 State { from: Active, to: Ended, reason: "expired" }
    60000 error AGENT_EXPIRED
    60000 > CloseClients
    60000 > Forget(Expired)
    "#);
    assert_eq!(scene.agent.poll_timeout(), None, "nothing is waited for after the end");
}

#[test]
fn a_join_that_nobody_answers_fails_at_its_deadline() {
    let mut scene = Scene::new(None);
    scene.connect();
    scene.take();
    scene.command(join());
    scene.at(20_000).timeout();
    insta::assert_snapshot!(scene.told(), @r#"
        0 VoiceStatus { status: Joining, reason: None }
        0 > listen
        0 > join rooms/a
        0 State { from: Connected, to: Active, reason: "a call has begun" }
    20000 > Room(Leave)
    20000 error ROOM_UNREACHABLE
    20000 VoiceStatus { status: Error, reason: Some("ROOM_UNREACHABLE") }
    20000 State { from: Active, to: Connected, reason: "nothing is going on" }
    "#);
}

#[test]
fn an_agent_that_everybody_has_left_leaves_its_call() {
    let mut scene = Scene::in_call();
    scene.at(1000).event(Event::ClientDisconnected(ClientId::new("cl_1")));
    scene.at(16_000).timeout();
    scene.at(16_010).event(Event::Room(RoomEvent::Left));
    insta::assert_snapshot!(scene.told(), @r#"
    16000 > Playback(Flush)
    16000 > Model(Close)
    16000 > Room(Leave)
    16010 VoiceStatus { status: Left, reason: Some("abandoned") }
    16010 RoomLeft { call: call_1, room_url: "rooms/a", reason: "abandoned" }
    16010 State { from: Active, to: Connected, reason: "nothing is going on" }
    16010 State { from: Connected, to: Created, reason: "no client came back" }
    "#);
}

#[test]
fn a_client_that_comes_back_in_time_finds_its_call() {
    let mut scene = Scene::in_call();
    scene.at(1000).event(Event::ClientDisconnected(ClientId::new("cl_1")));
    scene.at(15_000).event(Event::ClientConnected(ClientId::new("cl_2")));
    scene.at(16_000).timeout();
    assert_eq!(scene.told(), "");
    assert_eq!(scene.agent.phase(), Phase::Active);
}

#[test]
fn a_model_that_is_lost_ends_the_call_and_not_the_agent() {
    let mut scene = Scene::in_call();
    scene.at(900).model(ModelEvent::Failed(ModelFailure::Lost("1006".into())));
    scene.at(910).event(Event::Room(RoomEvent::Left));
    insta::assert_snapshot!(scene.told(), @r#"
    900 transcriber-fatal TRANSCRIBER_FATAL
    900 > Playback(Flush)
    900 > Model(Close)
    900 > Room(Leave)
    910 VoiceStatus { status: Left, reason: Some("TRANSCRIBER_FATAL") }
    910 RoomLeft { call: call_1, room_url: "rooms/a", reason: "TRANSCRIBER_FATAL" }
    910 State { from: Active, to: Connected, reason: "nothing is going on" }
    "#);
}

#[test]
fn a_tool_is_called_answered_and_spoken_of() {
    let mut scene = Scene::in_call();
    let (id, name) = (ToolCallId::new("tc_1"), "weather".to_owned());
    scene.at(100).model(ModelEvent::ResponseStarted { response: ResponseId::new("r1") });
    let call = ModelEvent::ToolCall {
        response: ResponseId::new("r1"),
        id: id.clone(),
        name,
        arguments_json: "{}".into(),
    };
    scene.at(110).model(call);
    scene.at(120).model(done("r1"));
    let outcome = Ok(Pii::new("\"sunny\"".to_owned()));
    scene.at(200).command(Command::ToolResult(ToolResult {
        id,
        outcome,
        canceled: false,
        respond: true,
    }));
    insta::assert_snapshot!(scene.told(), @r"
    100 Status(Thinking)
    110 tool-call tc_1 weather 30 s
    110 Status(Acting)
    200 > Model(ToolOutput { id: tc_1, output: (7 characters) })
    200 > Model(Respond { instructions: None })
    200 Status(Thinking)
    ");
}

#[test]
fn commands_that_make_no_sense_are_refused_and_change_nothing() {
    let mut scene = Scene::in_call();
    let before = scene.agent.snapshot();
    let again = scene.agent.handle_command(join(), scene.now);
    assert_eq!(again.map_err(|refusal| refusal.code()), Err("ALREADY_IN_CALL"));
    let late = ToolResult {
        id: ToolCallId::new("tc_9"),
        outcome: Ok(Pii::new("1".to_owned())),
        canceled: false,
        respond: true,
    };
    let late = scene.agent.handle_command(Command::ToolResult(late), scene.now);
    assert_eq!(late.map_err(|refusal| refusal.code()), Err("UNKNOWN_TOOL_CALL"));
    assert_eq!(scene.agent.snapshot(), before);
    assert_eq!(scene.told(), "");

    let mut scene = Scene::new(None);
    scene.connect();
    scene.take();
    for command in [Command::Leave, Command::Say(Pii::new("hm".to_owned()))] {
        let refused = scene.agent.handle_command(command, scene.now);
        assert_eq!(refused.map_err(|refusal| refusal.code()), Err("NOT_IN_CALL"));
    }
}

#[test]
fn an_agent_without_voice_joins_nothing() {
    let spec = AgentSpec { voice_enabled: false, ..spec() };
    let mut scene = Scene::with(spec, None);
    scene.connect();
    scene.take();
    let refused = scene.agent.handle_command(join(), scene.now);
    assert_eq!(refused, Err(Rejection::VoiceNotEnabled));
    assert_eq!(scene.told(), "");
}

#[test]
fn a_shutdown_lets_the_sentence_end() {
    let mut scene = Scene::speaking("good bye");
    scene.at(5000).event(Event::Shutdown);
    assert_eq!(scene.told(), "");
    let end = PlaybackEvent::Finished { utterance: utterance("s1"), heard_ms: 800 };
    scene.at(5300).playback(end);
    insta::assert_snapshot!(scene.told(), @r#"
    5300 speak-status s1 Finished 800 ms "good bye"
    5300 > Playback(Flush)
    5300 > Model(Close)
    5300 > Room(Leave)
    5300 VoiceStatus { status: Left, reason: Some("shutdown") }
    5300 RoomLeft { call: call_1, room_url: "rooms/a", reason: "shutdown" }
    5300 error SERVER_SHUTDOWN
    5300 > CloseClients
    5300 > Stop
    "#);
}

#[test]
fn an_agent_nobody_comes_for_ends() {
    let mut scene = Scene::new(None);
    scene.at(24 * 60 * 60 * 1000).timeout();
    insta::assert_snapshot!(scene.told(), @r#"
    86400000 State { from: Created, to: Ended, reason: "inactive" }
    86400000 error AGENT_INACTIVE
    86400000 > CloseClients
    86400000 > Forget(None)
    "#);
}

#[test]
fn a_silent_call_is_left() {
    let mut scene = Scene::in_call();
    scene.at(5 * 60 * 1000).timeout();
    scene.event(Event::Room(RoomEvent::Left));
    insta::assert_snapshot!(scene.told(), @r#"
    300000 > Playback(Flush)
    300000 > Model(Close)
    300000 > Room(Leave)
    300000 VoiceStatus { status: Left, reason: Some("idle") }
    300000 RoomLeft { call: call_1, room_url: "rooms/a", reason: "idle" }
    300000 State { from: Active, to: Connected, reason: "nothing is going on" }
    "#);
}

/// An agent, a clock, and a record of what it puts out.
struct Scene {
    agent: Agent,
    start: Instant,
    now: Instant,
    record: String,
    recorded: Vec<RecordEntry>,
    baggage: Option<Baggage>,
    /// What the next flush tells of.
    unheard: Vec<PlaybackEvent>,
}

impl Scene {
    fn new(ttl_seconds: Option<u64>) -> Self {
        Self::with(spec(), ttl_seconds)
    }

    fn with(spec: AgentSpec, ttl_seconds: Option<u64>) -> Self {
        let start = clock::now();
        let expires_at = ttl_seconds.map(|seconds| start + Duration::from_secs(seconds));
        let agent = Agent::new(spec.into(), Limits::default().into(), expires_at, start);
        Self {
            agent,
            start,
            now: start,
            record: String::new(),
            recorded: Vec::new(),
            baggage: None,
            unheard: Vec::new(),
        }
    }

    fn in_call() -> Self {
        Self::in_call_with(spec())
    }

    fn in_call_with(spec: AgentSpec) -> Self {
        let mut scene = Self::with(spec, None);
        scene.connect();
        scene.join();
        scene.take();
        scene
    }

    fn speaking(text: &str) -> Self {
        let mut scene = Self::in_call();
        scene.model(ModelEvent::ResponseStarted { response: ResponseId::new("r1") });
        scene.model(words("s1", text));
        scene.playback(PlaybackEvent::Started { utterance: utterance("s1") });
        scene.model(done("r1"));
        scene.take();
        scene
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    fn connect(&mut self) {
        self.event(Event::ClientConnected(ClientId::new("cl_1")));
    }

    fn join(&mut self) {
        self.command(join());
        let caller = Participant { id: ParticipantId::new("p_1"), name: "Ann".into() };
        self.event(Event::Room(RoomEvent::Joined { participants: vec![caller] }));
        self.model(ModelEvent::Ready { takes_turns: true });
    }

    fn command(&mut self, command: Command) {
        self.agent.handle_command(command, self.now).expect("accepted");
        self.drain();
    }

    fn event(&mut self, event: Event) {
        self.agent.handle_event(event, self.now);
        self.drain();
    }

    fn model(&mut self, event: ModelEvent) {
        self.event(Event::Model(event));
    }

    fn playback(&mut self, event: PlaybackEvent) {
        self.event(Event::Playback(event));
    }

    fn speech(&mut self, kind: EdgeKind) {
        self.speech_of("p_1", kind);
    }

    fn speech_of(&mut self, who: &str, kind: EdgeKind) {
        let participant = ParticipantId::new(who);
        self.event(Event::Speech(SpeechEdge { participant, kind, at: self.now }));
    }

    /// Somebody says something, from one moment to another.
    fn say(&mut self, from: u64, to: u64) {
        self.at(from).speech(EdgeKind::Started);
        self.at(from + 160).speech(EdgeKind::Sustained);
        self.at(to).speech(EdgeKind::Stopped);
    }

    /// Somebody makes a noise.
    fn cough(&mut self, from: u64, to: u64) {
        self.at(from).speech(EdgeKind::Started);
        self.at(to).speech(EdgeKind::Stopped);
    }

    fn leave_room(&mut self, who: &str) {
        let (id, reason) = (ParticipantId::new(who), "left".into());
        self.event(Event::Room(RoomEvent::ParticipantLeft { id, reason }));
    }

    fn enter_room(&mut self, who: &str, name: &str) {
        let new = Participant { id: ParticipantId::new(who), name: name.into() };
        self.event(Event::Room(RoomEvent::ParticipantJoined(new)));
    }

    fn timeout(&mut self) {
        self.agent.handle_timeout(self.now);
        self.drain();
    }

    /// Takes every output; a flush is answered as the shell answers it.
    fn drain(&mut self) {
        let mut is_flushed = false;
        let at = self.now.duration_since(self.start).as_millis();
        while let Some(output) = self.agent.poll_output() {
            is_flushed |= output == Output::Playback(PlaybackAction::Flush);
            let line = match output {
                Output::Record { entry, .. } => {
                    self.recorded.push(entry);
                    continue;
                }
                Output::Notify(told) => render(&told),
                Output::Model(ModelAction::Open { medium, .. }) => format!("> open {medium:?}"),
                Output::Model(ModelAction::Respond { instructions: Some(words) }) => {
                    format!("> respond {:?}", words.expose())
                }
                Output::Listen(_) => "> listen".into(),
                Output::Model(ModelAction::AddText { role, text }) => {
                    format!("> add {role:?} {:?}", text.expose())
                }
                Output::HandOff(baggage) => {
                    self.baggage = Some(*baggage);
                    "> hand off".into()
                }
                Output::Room(RoomAction::Join(request)) => format!("> join {}", request.room_url),
                other => format!("> {other:?}"),
            };
            writeln!(self.record, "{at:>6} {line}").expect("a string takes it");
        }
        if is_flushed {
            for event in std::mem::take(&mut self.unheard) {
                self.playback(event);
            }
            self.playback(PlaybackEvent::Silent);
        }
    }

    fn take(&mut self) {
        self.record.clear();
    }

    fn told(&self) -> &str {
        &self.record
    }
}

/// A notification on one line, with its words to be read.
fn render(told: &Notification) -> String {
    match told {
        Notification::Transcript { participant, text, is_final, .. } => {
            format!("transcript {participant} {:?} final={is_final}", text.expose())
        }
        Notification::Speak { utterance, text, .. } => {
            format!("speak {utterance} {:?}", text.expose())
        }
        Notification::SpeakStatus { utterance, status, heard_ms, text } => {
            format!("speak-status {utterance} {status:?} {heard_ms} ms {:?}", text.expose())
        }
        Notification::RoomJoined { room_url, participants, .. } => {
            format!("room joined {room_url}, {} others", participants.len())
        }
        Notification::Error { code, .. } => format!("error {code}"),
        Notification::TranscriberFatalError { code, .. } => format!("transcriber-fatal {code}"),
        Notification::ToolCall { id, name, timeout_seconds, .. } => {
            format!("tool-call {id} {name} {timeout_seconds} s")
        }
        other => format!("{other:?}"),
    }
}

fn spec() -> AgentSpec {
    let weather = ToolSpec {
        name: "weather".into(),
        description: "the weather".into(),
        parameters_json: "{}".into(),
        timeout: Duration::from_secs(30),
        filler: None,
    };
    AgentSpec {
        name: "Ada".into(),
        voice_enabled: true,
        tools: vec![weather],
        ..AgentSpec::default()
    }
}

fn join() -> Command {
    Command::Join(JoinRequest {
        call: CallId::new("call_1"),
        room_url: "rooms/a".into(),
        token: None,
        participant_name: None,
    })
}

fn utterance(id: &str) -> UtteranceId {
    UtteranceId::new(id)
}

fn transcript(id: &str, text: &str) -> ModelEvent {
    let text = Pii::new(text.to_owned());
    ModelEvent::Transcript { utterance: utterance(id), text, is_final: true }
}

fn words(id: &str, text: &str) -> ModelEvent {
    let text = Pii::new(text.to_owned());
    ModelEvent::Words { utterance: utterance(id), text, is_final: true }
}

fn cut(id: &str, heard_ms: u64, received_ms: u64) -> PlaybackEvent {
    PlaybackEvent::Flushed {
        utterance: utterance(id),
        heard_ms,
        end_ms: heard_ms,
        received_ms,
        is_complete: true,
    }
}

fn done(id: &str) -> ModelEvent {
    ModelEvent::ResponseDone { response: ResponseId::new(id), outcome: ResponseOutcome::Completed }
}
