//! The documentation, taken at its word: every command in it is run, page by page, as a newcomer
//! would type it; every link leads somewhere; every example of settings is accepted.
//!
//! What a page can say to this test, in a comment of HTML right above a block:
//!
//! ```text
//! <!-- not run: its reason -->   the block is left out; how many are is bounded below
//! <!-- stays: NAME -->           the command runs on in a terminal of its own, where nothing of
//!                                what was set before is known. Another one of the same name
//!                                replaces it: the reader would press ctrl-c
//! <!-- seen: NAME -->            the block is what that terminal shows next
//! ```
//!
//! Blocks of `sh` must succeed, command by command. In blocks of `console` lines with `$` are
//! commands, which go on where the next line is indented, and the others what they print on
//! standard output: `…` stands for anything in a line,
//! and for any lines where it stands alone. A program or a file of settings whose first line is a
//! comment with a file's name is saved under it.
//!
//! A page is read in a checkout of its own, made of links, and in a network of its own, where port
//! 8080 is free and nothing else can be reached. `callbridge`, and `cargo run` for it, are the
//! program that cargo has built for this test; `python3` and Node.js have what `make test-deps`
//! has installed. No call is refused for a machine that is busy with other tests. `make demo` and
//! `make test` are not run: the one has a test of its own, and the other is this.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may fail the test"
)]

mod links;
mod page;
mod reader;
mod shape;

#[path = "../harness/lan.rs"]
mod lan;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use page::{Kind, Mark, Page};

/// The pages with commands, each of which has a test below.
const PAGES: &[&str] = &[
    "CONTRIBUTING.md",
    "README.md",
    "docs/first-call.md",
    "docs/how-to.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/rooms.md",
    "docs/security.md",
];

/// How many blocks may be left out. Whoever raises this has a reason that stands in the page.
const NOT_RUN_MAX: usize = 13;

#[test]
fn a_contributor_gets_through_contributing() {
    reader::follow("CONTRIBUTING.md");
}

#[test]
fn a_newcomer_gets_through_the_readme() {
    reader::follow("README.md");
}

#[test]
fn a_newcomer_gets_through_the_first_call() {
    reader::follow("docs/first-call.md");
}

#[test]
fn every_task_is_done_as_it_is_told() {
    reader::follow("docs/how-to.md");
}

#[test]
fn an_operator_gets_through_operations() {
    reader::follow("docs/operations.md");
}

#[test]
fn the_commands_of_performance_are_in_order() {
    reader::follow("docs/performance.md");
}

#[test]
fn the_commands_of_rooms_are_in_order() {
    reader::follow("docs/rooms.md");
}

#[test]
fn what_security_claims_can_be_seen() {
    reader::follow("docs/security.md");
}

#[test]
fn no_page_with_commands_is_forgotten() {
    let with_commands = Page::all().into_iter().filter(|page| page.blocks.iter().any(is_command));
    let names: BTreeSet<String> = with_commands.map(|page| page.name).collect();
    assert_eq!(names, PAGES.iter().map(|&name| name.to_owned()).collect());
}

#[test]
fn few_blocks_are_not_run_and_each_says_why() {
    let mut left_out = Vec::new();
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| is_command(block)) {
            if let Mark::NotRun(reason) = &block.mark {
                assert!(reason.len() > 15, "{}:{}: {reason:?} is no reason", page.name, block.line);
                left_out.push(format!("{}:{}: {reason}", page.name, block.line));
            }
        }
    }
    assert!(left_out.len() <= NOT_RUN_MAX, "{} are not run: {left_out:#?}", left_out.len());
}

#[test]
fn commands_stand_in_no_other_kind_of_block() {
    for page in Page::all() {
        for block in &page.blocks {
            let is_known = !["bash", "shell", "zsh", "shell-session"].contains(&&*block.language);
            assert!(is_known, "{}:{}: use `sh` or `console`", page.name, block.line);
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let astray: Vec<String> = Page::all().iter().flat_map(links::astray).collect();
    assert!(astray.is_empty(), "{astray:#?}");
}

#[test]
fn every_page_is_a_chapter_of_the_book() {
    let summary = Page::read("docs/SUMMARY.md");
    let chapters: BTreeSet<String> = links::targets(&summary.prose).into_iter().collect();
    let pages = Page::all()
        .into_iter()
        .filter_map(|page| page.name.strip_prefix("docs/").map(str::to_owned));
    assert_eq!(chapters, pages.filter(|name| name != "SUMMARY.md").collect());
}

#[test]
fn every_example_of_settings_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut examples = 0;
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| block.language == "toml") {
            examples += 1;
            accept(folder.path(), &page.name, block);
        }
    }
    assert!(examples > 4, "{examples} were found");
}

#[test]
fn the_deadlines_are_those_of_the_code() {
    let limits = callbridge::agent::Limits::default();
    let page = std::fs::read_to_string("docs/concepts.md").unwrap();
    for (waits, limit) in [
        ("joining a room", limits.joining),
        ("leaving a room", limits.leaving),
        ("for the model, at the begin of a call", limits.model_opening),
        ("for a lost model to come back", limits.model_restoring),
        ("for an answer's first sound", limits.answer),
        ("for the model to take a turn as over, after the end of speech", limits.turn_end),
        ("held, for what may be speech", limits.hold),
        ("in a call without a client", limits.client_grace),
        ("in a call where nothing happens", limits.idle),
        ("in a room where nobody else is", limits.alone),
        ("without a client and a call", limits.inactive),
        ("for a conversation that was announced to a successor", limits.handoff),
        ("falling silent, at an end or a handoff", limits.farewell),
        ("running turns, at a shutdown", limits.shutdown_grace),
    ] {
        let seconds = limit.as_secs();
        let limit = match (seconds / 3_600, seconds / 60) {
            (0, 0..=1) => format!("{seconds} s"),
            (0, minutes) => format!("{minutes} min"),
            (hours, _) => format!("{hours} h"),
        };
        let row = format!("| {waits} | {limit} |");
        assert!(page.contains(&row), "docs/concepts.md has no row that begins with {row}");
    }
}

#[test]
fn the_comparison_has_the_figures_of_the_table_of_load() {
    let load = std::fs::read_to_string("docs/performance.md").unwrap();
    let page = std::fs::read_to_string("docs/comparison.md").unwrap();
    let median = |row, calls| figure(&load, row, calls).to_string();
    let way = |row| format!("{} ms (1 call), {} ms (50)", median(row, 1), median(row, 3));
    let cpu = |calls| figure(&load, "gateway: CPU, ms per second of call", calls).round();
    for (what, figures) in [
        ("packet from the caller to the model's socket, median", way("uplink, ms")),
        ("first sound of the model to the caller's packet, median", way("downlink, ms")),
        (
            "CPU for a second of call",
            format!("{} ms (1 call), {} ms (50), {} ms (100)", cpu(1), cpu(3), cpu(4)),
        ),
    ] {
        let row = format!("| {what} | {figures} |");
        assert!(page.contains(&row), "docs/comparison.md has no row that begins with {row}");
    }
}

/// The first figure of a cell of the table of load.
fn figure(page: &str, row: &str, column: usize) -> f64 {
    let row = page.lines().find(|line| line.starts_with(&format!("| {row}"))).unwrap();
    let cell = row.split('|').nth(column + 1).unwrap();
    cell.split_whitespace().next().unwrap().parse().unwrap()
}

fn is_command(block: &page::Block) -> bool {
    matches!(block.kind, Kind::Shell | Kind::Console)
}

/// Has the program check these settings, with a key for each model and for the bucket of recordings
/// in the environment.
fn accept(folder: &Path, page: &str, block: &page::Block) {
    let file = folder.join("callbridge.toml");
    std::fs::write(&file, &block.text).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_callbridge"));
    check.args(["check-config", "--config"]).arg(&file).current_dir(folder);
    for name in block.text.split("key_env = \"").skip(1).filter_map(|rest| rest.split('"').next()) {
        check.env(name, "sk-of-nobody-at-all");
    }
    check.env("OPENAI_API_KEY", "sk-of-nobody-at-all");
    if block.text.contains("[recordings.s3]") {
        for key in ["ACCESS_KEY", "SECRET_KEY"] {
            check.env(format!("CALLBRIDGE_RECORDINGS_S3_{key}"), "of-nobody-at-all");
        }
    }
    let told = check.output().unwrap();
    let complaint = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{page}:{}: {complaint}", block.line);
}
