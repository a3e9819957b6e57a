//! The shell: one task per agent, which joins the pure cores and the adapters.

mod admission;
mod archive;
mod clients;
mod core;
mod driver;
mod effects;
mod figures;
mod gateway;
mod handle;
mod handoff;
mod hooks;
mod journal;
mod ledger;
mod news;
mod recording;
mod registry;
mod retention;
mod rooms;
mod shell;
mod sound;
mod tally;
mod tracer;
mod update;

pub use self::core::{Core, Effect, Heritage, Seed, Stimulus};
pub use crate::rooms::{IceSession, RoomAnswer, RoomName, RoomView, TrickleAnswer};
pub use crate::store::{ArchivedCall, CallSummary, HandOffRecord, Page};
pub use admission::{AdmissionPolicy, Refusal};
pub use archive::{ArchivePolicy, CallError};
pub use figures::Figures;
pub use gateway::{Gateway, Turn};
pub use handle::{
    AgentChange, AgentNews, AgentView, CommandError, CreateError, EnterError, FindError,
    HandOffError, HandOffWish, Heir, ListError, NewAgent, NewMetadata, RoomNews, Stamped,
    StoreFailure, Subscription, UpdateError,
};
pub use hooks::{
    CreateWebhookError, FindWebhookError, IssuedWebhook, NewWebhook, WEBHOOKS_PER_OWNER_MAX,
    Webhook, WebhookEvent, WebhookPolicy, WebhookUrl,
};
pub use journal::{
    Difference, Journal, JournalPolicy, Moment, Replay, ReplayError, Summary as ReplaySummary,
};
pub use news::{OwnerWatch, RoomWatch};
pub use recording::{Recorded, RecordingBucket, RecordingPolicy, Recordings, Source};
pub use registry::AGENTS_MAX;
pub use rooms::{
    CreateRoomError, FindRoomError, HostedRoom, IssuedRoom, NewRoom, ROOMS_PER_OWNER_MAX,
};
pub use shell::{Models, Shell};
