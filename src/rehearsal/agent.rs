//! What a script says of its agent.

use std::time::Duration;

use super::words::{Line, seconds};
use crate::agent::{AgentSpec, Detector, NoiseSuppression, ToolSpec, TurnDetection};

/// Takes what a script says of its agent: the rest of a line.
pub(super) fn take(agent: &mut AgentSpec, words: &mut Line) -> Result<(), String> {
    let model = &mut agent.model;
    match words.word()?.as_str() {
        "greeting" => model.greeting = Some(words.quoted().ok_or("which greeting?")?),
        "instructions" => agent.instructions = words.quoted().unwrap_or_default(),
        "half-duplex" => model.barge_in.enabled = false,
        "min-speech" => model.barge_in.min_speech = seconds(&words.word()?)?,
        "no-echo-guard" => model.barge_in.echo_guard = false,
        "keeps-silence" => model.trim_silence = false,
        "gain-control" => model.hearing.gain_control = true,
        "detector" => model.hearing.detector = detector(&words.word()?)?,
        "noise-suppression" => {
            model.hearing.noise_suppression = noise_suppression(&words.word()?)?;
        }
        "turns" => {
            model.turn_detection = match words.word()?.as_str() {
                "gateway" => TurnDetection::Gateway { silence: seconds(&words.word()?)? },
                "model" => TurnDetection::Model { json: words.json().ok_or("how?")? },
                other => return Err(format!("{other:?} takes no turns")),
            };
        }
        "tool" => {
            let tool = tool(words)?;
            agent.tools.push(tool);
        }
        other => return Err(format!("an agent has no {other:?}")),
    }
    Ok(())
}

/// Silero's needs a file, and a rehearsal has none.
fn detector(word: &str) -> Result<Detector, String> {
    match word {
        "webrtc" => Ok(Detector::Webrtc),
        "earshot" => Ok(Detector::Earshot),
        other => Err(format!("{other:?} detects nothing here")),
    }
}

fn noise_suppression(word: &str) -> Result<NoiseSuppression, String> {
    match word {
        "low" => Ok(NoiseSuppression::Low),
        "moderate" => Ok(NoiseSuppression::Moderate),
        "high" => Ok(NoiseSuppression::High),
        other => Err(format!("noise is not suppressed {other:?}")),
    }
}

fn tool(words: &mut Line) -> Result<ToolSpec, String> {
    let mut tool = ToolSpec {
        name: words.word()?,
        description: words.quoted().unwrap_or_default(),
        parameters_json: r#"{"type":"object"}"#.into(),
        timeout: Duration::from_secs(30),
        filler: None,
    };
    while let Some(option) = words.name() {
        match option.as_str() {
            "timeout" => tool.timeout = seconds(&words.word()?)?,
            "filler" => tool.filler = Some(words.quoted().ok_or("which filler?")?),
            other => return Err(format!("a tool has no {other:?}")),
        }
    }
    Ok(tool)
}
