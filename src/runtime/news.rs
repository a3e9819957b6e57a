//! What the page of a hosted room, and the owner of agents, are shown as it happens.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::handle::{AgentNews, RoomNews, Stamped};
use super::shell::News;
use crate::agent::{Notification, Participant};
use crate::ids::{ParticipantId, UserId};
use crate::privacy::{Secret, SecretHash};

/// A watch on one room.
#[derive(Debug)]
pub struct RoomWatch {
    room: Arc<str>,
    participants: watch::Receiver<Vec<Participant>>,
    news: broadcast::Receiver<News>,
    told: bool,
}

impl RoomWatch {
    pub(super) fn new(
        room: &str,
        participants: watch::Receiver<Vec<Participant>>,
        news: broadcast::Receiver<News>,
    ) -> Self {
        Self { room: room.into(), participants, news, told: false }
    }

    /// The next news; the participants first. `None` when the room is gone, or when this watch
    /// has not kept up: then it should be opened anew.
    pub async fn next(&mut self) -> Option<RoomNews> {
        if !std::mem::replace(&mut self.told, true) {
            return Some(self.current());
        }
        loop {
            tokio::select! {
                changed = self.participants.changed() => {
                    return changed.is_ok().then(|| self.current());
                }
                news = self.news.recv() => match news {
                    Ok(News { agent, seen: Some(seen), stamped, .. }) if seen.room == self.room => {
                        let (name, stamped) = (seen.shown_as, in_public(stamped));
                        return Some(RoomNews::Notification { agent, name, stamped });
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
                },
            }
        }
    }

    fn current(&mut self) -> RoomNews {
        let participants = self.participants.borrow_and_update().clone();
        let known = |one: Participant| Participant { id: alias(&one.id), ..one };
        RoomNews::Participants(participants.into_iter().map(known).collect())
    }
}

/// A watch on all agents of one owner, who may know what their clients know.
#[derive(Debug)]
pub struct OwnerWatch {
    owner: UserId,
    news: broadcast::Receiver<News>,
    /// When agents tell nothing any more.
    over: CancellationToken,
}

impl OwnerWatch {
    pub(super) fn new(
        owner: UserId,
        news: broadcast::Receiver<News>,
        over: CancellationToken,
    ) -> Self {
        Self { owner, news, over }
    }

    /// The next news. `None` when the gateway goes down, or when this watch has not kept up: then
    /// it should be opened anew.
    pub async fn next(&mut self) -> Option<AgentNews> {
        loop {
            let news = tokio::select! {
                biased;
                news = self.news.recv() => news.ok()?,
                () = self.over.cancelled() => return None,
            };
            let News { owner, agent, name, stamped, .. } = news;
            if owner == self.owner {
                return Some(AgentNews { agent, name, stamped });
            }
        }
    }
}

/// The name by which other humans in a room know a participant, whose id is the right to its leg.
/// It tells nothing of the id.
pub(super) fn alias(id: &ParticipantId) -> ParticipantId {
    let hash = SecretHash::of(&Secret::new(id.as_str()));
    let half = hash.as_bytes().first_chunk().copied().map_or(0, u128::from_be_bytes);
    ParticipantId::from_entropy(half)
}

/// What is told, with the names that all may know.
fn in_public(stamped: Arc<Stamped>) -> Arc<Stamped> {
    let mut notification = stamped.notification.clone();
    let (Notification::VadStart { participant, .. }
    | Notification::VadEnd { participant, .. }
    | Notification::Transcript { participant, .. }) = &mut notification
    else {
        return stamped;
    };
    *participant = alias(participant);
    Arc::new(Stamped { notification, ..*stamped })
}
