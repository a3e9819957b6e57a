//! What is to be measured: how many calls, for how long, against whom, and how callers behave.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::mind::MindPlan;
use super::road::RoadConfig;
use crate::privacy::Secret;

/// A measurement.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to call.
    pub target: Target,
    /// How many calls at once; each number is a run of its own.
    pub sizes: Vec<u32>,
    /// What a run is.
    pub shape: Shape,
    /// How many calls begin each second.
    pub ramp: f64,
    /// So long after the last call has begun, figures are taken.
    pub warm_up: Duration,
    /// How long the parts alone are measured before a run, and as long after it; never if zero.
    pub bare: Duration,
    /// Of a hundred answers, so many are spoken over.
    pub barge_in_percent: f64,
    /// Whether callers send nothing while they are silent.
    pub dtx: bool,
    /// Whether the agent speaks first.
    pub is_greeted: bool,
    /// The network between callers and gateway, each way; none is as good as loopback.
    pub road: Option<RoadConfig>,
    /// How the built-in model behaves.
    pub mind: MindPlan,
    /// Where the built-in model listens.
    pub mind_listen: SocketAddr,
    /// Who takes turns.
    pub turns: Turns,
    /// The same seed gives the same conversations.
    pub seed: u64,
}

/// Whom to call.
#[derive(Clone, Debug)]
pub enum Target {
    /// A gateway of our own, a child process of this program.
    Own {
        /// The program; it is called with `serve`.
        program: PathBuf,
        /// Where it logs to; with its throw-away folder unless given.
        log: Option<PathBuf>,
    },
    /// A gateway that runs, and whose model is the built-in one.
    Gateway {
        /// Such as `http://127.0.0.1:8080`.
        url: String,
        /// Of its API.
        key: Secret,
        /// Its process, if what it costs is to be measured.
        process: Option<u32>,
    },
    /// Any WHIP endpoint that answers; `{n}` in it becomes the call's number.
    Whip {
        /// The endpoint.
        url: String,
        /// Its token.
        token: Option<Secret>,
        /// The process behind it, if what it costs is to be measured.
        process: Option<u32>,
    },
}

/// What a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many calls, which last until the end of the run.
    Steady {
        /// From the end of the warm-up on.
        duration: Duration,
    },
    /// One call after another, as many as there are at once.
    Series {
        /// How many in all.
        total: u32,
        /// How long each lasts.
        each: Duration,
    },
}

/// Who decides when a caller's turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// The model's server.
    Model,
    /// The gateway.
    Gateway,
}

impl fmt::Display for Plan {
    /// What is measured, on what, so that nobody has to guess how a table came about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if cfg!(debug_assertions) { "unoptimised" } else { "optimised" };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        write!(f, "callbridge {}, {build}, {cores} cores with", env!("CARGO_PKG_VERSION"))?;
        write!(f, " callers and model on the same; ")?;
        match self.shape {
            Shape::Steady { duration } => write!(f, "{duration:?} once all calls are up")?,
            Shape::Series { total, each } => write!(f, "{total} calls of {each:?} in a row")?,
        }
        let MindPlan { think, answer, speed } = self.mind;
        let pace =
            if speed > 0.0 { format!("{speed} times as fast") } else { "at once".to_owned() };
        write!(f, "; answers of {answer:?} after {think:?}, sent {pace}")?;
        write!(f, ", {} % of them spoken over", self.barge_in_percent)?;
        match self.turns {
            Turns::Model => write!(f, "; turns by the model")?,
            Turns::Gateway => write!(f, "; turns by the gateway")?,
        }
        if let Some(road) = &self.road {
            write!(f, "; the network each way: {road:?}")?;
        }
        write!(f, "; seed {}.", self.seed)
    }
}
