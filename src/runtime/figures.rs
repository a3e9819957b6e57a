//! How much there is at one moment, for operators.

use crate::agent::{CallStage, Phase, Snapshot};

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Agents, by state.
    pub agents: [(&'static str, u64); PHASES.len()],
    /// Calls that agents are in, by stage.
    pub calls: [(&'static str, u64); STAGES.len()],
    /// Others that agents have with them in their calls.
    pub participants: u64,
    /// Clients that are connected.
    pub clients: u64,
    /// Agents that are known, and whose tasks are over. There are none, unless a bug of ours has
    /// kept one from its last step.
    pub zombies: u64,
    /// Entries of calls that wait to be written, and places that are kept for the ends of calls.
    pub archive_queue: u64,
    /// Whether new calls are taken, but for their pace and caps.
    pub takes_calls: bool,
    /// Whether the gateway is ready, and not going down.
    pub is_ready: bool,
}

impl Figures {
    /// Of a gateway without agents.
    #[must_use]
    pub fn new(takes_calls: bool, is_ready: bool) -> Self {
        Self {
            agents: PHASES.map(|phase| (phase.as_str(), 0)),
            calls: STAGES.map(|stage| (stage.as_str(), 0)),
            participants: 0,
            clients: 0,
            zombies: 0,
            archive_queue: 0,
            takes_calls,
            is_ready,
        }
    }

    /// And one agent more.
    pub fn add(&mut self, agent: &Snapshot) {
        let one_more = |series: &mut [(&'static str, u64)], word: &str| {
            series.iter_mut().filter(|(name, _)| *name == word).for_each(|(_, count)| *count += 1);
        };
        one_more(&mut self.agents, agent.phase.as_str());
        self.clients += agent.clients as u64;
        if let Some(call) = &agent.call {
            one_more(&mut self.calls, call.stage.as_str());
            self.participants += call.participants.len() as u64;
        }
    }
}

const PHASES: [Phase; 5] =
    [Phase::Created, Phase::Connected, Phase::Active, Phase::HandingOff, Phase::Ended];
const STAGES: [CallStage; 3] = [CallStage::Joining, CallStage::InCall, CallStage::Leaving];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Activity, CallView};
    use crate::ids::CallId;
    use crate::sys::clock;

    #[test]
    fn agents_are_counted_where_they_are() {
        let mut figures = Figures::new(true, true);
        let call = CallView {
            id: CallId::new("call_1"),
            room_url: "rooms/a".into(),
            stage: CallStage::InCall,
            participants: Vec::new(),
            since: clock::now(),
        };
        let phase = Phase::Active;
        let mut agent = Snapshot { phase, activity: Activity::Idle, call: Some(call), clients: 2 };
        figures.add(&agent);
        agent.call = None;
        figures.add(&agent);
        assert_eq!(figures.agents[2], ("active", 2));
        assert_eq!((figures.calls[1], figures.clients), (("in_call", 1), 4));
    }
}
