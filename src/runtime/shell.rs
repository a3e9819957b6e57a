//! What all agents share: the doors to rooms and models, the limits, and the rooms' news.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::admission::{Admission, AdmissionPolicy};
use super::archive::{Archive, ArchivePolicy, Recorder};
use super::handle::Stamped;
use super::hooks::{Hooks, Reporter, WebhookPolicy};
use super::journal::Journal;
use super::recording::Recordings;
use crate::agent::{AgentRecord, AgentSpec, JoinRequest, Limits, Medium, ModelFailure};
use crate::ids::{AgentId, UserId};
use crate::media::SileroModel;
use crate::meter::Meter;
use crate::models::{self, ModelLink, ModelProfile};
use crate::rooms::{Places, PlacesConfig, RoomLink, RoomUrl, Rooms};
use crate::traces::Traces;

/// News of all agents that may wait for one watcher.
///
/// When full: that watcher misses the oldest, its watch ends, and its page connects again.
pub(super) const NEWS_CAPACITY: usize = 1024;

/// The adapters and limits of a running gateway.
#[derive(Debug)]
pub struct Shell {
    /// The places of ours where people talk.
    pub rooms: Rooms,
    /// All places where people talk.
    pub(super) places: Places,
    /// The minds, by name.
    pub models: Models,
    /// How long anything may take.
    pub limits: Arc<Limits>,
    /// Counts how long frames take on their way.
    pub meter: Meter,
    /// What agents tell, for those who watch a room or all agents of an owner.
    news: broadcast::Sender<News>,
    /// Whether and for how long past calls are kept.
    pub(super) archive_policy: ArchivePolicy,
    /// Where calls are written down, once the gateway has started and if it is wanted.
    pub(super) archive: Option<Archive>,
    /// Where webhooks may lead.
    pub(super) webhook_policy: WebhookPolicy,
    /// Who tells webhooks, once the gateway has started.
    pub(super) hooks: Option<Hooks>,
    /// Where agents' lives are written down in full, if that is wanted.
    pub(super) journal: Option<Journal>,
    /// Where traces of calls are sent, if that is wanted.
    pub(super) traces: Option<Traces>,
    /// Where calls are recorded whose agents ask for it, if they may.
    pub(super) recordings: Option<Recordings>,
    /// Whether new calls are taken.
    pub(super) admission: Admission,
    /// What the detector `silero` runs on, if it is there.
    pub(super) silero: Option<SileroModel>,
}

/// The configured minds.
#[derive(Debug)]
pub struct Models {
    /// The profile of agents that choose none.
    pub default: String,
    /// All profiles.
    pub profiles: BTreeMap<String, ModelProfile>,
}

/// What an agent tells, whose it is, and where it is.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) owner: UserId,
    pub(super) agent: AgentId,
    /// The agent's own name.
    pub(super) name: Arc<str>,
    /// The room of ours that it is in, if any.
    pub(super) seen: Option<Seen>,
    pub(super) stamped: Arc<Stamped>,
}

/// Where an agent can be seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) room: Arc<str>,
    /// The name by which the room knows it.
    pub(super) shown_as: Arc<str>,
}

impl Seen {
    /// In a room of ours; rooms elsewhere have pages of their own.
    pub(super) fn at(room_url: &str, shown_as: &Arc<str>) -> Option<Self> {
        let Ok(RoomUrl::Hosted(room)) = RoomUrl::parse(room_url) else { return None };
        Some(Self { room: room.as_str().into(), shown_as: Arc::clone(shown_as) })
    }
}

impl Shell {
    /// Puts the adapters together. Must be called within tokio.
    #[must_use]
    pub fn new(rooms: Rooms, models: Models, limits: Limits) -> Self {
        let (news, _) = broadcast::channel(NEWS_CAPACITY);
        let (archive_policy, meter) = (ArchivePolicy::default(), rooms.meter().clone());
        Self {
            admission: Admission::open(AdmissionPolicy::OPEN, &meter),
            places: Places::new(rooms.clone(), PlacesConfig::default()),
            rooms,
            models,
            limits: limits.into(),
            meter,
            news,
            archive_policy,
            archive: None,
            webhook_policy: WebhookPolicy::default(),
            hooks: None,
            journal: None,
            traces: None,
            recordings: None,
            silero: None,
        }
    }

    /// The same, with past calls kept in this way.
    #[must_use]
    pub fn archiving(self, archive_policy: ArchivePolicy) -> Self {
        Self { archive_policy, ..self }
    }

    /// The same, with webhooks that may lead where this says.
    #[must_use]
    pub fn hooking(self, webhook_policy: WebhookPolicy) -> Self {
        Self { webhook_policy, ..self }
    }

    /// The same, with everything that goes into agents, and comes out, written into this.
    #[must_use]
    pub fn journaling(self, journal: Option<Journal>) -> Self {
        Self { journal, ..self }
    }

    /// The same, with a trace of every call sent this way.
    #[must_use]
    pub fn tracing(self, traces: Option<Traces>) -> Self {
        Self { traces, ..self }
    }

    /// The same, with the calls of agents that ask for it recorded into this.
    #[must_use]
    pub fn recording(self, recordings: Option<Recordings>) -> Self {
        Self { recordings, ..self }
    }

    /// The same, with new calls refused by this policy. Must be called within tokio.
    #[must_use]
    pub fn admitting(self, policy: AdmissionPolicy) -> Self {
        Self { admission: Admission::open(policy, &self.meter), ..self }
    }

    /// The same, with these places elsewhere to join. Must be called within tokio.
    #[must_use]
    pub fn visiting(self, config: PlacesConfig) -> Self {
        Self { places: Places::new(self.rooms.clone(), config), ..self }
    }

    /// The same, with the detector `silero` to choose where its model is there.
    #[must_use]
    pub fn detecting(self, silero: Option<SileroModel>) -> Self {
        Self { silero, ..self }
    }

    /// What an agent writes the records of its calls with.
    pub(super) fn recorder(&self, agent: &AgentRecord) -> Recorder {
        Recorder::new(self.archive.clone(), agent)
    }

    /// What an agent tells its owner's webhooks with.
    pub(super) fn reporter(&self, agent: &AgentRecord) -> Reporter {
        Reporter::new(self.hooks.clone(), agent)
    }

    pub(super) fn join(&self, request: &JoinRequest, agent_name: &str) -> RoomLink {
        let name = request.participant_name.clone().unwrap_or_else(|| agent_name.to_owned());
        self.places.join(&JoinRequest { participant_name: Some(name), ..request.clone() })
    }

    pub(super) fn open_model(
        &self,
        spec: AgentSpec,
        medium: Medium,
        meter: &Meter,
    ) -> Result<ModelLink, ModelFailure> {
        let name = spec.model.profile.as_ref().unwrap_or(&self.models.default);
        let Some(profile) = self.models.profiles.get(name) else {
            return Err(ModelFailure::Unavailable(format!("there is no model profile {name:?}")));
        };
        Ok(models::open(profile, spec, medium, meter))
    }

    /// Whether anybody would see what an agent tells.
    pub(super) fn is_watched(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// Lets the pages of rooms, and the owners of agents, see what an agent tells.
    pub(super) fn publish(&self, news: News) {
        // The last watcher may have gone just now, which is no failure.
        let _ = self.news.send(news);
    }

    pub(super) fn watch(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }
}
