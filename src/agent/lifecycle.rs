//! An agent's life as a table: whatever is not in it cannot happen.
//!
//! ```text
//!              client connected           work began, took over
//!   Created ───────────────────▶ Connected ─────────────────────▶ Active
//!    │ ▲                          │  │  ▲                          │ │ ▲
//!    │ └──────────────────────────┘  │  └──────────────────────────┘ │ │
//!    │          deserted             │            work ended         │ │
//!    │                               ▼                               │ │
//!    │                           HandingOff ◀────────────────────────┘ │
//!    │                              handoff began                      │
//!    └─────────────────────────────────────────────────────────────────┘
//!                                took over
//!   ended: from every phase but Ended, into Ended; nothing leaves it
//! ```

use super::output::Phase;

/// What moves an agent from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first client is there.
    ClientConnected,
    /// A call or a round of thinking has begun.
    WorkBegan,
    /// Nothing is going on.
    WorkEnded,
    /// The last client has been gone for the whole grace period.
    Deserted,
    /// Another agent's call goes on with this one.
    TookOver,
    /// The conversation is to be passed on.
    HandoffBegan,
    /// It is over.
    Ended,
}

/// The phase of an agent, moved by steps alone.
#[derive(Debug)]
pub(super) struct Lifecycle(Phase);

impl Lifecycle {
    pub(super) const fn new() -> Self {
        Self(Phase::Created)
    }

    pub(super) const fn phase(&self) -> Phase {
        self.0
    }

    /// Takes a step if the table has it, and returns the phases before and after.
    pub(super) fn take(&mut self, step: Step) -> Option<(Phase, Phase)> {
        let from = self.0;
        self.0 = next(from, step)?;
        Some((from, self.0))
    }
}

/// The table.
const fn next(phase: Phase, step: Step) -> Option<Phase> {
    match (phase, step) {
        (Phase::Created, Step::ClientConnected) | (Phase::Active, Step::WorkEnded) => {
            Some(Phase::Connected)
        }
        (Phase::Connected, Step::WorkBegan)
        | (Phase::Created | Phase::Connected, Step::TookOver) => Some(Phase::Active),
        (Phase::Connected | Phase::Active, Step::HandoffBegan) => Some(Phase::HandingOff),
        (Phase::Connected, Step::Deserted) => Some(Phase::Created),
        (Phase::Created | Phase::Connected | Phase::Active | Phase::HandingOff, Step::Ended) => {
            Some(Phase::Ended)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 5] =
        [Phase::Created, Phase::Connected, Phase::Active, Phase::HandingOff, Phase::Ended];
    const STEPS: [Step; 7] = [
        Step::ClientConnected,
        Step::WorkBegan,
        Step::WorkEnded,
        Step::Deserted,
        Step::TookOver,
        Step::HandoffBegan,
        Step::Ended,
    ];

    #[test]
    fn the_whole_matrix() {
        let mut matrix = String::new();
        for phase in PHASES {
            for step in STEPS {
                let Some(to) = next(phase, step) else { continue };
                matrix += &format!("{phase:?} --{step:?}--> {to:?}\n");
            }
        }
        insta::assert_snapshot!(matrix, @r"
        Created --ClientConnected--> Connected
        Created --TookOver--> Active
        Created --Ended--> Ended
        Connected --WorkBegan--> Active
        Connected --Deserted--> Created
        Connected --TookOver--> Active
        Connected --HandoffBegan--> HandingOff
        Connected --Ended--> Ended
        Active --WorkEnded--> Connected
        Active --HandoffBegan--> HandingOff
        Active --Ended--> Ended
        HandingOff --Ended--> Ended
        ");
    }

    #[test]
    fn the_protocol_page_draws_the_table_as_it_is() {
        let drawing = drawing();
        let page = include_str!("../../docs/protocol.md");
        assert!(page.contains(&drawing), "docs/protocol.md must contain:\n{drawing}");
    }

    /// The table as a Mermaid diagram, with the phases as clients see them.
    fn drawing() -> String {
        let mut drawing = String::from("```mermaid\nstateDiagram-v2\n    [*] --> created\n");
        for from in PHASES {
            for step in STEPS {
                let Some(to) = next(from, step) else { continue };
                let label = match step {
                    Step::ClientConnected => "a client has connected",
                    Step::WorkBegan => "a call or a thought has begun",
                    Step::WorkEnded => "nothing is going on",
                    Step::Deserted => "no client came back",
                    Step::TookOver => "another agent's call goes on",
                    Step::HandoffBegan => "handoff",
                    Step::Ended => "the end",
                };
                drawing += &format!("    {} --> {}: {label}\n", from.as_str(), to.as_str());
            }
        }
        drawing + "    ended --> [*]\n```\n"
    }

    #[test]
    fn a_step_outside_the_table_changes_nothing() {
        let mut life = Lifecycle::new();
        assert_eq!(life.take(Step::WorkBegan), None);
        assert_eq!(life.phase(), Phase::Created);
        assert_eq!(life.take(Step::Ended), Some((Phase::Created, Phase::Ended)));
        for step in STEPS {
            assert_eq!(life.take(step), None, "{step:?} left Ended");
        }
    }
}
