//! What all agents share: the doors to rooms and models, the limits, and the rooms' news.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::admission::{Admission, AdmissionPolicy};
use super::archive::{Archive, ArchivePolicy, Recorder};
use super::handle::Stamped;
use super::journal::Journal;
use crate::agent::{AgentRecord, AgentSpec, JoinRequest, Limits, Medium, ModelFailure};
use crate::ids::AgentId;
use crate::media::SileroModel;
use crate::meter::Meter;
use crate::models::{self, ModelLink, ModelProfile};
use crate::rooms::{Places, PlacesConfig, RoomLink, RoomUrl, Rooms};

/// News of all rooms that may wait for one watcher.
///
/// When full: that watcher misses the oldest, and its page connects again.
pub(super) const NEWS_CAPACITY: usize = 256;

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
    /// What agents tell, by the hosted room they are in.
    news: broadcast::Sender<News>,
    /// Whether and for how long past calls are kept.
    pub(super) archive_policy: ArchivePolicy,
    /// Where calls are written down, once the gateway has started and if it is wanted.
    pub(super) archive: Option<Archive>,
    /// Where agents' lives are written down in full, if that is wanted.
    pub(super) journal: Option<Journal>,
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

/// What an agent tells, and where it is.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) room: Arc<str>,
    pub(super) agent: AgentId,
    pub(super) name: Arc<str>,
    pub(super) stamped: Arc<Stamped>,
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
            journal: None,
            silero: None,
        }
    }

    /// The same, with past calls kept in this way.
    #[must_use]
    pub fn archiving(self, archive_policy: ArchivePolicy) -> Self {
        Self { archive_policy, ..self }
    }

    /// The same, with everything that goes into agents, and comes out, written into this.
    #[must_use]
    pub fn journaling(self, journal: Option<Journal>) -> Self {
        Self { journal, ..self }
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

    /// Lets the pages of the room see what an agent in it tells.
    pub(super) fn publish(
        &self,
        room_url: &str,
        agent: &AgentId,
        name: &Arc<str>,
        stamped: Arc<Stamped>,
    ) {
        let Ok(RoomUrl::Hosted(room)) = RoomUrl::parse(room_url) else { return };
        let (room, agent, name) = (room.as_str().into(), agent.clone(), Arc::clone(name));
        let news = News { room, agent, name, stamped };
        // Nobody may be watching, which is no failure.
        let _ = self.news.send(news);
    }

    pub(super) fn watch(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }
}
