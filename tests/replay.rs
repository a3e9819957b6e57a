//! A real call through the gateway, written down as it goes on, and lived again from its journals.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers may fail the test"
)]

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command as Program, Output};
use std::time::Duration;

use callbridge::agent::{Command, JoinRequest, Notification, SpeakStatus};
use callbridge::ids::{AgentId, CallId, ParticipantId, UserId};
use callbridge::media::{Encoder, Frame24k, OpusPacket};
use callbridge::models::scripted::ScriptedModel;
use callbridge::rooms::whip;
use callbridge::runtime::{HandOffWish, Heir, Journal, JournalPolicy, Replay, Subscription};
use callbridge::sys::clock;
use callbridge::sys::tasks::{self, Task};
use harness::House;
use serde_json::json;

#[tokio::test]
async fn a_real_call_and_its_handoff_replay_twenty_times_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = real_call(folder.path()).await;
    let mut sound = [0, 0];
    for file in [&first, &second] {
        let mut outputs = Vec::new();
        for round in 0..20 {
            let mut seen = Vec::new();
            let replay = Replay::open(file).unwrap();
            let summary = replay.run(|moment| seen.extend(moment.replayed.clone())).unwrap();
            assert!(summary.difference.is_none(), "round {round}: {:?}", summary.difference);
            assert_eq!(summary.end.as_deref(), Some("the agent has ended"));
            assert!(outputs.is_empty() || outputs == seen, "round {round} says something else");
            outputs = seen;
        }
        let count = |kind: &str| outputs.iter().filter(|output| output.starts_with(kind)).count();
        sound = [sound[0] + count("hear "), sound[1] + count("send ")];
    }
    assert!(sound.iter().all(|frames| *frames >= 10), "{sound:?} frames went up and down");
    told_by_the_program(&first);
}

#[test]
fn a_recorded_caller_is_rehearsed_with_a_scripted_model() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("noon.txt");
    let lines = "human 0.1..1.0 \"what time is it\"\nmodel audio 1 s \"It is noon.\"\n";
    std::fs::write(&script, lines).unwrap();
    let wav = "fixtures/audio/what-time-is-it-16000hz-16bit-mono.wav";
    let rehearse = |script: &str| callbridge(&["replay", "--wav", wav, "--script", script]);
    let played = rehearse(script.to_str().unwrap());
    let told = String::from_utf8_lossy(&played.stdout).into_owned();
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    for part in ["vad_start ann", "transcript ann \"what time is it\"", "a1 started"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    std::fs::write(&script, "human 1..0\n").unwrap();
    let refused = rehearse(script.to_str().unwrap());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("line 1 of the scenario: \"1..0\" ends before it begins"), "{told}");
}

/// What `callbridge replay` says of a good journal, of a changed one, and of something else.
fn told_by_the_program(journal: &Path) {
    let same = callbridge(&["replay", "--events", journal.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&same.stdout).into_owned();
    assert!(same.status.success(), "{told}");
    assert!(told.contains("RoomJoined") && told.contains("the same in every output"), "{told}");

    let text = std::fs::read_to_string(journal).unwrap();
    let changed = journal.with_file_name("changed.jsonl");
    std::fs::write(&changed, text.replacen("It is noon.", "It is late.", 1)).unwrap();
    let other = callbridge(&["replay", "--diff", changed.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&other.stdout).into_owned();
    assert_eq!(other.status.code(), Some(1), "{told}");
    assert!(told.contains("DIFFERENT from line") && told.contains("  + "), "{told}");

    let foreign = callbridge(&["replay", "Cargo.toml"]);
    let told = String::from_utf8_lossy(&foreign.stderr).into_owned();
    assert_eq!(foreign.status.code(), Some(1), "{told}");
    assert!(told.contains("Cargo.toml is no journal of callbridge"), "{told}");
}

/// A caller speaks, an agent answers, another goes on; the journals of both.
async fn real_call(folder: &Path) -> [PathBuf; 2] {
    let happy = include_str!("../fixtures/sessions/happy_turn.jsonl");
    let scripts = [happy.to_owned(), newcomer()];
    let model = ScriptedModel::play_each(&[&scripts[0], &scripts[1]]).await.unwrap();
    let policy = JournalPolicy { directory: folder.to_path_buf(), bytes_max: 200_000_000 };
    let journal = Journal::open(policy).unwrap();
    let mut house = House::journaling(model.url(), journal).await;
    let address = house.serve().await;
    let owner = UserId::new("usr_bootstrap");
    let metadata = json!({"voice": {"enabled": true}});
    let body =
        |name: &str| json!({"name": name, "agentType": "HUMA-0.1", "metadata": metadata.clone()});
    let [first, second] = [body("Ada"), body("Ben")].map(|body| house.agent(body));
    let [first, second] = [AgentId::new(first.await), AgentId::new(second.await)];
    let mut ada = house.gateway.subscribe(&owner, &first).await.unwrap();
    let mut ben = house.gateway.subscribe(&owner, &second).await.unwrap();

    let call = whip::dial(&format!("http://{address}/rooms/hall/whip"), None).await.unwrap();
    let _caller = speaking(call);
    let join = Command::Join(JoinRequest {
        call: CallId::new("call_1"),
        room_url: "rooms/hall".into(),
        token: None,
        participant_name: None,
    });
    house.gateway.command(&first, join).await.unwrap();
    spoken(&mut ada, true).await;
    let heir = Heir::Known(second.clone());
    let wish = HandOffWish { heir, reason: "billing".into(), context: None };
    house.gateway.hand_off(&owner, &first, wish).await.unwrap();
    spoken(&mut ben, false).await;
    house.gateway.command(&second, Command::Leave).await.unwrap();
    house.gateway.delete(&owner, &second).await.unwrap();
    assert_eq!(house.gateway.drain(Duration::from_secs(5)).await, []);
    [first, second].map(|agent| file_of(folder, agent.as_str()))
}

/// The second agent's session: it is told the story, and speaks first.
fn newcomer() -> String {
    let response = json!({"id": "resp_2", "object": "realtime.response", "output": []});
    let with = |status: &str| {
        let mut response = response.clone();
        response["status"] = json!(status);
        response
    };
    let part = json!({
        "response_id": "resp_2", "item_id": "item_b1", "output_index": 0, "content_index": 0,
    });
    let said = |kind: &str| {
        let mut event = part.clone();
        event["type"] = json!(kind);
        event["transcript"] = json!("I am Ben.");
        event
    };
    [
        json!({"expect": "session.update"}),
        json!({"send": {"type": "session.updated", "session": {"type": "realtime"}}}),
        json!({"expect": "conversation.item.create"}),
        json!({"expect": "response.create"}),
        json!({"send": {"type": "response.created", "response": with("in_progress")}}),
        json!({"send_audio": {"response_id": "resp_2", "item_id": "item_b1", "ms": 500}}),
        json!({"send": said("response.output_audio.done")}),
        json!({"send": said("response.output_audio_transcript.done")}),
        json!({"send": {"type": "response.done", "response": with("completed")}}),
    ]
    .map(|step| step.to_string())
    .join("\n")
}

/// A caller who says the same again and again, in real time.
fn speaking(call: whip::Call) -> Task {
    tasks::spawn("caller", async move {
        let mut encoder = Encoder::new().unwrap();
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        for number in 0_u16.. {
            beat.tick().await;
            // Half a second of a buzz in four seconds.
            let height = if number % 200 < 25 { 5_000 } else { 0 };
            let wave = |n: usize| if n % 120 < 40 { height } else { -height / 2 };
            call.send(&OpusPacket {
                participant: ParticipantId::new("p_caller"),
                sequence: number,
                timestamp: u32::from(number) * 960,
                marker: number == 0,
                payload: encoder.encode(&Frame24k::new(std::array::from_fn(wave))),
                at: clock::now(),
            });
        }
    })
}

/// Waits until something of the agent was heard to its end, and, if so asked, the caller as well.
async fn spoken(client: &mut Subscription, by_both: bool) {
    let (mut agent, mut caller) = (false, !by_both);
    let heard = async {
        while !(agent && caller) {
            let stamped = client.notifications.recv().await.expect("the agent lives");
            caller |= matches!(stamped.notification, Notification::VadEnd { .. });
            if let Notification::SpeakStatus { status, .. } = stamped.notification {
                agent |= status != SpeakStatus::Started;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("in time");
}

fn callbridge(arguments: &[&str]) -> Output {
    Program::new(env!("CARGO_BIN_EXE_callbridge")).args(arguments).output().unwrap()
}

fn file_of(folder: &Path, agent: &str) -> PathBuf {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut own = files.filter(|path| path.to_str().unwrap().contains(agent));
    own.next().unwrap_or_else(|| panic!("no journal of {agent}"))
}
