//! A journal as text: one JSON object a line. The first says what the agent was made of, each
//! further one what has happened and what was to be done about it, the last why no more follows.
//!
//! Instants are nanoseconds of one clock, which all journals of a process share. The shapes mirror
//! what the core takes; tokens are left out, for no replay needs them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::seed::{AgentSpecDef, LimitsDef};
use super::shapes::{
    CommandDef, ModelEventDef, ModelFailureDef, PacketShape, RoomEventDef, pcm, text,
};
use crate::agent::{AgentSpec, Command, Limits, ModelEvent, ModelFailure, RoomEvent};
use crate::ids::{AgentId, ClientId, ParticipantId, UtteranceId};
use crate::media::SileroModel;
use crate::models::ModelItem;
use crate::runtime::core::{Seed, Stimulus};

/// The version of this form. Whoever changes it so that older journals cannot be read counts up.
pub(super) const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// By which a journal is known, with the version of its form.
    pub(super) callbridge_journal: u32,
    /// The program that wrote it: what it was to do may differ in another.
    pub(super) program: String,
    #[serde(with = "text")]
    pub(super) agent: AgentId,
    /// When the agent was made, in milliseconds since the Unix epoch.
    pub(super) made_unix_ms: u64,
    /// The same on the journal's clock.
    pub(super) made_ns: u64,
    #[serde(with = "text")]
    own: ParticipantId,
    expires_ns: Option<u64>,
    #[serde(with = "LimitsDef")]
    limits: Limits,
    #[serde(with = "AgentSpecDef")]
    spec: AgentSpec,
}

/// A line in between.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "ns")]
    pub(super) at_ns: u64,
    #[serde(rename = "in")]
    pub(super) input: Input,
    #[serde(rename = "out", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) outputs: Vec<String>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) end: String,
}

/// A stimulus that can be written down.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Input {
    Command(#[serde(with = "CommandDef")] Command),
    /// `Command::Reconfigure`, which names an instant.
    Reconfigure {
        spec: Option<SpecShape>,
        expires_ns: Option<Expiry>,
    },
    ClientConnected(#[serde(with = "text")] ClientId),
    ClientGone(#[serde(with = "text")] ClientId),
    Room(#[serde(with = "RoomEventDef")] RoomEvent),
    RoomLost,
    Packet(PacketShape),
    Model(#[serde(with = "ModelEventDef")] ModelEvent),
    Audio {
        #[serde(with = "text")]
        utterance: UtteranceId,
        #[serde(with = "pcm")]
        samples: Vec<i16>,
    },
    AudioDone(#[serde(with = "text")] UtteranceId),
    ModelLost(#[serde(with = "ModelFailureDef")] ModelFailure),
    /// The predecessor's journal tells what was taken over.
    TakenOver {
        /// Its file, beside this one; none if it wrote none.
        from: Option<String>,
    },
    Shutdown,
    TimePassed,
}

/// A spec that may be there or not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SpecShape(#[serde(with = "AgentSpecDef")] AgentSpec);

/// When an agent expires from here on, if it does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expiry {
    Never,
    AtNs(u64),
}

/// What all instants of a process's journals are counted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(pub(super) Instant);

impl Epoch {
    pub(super) fn ns(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn at(self, ns: u64) -> Instant {
        self.0 + Duration::from_nanos(ns)
    }
}

impl Header {
    pub(super) fn new(agent: AgentId, seed: &Seed, made_ns: u64, epoch: Epoch) -> Self {
        Self {
            callbridge_journal: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            agent,
            made_unix_ms: crate::sys::clock::unix_ms(),
            made_ns,
            own: seed.own.clone(),
            expires_ns: seed.expires_at.map(|at| epoch.ns(at)),
            limits: (*seed.limits).clone(),
            spec: (*seed.spec).clone(),
        }
    }

    /// What the agent was made from.
    pub(super) fn seed(&self, silero: Option<SileroModel>, epoch: Epoch) -> Seed {
        Seed {
            spec: Arc::new(self.spec.clone()),
            limits: Arc::new(self.limits.clone()),
            expires_at: self.expires_ns.map(|ns| epoch.at(ns)),
            own: self.own.clone(),
            silero,
        }
    }
}

impl Input {
    /// What can be written of a stimulus at `now`; `from` is the file of a predecessor.
    pub(super) fn of(stimulus: &Stimulus, from: Option<&str>, epoch: Epoch, now: Instant) -> Self {
        match stimulus {
            Stimulus::Command(Command::Reconfigure { spec, expires_at }) => Self::Reconfigure {
                spec: spec.as_ref().map(|spec| SpecShape((**spec).clone())),
                expires_ns: expires_at.map(|at| match at {
                    None => Expiry::Never,
                    Some(at) => Expiry::AtNs(epoch.ns(at)),
                }),
            },
            Stimulus::Command(command) => Self::Command(command.clone()),
            Stimulus::ClientConnected(client) => Self::ClientConnected(client.clone()),
            Stimulus::ClientGone(client) => Self::ClientGone(client.clone()),
            Stimulus::Room(event) => Self::Room(event.clone()),
            Stimulus::RoomLost => Self::RoomLost,
            Stimulus::Packet(packet) => Self::Packet(PacketShape::of(packet, now)),
            Stimulus::Model(ModelItem::Event(event)) => Self::Model(event.clone()),
            Stimulus::Model(ModelItem::Audio { utterance, samples }) => {
                Self::Audio { utterance: utterance.clone(), samples: samples.clone() }
            }
            Stimulus::Model(ModelItem::AudioDone { utterance }) => {
                Self::AudioDone(utterance.clone())
            }
            Stimulus::ModelLost(failure) => Self::ModelLost(failure.clone()),
            Stimulus::TakenOver(_) => Self::TakenOver { from: from.map(str::to_owned) },
            Stimulus::Shutdown => Self::Shutdown,
            Stimulus::TimePassed => Self::TimePassed,
        }
    }

    /// The stimulus again, as it came at `now`; for a conversation that was taken over, whose it
    /// was.
    pub(super) fn stimulus(self, epoch: Epoch, now: Instant) -> Result<Stimulus, Option<String>> {
        Ok(match self {
            Self::Reconfigure { spec, expires_ns } => Stimulus::Command(Command::Reconfigure {
                spec: spec.map(|SpecShape(spec)| Arc::new(spec)),
                expires_at: expires_ns.map(|expiry| match expiry {
                    Expiry::Never => None,
                    Expiry::AtNs(ns) => Some(epoch.at(ns)),
                }),
            }),
            Self::Command(command) => Stimulus::Command(command),
            Self::ClientConnected(client) => Stimulus::ClientConnected(client),
            Self::ClientGone(client) => Stimulus::ClientGone(client),
            Self::Room(event) => Stimulus::Room(event),
            Self::RoomLost => Stimulus::RoomLost,
            Self::Packet(packet) => Stimulus::Packet(packet.packet(now)),
            Self::Model(event) => Stimulus::Model(ModelItem::Event(event)),
            Self::Audio { utterance, samples } => {
                Stimulus::Model(ModelItem::Audio { utterance, samples })
            }
            Self::AudioDone(utterance) => Stimulus::Model(ModelItem::AudioDone { utterance }),
            Self::ModelLost(failure) => Stimulus::ModelLost(failure),
            Self::TakenOver { from } => return Err(from),
            Self::Shutdown => Stimulus::Shutdown,
            Self::TimePassed => Stimulus::TimePassed,
        })
    }
}
