//! Who holds the agent: its clients, and for how long there has been none.

use std::collections::BTreeSet;
use std::time::Instant;

use super::command::Deadline;
use super::limits::Limits;
use crate::ids::ClientId;

/// The clients of an agent.
#[derive(Debug)]
pub(super) struct Clients {
    ids: BTreeSet<ClientId>,
    absence: Absence,
}

/// Whether anybody is there, and what follows if nobody comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// Somebody is there.
    None,
    /// The last one has just gone, and may come back.
    Grace { until: Instant },
    /// Nobody is there, and nobody is waited for.
    Long { until: Instant },
}

impl Clients {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self { ids: BTreeSet::new(), absence: Absence::Long { until: now + limits.inactive } }
    }

    pub(super) fn on_connected(&mut self, client: ClientId) {
        self.ids.insert(client);
        self.absence = Absence::None;
    }

    pub(super) fn on_disconnected(&mut self, client: &ClientId, limits: &Limits, now: Instant) {
        if self.ids.remove(client) && self.ids.is_empty() {
            self.absence = Absence::Grace { until: now + limits.client_grace };
        }
    }

    /// A call has come without anybody asking: whoever wants to hold it may come.
    pub(super) fn expect(&mut self, limits: &Limits, now: Instant) {
        if self.ids.is_empty() {
            self.absence = Absence::Grace { until: now + limits.client_grace };
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the last client has been gone for the whole grace period, or none has come yet.
    pub(super) const fn deserted(&self) -> bool {
        matches!(self.absence, Absence::Long { .. })
    }

    /// Whether the agent should end, since nobody has come for it.
    pub(super) fn handle_timeout(&mut self, limits: &Limits, now: Instant) -> bool {
        match self.absence {
            Absence::Grace { until } if until <= now => {
                self.absence = Absence::Long { until: now + limits.inactive };
                false
            }
            Absence::Long { until } => until <= now,
            Absence::Grace { .. } | Absence::None => false,
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Deadline> {
        match self.absence {
            Absence::None => None,
            Absence::Grace { until } => Some((until, "clients may come back")),
            Absence::Long { until } => Some((until, "inactive")),
        }
    }
}
