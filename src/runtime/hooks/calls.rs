//! Calls as they go on, counted for what is told of them at their end.

use std::collections::HashMap;

use super::news::Whose;
use crate::agent::{Participant, TurnLatency};
use crate::ids::CallId;
use crate::store::ArchivedCall;

/// All calls that go on. There are as many as agents at most.
#[derive(Debug, Default)]
pub(super) struct Calls(HashMap<CallId, CallTally>);

/// What was counted of one call.
#[derive(Debug, PartialEq)]
pub(super) struct CallTally {
    pub(super) call: CallId,
    /// The agent that was in it last.
    pub(super) whose: Whose,
    pub(super) room_url: String,
    /// In milliseconds since the Unix epoch.
    pub(super) started_at_ms: u64,
    /// Everybody else who was there at any time, the first of them.
    pub(super) participants: Vec<Participant>,
    pub(super) turns: u64,
    /// Of the turns in which somebody spoke and was answered, the first of them.
    latencies: Vec<TurnLatency>,
}

/// What callers have typically waited for, in milliseconds; `None` where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Medians {
    /// From the end of speech to the first sound of the answer.
    pub(super) total_ms: Option<u64>,
    /// Of that, until the turn was taken as over.
    pub(super) end_of_turn_ms: Option<u64>,
    /// Of that, from then until the model's first sound was here.
    pub(super) model_ms: Option<u64>,
}

impl Calls {
    pub(super) fn begin(&mut self, tally: CallTally) -> &CallTally {
        let call = tally.call.clone();
        self.0.entry(call).insert_entry(tally).into_mut()
    }

    /// A call that goes on, with the agent that is in it.
    pub(super) fn reach(&mut self, call: &CallId, whose: &Whose) -> Option<&mut CallTally> {
        let tally = self.0.get_mut(call)?;
        tally.whose.clone_from(whose);
        Some(tally)
    }

    /// A call that is over.
    pub(super) fn end(&mut self, call: &CallId) -> Option<CallTally> {
        self.0.remove(call)
    }

    /// All that still go on.
    pub(super) fn end_all(&mut self) -> Vec<CallTally> {
        self.0.drain().map(|(_, tally)| tally).collect()
    }
}

impl CallTally {
    pub(super) fn new(call: CallId, whose: Whose, room_url: String, started_at_ms: u64) -> Self {
        let (participants, latencies) = (Vec::new(), Vec::new());
        Self { call, whose, room_url, started_at_ms, participants, turns: 0, latencies }
    }

    /// What the archive knows of a call.
    pub(super) fn of(whose: Whose, call: ArchivedCall) -> Self {
        let ArchivedCall { summary, participants, turns, .. } = call;
        let mut tally = Self::new(summary.id, whose, summary.room_url, summary.started_at_ms);
        for participant in participants {
            tally.join(participant);
        }
        for turn in turns {
            tally.turn(turn.latency());
        }
        tally
    }

    /// Someone came in.
    pub(super) fn join(&mut self, participant: Participant) {
        let is_known = self.participants.iter().any(|one| one.id == participant.id);
        if !is_known && self.participants.len() < PARTICIPANTS_MAX {
            self.participants.push(participant);
        }
    }

    /// A turn is over.
    pub(super) fn turn(&mut self, latency: Option<TurnLatency>) {
        self.turns += 1;
        if self.latencies.len() < LATENCIES_MAX {
            self.latencies.extend(latency);
        }
    }

    pub(super) fn medians(&self) -> Medians {
        let of = |part: fn(&TurnLatency) -> Option<u64>| {
            median(self.latencies.iter().filter_map(part).collect())
        };
        Medians {
            total_ms: of(|latency| Some(latency.total_ms)),
            end_of_turn_ms: of(|latency| latency.end_of_turn_ms),
            model_ms: of(|latency| latency.model_ms),
        }
    }
}

/// The middle one; of two in the middle, the lower.
fn median(mut values: Vec<u64>) -> Option<u64> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable(middle).1)
}

/// Others of a call that are told by name.
const PARTICIPANTS_MAX: usize = 100;

/// Turns of a call that count for its medians: those of ten hours and more.
const LATENCIES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AgentId, ParticipantId, UserId};

    #[test]
    fn a_call_is_counted_from_its_beginning_to_its_end() {
        let mut calls = Calls::default();
        let call = CallId::new("call_1");
        calls.begin(CallTally::new(call.clone(), whose("ag_1"), "rooms/hall".into(), 5));
        for id in ["p_1", "p_2", "p_1"] {
            let tally = calls.reach(&call, &whose("ag_1")).unwrap();
            tally.join(Participant { id: ParticipantId::new(id), name: String::new() });
        }
        for total_ms in [900, 100, 500, 700] {
            let tally = calls.reach(&call, &whose("ag_2")).unwrap();
            tally.turn(Some(TurnLatency {
                total_ms,
                end_of_turn_ms: Some(total_ms / 2),
                model_ms: None,
                uplink_us: None,
                downlink_us: None,
            }));
        }
        calls.reach(&call, &whose("ag_2")).unwrap().turn(None);
        let tally = calls.end(&call).unwrap();
        assert_eq!((tally.participants.len(), tally.turns), (2, 5));
        assert_eq!(tally.whose, whose("ag_2"), "the last agent in it");
        let medians = Medians { total_ms: Some(500), end_of_turn_ms: Some(250), model_ms: None };
        assert_eq!(tally.medians(), medians);
        assert_eq!(calls.end(&call), None);
    }

    #[test]
    fn nobody_who_waited_is_no_median() {
        let tally = CallTally::new(CallId::new("c"), whose("ag_1"), String::new(), 1);
        assert_eq!(tally.medians(), Medians::default());
    }

    fn whose(agent: &str) -> Whose {
        Whose {
            owner: UserId::new("usr_1"),
            agent: AgentId::new(agent),
            agent_name: "Ida".to_owned(),
            user_id: None,
        }
    }
}
