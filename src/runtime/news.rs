//! What the page of a hosted room shows as it happens.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::handle::RoomNews;
use super::shell::News;
use crate::agent::Participant;

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
                    Ok(News { room, agent, stamped }) if room == self.room => {
                        return Some(RoomNews::Notification { agent, stamped });
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
                },
            }
        }
    }

    fn current(&mut self) -> RoomNews {
        RoomNews::Participants(self.participants.borrow_and_update().clone())
    }
}
