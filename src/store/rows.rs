//! How an agent's spec lies in its row: as JSON, in a shape of its own that old rows keep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::agent::{AgentSpec, ModelSpec, ToolSpec};

/// The spec as the text of its row.
pub(super) fn spec_to_text(spec: &AgentSpec) -> Result<String, StoreError> {
    serde_json::to_string(&SpecRow::from(spec)).map_err(|error| unreadable(&error))
}

/// The spec from the text of its row.
pub(super) fn spec_from_text(text: &str) -> Result<AgentSpec, StoreError> {
    let row: SpecRow = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    Ok(row.into())
}

/// A time as the database holds it. Times beyond 292 million years are cut off.
pub(super) fn ms_to_column(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A time as the database has held it.
pub(super) fn ms_from_column(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

#[derive(Serialize, Deserialize)]
struct SpecRow {
    name: String,
    instructions: String,
    tools: Vec<ToolRow>,
    voice_enabled: bool,
    #[serde(default)]
    model: ModelRow,
}

#[derive(Serialize, Deserialize)]
struct ToolRow {
    name: String,
    description: String,
    parameters_json: String,
    timeout_ms: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct ModelRow {
    profile: Option<String>,
    voice: Option<String>,
    greeting: Option<String>,
    turn_detection_json: Option<String>,
}

impl From<&AgentSpec> for SpecRow {
    fn from(spec: &AgentSpec) -> Self {
        let AgentSpec { name, instructions, tools, voice_enabled, model } = spec.clone();
        let tools = tools.into_iter().map(ToolRow::from).collect();
        Self { name, instructions, tools, voice_enabled, model: model.into() }
    }
}

impl From<SpecRow> for AgentSpec {
    fn from(row: SpecRow) -> Self {
        let SpecRow { name, instructions, tools, voice_enabled, model } = row;
        let tools = tools.into_iter().map(ToolSpec::from).collect();
        Self { name, instructions, tools, voice_enabled, model: model.into() }
    }
}

impl From<ToolSpec> for ToolRow {
    fn from(tool: ToolSpec) -> Self {
        let ToolSpec { name, description, parameters_json, timeout } = tool;
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Self { name, description, parameters_json, timeout_ms }
    }
}

impl From<ToolRow> for ToolSpec {
    fn from(row: ToolRow) -> Self {
        let ToolRow { name, description, parameters_json, timeout_ms } = row;
        Self { name, description, parameters_json, timeout: Duration::from_millis(timeout_ms) }
    }
}

impl From<ModelSpec> for ModelRow {
    fn from(model: ModelSpec) -> Self {
        let ModelSpec { profile, voice, greeting, turn_detection_json } = model;
        Self { profile, voice, greeting, turn_detection_json }
    }
}

impl From<ModelRow> for ModelSpec {
    fn from(row: ModelRow) -> Self {
        let ModelRow { profile, voice, greeting, turn_detection_json } = row;
        Self { profile, voice, greeting, turn_detection_json }
    }
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { what: "agent spec", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_comes_back_as_it_went() {
        let spec = AgentSpec {
            name: "Ida".into(),
            instructions: "Be brief.".into(),
            tools: vec![ToolSpec {
                name: "look_up".into(),
                description: "Looks it up.".into(),
                parameters_json: r#"{"type":"object"}"#.into(),
                timeout: Duration::from_secs(30),
            }],
            voice_enabled: true,
            model: ModelSpec { greeting: Some("Hello".into()), ..ModelSpec::default() },
        };
        let text = spec_to_text(&spec).expect("written");
        assert_eq!(spec_from_text(&text).expect("read"), spec);
    }

    #[test]
    fn a_row_without_a_model_reads_as_the_default_one() {
        let text = r#"{"name":"a","instructions":"","tools":[],"voice_enabled":false}"#;
        assert_eq!(spec_from_text(text).expect("read").model, ModelSpec::default());
    }

    #[test]
    fn a_broken_row_says_so() {
        let error = spec_from_text("{").expect_err("no spec");
        assert!(error.to_string().contains("agent spec"), "{error}");
    }
}
