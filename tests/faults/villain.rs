//! A Realtime server with bad manners: each of its sessions has its own, drawn from a seed.

use std::time::Duration;

use callbridge::sys::tasks::{self, Task};
use serde_json::{Value, json};

use super::harness::mind::{Answer, Mind, Session};

/// Serves sessions until it is dropped.
pub(crate) struct Villain {
    pub(crate) url: String,
    _serving: Task,
}

/// What goes wrong in a session, at one of its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vice {
    None,
    /// It never takes the settings.
    Deaf,
    /// The connection is cut in the middle of an answer.
    Cut,
    /// It says nothing any more, and reads nothing.
    HalfOpen,
    /// It says that the session is over, and cuts the connection.
    Expired,
    /// It says that there is no money left.
    Broke,
    /// An answer fails.
    Refusal,
    /// An answer has no end.
    Endless,
    /// What is no event at all, and events that nobody knows.
    Babble,
    /// Sound that goes on after the answer was broken off.
    Late,
    /// It speaks over itself: begins twice, ends twice.
    Stutter,
}

const VICES: [Vice; 11] = [
    Vice::None,
    Vice::Deaf,
    Vice::Cut,
    Vice::HalfOpen,
    Vice::Expired,
    Vice::Broke,
    Vice::Refusal,
    Vice::Endless,
    Vice::Babble,
    Vice::Late,
    Vice::Stutter,
];

impl Villain {
    pub(crate) async fn open(seed: usize) -> Self {
        let mind = Mind::open().await;
        let url = mind.url();
        let serving = tasks::spawn("villain", async move {
            let mut sessions = Vec::new();
            for number in seed.. {
                let Some(session) = mind.try_session().await else { continue };
                sessions.retain(|session: &Task| !session.is_finished());
                sessions.push(tasks::spawn("session", misbehave(session, number)));
            }
        });
        Self { url, _serving: serving }
    }
}

/// Some turns of a conversation, one of which goes wrong.
async fn misbehave(mut session: Session, number: usize) {
    let vice = VICES[number * 7 % VICES.len()];
    if session.next().await.is_none() {
        return;
    }
    if vice == Vice::Deaf {
        while session.next().await.is_some() {}
        return;
    }
    session.send(&json!({"type": "session.updated", "session": {"type": "realtime"}})).await;
    for turn in 0.. {
        let ms = u64::try_from((number * 37 + turn * 61) % 300).expect("small");
        let rest = Duration::from_millis(100 + ms);
        if is_gone(&mut session, rest).await {
            return;
        }
        hear_a_question(&mut session, number, turn).await;
        let name = format!("n{number}t{turn}");
        let answer = Answer { name, ms: 600, text: answer_text(number, turn) };
        if turn % 3 == 1 {
            match vice {
                Vice::Cut => {
                    session.begin(&answer).await;
                    return session.cut();
                }
                Vice::HalfOpen => return std::future::pending().await,
                Vice::None
                | Vice::Deaf
                | Vice::Expired
                | Vice::Broke
                | Vice::Refusal
                | Vice::Endless
                | Vice::Babble
                | Vice::Late
                | Vice::Stutter => go_wrong(&mut session, &answer, vice).await,
            }
        } else {
            session.begin(&answer).await;
            session.end(&answer, "completed").await;
        }
    }
}

async fn go_wrong(session: &mut Session, answer: &Answer, vice: Vice) {
    let error = |code: &str| json!({"type": "error", "error": {"type": "x", "code": code}});
    match vice {
        Vice::Expired => session.send(&error("session_expired")).await,
        Vice::Broke => session.send(&error("insufficient_quota")).await,
        Vice::Refusal => {
            let details = json!({"type": "failed", "error": {"code": "rate_limit_exceeded"}});
            let id = answer.response();
            let response = json!({
                "id": id, "status": "failed", "status_details": details, "output": [],
            });
            session.send(&json!({"type": "response.created", "response": response})).await;
            session.send(&json!({"type": "response.done", "response": response})).await;
        }
        Vice::Endless => session.begin(answer).await,
        Vice::Babble => {
            session.send(&json!([1, 2, 3])).await;
            session.send(&json!({"type": "no.such.event", "x": null})).await;
            session.send(&json!({"type": "response.output_audio.delta", "delta": "***"})).await;
            session.send(&error("something_new")).await;
        }
        Vice::Late => {
            session.begin(answer).await;
            session.end(answer, "cancelled").await;
            session.begin(answer).await;
        }
        Vice::Stutter => {
            session.begin(answer).await;
            session.begin(answer).await;
            session.end(answer, "completed").await;
            session.end(answer, "completed").await;
        }
        Vice::None | Vice::Deaf | Vice::Cut | Vice::HalfOpen => {
            session.begin(answer).await;
            session.end(answer, "completed").await;
        }
    }
}

/// Takes what the client says for a while, without minding it; tells whether it has gone.
async fn is_gone(session: &mut Session, after: Duration) -> bool {
    let gone = async { while session.next().await.is_some() {} };
    tokio::time::timeout(after, gone).await.is_ok()
}

async fn hear_a_question(session: &mut Session, number: usize, turn: usize) {
    let item_id = format!("q{number}t{turn}");
    let events: [Value; 4] = [
        json!({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0}),
        json!({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 0}),
        json!({"type": "input_audio_buffer.committed"}),
        json!({
            "type": "conversation.item.input_audio_transcription.completed",
            "content_index": 0, "transcript": question_text(number, turn),
        }),
    ];
    for mut event in events {
        event["item_id"] = item_id.clone().into();
        session.send(&event).await;
    }
}

pub(crate) fn question_text(number: usize, turn: usize) -> String {
    format!("question {turn} of session {number}")
}

pub(crate) fn answer_text(number: usize, turn: usize) -> String {
    format!("this is my answer to question {turn} of session {number}")
}
