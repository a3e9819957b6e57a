//! One session of the server in memory: its settings, its ear, and what it has said.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::answer::{Answering, Step};
use crate::media::Frame24k;

/// One session on one socket.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) turns: Option<Turns>,
    pub(super) is_mute: bool,
    pub(super) is_half_open: bool,
    pub(super) clock_ms: u64,
    pub(super) loud_ms: u64,
    quiet_ms: u64,
    /// The utterance that is being heard.
    pub(super) hearing: Option<String>,
    pub(super) last_item: Option<String>,
    /// How much of each item was sent, in milliseconds.
    pub(super) sent_ms: BTreeMap<String, u64>,
    pub(super) items: BTreeSet<String>,
    pub(super) active: Option<Answering>,
}

/// `turn_detection` of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    silence_ms: u64,
    pub(super) creates: bool,
    pub(super) interrupts: bool,
}

/// What a session hears.
pub(super) enum Edge {
    Started { at_ms: u64 },
    Stopped,
}

impl Session {
    pub(super) fn new(is_mute: bool) -> Self {
        Self {
            turns: None,
            is_mute,
            is_half_open: false,
            clock_ms: 0,
            loud_ms: 0,
            quiet_ms: 0,
            hearing: None,
            last_item: None,
            sent_ms: BTreeMap::new(),
            items: BTreeSet::new(),
            active: None,
        }
    }

    pub(super) fn configure(&mut self, input: &Value) {
        let detection = &input["turn_detection"];
        self.turns = detection.is_object().then(|| Turns {
            silence_ms: detection["silence_duration_ms"].as_u64().unwrap_or(500),
            creates: detection["create_response"].as_bool().unwrap_or(true),
            interrupts: detection["interrupt_response"].as_bool().unwrap_or(true),
        });
    }

    pub(super) fn hear(&mut self, frame: &Frame24k) -> Option<Edge> {
        self.clock_ms += 20;
        let turns = self.turns?;
        let is_loud = frame.level() > LOUD;
        if self.hearing.is_none() {
            self.loud_ms =
                if is_loud { self.loud_ms + 20 } else { self.loud_ms.saturating_sub(10) };
            if self.loud_ms < ONSET_MS {
                return None;
            }
            (self.loud_ms, self.quiet_ms) = (0, 0);
            return Some(Edge::Started { at_ms: self.clock_ms.saturating_sub(ONSET_MS + 300) });
        }
        self.quiet_ms = if is_loud { 0 } else { self.quiet_ms + 20 };
        (self.quiet_ms >= turns.silence_ms).then_some(Edge::Stopped)
    }

    /// Sound that the script has put in counts as well.
    pub(super) fn count(&mut self, raw: &str) {
        let event: Value = serde_json::from_str(raw).unwrap_or_default();
        if let (Some("response.output_audio.delta"), Some(item), Some(delta)) =
            (event["type"].as_str(), event["item_id"].as_str(), event["delta"].as_str())
        {
            let bytes = delta.len() as u64 / 4 * 3;
            *self.sent_ms.entry(item.to_owned()).or_default() += bytes / BYTES_PER_MS;
        }
    }

    /// One step of an answer, if that is still being given.
    pub(super) fn step(&mut self, response: &str, step: &Step, voice: &[i16]) -> Option<String> {
        let active = self.active.as_ref().filter(|active| active.response == response)?;
        match step {
            Step::Item { id, .. } => {
                self.items.insert(id.clone());
                self.last_item = Some(id.clone());
            }
            Step::Sound { item, ms, .. } => *self.sent_ms.entry(item.clone()).or_default() += ms,
            Step::Words { .. } | Step::Part(_) | Step::Done { .. } => {}
        }
        let text = active.text_of(step, voice);
        if matches!(step, Step::Done { .. }) {
            self.active = None;
        }
        Some(text)
    }
}

/// Of sound, as it is in events once it is no base64 any more.
const BYTES_PER_MS: u64 = 48;

/// What the server's ear takes for voice, and for how long until it says so.
const LOUD: u32 = 250;
const ONSET_MS: u64 = 180;
