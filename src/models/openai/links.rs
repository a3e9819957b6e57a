//! One socket and its session: how far it has come, until when it lasts, how its things are named.

use std::time::{Duration, Instant};

use super::dialogue::Dialogue;
use super::heartbeat::Heartbeat;
use super::ports::{LinkId, WallClock};
use crate::agent::{ModelAction, ModelEvent};
use crate::ids::{ResponseId, ToolCallId, UtteranceId};
use crate::models::wire::SessionEvent;
use crate::models::{Deadlines, ModelItem};

/// A link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) phase: Phase,
    /// Which session of this conversation it is, counted from 1; 0 until it stands.
    pub(super) session: u32,
    pub(super) dialogue: Dialogue,
    pub(super) heartbeat: Heartbeat,
    /// The number of the first frame that it was sent.
    pub(super) first_frame: u64,
    /// Until when it lasts.
    pub(super) life: Life,
}

/// How far a link has come.
#[derive(Debug, PartialEq)]
pub(super) enum Phase {
    /// There is no socket yet.
    Connecting {
        /// When there has to be one.
        until: Instant,
    },
    /// The server has our settings, and has not taken them yet.
    Configuring {
        /// When it has to.
        until: Instant,
        /// The last error, of whatever it was.
        complaint: Option<String>,
    },
    /// The session stands.
    Standing,
}

/// How long a session lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    from: Instant,
    to: Instant,
}

impl Link {
    /// A link that is being opened.
    pub(super) fn new(
        id: LinkId,
        dialogue: Dialogue,
        deadlines: &Deadlines,
        until: Instant,
        now: Instant,
    ) -> Self {
        Self {
            id,
            phase: Phase::Connecting { until },
            session: 0,
            dialogue,
            heartbeat: Heartbeat::new(deadlines.ping_every, deadlines.ping_limit, now),
            first_frame: 0,
            life: Life { from: now, to: now },
        }
    }

    /// There is a socket: the session begins.
    pub(super) fn on_connected(&mut self, deadlines: &Deadlines, limit: Instant, now: Instant) {
        let until = limit.min(now + deadlines.configure);
        self.phase = Phase::Configuring { until, complaint: None };
        self.life = Life { from: now, to: now + deadlines.session_cap };
        self.heartbeat.on_message(now);
    }

    /// The server says when it will end the session. A time that is past, or all but, is no time.
    pub(super) fn on_session(&mut self, event: &SessionEvent, clock: &WallClock) {
        let told = event.session.expires_at.and_then(|seconds| clock.instant_of(seconds));
        if let Some(at) = told.filter(|at| *at > self.life.from + LIFE_MIN) {
            self.life.to = self.life.to.min(at);
        }
    }

    pub(super) fn stands(&self) -> bool {
        self.phase == Phase::Standing
    }

    /// The number of the frame at this place of the server's clock.
    pub(super) const fn frame_at(&self, audio_ms: u64) -> u64 {
        self.first_frame + super::tape::frames_in(audio_ms)
    }

    /// When there is something to be done about this link.
    pub(super) fn poll_timeout(&self) -> Instant {
        match self.phase {
            Phase::Connecting { until } | Phase::Configuring { until, .. } => until,
            Phase::Standing => {
                let dialogue = self.dialogue.poll_timeout().map(|(until, _)| until);
                dialogue.into_iter().fold(self.heartbeat.poll_timeout(), Instant::min)
            }
        }
    }

    /// The name by which the agent knows a thing of this session: servers count from one each.
    pub(super) fn name(&self, id: &str) -> String {
        match self.session {
            0 | 1 => id.to_owned(),
            session => format!("s{session}.{id}"),
        }
    }

    /// The server's own name for a thing that the agent knows by this name, if it is of this
    /// session.
    pub(super) fn own<'n>(&self, name: &'n str) -> Option<&'n str> {
        match self.session {
            0 => None,
            1 => Some(name),
            session => name.strip_prefix(&format!("s{session}.")),
        }
    }

    /// An action in the server's own names; `None` if it is about a thing of another session.
    pub(super) fn own_action(&self, action: ModelAction) -> Option<ModelAction> {
        Some(match action {
            ModelAction::Truncate { utterance, end_ms } => {
                let utterance = UtteranceId::new(self.own(utterance.as_str())?);
                ModelAction::Truncate { utterance, end_ms }
            }
            ModelAction::GiveWay { utterance } => {
                let utterance = UtteranceId::new(self.own(utterance.as_str())?);
                ModelAction::GiveWay { utterance }
            }
            ModelAction::ToolOutput { id, output } => {
                ModelAction::ToolOutput { id: ToolCallId::new(self.own(id.as_str())?), output }
            }
            other @ (ModelAction::Open { .. }
            | ModelAction::AddText { .. }
            | ModelAction::AddImage { .. }
            | ModelAction::Respond { .. }
            | ModelAction::Cancel
            | ModelAction::Commit
            | ModelAction::Clear
            | ModelAction::Close) => other,
        })
    }

    /// The item as the agent is to see it.
    pub(super) fn renamed(&self, mut item: ModelItem) -> ModelItem {
        if self.session > 1 {
            match &mut item {
                ModelItem::Audio { utterance, .. } | ModelItem::AudioDone { utterance } => {
                    *utterance = UtteranceId::new(self.name(utterance.as_str()));
                }
                ModelItem::Event(event) => self.rename(event),
            }
        }
        item
    }

    fn rename(&self, event: &mut ModelEvent) {
        match event {
            ModelEvent::SpeechStarted { utterance, .. }
            | ModelEvent::SpeechStopped { utterance }
            | ModelEvent::Transcript { utterance, .. }
            | ModelEvent::Words { utterance, .. } => {
                *utterance = UtteranceId::new(self.name(utterance.as_str()));
            }
            ModelEvent::ResponseStarted { response }
            | ModelEvent::ResponseDone { response, .. } => {
                *response = ResponseId::new(self.name(response.as_str()));
            }
            ModelEvent::ToolCall { response, id, .. } => {
                *response = ResponseId::new(self.name(response.as_str()));
                *id = ToolCallId::new(self.name(id.as_str()));
            }
            ModelEvent::Ready { .. }
            | ModelEvent::Failed(_)
            | ModelEvent::Reconnecting { .. }
            | ModelEvent::Restored
            | ModelEvent::Complaint { .. } => {}
        }
    }
}

impl Life {
    /// When another session is to be made ready: ten minutes before the end of an hour.
    pub(super) fn soft(&self) -> Instant {
        self.before_end(SOFT_BEFORE, 6)
    }

    /// When the other session takes over, whatever is going on: two minutes before the end of an
    /// hour.
    pub(super) fn hard(&self) -> Instant {
        self.before_end(HARD_BEFORE, 30)
    }

    pub(super) const fn end(&self) -> Instant {
        self.to
    }

    fn before_end(&self, most: Duration, part: u32) -> Instant {
        let length = self.to.saturating_duration_since(self.from);
        self.to.checked_sub(most.min(length / part)).unwrap_or(self.to)
    }
}

/// A session that ends sooner than this after its beginning has a server with a wrong clock.
const LIFE_MIN: Duration = Duration::from_secs(30);

const SOFT_BEFORE: Duration = Duration::from_secs(10 * 60);
const HARD_BEFORE: Duration = Duration::from_secs(2 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn an_hour_is_left_after_fifty_minutes_and_a_shorter_life_in_proportion() {
        let from = clock::now();
        let minutes = |minutes: u64| from + Duration::from_secs(60 * minutes);
        let hour = Life { from, to: minutes(60) };
        assert_eq!((hour.soft(), hour.hard()), (minutes(50), minutes(58)));
        let half = Life { from, to: minutes(30) };
        assert_eq!((half.soft(), half.hard()), (minutes(25), minutes(29)));
    }
}
