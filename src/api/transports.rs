//! Which connections carry a Socket.IO session, so that the end of a session ends them too.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::serve::Cut;
use crate::sys::tasks::{self, Task};

/// Knows the sessions that have ended, and ends their connections. Cheap to clone.
///
/// A session begins with a request of its own, whose connection it knows. But one that began by
/// polling moves to a WebSocket later, by a request that names only the session's id; hence this
/// table, which one task owns.
#[derive(Clone, Debug)]
pub(super) struct Transports {
    reports: mpsc::Sender<Report>,
    _task: Arc<Task>,
}

#[derive(Debug)]
enum Report {
    /// A session has moved to this WebSocket.
    Moved { session: String, cut: Cut },
    /// A session is polled; to be told when the poll is in vain.
    Polled { session: String, in_vain: oneshot::Sender<()> },
    /// A session has ended.
    Ended { session: String, cut: Option<Cut> },
}

impl Transports {
    /// Starts the task that keeps the table.
    pub(super) fn start() -> Self {
        let (reports, inbox) = mpsc::channel(REPORTS_CAPACITY);
        let task = tasks::spawn("transports", Table::default().run(inbox));
        Self { reports, _task: Arc::new(task) }
    }

    /// Notes that a session has moved to the WebSocket on this connection.
    pub(super) async fn moved(&self, session: String, cut: Cut) {
        self.report(Report::Moved { session, cut }).await;
    }

    /// Waits until a session has ended and has had the time to say so: forever, for most polls.
    pub(super) async fn polled_in_vain(&self, session: String) {
        let (in_vain, told) = oneshot::channel();
        self.report(Report::Polled { session, in_vain }).await;
        if told.await.is_err() {
            // A later poll of the same session has taken the place of this one.
            std::future::pending::<()>().await;
        }
    }

    /// Ends a session's connections: the one it moved to, and the one given.
    pub(super) async fn ended(&self, session: String, cut: Option<Cut>) {
        self.report(Report::Ended { session, cut }).await;
    }

    async fn report(&self, report: Report) {
        if self.reports.send(report).await.is_err() {
            tracing::error!("the table of transports is gone; sessions will end by time-out");
        }
    }
}

#[derive(Default)]
struct Table {
    /// The WebSockets that sessions have moved to.
    moved: HashMap<String, Cut>,
    /// The last poll of each session that polls.
    polls: HashMap<String, oneshot::Sender<()>>,
    /// Sessions that have ended and may still say so; the first due first.
    leaving: VecDeque<(Instant, String, Option<Cut>)>,
    /// Sessions that are over, and until when that matters: until Engine.IO gives them up too.
    over: HashMap<String, Instant>,
}

impl Table {
    async fn run(mut self, mut inbox: mpsc::Receiver<Report>) {
        loop {
            let due = self.leaving.front().map(|(due, ..)| *due);
            let next_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = inbox.recv() => match report {
                    Some(report) => self.take(report, Instant::now()),
                    None => return,
                },
                () = next_due => self.end_due(Instant::now()),
            }
        }
    }

    fn take(&mut self, report: Report, now: Instant) {
        match report {
            Report::Moved { session, cut } => {
                if self.moved.len() == self.moved.capacity() {
                    self.moved.retain(|_, cut| !cut.is_over());
                }
                self.moved.insert(session, cut);
            }
            Report::Polled { session, in_vain } => {
                if self.over.get(&session).is_some_and(|until| now < *until) {
                    // Whoever polled may have gone, and then needs no answer.
                    let _gone = in_vain.send(());
                    return;
                }
                if self.polls.len() == self.polls.capacity() {
                    self.polls.retain(|_, in_vain| !in_vain.is_closed());
                }
                self.polls.insert(session, in_vain);
            }
            Report::Ended { session, cut } => {
                self.leaving.push_back((now + FAREWELL, session, cut));
            }
        }
    }

    fn end_due(&mut self, now: Instant) {
        while let Some((_, session, cut)) = self.leaving.pop_front_if(|(due, ..)| *due <= now) {
            for cut in cut.into_iter().chain(self.moved.remove(&session)) {
                cut.now();
            }
            if let Some(in_vain) = self.polls.remove(&session) {
                let _gone = in_vain.send(());
            }
            if self.over.len() == self.over.capacity() {
                self.over.retain(|_, until| now < *until);
            }
            self.over.insert(session, now + SESSION_MEMORY);
        }
    }
}

/// Reports that may wait.
///
/// When full: the reporter waits; the table takes them in microseconds.
const REPORTS_CAPACITY: usize = 64;

/// How long connections stay after their session has ended: its last events leave by them, or are
/// fetched by the next poll, and a client that follows the protocol closes by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long an ended session is known as such: longer than Engine.IO waits for the pong of a
/// client that does not poll any more (25 s between pings, and 20 s for the answer).
const SESSION_MEMORY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_may_say_farewell_before_its_polls_are_in_vain() {
        let transports = Transports::start();
        let began = Instant::now();
        let poll = transports.polled_in_vain("s".into());
        let ended = transports.ended("s".into(), None);
        tokio::join!(poll, ended);
        assert_eq!(began.elapsed().as_secs(), FAREWELL.as_secs());
        let again = Instant::now();
        transports.polled_in_vain("s".into()).await;
        assert!(again.elapsed().is_zero(), "a later poll is answered at once");
    }

    #[tokio::test(start_paused = true)]
    async fn the_polls_of_others_go_on() {
        let transports = Transports::start();
        transports.ended("s".into(), None).await;
        let other = transports.polled_in_vain("t".into());
        assert!(tokio::time::timeout(SESSION_MEMORY, other).await.is_err());
    }
}
