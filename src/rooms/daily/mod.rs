//! Rooms of Daily, joined by a helper process that holds Daily's own client.

mod helper;
mod pipe;
mod stay;
mod voices;
mod wire;

use std::path::PathBuf;

use reqwest::Url;

use self::helper::Helper;
use self::stay::Stay;
use super::FarEnd;
use super::elsewhere::Elsewhere;
use crate::agent::RoomFailure;
use crate::privacy::Secret;

/// How the helper is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyConfig {
    /// The program: a Python that has Daily's package.
    pub python: PathBuf,
}

/// An agent's stay in such a room.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) url: Url,
    pub(super) token: Option<Secret>,
    pub(super) far: FarEnd,
    pub(super) tools: Elsewhere,
    pub(super) config: DailyConfig,
}

impl Visit {
    /// The stay, from the helper's start to its end. One helper serves one stay, for Daily's
    /// package has but one call in a process.
    pub(super) async fn run(self) {
        let Self { url, token, far, tools, config } = self;
        let (helper, pipe) = match Helper::start(&config.python, token.clone()) {
            Ok(started) => started,
            Err(error) => {
                let why = format!("the helper cannot be started: {error}");
                return far.fail(RoomFailure::Unreachable(why));
            }
        };
        let mut stay = match Stay::new(far, pipe, tools.meter) {
            Ok(stay) => stay,
            Err((far, error)) => return far.fail(RoomFailure::Media(error.to_string())),
        };
        if let Err(failure) = stay.run(&url, token.as_ref()).await {
            tracing::debug!(%failure, "a stay in a room of Daily has ended");
            stay.fail(failure);
        }
        helper.end(stay.into_pipe()).await;
    }
}
