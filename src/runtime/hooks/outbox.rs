//! What waits to be delivered, by webhook, and what of it is due. Pure: time is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::ids::{DeliveryId, WebhookId};

/// Deliveries that may wait for one webhook.
///
/// When full: the oldest one that is not under way is dropped, which is counted.
pub(super) const DELIVERIES_CAPACITY: usize = 256;

/// All that waits. Of one webhook's, one delivery at a time is under way, and the oldest that is
/// due comes first: so they come in order, but for those that have failed before.
///
/// Webhooks take turns. However much waits for slow receivers, it takes no more than one attempt
/// for each of them until it is another one's turn.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    webhooks: HashMap<WebhookId, Waiting>,
    under_way: usize,
    /// How many errands there were.
    turns: u64,
}

/// One attempt that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Errand {
    pub(super) webhook: WebhookId,
    pub(super) id: DeliveryId,
    /// How often it was tried before.
    pub(super) attempts: u32,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Oldest first.
    deliveries: VecDeque<Delivery>,
    under_way: Option<DeliveryId>,
    /// The number of its last errand; 0 before its first.
    turn: u64,
}

#[derive(Debug)]
struct Delivery {
    id: DeliveryId,
    attempts: u32,
    due: Instant,
}

impl Outbox {
    /// Puts one more in; the one that is dropped for it.
    pub(super) fn add(&mut self, errand: Errand, due: Instant) -> Option<DeliveryId> {
        let waiting = self.webhooks.entry(errand.webhook).or_default();
        let is_full = waiting.deliveries.len() >= DELIVERIES_CAPACITY;
        let under_way = waiting.under_way.as_ref();
        let oldest = waiting.deliveries.iter().position(|one| Some(&one.id) != under_way);
        let dropped = oldest.filter(|_| is_full).and_then(|at| waiting.deliveries.remove(at));
        let Errand { id, attempts, .. } = errand;
        waiting.deliveries.push_back(Delivery { id, attempts, due });
        dropped.map(|one| one.id)
    }

    /// When something is due, if nothing happens before.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.under_way >= UNDER_WAY_MAX {
            return None;
        }
        let idle = self.webhooks.values().filter(|waiting| waiting.under_way.is_none());
        idle.flat_map(|waiting| &waiting.deliveries).map(|one| one.due).min()
    }

    /// The next errand that is due; it is under way from here on.
    pub(super) fn poll_errand(&mut self, now: Instant) -> Option<Errand> {
        if self.under_way >= UNDER_WAY_MAX {
            return None;
        }
        let idle = self.webhooks.iter().filter(|(_, waiting)| waiting.under_way.is_none());
        let due = idle.filter_map(|(webhook, waiting)| {
            let due = waiting.deliveries.iter().find(|one| one.due <= now)?;
            Some((webhook, waiting.turn, due))
        });
        let (webhook, _, one) = due.min_by_key(|(_, turn, one)| (*turn, one.due))?;
        let Delivery { id, attempts, .. } = one;
        let errand = Errand { webhook: webhook.clone(), id: id.clone(), attempts: *attempts };
        self.turns += 1;
        self.under_way += 1;
        let waiting = self.webhooks.get_mut(&errand.webhook)?;
        waiting.under_way = Some(errand.id.clone());
        waiting.turn = self.turns;
        Some(errand)
    }

    /// An errand is done, for better or worse: nothing of it is left.
    pub(super) fn close(&mut self, errand: &Errand) {
        let Some(waiting) = self.come_back(errand) else { return };
        waiting.deliveries.retain(|one| one.id != errand.id);
        if waiting.deliveries.is_empty() {
            self.webhooks.remove(&errand.webhook);
        }
    }

    /// An errand was in vain, and is due again at some time; it says how often it was tried.
    pub(super) fn postpone(&mut self, errand: &Errand, due: Instant) {
        let Some(waiting) = self.come_back(errand) else { return };
        if let Some(one) = waiting.deliveries.iter_mut().find(|one| one.id == errand.id) {
            one.attempts = errand.attempts;
            one.due = due;
        }
    }

    fn come_back(&mut self, errand: &Errand) -> Option<&mut Waiting> {
        let waiting = self.webhooks.get_mut(&errand.webhook)?;
        if waiting.under_way.as_ref() == Some(&errand.id) {
            waiting.under_way = None;
            self.under_way -= 1;
        }
        Some(waiting)
    }
}

/// Attempts under way at once, to all webhooks.
const UNDER_WAY_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::clock;

    #[test]
    fn deliveries_of_one_webhook_come_one_after_the_other_in_their_order() {
        let (mut outbox, now) = (Outbox::default(), clock::now());
        for id in ["a", "b"] {
            assert_eq!(outbox.add(errand("w", id), now), None);
        }
        assert_eq!(outbox.poll_errand(now), Some(errand("w", "a")));
        assert_eq!((outbox.poll_errand(now), outbox.poll_timeout()), (None, None));
        outbox.close(&errand("w", "a"));
        assert_eq!(outbox.poll_errand(now), Some(errand("w", "b")));
    }

    #[test]
    fn webhooks_do_not_wait_for_each_other() {
        let (mut outbox, before) = (Outbox::default(), clock::now());
        let now = before + Duration::from_secs(1);
        outbox.add(errand("x", "b"), now);
        outbox.add(errand("w", "a"), before);
        let out = [outbox.poll_errand(now), outbox.poll_errand(now)].map(Option::unwrap);
        assert_eq!(out, [errand("w", "a"), errand("x", "b")], "whoever waits longest is first");
    }

    #[test]
    fn webhooks_take_turns_however_much_waits_for_one() {
        let (mut outbox, now) = (Outbox::default(), clock::now());
        for id in ["a", "b", "c"] {
            outbox.add(errand("w", id), now);
        }
        let first = outbox.poll_errand(now).unwrap();
        let later = now + Duration::from_secs(1);
        outbox.add(errand("x", "d"), later);
        outbox.close(&first);
        assert_eq!(outbox.poll_errand(later), Some(errand("x", "d")));
        assert_eq!(outbox.poll_errand(later), Some(errand("w", "b")));
    }

    #[test]
    fn one_that_failed_waits_and_lets_others_pass() {
        let (mut outbox, now) = (Outbox::default(), clock::now());
        let later = now + Duration::from_secs(5);
        outbox.add(errand("w", "a"), now);
        outbox.add(errand("w", "b"), now);
        outbox.poll_errand(now).unwrap();
        let again = Errand { attempts: 1, ..errand("w", "a") };
        outbox.postpone(&again, later);
        assert_eq!(outbox.poll_errand(now), Some(errand("w", "b")));
        outbox.close(&errand("w", "b"));
        assert_eq!((outbox.poll_errand(now), outbox.poll_timeout()), (None, Some(later)));
        assert_eq!(outbox.poll_errand(later), Some(again.clone()));
        outbox.close(&again);
        assert!(outbox.webhooks.is_empty());
    }

    #[test]
    fn a_full_queue_loses_its_oldest_that_is_not_under_way() {
        let (mut outbox, now) = (Outbox::default(), clock::now());
        for number in 0..DELIVERIES_CAPACITY {
            assert_eq!(outbox.add(errand("w", &number.to_string()), now), None);
        }
        assert_eq!(outbox.poll_errand(now), Some(errand("w", "0")));
        assert_eq!(outbox.add(errand("w", "new"), now), Some(DeliveryId::new("1")));
        assert_eq!(outbox.add(errand("x", "other"), now), None);
    }

    #[test]
    fn so_many_are_under_way_and_no_more() {
        let (mut outbox, now) = (Outbox::default(), clock::now());
        for number in 0..=UNDER_WAY_MAX {
            outbox.add(errand(&number.to_string(), &number.to_string()), now);
        }
        let out: Vec<_> = std::iter::from_fn(|| outbox.poll_errand(now)).collect();
        assert_eq!((out.len(), outbox.poll_timeout()), (UNDER_WAY_MAX, None));
        outbox.close(&out[0]);
        assert_eq!(outbox.poll_timeout(), Some(now));
        assert!(outbox.poll_errand(now).is_some());
    }

    fn errand(webhook: &str, id: &str) -> Errand {
        Errand { webhook: WebhookId::new(webhook), id: DeliveryId::new(id), attempts: 0 }
    }
}
