//! How servers of the Realtime protocol differ, as data: one value for each.
//!
//! What a server sends needs no dialect: names of the beta are read as aliases by all, and
//! `session.created` is waited for from none. What a server has no words for is not sent.

use std::time::Duration;

/// How one kind of server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// What people call it.
    pub name: &'static str,
    /// Under which name the URL's query asks for the model.
    pub query: &'static str,
    /// Where the key goes, if there is one.
    pub key: KeyHeader,
    /// What a session looks like in `session.update`.
    pub session: SessionShape,
    /// What a tool looks like there.
    pub tools: ToolShape,
    /// The rate of what it hears. What it says is at 24 kHz with all of them.
    pub hears: HearingRate,
    /// What it does not have.
    pub lacks: &'static [Feature],
    /// Whether and how it writes down what it hears where a profile says nothing of it.
    pub transcribes: Transcribes,
    /// How long a session lasts if the server does not say.
    pub session_cap: Duration,
}

/// Where a key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHeader {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `api-key: KEY`.
    ApiKey,
}

/// What a session looks like in `session.update`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionShape {
    /// As in the protocol today: all of sound below `audio`.
    Nested,
    /// As in the beta: all at the top, with names of their own.
    Flat {
        /// What 16-bit samples are called.
        pcm: &'static str,
    },
    /// Formats below `audio`, voice and turn detection at the top; no `type`, no modalities.
    Mixed,
}

/// What a function looks like among the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolShape {
    /// Its fields beside `type`.
    Plain,
    /// Its fields below `function`.
    Nested,
}

/// The rate of what a server hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HearingRate {
    /// 24 kHz, the house rate.
    Khz24,
    /// 16 kHz.
    Khz16,
}

/// Whether and how a server writes down what it hears where a profile says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transcribes {
    /// By this model, if it is asked to.
    With(&'static str),
    /// In its own way, unasked.
    Unasked,
    /// Not unless a profile names a model.
    IfNamed,
}

impl Transcribes {
    /// The model to ask for.
    #[must_use]
    pub const fn model(self) -> Option<&'static str> {
        match self {
            Self::With(model) => Some(model),
            Self::Unasked | Self::IfNamed => None,
        }
    }
}

/// What some servers have and others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `conversation.item.truncate`. Without it the model believes that all was heard.
    Truncate,
    /// `conversation.item.delete`.
    Delete,
    /// `response.cancel` with a `response_id`.
    NamedCancel,
    /// `metadata` in `response.create`, which comes back.
    Metadata,
    /// Turn detection by meaning, `semantic_vad`.
    SemanticVad,
    /// `create_response` and `interrupt_response` in turn detection; without them both are on.
    TurnFlags,
    /// Noise reduction.
    NoiseReduction,
}

impl Dialect {
    /// `OpenAI`'s own.
    pub const OPENAI: Self = Self {
        name: "openai",
        query: "model",
        key: KeyHeader::Bearer,
        session: SessionShape::Nested,
        tools: ToolShape::Plain,
        hears: HearingRate::Khz24,
        lacks: &[],
        transcribes: Transcribes::With("gpt-transcribe"),
        session_cap: Duration::from_mins(60),
    };

    /// Azure: the model is a deployment. Tokens of Entra go to a bearer, keys do not.
    pub const AZURE: Self = Self {
        name: "azure",
        key: KeyHeader::ApiKey,
        transcribes: Transcribes::With("whisper-1"),
        session_cap: Duration::from_mins(30),
        ..Self::OPENAI
    };

    /// Azure with a dated `api-version`: the beta, by its own name for deployments.
    pub const AZURE_PREVIEW: Self = Self {
        query: "deployment",
        session: SessionShape::Flat { pcm: "pcm16" },
        lacks: &[Feature::Metadata],
        ..Self::AZURE
    };

    /// xAI. It transcribes unasked. Its sessions are said to last from 30 to 120 minutes.
    pub const XAI: Self = Self {
        name: "xai",
        session: SessionShape::Mixed,
        lacks: &[Feature::SemanticVad, Feature::TurnFlags, Feature::NoiseReduction],
        transcribes: Transcribes::Unasked,
        session_cap: Duration::from_mins(30),
        ..Self::OPENAI
    };

    /// Alibaba's Qwen-Omni. It transcribes unasked.
    pub const QWEN: Self = Self {
        name: "qwen",
        session: SessionShape::Flat { pcm: "pcm" },
        tools: ToolShape::Nested,
        hears: HearingRate::Khz16,
        lacks: &[
            Feature::Truncate,
            Feature::Delete,
            Feature::NamedCancel,
            Feature::Metadata,
            Feature::TurnFlags,
            Feature::NoiseReduction,
        ],
        transcribes: Transcribes::Unasked,
        session_cap: Duration::from_mins(120),
        ..Self::OPENAI
    };

    /// A server that takes the protocol's core and may refuse what goes beyond it.
    pub const GENERIC: Self = Self {
        name: "generic",
        lacks: &[Feature::Metadata, Feature::TurnFlags],
        transcribes: Transcribes::IfNamed,
        ..Self::OPENAI
    };

    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::OPENAI, Self::AZURE, Self::AZURE_PREVIEW, Self::XAI, Self::QWEN, Self::GENERIC];

    /// Azure's, by the URL: whoever names an `api-version` speaks to the preview.
    #[must_use]
    pub fn azure(url: &str) -> Self {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let is_dated = query.split('&').any(|pair| pair.starts_with("api-version="));
        if is_dated { Self::AZURE_PREVIEW } else { Self::AZURE }
    }

    /// Whether the server has this.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        !self.lacks.contains(&feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azures_preview_is_told_by_its_date() {
        let preview = "wss://a.openai.azure.com/openai/realtime?api-version=2024-10-01-preview";
        assert_eq!(Dialect::azure(preview), Dialect::AZURE_PREVIEW);
        let current = "wss://a.openai.azure.com/openai/v1/realtime";
        assert_eq!(Dialect::azure(current), Dialect::AZURE);
    }

    #[test]
    fn what_is_not_lacking_is_there() {
        assert!(Dialect::OPENAI.has(Feature::Truncate));
        assert!(!Dialect::QWEN.has(Feature::Truncate));
        assert!(!Dialect::XAI.has(Feature::SemanticVad));
    }
}
