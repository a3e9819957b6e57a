//! Minutes and hours on bad roads, in simulated time.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use callbridge::load::road::{Detour, Fate, Jitter, Loss, Outage, RoadConfig};

use crate::journey::{Journey, Outcome, at};
use crate::sound::{payloads, print, sentences};

#[test]
fn random_loss_costs_no_sound_and_hardly_any_time() {
    for (percent, seed) in [(3, 1), (10, 3)] {
        let loss = Loss::Random { share: f64::from(percent) / 100.0 };
        let outcome = travel(MINUTE * 10, RoadConfig { loss, ..far() }, seed);
        tell(&format!("loss {percent} %"), &outcome);
        assert_whole(&outcome, MINUTE * 10);
        assert!(at(&outcome.late, 50) <= ms(5) && at(&outcome.late, 95) <= ms(45));
        assert!(outcome.longest_stall <= ms(220), "{:?}", outcome.longest_stall);
        assert!(outcome.furthest.abs() < 480, "silence stood in for nothing that came");
        let by_fec = outcome.stats.recovered * 100 / outcome.stats.lost;
        assert!(by_fec >= 40, "{by_fec} % of what was lost came back by FEC");
    }
}

#[test]
fn bursts_of_loss_cost_no_time_of_the_call() {
    let outcome = travel(MINUTE * 5, RoadConfig { loss: Loss::bursts(0.05, 5.0), ..far() }, 5);
    tell("bursts of 5, 5 %", &outcome);
    assert_whole(&outcome, MINUTE * 5);
    assert!(at(&outcome.late, 50) <= ms(5), "{}", outcome.line());
}

#[test]
fn jitter_with_reordering_neither_stalls_nor_drifts_nor_grows() {
    for (most_ms, longest) in [(30, ms(60)), (80, ms(120))] {
        let some = Loss::Random { share: 0.03 };
        for (name, loss, minutes) in [("", Loss::None, 10), (", loss 3 %", some, 3)] {
            let config = RoadConfig { jitter: Jitter::Uniform(ms(most_ms)), loss, ..far() };
            let outcome = travel(MINUTE * minutes, config, most_ms);
            tell(&format!("jitter {most_ms} ms{name}"), &outcome);
            assert_whole(&outcome, MINUTE * minutes);
            let stalls = if loss == Loss::None { longest } else { longest + ms(60) };
            assert!(outcome.longest_stall <= stalls, "{:?}", outcome.longest_stall);
            assert_steady(&outcome);
        }
    }
}

#[test]
fn jitter_that_keeps_order_is_not_waited_for_at_all() {
    let config = RoadConfig { jitter: Jitter::Uniform(ms(80)), keeps_order: true, ..far() };
    let outcome = travel(MINUTE * 5, config, 6);
    tell("jitter 80 ms, in order", &outcome);
    assert_whole(&outcome, MINUTE * 5);
    assert_eq!(at(&outcome.kept, 99), ms(0));
    assert_eq!(outcome.stats.lost, 0);
}

#[test]
fn a_few_overtaken_packets_are_soon_waited_for() {
    let detour = Detour { share: 0.02, by: ms(30) };
    let outcome = travel(MINUTE * 5, RoadConfig { detour, ..far() }, 11);
    tell("2 % overtaken by 30 ms", &outcome);
    assert_whole(&outcome, MINUTE * 5);
    assert!(outcome.stats.late <= 10, "{:?}", outcome.stats);
    assert!(at(&outcome.kept, 50) == ms(0) && at(&outcome.kept, 99) <= ms(30));
}

#[test]
fn stalls_of_a_radio_link_are_caught_up_with_and_forgotten() {
    let stall =
        |second, lasts| Outage { after: ms(second * 1000), lasts: ms(lasts), fate: Fate::Held };
    let outages = (0..60).map(|n| stall(5 + n * 10, 200 + n % 4 * 100)).collect();
    let outcome = travel(MINUTE * 10, RoadConfig { outages, ..far() }, 8);
    tell("60 stalls of 200 to 500 ms", &outcome);
    assert_whole(&outcome, MINUTE * 10);
    assert!(outcome.stats.silence > 100 && outcome.stats.lost == 0, "{:?}", outcome.stats);
    assert!(outcome.furthest <= 480 * 40, "what was borrowed was soon paid back");
    assert_eq!(at(&outcome.kept, 100), ms(0));
}

#[test]
fn links_that_are_cut_for_a_while_leave_silence_of_the_right_length() {
    let cut =
        |second, lasts| Outage { after: ms(second * 1000), lasts: ms(lasts), fate: Fate::Lost };
    let outages = (0..20).map(|n| cut(5 + n * 25, 100 + n * 150)).collect();
    let outcome = travel(MINUTE * 10, RoadConfig { outages, ..far() }, 9);
    tell("20 cuts of 0.1 to 3 s", &outcome);
    assert_whole(&outcome, MINUTE * 10);
}

#[test]
fn an_hour_with_a_slow_clock_has_no_glitch() {
    an_hour(-300);
}

#[test]
fn an_hour_with_a_fast_clock_has_no_glitch() {
    an_hour(300);
}

/// A caller whose clock is off for an hour, over a road with a little jitter: nothing is put in,
/// nothing is left out, and nothing waits.
fn an_hour(faster_ppm: i32) {
    let road = RoadConfig { jitter: Jitter::Uniform(ms(15)), keeps_order: true, ..far() };
    let packets = MINUTE * 60;
    let outcome = Journey { payloads: talk(), packets, road, seed: 10, faster_ppm }.travel(false);
    tell(&format!("an hour at {faster_ppm} ppm"), &outcome);
    assert_eq!(outcome.given, packets);
    assert_eq!(outcome.furthest, 0);
    let stats = outcome.stats;
    assert_eq!((stats.silence, stats.repaid, stats.concealed, stats.lost), (0, 0, 0, 0));
    assert_eq!(at(&outcome.kept, 100), ms(0), "no backlog");
}

fn travel(packets: usize, road: RoadConfig, seed: u64) -> Outcome {
    Journey { payloads: talk(), packets, road, seed, faster_ppm: 0 }.travel(false)
}

/// What came out lasts as long as what was said, within half a percent.
fn assert_whole(outcome: &Outcome, packets: usize) {
    let given = outcome.given;
    assert!(
        given * 1000 >= packets * 995 && given * 1000 <= packets * 1005,
        "{given}: {outcome:?}"
    );
    assert!(outcome.stats.ahead.abs() <= 480 * 12, "{:?}", outcome.stats);
}

/// The last minute is no later than the second.
fn assert_steady(outcome: &Outcome) {
    let early = at(&outcome.late[MINUTE..2 * MINUTE], 95);
    let late = at(&outcome.late[outcome.late.len() - MINUTE..], 95);
    assert!(late <= early + ms(10), "{early:?}, then {late:?}");
}

/// 40 ms away, so that jitter has room on both sides.
fn far() -> RoadConfig {
    RoadConfig { delay: ms(40), ..RoadConfig::default() }
}

fn tell(name: &str, outcome: &Outcome) {
    let stats = outcome.stats;
    print(&format!(
        "{name:28} | {} | lost {:5} fec {:5} plc ms {:6} late {:4} \
         silence {:4} repaid {:4} ahead {:5}",
        outcome.line(),
        stats.lost,
        stats.recovered,
        stats.concealed / 24,
        stats.late,
        stats.silence,
        stats.repaid,
        stats.ahead
    ));
}

fn talk() -> &'static [Bytes] {
    static TALK: OnceLock<Vec<Bytes>> = OnceLock::new();
    TALK.get_or_init(|| payloads(&sentences(), 10))
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// In packets.
const MINUTE: usize = 3000;
