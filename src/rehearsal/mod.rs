//! A call in simulated time: the real core, the real conversation with a model, real codecs and
//! speech detection, and around them humans, clients and a server that follow a script. Nothing
//! sleeps, nothing is random: an hour passes in seconds, and twice it passes the same way.
//!
//! A script is text, a statement a line, which goes on in the next one after a `\` at its end; what
//! follows `#` is a comment. Times are seconds of the rehearsal, or have their unit (`80ms`, `2s`).
//! The agent joins at 0, and the model's session stands a few network delays of 10 ms later.
//!
//! ```text
//! human 0.5..2.5 "tell me a story"     somebody speaks; a name after `human` makes it another
//! human bob 3.0..4.0 "and me?"           (without a name: ann); text is what is transcribed,
//!                                        `known 3s` after the turn, or `unknown` if it fails
//! noise 5.0 80ms                       a cough, a click; `noise bob 5.0 80ms`
//! gap 5.0..7.0                         no packet comes; `gap bob 5.0..7.0`
//! echo 150ms -12dB                     the first one's microphone hears the agent: how late, loud
//! joins bob 3.0                        comes in later than at 0
//! leaves bob 9.0 "fell silent"         goes, for this reason
//!
//! model audio 10 s "Once upon a time"  the next answer, whatever asks for it. Options behind it:
//!                                        after 300ms   to its first sound
//!                                        speed 5       times faster than it is heard
//!                                        silence 0.5   of its sound before the words
//! model audio 2s "Wait." + tool weather {"city":"Paris"}      several parts in one answer
//! model text "words without sound" | fail CODE | incomplete REASON | hang | nothing
//! model drop 1006 at 4.0               the socket breaks (1006), or closes with this code
//! model half-open at 4.0               it stays open and nothing comes any more
//! model expire at 4.0                  session_expired, and close 1001
//! model error CODE at 4.0              an error event
//! model raw {"type": ".."} at 4.0      whatever event; a number in its `delta` stands for so many
//!                                        bytes of sound
//! model refuse 429 4.0..6.0            no socket can be had in this time
//! model mute 4.0..6.0                  sessions opened in this time never say session.updated
//! model session 300                    how long sessions live; 3600 if nothing is said
//! model manner beta                    the server's events have the names of the first protocol;
//!                                        or: conversation-first, silent-first
//!
//! agent greeting "Hello." | instructions "…" | half-duplex | min-speech 200ms | no-echo-guard
//! agent keeps-silence                  the silence before answers is not left out
//! agent detector earshot               or webrtc: what tells speech from noise
//! agent noise-suppression low          or moderate, or high
//! agent gain-control                   quiet voices are made louder
//! agent turns gateway 500ms            we say when a turn is over; or: turns model {"type": ".."}
//! agent tool weather "What it is for" timeout 5 filler "One moment."
//! tool weather after 1.5 {"c":20}      what a client answers; a text in quotes is a failure
//! at 3.0 client say "…" | interrupt | mute | unmute | leave | delete | disconnect | connect
//! at 3.0 client join | shutdown        the room again, after a call; the process goes down
//! at 3.0 client tells "…" | asks "…"   news; `asks` wants an answer
//! until 12.0                           the end; 5 s after the last thing unless said
//! ```
//!
//! The timeline that comes out has one line for each thing, with its second: what clients are
//! told; `->` what the model is told, `->2` on its second socket, and what it refuses; `sound` and
//! `silence` as the humans hear the agent.

mod agent;
mod answer;
mod human;
mod manner;
mod script;
mod server;
mod session;
mod stage;
mod timeline;
mod words;

use std::time::{Duration, Instant};

pub use manner::Manner;
pub use script::{
    Answer, Ask, Echo, Fault, Outage, OutageKind, Part, Person, Script, ScriptError, Spoken,
    ToolReply,
};
pub use timeline::Timeline;

use crate::media::{CodecError, Manners};
use stage::Stage;

/// Those who are heard in a rehearsal.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Speech at 24 kHz without long pauses, of which what humans say is cut.
    pub human: Vec<i16>,
    /// The same of the agent; other words, or its echo could not be told from what humans say.
    pub agent: Vec<i16>,
    /// What the first human says, in place of the script's lines.
    pub recorded: Option<Recorded>,
}

/// A human who was recorded before. When they hang up, the rehearsal ends.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What they say, at 24 kHz.
    pub samples: Vec<i16>,
    /// When they begin, and when they hang up.
    pub manners: Manners,
}

/// A rehearsal that is over.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// What has happened.
    pub timeline: Timeline,
    /// How long it would have taken.
    pub lasted: Duration,
    /// What a recorded human has heard of the agent, at 24 kHz, from second 0 on; of others,
    /// nothing.
    pub heard: Vec<i16>,
}

/// Plays a script from beginning to end. `start` is the instant of its second 0.
pub fn rehearse(script: Script, cast: Cast, start: Instant) -> Result<Rehearsed, CodecError> {
    Ok(Stage::new(script, cast, start)?.play())
}
