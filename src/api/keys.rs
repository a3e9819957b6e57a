//! How long a connection may last that was opened with a key: no longer than the key.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::ids::KeyId;
use crate::sys::clock;

/// Tells connections which keys are taken back. Clones tell the same ones.
#[derive(Clone, Debug)]
pub(super) struct Revocations(broadcast::Sender<KeyId>);

impl Revocations {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(REVOKED_CAPACITY))
    }

    /// Hears of what is taken back from now on: to be asked for before the key is looked up.
    pub(super) fn listen(&self) -> broadcast::Receiver<KeyId> {
        self.0.subscribe()
    }

    /// Ends every connection that was opened with this key.
    pub(super) fn revoke(&self, key: KeyId) {
        // Nobody may be connected.
        let _listeners = self.0.send(key);
    }
}

/// The key that has opened a connection, as long as it is valid.
#[derive(Debug)]
pub(super) struct OpenKey {
    key: KeyId,
    expires: Option<Instant>,
    revoked: broadcast::Receiver<KeyId>,
}

impl OpenKey {
    pub(super) fn new(
        key: KeyId,
        expires_at_ms: Option<u64>,
        revoked: broadcast::Receiver<KeyId>,
    ) -> Self {
        let left = expires_at_ms.map(clock::until_unix_ms);
        // What lies beyond the clock does not come.
        let expires = left.and_then(|left| Instant::now().checked_add(left));
        Self { key, expires, revoked }
    }

    /// Returns once the key is valid no longer. Nothing is lost if this is dropped and asked again.
    pub(super) async fn over(&mut self) {
        let expired = async {
            match self.expires {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let revoked = async {
            loop {
                match self.revoked.recv().await {
                    Ok(key) if key != self.key => {}
                    // It may have been among those that were missed. Who has a valid one comes
                    // back with it.
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = expired => {}
            () = revoked => {}
        }
    }
}

/// Keys taken back that a connection may not have heard of yet.
///
/// When full: the connection ends, as if its own had been among them.
const REVOKED_CAPACITY: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_with_its_own_key_only() {
        let revocations = Revocations::new();
        let mut mine = OpenKey::new(KeyId::new("mine"), None, revocations.listen());
        revocations.revoke(KeyId::new("other"));
        assert!(lasts(&mut mine, AN_HOUR).await);
        revocations.revoke(KeyId::new("mine"));
        assert!(!lasts(&mut mine, AN_HOUR).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_taken_back_while_it_is_looked_up_is_not_missed() {
        let revocations = Revocations::new();
        let heard = revocations.listen();
        revocations.revoke(KeyId::new("mine"));
        assert!(!lasts(&mut OpenKey::new(KeyId::new("mine"), None, heard), AN_HOUR).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lasts_until_its_key_expires() {
        let revocations = Revocations::new();
        let in_an_hour = Some(clock::unix_ms() + 3_600_000);
        let mut key = OpenKey::new(KeyId::new("mine"), in_an_hour, revocations.listen());
        assert!(lasts(&mut key, AN_HOUR / 2).await);
        assert!(!lasts(&mut key, AN_HOUR).await);
        let mut key = OpenKey::new(KeyId::new("mine"), Some(u64::MAX), revocations.listen());
        assert!(lasts(&mut key, AN_HOUR).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_missed_too_many_ends() {
        let revocations = Revocations::new();
        let mut key = OpenKey::new(KeyId::new("mine"), None, revocations.listen());
        for number in 0..=REVOKED_CAPACITY {
            revocations.revoke(KeyId::new(format!("other {number}")));
        }
        assert!(!lasts(&mut key, AN_HOUR).await);
    }

    async fn lasts(key: &mut OpenKey, span: Duration) -> bool {
        tokio::time::timeout(span, key.over()).await.is_err()
    }

    const AN_HOUR: Duration = Duration::from_secs(3_600);
}
