//! `callbridge call --room wav:…`: in simulated time by a script, and in real time by a model.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use callbridge::media::{ms_of_24k, read_wav};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::client::PATIENCE;
use super::recognised::{recognised, words};

const QUESTION: &str = "what-time-is-it-16000hz-16bit-mono.wav";

#[tokio::test]
async fn a_rehearsed_call_is_faster_than_real_and_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("noon.txt");
    let lines = "human 0.1..1.0 \"what time is it\"\nmodel audio 3 s \"It is noon.\"\n";
    std::fs::write(&script, lines).unwrap();
    let mut told = Vec::new();
    for out in ["first.wav", "second.wav"] {
        let room = room(&folder.path().join(out), "");
        let output =
            finished(callbridge(&["--room", &room, "--script", script.to_str().unwrap()])).await;
        told.push(String::from_utf8(output.stdout).unwrap());
    }
    for part in ["vad_start ann", "transcript ann \"what time is it\"", "a1 finished, heard"] {
        assert!(told[0].contains(part), "{part} in {}", told[0]);
    }
    let timeline = |told: &str| {
        let lines = told.lines().filter(|line| !line.starts_with(['(', 'w']));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(timeline(&told[0]), timeline(&told[1]));
    let read = |out| std::fs::read(folder.path().join(out)).unwrap();
    assert!(read("first.wav") == read("second.wav"), "the answers differ");
    let (lasted, took) = durations(&told[0]);
    assert!(took < lasted && lasted > 7.0, "{took} s for {lasted} s");
    let heard = read_wav(std::fs::File::open(folder.path().join("first.wav")).unwrap()).unwrap();
    let heard_for = Duration::from_millis(ms_of_24k(heard.len() as u64)).as_secs_f64();
    assert!((lasted - heard_for).abs() < 0.021, "{heard_for} s of {lasted} s");
    let loud = |from_ms: usize, to_ms: usize| {
        heard[from_ms * 24..to_ms * 24].iter().any(|sample| sample.unsigned_abs() > 1_000)
    };
    assert!(!loud(0, 2_500) && loud(2_900, 4_500), "it listens, then it speaks");
}

#[tokio::test]
async fn without_a_script_the_caller_is_answered_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("answer.wav");
    let room = room(&out, "&wait=greeting&quiet=1");
    let output = finished(callbridge(&["--room", &room, "--greeting", "Hello."])).await;
    let told = String::from_utf8(output.stdout).unwrap();
    let places = ["a1 started", "vad_start ann", "a2 finished", "ann is gone: hung up", "left:"];
    let mut rest = told.as_str();
    for part in places {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part} in its place: {told}"));
        rest = &rest[at..];
    }
    assert!(out.exists());
}

#[tokio::test]
async fn the_agent_leaves_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("answer.wav");
    let output = finished(callbridge(&["--room", &room(&out, ""), "--seconds", "2"])).await;
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("  2.00 left: requested\n(2.000 s,"), "{told}");
    let heard = read_wav(std::fs::File::open(&out).unwrap()).unwrap();
    assert_eq!(ms_of_24k(heard.len() as u64), 2_000);
}

#[tokio::test]
async fn a_named_model_answers_in_real_time_and_its_words_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("answer.wav");
    let output = finished(callbridge(&["--room", &room(&out, ""), "--model", "local"])).await;
    let told = String::from_utf8(output.stdout).unwrap();
    for part in ["room_joined", "Hello, what time is it?", "finished, heard", "room_left"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let said = told.lines().rfind(|line| line.contains(" speak  ")).unwrap();
    let said = words(said.split('"').nth(1).unwrap());
    let heard = words(&recognised(&out).await);
    let known = said.iter().filter(|word| heard.contains(word)).count();
    assert!(known * 4 >= said.len() * 3, "said {said:?}, and heard again {heard:?}");
}

#[tokio::test]
async fn a_signal_makes_the_agent_leave_and_the_record_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("answer.wav");
    let mut command = callbridge(&["--room", &room(&out, ""), "--model", "local"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("vad_start") {
            let id = child.id().unwrap().to_string();
            let killed = Command::new("kill").args(["-INT", &id]).status().await.unwrap();
            assert!(killed.success());
        }
        told.push(line);
    }
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}: {told:#?}");
    assert!(told.iter().any(|line| line.contains("room_left")), "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("participant_left")), "{told:#?}");
    read_wav(std::fs::File::open(&out).unwrap()).unwrap();
}

#[tokio::test]
async fn what_cannot_work_is_said_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let good = room(&folder.path().join("a.wav"), "");
    let unwritable = room(&folder.path().join("nowhere/a.wav"), "");
    let missing = ["--room", "wav:/nowhere.wav"];
    let scripted = ["--room", "rooms/a", "--script", "noon.txt"];
    for (arguments, code, reason) in [
        (&missing[..], 1, "ROOM_NOT_FOUND"),
        (&[&missing[..], &["--model", "local"]].concat(), 1, "ROOM_NOT_FOUND"),
        (&["--room", &unwritable], 1, "MEDIA_FAILED"),
        (&["--room", "sip:ann@call.example"], 1, "UNSUPPORTED_ROOM"),
        (&scripted, 1, "a script is for recorded callers"),
        (&["--room", &good, "--wav", "b.wav"], 64, "cannot be used with '--wav"),
        (&["http://a/whip", "--room", &good], 64, "cannot be used with"),
        (&["http://a/whip", "--wav", "b.wav", "--greeting", "Hi."], 64, "--greeting"),
        (&["--room", &good, "--script", "s", "--model", "local"], 64, "--model"),
        (&["--greeting", "Hi."], 64, "--room"),
    ] {
        let ended = ended(callbridge(arguments)).await;
        let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {complaint}");
        assert!(complaint.contains(reason), "{arguments:?}: {complaint}");
    }
}

/// The room of the recorded question, whose record lies here.
fn room(out: &Path, parameters: &str) -> String {
    let wav = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio").join(QUESTION);
    format!("wav:{}?out={}{parameters}", wav.display(), out.display())
}

fn callbridge(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbridge"));
    command.arg("call").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for name in ["OPENAI_API_KEY", "CALLBRIDGE_OPENAI_URL", "CALLBRIDGE_MODEL"] {
        command.env_remove(name);
    }
    command
}

/// Runs a program that must succeed.
async fn finished(command: Command) -> Output {
    let output = ended(command).await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", output.status);
    output
}

async fn ended(mut command: Command) -> Output {
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    ended.expect("the program ends in time").unwrap()
}

/// How long a rehearsed call lasted and took, in seconds, by its last words.
fn durations(told: &str) -> (f64, f64) {
    let line = told.lines().find(|line| line.starts_with('(')).unwrap();
    let (lasted, rest) = line[1..].split_once(" s, rehearsed in ").unwrap();
    let (took, _) = rest.split_once(" s: ").unwrap();
    (lasted.parse().unwrap(), took.parse().unwrap())
}
