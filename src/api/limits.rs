//! How much one caller may ask for: requests with a key, wrong keys from an address, messages
//! of a client. Each is a token bucket.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{NotUntil, Quota, RateLimiter};
use thiserror::Error;

use crate::sys::clock;

/// How often a second, on average. 0 sets no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests with one API key. Twice as many may come at once.
    pub requests_per_second: u32,
    /// Wrong keys from one address. Five times as many may come at once.
    pub wrong_keys_per_second: u32,
    /// Messages of one client. Ten times as many may come at once.
    pub messages_per_second: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { requests_per_second: 2000, wrong_keys_per_second: 20, messages_per_second: 5000 }
    }
}

/// More than is allowed; what was asked for is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many {what}; try again in {} s", self.seconds())]
pub(super) struct TooMany {
    what: &'static str,
    wait: Duration,
}

impl TooMany {
    /// What clients read.
    pub(super) const CODE: &str = "RATE_LIMITED";

    /// Whole seconds after which it is worth another try, at least one.
    pub(super) fn seconds(&self) -> u64 {
        let part = u64::from(self.wait.subsec_nanos() > 0);
        (self.wait.as_secs() + part).max(1)
    }
}

/// The limits of one gateway.
#[derive(Debug)]
pub(super) struct Limits {
    requests: Option<RequestLimit>,
    wrong_keys: Option<WrongKeyLimit>,
    messages: Option<Quota>,
}

impl Limits {
    pub(super) fn new(rates: Rates) -> Self {
        let requests = quota(rates.requests_per_second, 2);
        let wrong_keys = quota(rates.wrong_keys_per_second, 5);
        Self {
            requests: requests.map(RequestLimit::new),
            wrong_keys: wrong_keys.map(WrongKeyLimit::new),
            messages: quota(rates.messages_per_second, 10),
        }
    }

    /// Counts a request with this key, which must be a valid one: others leave no trace here.
    pub(super) fn request(&self, key: &str) -> Result<(), TooMany> {
        self.requests.as_ref().map_or(Ok(()), |limit| limit.take(key))
    }

    /// Counts a wrong key from this address. A right one always opens: whoever shares an address
    /// with somebody who guesses is not locked out.
    pub(super) fn wrong_key(&self, from: IpAddr) -> Result<(), TooMany> {
        self.wrong_keys.as_ref().map_or(Ok(()), |limit| limit.take(from))
    }

    /// The limit of a client that has just connected.
    pub(super) fn of_client(&self) -> MessageLimit {
        let limit = |quota| RateLimiter::new(quota, InMemoryState::default(), HouseClock);
        MessageLimit(self.messages.map(limit))
    }
}

/// How many messages one client may send.
#[derive(Debug)]
pub(super) struct MessageLimit(Option<RateLimiter<NotKeyed, InMemoryState, HouseClock>>);

impl MessageLimit {
    /// Counts a message.
    pub(super) fn message(&self) -> Result<(), TooMany> {
        let Some(limit) = &self.0 else { return Ok(()) };
        limit.check().map_err(|not_until| too_many("messages from this client", &not_until))
    }
}

/// Buckets of valid keys alone, by a hash that only this process knows: there are never more of
/// them than keys, and those that are full again are swept.
#[derive(Debug)]
struct RequestLimit {
    buckets: RateLimiter<u64, HashMapStateStore<u64>, HouseClock>,
    hasher: RandomState,
    /// Requests since the last sweep.
    unswept: AtomicU32,
}

impl RequestLimit {
    fn new(quota: Quota) -> Self {
        let buckets = RateLimiter::new(quota, HashMapStateStore::default(), HouseClock);
        Self { buckets, hasher: RandomState::new(), unswept: AtomicU32::new(0) }
    }

    fn take(&self, key: &str) -> Result<(), TooMany> {
        if self.unswept.fetch_add(1, Ordering::Relaxed) >= REQUESTS_PER_SWEEP {
            self.unswept.store(0, Ordering::Relaxed);
            self.buckets.retain_recent();
        }
        let taken = self.buckets.check_key(&self.hasher.hash_one(key));
        taken.map_err(|not_until| too_many("requests with this key", &not_until))
    }
}

/// A fixed number of buckets, shared by the addresses whose hashes meet: whoever has many
/// addresses gets no more memory.
#[derive(Debug)]
struct WrongKeyLimit {
    buckets: RateLimiter<u64, Slots, HouseClock>,
    hasher: RandomState,
}

impl WrongKeyLimit {
    fn new(quota: Quota) -> Self {
        let slots = Slots((0..SLOTS).map(|_| InMemoryState::default()).collect());
        let buckets = RateLimiter::new(quota, slots, HouseClock);
        Self { buckets, hasher: RandomState::new() }
    }

    fn take(&self, from: IpAddr) -> Result<(), TooMany> {
        let slot = self.hasher.hash_one(network_of(from)) % SLOTS;
        let taken = self.buckets.check_key(&slot);
        taken.map_err(|not_until| too_many("wrong keys from this address", &not_until))
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

#[derive(Debug)]
struct Slots(Box<[InMemoryState]>);

impl StateStore for Slots {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, slot: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        match usize::try_from(*slot).ok().and_then(|slot| self.0.get(slot)) {
            Some(slot) => slot.measure_and_replace(&NotKeyed::NonKey, measure),
            None => measure(None).map(|(measured, _)| measured),
        }
    }
}

/// The clock of the house, which tests can pause.
#[derive(Clone, Copy, Debug)]
struct HouseClock;

impl Clock for HouseClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        clock::now()
    }
}

fn too_many(what: &'static str, not_until: &NotUntil<Instant>) -> TooMany {
    TooMany { what, wait: not_until.wait_time_from(clock::now()) }
}

/// So many a second, and `burst` times as many at once; none for 0.
fn quota(per_second: u32, burst: u32) -> Option<Quota> {
    let at_once = NonZeroU32::new(per_second.saturating_mul(burst))?;
    Some(Quota::per_second(NonZeroU32::new(per_second)?).allow_burst(at_once))
}

/// A sweep looks at all keys in use, so it comes seldom.
const REQUESTS_PER_SWEEP: u32 = 4096;

/// 128 KiB of buckets: that a stranger shares the one of an attacker is unlikely.
const SLOTS: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates =
        Rates { requests_per_second: 10, wrong_keys_per_second: 4, messages_per_second: 5 };
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn a_key_has_a_burst_and_then_its_rate() {
        let limits = Limits::new(RATES);
        assert_eq!(taken(|| limits.request("ak_1")), 20);
        let refused = limits.request("ak_1").expect_err("no more");
        assert_eq!(refused.seconds(), 1);
        assert_eq!(refused.to_string(), "too many requests with this key; try again in 1 s");
        limits.request("ak_2").expect("another key has its own");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(taken(|| limits.request("ak_1")), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_rest_are_swept() {
        let limits = Limits::new(RATES);
        let requests = limits.requests.as_ref().expect("a limit");
        for key in 0..100 {
            limits.request(&format!("ak_{key}")).expect("taken");
        }
        assert_eq!(requests.buckets.len(), 100);
        tokio::time::advance(Duration::from_secs(10)).await;
        requests.unswept.store(REQUESTS_PER_SWEEP, Ordering::Relaxed);
        limits.request("ak_1").expect("taken");
        assert_eq!(requests.buckets.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_keys_have_a_burst_and_then_their_rate() {
        let limits = Limits::new(RATES);
        assert_eq!(taken(|| limits.wrong_key(HERE)), 20);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(taken(|| limits.wrong_key(HERE)), 1);
    }

    #[test]
    fn an_address_is_its_network() {
        let network = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_client_has_its_own_messages() {
        let limits = Limits::new(RATES);
        let (one, two) = (limits.of_client(), limits.of_client());
        assert_eq!(taken(|| one.message()), 50);
        two.message().expect("another client has its own");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(taken(|| one.message()), 5);
    }

    #[test]
    fn nought_is_no_limit() {
        let limits = Limits::new(Rates {
            requests_per_second: 0,
            wrong_keys_per_second: 0,
            messages_per_second: 0,
        });
        let client = limits.of_client();
        for _ in 0..10_000 {
            limits.request("ak_1").expect("no limit");
            limits.wrong_key(HERE).expect("no limit");
            client.message().expect("no limit");
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        let seconds = |millis| TooMany { what: "x", wait: Duration::from_millis(millis) }.seconds();
        assert_eq!([0, 1, 1000, 1001].map(seconds), [1, 1, 1, 2]);
    }

    /// How often it can be done at once.
    fn taken(mut take: impl FnMut() -> Result<(), TooMany>) -> usize {
        std::iter::from_fn(|| take().ok()).take(1000).count()
    }
}
