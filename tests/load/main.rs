//! `callbridge load` against a gateway of its own, as anybody would start it.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn a_few_calls_are_held_and_all_that_matters_is_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (json, plot, table) = (path("report.json"), path("report.svg"), path("report.md"));
    let flags = [
        "--calls=3",
        "--duration=9",
        "--warm-up=1",
        "--bare=0.5",
        "--barge-in=1",
        "--seed=3",
        "--json",
        &json,
        "--plot",
        &plot,
        "--table",
        &table,
    ];
    let output = load(&flags).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    let run = first_run(Path::new(&json));
    for (count, at_least) in
        [("held", 3), ("sentences", 3), ("answers", 3), ("barge_ins", 1), ("truncations", 1)]
    {
        let counted = run["counts"][count].as_u64().expect("a count");
        assert!(counted >= at_least, "{count}: {counted}\n{printed}");
    }
    for nothing in ["refused", "failed", "unheard", "missed", "errors", "left_behind"] {
        assert_eq!(run["counts"][nothing], 0, "{nothing}\n{printed}");
    }
    for figure in [
        "connected_ms",
        "first_audio_ms",
        "uplink_ms",
        "downlink_ms",
        "barge_in_ms",
        "gap_ms",
        "worst_gap_ms",
        "drift_ms",
        "truncation_error_ms",
    ] {
        let spread = &run[figure];
        assert!(spread["count"].as_u64() > Some(0), "{figure}: {spread}\n{printed}");
        let (p50, max) = (spread["p50"].as_f64(), spread["max"].as_f64());
        assert!(p50 <= max, "{figure}: {spread}");
    }
    assert!(run["coverage_percent"]["min"].as_f64() >= Some(99.0), "{printed}");
    for process in ["gateway", "generator"] {
        let cost = &run[process];
        assert!(cost["cpu_ms_per_call_second"].as_f64() > Some(0.0), "{process}: {cost}");
        assert!(cost["busy_mib"].as_f64() > Some(1.0), "{process}: {cost}");
    }
    assert!(run["bare_ms_per_call_second"].as_f64() > Some(0.0), "{printed}");
    let ratio = printed.split_once("| gateway / bare parts | ").expect("a row").1;
    assert!(ratio.starts_with(|first: char| first.is_ascii_digit()), "{printed}");
    let drawn = std::fs::read_to_string(&plot).expect("a plot");
    assert!(drawn.contains("uplink") && drawn.trim_end().ends_with("</svg>"));
    let written = std::fs::read_to_string(&table).expect("a table");
    assert_eq!(written.trim(), printed.trim());
}

#[tokio::test]
async fn calls_in_a_row_come_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("report.json").display().to_string();
    let flags = [
        "--calls=2",
        "--calls-total=6",
        "--call-seconds=2",
        "--turns=gateway",
        "--dtx",
        "--loss=2%",
        "--delay=5",
        "--jitter=5",
        "--json",
        &json,
    ];
    let output = load(&flags).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = first_run(Path::new(&json));
    assert_eq!((&run["counts"]["begun"], &run["counts"]["held"]), (&6.into(), &6.into()));
    assert_eq!(run["counts"]["left_behind"], 0);
    assert_eq!(run["bare_ms_per_call_second"], Value::Null, "that is for calls at one pace");
}

#[tokio::test]
async fn what_is_interrupted_leaves_no_gateway_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("gateway.log");
    let log_flag = log.display().to_string();
    let mut child = command(&["--duration=600", "--bare=0", "--gateway-log", &log_flag])
        .spawn()
        .expect("the program");
    let listens = "callbridge::rooms::mux: media port open local=127.0.0.1:";
    let port: u16 = loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().find_map(|line| Some(line.split_once(listens)?.1.to_owned()));
        if let Some(port) = line.and_then(|port| port.trim().parse().ok()) {
            break port;
        }
        assert!(child.try_wait().expect("a child").is_none(), "it ended by itself: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let id = child.id().expect("it runs").to_string();
    let killed = Command::new("kill").arg("-TERM").arg(id).status().await.expect("a signal");
    assert!(killed.success());
    let ended = child.wait_with_output().await.expect("its end");
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("interrupted"));
    // Nobody holds the port any more, as soon as the system has put the process away.
    let gone = tokio::time::timeout(PATIENCE, async {
        while std::net::UdpSocket::bind(("127.0.0.1", port)).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.expect("the gateway's end");
}

#[tokio::test]
async fn what_makes_no_sense_is_told_by_its_flag() {
    for (flags, code, reason) in [
        (vec!["--calls=0"], 1, "--calls"),
        (vec!["--ramp=0"], 1, "--ramp"),
        (vec!["--barge-in=2"], 1, "--barge-in"),
        (vec!["--duration=-1"], 1, "--duration"),
        (vec!["--bare=-1"], 1, "--bare"),
        (vec!["--pid=1"], 1, "--pid"),
        (vec!["--loss=101"], 64, "--loss"),
        (vec!["--calls-total=3"], 64, "--call-seconds"),
        (vec!["--gateway=http://127.0.0.1:9"], 64, "--key"),
        (vec!["--whip=nowhere"], 1, "nowhere is no URL"),
    ] {
        let output = load(&flags).await;
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {said:?}");
        assert!(said.concat().contains(reason), "{flags:?}: {said:?}");
    }
}

fn first_run(json: &Path) -> Value {
    let text = std::fs::read_to_string(json).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    report["runs"][0].clone()
}

async fn load(flags: &[&str]) -> Output {
    let running = tokio::time::timeout(PATIENCE, command(flags).output()).await;
    running.expect("an end in time").expect("the program")
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbridge"));
    command.arg("load").args(flags).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for name in ["OPENAI_API_KEY", "CALLBRIDGE_OPENAI_URL", "CALLBRIDGE_MODEL"] {
        command.env_remove(name);
    }
    command
}

/// Much longer than any of these takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
