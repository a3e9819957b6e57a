//! A bad road for datagrams: loss, delay, jitter, reordering and more, the same for the same seed.
//!
//! [`Road`] is one direction as a pure machine: time is an argument. [`Relay`] puts two of them
//! between real sockets.

mod config;
mod dice;
mod relay;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

pub use config::{Bottleneck, Detour, Fate, Jitter, Loss, Outage, RoadConfig};
pub use relay::{Direction, Relay, RelayError};

use dice::Dice;

/// One direction of a road, for things of any kind.
///
/// After [`Road::push`], and when [`Road::poll_timeout`] has come, drain [`Road::poll`].
#[derive(Debug)]
pub struct Road<T> {
    config: RoadConfig,
    dice: Dice,
    began: Instant,
    is_bad_time: bool,
    /// When the last thing of those that keep their order arrives.
    last_arrival: Instant,
    /// When the narrowest place is free again.
    free_at: Instant,
    travelling: BinaryHeap<Reverse<Travelling<T>>>,
    pushed: u64,
    stats: RoadStats,
}

/// What became of what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoadStats {
    /// Sent.
    pub taken: u64,
    /// Arrived, twice counting twice.
    pub passed: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because the link was down.
    pub cut: u64,
    /// Lost because a queue was full.
    pub overflowed: u64,
    /// Sent once, and arriving twice.
    pub duplicated: u64,
}

impl<T: Clone> Road<T> {
    /// A road that begins at `now`. The same seed does the same to the same things.
    #[must_use]
    pub fn new(config: RoadConfig, seed: u64, now: Instant) -> Self {
        Self {
            config,
            dice: Dice::new(seed),
            began: now,
            is_bad_time: false,
            last_arrival: now,
            free_at: now,
            travelling: BinaryHeap::new(),
            pushed: 0,
            stats: RoadStats::default(),
        }
    }

    /// Sends something of so many bytes.
    pub fn push(&mut self, thing: T, bytes: usize, now: Instant) {
        self.stats.taken += 1;
        let Fortune { is_lost, is_twice, detour, jitter } = self.throw();
        if is_lost {
            self.stats.lost += 1;
            return;
        }
        let Some(sent) = self.leave(bytes, now) else { return };
        let mut arrival = later_by(sent + self.config.delay, jitter).max(sent);
        if self.config.keeps_order {
            arrival = arrival.max(self.last_arrival);
        }
        self.last_arrival = arrival;
        let arrival = arrival + detour;
        if is_twice {
            self.stats.duplicated += 1;
            self.travel(thing.clone(), arrival);
        }
        self.travel(thing, arrival);
    }

    /// Sends something that is delayed, and spared everything else but a link that is down.
    pub fn push_spared(&mut self, thing: T, now: Instant) {
        self.stats.taken += 1;
        if let Some(sent) = self.pass_outages(now) {
            self.travel(thing, sent + self.config.delay);
        }
    }

    /// Gives what has arrived, in the order of arrival.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.stats.passed += 1;
        self.travelling.pop().map(|Reverse(arrived)| arrived.thing)
    }

    /// When the next thing arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.travelling.peek().map(|Reverse(next)| next.arrival)
    }

    /// Lets nothing pass from `now` on, for so long.
    pub fn interrupt(&mut self, now: Instant, lasts: Duration, fate: Fate) {
        let after = now.saturating_duration_since(self.began);
        self.config.outages.retain(|outage| outage.after + outage.lasts > after);
        self.config.outages.push(Outage { after, lasts, fate });
    }

    /// What became of what was sent so far.
    #[must_use]
    pub const fn stats(&self) -> RoadStats {
        self.stats
    }

    /// All that chance decides, thrown in the same order for everything sent.
    fn throw(&mut self) -> Fortune {
        let is_lost = self.is_lost();
        let is_twice = self.dice.happens(self.config.duplicated);
        let takes_detour = self.dice.happens(self.config.detour.share);
        let jitter = match self.config.jitter {
            Jitter::None => 0.0,
            Jitter::Uniform(most) => self.dice.share() * most.as_secs_f64(),
            Jitter::Normal(deviation) => self.dice.normal() * deviation.as_secs_f64(),
        };
        let detour = if takes_detour { self.config.detour.by } else { Duration::ZERO };
        Fortune { is_lost, is_twice, detour, jitter }
    }

    fn is_lost(&mut self) -> bool {
        match self.config.loss {
            Loss::None => false,
            Loss::Random { share } => self.dice.happens(share),
            Loss::Bursts { begin, end } => {
                let turns = self.dice.happens(if self.is_bad_time { end } else { begin });
                self.is_bad_time ^= turns;
                self.is_bad_time
            }
        }
    }

    /// When something has passed outages and the narrowest place; `None` if it does not.
    fn leave(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let sent = self.pass_outages(now)?;
        let Some(Bottleneck { bits_per_second, queue }) = self.config.bottleneck else {
            return Some(sent);
        };
        let free_at = self.free_at.max(sent);
        if free_at.saturating_duration_since(sent) > queue {
            self.stats.overflowed += 1;
            return None;
        }
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
        let nanoseconds = bits.saturating_mul(1_000_000_000) / bits_per_second.max(1);
        self.free_at = free_at + Duration::from_nanos(nanoseconds);
        Some(self.free_at)
    }

    /// When the link carries what is sent at `now`; `None` if what is sent is lost.
    fn pass_outages(&mut self, now: Instant) -> Option<Instant> {
        let since = now.saturating_duration_since(self.began);
        let is_down = |outage: &&Outage| {
            (outage.after..outage.after + outage.lasts).contains(&since) && !outage.lasts.is_zero()
        };
        match self.config.outages.iter().find(is_down) {
            None => Some(now),
            Some(Outage { fate: Fate::Lost, .. }) => {
                self.stats.cut += 1;
                None
            }
            Some(Outage { after, lasts, fate: Fate::Held }) => Some(self.began + *after + *lasts),
        }
    }

    fn travel(&mut self, thing: T, arrival: Instant) {
        if self.travelling.len() >= ROAD_CAPACITY {
            self.stats.overflowed += 1;
            return;
        }
        self.travelling.push(Reverse(Travelling { arrival, number: self.pushed, thing }));
        self.pushed += 1;
    }
}

impl RoadStats {
    /// The share of what was sent that did not arrive.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub fn share_lost(&self) -> f64 {
        (self.lost + self.cut + self.overflowed) as f64 / self.taken.max(1) as f64
    }

    fn pair(&self, before: &Self, step: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            taken: step(self.taken, before.taken),
            passed: step(self.passed, before.passed),
            lost: step(self.lost, before.lost),
            cut: step(self.cut, before.cut),
            overflowed: step(self.overflowed, before.overflowed),
            duplicated: step(self.duplicated, before.duplicated),
        }
    }
}

/// What chance has in store for one thing.
struct Fortune {
    is_lost: bool,
    is_twice: bool,
    detour: Duration,
    /// In seconds, and possibly negative.
    jitter: f64,
}

#[derive(Debug)]
struct Travelling<T> {
    arrival: Instant,
    number: u64,
    thing: T,
}

/// By arrival, and what was sent first first.
impl<T> Ord for Travelling<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.arrival, self.number).cmp(&(other.arrival, other.number))
    }
}

impl<T> PartialOrd for Travelling<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Travelling<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Travelling<T> {}

fn later_by(at: Instant, seconds: f64) -> Instant {
    let apart = Duration::try_from_secs_f64(seconds.abs()).unwrap_or(Duration::ZERO);
    if seconds < 0.0 { at.checked_sub(apart).unwrap_or(at) } else { at + apart }
}

/// Things that may travel at once: 80 s of one call, or half a second of 160.
///
/// When full: what is sent is lost, and counted as overflowed.
pub const ROAD_CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_road_that_does_nothing_delivers_at_once_and_in_order() {
        let arrived = travel(RoadConfig::default(), 1, 100);
        let expected: Vec<_> = (0..100).map(|n| (n, n * 20_000)).collect();
        assert_eq!(arrived, expected);
    }

    #[test]
    fn a_delay_is_exact() {
        let arrived = travel(RoadConfig { delay: ms(35), ..RoadConfig::default() }, 1, 100);
        assert!(arrived.iter().all(|(n, at)| *at == n * 20_000 + 35_000));
        assert_eq!(arrived.len(), 100);
    }

    #[test]
    fn random_loss_takes_its_share_one_by_one() {
        let loss = Loss::Random { share: 0.1 };
        let arrived = travel(RoadConfig { loss, ..RoadConfig::default() }, 7, 20_000);
        assert!((17_800..18_200).contains(&arrived.len()), "{} arrived", arrived.len());
        assert!((1.05..1.2).contains(&mean_burst(&arrived)), "{}", mean_burst(&arrived));
    }

    #[test]
    fn bursts_take_their_share_together() {
        let loss = Loss::bursts(0.1, 5.0);
        let arrived = travel(RoadConfig { loss, ..RoadConfig::default() }, 7, 20_000);
        assert!((17_400..18_600).contains(&arrived.len()), "{} arrived", arrived.len());
        assert!((4.0..6.0).contains(&mean_burst(&arrived)), "{}", mean_burst(&arrived));
    }

    #[test]
    fn jitter_reorders_unless_order_is_kept() {
        for jitter in [Jitter::Uniform(ms(80)), Jitter::Normal(ms(30))] {
            let free = RoadConfig { delay: ms(50), jitter, ..RoadConfig::default() };
            let kept = RoadConfig { keeps_order: true, ..free.clone() };
            let (free, kept) = (travel(free, 3, 2000), travel(kept, 3, 2000));
            assert!(!free.is_sorted_by_key(|(n, _)| *n));
            assert!(kept.is_sorted_by_key(|(n, _)| *n) && kept.len() == 2000);
            assert!(free.iter().all(|(n, at)| at - n * 20_000 <= 50_000 + 150_000));
        }
    }

    #[test]
    fn uniform_jitter_reaches_from_nothing_to_its_most() {
        let jitter = Jitter::Uniform(ms(30));
        let arrived = travel(RoadConfig { jitter, ..RoadConfig::default() }, 3, 5000);
        let under_way = |(n, at): &(u64, u64)| at - n * 20_000;
        let times: Vec<_> = arrived.iter().map(under_way).collect();
        assert!(times.iter().min().is_some_and(|least| *least < 500));
        assert!(times.iter().max().is_some_and(|most| (29_500..=30_000).contains(most)));
    }

    #[test]
    fn a_detour_lets_the_others_overtake() {
        let detour = Detour { share: 0.05, by: ms(50) };
        let config = RoadConfig { detour, keeps_order: true, ..RoadConfig::default() };
        let arrived = travel(config, 5, 10_000);
        let late = arrived.iter().filter(|(n, at)| *at == n * 20_000 + 50_000).count();
        assert!((400..600).contains(&late), "{late} went the longer way");
        assert_eq!(arrived.len(), 10_000);
    }

    #[test]
    fn duplicates_arrive_together() {
        let arrived = travel(RoadConfig { duplicated: 0.02, ..RoadConfig::default() }, 5, 10_000);
        assert!((10_150..10_250).contains(&arrived.len()), "{} arrived", arrived.len());
    }

    #[test]
    fn a_bottleneck_delays_and_then_loses() {
        // A datagram of 100 bytes every 20 ms is 40 kbit/s.
        let narrow = |bits_per_second| RoadConfig {
            bottleneck: Some(Bottleneck { bits_per_second, queue: ms(100) }),
            ..RoadConfig::default()
        };
        let wide = travel(narrow(80_000), 1, 500);
        assert!(wide.iter().all(|(n, at)| at - n * 20_000 == 10_000));
        let tight = travel(narrow(20_000), 1, 500);
        assert!((245..260).contains(&tight.len()), "{} of 500 arrived", tight.len());
        assert!(tight.iter().all(|(n, at)| at - n * 20_000 <= 140_000));
    }

    #[test]
    fn an_outage_loses_or_holds_what_is_sent() {
        let during = |fate| {
            let outages = vec![Outage { after: ms(200), lasts: ms(300), fate }];
            travel(RoadConfig { outages, ..RoadConfig::default() }, 1, 100)
        };
        assert_eq!(during(Fate::Lost).len(), 85);
        let held = during(Fate::Held);
        assert!(held.is_sorted_by_key(|(n, _)| *n) && held.len() == 100);
        assert_eq!(held.iter().filter(|(_, at)| *at == 500_000).count(), 16);
    }

    #[test]
    fn what_is_spared_is_only_delayed() {
        let loss = Loss::Random { share: 1.0 };
        let mut road =
            Road::new(RoadConfig { loss, delay: ms(5), ..RoadConfig::default() }, 1, t());
        road.push_spared("setup", t());
        road.push("sound", 10, t());
        assert_eq!(road.poll_timeout(), Some(t() + ms(5)));
        assert_eq!(road.poll(t() + ms(5)), Some("setup"));
        assert_eq!(road.poll(t() + ms(500)), None);
        assert_eq!(
            road.stats(),
            RoadStats { taken: 2, passed: 1, lost: 1, ..RoadStats::default() }
        );
    }

    #[test]
    fn a_full_road_loses_the_newest_and_counts_it() {
        let mut road = Road::new(RoadConfig { delay: ms(5), ..RoadConfig::default() }, 1, t());
        for n in 0..=ROAD_CAPACITY {
            road.push(n, 10, t());
        }
        assert_eq!(road.stats().overflowed, 1);
        let arrived: Vec<_> = std::iter::from_fn(|| road.poll(t() + ms(5))).collect();
        assert_eq!(arrived, (0..ROAD_CAPACITY).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_seed_makes_the_same_road() {
        let config = RoadConfig {
            loss: Loss::bursts(0.05, 3.0),
            jitter: Jitter::Uniform(ms(40)),
            duplicated: 0.1,
            ..RoadConfig::default()
        };
        assert_eq!(travel(config.clone(), 9, 500), travel(config.clone(), 9, 500));
        assert_ne!(travel(config.clone(), 9, 500), travel(config, 10, 500));
    }

    /// Sends so many numbers, one each 20 ms; gives them with the microsecond of their arrival.
    fn travel(config: RoadConfig, seed: u64, count: u64) -> Vec<(u64, u64)> {
        let began = t();
        let mut road = Road::new(config, seed, began);
        let mut arrived = Vec::new();
        let mut arrive = |road: &mut Road<u64>, until: Instant| {
            while let Some(at) = road.poll_timeout().filter(|at| *at <= until) {
                let number = road.poll(at).expect("it has arrived");
                arrived.push((number, u64::try_from((at - began).as_micros()).unwrap()));
            }
        };
        for number in 0..count {
            let now = began + ms(20) * u32::try_from(number).unwrap();
            arrive(&mut road, now);
            road.push(number, 100, now);
        }
        arrive(&mut road, began + ms(20 * count + 10_000));
        arrived
    }

    /// How many numbers in a row are missing on average, where some are.
    fn mean_burst(arrived: &[(u64, u64)]) -> f64 {
        let gaps: Vec<_> = arrived
            .windows(2)
            .map(|pair| pair[1].0 - pair[0].0 - 1)
            .filter(|gap| *gap > 0)
            .collect();
        let sum = u32::try_from(gaps.iter().sum::<u64>()).unwrap();
        f64::from(sum) / f64::from(u32::try_from(gaps.len()).unwrap())
    }

    fn t() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(clock::now)
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }
}
