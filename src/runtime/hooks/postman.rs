//! The postman: keeps news for those who want them, delivers them, and tries again.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::backoff;
use super::calls::{CallTally, Calls};
use super::news::{Item, News, WebhookEvent, What, Whose};
use super::outbox::{Errand, Outbox};
use super::post::{Courier, PostError};
use super::wire::{Data, body};
use crate::ids::{CallId, DeliveryId, UserId, WebhookId};
use crate::meter::{Counter, Meter};
use crate::runtime::archive::SHUTDOWN;
use crate::store::{ArchivedCall, DeliveryRecord, Message, Store, StoreError};
use crate::sys::{clock, entropy, tasks};

/// Whoever delivers: one task for all webhooks.
#[derive(Debug)]
pub(super) struct Postman {
    store: Store,
    meter: Meter,
    courier: Courier,
    calls: Calls,
    outbox: Outbox,
    /// Each is a task of its own. What waited for the store in here, and was polled only between
    /// two news, could hold the connection that the news wait for.
    under_way: FuturesUnordered<BoxFuture<'static, Attempt>>,
}

/// What webhooks are to be told.
#[derive(Debug)]
struct Told<'a> {
    event: WebhookEvent,
    /// The call that it is of, if it is of one.
    call: Option<&'a CallId>,
    /// JSON.
    body: String,
}

/// An attempt that was made.
#[derive(Debug)]
struct Attempt {
    errand: Errand,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Taken,
    Failed(PostError),
    /// There is nothing to deliver any more: the webhook is deleted.
    Gone,
    /// The store did not tell what is to be delivered.
    Unknown(StoreError),
    /// The attempt itself broke down.
    Broken(JoinError),
}

impl Postman {
    /// Takes up what waits from the process before.
    pub(super) async fn new(
        store: Store,
        meter: Meter,
        courier: Courier,
    ) -> Result<Self, StoreError> {
        let waiting = store.waiting_deliveries().await?;
        let (calls, outbox) = (Calls::default(), Outbox::default());
        let under_way = FuturesUnordered::new();
        let mut postman = Self { store, meter, courier, calls, outbox, under_way };
        for record in waiting {
            postman.enqueue(record).await?;
        }
        Ok(postman)
    }

    /// Tells the end of a call that the process before has left.
    pub(super) async fn end_left_call(&mut self, owner: UserId, call: ArchivedCall) {
        let summary = call.summary.clone();
        let whose = Whose {
            owner,
            agent: summary.agent,
            agent_name: summary.agent_name,
            user_id: summary.user_id,
        };
        let tally = CallTally::of(whose, call);
        self.tell_end(&tally, summary.ended_at_ms, &summary.reason).await;
    }

    /// Lives until it is told to stop, or nobody can tell it anything any more.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Item>) {
        loop {
            while let Some(errand) = self.outbox.poll_errand(clock::now()) {
                self.under_way.push(attempt(self.store.clone(), self.courier.clone(), errand));
            }
            let wake = self.outbox.poll_timeout();
            tokio::select! {
                item = inbox.recv() => match item {
                    Some(Item::News(news)) => self.take(*news).await,
                    Some(Item::Stop(reply)) => {
                        self.end_calls().await;
                        // Whoever has lost patience needs no answer.
                        let _ = reply.send(());
                        return;
                    }
                    None => return,
                },
                Some(made) = self.under_way.next() => self.settle(made).await,
                () = sleep_until(wake) => {}
            }
        }
    }

    async fn take(&mut self, news: News) {
        let News { whose, at_ms, what } = news;
        match what {
            What::Began { call, room_url, participants } => {
                let mut tally = CallTally::new(call.clone(), whose.clone(), room_url, at_ms);
                for participant in participants {
                    tally.join(participant);
                }
                let data = Data::started(self.calls.begin(tally));
                let told = Told::new(WebhookEvent::CallStarted, at_ms, &data).of(&call);
                self.tell(&whose.owner, told).await;
            }
            What::Joined { call, participant } => {
                if let Some(tally) = self.calls.reach(&call, &whose) {
                    tally.join(participant);
                }
            }
            What::Turn { call, latency } => {
                if let Some(tally) = self.calls.reach(&call, &whose) {
                    tally.turn(latency);
                }
            }
            What::Ended { call, reason } => {
                if self.calls.reach(&call, &whose).is_some()
                    && let Some(tally) = self.calls.end(&call)
                {
                    self.tell_end(&tally, at_ms, &reason).await;
                }
            }
            What::AgentEnded { reason } => {
                let data = Data::agent_ended(&whose, &reason);
                let told = Told::new(WebhookEvent::AgentEnded, at_ms, &data);
                self.tell(&whose.owner, told).await;
            }
            What::TranscriberFailed { call, code } => {
                let data = Data::failed(&whose, call.as_ref(), code);
                let told = Told::new(WebhookEvent::TranscriberFailed, at_ms, &data);
                self.tell(&whose.owner, Told { call: call.as_ref(), ..told }).await;
            }
        }
    }

    /// Tells the end of calls whose agents did not leave in time.
    async fn end_calls(&mut self) {
        for tally in self.calls.end_all() {
            self.tell_end(&tally, clock::unix_ms(), SHUTDOWN).await;
        }
    }

    async fn tell_end(&mut self, tally: &CallTally, ended_at_ms: u64, reason: &str) {
        let data = Data::ended(tally, ended_at_ms, reason);
        let told = Told::new(WebhookEvent::CallEnded, ended_at_ms, &data).of(&tally.call);
        self.tell(&tally.whose.owner, told).await;
    }

    /// Keeps a text for every webhook of an owner that wants it.
    async fn tell(&mut self, owner: &UserId, told: Told<'_>) {
        let webhooks = match self.store.webhooks_of(owner).await {
            Ok(webhooks) => webhooks,
            Err(error) => return self.lose(&error, told.event),
        };
        let event = told.event.as_str();
        for webhook in webhooks.into_iter().filter(|webhook| webhook.wants(event)) {
            if let Err(error) = self.keep(webhook.id, &told).await {
                self.lose(&error, told.event);
            }
        }
    }

    async fn keep(&mut self, webhook: WebhookId, told: &Told<'_>) -> Result<(), StoreError> {
        let (id, due_at_ms) = (DeliveryId::from_entropy(entropy::bits()), clock::unix_ms());
        let record = DeliveryRecord { id, webhook, attempts: 0, due_at_ms };
        let Told { event, call, body } = told;
        let message = Message { event: event.as_str(), call: *call, body };
        if self.store.insert_delivery(&record, message).await? {
            self.enqueue(record).await?;
        }
        Ok(())
    }

    fn lose(&self, error: &StoreError, event: WebhookEvent) {
        self.meter.count(Counter::HookDropped);
        let event = event.as_str();
        tracing::error!(%error, event, "news for a webhook could not be kept, and are lost");
    }

    async fn enqueue(&mut self, record: DeliveryRecord) -> Result<(), StoreError> {
        let DeliveryRecord { id, webhook, attempts, due_at_ms } = record;
        let due = clock::now() + clock::until_unix_ms(due_at_ms).min(backoff::PAUSE_MAX);
        let name = webhook.clone();
        let Some(dropped) = self.outbox.add(Errand { webhook, id, attempts }, due) else {
            return Ok(());
        };
        self.meter.count(Counter::HookDropped);
        tracing::info!(webhook = %name, delivery = %dropped, "a full queue has lost its oldest");
        self.store.delete_delivery(&dropped).await
    }

    async fn settle(&mut self, made: Attempt) {
        let Attempt { errand, outcome } = made;
        match outcome {
            Outcome::Taken => {
                self.meter.count(Counter::HookDelivered);
                self.outbox.close(&errand);
                self.forget(&errand.id).await;
            }
            Outcome::Gone => self.outbox.close(&errand),
            Outcome::Failed(error) => self.retry(errand, &error).await,
            Outcome::Unknown(error) => {
                tracing::error!(%error, "a delivery could not be read; trying again");
                self.outbox.postpone(&errand, clock::now() + STORE_PAUSE);
            }
            Outcome::Broken(error) => {
                tracing::error!(%error, "an attempt to deliver broke down; trying again");
                self.outbox.postpone(&errand, clock::now() + STORE_PAUSE);
            }
        }
    }

    /// Tries again in some time, or never.
    async fn retry(&mut self, errand: Errand, error: &PostError) {
        let errand = Errand { attempts: errand.attempts + 1, ..errand };
        let Errand { webhook, id, attempts } = &errand;
        let Some(pause) = backoff::pause(*attempts, dice()) else {
            self.meter.count(Counter::HookGivenUp);
            tracing::info!(%webhook, delivery = %id, attempts, %error, "gave a delivery up");
            self.outbox.close(&errand);
            return self.forget(id).await;
        };
        self.meter.count(Counter::HookRetried);
        tracing::debug!(%webhook, delivery = %id, attempts, %error, ?pause, "not delivered yet");
        self.outbox.postpone(&errand, clock::now() + pause);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let due_at_ms = clock::unix_ms().saturating_add(pause_ms);
        if let Err(error) = self.store.postpone_delivery(id, *attempts, due_at_ms).await {
            tracing::error!(%error, "when a delivery is tried again could not be kept");
        }
    }

    async fn forget(&mut self, id: &DeliveryId) {
        if let Err(error) = self.store.delete_delivery(id).await {
            tracing::error!(%error, "a delivery could not be forgotten: it may come twice");
        }
    }
}

impl<'a> Told<'a> {
    fn new(event: WebhookEvent, at_ms: u64, data: &Data<'_>) -> Self {
        Self { event, call: None, body: body(event, at_ms, data) }
    }

    fn of(self, call: &'a CallId) -> Self {
        Self { call: Some(call), ..self }
    }
}

/// Makes one attempt, in a task that ends with whoever waits for it.
fn attempt(store: Store, courier: Courier, errand: Errand) -> BoxFuture<'static, Attempt> {
    let delivery = tasks::spawn("delivery", deliver(store, courier, errand.id.clone()));
    Box::pin(async move {
        let outcome = delivery.await.unwrap_or_else(Outcome::Broken);
        Attempt { errand, outcome }
    })
}

async fn deliver(store: Store, courier: Courier, id: DeliveryId) -> Outcome {
    match store.letter(&id).await {
        Ok(Some(letter)) => match courier.post(&id, letter).await {
            Ok(()) => Outcome::Taken,
            Err(error) => Outcome::Failed(error),
        },
        Ok(None) => Outcome::Gone,
        Err(error) => Outcome::Unknown(error),
    }
}

/// 32 random bits.
fn dice() -> u32 {
    let mut bytes = [0; 4];
    entropy::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// How long a store that fails is left alone.
const STORE_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AgentId;
    use crate::privacy::Secret;
    use crate::runtime::hooks::outbox::DELIVERIES_CAPACITY;
    use crate::store::WebhookRecord;

    #[tokio::test]
    async fn what_nobody_takes_is_kept_with_its_next_attempt_and_at_last_given_up() {
        let (mut postman, store) = postman().await;
        postman.tell(&owner(), told(WebhookEvent::AgentEnded)).await;
        for attempts in 0..6 {
            let errand = postman.outbox.poll_errand(clock::now() + DAY).unwrap();
            assert_eq!(errand.attempts, attempts);
            postman.retry(errand, &PostError::Private).await;
            let waiting = store.waiting_deliveries().await.unwrap();
            assert_eq!(waiting[0].attempts, attempts + 1);
            assert!(waiting[0].due_at_ms > clock::unix_ms());
        }
        let last = postman.outbox.poll_errand(clock::now() + DAY).unwrap();
        postman.retry(last, &PostError::Private).await;
        assert_eq!(store.waiting_deliveries().await.unwrap(), []);
        assert_eq!(postman.outbox.poll_timeout(), None);
        let times = |counter| postman.meter.times(counter);
        assert_eq!((times(Counter::HookRetried), times(Counter::HookGivenUp)), (6, 1));
    }

    #[tokio::test]
    async fn an_event_that_is_not_wanted_is_not_kept() {
        let (mut postman, store) = postman().await;
        postman.tell(&owner(), told(WebhookEvent::CallStarted)).await;
        postman.tell(&UserId::new("usr_other"), told(WebhookEvent::AgentEnded)).await;
        assert_eq!(store.waiting_deliveries().await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_was_full_and_waits_far_off_is_taken_up_within_its_bounds() {
        let (postman, store) = postman().await;
        let webhook = WebhookId::new("wh_1");
        for number in 0..=DELIVERIES_CAPACITY {
            let id = DeliveryId::new(number.to_string());
            let due_at_ms = u64::MAX;
            let record = DeliveryRecord { id, webhook: webhook.clone(), attempts: 1, due_at_ms };
            let message = Message { event: "agent.ended", call: None, body: "{}" };
            assert!(store.insert_delivery(&record, message).await.unwrap());
        }
        let next = Postman::new(store.clone(), Meter::new(), postman.courier).await.unwrap();
        let waiting = store.waiting_deliveries().await.unwrap();
        assert_eq!((waiting.len(), waiting[0].id.as_str()), (DELIVERIES_CAPACITY, "1"));
        assert!(next.outbox.poll_timeout().unwrap() <= clock::now() + backoff::PAUSE_MAX);
        assert_eq!(next.meter.times(Counter::HookDropped), 1);
    }

    #[tokio::test]
    async fn a_webhook_that_is_deleted_in_mid_delivery_is_not_tried_again() {
        let (mut postman, store) = postman().await;
        postman.tell(&owner(), told(WebhookEvent::AgentEnded)).await;
        let errand = postman.outbox.poll_errand(clock::now() + DAY).unwrap();
        assert!(store.delete_webhook(&owner(), &errand.webhook).await.unwrap());
        postman.retry(errand, &PostError::Private).await;
        let errand = postman.outbox.poll_errand(clock::now() + DAY).unwrap();
        let made = attempt(store, postman.courier.clone(), errand).await;
        assert!(matches!(made.outcome, Outcome::Gone), "{made:?}");
        postman.settle(made).await;
        assert_eq!(postman.outbox.poll_timeout(), None);
    }

    /// The store has one connection here.
    #[tokio::test]
    async fn news_come_through_while_deliveries_wait_for_the_store() {
        let (postman, store) = postman().await;
        let (queue, inbox) = mpsc::channel(40);
        let running = tasks::spawn("postman", postman.run(inbox));
        for _ in 0..30 {
            let what = What::AgentEnded { reason: "ttl".into() };
            let news = News { whose: whose(), at_ms: 1, what };
            queue.send(Item::News(Box::new(news))).await.unwrap();
        }
        let (reply, done) = tokio::sync::oneshot::channel();
        queue.send(Item::Stop(reply)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), done).await.unwrap().unwrap();
        running.await.unwrap();
        assert_eq!(store.waiting_deliveries().await.unwrap().len(), 30);
    }

    #[tokio::test]
    async fn a_failing_store_loses_news_and_says_so() {
        let (mut postman, store) = postman().await;
        store.close().await;
        postman.tell(&owner(), told(WebhookEvent::AgentEnded)).await;
        assert_eq!(postman.meter.times(Counter::HookDropped), 1);
    }

    /// One that knows a webhook which wants to hear of agents' ends.
    async fn postman() -> (Postman, Store) {
        let store = Store::open("sqlite::memory:").await.unwrap();
        store.ensure_bootstrap(&Secret::new("ak_1"), 1).await.unwrap();
        let webhook = WebhookRecord {
            id: WebhookId::new("wh_1"),
            owner: owner(),
            url: "http://127.0.0.1/".into(),
            events: vec!["agent.ended".into()],
            description: None,
            secret: Secret::new("whsec_1"),
            created_at_ms: 1,
        };
        store.insert_webhook(&webhook, 1).await.unwrap();
        let courier = Courier::new(false).unwrap();
        (Postman::new(store.clone(), Meter::new(), courier).await.unwrap(), store)
    }

    fn whose() -> Whose {
        let agent_name = "Ada".to_owned();
        Whose { owner: owner(), agent: AgentId::new("agt_1"), agent_name, user_id: None }
    }

    fn told(event: WebhookEvent) -> Told<'static> {
        Told { event, call: None, body: "{}".to_owned() }
    }

    fn owner() -> UserId {
        UserId::new("usr_bootstrap")
    }

    const DAY: Duration = Duration::from_hours(24);
}
