//! What the store forgets by itself: past calls after their time, tombstones after theirs.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::journal::Journal;
use super::recording::Recordings;
use crate::store::{Store, StoreError};
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// Forgets what is over its time at this moment.
pub(super) async fn sweep(store: &Store, calls_kept: Duration) -> Result<(), StoreError> {
    let now_ms = clock::unix_ms();
    let kept_ms = u64::try_from(calls_kept.as_millis()).unwrap_or(u64::MAX);
    let calls = store.sweep_calls(now_ms.saturating_sub(kept_ms)).await?;
    let tombstones = store.sweep_tombstones(now_ms).await?;
    tracing::debug!(calls, tombstones, "forgot what is over its time");
    Ok(())
}

/// Sweeps once in every `period`, from one period on, for as long as the task is kept.
pub(super) fn keep(store: Store, calls_kept: Duration, period: Duration) -> Task {
    tasks::spawn("retention", async move {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        while !store.is_closed() {
            ticks.tick().await;
            if let Err(error) = sweep(&store, calls_kept).await {
                tracing::error!(%error, "what is over its time could not be forgotten");
            }
        }
    })
}

/// Deletes journals that are over their time, at once and once in every `period`, for as long as
/// the task is kept.
pub(super) fn keep_journals(journal: Journal, kept: Duration, period: Duration) -> Task {
    tasks::spawn("retention of journals", async move {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            journal.sweep(kept).await;
        }
    })
}

/// Erases recordings that are over their time, at once and once in every `period`, for as long as
/// the task is kept.
pub(super) fn keep_recordings(recordings: Recordings, period: Duration) -> Task {
    tasks::spawn("retention of recordings", async move {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match recordings.sweep().await {
                Ok(count) => tracing::debug!(count, "erased old recordings"),
                Err(error) => tracing::error!(%error, "old recordings could not be erased"),
            }
        }
    })
}

/// How much later than promised something may be forgotten.
pub(super) const SWEEP_PERIOD: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::RecordEntry;
    use crate::ids::{AgentId, CallId, UserId};
    use crate::privacy::Secret;
    use crate::store::CallEntry;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_call_is_forgotten_when_its_time_is_over() {
        let store = Store::open("sqlite::memory:").await.unwrap();
        call(&store, "call_1", 2 * HOUR).await;
        call(&store, "call_2", HOUR / 2).await;
        sweep(&store, HOUR).await.unwrap();
        assert_eq!(left(&store).await, ["call_2"]);
    }

    #[tokio::test]
    async fn what_is_over_its_time_is_forgotten_again_and_again() {
        let store = Store::open("sqlite::memory:").await.unwrap();
        let _sweeper = keep(store.clone(), HOUR, Duration::from_millis(1));
        for id in ["call_1", "call_2"] {
            call(&store, id, 2 * HOUR).await;
            let forgotten = async {
                while !left(&store).await.is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), forgotten).await.expect("forgotten");
        }
    }

    /// A call that ended so long ago.
    async fn call(store: &Store, id: &str, ago: Duration) {
        store.ensure_bootstrap(&Secret::new("ak_1"), 1).await.unwrap();
        let began = RecordEntry::Began { room_url: "rooms/hall".into(), participants: vec![] };
        let ended = RecordEntry::Ended { reason: "left".into(), at_ms: 0 };
        let entries = [began, ended].map(|entry| CallEntry {
            call: CallId::new(id),
            owner: UserId::new("usr_bootstrap"),
            agent: AgentId::new("ag_1"),
            agent_name: "Ida".into(),
            user_id: None,
            at_ms: clock::unix_ms() - u64::try_from(ago.as_millis()).unwrap(),
            follows_a_gap: false,
            entry,
        });
        store.record(&entries).await.unwrap();
    }

    async fn left(store: &Store) -> Vec<String> {
        let owner = UserId::new("usr_bootstrap");
        let page = store.calls_of(&owner, None, 10, None).await.unwrap();
        page.rows.iter().map(|call| call.id.to_string()).collect()
    }
}
