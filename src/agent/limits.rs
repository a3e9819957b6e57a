//! How long an agent waits for anything: no state of it waits without an end.

use std::time::{Duration, Instant};

/// The deadlines of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the last client's going to leaving the call.
    pub client_grace: Duration,
    /// From the wish to join to being in the room.
    pub joining: Duration,
    /// From the wish to leave to being out.
    pub leaving: Duration,
    /// From being in the room to a model that listens.
    pub model_opening: Duration,
    /// From the loss of a model session to another in its place.
    pub model_restoring: Duration,
    /// From the end of a turn, or the last sign of an answer, to the answer's first sound.
    pub answer: Duration,
    /// From the end of speech, by our ear, to the end of the turn, by the model's.
    pub turn_end: Duration,
    /// For sound that may be speech to turn out to be, while the agent is held for it.
    pub hold: Duration,
    /// Of silence while a tool runs, until the agent says that it waits for it.
    pub filler: Duration,
    /// Without any input or speech, until the agent leaves its call.
    pub idle: Duration,
    /// With nobody else in the room, until the agent leaves its call.
    pub alone: Duration,
    /// Without a client and without a call, until the agent ends.
    pub inactive: Duration,
    /// Without a round, until a text session is closed.
    pub text_linger: Duration,
    /// From the wish to end, or to pass on, to silence.
    pub farewell: Duration,
    /// For another agent's conversation to come, once it was announced.
    pub handoff: Duration,
    /// Rounds of thinking that may follow each other without a word from outside.
    pub rounds_max: u32,
    /// For a running turn to end when the process goes down.
    pub shutdown_grace: Duration,
}

/// The moment something happens, and how long things may take from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time<'a> {
    pub(super) now: Instant,
    pub(super) limits: &'a Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_grace: Duration::from_secs(15),
            joining: Duration::from_secs(20),
            leaving: Duration::from_secs(5),
            model_opening: Duration::from_secs(25),
            model_restoring: Duration::from_secs(30),
            answer: Duration::from_secs(20),
            turn_end: Duration::from_secs(10),
            hold: Duration::from_secs(2),
            filler: Duration::from_secs(1),
            idle: Duration::from_secs(5 * 60),
            alone: Duration::from_secs(60),
            inactive: Duration::from_secs(24 * 60 * 60),
            text_linger: Duration::from_secs(60),
            farewell: Duration::from_secs(2),
            handoff: Duration::from_secs(10),
            rounds_max: 25,
            shutdown_grace: Duration::from_secs(30),
        }
    }
}
