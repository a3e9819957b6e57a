//! Events on their way to a client, and the ids that things get.

use std::collections::VecDeque;

use crate::models::wire::ServerEvent;
use crate::sys::entropy;

/// Encoded events, oldest first. It is emptied into the socket after every step of a session, and
/// one step makes few events.
#[derive(Debug)]
pub(super) struct Outbox {
    /// What event ids begin with.
    prefix: String,
    count: u64,
    frames: VecDeque<String>,
}

impl Outbox {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { prefix: new_id("event"), count: 0, frames: VecDeque::new() }
    }

    /// Adds an event.
    pub(super) fn push(&mut self, event: &ServerEvent<'_>) {
        self.count += 1;
        let id = format!("{}_{}", self.prefix, self.count);
        self.frames.push_back(event.encode(Some(&id)));
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<String> {
        self.frames.pop_front()
    }
}

/// A new id, in the protocol's manner: what it names, and something random.
pub(super) fn new_id(kind: &str) -> String {
    format!("{kind}_{:020x}", entropy::bits() >> 48)
}
