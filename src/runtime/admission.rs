//! New work is taken while the work that runs is done in time: who comes over that is refused, at
//! once and with the time after which another try is worth it.
//!
//! What is measured is what callers would hear: frames that leave late, and packets that wait. Not
//! the processor's load, which says neither.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::time::MissedTickBehavior;

use crate::agent::Rejection;
use crate::meter::{Counted, Counter, Meter, Stage};
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// When new work is refused. What is zero refuses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionPolicy {
    /// A frame that leaves later than this after it was due is late.
    pub late: Duration,
    /// A packet that waits longer than this for its agent's task is old.
    pub queue: Duration,
    /// How many of a hundred frames may be late, or packets old.
    pub late_percent: u32,
    /// How many calls and callers are taken in a second.
    pub setups_per_second: u32,
    /// How many agents may be in calls at once.
    pub calls_max: u32,
}

impl AdmissionPolicy {
    /// Everybody is taken.
    pub const OPEN: Self = Self {
        late: Duration::ZERO,
        queue: Duration::ZERO,
        late_percent: 100,
        setups_per_second: 0,
        calls_max: 0,
    };
}

/// Why new work is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// What runs is not done in time.
    #[error("the gateway is at its capacity")]
    Pressure,
    /// More comes at once than is taken at once.
    #[error("too many calls come at once")]
    Pace {
        /// When there is a place.
        wait: Duration,
    },
    /// As many agents as may be are in calls.
    #[error("as many calls are running as this gateway takes")]
    Calls,
}

impl Refusal {
    /// After how many seconds another try is worth it.
    #[must_use]
    pub const fn retry_after_seconds(self) -> u64 {
        match self {
            Self::Pressure | Self::Calls => 5,
            Self::Pace { wait } => wait.as_secs() + 1,
        }
    }

    const fn counter(self) -> Counter {
        match self {
            Self::Pressure => Counter::RefusedPressure,
            Self::Pace { .. } => Counter::RefusedPace,
            Self::Calls => Counter::RefusedCalls,
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        let retry_after_seconds = refusal.retry_after_seconds();
        Self::Capacity { reason: refusal.to_string(), retry_after_seconds }
    }
}

/// The door. Cheap to clone; the watch over it lives as long as a clone of it.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Door>);

#[derive(Debug)]
struct Door {
    policy: AdmissionPolicy,
    meter: Meter,
    state: Arc<State>,
    pace: Pace,
    calls: Arc<AtomicU32>,
    _watch: Option<Task>,
}

/// What the watch says, and the door heeds.
#[derive(Debug)]
struct State {
    is_open: AtomicBool,
    /// How much slower than usual new work is taken.
    slowness: AtomicU32,
}

/// A place among the agents in calls. Given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// Opens the door, and has somebody watch what `meter` counts. Must be called within tokio.
    pub(super) fn open(policy: AdmissionPolicy, meter: &Meter) -> Self {
        let state = Arc::new(State { is_open: true.into(), slowness: 1.into() });
        let is_watched = !policy.late.is_zero() || !policy.queue.is_zero();
        let watch = is_watched.then(|| {
            let pressure = Pressure::new(policy.late_percent, clock::now());
            let watching = watch(policy, meter.clone(), Arc::clone(&state), pressure);
            tasks::spawn("admission", watching)
        });
        Self(Arc::new(Door {
            policy,
            meter: meter.clone(),
            state,
            pace: Pace::new(clock::now()),
            calls: Arc::default(),
            _watch: watch,
        }))
    }

    /// Whether new work is taken, but for its pace and caps.
    pub(super) fn is_open(&self) -> bool {
        self.0.state.is_open.load(Ordering::Relaxed)
    }

    /// Lets a call or a caller in: at once, or after a short wait where many come.
    pub(super) async fn admit(&self) -> Result<(), Refusal> {
        self.check_pressure()?;
        let slowness = self.0.state.slowness.load(Ordering::Relaxed);
        match self.0.pace.take(self.0.policy.setups_per_second, slowness, clock::now()) {
            Ok(wait) if wait.is_zero() => return Ok(()),
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(wait) => return Err(self.count(Refusal::Pace { wait })),
        }
        self.check_pressure()
    }

    /// A place for an agent that goes into a call.
    pub(super) fn take_place(&self) -> Result<Place, Refusal> {
        let most = self.0.policy.calls_max;
        let more = |calls: u32| (most == 0 || calls < most).then(|| calls + 1);
        let taken = self.0.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        match taken {
            Ok(_) => Ok(Place(Arc::clone(&self.0.calls))),
            Err(_) => Err(self.count(Refusal::Calls)),
        }
    }

    /// A place for an agent that is in a call already, whatever the cap: another has passed it on.
    pub(super) fn keep_place(&self) -> Place {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(&self.0.calls))
    }

    fn check_pressure(&self) -> Result<(), Refusal> {
        if self.is_open() { Ok(()) } else { Err(self.count(Refusal::Pressure)) }
    }

    fn count(&self, refusal: Refusal) -> Refusal {
        self.0.meter.count(refusal.counter());
        refusal
    }
}

/// Looks at what was counted, ten times a second.
async fn watch(policy: AdmissionPolicy, meter: Meter, state: Arc<State>, mut pressure: Pressure) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let verdict = pressure.look(Counts::read(&meter, policy), clock::now());
        state.slowness.store(verdict.slowness, Ordering::Relaxed);
        let was_open = state.is_open.swap(verdict.is_open, Ordering::Relaxed);
        if was_open && !verdict.is_open {
            tracing::warn!("calls are not served in time: new ones are refused");
        } else if !was_open && verdict.is_open {
            tracing::info!("calls are served in time: new ones are taken again");
        }
    }
}

/// What was counted until some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    frames: u64,
    late: u64,
    packets: u64,
    old: u64,
}

impl Counts {
    fn read(meter: &Meter, policy: AdmissionPolicy) -> Self {
        let (frames, packets) = (meter.read(Stage::PacerLate), meter.read(Stage::UplinkQueue));
        let above = |limit: Duration, counted: &Counted| {
            if limit.is_zero() { 0 } else { counted.above(limit) }
        };
        Self {
            frames: frames.count(),
            late: above(policy.late, &frames),
            packets: packets.count(),
            old: above(policy.queue, &packets),
        }
    }

    /// The parts in ten thousand that are not in time since `before`: of frames or of packets, of
    /// whichever there are more. A few do not count: one call alone may stumble.
    fn untimely(self, before: Self) -> u64 {
        let share = |bad: u64, all: u64| {
            if bad < UNTIMELY_MIN { 0 } else { bad * 10_000 / all.max(1) }
        };
        let frames = share(self.late - before.late, self.frames - before.frames);
        frames.max(share(self.old - before.old, self.packets - before.packets))
    }
}

/// PURE. Whether what runs is done in time, by what was counted in the last two seconds.
#[derive(Debug)]
struct Pressure {
    limit: u64,
    window: VecDeque<(Instant, Counts)>,
    /// When the limit was last passed, if all is not yet well again.
    pressed: Option<Instant>,
    /// How often the pace is halved, and since when.
    halvings: u32,
    slow_since: Instant,
}

/// What to do with new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    is_open: bool,
    slowness: u32,
}

impl Pressure {
    /// Over so many percent of what is not in time, the door shuts; under half of it, it opens.
    const fn new(percent: u32, now: Instant) -> Self {
        let limit = percent as u64 * 100;
        Self { limit, window: VecDeque::new(), pressed: None, halvings: 0, slow_since: now }
    }

    /// Looks at what was counted until `now`.
    fn look(&mut self, counts: Counts, now: Instant) -> Verdict {
        self.window.push_back((now, counts));
        while self.window.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.window.pop_front();
        }
        let before = self.window.front().map_or(counts, |(_, counts)| *counts);
        let untimely = counts.untimely(before);
        let is_pressed = untimely > self.limit;
        let is_calm = untimely * 2 <= self.limit;
        self.pressed = match self.pressed {
            _ if is_pressed => Some(now),
            Some(_) if !is_calm => Some(now),
            Some(pressed) if now.duration_since(pressed) < CALM => Some(pressed),
            _ => None,
        };
        self.slow_down(untimely, now);
        Verdict { is_open: self.pressed.is_none(), slowness: 1 << self.halvings }
    }

    /// The nearer the limit, the slower new work is taken: the pace halves each time that what is
    /// not in time doubles. Slower at once, faster by and by.
    fn slow_down(&mut self, untimely: u64, now: Instant) {
        let doublings = self.limit.checked_div(untimely).map(|times| times.max(1).ilog2());
        let nearness = doublings.map_or(0, |doublings| HALVINGS.saturating_sub(doublings));
        let wanted = if self.pressed.is_some() { HALVINGS } else { nearness };
        if wanted >= self.halvings {
            (self.halvings, self.slow_since) = (wanted, now);
        } else if now.duration_since(self.slow_since) >= EASE {
            (self.halvings, self.slow_since) = (self.halvings - 1, now);
        }
    }
}

/// Spreads what comes at once over time: each takes the next moment that is free, unless that is
/// too far away. (The generic cell rate algorithm of ITU-T I.371, without a lock.)
#[derive(Debug)]
struct Pace {
    origin: Instant,
    /// The moment that is free next, in microseconds since an hour before the origin.
    free_us: AtomicU64,
}

impl Pace {
    const fn new(origin: Instant) -> Self {
        Self { origin, free_us: AtomicU64::new(0) }
    }

    /// Takes a moment, of which there are so many in a second, or fewer by so much: how long it is
    /// until then; or how long until one could be taken.
    fn take(&self, per_second: u32, slowness: u32, now: Instant) -> Result<Duration, Duration> {
        let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let interval_us = 1_000_000 * u64::from(slowness) / u64::from(per_second.max(1));
        let interval_us = if per_second == 0 { 0 } else { interval_us };
        let now_us = us(now.saturating_duration_since(self.origin) + BEFORE);
        let at_once = (AT_ONCE / u64::from(slowness)).max(1);
        let earliest_us = now_us.saturating_sub(interval_us * (at_once - 1));
        let last_us = now_us + us(WAIT_MAX);
        let next = |free: u64| {
            let mine = free.max(earliest_us);
            (mine <= last_us).then(|| mine + interval_us)
        };
        let wait = |free: u64, from: u64| Duration::from_micros(free.saturating_sub(from));
        match self.free_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(free) => Ok(wait(free.max(earliest_us), now_us)),
            Err(free) => Err(wait(free, last_us)),
        }
    }
}

/// How often what was counted is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What was counted in the last two seconds decides.
const WINDOW: Duration = Duration::from_secs(2);

/// Fewer frames or packets that are not in time say nothing yet: where few calls run, a machine
/// that stumbles for a moment is not full.
const UNTIMELY_MIN: u64 = 100;

/// For so long all must be well before new work is taken again.
const CALM: Duration = Duration::from_secs(3);

/// At the limit new work is taken at a sixty-fourth of the pace; away from it, twice as fast every
/// three seconds at most. What a new call costs shows itself only when somebody speaks in it.
const HALVINGS: u32 = 6;
const EASE: Duration = Duration::from_secs(3);

/// So many are taken at once after a pause; fewer where all goes slowly.
const AT_ONCE: u64 = 10;

/// A pause before everything, so that a few may come at once at the start.
const BEFORE: Duration = Duration::from_hours(1);

/// The longest wait at the door: whoever calls does not notice it.
const WAIT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_does_nothing_takes_everybody() {
        let mut scene = Scene::new();
        assert_eq!(scene.pass(10, Counts::default()), Verdict { is_open: true, slowness: 1 });
    }

    #[test]
    fn the_gate_shuts_when_more_than_the_limit_is_late() {
        let mut scene = Scene::new();
        assert!(scene.pass(20, frames(1_000, 9)).is_open, "0.9 %");
        assert!(!scene.pass(2, frames(1_000, 60)).is_open);
    }

    #[test]
    fn packets_that_wait_shut_it_as_well() {
        let mut scene = Scene::new();
        let counts = Counts { packets: 200, old: 49, ..Counts::default() };
        assert!(scene.pass(2, counts).is_open, "98 are too few to say anything");
        assert!(!scene.pass(2, counts).is_open);
    }

    #[test]
    fn one_stumble_of_a_lonely_call_shuts_nothing() {
        let mut scene = Scene::new();
        scene.pass(20, frames(5, 0));
        assert!(scene.pass(1, frames(5, 4)).is_open);
    }

    #[test]
    fn it_opens_again_when_all_is_well_and_not_before() {
        let mut scene = Scene::new();
        assert!(!scene.pass(1, frames(200, 100)).is_open);
        // The window still remembers; then it must stay calm for three seconds.
        assert!(!scene.pass(20, frames(100, 0)).is_open);
        assert!(!scene.pass(28, frames(100, 0)).is_open);
        assert!(scene.pass(1, frames(100, 0)).is_open);
    }

    #[test]
    fn between_half_of_the_limit_and_all_of_it_it_stays_as_it_is() {
        let mut scene = Scene::new();
        assert!(scene.pass(50, frames(1_000, 8)).is_open);
        assert!(!scene.pass(1, frames(1_000, 500)).is_open);
        assert!(!scene.pass(100, frames(1_000, 8)).is_open);
    }

    #[test]
    fn new_work_is_taken_slowly_after_pressure_and_faster_by_and_by() {
        let mut scene = Scene::new();
        scene.pass(1, frames(200, 100));
        let mut seen = Vec::new();
        for _ in 0..300 {
            let verdict = scene.pass(1, frames(100, 0));
            if verdict.is_open && seen.last() != Some(&verdict.slowness) {
                seen.push(verdict.slowness);
            }
        }
        assert_eq!(seen, [64, 32, 16, 8, 4, 2, 1]);
    }

    #[test]
    fn the_nearer_the_limit_the_slower_is_new_work_taken() {
        let slowness = |late| Scene::new().pass(30, frames(100_000, late)).slowness;
        let share = [0, 7, 20, 40, 80, 130, 300, 600, 1_000];
        assert_eq!(share.map(slowness), [1, 1, 2, 4, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn an_idle_gateway_is_open_again_though_nothing_is_counted() {
        let mut scene = Scene::new();
        assert!(!scene.pass(1, frames(200, 100)).is_open);
        assert!(scene.pass(60, Counts::default()).is_open);
    }

    #[test]
    fn a_few_come_at_once_and_others_one_after_another() {
        let origin = clock::now();
        let pace = Pace::new(origin);
        let now = origin;
        let take = |now| pace.take(10, 1, now);
        for _ in 0..AT_ONCE {
            assert_eq!(take(now), Ok(Duration::ZERO));
        }
        assert_eq!(take(now), Ok(Duration::from_millis(100)));
        assert_eq!(take(now), Ok(Duration::from_millis(200)));
        assert_eq!(take(now + Duration::from_millis(250)), Ok(Duration::from_millis(50)));
    }

    #[test]
    fn who_would_wait_too_long_is_told_how_long() {
        let origin = clock::now();
        let pace = Pace::new(origin);
        let take = |now| pace.take(2, 1, now);
        let now = origin + Duration::from_mins(1);
        for _ in 0..AT_ONCE + 2 {
            assert!(take(now).is_ok());
        }
        assert_eq!(take(now), Err(Duration::from_millis(500)));
        assert_eq!(take(now + Duration::from_millis(500)), Ok(WAIT_MAX));
    }

    #[test]
    fn where_all_goes_slowly_nobody_comes_with_another() {
        let now = clock::now();
        let pace = Pace::new(now);
        assert_eq!(pace.take(100, 16, now), Ok(Duration::ZERO));
        assert_eq!(pace.take(100, 16, now), Ok(Duration::from_millis(160)));
    }

    #[test]
    fn without_a_pace_nobody_waits() {
        let now = clock::now();
        let pace = Pace::new(now);
        assert!((0..1_000).all(|_| pace.take(0, 1, now) == Ok(Duration::ZERO)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rush_is_spread_and_its_end_is_refused() {
        let policy = AdmissionPolicy { setups_per_second: 20, ..AdmissionPolicy::OPEN };
        let meter = Meter::new();
        let admission = Admission::open(policy, &meter);
        let start = clock::now();
        let all = futures_util::future::join_all((0..100).map(|_| admission.admit())).await;
        let taken = all.iter().filter(|one| one.is_ok()).count();
        assert_eq!(taken, 30, "ten at once, and twenty in a second");
        assert_eq!(clock::now() - start, WAIT_MAX);
        assert_eq!(meter.times(Counter::RefusedPace), 70);
        let refusal = all.into_iter().find_map(Result::err);
        assert_eq!(refusal.map(Refusal::retry_after_seconds), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_watch_shuts_the_door_and_opens_it() {
        let policy = AdmissionPolicy {
            late: Duration::from_millis(10),
            late_percent: 1,
            ..AdmissionPolicy::OPEN
        };
        let meter = Meter::new();
        let admission = Admission::open(policy, &meter);
        tokio::time::sleep(LOOK).await;
        for _ in 0..100 {
            meter.observe(Stage::PacerLate, Duration::from_millis(11));
        }
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(admission.admit().await, Err(Refusal::Pressure));
        assert_eq!(meter.times(Counter::RefusedPressure), 1);
        tokio::time::sleep(WINDOW + CALM + 3 * LOOK).await;
        assert_eq!(admission.admit().await, Ok(()));
    }

    #[tokio::test]
    async fn a_place_is_free_again_once_dropped() {
        let policy = AdmissionPolicy { calls_max: 1, ..AdmissionPolicy::OPEN };
        let admission = Admission::open(policy, &Meter::new());
        let place = admission.take_place().expect("the first");
        assert_eq!(admission.take_place().err(), Some(Refusal::Calls));
        let kept = admission.keep_place();
        drop(place);
        assert_eq!(admission.take_place().err(), Some(Refusal::Calls));
        drop(kept);
        assert!(admission.take_place().is_ok());
    }

    /// Looks ten times a second.
    struct Scene {
        pressure: Pressure,
        now: Instant,
        counts: Counts,
    }

    impl Scene {
        fn new() -> Self {
            let now = clock::now();
            let mut pressure = Pressure::new(1, now);
            pressure.look(Counts::default(), now);
            Self { pressure, now, counts: Counts::default() }
        }

        /// Lets so many looks pass, with so much counted before each.
        fn pass(&mut self, looks: u32, each: Counts) -> Verdict {
            let mut verdict = Verdict { is_open: true, slowness: 1 };
            for _ in 0..looks {
                self.now += LOOK;
                self.counts.frames += each.frames;
                self.counts.late += each.late;
                self.counts.packets += each.packets;
                self.counts.old += each.old;
                verdict = self.pressure.look(self.counts, self.now);
            }
            verdict
        }
    }

    fn frames(frames: u64, late: u64) -> Counts {
        Counts { frames, late, ..Counts::default() }
    }
}
