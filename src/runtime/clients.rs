//! The clients of one agent: everything is told to all of them, in one order.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::handle::{NOTIFICATIONS_CAPACITY, Stamped, Subscription};
use crate::agent::Notification;
use crate::ids::ClientId;
use crate::sys::clock;

/// Who listens to an agent, and how far its story has come.
#[derive(Debug, Default)]
pub(super) struct Clients {
    seq: u64,
    open: BTreeMap<ClientId, mpsc::Sender<Arc<Stamped>>>,
    departures: FuturesUnordered<BoxFuture<'static, ClientId>>,
}

impl Clients {
    /// Lets a client listen, beginning with `open_calls`: the tool calls that wait for a result.
    pub(super) fn add<'a>(
        &mut self,
        client: ClientId,
        open_calls: impl Iterator<Item = &'a Notification>,
    ) -> Subscription {
        let (sender, notifications) = mpsc::channel(NOTIFICATIONS_CAPACITY);
        for notification in open_calls.take(NOTIFICATIONS_CAPACITY / 2) {
            // The channel is new and holds twice as many, so it takes them all.
            let _ = sender.try_send(self.stamp(notification.clone()));
        }
        let (presence, departure) = oneshot::channel::<()>();
        let gone = client.clone();
        self.departures.push(Box::pin(async move {
            // Nothing is ever sent: the subscription's end is the message.
            let _ = departure.await;
            gone
        }));
        self.open.insert(client.clone(), sender);
        Subscription { client, notifications, presence }
    }

    /// Tells everybody. Returns those who have not listened for so long that they are let go.
    pub(super) fn tell(&mut self, notification: Notification) -> (Arc<Stamped>, Vec<ClientId>) {
        self.seq += 1;
        let stamped = self.stamp(notification);
        let deaf = |client: &mpsc::Sender<_>| client.try_send(Arc::clone(&stamped)).is_err();
        let lost: Vec<ClientId> =
            self.open.extract_if(.., |_, client| deaf(client)).map(|(id, _)| id).collect();
        (stamped, lost)
    }

    /// Closes every client's connection.
    pub(super) fn close(&mut self) {
        self.open.clear();
        self.departures.clear();
    }

    /// Waits for the next client to go; for ever, if there is none.
    pub(super) async fn departure(&mut self) -> ClientId {
        match self.departures.next().await {
            Some(client) => {
                self.open.remove(&client);
                client
            }
            None => std::future::pending().await,
        }
    }

    fn stamp(&self, notification: Notification) -> Arc<Stamped> {
        Arc::new(Stamped { seq: self.seq, at_ms: clock::unix_ms(), notification })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Activity;

    #[tokio::test]
    async fn all_clients_hear_the_same_in_one_order() {
        let mut clients = Clients::default();
        let mut one = clients.add(ClientId::new("one"), std::iter::empty());
        clients.tell(Notification::Status(Activity::Thinking));
        let mut two = clients.add(ClientId::new("two"), std::iter::empty());
        clients.tell(Notification::Status(Activity::Idle));
        let heard = |stamped: Option<Arc<Stamped>>| stamped.map(|stamped| stamped.seq);
        assert_eq!(heard(one.notifications.recv().await), Some(1));
        assert_eq!(heard(one.notifications.recv().await), Some(2));
        assert_eq!(heard(two.notifications.recv().await), Some(2));
    }

    #[tokio::test]
    async fn a_client_that_does_not_listen_is_let_go_and_the_others_stay() {
        let mut clients = Clients::default();
        let deaf = clients.add(ClientId::new("deaf"), std::iter::empty());
        for _ in 0..NOTIFICATIONS_CAPACITY {
            assert_eq!(clients.tell(Notification::Status(Activity::Idle)).1, []);
        }
        let mut good = clients.add(ClientId::new("good"), std::iter::empty());
        let (_, lost) = clients.tell(Notification::Status(Activity::Idle));
        assert_eq!(lost, [deaf.client]);
        assert!(good.notifications.recv().await.is_some());
    }

    #[tokio::test]
    async fn a_dropped_subscription_is_a_departure() {
        let mut clients = Clients::default();
        let one = clients.add(ClientId::new("one"), std::iter::empty());
        drop(one);
        assert_eq!(clients.departure().await, ClientId::new("one"));
        assert!(clients.open.is_empty());
    }
}
