//! A life lived again: a journal's stimuli go through a core like the one that wrote it, as fast as
//! the machine allows, and everything must come out again, word by word and bit by bit.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::digest;
use super::wire::{End, Entry, Epoch, Header, VERSION};
use crate::ids::AgentId;
use crate::media::SileroModel;
use crate::runtime::core::{Core, Effect, Heritage, Stimulus};
use crate::sys::clock;

/// One journal, on its way through a core.
#[derive(Debug)]
pub struct Replay {
    agent: AgentId,
    core: Core,
    epoch: Epoch,
    made_ns: u64,
    lines: Lines<BufReader<File>>,
    line: usize,
    directory: PathBuf,
    /// How many conversations were taken over between the first journal that was opened and this.
    depth: u32,
    silero: Option<SileroModel>,
}

/// One thing that happened, and what came of it then and what comes of it in this replay.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The line of the journal, from 1.
    pub line: usize,
    /// Since the agent was made.
    pub at: Duration,
    /// What was to be done, as recorded.
    pub recorded: Vec<String>,
    /// What is to be done, as replayed.
    pub replayed: Vec<String>,
    text: String,
}

/// A replay that has come to its end, or to the first difference.
#[derive(Debug)]
pub struct Summary {
    /// Whose life it was.
    pub agent: AgentId,
    /// How long it was.
    pub span: Duration,
    /// How many things happened.
    pub inputs: usize,
    /// How many things were to be done.
    pub outputs: usize,
    /// Why the journal ended; `None` if it breaks off, as one does whose process was killed.
    pub end: Option<String>,
    /// Where the replay differs first.
    pub difference: Option<Difference>,
}

/// Where a replay goes another way than the life it replays.
#[derive(Debug)]
pub struct Difference(pub Moment);

/// Why a journal cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It cannot be read at all.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is no journal of callbridge")]
    Foreign {
        /// The file.
        path: String,
    },
    /// Another program has written it, in a form of its own.
    #[error("the journal's form is version {found}, and this program reads version {VERSION}")]
    Version {
        /// The version it has.
        found: u64,
    },
    /// A line makes no sense; if it is the last one, the file was cut short.
    #[error("line {line} of the journal is cut short or broken: {reason}")]
    Broken {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent has taken over from one whose journal is needed and cannot be had.
    #[error(
        "line {line} takes a conversation over, and the journal it comes from is missing: {what}"
    )]
    NoPredecessor {
        /// The line, from 1.
        line: usize,
        /// What is missing.
        what: String,
    },
}

impl Replay {
    /// Opens a journal. Those of agents before it in the same conversation are read from beside it.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        Self::open_with(path, None)
    }

    /// The same, with the model of the detector `silero`, which an agent may have heard by.
    pub fn open_with(path: &Path, silero: Option<SileroModel>) -> Result<Self, ReplayError> {
        Self::open_at(path, Epoch(clock::now()), 0, silero)
    }

    /// Replays all of it, or up to the first difference. Each moment is shown to `watch`.
    pub fn run(mut self, mut watch: impl FnMut(&Moment)) -> Result<Summary, ReplayError> {
        let mut summary = Summary {
            agent: self.agent.clone(),
            span: Duration::ZERO,
            inputs: 0,
            outputs: 0,
            end: None,
            difference: None,
        };
        loop {
            match self.step()? {
                Step::Lived(moment, _) => {
                    watch(&moment);
                    summary.inputs += 1;
                    summary.outputs += moment.replayed.len();
                    summary.span = moment.at;
                    if moment.recorded != moment.replayed {
                        summary.difference = Some(Difference(moment));
                        return Ok(summary);
                    }
                }
                Step::Ended(end) => return Ok(Summary { end, ..summary }),
            }
        }
    }

    fn open_at(
        path: &Path,
        epoch: Epoch,
        depth: u32,
        silero: Option<SileroModel>,
    ) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let unreadable = |source| ReplayError::Unreadable { path: name.clone(), source };
        let mut lines = BufReader::new(File::open(path).map_err(unreadable)?).lines();
        let foreign = || ReplayError::Foreign { path: name.clone() };
        let first = lines.next().ok_or_else(foreign)?.map_err(|_| foreign())?;
        let known: Value = serde_json::from_str(&first).map_err(|_| foreign())?;
        let found = known["callbridge_journal"].as_u64().ok_or_else(foreign)?;
        if found != u64::from(VERSION) {
            return Err(ReplayError::Version { found });
        }
        let header: Header = serde_json::from_str(&first)
            .map_err(|error| ReplayError::Broken { line: 1, reason: error.to_string() })?;
        let core = Core::new(header.seed(silero.clone(), epoch), epoch.at(header.made_ns));
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let (agent, made_ns) = (header.agent, header.made_ns);
        Ok(Self { agent, core, epoch, made_ns, lines, line: 1, directory, depth, silero })
    }

    fn step(&mut self) -> Result<Step, ReplayError> {
        self.line += 1;
        let Some(text) = self.lines.next() else { return Ok(Step::Ended(None)) };
        let text = text.map_err(|error| self.broken(&error))?;
        if text.starts_with(END_OPENS) {
            let End { end } = serde_json::from_str(&text).map_err(|error| self.broken(&error))?;
            return Ok(Step::Ended(Some(end)));
        }
        let entry: Entry = serde_json::from_str(&text).map_err(|error| self.broken(&error))?;
        let Entry { at_ns, input, outputs: recorded } = entry;
        let stimulus = match input.stimulus(self.epoch, self.epoch.at(at_ns)) {
            Ok(stimulus) => stimulus,
            Err(from) => Stimulus::TakenOver(self.predecessor(from)?),
        };
        let (replayed, heritage) = self.live(stimulus, at_ns);
        let at = Duration::from_nanos(at_ns.saturating_sub(self.made_ns));
        let moment = Moment { line: self.line, at, recorded, replayed, text };
        Ok(Step::Lived(moment, heritage))
    }

    fn live(&mut self, stimulus: Stimulus, at_ns: u64) -> (Vec<String>, Option<Box<Heritage>>) {
        let is_asked = matches!(stimulus, Stimulus::Command(_));
        let outcome = self.core.handle(stimulus, self.epoch.at(at_ns));
        let answer = is_asked.then(|| digest::of_outcome(&outcome));
        let mut replayed: Vec<String> = answer.into_iter().collect();
        let mut heritage = None;
        while let Some(effect) = self.core.poll_effect() {
            replayed.push(digest::of_effect(&effect));
            if let Effect::HandOver(own) = effect {
                heritage = Some(own);
            }
        }
        (replayed, heritage)
    }

    /// What another agent hands over, by its own journal.
    fn predecessor(&self, from: Option<String>) -> Result<Box<Heritage>, ReplayError> {
        let missing = |what: String| ReplayError::NoPredecessor { line: self.line, what };
        let file = from.ok_or_else(|| missing("it was not written".to_owned()))?;
        if self.depth >= DEPTH_MAX || Path::new(&file).file_name().is_none_or(|name| *name != *file)
        {
            return Err(missing(format!("{file:?} is none that could be followed")));
        }
        let path = self.directory.join(&file);
        let told = |error: ReplayError| missing(error.to_string());
        let (epoch, silero) = (self.epoch, self.silero.clone());
        let mut before = Self::open_at(&path, epoch, self.depth + 1, silero).map_err(told)?;
        loop {
            match before.step().map_err(told)? {
                Step::Lived(_, Some(heritage)) => return Ok(heritage),
                Step::Lived(_, None) => {}
                Step::Ended(_) => return Err(missing(format!("{file} hands nothing over"))),
            }
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> ReplayError {
        ReplayError::Broken { line: self.line, reason: error.to_string() }
    }
}

/// How far one step has come.
enum Step {
    Lived(Moment, Option<Box<Heritage>>),
    Ended(Option<String>),
}

impl Moment {
    /// What has happened, in at most `columns` signs.
    #[must_use]
    pub fn input(&self, columns: usize) -> String {
        let inside = self.text.split_once(r#""in":"#).map_or("", |(_, inside)| inside);
        let inside = inside.split_once(r#","out":["#).map_or(inside, |(input, _)| input);
        let mut short: String = inside.trim_end_matches('}').chars().take(columns).collect();
        if short.chars().count() == columns {
            short.push('…');
        }
        short
    }
}

/// How every last line begins, and no other.
const END_OPENS: &str = r#"{"end""#;

/// Conversations that may have been taken over one from another.
const DEPTH_MAX: u32 = 64;
