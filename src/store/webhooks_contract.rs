//! What is promised of webhooks, run over each kind of database.

use super::contract::{in_file, in_memory, owner, suite};
use super::{CallEntry, DeliveryRecord, InsertWebhookError, Letter, Message, Store, WebhookRecord};
use crate::agent::RecordEntry;
use crate::ids::{AgentId, CallId, DeliveryId, UserId, WebhookId};
use crate::privacy::Secret;

suite! {
    a_webhook_comes_back_as_it_went_and_to_nobody_else
    an_owner_has_so_many_webhooks_and_no_more
    of_webhooks_made_at_once_no_more_are_kept_than_one_may_have
    deliveries_wait_in_their_order_until_they_are_forgotten
    a_deleted_webhook_takes_along_what_waits_for_it
    an_erased_call_takes_along_what_waits_of_it
    an_erased_user_takes_along_all_webhooks
    live_calls_of_owners_with_webhooks_are_listed_oldest_first
}

async fn a_webhook_comes_back_as_it_went_and_to_nobody_else(store: Store) {
    let owner = owner(&store).await;
    let mut first = webhook(&owner, "wh_1");
    first.description = Some("to the ledger".into());
    let second = WebhookRecord { created_at_ms: 2, ..webhook(&owner, "wh_2") };
    for webhook in [&second, &first] {
        store.insert_webhook(webhook, 10).await.expect("kept");
    }
    assert_eq!(store.webhooks_of(&owner).await.expect("listed"), [first.clone(), second.clone()]);
    let other = UserId::new("usr_other");
    assert_eq!(store.webhooks_of(&other).await.expect("listed"), []);
    assert!(!store.delete_webhook(&other, &first.id).await.expect("tried"));
    assert!(store.delete_webhook(&owner, &first.id).await.expect("deleted"));
    assert!(!store.delete_webhook(&owner, &first.id).await.expect("tried"));
    assert_eq!(store.webhooks_of(&owner).await.expect("listed"), [second]);
}

async fn an_owner_has_so_many_webhooks_and_no_more(store: Store) {
    let owner = owner(&store).await;
    for id in ["wh_1", "wh_2"] {
        store.insert_webhook(&webhook(&owner, id), 2).await.expect("kept");
    }
    let third = store.insert_webhook(&webhook(&owner, "wh_3"), 2).await;
    assert!(matches!(third, Err(InsertWebhookError::Full)), "{third:?}");
    store.delete_webhook(&owner, &WebhookId::new("wh_1")).await.expect("deleted");
    store.insert_webhook(&webhook(&owner, "wh_3"), 2).await.expect("kept");
}

async fn of_webhooks_made_at_once_no_more_are_kept_than_one_may_have(store: Store) {
    let owner = owner(&store).await;
    let records: Vec<_> = (0..8).map(|number| webhook(&owner, &format!("wh_{number}"))).collect();
    let made = records.iter().map(|record| store.insert_webhook(record, 3));
    let made = futures_util::future::join_all(made).await;
    let full = made.iter().filter(|made| matches!(made, Err(InsertWebhookError::Full))).count();
    assert_eq!((made.iter().filter(|made| made.is_ok()).count(), full), (3, 5), "{made:?}");
}

async fn deliveries_wait_in_their_order_until_they_are_forgotten(store: Store) {
    let owner = owner(&store).await;
    let webhook = webhook(&owner, "wh_1");
    store.insert_webhook(&webhook, 10).await.expect("kept");
    let [mut first, second] = ["whd_2", "whd_1"].map(delivery);
    for one in [&first, &second] {
        assert!(store.insert_delivery(one, MESSAGE).await.expect("kept"));
    }
    store.postpone_delivery(&first.id, 3, 77).await.expect("postponed");
    (first.attempts, first.due_at_ms) = (3, 77);
    let waiting = store.waiting_deliveries().await.expect("listed");
    assert_eq!(waiting, [first.clone(), second.clone()]);
    let letter = Letter {
        url: webhook.url,
        secret: webhook.secret,
        event: MESSAGE.event.into(),
        body: MESSAGE.body.into(),
    };
    assert_eq!(store.letter(&first.id).await.expect("read"), Some(letter));
    store.delete_delivery(&first.id).await.expect("forgotten");
    assert_eq!(store.letter(&first.id).await.expect("read"), None);
    assert_eq!(store.waiting_deliveries().await.expect("listed"), [second]);
}

async fn a_deleted_webhook_takes_along_what_waits_for_it(store: Store) {
    let owner = owner(&store).await;
    let webhook = webhook(&owner, "wh_1");
    store.insert_webhook(&webhook, 10).await.expect("kept");
    let delivery = delivery("whd_1");
    assert!(store.insert_delivery(&delivery, MESSAGE).await.expect("kept"));
    store.delete_webhook(&owner, &webhook.id).await.expect("deleted");
    assert_eq!(store.letter(&delivery.id).await.expect("read"), None);
    assert_eq!(store.waiting_deliveries().await.expect("listed"), []);
    assert!(!store.insert_delivery(&delivery, MESSAGE).await.expect("tried"));
}

async fn an_erased_call_takes_along_what_waits_of_it(store: Store) {
    let owner = owner(&store).await;
    store.insert_webhook(&webhook(&owner, "wh_1"), 10).await.expect("kept");
    let [call, other] = ["call_1", "call_2"].map(CallId::new);
    let ended = RecordEntry::Ended { reason: "left".into(), at_ms: 1 };
    store
        .record(&[entry(&owner, &call, began()), entry(&owner, &call, ended)])
        .await
        .expect("kept");
    for (id, call) in [("whd_1", Some(&call)), ("whd_2", Some(&other)), ("whd_3", None)] {
        let message = Message { call, ..MESSAGE };
        assert!(store.insert_delivery(&delivery(id), message).await.expect("kept"));
    }
    assert!(!store.erase_call(&UserId::new("usr_other"), &call).await.expect("tried"));
    assert_eq!(store.waiting_deliveries().await.expect("listed").len(), 3);
    assert!(store.erase_call(&owner, &call).await.expect("erased"));
    let left = store.waiting_deliveries().await.expect("listed");
    assert_eq!(left, ["whd_2", "whd_3"].map(delivery));
}

async fn an_erased_user_takes_along_all_webhooks(store: Store) {
    let owner = owner(&store).await;
    store.insert_webhook(&webhook(&owner, "wh_1"), 10).await.expect("kept");
    assert!(store.insert_delivery(&delivery("whd_1"), MESSAGE).await.expect("kept"));
    let erased = sqlx::query("DELETE FROM users WHERE id = $1").bind(owner.as_str());
    erased.execute(&store.pool).await.expect("erased");
    assert_eq!(store.webhooks_of(&owner).await.expect("listed"), []);
    assert_eq!(store.waiting_deliveries().await.expect("listed"), []);
}

async fn live_calls_of_owners_with_webhooks_are_listed_oldest_first(store: Store) {
    let owner = owner(&store).await;
    let other = store.create_user("other@example.com", None, 0).await.expect("made").id;
    store.insert_webhook(&webhook(&owner, "wh_1"), 10).await.expect("kept");
    let ids = ["call_3", "call_1", "call_2"].map(CallId::new);
    let mut entries = ids.clone().map(|call| entry(&owner, &call, began()));
    entries[0].at_ms = 0;
    store.record(&entries).await.expect("kept");
    let ended = RecordEntry::Ended { reason: "left".into(), at_ms: 1 };
    store.record(&[entry(&owner, &ids[1], ended)]).await.expect("kept");
    store.record(&[entry(&other, &CallId::new("call_4"), began())]).await.expect("kept");
    let live = store.live_calls_with_webhooks().await.expect("listed");
    let [first, _, last] = ids;
    assert_eq!(live, [(owner.clone(), first), (owner, last)]);
}

fn webhook(owner: &UserId, id: &str) -> WebhookRecord {
    WebhookRecord {
        id: WebhookId::new(id),
        owner: owner.clone(),
        url: "https://example.com/hook".into(),
        events: vec!["call.started".into(), "call.ended".into()],
        description: None,
        secret: Secret::new("whsec_1"),
        created_at_ms: 1,
    }
}

fn delivery(id: &str) -> DeliveryRecord {
    let webhook = WebhookId::new("wh_1");
    DeliveryRecord { id: DeliveryId::new(id), webhook, attempts: 0, due_at_ms: 5 }
}

fn entry(owner: &UserId, call: &CallId, entry: RecordEntry) -> CallEntry {
    CallEntry {
        call: call.clone(),
        owner: owner.clone(),
        agent: AgentId::new("ag_1"),
        agent_name: "Ida".into(),
        user_id: None,
        at_ms: 1,
        follows_a_gap: false,
        entry,
    }
}

fn began() -> RecordEntry {
    RecordEntry::Began { room_url: "rooms/hall".into(), participants: vec![] }
}

const MESSAGE: Message<'_> = Message { event: "call.ended", call: None, body: r#"{"a":1}"# };
