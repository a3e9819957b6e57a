//! Thousands of agents, two hundred at a time, from their making to their end: nothing is left of
//! them, and no user ever has two.
//!
//! `CALLBRIDGE_LIFECYCLES` says how many; `make soak` runs ten thousand.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helpers fail the test, and its numbers are to be read"
)]

#[path = "../endurance/client.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod client;
mod house;
mod life;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callbridge::sys::{clock, tasks};
use futures_util::future::join_all;
use house::{House, Open, memory_kb};
use life::Kind;
use tokio::sync::Semaphore;

/// What all lives share.
struct Village {
    house: House,
    /// Which agent surely lives for a user: from the answer to its making, to the wish to end it.
    serving: Mutex<HashMap<String, String>>,
    /// Every id that was ever given.
    ids: Mutex<HashSet<String>>,
    refused_duplicates: AtomicUsize,
    /// The local model hears so many calls at once.
    calls: Semaphore,
    times: Mutex<Times>,
}

/// How long making and deleting took, and how often there was either.
#[derive(Default)]
struct Times {
    create: Vec<Duration>,
    delete: Vec<Duration>,
}

/// The memory after so many lives.
#[derive(Clone, Copy, Debug)]
struct Sample {
    lives: usize,
    kb: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_thousands_of_agents() {
    rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap();
    let wanted = lives_wanted();
    let house = House::open().await;
    let cold = Open::count(&house.gateway);
    let idle_kb = idle_agent_kb(&house).await;
    let village = Arc::new(Village::of(house));
    live(&village, 0, AT_ONCE, &mut Vec::new()).await;
    let mut village = settle(village, cold.sockets).await;
    // By this time every pool is as large as it gets.
    let base = Open::count(&village.house.gateway);

    let shared = Arc::new(village);
    let (begun, mut samples) = (clock::now(), Vec::new());
    live(&shared, AT_ONCE, wanted, &mut samples).await;
    let took = begun.elapsed();
    village = settle(shared, base.sockets).await;
    let open = base.settles_at(&village.house.gateway).await;
    let open = open.unwrap_or_else(|open| panic!("{open:?}, not {base:?}"));

    let given = village.ids.lock().unwrap().len();
    println!("{wanted} lives in {took:.1?}; {given} ids, and none of them twice");
    let refused = village.refused_duplicates.load(Ordering::Relaxed);
    println!("creates refused because the user had an agent: {refused}");
    println!("open before and after: {base:?}, {open:?}");
    println!("an idle agent with a client takes {idle_kb} kB, its client included");
    village.times.lock().unwrap().print();
    assert!(refused > 0, "users are too many for any two lives to meet");
    assert!(village.serving.lock().unwrap().is_empty());
    assert_flat(&samples);
    village.house.close().await;
}

impl Village {
    fn of(house: House) -> Self {
        Self {
            house,
            serving: Mutex::default(),
            ids: Mutex::default(),
            refused_duplicates: AtomicUsize::new(0),
            calls: Semaphore::new(CALLS_AT_ONCE),
            times: Mutex::default(),
        }
    }

    /// Notes an id, which must be new.
    fn note(&self, id: &str) {
        assert!(self.ids.lock().unwrap().insert(id.to_owned()), "{id} was given twice");
    }

    /// An agent surely lives for this user: no other may.
    fn begin(&self, user: &str, agent: &str) {
        let other = self.serving.lock().unwrap().insert(user.to_owned(), agent.to_owned());
        assert_eq!(other, None, "{user} has a second agent: {agent}");
    }

    /// From here on the user's agent may be gone.
    fn end(&self, user: &str) {
        self.serving.lock().unwrap().remove(user).expect("the user had an agent");
    }
}

impl Times {
    fn print(&mut self) {
        for (what, times) in [("create", &mut self.create), ("delete", &mut self.delete)] {
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            let (half, most) = (at(50), at(99));
            println!("{what}: {} times, p50 {half:.1?}, p99 {most:.1?}", times.len());
        }
    }
}

/// Lives `count` lives, some at once; takes a sample of the memory ten times, or more often.
async fn live(village: &Arc<Village>, first: usize, count: usize, samples: &mut Vec<Sample>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let every = (count / 10).min(1_000);
    let mut lives = Vec::new();
    for number in 0..count {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let village = Arc::clone(village);
        lives.push(tasks::spawn("life", async move {
            life::live(&village, Kind::of(first + number), first + number).await;
            drop(place);
        }));
        if (number + 1) % every == 0 {
            samples.push(Sample { lives: number + 1, kb: memory_kb() });
            // Those that are over need not be kept; a failed one is told at once.
            let over = lives.extract_if(.., |life| life.is_finished());
            for life in join_all(over).await {
                life.unwrap();
            }
        }
    }
    for life in join_all(lives).await {
        life.unwrap();
    }
}

/// Waits until all that belongs to past lives is gone, and looks whether it is.
async fn settle(village: Arc<Village>, sockets: usize) -> Village {
    let mut village = Arc::into_inner(village).expect("all lives are over");
    village.house.hang_up();
    let limit = Open { tasks: usize::MAX, sockets, files: usize::MAX };
    let settled = limit.settles_at(&village.house.gateway).await;
    settled.unwrap_or_else(|open| panic!("there were {sockets} sockets, and are {open:?}"));
    let gateway = &village.house.gateway;
    assert_eq!(gateway.live_agents(), 0);
    assert_eq!(gateway.store().all_agents().await.unwrap(), []);
    village
}

/// What an agent takes that has a client and nothing to do, by the growth that many bring.
async fn idle_agent_kb(house: &House) -> u64 {
    let before = memory_kb();
    let agents = join_all((0..IDLE).map(|_| life::make(house))).await;
    let clients = join_all(agents.iter().map(|agent| house.connect(agent))).await;
    let grown = memory_kb().saturating_sub(before);
    assert!(clients.iter().all(Result::is_ok));
    join_all(agents.iter().map(|agent| life::delete(house, agent))).await;
    join_all(clients.into_iter().map(|client| client.unwrap().until_the_end())).await;
    grown / IDLE
}

/// Fails if the memory grows as it would with a leak. Allocators keep some, so what counts is the
/// second half, by when they have all they need.
fn assert_flat(samples: &[Sample]) {
    for Sample { lives, kb } in samples {
        println!("after {lives:6} lives: {kb} kB");
    }
    let late = &samples[samples.len() / 2..];
    println!("slope of the second half: {:.0} kB per 1,000 lives", slope(late));
    let (middle, end) = (late[0], late[late.len() - 1]);
    let most = middle.kb + NOISE_KB + LIFE_KB_MAX * (end.lives - middle.lives) as u64;
    assert!(end.kb < most, "from {middle:?} to {end:?}, and no more than {most} kB is no leak");
}

/// The slope of the line that fits best, in kB per 1,000 lives.
#[expect(clippy::cast_precision_loss, reason = "small numbers, to be read by people")]
fn slope(samples: &[Sample]) -> f64 {
    let points: Vec<(f64, f64)> =
        samples.iter().map(|sample| (sample.lives as f64 / 1e3, sample.kb as f64)).collect();
    let mean =
        |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    over / under
}

fn lives_wanted() -> usize {
    let wanted = std::env::var_os("CALLBRIDGE_LIFECYCLES");
    wanted.map_or(1_000, |wanted| wanted.to_str().and_then(|text| text.parse().ok()).unwrap())
}

/// What the memory may grow by for reasons of the allocator's.
const NOISE_KB: u64 = 8 * 1024;

/// What may be left of a life: this test itself remembers its ids. The smallest of what a
/// connection is made of would be more.
const LIFE_KB_MAX: u64 = 4;

/// Lives at the same time.
const AT_ONCE: usize = 200;

/// Agents that do nothing, at the same time.
const IDLE: u64 = 500;

/// Calls at the same time: fewer than the local model hears.
const CALLS_AT_ONCE: usize = 32;
