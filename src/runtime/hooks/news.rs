//! What webhooks are told of, and how agents hand it over: without waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::agent::{AgentRecord, Notification, Participant, Phase, RecordEntry, TurnLatency};
use crate::ids::{AgentId, CallId, UserId};
use crate::meter::{Counter, Meter};
use crate::sys::clock;

/// News that may wait for the postman.
///
/// When full: the news are lost, which is logged and counted.
pub(super) const NEWS_CAPACITY: usize = 8_192;

/// Something that webhooks may be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEvent {
    /// An agent is in a room.
    CallStarted,
    /// A call is over.
    CallEnded,
    /// An agent is over.
    AgentEnded,
    /// An agent cannot hear any more.
    TranscriberFailed,
}

impl WebhookEvent {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::CallStarted, Self::CallEnded, Self::AgentEnded, Self::TranscriberFailed];

    /// The event as its receivers see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallStarted => "call.started",
            Self::CallEnded => "call.ended",
            Self::AgentEnded => "agent.ended",
            Self::TranscriberFailed => "transcriber.failed",
        }
    }

    /// The event of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }
}

/// Whom news are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) owner: UserId,
    pub(super) agent: AgentId,
    pub(super) agent_name: String,
    pub(super) user_id: Option<String>,
}

/// Something has happened to an agent.
#[derive(Debug)]
pub(super) struct News {
    pub(super) whose: Whose,
    /// When, in milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Began {
        call: CallId,
        room_url: String,
        participants: Vec<Participant>,
    },
    Joined {
        call: CallId,
        participant: Participant,
    },
    /// A turn is over; how long its answer took, if somebody waited for it.
    Turn {
        call: CallId,
        latency: Option<TurnLatency>,
    },
    Ended {
        call: CallId,
        reason: String,
    },
    AgentEnded {
        reason: String,
    },
    TranscriberFailed {
        call: Option<CallId>,
        code: &'static str,
    },
}

/// What waits for the postman.
#[derive(Debug)]
pub(super) enum Item {
    News(Box<News>),
    /// Answered when all news before it are kept; nothing is sent after it.
    Stop(oneshot::Sender<()>),
}

/// The way to the postman. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Hooks {
    queue: mpsc::Sender<Item>,
    meter: Meter,
}

impl Hooks {
    pub(super) const fn new(queue: mpsc::Sender<Item>, meter: Meter) -> Self {
        Self { queue, meter }
    }

    /// An agent is over that nobody has seen in this process.
    pub(in crate::runtime) fn tell_expired(&self, agent: &AgentRecord) {
        let what = What::AgentEnded { reason: "expired".to_owned() };
        self.tell(whose(agent, &agent.spec.name), what);
    }

    /// Keeps all news so far for the next process; whether they are kept, after `patience`.
    pub(in crate::runtime) async fn stop(&self, patience: Duration) -> bool {
        let (reply, stopped) = oneshot::channel();
        let stopped =
            async { self.queue.send(Item::Stop(reply)).await.is_ok() && stopped.await.is_ok() };
        tokio::time::timeout(patience, stopped).await.unwrap_or(false)
    }

    fn tell(&self, whose: Whose, what: What) {
        let news = News { whose, at_ms: clock::unix_ms(), what };
        match self.queue.try_send(Item::News(Box::new(news))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.meter.count(Counter::HookDropped);
                tracing::error!("too many news wait for webhooks: some are lost");
            }
            Err(TrySendError::Closed(_)) => tracing::debug!("nobody takes news for webhooks"),
        }
    }
}

/// Hands over what one agent's webhooks are to be told.
#[derive(Debug)]
pub(in crate::runtime) struct Reporter {
    hooks: Option<Hooks>,
    /// Whose news they are, from time to time.
    agent: watch::Receiver<Arc<AgentRecord>>,
    /// The call whose end is still to be told.
    call: Option<CallId>,
}

impl Reporter {
    pub(in crate::runtime) fn new(hooks: Option<Hooks>, agent: &AgentRecord) -> Self {
        let (_, agent) = watch::channel(Arc::new(agent.clone()));
        Self { hooks, agent, call: None }
    }

    /// From here on the agent is what this says: it may come to serve another user.
    pub(in crate::runtime) fn follow(&mut self, agent: watch::Receiver<Arc<AgentRecord>>) {
        self.agent = agent;
    }

    /// Something goes on record of a call that this agent is in under this name.
    pub(in crate::runtime) fn on_record(
        &mut self,
        call: &CallId,
        entry: &RecordEntry,
        agent_name: &str,
    ) {
        self.call = Some(call.clone());
        let call = call.clone();
        let what = match entry {
            RecordEntry::Began { room_url, participants } => {
                What::Began { call, room_url: room_url.clone(), participants: participants.clone() }
            }
            RecordEntry::Participant(participant) => {
                What::Joined { call, participant: participant.clone() }
            }
            RecordEntry::Turn(turn) => What::Turn { call, latency: turn.latency() },
            RecordEntry::Ended { reason, .. } => {
                self.call = None;
                What::Ended { call, reason: reason.clone() }
            }
            RecordEntry::HandedOff { .. } => {
                self.call = None;
                return;
            }
            RecordEntry::Line(_) | RecordEntry::Tool(_) => return,
        };
        self.tell(what, agent_name);
    }

    /// The agent tells its clients something. What a model says of its failure may quote what was
    /// said, and stays here.
    pub(in crate::runtime) fn on_told(&self, told: &Notification, agent_name: &str) {
        if let Notification::State { to: Phase::Ended, reason, .. } = told {
            self.tell(What::AgentEnded { reason: (*reason).to_owned() }, agent_name);
        } else if let Notification::TranscriberFatalError { code, .. } = told {
            let call = self.call.clone();
            self.tell(What::TranscriberFailed { call, code }, agent_name);
        }
    }

    /// The agent's task has panicked: nobody else tells how it ends.
    pub(in crate::runtime) fn on_crash(&mut self, agent_name: &str) {
        if let Some(call) = self.call.take() {
            self.tell(What::Ended { call, reason: CRASHED.to_owned() }, agent_name);
        }
        self.tell(What::AgentEnded { reason: "crashed".to_owned() }, agent_name);
    }

    fn tell(&self, what: What, agent_name: &str) {
        if let Some(hooks) = &self.hooks {
            hooks.tell(whose(&self.agent.borrow(), agent_name), what);
        }
    }
}

fn whose(agent: &AgentRecord, agent_name: &str) -> Whose {
    Whose {
        owner: agent.owner.clone(),
        agent: agent.id.clone(),
        agent_name: agent_name.to_owned(),
        user_id: agent.user_id.clone(),
    }
}

/// Why a call ended whose agent's task has panicked: what the archive says as well.
const CRASHED: &str = "agent crashed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::AgentSpec;

    #[tokio::test]
    async fn a_model_that_fails_is_told_by_its_code_and_never_by_its_words() {
        let (mut reporter, mut inbox, _) = scene(8);
        reporter.on_record(&CallId::new("call_1"), &began(), "Ida");
        let message = "it has heard: the secret word".to_owned();
        let failed = Notification::TranscriberFatalError { code: "TRANSCRIBER_FATAL", message };
        reporter.on_told(&failed, "Ida");
        let told = [news(&mut inbox), news(&mut inbox)];
        assert!(!format!("{told:?}").contains("secret word"));
        let What::TranscriberFailed { call, code } = &told[1].what else { panic!("{told:?}") };
        assert_eq!((call, *code), (&Some(CallId::new("call_1")), "TRANSCRIBER_FATAL"));
    }

    #[tokio::test]
    async fn a_crash_ends_the_call_and_then_the_agent() {
        let (mut reporter, mut inbox, _) = scene(8);
        reporter.on_record(&CallId::new("call_1"), &began(), "Ida");
        reporter.on_crash("Ida");
        news(&mut inbox);
        let [call, agent] = [news(&mut inbox), news(&mut inbox)].map(|news| news.what);
        assert!(matches!(&call, What::Ended { reason, .. } if reason == "agent crashed"));
        assert!(matches!(&agent, What::AgentEnded { reason } if reason == "crashed"));
    }

    #[tokio::test]
    async fn a_call_that_was_handed_on_is_ended_by_the_agent_that_has_it() {
        let (mut reporter, mut inbox, _) = scene(8);
        let (call, to) = (CallId::new("call_1"), AgentId::new("ag_2"));
        reporter.on_record(&call, &began(), "Ida");
        let handed_off = RecordEntry::HandedOff { to, reason: String::new(), at_ms: 1 };
        reporter.on_record(&call, &handed_off, "Ida");
        reporter.on_crash("Ida");
        news(&mut inbox);
        assert!(matches!(news(&mut inbox).what, What::AgentEnded { .. }));
    }

    #[tokio::test]
    async fn news_that_find_no_place_are_lost_and_counted() {
        let (mut reporter, mut inbox, meter) = scene(1);
        reporter.on_record(&CallId::new("call_1"), &began(), "Ida");
        reporter.on_record(&CallId::new("call_1"), &ended(), "Ida");
        assert!(matches!(news(&mut inbox).what, What::Began { .. }));
        assert!(inbox.try_recv().is_err());
        assert_eq!(meter.times(Counter::HookDropped), 1);
    }

    fn scene(capacity: usize) -> (Reporter, mpsc::Receiver<Item>, Meter) {
        let (queue, inbox) = mpsc::channel(capacity);
        let meter = Meter::new();
        let agent = AgentRecord {
            id: AgentId::new("ag_1"),
            owner: UserId::new("usr_1"),
            metadata_json: "{}".into(),
            user_id: None,
            created_at_ms: 1,
            expires_at_ms: None,
            spec: AgentSpec::default(),
        };
        (Reporter::new(Some(Hooks::new(queue, meter.clone())), &agent), inbox, meter)
    }

    fn began() -> RecordEntry {
        RecordEntry::Began { room_url: "rooms/hall".into(), participants: vec![] }
    }

    fn ended() -> RecordEntry {
        RecordEntry::Ended { reason: "left".into(), at_ms: 1 }
    }

    fn news(inbox: &mut mpsc::Receiver<Item>) -> News {
        match inbox.try_recv() {
            Ok(Item::News(news)) => *news,
            other => panic!("{other:?}"),
        }
    }
}
