//! What the archive promises, run over each kind of database.

use super::contract::{in_file, in_memory, owner, suite};
use super::{ArchivedCall, CallEntry, HandOffRecord, ListError, Store};
use crate::agent::{Line, Participant, RecordEntry, ToolOutcome, ToolRecord, TurnRecord};
use crate::ids::{AgentId, CallId, ParticipantId, ToolCallId, UserId};
use crate::privacy::Pii;

suite! {
    a_call_is_read_whole_when_it_has_ended
    a_live_call_is_neither_listed_nor_read_nor_erased
    a_call_belongs_to_its_owner
    what_happens_in_no_known_call_is_passed_over
    the_call_of_nobody_is_passed_over_and_the_rest_is_kept
    the_first_end_of_a_call_counts
    a_gap_marks_the_call
    a_nul_in_a_name_does_not_stop_the_archive
    a_handed_over_call_is_found_by_both_agents
    pages_of_calls_follow_each_other_without_gap_or_repeat
    a_foreign_cursor_of_calls_is_refused
    live_calls_are_closed_at_their_last_entry
    an_erased_call_leaves_nothing
    old_calls_are_swept_by_their_end
}

async fn a_call_is_read_whole_when_it_has_ended(store: Store) {
    let owner = owner(&store).await;
    let tool = ToolRecord {
        id: ToolCallId::new("tc_1"),
        name: "look_up".into(),
        arguments_json: Pii::new("{}".into()),
        outcome: ToolOutcome::Completed,
        output: Pii::new("a bird".into()),
        asked_ms: 5,
        took_ms: 7,
    };
    let turn = TurnRecord { speech_end_ms: Some(4), ..TurnRecord::default() };
    let entries = [
        began(&[participant("p_1")]),
        RecordEntry::Participant(participant("p_2")),
        RecordEntry::Participant(participant("p_1")),
        line(None, "good morning", 900),
        line(Some("p_1"), "what is a heron?", 300),
        RecordEntry::Tool(tool.clone()),
        RecordEntry::Turn(turn.clone()),
        ended("left"),
    ];
    let mut written: Vec<_> = entries.map(|entry| at(10, &owner, "call_1", entry)).into();
    written[0].user_id = Some("u1".into());
    written[7].at_ms = 1_500;
    store.record(&written).await.expect("written");

    let call = read(&store, &owner, "call_1").await.expect("a call");
    let summary = &call.summary;
    assert_eq!((summary.agent.as_str(), summary.agent_name.as_str()), ("ag_1", "Ida"));
    assert_eq!((summary.user_id.as_deref(), summary.room_url.as_str()), (Some("u1"), "rooms/hall"));
    assert_eq!((summary.started_at_ms, summary.ended_at_ms), (10, 1_500));
    assert_eq!((summary.reason.as_str(), summary.is_incomplete), ("left", false));
    assert_eq!(call.participants, [participant("p_1"), participant("p_2")]);
    let said: Vec<_> = call.lines.iter().map(|line| line.text.expose().as_str()).collect();
    assert_eq!(said, ["what is a heron?", "good morning"]);
    assert_eq!((call.turns, call.tools, call.handoffs), (vec![turn], vec![tool], vec![]));
    let page = store.calls_of(&owner, None, 5, None).await.expect("listed");
    assert_eq!((page.rows, page.next), (vec![call.summary], None));
}

async fn a_live_call_is_neither_listed_nor_read_nor_erased(store: Store) {
    let owner = owner(&store).await;
    store.record(&[at(1, &owner, "call_1", began(&[]))]).await.expect("written");
    assert_eq!(ids(&store, &owner, None).await, [""; 0]);
    assert_eq!(read(&store, &owner, "call_1").await, None);
    assert!(!store.erase_call(&owner, &CallId::new("call_1")).await.expect("tried"));
    store.record(&[at(2, &owner, "call_1", ended("left"))]).await.expect("written");
    assert_eq!(ids(&store, &owner, None).await, ["call_1"]);
}

async fn a_call_belongs_to_its_owner(store: Store) {
    let owner = owner(&store).await;
    let other = store.create_user("bob@example.com", None, 1).await.expect("made").id;
    whole(&store, &owner, "call_1", 1).await;
    assert_eq!(ids(&store, &other, None).await, [""; 0]);
    assert_eq!(ids(&store, &other, Some("ag_1")).await, [""; 0]);
    assert_eq!(read(&store, &other, "call_1").await, None);
    assert!(!store.erase_call(&other, &CallId::new("call_1")).await.expect("tried"));
    assert!(read(&store, &owner, "call_1").await.is_some());
}

async fn what_happens_in_no_known_call_is_passed_over(store: Store) {
    let owner = owner(&store).await;
    let entries =
        [at(1, &owner, "call_1", line(None, "hm", 1)), at(2, &owner, "call_1", ended(""))];
    store.record(&entries).await.expect("passed over");
    assert_eq!(read(&store, &owner, "call_1").await, None);
}

async fn the_call_of_nobody_is_passed_over_and_the_rest_is_kept(store: Store) {
    let (owner, nobody) = (owner(&store).await, UserId::new("usr_nobody"));
    let entries = [
        at(1, &nobody, "call_1", began(&[])),
        at(1, &owner, "call_2", began(&[])),
        at(2, &nobody, "call_1", ended("left")),
        at(2, &owner, "call_2", ended("left")),
    ];
    store.record(&entries).await.expect("written");
    assert_eq!(read(&store, &nobody, "call_1").await, None);
    assert!(read(&store, &owner, "call_2").await.is_some());
}

async fn the_first_end_of_a_call_counts(store: Store) {
    let owner = owner(&store).await;
    whole(&store, &owner, "call_1", 1).await;
    let again = at(900, &owner, "call_1", ended("again"));
    store.record(&[at(800, &owner, "call_1", began(&[])), again]).await.expect("written");
    let call = read(&store, &owner, "call_1").await.expect("a call").summary;
    assert_eq!((call.started_at_ms, call.ended_at_ms, call.reason.as_str()), (1, 2, "left"));
}

async fn a_gap_marks_the_call(store: Store) {
    let owner = owner(&store).await;
    let entries = [began(&[]), line(None, "hm", 1), ended("left")];
    let mut entries = entries.map(|entry| at(1, &owner, "call_1", entry));
    entries[1].follows_a_gap = true;
    store.record(&entries).await.expect("written");
    assert!(read(&store, &owner, "call_1").await.expect("a call").summary.is_incomplete);
}

async fn a_nul_in_a_name_does_not_stop_the_archive(store: Store) {
    let owner = owner(&store).await;
    let entries = [began(&[]), line(None, "a\0b", 1), ended("left\0")];
    let entries = entries.map(|entry| CallEntry {
        agent_name: "I\0da".into(),
        user_id: Some("u\u{0}1".into()),
        ..at(1, &owner, "call_1", entry)
    });
    store.record(&entries).await.expect("written");
    let call = read(&store, &owner, "call_1").await.expect("a call");
    assert_eq!(call.summary.agent_name, "I\u{fffd}da");
    assert_eq!(call.summary.reason, "left\u{fffd}");
    assert_eq!(call.lines[0].text.expose(), "a\0b", "JSON has a way to say it");
}

async fn a_handed_over_call_is_found_by_both_agents(store: Store) {
    let owner = owner(&store).await;
    let handed_off =
        RecordEntry::HandedOff { to: AgentId::new("ag_2"), reason: "billing".into(), at_ms: 40 };
    let by_second = |at_ms, entry| CallEntry {
        agent: AgentId::new("ag_2"),
        agent_name: "Udo".into(),
        ..at(at_ms, &owner, "call_1", entry)
    };
    let entries = [
        at(1, &owner, "call_1", began(&[])),
        at(2, &owner, "call_1", handed_off),
        by_second(3, line(None, "Udo here", 50)),
        // The first one's last words are known after it has gone.
        at(4, &owner, "call_1", line(None, "one moment", 30)),
        by_second(5, ended("left")),
    ];
    store.record(&entries).await.expect("written");
    whole(&store, &owner, "call_2", 9).await;

    let call = read(&store, &owner, "call_1").await.expect("a call");
    let summary = &call.summary;
    assert_eq!((summary.agent.as_str(), summary.agent_name.as_str()), ("ag_2", "Udo"));
    let (from, to) = (AgentId::new("ag_1"), AgentId::new("ag_2"));
    let expected = HandOffRecord { from, to, reason: "billing".into(), at_ms: 40 };
    assert_eq!(call.handoffs, [expected]);
    assert_eq!(call.lines.len(), 2);
    assert_eq!(ids(&store, &owner, Some("ag_1")).await, ["call_2", "call_1"]);
    assert_eq!(ids(&store, &owner, Some("ag_2")).await, ["call_1"]);
    assert_eq!(ids(&store, &owner, Some("ag_3")).await, [""; 0]);
}

async fn pages_of_calls_follow_each_other_without_gap_or_repeat(store: Store) {
    let owner = owner(&store).await;
    for (id, started_at_ms) in [("a", 1), ("b", 2), ("c", 2), ("d", 3), ("e", 9)] {
        whole(&store, &owner, id, started_at_ms).await;
    }
    let agent = AgentId::new("ag_1");
    for agent in [None, Some(&agent)] {
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..3 {
            let page = store.calls_of(&owner, agent, 2, cursor.as_deref()).await.expect("listed");
            seen.extend(page.rows.iter().map(|call| call.id.to_string()));
            cursor = page.next;
        }
        assert_eq!((seen, cursor), (["e", "d", "c", "b", "a"].map(str::to_owned).into(), None));
    }
}

async fn a_foreign_cursor_of_calls_is_refused(store: Store) {
    let owner = owner(&store).await;
    for cursor in ["", "x", "zz-call_1", "-1-call_1", "5-"] {
        let page = store.calls_of(&owner, None, 2, Some(cursor)).await;
        assert!(matches!(page, Err(ListError::BadCursor)), "{cursor:?}: {page:?}");
    }
}

async fn live_calls_are_closed_at_their_last_entry(store: Store) {
    let owner = owner(&store).await;
    whole(&store, &owner, "call_1", 1).await;
    let live =
        [at(5, &owner, "call_2", began(&[])), at(70, &owner, "call_2", line(None, "so", 60))];
    store.record(&live).await.expect("written");
    assert_eq!(store.close_live_calls("server crashed").await.expect("closed"), 1);
    assert_eq!(store.close_live_calls("server crashed").await.expect("closed"), 0);

    let call = read(&store, &owner, "call_2").await.expect("a call");
    assert_eq!((call.summary.ended_at_ms, call.summary.reason.as_str()), (70, "server crashed"));
    assert_eq!(call.lines.len(), 1);
    assert_eq!(read(&store, &owner, "call_1").await.expect("a call").summary.reason, "left");
}

async fn an_erased_call_leaves_nothing(store: Store) {
    let owner = owner(&store).await;
    whole(&store, &owner, "call_1", 1).await;
    whole(&store, &owner, "call_2", 1).await;
    let call = CallId::new("call_1");
    assert!(store.erase_call(&owner, &call).await.expect("erased"));
    assert!(!store.erase_call(&owner, &call).await.expect("tried"));
    assert_eq!(ids(&store, &owner, None).await, ["call_2"]);
    let late = at(9, &owner, "call_1", line(None, "still here", 9));
    store.record(&[late]).await.expect("passed over");
    assert_eq!(rows_of(&store, "call_1").await, 0);
    assert_eq!(rows_of(&store, "call_2").await, 4, "three entries and an agent");
}

async fn old_calls_are_swept_by_their_end(store: Store) {
    let owner = owner(&store).await;
    let long = [at(1, &owner, "long", began(&[])), at(500, &owner, "long", ended("left"))];
    store.record(&long).await.expect("written");
    store.record(&[at(1, &owner, "live", began(&[]))]).await.expect("written");
    whole(&store, &owner, "short", 1).await;
    assert_eq!(store.sweep_calls(1).await.expect("swept"), 0);
    assert_eq!(store.sweep_calls(2).await.expect("swept"), 1);
    assert_eq!(ids(&store, &owner, None).await, ["long"]);
    assert_eq!(store.sweep_calls(u64::MAX).await.expect("swept"), 1);
    assert_eq!(store.close_live_calls("server crashed").await.expect("closed"), 1);
}

#[tokio::test]
async fn nothing_said_in_an_erased_call_lies_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = in_file(folder.path()).await;
    let owner = owner(&store).await;
    let entries = [began(&[]), line(None, "the heron flies", 1), ended("left")];
    store.record(&entries.map(|entry| at(1, &owner, "call_1", entry))).await.expect("written");
    store.erase_call(&owner, &CallId::new("call_1")).await.expect("erased");
    store.close().await;
    for file in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = file.expect("a file").path();
        let bytes = std::fs::read(&path).expect("read");
        assert!(!bytes.windows(5).any(|window| window == b"heron"), "{}", path.display());
    }
}

/// A call with one line in it, one millisecond long.
async fn whole(store: &Store, owner: &UserId, id: &str, started_at_ms: u64) {
    let entries = [
        at(started_at_ms, owner, id, began(&[])),
        at(started_at_ms, owner, id, line(None, "hello", 0)),
        at(started_at_ms + 1, owner, id, ended("left")),
    ];
    store.record(&entries).await.expect("written");
}

async fn ids(store: &Store, owner: &UserId, agent: Option<&str>) -> Vec<String> {
    let agent = agent.map(AgentId::new);
    let page = store.calls_of(owner, agent.as_ref(), 10, None).await.expect("listed");
    page.rows.into_iter().map(|call| call.id.to_string()).collect()
}

async fn read(store: &Store, owner: &UserId, id: &str) -> Option<ArchivedCall> {
    store.call(owner, &CallId::new(id)).await.expect("read")
}

/// Entries of a call and agents in it, whether or not the call itself is there.
async fn rows_of(store: &Store, id: &str) -> i64 {
    let count = "SELECT (SELECT COUNT(*) FROM call_entries WHERE call_id = $1)
                 + (SELECT COUNT(*) FROM call_agents WHERE call_id = $1)";
    sqlx::query_scalar(count).bind(id).fetch_one(&store.pool).await.expect("counted")
}

fn at(at_ms: u64, owner: &UserId, call: &str, entry: RecordEntry) -> CallEntry {
    CallEntry {
        call: CallId::new(call),
        owner: owner.clone(),
        agent: AgentId::new("ag_1"),
        agent_name: "Ida".into(),
        user_id: None,
        at_ms,
        follows_a_gap: false,
        entry,
    }
}

fn began(participants: &[Participant]) -> RecordEntry {
    RecordEntry::Began { room_url: "rooms/hall".into(), participants: participants.into() }
}

fn line(participant: Option<&str>, text: &str, at_ms: u64) -> RecordEntry {
    let participant = participant.map(ParticipantId::new);
    RecordEntry::Line(Line { participant, text: Pii::new(text.into()), at_ms })
}

fn ended(reason: &str) -> RecordEntry {
    RecordEntry::Ended { reason: reason.into(), at_ms: 1 }
}

fn participant(id: &str) -> Participant {
    Participant { id: ParticipantId::new(id), name: "Ann".into() }
}
