//! Timelines of agents that think outside of calls.

use super::*;

#[test]
fn an_event_is_thought_about_answered_and_rested_upon() {
    let mut scene = Scene::connected();
    scene.command(event("hello", true));
    scene.at(50).model(ModelEvent::Ready { takes_turns: true });
    scene.at(60).model(started("r1"));
    scene.at(300).model(words("w1", "Hi."));
    scene.at(310).model(done("r1"));
    scene.at(61_000).timeout();
    insta::assert_snapshot!(scene.told(), @r#"
        0 > open Text
        0 State { from: Connected, to: Active, reason: "the agent is at work" }
        0 Status(Thinking)
       50 > add System "The current state: {\"last\":\"hello\"}"
       50 > add User "hello"
       50 > Model(Respond { instructions: None })
      300 speak w1 "Hi."
      300 Status(Acting)
      310 State { from: Active, to: Connected, reason: "nothing is going on" }
      310 Status(Idle)
    61000 > Model(Close)
    "#);
}

#[test]
fn news_from_outside_begin_the_round_anew() {
    let mut scene = Scene::thinking();
    scene.at(500).command(event("second", true));
    scene.at(505).command(event("third", true));
    scene.at(510).model(words("w1", "too late"));
    scene.at(520).model(tool_call("r1", "tc_1"));
    scene.at(530).model(cancelled("r1"));
    insta::assert_snapshot!(scene.told(), @r#"
    500 > Model(Cancel)
    530 > add System "The current state: {\"last\":\"third\"}"
    530 > add User "second\nthird"
    530 > Model(Respond { instructions: None })
    "#);
}

#[test]
fn an_event_that_triggers_nothing_waits_for_one_that_does() {
    let mut scene = Scene::connected();
    scene.command(event("quiet", false));
    assert_eq!(scene.told(), "");
    scene.command(event("loud", true));
    scene.at(50).model(ModelEvent::Ready { takes_turns: true });
    insta::assert_snapshot!(scene.told(), @r#"
     0 > open Text
     0 State { from: Connected, to: Active, reason: "the agent is at work" }
     0 Status(Thinking)
    50 > add System "The current state: {\"last\":\"loud\"}"
    50 > add User "quiet\nloud"
    50 > Model(Respond { instructions: None })
    "#);
}

#[test]
fn a_tool_is_called_and_its_result_thought_about() {
    let mut scene = Scene::thinking();
    scene.at(100).model(tool_call("r1", "tc_1"));
    scene.at(110).model(done("r1"));
    scene.at(200).command(result("tc_1", true));
    scene.at(210).model(started("r2"));
    scene.at(220).model(done("r2"));
    insta::assert_snapshot!(scene.told(), @r#"
    100 tool-call tc_1 weather 30 s
    100 Status(Acting)
    200 > Model(ToolOutput { id: tc_1, output: (7 characters) })
    200 > Model(Respond { instructions: None })
    200 Status(Thinking)
    220 State { from: Active, to: Connected, reason: "nothing is going on" }
    220 Status(Idle)
    "#);
}

#[test]
fn a_result_that_asks_for_quiet_begins_no_round() {
    let mut scene = Scene::thinking();
    scene.at(100).model(tool_call("r1", "tc_1"));
    scene.at(110).model(done("r1"));
    scene.take();
    scene.at(200).command(result("tc_1", false));
    insta::assert_snapshot!(scene.told(), @r#"
    200 > Model(ToolOutput { id: tc_1, output: (7 characters) })
    200 State { from: Active, to: Connected, reason: "nothing is going on" }
    200 Status(Idle)
    "#);
}

#[test]
fn a_result_before_the_end_of_the_answer_changes_nothing_that_clients_see() {
    let told = |is_thought_about| {
        let mut scene = Scene::thinking();
        scene.at(100).model(tool_call("r1", "tc_1"));
        scene.at(110).command(result("tc_1", is_thought_about));
        scene.at(120).model(done("r1"));
        scene.told().to_owned()
    };
    insta::assert_snapshot!(told(false), @r#"
    100 tool-call tc_1 weather 30 s
    100 Status(Acting)
    110 > Model(ToolOutput { id: tc_1, output: (7 characters) })
    120 State { from: Active, to: Connected, reason: "nothing is going on" }
    120 Status(Idle)
    "#);
    insta::assert_snapshot!(told(true), @r#"
    100 tool-call tc_1 weather 30 s
    100 Status(Acting)
    110 > Model(ToolOutput { id: tc_1, output: (7 characters) })
    120 > Model(Respond { instructions: None })
    120 Status(Thinking)
    "#);
}

#[test]
fn an_interrupt_ends_the_round_and_its_tools_and_late_confirmations_do_no_harm() {
    let mut scene = Scene::thinking();
    scene.at(100).model(tool_call("r1", "tc_1"));
    scene.take();
    scene.at(200).command(Command::Interrupt);
    let Command::ToolResult(canceled) = result("tc_1", false) else { unreachable!("a result") };
    let canceled = ToolResult { canceled: true, ..canceled };
    scene.at(210).command(Command::ToolResult(canceled));
    scene.at(220).model(tool_call("r1", "tc_2"));
    scene.at(230).model(cancelled("r1"));
    insta::assert_snapshot!(scene.told(), @r#"
    200 > Model(Cancel)
    200 CancelToolCall { id: tc_1, reason: Interrupted }
    200 > Model(ToolOutput { id: tc_1, output: (36 characters) })
    200 State { from: Active, to: Connected, reason: "nothing is going on" }
    200 Status(Idle)
    "#);
}

#[test]
fn an_agent_that_only_hears_its_own_tools_stops_at_last() {
    let mut scene = Scene::thinking();
    for round in 0..scene.agent.limits.rounds_max {
        let (response, id) = (format!("r{}", round + 1), format!("tc_{round}"));
        scene.model(tool_call(&response, &id));
        scene.model(done(&response));
        scene.command(result(&id, true));
        scene.model(started(&format!("r{}", round + 2)));
    }
    let last = format!("r{}", scene.agent.limits.rounds_max + 1);
    scene.model(tool_call(&last, "tc_last"));
    scene.model(done(&last));
    scene.take();
    scene.command(result("tc_last", true));
    insta::assert_snapshot!(scene.told(), @r#"
    0 > Model(ToolOutput { id: tc_last, output: (7 characters) })
    0 error TOO_MANY_ROUNDS
    0 State { from: Active, to: Connected, reason: "nothing is going on" }
    0 Status(Idle)
    "#);
    scene.take();
    scene.command(event("go on", true));
    assert!(scene.told().contains("Respond"), "a word from outside lets it go on");
}

#[test]
fn a_model_that_does_not_answer_in_time_is_told_and_the_agent_rests() {
    let mut scene = Scene::thinking();
    scene.at(25_000).timeout();
    insta::assert_snapshot!(scene.told(), @r#"
    25000 error MODEL_UNAVAILABLE
    25000 > Model(Close)
    25000 State { from: Active, to: Connected, reason: "nothing is going on" }
    25000 Status(Idle)
    "#);
}

#[test]
fn a_result_for_a_lost_session_is_news_for_the_next() {
    let mut scene = Scene::thinking();
    scene.at(100).model(tool_call("r1", "tc_1"));
    scene.at(110).model(ModelEvent::Failed(ModelFailure::Lost("1006".into())));
    scene.at(200).command(result("tc_1", true));
    scene.at(250).model(ModelEvent::Ready { takes_turns: true });
    insta::assert_snapshot!(scene.told(), @r#"
    100 tool-call tc_1 weather 30 s
    100 Status(Acting)
    110 error MODEL_UNAVAILABLE
    200 > open Text
    200 Status(Thinking)
    250 > add System "The conversation so far:\nfirst"
    250 > add System "The current state: {\"last\":\"first\"}"
    250 > add User "The tool weather has returned: \"sunny\""
    250 > Model(Respond { instructions: None })
    "#);
}

#[test]
fn a_call_takes_the_thoughts_along() {
    let mut scene = Scene::thinking();
    scene.at(100).model(words("w1", "Hi."));
    scene.at(110).model(done("r1"));
    scene.take();
    scene.at(200).join();
    insta::assert_snapshot!(scene.told(), @r#"
    200 > Model(Close)
    200 VoiceStatus { status: Joining, reason: None }
    200 > listen
    200 > join rooms/a
    200 State { from: Connected, to: Active, reason: "a call has begun" }
    200 room joined rooms/a, 1 others
    200 VoiceStatus { status: Joined, reason: None }
    200 > open Voice
    200 > add System "The conversation so far:\nfirst\nYou said: Hi."
    200 > add System "The current state: {\"last\":\"first\"}"
    "#);
}

#[test]
fn whoever_has_read_the_beginning_of_a_text_learns_that_it_has_no_end() {
    let lost = ModelEvent::Failed(ModelFailure::Lost("1006".into()));
    let mut scene = Scene::thinking();
    scene.at(100).model(beginning("w1", "One, "));
    scene.at(200).model(lost);
    assert!(scene.told().contains("200 speak-status w1 Interrupted"));
    scene.command(event("again", true));
    scene.at(250).model(ModelEvent::Ready { takes_turns: true });
    scene.at(260).model(beginning("w2", "Two, "));
    scene.take();
    scene.at(300).command(join());
    insta::assert_snapshot!(scene.told(), @r#"
    300 speak-status w2 Interrupted 0 ms ""
    300 > Model(Close)
    300 VoiceStatus { status: Joining, reason: None }
    300 > listen
    300 > join rooms/a
    300 Status(Idle)
    "#);
}

#[test]
fn an_event_told_while_joining_is_answered_in_the_call_when_somebody_is_there() {
    let mut scene = Scene::connected();
    scene.command(join());
    scene.command(event("hello", true));
    scene.take();
    scene.at(100).event(Event::Room(RoomEvent::Joined { participants: vec![] }));
    scene.at(200).model(ModelEvent::Ready { takes_turns: true });
    scene.at(5000).enter_room("p_1", "Ann");
    insta::assert_snapshot!(scene.told(), @r#"
     100 room joined rooms/a, 0 others
     100 VoiceStatus { status: Joined, reason: None }
     100 > open Voice
     200 > add System "The current state: {\"last\":\"hello\"}"
     200 > add User "hello"
    5000 ParticipantJoined(Participant { id: p_1, name: "Ann" })
    5000 > Model(Respond { instructions: None })
    5000 Status(Thinking)
    "#);
}

#[test]
fn nobody_left_ends_the_thinking() {
    let mut scene = Scene::thinking();
    scene.at(100).model(tool_call("r1", "tc_1"));
    scene.take();
    scene.at(1000).event(Event::ClientDisconnected(ClientId::new("cl_1")));
    scene.at(16_000).timeout();
    insta::assert_snapshot!(scene.told(), @r#"
    16000 > Model(Close)
    16000 CancelToolCall { id: tc_1, reason: Ended }
    16000 State { from: Active, to: Connected, reason: "nothing is going on" }
    16000 State { from: Connected, to: Created, reason: "no client came back" }
    16000 Status(Idle)
    "#);
}

impl Scene {
    fn connected() -> Self {
        let mut scene = Self::new(None);
        scene.connect();
        scene.take();
        scene
    }

    /// An agent whose model has begun to answer, as `r1`.
    fn thinking() -> Self {
        let mut scene = Self::connected();
        scene.command(event("first", true));
        scene.model(ModelEvent::Ready { takes_turns: true });
        scene.model(started("r1"));
        scene.take();
        scene
    }
}

fn beginning(id: &str, text: &str) -> ModelEvent {
    let text = Pii::new(text.to_owned());
    ModelEvent::Words { utterance: utterance(id), text, is_final: false }
}

pub(super) fn started(response: &str) -> ModelEvent {
    ModelEvent::ResponseStarted { response: ResponseId::new(response) }
}

pub(super) fn cancelled(response: &str) -> ModelEvent {
    let response = ResponseId::new(response);
    ModelEvent::ResponseDone { response, outcome: ResponseOutcome::Cancelled }
}

pub(super) fn tool_call(response: &str, id: &str) -> ModelEvent {
    ModelEvent::ToolCall {
        response: ResponseId::new(response),
        id: ToolCallId::new(id),
        name: "weather".into(),
        arguments_json: "{}".into(),
    }
}

pub(super) fn result(id: &str, respond: bool) -> Command {
    let outcome = Ok(Pii::new("\"sunny\"".to_owned()));
    Command::ToolResult(ToolResult { id: ToolCallId::new(id), outcome, canceled: false, respond })
}

pub(super) fn event(name: &str, triggering: bool) -> Command {
    Command::Context(ContextUpdate {
        name: name.into(),
        description: Pii::new(String::new()),
        context_json: Pii::new(format!("{{\"last\":\"{name}\"}}")),
        images: Vec::new(),
        triggering,
    })
}
