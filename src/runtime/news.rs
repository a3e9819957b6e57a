//! What the page of a hosted room shows as it happens.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::handle::{RoomNews, Stamped};
use super::shell::News;
use crate::agent::{Notification, Participant};
use crate::ids::ParticipantId;
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
                    Ok(News { room, agent, name, stamped }) if room == self.room => {
                        let stamped = in_public(stamped);
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
