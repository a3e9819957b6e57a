//! A client's events in the shapes that servers other than the protocol's own want to see.

use serde::Serialize;

use super::audio::{PcmDecoder, pcm_to_base64};
use super::client::{ClientEvent, ItemCreate, ResponseCancel, ResponseCreate};
use super::event::Tagged;
use super::item::ResponseParams;
use super::session::{
    AudioFormat, Field, NoiseReduction, Session, SessionUpdate, Tool, Transcription, TurnDetection,
    Voice,
};
use crate::media::{Converter, HOUSE_RATE};
use crate::models::dialect::{Dialect, Feature, HearingRate, SessionShape, ToolShape};

/// The event as a text frame for this server; `None` if the server has no such thing.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are the same everywhere")]
pub fn encode_for(
    dialect: &Dialect,
    event: &ClientEvent<'_>,
    event_id: Option<&str>,
) -> Option<String> {
    let text = match event {
        ClientEvent::SessionUpdate(update) => encode_session(dialect, update, event_id),
        ClientEvent::ItemTruncate(_) if !dialect.has(Feature::Truncate) => return None,
        ClientEvent::ItemDelete(_) if !dialect.has(Feature::Delete) => return None,
        ClientEvent::ResponseCancel(_) if !dialect.has(Feature::NamedCancel) => {
            ClientEvent::ResponseCancel(ResponseCancel::default()).encode(event_id)
        }
        ClientEvent::ResponseCreate(create) if !dialect.has(Feature::Metadata) => {
            ClientEvent::ResponseCreate(without_metadata(create)).encode(event_id)
        }
        ClientEvent::ItemCreate(create) if dialect.session != SessionShape::Nested => {
            ClientEvent::ItemCreate(with_their_parts(create, dialect)).encode(event_id)
        }
        other => other.encode(event_id),
    };
    Some(text)
}

fn encode_session(dialect: &Dialect, update: &SessionUpdate, event_id: Option<&str>) -> String {
    let session = &*update.session;
    match dialect.session {
        SessionShape::Nested => {
            // No server wants sound as today and tools as once, so tools stay as they are.
            ClientEvent::SessionUpdate(update.clone()).encode(event_id)
        }
        SessionShape::Flat { pcm } => tagged(&flat(session, pcm, dialect.tools), event_id),
        SessionShape::Mixed => tagged(&mixed(session, dialect.tools), event_id),
    }
}

#[derive(Serialize)]
struct Update<'a, S> {
    session: &'a S,
}

#[expect(clippy::expect_used, reason = "every session is a map with string keys")]
fn tagged<S: Serialize>(session: &S, event_id: Option<&str>) -> String {
    let event = Tagged { kind: "session.update", event_id, body: &Update { session } };
    serde_json::to_string(&event).expect("every session is a JSON object")
}

/// A session of the beta.
#[derive(Serialize)]
struct Flat<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    modalities: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice: Option<&'a Voice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_audio_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_audio_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Field::is_absent")]
    input_audio_transcription: Field<&'a Transcription>,
    #[serde(skip_serializing_if = "Field::is_absent")]
    input_audio_noise_reduction: Field<&'a NoiseReduction>,
    #[serde(skip_serializing_if = "Field::is_absent")]
    turn_detection: Field<&'a TurnDetection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Vec<ShapedTool<'a>>>,
}

fn flat<'a>(session: &'a Session, pcm: &'static str, tools: ToolShape) -> Flat<'a> {
    let audio = session.audio.as_ref();
    let input = audio.and_then(|audio| audio.input.as_ref());
    let output = audio.and_then(|audio| audio.output.as_ref());
    let is_spoken = |all: &Vec<String>| all.iter().any(|modality| modality == "audio");
    let modalities = session.output_modalities.as_ref().map(|all| match is_spoken(all) {
        true => vec!["text", "audio"],
        false => vec!["text"],
    });
    Flat {
        modalities,
        instructions: session.instructions.as_deref(),
        voice: output.and_then(|output| output.voice.as_ref()),
        input_audio_format: input.and_then(|input| input.format.as_ref()).map(|_| pcm),
        output_audio_format: output.and_then(|output| output.format.as_ref()).map(|_| pcm),
        input_audio_transcription: input
            .map_or(Field::Absent, |input| input.transcription.as_ref()),
        input_audio_noise_reduction: input
            .map_or(Field::Absent, |input| input.noise_reduction.as_ref()),
        turn_detection: input.map_or(Field::Absent, |input| input.turn_detection.as_ref()),
        tools: shaped_tools(session, tools),
    }
}

/// A session with formats below `audio`, voice and turn detection at the top.
#[derive(Serialize)]
struct Mixed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice: Option<&'a Voice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_detection: Option<Detection<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<MixedAudio<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Vec<ShapedTool<'a>>>,
}

/// Turn detection where "none" is a kind of it.
#[derive(Serialize)]
#[serde(untagged)]
enum Detection<'a> {
    By(&'a TurnDetection),
    None {
        #[serde(rename = "type")]
        kind: (),
    },
}

#[derive(Serialize)]
struct MixedAudio<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<MixedInput<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<MixedOutput<'a>>,
}

#[derive(Serialize)]
struct MixedInput<'a> {
    format: &'a AudioFormat,
    #[serde(skip_serializing_if = "Field::is_absent")]
    transcription: Field<&'a Transcription>,
}

#[derive(Serialize)]
struct MixedOutput<'a> {
    format: &'a AudioFormat,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
}

fn mixed(session: &Session, tools: ToolShape) -> Mixed<'_> {
    let audio = session.audio.as_ref();
    let input = audio.and_then(|audio| audio.input.as_ref());
    let output = audio.and_then(|audio| audio.output.as_ref());
    let turn_detection = input.and_then(|input| match &input.turn_detection {
        Field::Absent => None,
        Field::Null => Some(Detection::None { kind: () }),
        Field::Value(detection) => Some(Detection::By(detection)),
    });
    let heard = input.and_then(|input| {
        let format = input.format.as_ref()?;
        Some(MixedInput { format, transcription: input.transcription.as_ref() })
    });
    let spoken = output.and_then(|output| {
        Some(MixedOutput { format: output.format.as_ref()?, speed: output.speed })
    });
    let has_sound = heard.is_some() || spoken.is_some();
    Mixed {
        instructions: session.instructions.as_deref(),
        voice: output.and_then(|output| output.voice.as_ref()),
        turn_detection,
        audio: has_sound.then_some(MixedAudio { input: heard, output: spoken }),
        tools: shaped_tools(session, tools),
    }
}

/// A tool in either shape.
#[derive(Serialize)]
#[serde(untagged)]
enum ShapedTool<'a> {
    Plain(&'a Tool),
    Nested {
        #[serde(rename = "type")]
        kind: &'a str,
        function: Function<'a>,
    },
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a serde_json::Value>,
}

fn shaped_tools(session: &Session, shape: ToolShape) -> Option<Vec<ShapedTool<'_>>> {
    let shaped = |tool| match shape {
        ToolShape::Plain => ShapedTool::Plain(tool),
        ToolShape::Nested => nested(tool),
    };
    session.tools.as_ref().map(|tools| tools.iter().map(shaped).collect())
}

fn nested(tool: &Tool) -> ShapedTool<'_> {
    let function = Function {
        name: tool.name.as_deref(),
        description: tool.description.as_deref(),
        parameters: tool.parameters.as_ref(),
    };
    ShapedTool::Nested { kind: &tool.kind, function }
}

/// The request without metadata; one that asks for nothing else asks for nothing.
fn without_metadata(create: &ResponseCreate) -> ResponseCreate {
    let mut create = create.clone();
    if let Some(response) = &mut create.response {
        response.metadata = None;
    }
    create.response = create.response.filter(|response| **response != ResponseParams::default());
    create
}

/// The item with its parts as the server knows them: under the names of the beta, which differ for
/// what the model said, and with sound at its rate.
fn with_their_parts(create: &ItemCreate, dialect: &Dialect) -> ItemCreate {
    let mut create = create.clone();
    for part in create.item.content.iter_mut().flatten() {
        if let Some(beta) = part.kind.strip_prefix("output_") {
            part.kind = beta.to_owned();
        }
        if dialect.hears == HearingRate::Khz16 {
            part.audio = part.audio.as_deref().and_then(at_16k);
        }
    }
    create
}

/// A whole recording at the house rate, as one at 16 kHz.
fn at_16k(base64: &str) -> Option<String> {
    let samples = PcmDecoder::default().decode(base64).ok()?;
    let mut converter = Converter::new(HOUSE_RATE, 16_000).ok()?;
    let mut converted = Vec::with_capacity(samples.len());
    converter.convert(&samples, &mut converted);
    converter.flush(&mut converted);
    Some(pcm_to_base64(&converted))
}
