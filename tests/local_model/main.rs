//! The local model over a real WebSocket: recorded questions in, spoken answers out.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

mod client;
mod text;

use callbridge::agent::{AgentSpec, Medium, ModelAction, ModelEvent, ResponseOutcome};
use callbridge::media::{Frame24k, TimedFrame};
use callbridge::meter::Meter;
use callbridge::models::local::{LocalModel, LocalModelConfig};
use callbridge::models::{HeardFrame, ModelItem, ModelLink, ModelProfile, open};
use callbridge::privacy::Pii;
use callbridge::sys::clock;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message};

use client::{Client, PATIENCE, Server, config, find, kinds, plain, recording, said, sound};

#[tokio::test]
async fn a_spoken_question_is_answered_aloud() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.transcribe().await;
    client.hear("repeat-after-me").await;
    let events = client.until("response.done").await;
    let mut order = kinds(&events);
    // Words may be told while the question is still being asked.
    order.retain(|kind| !kind.contains("input_audio_transcription"));
    assert_eq!(
        order,
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let heard =
        &find(&events, "conversation.item.input_audio_transcription.completed")["transcript"];
    assert_eq!(plain(heard), "repeat after me the quick brown fox jumps over the lazy dog");
    let said = &find(&events, "response.output_audio_transcript.done")["transcript"];
    assert_eq!(plain(said), "the quick brown fox jumps over the lazy dog");
    assert_eq!(find(&events, "response.done")["response"]["status"], "completed");
}

#[tokio::test]
async fn turns_are_on_the_clock_of_the_sound() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.hear("goodbye").await;
    let events = client.until("response.done").await;
    let started = find(&events, "input_audio_buffer.speech_started");
    let stopped = find(&events, "input_audio_buffer.speech_stopped");
    let committed = find(&events, "input_audio_buffer.committed");
    assert!(started["audio_start_ms"].as_u64().unwrap() < 200, "{started}");
    assert!((1500..2400).contains(&stopped["audio_end_ms"].as_u64().unwrap()), "{stopped}");
    assert!(started["item_id"] == stopped["item_id"] && stopped["item_id"] == committed["item_id"]);
    // Without transcription nothing is told of the words, and the answer still uses them.
    assert!(!kinds(&events).iter().any(|kind| kind.contains("transcription.")));
    assert_eq!(said(&events), "Goodbye.");
}

#[tokio::test]
async fn the_answer_heard_again_has_the_words_of_its_transcript() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.transcribe().await;
    client
        .send(json!({"type": "response.create", "response": {
            "instructions": "Say exactly: \"Good morning. The weather is fine today.\""
        }}))
        .await;
    let events = client.until("response.done").await;
    assert_eq!(said(&events), "Good morning. The weather is fine today.");
    let mut answer = vec![0; 12_000];
    answer.extend(sound(&events));
    answer.extend(vec![0; 24_000]);
    client.append(&answer).await;
    let events = client.until("conversation.item.input_audio_transcription.completed").await;
    let heard =
        &find(&events, "conversation.item.input_audio_transcription.completed")["transcript"];
    assert_eq!(plain(heard), "good morning the weather is fine today");
}

#[tokio::test]
async fn the_first_sentence_is_sent_before_the_second_is_made() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.write("Count to forty.").await;
    let events = client.until("response.done").await;
    let kinds = kinds(&events);
    let audio = "response.output_audio.delta";
    let second = kinds.iter().rposition(|kind| kind.contains("transcript.delta")).unwrap();
    assert!(kinds[..second].contains(&audio.to_owned()), "{kinds:?}");
    let response = &find(&events, "response.done")["response"];
    let seconds = sound(&events).len() / 24_000;
    let tokens = response["usage"]["output_token_details"]["audio_tokens"].as_u64().unwrap();
    assert!(seconds > 10 && tokens / 20 == seconds as u64, "{seconds} s, {tokens} tokens");
}

#[tokio::test]
async fn a_name_is_remembered_in_its_own_session_alone() {
    let server = Server::start().await;
    let (mut alice, mut other) = (server.client().await, server.client().await);
    alice.hear("my-name-is").await;
    assert_eq!(said(&alice.until("response.done").await), "Nice to meet you, Alice.");
    alice.hear("what-is-my-name").await;
    assert_eq!(said(&alice.until("response.done").await), "Your name is Alice.");
    other.hear("what-is-my-name").await;
    assert_eq!(said(&other.until("response.done").await), "You have not told me your name.");
}

#[tokio::test]
async fn a_declared_tool_is_called_and_its_outcome_told() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let schema = json!({"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string"}
    }});
    let tool = json!({"type": "function", "name": "get_weather", "parameters": schema,
        "description": "Get the weather in a city"});
    client.update(json!({"tools": [tool]})).await;
    client.hear("tell-me-the-weather-in-paris").await;
    let events = client.until("response.done").await;
    let done = find(&events, "response.function_call_arguments.done");
    assert_eq!(done["name"], "get_weather");
    assert_eq!(done["arguments"], r#"{"city":"Paris"}"#);
    let item = &find(&events, "response.done")["response"]["output"][0];
    assert_eq!(item["type"], "function_call");
    assert_eq!(item["call_id"], done["call_id"]);

    let output = json!({"type": "function_call_output", "call_id": done["call_id"],
        "output": "{\"weather\":\"sunny\"}"});
    client.send(json!({"type": "conversation.item.create", "item": output})).await;
    client.send(json!({"type": "response.create"})).await;
    assert_eq!(said(&client.until("response.done").await), "The weather is sunny.");
}

#[tokio::test]
async fn speaking_over_an_answer_breaks_it_off() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.write("Count to one hundred.").await;
    client.until("response.output_audio.delta").await;
    client.hear("goodbye").await;
    let events = client.until("response.done").await;
    let response = &find(&events, "response.done")["response"];
    assert_eq!(response["status"], "cancelled");
    assert_eq!(response["status_details"]["reason"], "turn_detected");
    assert_eq!(find(&events, "response.output_item.done")["item"]["status"], "incomplete");
    assert_eq!(said(&client.until("response.done").await), "Goodbye.");
}

#[tokio::test]
async fn a_client_may_cancel_and_truncate() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.write("Count to one hundred.").await;
    let events = client.until("response.output_audio.delta").await;
    let item = find(&events, "response.output_audio.delta")["item_id"].clone();
    client.send(json!({"type": "response.cancel"})).await;
    let events = client.until("response.done").await;
    let response = &find(&events, "response.done")["response"];
    assert_eq!(response["status_details"]["reason"], "client_cancelled");

    let truncate = |ms: u64| {
        json!({"type": "conversation.item.truncate", "event_id": "cut",
        "item_id": item, "content_index": 0, "audio_end_ms": ms})
    };
    client.send(truncate(100)).await;
    let cut = client.next_of("conversation.item.truncated").await;
    assert_eq!(cut["item_id"], item);
    assert_eq!(cut["audio_end_ms"], 100);
    client.send(truncate(101)).await;
    assert_eq!(client.error().await, ["invalid_value", "cut"]);
    client.send(json!({"type": "conversation.item.retrieve", "item_id": item})).await;
    let kept = client.next_of("conversation.item.retrieved").await;
    assert_eq!(kept["item"]["content"][0]["transcript"], Value::Null);
    client.send(json!({"type": "response.cancel", "event_id": "late"})).await;
    assert_eq!(client.error().await, ["response_cancel_not_active", "late"]);
}

#[tokio::test]
async fn a_second_answer_waits_its_turn() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.write("Count to fifty.").await;
    client.send(json!({"type": "response.create", "event_id": "second"})).await;
    assert_eq!(client.error().await, ["conversation_already_has_active_response", "second"]);
    // One beside the conversation runs at the same time.
    client
        .send(json!({"type": "response.create", "response": {
            "conversation": "none", "output_modalities": ["text"], "metadata": {"for": "summary"},
            "instructions": "Say exactly: \"aside\"",
        }}))
        .await;
    let aside = client.next_of("response.done").await;
    assert_eq!(aside["response"]["metadata"]["for"], "summary");
    assert_eq!(aside["response"]["output"][0]["content"][0]["text"], "aside");
    assert_eq!(client.next_of("response.done").await["response"]["status"], "completed");
}

#[tokio::test]
async fn turns_can_be_ended_by_hand() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.update(json!({"audio": {"input": {"turn_detection": null}}})).await;
    client.send(json!({"type": "input_audio_buffer.commit", "event_id": "empty"})).await;
    assert_eq!(client.error().await, ["input_audio_buffer_commit_empty", "empty"]);
    client.append(&recording("goodbye")).await;
    client.send(json!({"type": "input_audio_buffer.clear"})).await;
    client.next_of("input_audio_buffer.cleared").await;
    client.append(&recording("my-name-is")).await;
    client.send(json!({"type": "input_audio_buffer.commit"})).await;
    client.send(json!({"type": "response.create"})).await;
    let events = client.until("response.done").await;
    assert!(!kinds(&events).contains(&"input_audio_buffer.speech_started".to_owned()));
    assert_eq!(said(&events), "Nice to meet you, Alice.");
}

#[tokio::test]
async fn a_written_conversation_needs_no_sound() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.update(json!({"output_modalities": ["text"]})).await;
    client.write("What is six times seven?").await;
    let events = client.until("response.done").await;
    assert_eq!(find(&events, "response.output_text.done")["text"], "That is forty-two.");
    assert!(!kinds(&events).iter().any(|kind| kind.contains("audio")));
}

#[tokio::test]
async fn one_bad_message_ends_nothing() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for (text, code) in [
        ("{not json", "invalid_event"),
        (r#"{"type":"fly.away"}"#, "invalid_value"),
        (r#"{"type":"input_audio_buffer.append","audio":"!!"}"#, "invalid_value"),
        (r#"{"type":"session.update","session":{}}"#, "missing_required_parameter"),
        (
            r#"{"type":"session.update","session":{"type":"realtime","temperature":1}}"#,
            "unknown_parameter",
        ),
        (r#"{"type":"conversation.item.delete","item_id":"none"}"#, "item_delete_invalid_item_id"),
    ] {
        client.socket.send(Message::text(text)).await.unwrap();
        assert_eq!(client.error().await[0], code, "{text}");
    }
    client.socket.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(client.error().await[0], "invalid_event");
    client.write("Hello!").await;
    assert_eq!(said(&client.until("response.done").await), "Hello. How can I help you?");
}

#[tokio::test]
async fn the_gateways_own_client_has_a_conversation() {
    let server = Server::start().await;
    let profile = ModelProfile::local(format!("ws://127.0.0.1:{}/v1/realtime", server.port));
    let mut link = open(&profile, AgentSpec::default(), Medium::Voice, &Meter::new());
    let words = Pii::new("Say exactly: \"Welcome.\"".to_owned());
    link.actions.send(ModelAction::Respond { instructions: Some(words) }).await.unwrap();
    let greeting = turn(&mut link).await;
    assert_eq!((greeting.said.as_str(), greeting.heard.as_str()), ("Welcome.", ""));

    let mut samples = recording("what-is-my-name");
    samples.resize(samples.len().next_multiple_of(480) + 16_320, 0);
    for frame in samples.as_chunks().0 {
        link.audio.send(heard(&Frame24k::new(*frame))).await.unwrap();
    }
    let answer = turn(&mut link).await;
    assert_eq!(answer.heard, "What is my name?");
    assert_eq!(answer.said, "You have not told me your name.");
    assert!(answer.samples > 24_000, "{} samples", answer.samples);
}

#[tokio::test]
async fn sessions_are_counted_and_end_with_the_server() {
    let server =
        Server::with(LocalModelConfig { voice_sessions_max: 1, text_sessions_max: 0, ..config() })
            .await;
    let mut first = server.client().await;
    let Err(Error::Http(refused)) = connect_async(server.url()).await else {
        panic!("a second session is refused");
    };
    assert_eq!(refused.status(), 503);
    drop(server);
    let end = async { while let Some(Ok(_)) = first.socket.next().await {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the session ends with its server");
}

#[tokio::test]
async fn the_old_form_of_the_protocol_is_refused() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let server = Server::start().await;
    let mut request = server.url().into_client_request().unwrap();
    request.headers_mut().insert("OpenAI-Beta", "realtime=v1".parse().unwrap());
    let (socket, _) = connect_async(request).await.unwrap();
    let mut client = Client { socket };
    assert_eq!(client.error().await[0], "beta_api_shape_disabled");
    let Some(Ok(Message::Close(Some(frame)))) = client.socket.next().await else {
        panic!("the socket is closed");
    };
    assert_eq!(u16::from(frame.code), 4000);
}

#[test]
fn a_model_that_cannot_be_had_says_what_to_do() {
    let nowhere = LocalModelConfig { dir: "/nowhere".into(), ..LocalModelConfig::default() };
    let text = LocalModel::load(nowhere).unwrap_err().to_string();
    assert!(text.contains("/nowhere/") && text.contains("make deps"), "{text}");
    let mute = LocalModelConfig { voice: "marin".into(), ..config() };
    let text = LocalModel::load(mute).unwrap_err().to_string();
    assert!(text.contains("marin") && text.contains("rms"), "{text}");
}

/// What one answer brought through the gateway's own client.
#[derive(Default)]
struct Turn {
    heard: String,
    said: String,
    samples: usize,
}

/// Everything up to the end of an answer.
async fn turn(link: &mut ModelLink) -> Turn {
    let mut turn = Turn::default();
    loop {
        let item = tokio::time::timeout(PATIENCE, link.items.recv()).await;
        match item.expect("an item comes").expect("the session lives").item {
            ModelItem::Event(ModelEvent::Transcript { text, is_final: true, .. }) => {
                turn.heard.clone_from(text.expose());
            }
            ModelItem::Event(ModelEvent::Words { text, is_final: true, .. }) => {
                turn.said.clone_from(text.expose());
            }
            ModelItem::Audio { samples, .. } => turn.samples += samples.len(),
            ModelItem::Event(ModelEvent::ResponseDone { outcome, .. }) => {
                assert_eq!(outcome, ResponseOutcome::Completed);
                return turn;
            }
            ModelItem::Event(ModelEvent::Complaint { code, message }) => {
                panic!("{code}: {message}")
            }
            ModelItem::Event(_) | ModelItem::AudioDone { .. } => {}
        }
    }
}

/// A frame that has been on its way for no time.
fn heard(frame: &Frame24k) -> HeardFrame {
    let now = clock::now();
    HeardFrame::new(TimedFrame { frame: *frame, since: now }, now)
}
