//! What a check has found: one line for people, one object for programs.

use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was checked.
    pub(super) check: String,
    /// How it stands.
    pub(super) state: State,
    /// What was seen.
    pub(super) seen: String,
}

/// How a thing stands; what is not well carries what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// As it should be.
    Fine,
    /// A gateway runs like this, though not for everybody or not for long.
    Warning { remedy: String },
    /// A gateway does not run like this.
    Failed { remedy: String },
}

impl Finding {
    pub(super) fn fine(check: &str, seen: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state: State::Fine, seen: seen.into() }
    }

    pub(super) fn warning(check: &str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        let state = State::Warning { remedy: remedy.into() };
        Self { check: check.to_owned(), state, seen: seen.into() }
    }

    pub(super) fn failed(check: &str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        let state = State::Failed { remedy: remedy.into() };
        Self { check: check.to_owned(), state, seen: seen.into() }
    }

    /// What `work` finds, or that it has found nothing in time.
    pub(super) async fn within(
        check: &str,
        limit: Duration,
        work: impl Future<Output = Self>,
    ) -> Self {
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let seen = format!("no answer within {} s", limit.as_secs());
            Self::failed(check, seen, "see what holds this machine up, and try again")
        })
    }

    pub(super) const fn is_failed(&self) -> bool {
        matches!(self.state, State::Failed { .. })
    }

    /// One line for people, whatever line ends the words of others hold.
    pub(super) fn line(&self) -> String {
        let remedy = self.remedy().map_or_else(String::new, |remedy| format!(" -> {remedy}"));
        let line = format!("{:<8} {:<16} {}{remedy}", self.word(), self.check, self.seen);
        line.replace(['\n', '\r'], " ")
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "check": self.check,
            "state": self.word(),
            "seen": self.seen,
            "remedy": self.remedy(),
        })
    }

    const fn word(&self) -> &'static str {
        match self.state {
            State::Fine => "ok",
            State::Warning { .. } => "warning",
            State::Failed { .. } => "failed",
        }
    }

    fn remedy(&self) -> Option<&str> {
        match &self.state {
            State::Fine => None,
            State::Warning { remedy } | State::Failed { remedy } => Some(remedy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_its_remedy() {
        let finding = Finding::failed("http", "taken\nby others", "stop them");
        assert_eq!(finding.line(), "failed   http             taken by others -> stop them");
        assert_eq!(Finding::fine("cpu", "2").line(), "ok       cpu              2");
    }

    #[test]
    fn a_program_reads_the_same() {
        let warning = Finding::warning("ice", "loopback", "set listen").json();
        let wanted = json!({
            "check": "ice", "state": "warning", "seen": "loopback", "remedy": "set listen",
        });
        assert_eq!(warning, wanted);
        assert_eq!(Finding::fine("cpu", "2").json()["remedy"], Value::Null);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_has_failed() {
        let hanging = std::future::pending();
        let finding = Finding::within("database", Duration::from_secs(5), hanging).await;
        assert!(finding.is_failed());
        assert_eq!(finding.seen, "no answer within 5 s");
    }
}
