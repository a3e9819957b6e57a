//! `callbridge load`: many calls over real WebRTC against a gateway, and what they measure.
//!
//! Callers, agents' clients and the model are here, in one process and on one thread; the gateway
//! between them is reached as any outsider reaches it, over HTTP, WebSockets and UDP.

mod agent;
pub mod bare;
mod caller;
mod cost;
mod crowd;
mod dice;
mod failure;
mod figures;
mod house;
mod leg;
mod level;
mod mind;
mod plan;
mod plot;
mod process;
pub mod road;
mod script;
mod table;
mod talk;
mod tally;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use thiserror::Error;
use tokio::net::TcpListener;

use self::agent::Api;
use self::bare::BareError;
use self::crowd::{Ground, Place, Round, local_address};
use self::house::House;
use self::leg::Identity;
use self::mind::Mind;
use self::talk::{Answer, Talk};
use crate::privacy::Secret;
use crate::sys::tls;

pub use self::house::HouseError;
pub use self::mind::MindPlan;
pub use self::plan::{Plan, Shape, Target, Turns};
pub use self::plot::{PlotError, plot};
pub use self::table::table;
pub use self::talk::TalkError;
pub use self::wire::{Cost, Counts, Report, Run, Spread};

/// Why nothing could be measured. That single calls fail is part of the report.
#[derive(Debug, Error)]
pub enum LoadError {
    /// What is said could not be prepared.
    #[error(transparent)]
    Talk(#[from] TalkError),
    /// The callers have no certificate.
    #[error("the callers' certificate cannot be made")]
    Certificate,
    /// The parts alone.
    #[error("the bare parts cannot be measured: {0}")]
    Bare(#[from] BareError),
    /// The built-in model cannot listen.
    #[error("the built-in model cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// There is no HTTP client.
    #[error("no HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The gateway of our own.
    #[error(transparent)]
    House(#[from] HouseError),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The run: so many calls at once.
    pub calls: u32,
    /// Calls that are up or being set up.
    pub live: u32,
    /// Calls that have been held to their end.
    pub done: u32,
    /// Calls that have failed.
    pub failed: u32,
    /// Since the run has begun.
    pub elapsed: Duration,
    /// How long it is going to take, about.
    pub whole: Duration,
}

/// Measures; `progress` is told twice a second how far a run is, and once when the parts alone are
/// measured: nobody calls then.
pub async fn run(
    plan: Plan,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, LoadError> {
    tls::choose_cryptography();
    let ground = Ground {
        talk: Arc::new(Talk::prepare()?),
        identity: Identity::generate().ok_or(LoadError::Certificate)?,
        http: Client::builder().timeout(REQUEST_MAX).pool_max_idle_per_host(IDLE_MAX).build()?,
        plan,
    };
    let mut mind = match ground.plan.target {
        Target::Whip { .. } => None,
        Target::Own { .. } | Target::Gateway { .. } => Some(open_mind(&ground.plan).await?),
    };
    let mut report = Report { about: ground.plan.to_string(), runs: Vec::new() };
    for size in ground.plan.sizes.clone() {
        let before = bare_parts(&ground.plan, size, progress).await?;
        let mut run = run_once(&ground, mind.as_mut(), size, progress).await?;
        let after = bare_parts(&ground.plan, size, progress).await?;
        run.bare_ms_per_call_second = before.zip(after).map(|(a, b)| f64::midpoint(a, b));
        report.runs.push(run);
    }
    Ok(report)
}

/// What the parts alone cost just now at the pace of so many calls, if there is a gateway's cost
/// to set beside it.
async fn bare_parts(
    plan: &Plan,
    calls: u32,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Option<f64>, BareError> {
    let is_steady = matches!(plan.shape, Shape::Steady { .. });
    let is_seen = match plan.target {
        Target::Own { .. } => true,
        Target::Gateway { process, .. } | Target::Whip { process, .. } => process.is_some(),
    };
    if !is_steady || !is_seen || plan.bare.is_zero() {
        return Ok(None);
    }
    progress(Progress { calls, whole: plan.bare, ..Progress::default() });
    Ok(Some(bare::paced(calls, plan.bare).await?))
}

async fn open_mind(plan: &Plan) -> Result<Mind, LoadError> {
    let answer = u64::try_from(plan.mind.answer.as_millis()).unwrap_or(u64::MAX);
    let answer = Answer::of(answer)?;
    let listener = TcpListener::bind(plan.mind_listen).await?;
    Ok(Mind::open(listener, plan.mind, answer)?)
}

async fn run_once(
    ground: &Ground,
    mut mind: Option<&mut Mind>,
    size: u32,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Run, LoadError> {
    let round = Round { size, shape: ground.plan.shape };
    match &ground.plan.target {
        Target::Own { program, log } => {
            let url = mind.as_ref().map(|mind| mind.url()).unwrap_or_default();
            let house = House::open(program, log.as_deref(), &url, &ground.http).await?;
            let place = gateway(ground, house.url(), house.key(), house.process());
            // What the first call of all brings into memory is no call's own.
            let first = crowd::run(ground, &place, mind.as_deref_mut(), FIRST, progress).await;
            let mut run = crowd::run(ground, &place, mind, round, progress).await;
            run.failures.extend(first.failures);
            // What was measured stays so, whatever becomes of the gateway.
            if let Err(error) = house.close().await {
                run.counts.failed += 1;
                run.failures.push(error.to_string());
            }
            Ok(run)
        }
        Target::Gateway { url, key, process } => {
            let place = gateway(ground, url.trim_end_matches('/'), key, *process);
            Ok(crowd::run(ground, &place, mind, round, progress).await)
        }
        Target::Whip { url, token, process } => {
            let (whip, token, bind) = (url.clone(), token.clone(), local_address(url));
            let place = Place { whip, token, bind, api: None, process: *process };
            Ok(crowd::run(ground, &place, None, round, progress).await)
        }
    }
}

fn gateway(ground: &Ground, url: &str, key: &Secret, process: Option<u32>) -> Place {
    let whip = format!("{url}/rooms/load-{{n}}/whip?name=Caller");
    let api = Api {
        http: ground.http.clone(),
        base: url.to_owned(),
        key: key.clone(),
        turns: ground.plan.turns,
        is_greeted: ground.plan.is_greeted,
    };
    Place { bind: local_address(&whip), whip, token: None, api: Some(api), process }
}

/// A call before all others, which nothing is measured of.
const FIRST: Round =
    Round { size: 1, shape: Shape::Series { total: 1, each: Duration::from_secs(3) } };

/// Connections that are kept for the next request; more would count as the gateway's files.
const IDLE_MAX: usize = 2;

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(15);
