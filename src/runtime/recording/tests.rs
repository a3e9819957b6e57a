//! Recordings as they are written, closed and erased, without a call.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::shelf::Shelved;
use super::*;
use crate::agent::{Participant, ToolOutcome, ToolRecord};
use crate::ids::{ParticipantId, ToolCallId, UtteranceId};
use crate::media::{Frame24k, Side};
use crate::privacy::Pii;

#[tokio::test]
async fn a_recording_has_both_sides_where_they_were_and_silence_elsewhere() {
    let house = House::open(HOUR);
    let mut recording = house.begin("call_1", RecordingFormat::Wav);
    recording.put(taped(24_000, Side::Heard, 500));
    recording.put(taped(24_240, Side::Said, -300));
    recording.on_entry(&ended(2_000));
    let recorded = house.find("call_1").await.expect("it has ended");
    let samples = wav(&recorded.sound);
    assert_eq!(samples.len(), 2 * 48_000);
    let loud = |channel: usize| {
        let side = samples.iter().skip(channel).step_by(2);
        let loud: Vec<_> = side.enumerate().filter(|(_, sample)| **sample != 0).collect();
        (loud[0].0, loud.len(), *loud[0].1)
    };
    assert_eq!(loud(0), (24_000, 480, 500));
    assert_eq!(loud(1), (24_240, 480, -300));
}

#[tokio::test]
async fn what_happens_lies_beside_the_sound_in_order() {
    let house = House::open(HOUR);
    let mut recording = house.begin("call_1", RecordingFormat::Ogg);
    let ann = ParticipantId::new("p_1");
    let joined = Participant { id: ann.clone(), name: "Ann".to_owned() };
    let later = recording.began + Duration::from_millis(900);
    recording.hear(&Notification::ParticipantJoined(joined), later);
    recording.hear(&Notification::VadStart { participant: ann.clone(), at_ms: 850 }, later);
    let (utterance, text) = (UtteranceId::new("utt_1"), Pii::new("hello".to_owned()));
    let said = Notification::Transcript { participant: ann, utterance, text, is_final: true };
    recording.hear(&said, later);
    let arguments_json = r#"{"card": 1}"#.to_owned();
    let (id, name) = (ToolCallId::new("tc_1"), "deal".to_owned());
    let called = Notification::ToolCall { id, name, arguments_json, timeout_seconds: 5 };
    recording.hear(&called, later);
    recording.on_entry(&RecordEntry::Tool(ToolRecord {
        id: ToolCallId::new("tc_1"),
        name: "deal".into(),
        arguments_json: Pii::new("{}".into()),
        outcome: ToolOutcome::Completed,
        output: Pii::new("dealt".into()),
        asked_ms: 900,
        took_ms: 50,
    }));
    recording.on_entry(&ended(1_000));
    let lines = house.lines("call_1").await;
    assert_eq!(lines[0]["type"], "recording_started");
    assert_eq!((&lines[0]["consent"], &lines[0]["agentName"]), (&json!("yes"), &json!("Ida")));
    let expected = [
        json!({"atMs": 900, "type": "participant_joined", "participantId": "p_1", "name": "Ann"}),
        json!({"atMs": 850, "type": "vad_start", "participantId": "p_1"}),
        json!({
            "atMs": 900, "type": "transcript", "participantId": "p_1", "utteranceId": "utt_1",
            "text": "hello",
        }),
        json!({
            "atMs": 900, "type": "tool-call", "toolCallId": "tc_1", "toolName": "deal",
            "arguments": {"card": 1},
        }),
        json!({
            "atMs": 950, "type": "tool-result", "toolCallId": "tc_1", "outcome": "completed",
            "output": "dealt", "tookMs": 50,
        }),
        json!({"atMs": 1_000, "type": "recording_ended", "reason": "left"}),
    ];
    assert_eq!(lines[1..], expected);
}

#[tokio::test]
async fn a_call_that_runs_has_no_recording_yet() {
    let house = House::open(HOUR);
    let recording = house.begin("call_1", RecordingFormat::Ogg);
    assert_eq!(house.find("call_1").await, None);
    assert!(!house.recordings.erase(&owner(), &CallId::new("call_1")).await.unwrap());
    drop(recording);
    assert!(house.find("call_1").await.is_some());
    let lines = house.lines("call_1").await;
    assert_eq!(lines.last().unwrap()["reason"], "agent crashed");
}

#[tokio::test]
async fn what_was_left_open_is_closed_and_marked_at_the_next_start() {
    let house = House::open(HOUR);
    let killed = tempfile::tempdir().unwrap();
    let formats = [("call_1", RecordingFormat::Ogg), ("call_2", RecordingFormat::Wav)];
    let open = formats.map(|(call, format)| {
        let recording = house.begin(call, format);
        for n in 0..500 {
            recording.put(taped(480 * n, Side::Said, 1_000));
        }
        recording
    });
    assert!(house.recordings.flush(FLUSH_PATIENCE).await);
    // The files as they are on the disk at this moment, and a part of a page, line, sample more.
    for file in house.folder.path().join(OWNER).read_dir().unwrap() {
        let from = file.unwrap().path();
        let mut bytes = fs::read(&from).unwrap();
        bytes.extend_from_slice(b"OggS\0\0");
        let to = killed.path().join(OWNER);
        fs::create_dir_all(&to).unwrap();
        fs::write(to.join(from.file_name().unwrap()), bytes).unwrap();
    }
    drop(open);
    let house = House::over(killed, HOUR);
    let ogg = house.find("call_1").await.expect("the first");
    let bytes = fs::read(&ogg.sound).unwrap();
    assert!(bytes.len() > 1_000 && !bytes.ends_with(b"OggS\0\0"));
    let last = bytes.windows(4).rposition(|four| four == b"OggS").unwrap();
    assert_eq!(bytes[last + 5] & 4, 4, "the last page says so");
    assert!(crate::media::is_sound_page(&bytes[last..]));
    let samples = wav(&house.find("call_2").await.expect("the second").sound);
    assert!(samples.len() >= 2 * 24_000 * 7, "all but the last two or three of ten seconds");
    for call in ["call_1", "call_2"] {
        assert_eq!(house.lines(call).await.last().unwrap()["type"], "recording_interrupted");
    }
}

#[tokio::test]
async fn what_has_no_sound_yet_is_gone_at_the_next_start() {
    let killed = tempfile::tempdir().unwrap();
    let folder = killed.path().join(OWNER);
    fs::create_dir(&folder).unwrap();
    for name in ["a.ogg.part", "a.jsonl.part", "b.wav.part", "b.jsonl.part", "c.jsonl.part"] {
        fs::write(folder.join(name), "").unwrap();
    }
    let _house = House::over(killed, HOUR);
    assert_eq!(folder.read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_left_of_a_recording_that_has_gone_is_erased_in_its_time() {
    let house = House::open(HOUR);
    drop(house.begin("call_1", RecordingFormat::Ogg));
    assert!(house.recordings.flush(FLUSH_PATIENCE).await);
    let folder = house.folder.path().join(OWNER);
    fs::remove_file(folder.join("call_1.ogg")).unwrap();
    let events = folder.join("call_1.jsonl");
    assert_eq!(house.recordings.sweep().await.unwrap(), 0);
    assert!(events.exists(), "it is young: its sound may be on its way");
    let file = fs::File::options().write(true).open(&events).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - KEPT * 2).unwrap();
    assert_eq!(house.recordings.sweep().await.unwrap(), 0, "it is no recording");
    assert!(!events.exists());
}

#[tokio::test]
async fn a_recording_is_erased_whole_and_only_by_its_owner() {
    let house = House::open(HOUR);
    drop(house.begin("call_1", RecordingFormat::Ogg));
    let (call, other) = (CallId::new("call_1"), UserId::new("usr_2"));
    assert!(house.recordings.find(&other, &call).await.unwrap().is_none());
    assert!(!house.recordings.erase(&other, &call).await.unwrap());
    assert!(house.recordings.erase(&owner(), &call).await.unwrap());
    assert!(!house.recordings.erase(&owner(), &call).await.unwrap());
    assert_eq!(house.folder.path().join(OWNER).read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn names_that_are_none_of_ours_lead_nowhere() {
    let house = House::open(HOUR);
    fs::write(house.folder.path().join("secret.wav"), "x").unwrap();
    for name in ["../secret", "", "a/b", "call.1", ".."] {
        let call = CallId::new(name);
        assert!(house.recordings.find(&owner(), &call).await.unwrap().is_none(), "{name}");
        assert!(house.recordings.find(&UserId::new(name), &call).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_is_over_its_time_is_erased_and_what_runs_is_not() {
    let house = House::open(HOUR);
    for call in ["call_1", "call_2"] {
        drop(house.begin(call, RecordingFormat::Wav));
    }
    let running = house.begin("call_3", RecordingFormat::Wav);
    assert!(house.recordings.flush(FLUSH_PATIENCE).await);
    let folder = house.folder.path().join(OWNER);
    for file in ["call_1.wav", "call_1.jsonl", "call_3.wav.part", "call_3.jsonl.part"] {
        let file = fs::File::options().write(true).open(folder.join(file)).unwrap();
        let long_ago = file.metadata().unwrap().modified().unwrap() - KEPT * 2;
        file.set_modified(long_ago).unwrap();
    }
    assert_eq!(house.recordings.sweep().await.unwrap(), 1);
    assert_eq!(house.find("call_1").await, None);
    assert!(!folder.join("call_1.jsonl").exists());
    assert!(house.find("call_2").await.is_some());
    drop(running);
    assert!(house.find("call_3").await.is_some());
}

#[tokio::test]
async fn a_recording_that_is_full_ends_there_and_says_so() {
    let house = House::open(Duration::from_secs(1));
    let mut recording = house.begin("call_1", RecordingFormat::Wav);
    for n in 0..100 {
        recording.put(taped(480 * n, Side::Heard, 7));
    }
    recording.on_entry(&ended(60_000));
    let recorded = house.find("call_1").await.unwrap();
    assert_eq!(wav(&recorded.sound).len(), 2 * 24_000);
    let kinds: Vec<_> =
        house.lines("call_1").await.iter().map(|line| line["type"].clone()).collect();
    assert_eq!(kinds, ["recording_started", "recording_full", "recording_ended"]);
}

#[tokio::test]
async fn an_agent_that_asks_for_none_leaves_silence() {
    let house = House::open(HOUR);
    let mut recording = house.begin("call_1", RecordingFormat::Wav);
    recording.pause();
    recording.put(taped(0, Side::Heard, 7));
    let said = Notification::VadStart { participant: ParticipantId::new("p_1"), at_ms: 1 };
    recording.hear(&said, recording.began);
    recording.resume();
    recording.on_entry(&ended(20));
    assert!(wav(&house.find("call_1").await.unwrap().sound).iter().all(|sample| *sample == 0));
    assert_eq!(house.lines("call_1").await.len(), 2);
}

#[tokio::test]
async fn what_finds_no_room_in_the_queue_is_counted_and_its_end_is_not_lost() {
    let (queue, mut inbox) = mpsc::channel(2);
    let meter = Meter::new();
    let last_place = queue.clone().try_reserve_owned().ok();
    let (call, began) = (CallId::new("call_1"), clock::now());
    let mut recording =
        Recording { queue, meter: meter.clone(), call, began, is_on: true, last_place };
    for n in 0..4 {
        recording.put(taped(480 * n, Side::Heard, 7));
    }
    recording.on_entry(&ended(80));
    assert_eq!(meter.times(Counter::RecordingFrameQueue), 3);
    assert!(matches!(inbox.try_recv(), Ok(Note::Frame(_, Taped { at: 0, .. }))));
    assert!(matches!(inbox.try_recv(), Ok(Note::End(_, Some(Ending { at_ms: 80, .. })))));
}

/// A folder of recordings, and what writes them.
struct House {
    folder: TempDir,
    recordings: Recordings,
}

impl House {
    fn open(longest: Duration) -> Self {
        Self::over(tempfile::tempdir().unwrap(), longest)
    }

    fn over(folder: TempDir, longest: Duration) -> Self {
        let directory = folder.path().to_owned();
        let policy = RecordingPolicy { directory, kept: KEPT, longest, bucket: None };
        let recordings = Recordings::open(policy, &Meter::new()).unwrap();
        Self { folder, recordings }
    }

    fn begin(&self, call: &str, format: RecordingFormat) -> Recording {
        let (owner, call, agent) = (owner(), CallId::new(call), AgentId::new("ag_1"));
        let subject = Subject { owner: &owner, call: &call, agent: &agent, agent_name: "Ida" };
        let spec = RecordingSpec { format, consent: Some("yes".to_owned()) };
        self.recordings.begin(&subject, &spec, clock::now()).expect("there is room")
    }

    async fn find(&self, call: &str) -> Option<Shelved> {
        assert!(self.recordings.flush(FLUSH_PATIENCE).await);
        self.recordings.shelf.find(&owner(), &CallId::new(call)).unwrap()
    }

    async fn lines(&self, call: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.find(call).await.unwrap().events).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn taped(at: u64, side: Side, sample: i16) -> Taped {
    Taped { at, side, frame: Frame24k::new([sample; 480]) }
}

fn ended(at_ms: u64) -> RecordEntry {
    RecordEntry::Ended { reason: "left".to_owned(), at_ms }
}

fn wav(path: &Path) -> Vec<i16> {
    let wav = hound::WavReader::open(path).unwrap();
    assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 24_000));
    wav.into_samples().map(Result::unwrap).collect()
}

fn owner() -> UserId {
    UserId::new(OWNER)
}

const OWNER: &str = "usr_1";
const HOUR: Duration = Duration::from_hours(1);
const KEPT: Duration = Duration::from_hours(24);
