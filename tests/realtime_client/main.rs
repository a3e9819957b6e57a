//! The model client against scripted servers, over real sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod dialects;
mod reconnect;
mod text;

use std::time::Duration;

use callbridge::agent::{
    AgentSpec, Medium, ModelAction, ModelEvent, ModelFailure, ResponseOutcome, Role, ToolSpec,
};
use callbridge::ids::{ResponseId, ToolCallId, UtteranceId};
use callbridge::media::{Frame24k, TimedFrame};
use callbridge::meter::{Meter, Stage};
use callbridge::models::scripted::{Recording, ScriptedModel};
use callbridge::models::{Deadlines, HeardFrame, ModelItem, ModelLink, ModelProfile, open};
use callbridge::privacy::{Pii, Secret};
use callbridge::sys::clock;

#[tokio::test]
async fn a_question_is_heard_and_answered() {
    let mut scene = Scene::start(include_str!("../../fixtures/sessions/happy_turn.jsonl")).await;
    scene.is_ready().await;
    for value in 0..10 {
        scene.link.audio.send(heard(&Frame24k::new([value; 480]))).await.unwrap();
    }
    let items = scene.items_until_done("resp_1").await;
    let words = |text: &str, is_final| {
        let text = Pii::new(text.to_owned());
        event(ModelEvent::Words { utterance: UtteranceId::new("item_a1"), text, is_final })
    };
    let expected = [
        event(ModelEvent::SpeechStarted {
            utterance: UtteranceId::new("item_u1"),
            interrupts: true,
        }),
        event(ModelEvent::SpeechStopped { utterance: UtteranceId::new("item_u1") }),
        event(ModelEvent::ResponseStarted { response: ResponseId::new("resp_1") }),
        event(ModelEvent::Transcript {
            utterance: UtteranceId::new("item_u1"),
            text: Pii::new("What time is it?".to_owned()),
            is_final: true,
        }),
        words("It ", false),
        sound("item_a1", 500),
        words("It is noon.", false),
        ModelItem::AudioDone { utterance: UtteranceId::new("item_a1") },
        words("It is noon.", true),
        done("resp_1", ResponseOutcome::Completed),
    ];
    assert_eq!(items, expected);
    let recording = scene.close().await;
    let heard: Vec<i16> = (0..10).flat_map(|value| [value; 480]).collect();
    assert_eq!(recording.samples, heard);
}

#[tokio::test]
async fn each_frame_is_counted_when_the_network_has_it() {
    let server = play(include_str!("../../fixtures/sessions/happy_turn.jsonl")).await;
    let profile = ModelProfile::local(server.url());
    let meter = Meter::new();
    let link = open(&profile, AgentSpec::default(), Medium::Voice, &meter);
    let mut scene = Scene { server, link };
    scene.is_ready().await;
    for _ in 0..10 {
        scene.link.audio.send(heard(&Frame24k::SILENCE)).await.unwrap();
    }
    scene.items_until_done("resp_1").await;
    let counts = [Stage::UplinkSocket, Stage::Uplink].map(|stage| meter.read(stage).count());
    assert_eq!(counts, [10, 10]);
}

#[tokio::test]
async fn the_server_is_told_model_and_key() {
    let server = play(include_str!("../../fixtures/sessions/happy_turn.jsonl")).await;
    let profile = ModelProfile {
        model: "gpt realtime".to_owned(),
        key: Some(Secret::new("sk-test")),
        ..ModelProfile::local(server.url())
    };
    let mut link = open(&profile, AgentSpec::default(), Medium::Voice, &Meter::new());
    assert_eq!(
        link.items.recv().await.map(|arrived| arrived.item),
        Some(event(ModelEvent::Ready { takes_turns: true }))
    );
    for _ in 0..10 {
        link.audio.send(heard(&Frame24k::SILENCE)).await.unwrap();
    }
    let mut scene = Scene { server, link };
    scene.items_until_done("resp_1").await;
    let recording = scene.close().await;
    assert_eq!(recording.target, "/v1/realtime?model=gpt%20realtime");
    assert_eq!(recording.authorization.as_deref(), Some("Bearer sk-test"));
}

#[tokio::test]
async fn a_tool_is_called_and_its_output_answered() {
    let spec = AgentSpec { tools: vec![weather()], ..AgentSpec::default() };
    let script = include_str!("../../fixtures/sessions/tool_call.jsonl");
    let mut scene = Scene::start_with(script, spec).await;
    // Sent before the session stands: it waits.
    let question = Pii::new("What is the weather in Paris?".to_owned());
    scene.act(ModelAction::AddText { role: Role::User, text: question }).await;
    scene.act(ModelAction::Respond { instructions: None }).await;
    scene.is_ready().await;
    let call = weather_in_paris();
    let items = scene.items_until_done("resp_1").await;
    assert_eq!(items.iter().filter(|item| **item == call).count(), 1);
    let output = Pii::new(r#"{"sky":"clear"}"#.to_owned());
    scene.act(ModelAction::ToolOutput { id: ToolCallId::new("call_1"), output }).await;
    scene.act(ModelAction::Respond { instructions: None }).await;
    assert!(scene.items_until_done("resp_2").await.contains(&sound("item_a2", 100)));
    let recording = scene.close().await;
    assert_eq!(recording.events[0]["session"]["tools"][0]["name"], "weather");
}

#[tokio::test]
async fn an_interrupted_answer_is_cancelled_and_cut_to_what_was_heard() {
    let mut scene = Scene::start(include_str!("../../fixtures/sessions/barge_in.jsonl")).await;
    scene.is_ready().await;
    let started = event(ModelEvent::ResponseStarted { response: ResponseId::new("resp_1") });
    assert_eq!(scene.item().await, started);
    assert_eq!(scene.item().await, sound("item_a1", 800));
    assert_eq!(scene.item().await, sound("item_a2", 200));
    scene.act(ModelAction::Cancel).await;
    let (first, second) = (UtteranceId::new("item_a1"), UtteranceId::new("item_a2"));
    scene.act(ModelAction::Truncate { utterance: first, end_ms: 320 }).await;
    scene.act(ModelAction::Truncate { utterance: second, end_ms: 0 }).await;
    assert_eq!(scene.item().await, done("resp_1", ResponseOutcome::Cancelled));
    scene.close().await;
}

#[tokio::test]
async fn a_greeting_is_the_agents_to_ask_for() {
    let mut spec = AgentSpec::default();
    spec.model.greeting = Some("Good morning!".to_owned());
    let mut scene =
        Scene::start_with(include_str!("../../fixtures/sessions/greeting.jsonl"), spec).await;
    scene.is_ready().await;
    let words = Pii::new("Say exactly: \"Good morning!\"".to_owned());
    scene.act(ModelAction::Respond { instructions: Some(words) }).await;
    assert!(scene.items_until_done("resp_1").await.contains(&sound("item_a1", 100)));
    scene.close().await;
}

#[tokio::test]
async fn what_a_foreign_server_adds_is_passed_over() {
    let mut scene =
        Scene::start(include_str!("../../fixtures/sessions/foreign_events.jsonl")).await;
    scene.is_ready().await;
    let items = scene.items_until_done("resp_1").await;
    let words = |is_final| {
        let (utterance, text) = (UtteranceId::new("item_a1"), Pii::new("Hi".to_owned()));
        event(ModelEvent::Words { utterance, text, is_final })
    };
    assert_eq!(items[1..3], [words(false), words(true)]);
    scene.close().await;
}

#[tokio::test]
async fn settings_that_are_refused_end_the_start() {
    let mut scene = Scene::start(include_str!("../../fixtures/sessions/refused_setup.jsonl")).await;
    let reason = "unknown_parameter: Unknown parameter: 'session.tools[0]'";
    assert_eq!(scene.failure().await, ModelFailure::Unavailable(reason.to_owned()));
    scene.ends().await;
}

#[tokio::test]
async fn a_server_that_never_takes_the_settings_is_given_up() {
    let script = include_str!("../../fixtures/sessions/silent_setup.jsonl");
    let deadlines = Deadlines { connect: AT_ONCE, configure: SHORT, ..Deadlines::default() };
    let mut scene = Scene::start_within(script, AgentSpec::default(), deadlines).await;
    assert!(matches!(scene.failure().await, ModelFailure::Unavailable(_)));
    scene.ends().await;
}

#[tokio::test]
async fn a_refused_upgrade_names_the_status_and_not_the_key() {
    let server = play(include_str!("../../fixtures/sessions/refused_upgrade.jsonl")).await;
    let key = Some(Secret::new("sk-secret"));
    let profile = ModelProfile { key, ..ModelProfile::local(server.url()) };
    let link = open(&profile, AgentSpec::default(), Medium::Voice, &Meter::new());
    let mut scene = Scene { server, link };
    let failure = scene.failure().await;
    assert_eq!(failure.code(), "MODEL_UNAVAILABLE");
    let text = failure.to_string();
    assert!(text.contains("401") && !text.contains("sk-secret"), "{text}");
    scene.ends().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut link = open(&hasty(url), AgentSpec::default(), Medium::Voice, &Meter::new());
    let item = link.items.recv().await.map(|arrived| arrived.item);
    assert!(
        matches!(&item, Some(ModelItem::Event(ModelEvent::Failed(ModelFailure::Unavailable(_))))),
        "{item:?}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_no_secure_server() {
    let server = play(include_str!("../../fixtures/sessions/dropped_link.jsonl")).await;
    let url = server.url().replace("ws://", "wss://");
    let link = open(&hasty(url), AgentSpec::default(), Medium::Voice, &Meter::new());
    let mut scene = Scene { server, link };
    assert_eq!(scene.failure().await.code(), "MODEL_UNAVAILABLE");
}

#[tokio::test]
async fn dropping_the_link_ends_the_session() {
    let mut scene = Scene::start(include_str!("../../fixtures/sessions/dropped_link.jsonl")).await;
    scene.is_ready().await;
    drop(scene.link);
    // The script's end is the client's leaving.
    scene.server.finish().await.unwrap();
}

#[tokio::test]
async fn the_beta_shape_is_refused_for_good() {
    let mut scene = Scene::start(include_str!("../../fixtures/sessions/refused_beta.jsonl")).await;
    let reason = "beta_api_shape_disabled: The beta API is gone.";
    assert_eq!(scene.failure().await, ModelFailure::Unavailable(reason.to_owned()));
    scene.ends().await;
}

#[tokio::test]
async fn a_script_takes_no_surprises() {
    let script = r#"{"expect": "session.update", "with": {"session": {"type": "other"}}}"#;
    let deadlines = Deadlines { connect: SHORT, configure: SHORT, ..Deadlines::default() };
    let mut scene = Scene::start_within(script, AgentSpec::default(), deadlines).await;
    assert!(matches!(scene.failure().await, ModelFailure::Unavailable(_)));
    let error = scene.server.finish().await.unwrap_err().to_string();
    let expected =
        r#"line 1 of the script: expected session.update with {"session":{"type":"other"}}, got {"#;
    assert!(error.starts_with(expected), "{error}");

    let mut scene = Scene::start(include_str!("../../fixtures/sessions/dropped_link.jsonl")).await;
    scene.is_ready().await;
    scene.act(ModelAction::Respond { instructions: None }).await;
    let error = scene.server.finish().await.unwrap_err().to_string();
    assert!(error.starts_with("line 4 of the script: expected the client's leaving"), "{error}");
}

/// A deadline that is meant to pass.
const SHORT: Duration = Duration::from_millis(500);

/// A deadline that leaves no time for a second attempt.
const AT_ONCE: Duration = Duration::from_millis(100);

/// A scripted server and a link to it.
struct Scene {
    server: ScriptedModel,
    link: ModelLink,
}

impl Scene {
    async fn start(script: &str) -> Self {
        Self::start_with(script, AgentSpec::default()).await
    }

    async fn start_with(script: &str, spec: AgentSpec) -> Self {
        Self::start_within(script, spec, Deadlines::default()).await
    }

    async fn start_within(script: &str, spec: AgentSpec, deadlines: Deadlines) -> Self {
        let server = play(script).await;
        let profile = ModelProfile { deadlines, ..ModelProfile::local(server.url()) };
        let link = open(&profile, spec, Medium::Voice, &Meter::new());
        Self { server, link }
    }

    /// A session in text, with a tool and with all that is for voices alone.
    async fn start_in_text(script: &str) -> Self {
        let server = play(script).await;
        let mut spec = AgentSpec { tools: vec![weather()], ..AgentSpec::default() };
        spec.model.greeting = Some("Good morning!".to_owned());
        spec.model.voice = Some("marin".to_owned());
        let mut scene =
            Self { link: open(&profile(&server), spec, Medium::Text, &Meter::new()), server };
        let ready = ModelEvent::Ready { takes_turns: false };
        assert_eq!(scene.item().await, event(ready));
        scene
    }

    async fn tell(&self, role: Role, text: &str) {
        let text = Pii::new(text.to_owned());
        self.act(ModelAction::AddText { role, text }).await;
    }

    async fn respond(&self) {
        self.act(ModelAction::Respond { instructions: None }).await;
    }

    async fn act(&self, action: ModelAction) {
        self.link.actions.send(action).await.unwrap();
    }

    /// The next item of a session that goes on. If it does not, the script knows best why.
    async fn item(&mut self) -> ModelItem {
        match self.link.items.recv().await.map(|arrived| arrived.item) {
            None | Some(ModelItem::Event(ModelEvent::Failed(_))) => {
                panic!("the session has ended: {:?}", self.server.finish().await)
            }
            Some(item) => item,
        }
    }

    async fn is_ready(&mut self) {
        assert_eq!(self.item().await, event(ModelEvent::Ready { takes_turns: true }));
    }

    async fn items_until_done(&mut self, response: &str) -> Vec<ModelItem> {
        let mut items = Vec::new();
        loop {
            let item = self.item().await;
            items.push(item.clone());
            if let ModelItem::Event(ModelEvent::ResponseDone { response: done, .. }) = item
                && done.as_str() == response
            {
                return items;
            }
        }
    }

    async fn failure(&mut self) -> ModelFailure {
        match self.link.items.recv().await.map(|arrived| arrived.item) {
            Some(ModelItem::Event(ModelEvent::Failed(failure))) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    /// The session has ended by itself, and the script with it.
    async fn ends(mut self) {
        assert_eq!(self.link.items.recv().await.map(|arrived| arrived.item), None);
        self.server.finish().await.unwrap();
    }

    /// Ends the session as an agent does.
    async fn close(mut self) -> Recording {
        self.act(ModelAction::Close).await;
        assert_eq!(self.link.items.recv().await.map(|arrived| arrived.item), None);
        self.server.finish().await.unwrap()
    }
}

async fn play(script: &str) -> ScriptedModel {
    ScriptedModel::play(script).await.unwrap()
}

/// A server that is not waited for for long.
fn hasty(url: String) -> ModelProfile {
    let deadlines = Deadlines { connect: SHORT, configure: SHORT, ..Deadlines::default() };
    ModelProfile { deadlines, ..ModelProfile::local(url) }
}

fn profile(server: &ScriptedModel) -> ModelProfile {
    ModelProfile::local(server.url())
}

fn weather() -> ToolSpec {
    ToolSpec {
        name: "weather".to_owned(),
        description: "Tells the weather.".to_owned(),
        parameters_json: r#"{"type":"object"}"#.to_owned(),
        timeout: Duration::from_secs(5),
        filler: None,
    }
}

fn weather_in_paris() -> ModelItem {
    event(ModelEvent::ToolCall {
        response: ResponseId::new("resp_1"),
        id: ToolCallId::new("call_1"),
        name: "weather".to_owned(),
        arguments_json: r#"{"place":"Paris"}"#.to_owned(),
    })
}

fn started(response: &str) -> ModelItem {
    event(ModelEvent::ResponseStarted { response: ResponseId::new(response) })
}

fn words(utterance: &str, text: &str, is_final: bool) -> ModelItem {
    let (utterance, text) = (UtteranceId::new(utterance), Pii::new(text.to_owned()));
    event(ModelEvent::Words { utterance, text, is_final })
}

fn event(event: ModelEvent) -> ModelItem {
    ModelItem::Event(event)
}

fn sound(utterance: &str, ms: usize) -> ModelItem {
    ModelItem::Audio { utterance: UtteranceId::new(utterance), samples: vec![1_000; ms * 24] }
}

fn done(response: &str, outcome: ResponseOutcome) -> ModelItem {
    event(ModelEvent::ResponseDone { response: ResponseId::new(response), outcome })
}

/// A frame that has been on its way for no time.
fn heard(frame: &Frame24k) -> HeardFrame {
    let now = clock::now();
    HeardFrame::new(TimedFrame { frame: *frame, since: now }, now)
}
