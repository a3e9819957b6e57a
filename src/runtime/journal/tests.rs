//! Lives that are written down and lived again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::agent::{
    AgentSpec, Command, ContextUpdate, JoinRequest, Limits, LineQuality, ModelEvent, ModelFailure,
    Participant, ResponseOutcome, RoomEvent, RoomFailure, ToolResult, ToolSpec, TurnDetection,
};
use crate::ids::{CallId, ClientId, ParticipantId, ResponseId, ToolCallId, UtteranceId};
use crate::media::{Encoder, Frame24k, OpusPacket};
use crate::models::ModelItem;
use crate::privacy::{Pii, Secret};
use crate::runtime::core::Core;

#[tokio::test]
async fn a_life_is_lived_again_and_nothing_differs() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), full_life).await;
    let mut told = Vec::new();
    let summary = Replay::open(&file).unwrap().run(|moment| told.extend(moment.replayed.clone()));
    let summary = summary.unwrap();
    assert!(summary.difference.is_none(), "{:?}", summary.difference);
    assert_eq!(summary.end.as_deref(), Some("the agent has ended"));
    assert_eq!(summary.span, Duration::from_millis(845));
    for part in ["tell RoomJoined", "hear ", "send 0 at 0", "tell SpeakStatus", "refused", "leave"]
    {
        assert!(told.iter().any(|output| output.starts_with(part)), "{part} in {told:#?}");
    }
    assert!(told.iter().any(|output| output.ends_with("\"It is noon.\"")), "{told:#?}");
}

#[tokio::test]
async fn no_token_and_nobody_else_reads_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(&folder.path().join("deep/er"), full_life).await;
    assert!(!fs::read_to_string(&file).unwrap().contains("rt_secret"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let made = fs::metadata(file.parent().unwrap()).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_journal_that_was_changed_differs_at_that_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), full_life).await;
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("What time is it", "What tide is it", 1)).unwrap();
    let summary = Replay::open(&file).unwrap().run(|_| {}).unwrap();
    let Difference(moment) = summary.difference.unwrap();
    assert!(moment.input(90).contains("What tide is it"), "{moment:?}");
    assert_ne!(moment.recorded, moment.replayed);
}

#[tokio::test]
async fn what_cannot_be_replayed_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), full_life).await;
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().count();
    let cut = &text[..text.len() - 10];
    let next = text.replacen("\"callbridge_journal\":1", "\"callbridge_journal\":2", 1);
    for (text, reason) in [
        (cut, format!("line {lines} of the journal is cut short or broken")),
        (&next, "version 2".to_owned()),
        ("RIFF", "is no journal of callbridge".to_owned()),
        ("{\"a\": 1}\n", "is no journal of callbridge".to_owned()),
        ("", "is no journal of callbridge".to_owned()),
    ] {
        fs::write(&file, text).unwrap();
        let replayed = Replay::open(&file).and_then(|replay| replay.run(|_| {}));
        let told = replayed.expect_err(&reason).to_string();
        assert!(told.contains(&reason), "{told}");
    }
    let told = Replay::open(&folder.path().join("none.jsonl")).expect_err("none").to_string();
    assert!(told.contains("none.jsonl cannot be read"), "{told}");
}

#[tokio::test]
async fn a_journal_whose_process_was_killed_is_replayed_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), full_life).await;
    let text = fs::read_to_string(&file).unwrap();
    let kept: String = text.split_inclusive('\n').take(20).collect();
    fs::write(&file, kept).unwrap();
    let summary = Replay::open(&file).unwrap().run(|_| {}).unwrap();
    assert!(summary.difference.is_none() && summary.end.is_none());
    assert_eq!(summary.inputs, 19);
}

#[tokio::test]
async fn a_journal_ends_when_it_is_full_and_its_agent_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let policy = JournalPolicy { directory: folder.path().to_path_buf(), bytes_max: 5_000 };
    let journal = Journal::open(policy).unwrap();
    full_life(&mut Life::new(&journal, "ag_1"));
    assert!(journal.flush(Duration::from_secs(10)).await);
    let file = only_file(folder.path());
    assert!((5_000..10_000).contains(&fs::metadata(&file).unwrap().len()));
    let summary = Replay::open(&file).unwrap().run(|_| {}).unwrap();
    assert!(summary.end.unwrap().contains("as large as it may become"));
}

#[tokio::test]
async fn a_conversation_that_was_taken_over_is_replayed_from_both_journals() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(policy(folder.path())).unwrap();
    let (mut first, mut second) = (Life::new(&journal, "ag_1"), Life::new(&journal, "ag_2"));
    call_begins(&mut first);
    let context = Some(Pii::new("she is in a hurry".to_owned()));
    let to = AgentId::new("ag_2");
    second.live(20, Stimulus::Command(Command::ExpectHandoff));
    let command = Command::HandOff { to, reason: "billing".into(), context };
    let effects = first.live(20, Stimulus::Command(command));
    let heritage = effects.into_iter().find_map(|effect| {
        if let Effect::HandOver(heritage) = effect { Some(heritage) } else { None }
    });
    let from = first.pen.file().to_owned();
    let taken = Stimulus::TakenOver(heritage.expect("all is handed over"));
    second.live_from(20, taken, Some(&from));
    second.live(20, event(ModelEvent::Ready { takes_turns: true }));
    talk(&mut second);
    drop((first, second));
    assert!(journal.flush(Duration::from_secs(10)).await);
    for agent in ["ag_1", "ag_2"] {
        let summary = Replay::open(&file_of(folder.path(), agent)).unwrap().run(|_| {}).unwrap();
        assert!(summary.difference.is_none(), "{agent}: {:?}", summary.difference);
    }
    fs::remove_file(file_of(folder.path(), "ag_1")).unwrap();
    let orphan = Replay::open(&file_of(folder.path(), "ag_2")).unwrap().run(|_| {});
    let told = orphan.expect_err("its predecessor is gone").to_string();
    assert!(told.contains("takes a conversation over"), "{told}");
}

#[tokio::test]
async fn old_journals_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(policy(folder.path())).unwrap();
    let old = folder.path().join("ag_old-1.jsonl");
    let file = fs::File::create(&old).unwrap();
    let then = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    file.set_modified(then).unwrap();
    fs::write(folder.path().join("ag_new-1.jsonl"), "").unwrap();
    journal.sweep(Duration::from_secs(3_600)).await;
    assert_eq!(only_file(folder.path()).file_name().unwrap(), "ag_new-1.jsonl");
}

/// An agent whose journal is written; each thing happens some milliseconds after the one before.
struct Life {
    core: Core,
    pen: Pen,
    now: Instant,
}

impl Life {
    fn new(journal: &Journal, agent: &str) -> Self {
        let now = journal.epoch.0 + Duration::from_millis(1);
        let tool = ToolSpec {
            name: "look".into(),
            description: "looks".into(),
            parameters_json: "{}".into(),
            timeout: Duration::from_secs(9),
            filler: None,
        };
        let mut spec = AgentSpec { voice_enabled: true, tools: vec![tool], ..AgentSpec::default() };
        spec.model.turn_detection = TurnDetection::Gateway { silence: Duration::from_millis(300) };
        let seed = Seed {
            spec: spec.into(),
            limits: Arc::new(Limits::default()),
            expires_at: Some(now + Duration::from_secs(9_000)),
            own: ParticipantId::new("p_own"),
            silero: None,
        };
        let pen = journal.begin(&AgentId::new(agent), &seed, now).expect("there is room");
        Self { core: Core::new(seed, now), pen, now }
    }

    fn live(&mut self, after_ms: u64, stimulus: Stimulus) -> Vec<Effect> {
        self.live_from(after_ms, stimulus, None)
    }

    fn live_from(&mut self, after_ms: u64, what: Stimulus, from: Option<&str>) -> Vec<Effect> {
        self.now += Duration::from_millis(after_ms);
        let draft = self.pen.draft(&what, from, self.now);
        let outcome = self.core.handle(what, self.now);
        self.pen.write(draft, &outcome, self.core.effects());
        std::iter::from_fn(|| self.core.poll_effect()).collect()
    }
}

fn call_begins(life: &mut Life) {
    life.live(0, Stimulus::ClientConnected(ClientId::new("cl_1")));
    life.live(
        0,
        Stimulus::Command(Command::Join(JoinRequest {
            call: CallId::new("call_1"),
            room_url: "rooms/hall".into(),
            token: Some(Secret::new("rt_secret")),
            participant_name: None,
        })),
    );
    let ann = Participant { id: ParticipantId::new("p_ann"), name: "Ann".into() };
    life.live(10, Stimulus::Room(RoomEvent::Joined { participants: vec![ann.clone()] }));
    life.live(10, event(ModelEvent::Ready { takes_turns: true }));
    life.live(
        0,
        Stimulus::Room(RoomEvent::ParticipantJoined(Participant {
            id: ParticipantId::new("p_bob"),
            name: String::new(),
        })),
    );
}

fn talk(life: &mut Life) {
    let line = LineQuality { lost_down_percent: 30, ..LineQuality::default() };
    let quality = RoomEvent::Quality { id: ParticipantId::new("p_ann"), line };
    life.live(0, Stimulus::Room(quality));
    let speaking = RoomEvent::Speaking { id: ParticipantId::new("p_ann"), is_speaking: true };
    life.live(0, Stimulus::Room(speaking));
    let mut encoder = Encoder::new().unwrap();
    for number in 0..20_u16 {
        let payload = encoder.encode(&loud(i16::from(number % 2 == 0) * 4_000));
        life.live(
            20,
            Stimulus::Packet(OpusPacket {
                participant: ParticipantId::new("p_ann"),
                sequence: number,
                timestamp: u32::from(number) * 960,
                marker: number == 0,
                payload,
                at: clock::now(),
            }),
        );
    }
    let (heard, said) = (UtteranceId::new("u1"), UtteranceId::new("a1"));
    let response = ResponseId::new("r1");
    let text = |text: &str| Pii::new(text.to_owned());
    let heard_text = text("What time is it?");
    life.live(1, event(ModelEvent::SpeechStarted { utterance: heard.clone(), interrupts: true }));
    life.live(1, event(ModelEvent::SpeechStopped { utterance: heard.clone() }));
    let utterance = heard;
    let transcript = ModelEvent::Transcript { utterance, text: heard_text, is_final: true };
    life.live(1, event(transcript));
    life.live(1, event(ModelEvent::ResponseStarted { response: response.clone() }));
    let samples = vec![300; 12_000];
    life.live(1, Stimulus::Model(ModelItem::Audio { utterance: said.clone(), samples }));
    let words = text("It is noon.");
    life.live(1, event(ModelEvent::Words { utterance: said.clone(), text: words, is_final: true }));
    for _ in 0..20 {
        life.live(20, Stimulus::TimePassed);
    }
    life.live(1, Stimulus::Model(ModelItem::AudioDone { utterance: said }));
    let outcome = ResponseOutcome::Completed;
    life.live(1, event(ModelEvent::ResponseDone { response, outcome }));
}

fn full_life(life: &mut Life) {
    call_begins(life);
    talk(life);
    let id = ToolCallId::new("tc_1");
    life.live(
        1,
        event(ModelEvent::ToolCall {
            response: ResponseId::new("r2"),
            id: id.clone(),
            name: "look".into(),
            arguments_json: "{}".into(),
        }),
    );
    let outcome = Ok(Pii::new("\"a heron\"".to_owned()));
    let result = ToolResult { id, outcome, canceled: false, respond: true };
    life.live(1, Stimulus::Command(Command::ToolResult(result.clone())));
    life.live(1, Stimulus::Command(Command::ToolResult(result)));
    life.live(
        1,
        Stimulus::Command(Command::Context(ContextUpdate {
            name: "seen".into(),
            description: Pii::new("a bird".into()),
            context_json: Pii::new("{}".into()),
            images: vec![Pii::new("data:image/png;base64,AA==".into())],
            triggering: true,
        })),
    );
    life.live(1, event(ModelEvent::Complaint { code: "c".into(), message: "m".into() }));
    let reason = "socket".to_owned();
    life.live(1, event(ModelEvent::Reconnecting { reason }));
    life.live(1, event(ModelEvent::Restored));
    let left = RoomEvent::ParticipantLeft { id: ParticipantId::new("p_bob"), reason: "x".into() };
    life.live(1, Stimulus::Room(left));
    let (id, text) = (ParticipantId::new("p_ann"), Pii::new("hi".to_owned()));
    life.live(1, Stimulus::Room(RoomEvent::Message { id, text }));
    life.live(1, Stimulus::Command(Command::SetMuted(true)));
    let (spec, expires_at) = (Some(AgentSpec::default().into()), Some(Some(life.now)));
    life.live(1, Stimulus::Command(Command::Reconfigure { spec, expires_at }));
    life.live(1, Stimulus::ModelLost(ModelFailure::Stalled));
    life.live(1, Stimulus::Room(RoomEvent::Failed(RoomFailure::NotFound)));
    life.live(1, Stimulus::RoomLost);
    let expires_at = Some(None);
    life.live(1, Stimulus::Command(Command::Reconfigure { spec: None, expires_at }));
    life.live(1, Stimulus::ClientGone(ClientId::new("cl_1")));
    life.live(1, Stimulus::Shutdown);
}

async fn written(folder: &Path, life: impl Fn(&mut Life)) -> PathBuf {
    let journal = Journal::open(policy(folder)).unwrap();
    life(&mut Life::new(&journal, "ag_1"));
    assert!(journal.flush(Duration::from_secs(10)).await);
    only_file(folder)
}

fn policy(folder: &Path) -> JournalPolicy {
    JournalPolicy { directory: folder.to_path_buf(), bytes_max: 1_000_000 }
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = folder.read_dir().unwrap();
    let file = files.next().expect("a file").unwrap().path();
    assert!(files.next().is_none(), "one file alone");
    file
}

fn file_of(folder: &Path, agent: &str) -> PathBuf {
    let mut files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let is_its = |path: &PathBuf| path.to_str().unwrap().contains(&format!("{agent}-"));
    files.find(is_its).expect("its file")
}

fn event(event: ModelEvent) -> Stimulus {
    Stimulus::Model(ModelItem::Event(event))
}

fn loud(height: i16) -> Frame24k {
    Frame24k::new(std::array::from_fn(|n| if n % 60 < 30 { height } else { -height }))
}
