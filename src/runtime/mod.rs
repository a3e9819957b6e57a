//! The shell: one task per agent, which joins the pure cores and the adapters.

mod clients;
mod driver;
mod effects;
mod gateway;
mod handle;
mod news;
mod registry;
mod shell;
mod sound;

pub use crate::rooms::{RoomAnswer, RoomView, TrickleAnswer};
pub use gateway::Gateway;
pub use handle::{
    AgentView, CommandError, CreateError, FindError, ListError, NewAgent, Page, RoomNews, Stamped,
    Subscription,
};
pub use news::RoomWatch;
pub use registry::AGENTS_MAX;
pub use shell::{Models, Shell};
