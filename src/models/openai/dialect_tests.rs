//! What goes out in each dialect: the request for a socket, the settings, a round with a tool.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::connect::request;
use super::{Conversation, LinkId, Output, WallClock};
use crate::agent::{AgentSpec, Medium, ModelAction, ToolSpec, TurnDetection};
use crate::ids::{ToolCallId, UtteranceId};
use crate::models::ModelProfile;
use crate::models::dialect::Dialect;
use crate::models::wire::output_audio_delta;
use crate::privacy::{Pii, Secret};
use crate::sys::clock;

#[test]
fn openai() {
    let told = whole_call(Dialect::OPENAI, "wss://api.openai.com/v1/realtime");
    insta::assert_snapshot!(told, @r#"
    wss://api.openai.com/v1/realtime?model=their-model
    authorization: Bearer key-1
    session.update
      session.audio.input.format.rate = 24000
      session.audio.input.format.type = "audio/pcm"
      session.audio.input.transcription.model = "gpt-transcribe"
      session.audio.input.turn_detection.create_response = true
      session.audio.input.turn_detection.interrupt_response = true
      session.audio.input.turn_detection.type = "server_vad"
      session.audio.output.format.rate = 24000
      session.audio.output.format.type = "audio/pcm"
      session.audio.output.voice = "ada"
      session.instructions = "Be kind."
      session.output_modalities = ["audio"]
      session.tools[0].description = "Tells it."
      session.tools[0].name = "weather"
      session.tools[0].parameters.type = "object"
      session.tools[0].type = "function"
      session.type = "realtime"
    response.create
      response.instructions = "Greet."
      response.metadata.callbridge = "1"
    conversation.item.create
      item.call_id = "c1"
      item.output = "clear"
      item.type = "function_call_output"
    response.create
      response.metadata.callbridge = "2"
    response.cancel
      response_id = "r2"
    conversation.item.truncate
      audio_end_ms = 100
      content_index = 0
      item_id = "a2"
    "#);
}

#[test]
fn azure() {
    let told = whole_call(Dialect::AZURE, "wss://me.openai.azure.com/openai/v1/realtime");
    insta::assert_snapshot!(told, @r#"
    wss://me.openai.azure.com/openai/v1/realtime?model=their-model
    api-key: key-1
    session.update
      session.audio.input.format.rate = 24000
      session.audio.input.format.type = "audio/pcm"
      session.audio.input.transcription.model = "whisper-1"
      session.audio.input.turn_detection.create_response = true
      session.audio.input.turn_detection.interrupt_response = true
      session.audio.input.turn_detection.type = "server_vad"
      session.audio.output.format.rate = 24000
      session.audio.output.format.type = "audio/pcm"
      session.audio.output.voice = "ada"
      session.instructions = "Be kind."
      session.output_modalities = ["audio"]
      session.tools[0].description = "Tells it."
      session.tools[0].name = "weather"
      session.tools[0].parameters.type = "object"
      session.tools[0].type = "function"
      session.type = "realtime"
    response.create
      response.instructions = "Greet."
      response.metadata.callbridge = "1"
    conversation.item.create
      item.call_id = "c1"
      item.output = "clear"
      item.type = "function_call_output"
    response.create
      response.metadata.callbridge = "2"
    response.cancel
      response_id = "r2"
    conversation.item.truncate
      audio_end_ms = 100
      content_index = 0
      item_id = "a2"
    "#);
}

#[test]
fn azures_preview() {
    let url = "wss://me.openai.azure.com/openai/realtime?api-version=2025-04-01-preview";
    let told = whole_call(Dialect::azure(url), url);
    insta::assert_snapshot!(told, @r#"
    wss://me.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=their-model
    api-key: key-1
    session.update
      session.input_audio_format = "pcm16"
      session.input_audio_transcription.model = "whisper-1"
      session.instructions = "Be kind."
      session.modalities = ["text","audio"]
      session.output_audio_format = "pcm16"
      session.tools[0].description = "Tells it."
      session.tools[0].name = "weather"
      session.tools[0].parameters.type = "object"
      session.tools[0].type = "function"
      session.turn_detection.create_response = true
      session.turn_detection.interrupt_response = true
      session.turn_detection.type = "server_vad"
      session.voice = "ada"
    response.create
      response.instructions = "Greet."
    conversation.item.create
      item.call_id = "c1"
      item.output = "clear"
      item.type = "function_call_output"
    response.create
    response.cancel
      response_id = "r2"
    conversation.item.truncate
      audio_end_ms = 100
      content_index = 0
      item_id = "a2"
    "#);
}

#[test]
fn xai() {
    let told = whole_call(Dialect::XAI, "wss://api.x.ai/v1/realtime");
    insta::assert_snapshot!(told, @r#"
    wss://api.x.ai/v1/realtime?model=their-model
    authorization: Bearer key-1
    session.update
      session.audio.input.format.rate = 24000
      session.audio.input.format.type = "audio/pcm"
      session.audio.output.format.rate = 24000
      session.audio.output.format.type = "audio/pcm"
      session.instructions = "Be kind."
      session.tools[0].description = "Tells it."
      session.tools[0].name = "weather"
      session.tools[0].parameters.type = "object"
      session.tools[0].type = "function"
      session.turn_detection.type = "server_vad"
      session.voice = "ada"
    response.create
      response.instructions = "Greet."
      response.metadata.callbridge = "1"
    conversation.item.create
      item.call_id = "c1"
      item.output = "clear"
      item.type = "function_call_output"
    response.create
      response.metadata.callbridge = "2"
    response.cancel
      response_id = "r2"
    conversation.item.truncate
      audio_end_ms = 100
      content_index = 0
      item_id = "a2"
    "#);
}

#[test]
fn qwen() {
    let told = whole_call(Dialect::QWEN, "wss://dashscope.aliyuncs.com/api-ws/v1/realtime");
    insta::assert_snapshot!(told, @r#"
    wss://dashscope.aliyuncs.com/api-ws/v1/realtime?model=their-model
    authorization: Bearer key-1
    session.update
      session.input_audio_format = "pcm"
      session.instructions = "Be kind."
      session.modalities = ["text","audio"]
      session.output_audio_format = "pcm"
      session.tools[0].function.description = "Tells it."
      session.tools[0].function.name = "weather"
      session.tools[0].function.parameters.type = "object"
      session.tools[0].type = "function"
      session.turn_detection.type = "server_vad"
      session.voice = "ada"
    response.create
      response.instructions = "Greet."
    conversation.item.create
      item.call_id = "c1"
      item.output = "clear"
      item.type = "function_call_output"
    response.create
    response.cancel
    "#);
}

#[test]
fn generic() {
    let told = whole_call(Dialect::GENERIC, "ws://127.0.0.1:8765/v1/realtime");
    insta::assert_snapshot!(told, @r#"
    ws://127.0.0.1:8765/v1/realtime?model=their-model
    authorization: Bearer key-1
    session.update
      session.audio.input.format.rate = 24000
      session.audio.input.format.type = "audio/pcm"
      session.audio.input.turn_detection.type = "server_vad"
      session.audio.output.format.rate = 24000
      session.audio.output.format.type = "audio/pcm"
      session.audio.output.voice = "ada"
      session.instructions = "Be kind."
      session.output_modalities = ["audio"]
      session.tools[0].description = "Tells it."
      session.tools[0].name = "weather"
      session.tools[0].parameters.type = "object"
      session.tools[0].type = "function"
      session.type = "realtime"
    response.create
      response.instructions = "Greet."
    conversation.item.create
      item.call_id = "c1"
      item.output = "clear"
      item.type = "function_call_output"
    response.create
    response.cancel
      response_id = "r2"
    conversation.item.truncate
      audio_end_ms = 100
      content_index = 0
      item_id = "a2"
    "#);
}

#[test]
fn turns_that_we_end_are_said_in_the_words_of_each() {
    let mut spec = AgentSpec::default();
    spec.model.turn_detection = TurnDetection::Gateway { silence: Duration::from_millis(500) };
    let told = |dialect| {
        let settings = settings(dialect, &spec, Medium::Voice);
        let at = ["/session/turn_detection", "/session/audio/input/turn_detection"];
        at.map(|pointer| settings.pointer(pointer).map(Value::to_string))
    };
    let null = Some("null".to_owned());
    assert_eq!(told(Dialect::OPENAI), [None, null.clone()]);
    assert_eq!(told(Dialect::AZURE_PREVIEW), [null.clone(), None]);
    assert_eq!(told(Dialect::QWEN), [null, None]);
    assert_eq!(told(Dialect::XAI), [Some(r#"{"type":null}"#.to_owned()), None]);
}

#[test]
fn in_text_no_dialect_asks_for_sound() {
    let spec = AgentSpec::default();
    let modalities = |dialect, pointer| {
        let settings = settings(dialect, &spec, Medium::Text);
        assert_eq!(settings.pointer("/session/voice"), None);
        settings.pointer(pointer).map(Value::to_string)
    };
    let text = Some(r#"["text"]"#.to_owned());
    assert_eq!(modalities(Dialect::OPENAI, "/session/output_modalities"), text);
    assert_eq!(modalities(Dialect::QWEN, "/session/modalities"), text);
    // It has no word for it.
    assert_eq!(modalities(Dialect::XAI, "/session/audio"), None);
}

#[test]
fn a_recording_is_retold_at_the_rate_that_a_server_hears() {
    use crate::models::wire::{
        ClientEvent, Content, Item, ItemCreate, PcmDecoder, encode_for, pcm_to_base64,
    };
    let audio = Some(pcm_to_base64(&[0; 2_400]));
    let part = Content { kind: "input_audio".into(), audio, ..Content::default() };
    let item = Box::new(Item { content: Some(vec![part]), ..Item::default() });
    let event = ClientEvent::ItemCreate(ItemCreate { previous_item_id: None, item });
    for (dialect, samples) in [(Dialect::OPENAI, 2_400), (Dialect::QWEN, 1_600)] {
        let text = encode_for(&dialect, &event, None).unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        let audio = told.pointer("/item/content/0/audio").and_then(Value::as_str).unwrap();
        assert_eq!(PcmDecoder::default().decode(audio).unwrap().len(), samples, "{text}");
    }
}

#[test]
fn what_a_dialect_does_not_have_cannot_be_asked_for() {
    let mut spec = AgentSpec::default();
    spec.model.turn_detection = TurnDetection::Model { json: r#"{"type":"semantic_vad"}"#.into() };
    let failure = open(&profile(Dialect::XAI, "ws://x"), &spec, Medium::Voice).unwrap_err();
    assert!(failure.to_string().contains("dialect xai has no semantic_vad"), "{failure}");
    open(&profile(Dialect::QWEN, "ws://x"), &spec, Medium::Voice).unwrap();

    let mut profile = profile(Dialect::QWEN, "ws://x");
    profile.noise_reduction = Some("near_field".into());
    let failure = open(&profile, &AgentSpec::default(), Medium::Voice).unwrap_err();
    assert!(failure.to_string().contains("dialect qwen has no noise reduction"), "{failure}");
}

#[test]
fn noise_reduction_goes_where_each_wants_it() {
    let told = |dialect, pointer| {
        let mut profile = profile(dialect, "ws://x");
        profile.noise_reduction = Some("far_field".into());
        let mut conversation = open(&profile, &AgentSpec::default(), Medium::Voice).unwrap();
        conversation.on_connected(LinkId(1), clock::now());
        sent(&mut conversation)[0].pointer(pointer).map(Value::to_string)
    };
    let far = Some(r#"{"type":"far_field"}"#.to_owned());
    assert_eq!(told(Dialect::OPENAI, "/session/audio/input/noise_reduction"), far);
    assert_eq!(told(Dialect::AZURE_PREVIEW, "/session/input_audio_noise_reduction"), far);
}

/// A call from the request for a socket to an answer that is spoken over; what goes out, line by
/// line.
fn whole_call(dialect: Dialect, url: &str) -> String {
    let profile = profile(dialect, url);
    let mut told = connection(&profile);
    let tool = ToolSpec {
        name: "weather".into(),
        description: "Tells it.".into(),
        parameters_json: r#"{"type":"object"}"#.into(),
        timeout: Duration::from_secs(1),
        filler: None,
    };
    let spec =
        AgentSpec { instructions: "Be kind.".into(), tools: vec![tool], ..AgentSpec::default() };
    let mut conversation = open(&profile, &spec, Medium::Voice).unwrap();
    let now = clock::now();
    let link = LinkId(1);
    conversation.on_connected(link, now);
    conversation.handle_text(link, r#"{"type":"session.updated"}"#, now);
    conversation.handle_action(respond("Greet."), now);
    for text in [
        r#"{"type":"response.created","response":{"id":"r1"}}"#,
        r#"{"type":"response.output_item.done","response_id":"r1","item":{"type":"function_call",
            "id":"c","call_id":"c1","name":"weather","arguments":"{}"}}"#,
        r#"{"type":"response.done","response":{"id":"r1","status":"completed"}}"#,
    ] {
        conversation.handle_text(link, text, now);
    }
    let output = Pii::new("clear".to_owned());
    let id = ToolCallId::new("c1");
    conversation.handle_action(ModelAction::ToolOutput { id, output }, now);
    conversation.handle_action(ModelAction::Respond { instructions: None }, now);
    conversation.handle_text(link, r#"{"type":"response.created","response":{"id":"r2"}}"#, now);
    let delta = output_audio_delta("r2", "a2", &[0; 4_800]);
    let delta = crate::models::wire::ServerEvent::AudioDelta(delta).encode(None);
    conversation.handle_text(link, &delta, now);
    conversation.handle_action(ModelAction::Cancel, now);
    let utterance = UtteranceId::new("a2");
    conversation.handle_action(ModelAction::Truncate { utterance, end_ms: 100 }, now);
    for event in sent(&mut conversation) {
        writeln!(told, "{}", event["type"].as_str().unwrap()).unwrap();
        put_down(&mut told, "", &event);
    }
    told
}

fn respond(instructions: &str) -> ModelAction {
    ModelAction::Respond { instructions: Some(Pii::new(instructions.to_owned())) }
}

fn connection(profile: &ModelProfile) -> String {
    let request = request(profile).unwrap();
    let mut told = format!("{}\n", request.uri());
    for name in ["authorization", "api-key", "openai-beta"] {
        if let Some(value) = request.headers().get(name) {
            writeln!(told, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
    }
    told
}

/// Every value by its path. What is absent has no line; what is null has one.
fn put_down(told: &mut String, path: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| *name != "event_id") {
                if !(path.is_empty() && name == "type") {
                    put_down(told, &format!("{path}.{name}"), value);
                }
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for (place, value) in values.iter().enumerate() {
                put_down(told, &format!("{path}[{place}]"), value);
            }
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            writeln!(told, "  {} = {value}", path.trim_start_matches('.')).unwrap();
        }
    }
}

fn settings(dialect: Dialect, spec: &AgentSpec, medium: Medium) -> Value {
    let mut conversation = open(&profile(dialect, "ws://x"), spec, medium).unwrap();
    conversation.on_connected(LinkId(1), clock::now());
    sent(&mut conversation).remove(0)
}

fn sent(conversation: &mut Conversation) -> Vec<Value> {
    let texts = std::iter::from_fn(|| conversation.poll_output()).filter_map(|output| {
        let Output::Send { text, .. } = output else { return None };
        Some(text)
    });
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

fn open(
    profile: &ModelProfile,
    spec: &AgentSpec,
    medium: Medium,
) -> Result<Conversation, crate::agent::ModelFailure> {
    let wall_clock = WallClock { now: clock::now(), unix_ms: 1_800_000_000_000 };
    Conversation::new(profile, spec, medium, wall_clock)
}

fn profile(dialect: Dialect, url: &str) -> ModelProfile {
    ModelProfile {
        model: "their-model".into(),
        key: Some(Secret::new("key-1")),
        voice: Some("ada".into()),
        transcription: dialect.transcribes.model().map(Into::into),
        ..ModelProfile::new("test", url).speaking(dialect)
    }
}
