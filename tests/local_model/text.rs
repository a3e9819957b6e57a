//! The local model in text, through the gateway's own client: as agents outside calls use it.

use callbridge::agent::{
    AgentSpec, Medium, ModelAction, ModelEvent, ModelFailure, ResponseOutcome, Role, ToolSpec,
};
use callbridge::ids::ToolCallId;
use callbridge::meter::Meter;
use callbridge::models::local::LocalModelConfig;
use callbridge::models::{ModelItem, ModelLink, ModelProfile, open};
use callbridge::privacy::Pii;
use serde_json::json;

use super::client::{PATIENCE, Server, config, find, kinds, recording};

#[tokio::test]
async fn what_a_client_tells_of_a_message_is_answered_in_text() {
    let server = Server::start().await;
    let mut agent = Agent::open(&server, vec![]).await;
    let answer = agent.ask("new-message: Ann wrote: what is six times seven?").await;
    assert_eq!(answer.said, ["That is forty-two."]);
    assert_eq!(agent.ask("card-played: Ann played a 7").await.said, ["Noted: Ann played a 7."]);
}

#[tokio::test]
async fn the_conversation_before_and_the_state_are_remembered() {
    let server = Server::start().await;
    let mut agent = Agent::open(&server, vec![]).await;
    agent.tell(Role::System, r#"{"table":4,"topic":"cats"}"#).await;
    agent.tell(Role::User, "new-message: Ann wrote: My name is Alice").await;
    agent.tell(Role::Assistant, "Nice to meet you, Alice.").await;
    let answer = agent.ask("new-message: Ann wrote: what is my name?").await;
    assert_eq!(answer.said, ["Your name is Alice."]);
    let answer = agent.ask("new-message: Ann wrote: what is the topic?").await;
    assert_eq!(answer.said, ["The topic is cats."]);
}

#[tokio::test]
async fn a_tool_is_called_and_its_outcome_told() {
    let server = Server::start().await;
    let mut agent = Agent::open(&server, vec![weather()]).await;
    let answer = agent.ask("What is the weather in Paris?").await;
    let [(id, name, arguments)] = &answer.calls[..] else { panic!("{answer:?}") };
    assert_eq!((name.as_str(), arguments.as_str()), ("weather", r#"{"place":"Paris"}"#));
    assert!(answer.said.is_empty());
    let answer = agent.give(id, r#"{"sky":"clear"}"#).await;
    assert_eq!(answer.said, ["The sky is clear."]);
    assert!(answer.calls.is_empty());
}

#[tokio::test]
async fn an_agent_with_a_messaging_tool_answers_through_it_and_is_silent_after() {
    let server = Server::start().await;
    let mut agent = Agent::open(&server, vec![send_message(), weather()]).await;
    let answer = agent.ask("new-message: Ann wrote: what is six times seven?").await;
    assert!(answer.said.is_empty(), "{answer:?}");
    let [(id, name, arguments)] = &answer.calls[..] else { panic!("{answer:?}") };
    let expected = r#"{"message":"That is forty-two."}"#;
    assert_eq!((name.as_str(), arguments.as_str()), ("send_message", expected));
    let after = agent.give(id, r#"{"success":true}"#).await;
    assert_eq!((after.said.len(), after.calls.len()), (0, 0), "{after:?}");

    let answer = agent.ask("new-message: Ann wrote: what is the weather in Paris?").await;
    let (id, name, _) = &answer.calls[0];
    assert_eq!(name, "weather");
    let answer = agent.give(id, r#"{"sky":"clear"}"#).await;
    assert_eq!(answer.calls[0].2, r#"{"message":"The sky is clear."}"#);
}

#[tokio::test]
async fn an_answer_can_be_broken_off_and_the_next_asked_for_at_once() {
    let server = Server::start().await;
    let mut agent = Agent::open(&server, vec![]).await;
    agent.tell(Role::User, "Count to one hundred.").await;
    agent.act(respond()).await;
    while !matches!(agent.item().await, ModelItem::Event(ModelEvent::Words { .. })) {}
    agent.act(ModelAction::Cancel).await;
    agent.tell(Role::User, "What is two plus two?").await;
    agent.act(respond()).await;
    let cancelled = agent.answer().await;
    assert_eq!(cancelled.outcome, Some(ResponseOutcome::Cancelled));
    assert!(cancelled.said[0].starts_with("One, two, three"), "{cancelled:?}");
    assert!(!cancelled.said[0].ends_with("one hundred."), "{cancelled:?}");
    let answer = agent.answer().await;
    assert_eq!(answer.outcome, Some(ResponseOutcome::Completed));
    assert_eq!(answer.said, ["That is four."]);
}

#[tokio::test]
async fn a_message_that_is_broken_off_in_the_writing_is_never_sent() {
    let server = Server::start().await;
    let mut agent = Agent::open(&server, vec![send_message()]).await;
    agent.tell(Role::User, "Count to one hundred.").await;
    agent.act(respond()).await;
    let started = agent.item().await;
    assert!(matches!(started, ModelItem::Event(ModelEvent::ResponseStarted { .. })), "{started:?}");
    agent.act(ModelAction::Cancel).await;
    let cancelled = agent.answer().await;
    assert_eq!(cancelled.outcome, Some(ResponseOutcome::Cancelled));
    assert!(cancelled.calls.is_empty(), "{cancelled:?}");
}

#[tokio::test]
async fn sessions_in_text_take_no_place_of_those_that_hear() {
    let limits = LocalModelConfig { voice_sessions_max: 1, text_sessions_max: 40, ..config() };
    let server = Server::with(limits).await;
    let mut readers = Vec::new();
    for _ in 0..30 {
        readers.push(Agent::open(&server, vec![]).await);
    }
    let speaker = open(&profile(&server), AgentSpec::default(), Medium::Voice, &Meter::new());
    let mut speaker = Agent { link: speaker };
    assert_eq!(speaker.item().await, ModelItem::Event(ModelEvent::Ready { takes_turns: true }));
    let mut second = open(&profile(&server), AgentSpec::default(), Medium::Voice, &Meter::new());
    let refused = second.items.recv().await.map(|arrived| arrived.item);
    let Some(ModelItem::Event(ModelEvent::Failed(ModelFailure::Unavailable(why)))) = refused else {
        panic!("there is one place to hear: {refused:?}");
    };
    assert!(why.starts_with("session_limit_reached"), "{why}");
    for reader in &mut readers {
        assert_eq!(reader.ask("What is two plus two?").await.said, ["That is four."]);
    }
}

#[tokio::test]
async fn a_session_in_text_that_hears_takes_a_place_and_gives_it_back() {
    let limits = LocalModelConfig { voice_sessions_max: 1, text_sessions_max: 4, ..config() };
    let server = Server::with(limits).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    for client in [&mut first, &mut second] {
        client.update(json!({"output_modalities": ["text"]})).await;
    }
    first.hear("goodbye").await;
    let events = first.until("response.done").await;
    assert_eq!(find(&events, "response.output_text.done")["text"], "Goodbye.");
    second.append(&recording("goodbye")[..480]).await;
    assert_eq!(second.error().await[0], "session_limit_reached");
    first.socket.close(None).await.unwrap();
    while !second.try_hear().await {}
}

#[tokio::test]
async fn writing_comes_in_pieces_and_whole() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.update(json!({"output_modalities": ["text"]})).await;
    client.write("Count to twelve.").await;
    let events = client.until("response.done").await;
    assert_eq!(
        kinds(&events)[2..],
        [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    let deltas: Vec<&str> = deltas.map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(deltas.len(), 3);
    assert_eq!(find(&events, "response.output_text.done")["text"], deltas.concat());
}

/// An agent's link to the model.
struct Agent {
    link: ModelLink,
}

/// All that came of one answer.
#[derive(Debug, Default)]
struct Answer {
    said: Vec<String>,
    /// Ids, names and arguments.
    calls: Vec<(ToolCallId, String, String)>,
    outcome: Option<ResponseOutcome>,
}

impl Agent {
    async fn open(server: &Server, tools: Vec<ToolSpec>) -> Self {
        let spec = AgentSpec { tools, ..AgentSpec::default() };
        let mut agent = Self { link: open(&profile(server), spec, Medium::Text, &Meter::new()) };
        assert_eq!(agent.item().await, ModelItem::Event(ModelEvent::Ready { takes_turns: false }));
        agent
    }

    async fn act(&self, action: ModelAction) {
        self.link.actions.send(action).await.unwrap();
    }

    async fn tell(&self, role: Role, text: &str) {
        self.act(ModelAction::AddText { role, text: Pii::new(text.to_owned()) }).await;
    }

    async fn ask(&mut self, text: &str) -> Answer {
        self.tell(Role::User, text).await;
        self.act(respond()).await;
        self.answer().await
    }

    async fn give(&mut self, id: &ToolCallId, output: &str) -> Answer {
        let output = Pii::new(output.to_owned());
        self.act(ModelAction::ToolOutput { id: id.clone(), output }).await;
        self.act(respond()).await;
        self.answer().await
    }

    async fn item(&mut self) -> ModelItem {
        let item = tokio::time::timeout(PATIENCE, self.link.items.recv()).await;
        item.expect("an item comes").expect("the session lives").item
    }

    /// Everything up to the end of an answer.
    async fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        loop {
            match self.item().await {
                ModelItem::Event(ModelEvent::Words { text, is_final: true, .. }) => {
                    answer.said.push(text.expose().clone());
                }
                ModelItem::Event(ModelEvent::ToolCall { id, name, arguments_json, .. }) => {
                    answer.calls.push((id, name, arguments_json));
                }
                ModelItem::Event(ModelEvent::ResponseDone { outcome, .. }) => {
                    answer.outcome = Some(outcome);
                    return answer;
                }
                ModelItem::Event(ModelEvent::Complaint { code, message }) => {
                    panic!("{code}: {message}")
                }
                ModelItem::Event(_) => {}
                sound @ (ModelItem::Audio { .. } | ModelItem::AudioDone { .. }) => {
                    panic!("sound in text: {sound:?}")
                }
            }
        }
    }
}

fn respond() -> ModelAction {
    ModelAction::Respond { instructions: None }
}

fn profile(server: &Server) -> ModelProfile {
    ModelProfile::local(format!("ws://127.0.0.1:{}/v1/realtime", server.port))
}

fn weather() -> ToolSpec {
    tool("weather", "Tells the weather at a place", "place")
}

fn send_message() -> ToolSpec {
    tool("send_message", "Send a message to the chat", "message")
}

fn tool(name: &str, description: &str, parameter: &str) -> ToolSpec {
    let properties = json!({parameter: {"type": "string"}});
    let parameters = json!({"type": "object", "properties": properties, "required": [parameter]});
    ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters_json: parameters.to_string(),
        timeout: PATIENCE,
        filler: None,
    }
}
