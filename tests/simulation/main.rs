//! Random commands, events and jumps in time against a reference model: no agent hangs, bleeds
//! into another, doubles, or does anything after its end.
//!
//! A failure prints its seed, its step, and what went before. Add the seed to
//! `fixtures/seeds/agent.txt` with the fix, so that it is replayed for ever.

#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test may end, and says why")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a watch looks at what it watches")]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use callbridge::sys::entropy;

use self::landmarks::LANDMARKS;
use self::world::World;

mod acts;
mod body;
mod landmarks;
mod random;
mod reference;
mod shell;
mod watch;
mod world;

/// A seed and what it has found, one failure a line.
const SEEDS: &str = include_str!("../../fixtures/seeds/agent.txt");

/// Together 400,000 steps: some seconds.
const WORLDS: u64 = 400;
const STEPS: usize = 1000;

#[test]
fn worlds_from_fixed_seeds_hold() {
    let mut reached = BTreeSet::new();
    for seed in 0..WORLDS {
        reached.append(&mut hold(seed, STEPS));
    }
    assert_eq!(reached.into_iter().collect::<Vec<_>>(), LANDMARKS);
}

#[test]
fn worlds_that_nobody_has_seen_hold() {
    let from = u64::try_from(entropy::bits() >> 65).expect("63 bits");
    for seed in from..from + WORLDS / 10 {
        hold(seed, STEPS);
    }
}

#[test]
fn worlds_that_failed_once_hold() {
    for line in SEEDS.lines().filter(|line| !line.starts_with('#')) {
        let mut numbers = line.split_whitespace().map(str::parse);
        let seed = numbers.next().expect("a seed").expect("a number");
        hold(seed, STEPS);
    }
}

/// Runs a world; if it fails, runs it again with its last lines to read.
fn hold(seed: u64, steps: usize) -> BTreeSet<&'static str> {
    let run = |world: &mut World| {
        catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..steps {
                world.step();
            }
            world.come_to_rest();
        }))
    };
    let mut world = World::new(seed, false);
    if run(&mut world).is_ok() {
        return world.around.reached;
    }
    let mut again = World::new(seed, true);
    let failure = run(&mut again).expect_err("what fails once fails again");
    for line in again.around.log.into_iter().flatten() {
        eprintln!("{line}");
    }
    eprintln!("seed {seed} fails at step {}: add it to fixtures/seeds", again.around.step);
    std::panic::resume_unwind(failure);
}
