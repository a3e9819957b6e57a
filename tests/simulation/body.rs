//! One agent with what stands around it: takes one input at a time, and is checked after each.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use callbridge::agent::{
    Activity, Agent, AgentSpec, Command, Event, Limits, ModelEvent, Notification, Phase,
};
use callbridge::ids::{AgentId, ToolCallId};

use super::landmarks::landmark;
use super::random::Random;
use super::reference::Reference;
use super::shell::{Manners, Shell};
use super::watch::{Records, Watch};

/// An agent under test.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) id: AgentId,
    pub(crate) owner: u64,
    pub(crate) user: Option<u64>,
    pub(crate) agent: Agent,
    pub(crate) shell: Shell,
    pub(crate) watch: Watch,
    pub(crate) reference: Reference,
    drains: bool,
}

/// One input of the core.
#[derive(Debug)]
pub(crate) enum Input {
    Command(Command),
    Event(Event),
    Timeout,
}

/// What all agents share.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) step: usize,
    pub(crate) random: Random,
    pub(crate) manners: Manners,
    pub(crate) records: Records,
    /// The landmarks that were reached.
    pub(crate) reached: BTreeSet<&'static str>,
    /// The latest lines, if anybody is to read them.
    pub(crate) log: Option<VecDeque<String>>,
}

impl Around {
    fn write(&mut self, line: impl FnOnce() -> String) {
        let Some(log) = &mut self.log else { return };
        let at = self.now.duration_since(self.start).as_millis();
        if log.len() == LINES_KEPT {
            log.pop_front();
        }
        log.push_back(format!("{:>6} {at:>9} ms  {}", self.step, line()));
    }
}

impl Body {
    pub(crate) fn new(
        id: AgentId,
        spec: AgentSpec,
        limits: Limits,
        expires: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            watch: Watch::new(id.clone(), limits.rounds_max),
            id,
            owner: 0,
            user: None,
            shell: Shell::default(),
            reference: Reference::new(spec.clone(), limits.clone(), expires, now),
            agent: Agent::new(spec.into(), limits.into(), expires, now),
            drains: false,
        }
    }

    /// Gives the agent one input, and what that brings about, as the runtime does.
    ///
    /// Returns whether it was taken: a command may be refused.
    pub(crate) fn feed(&mut self, input: Input, around: &mut Around) -> bool {
        let is_taken = self.take(input, around);
        while let Some(event) = self.shell.born.pop_front() {
            if self.shell.exit.is_some() {
                break;
            }
            self.take(Input::Event(event), around);
        }
        self.check_truth();
        is_taken
    }

    fn take(&mut self, input: Input, around: &mut Around) -> bool {
        around.write(|| format!("{} <- {input:?}", self.id));
        let now = around.now;
        let mut is_taken = true;
        let is_timeout = matches!(input, Input::Timeout);
        match input {
            Input::Command(command) => is_taken = self.command(command, now),
            Input::Event(event) => self.event(event, now),
            Input::Timeout => {
                self.reference.on_timeout(now);
                self.agent.handle_timeout(now);
                let next = self.agent.poll_timeout();
                assert!(next.is_none_or(|(at, _)| at > now), "past its deadline: {next:?}");
            }
        }
        self.drain(around);
        let hold = Limits::default().hold;
        let is_overdue = self.shell.held.is_some_and(|since| since + hold <= now);
        assert!(!is_timeout || !is_overdue, "a voice is held for ever");
        let is = self.agent.snapshot();
        self.reference.check(&is, self.watch.activity, now);
        let is_ending = self.reference.is_parting() || (self.drains && self.reference.is_in());
        if !is_ending {
            self.watch.check(&is);
        }
        self.check_tools();
        is_taken
    }

    fn command(&mut self, command: Command, now: Instant) -> bool {
        let before = (self.agent.snapshot(), self.agent.poll_timeout());
        let wanted = self.reference.on_command(&command, now);
        if wanted.is_ok() {
            self.watch.on_command(&command);
            if let Command::ToolResult(result) = &command
                && self.watch.open_tools().any(|open| *open == result.id)
            {
                self.watch.close_tool(&result.id);
            }
        }
        let is_interrupt = matches!(command, Command::Interrupt | Command::SetMuted(true));
        let answer = self.agent.handle_command(command, now);
        assert_eq!(answer.map_err(|refusal| refusal.code()), wanted, "the answer to a command");
        if wanted.is_err() {
            let after = (self.agent.snapshot(), self.agent.poll_timeout());
            assert_eq!(after, before, "a refused command changes nothing");
            assert_eq!(self.agent.poll_output(), None, "a refused command does nothing");
        }
        self.shell.must_be_quiet = is_interrupt && wanted.is_ok();
        wanted.is_ok()
    }

    fn event(&mut self, event: Event, now: Instant) {
        let is_wanted = match &event {
            Event::Model(ModelEvent::ToolCall { response, .. }) => self.shell.wants(response),
            _ => false,
        };
        self.drains |= event == Event::Shutdown;
        self.reference.on_event(&event, is_wanted, now);
        self.watch.on_event(&event);
        self.agent.handle_event(event, now);
    }

    fn drain(&mut self, around: &mut Around) {
        let slow = around.manners.voice_is_slow && !self.drains;
        let manners = Manners { voice_is_slow: slow, ..around.manners };
        while let Some(output) = self.agent.poll_output() {
            around.write(|| format!("{}    -> {output:?}", self.id));
            around.reached.extend(landmark(&output));
            self.watch.see(&output, &mut around.records);
            self.shell.perform(output, manners, around.now, &mut around.random);
        }
        if std::mem::take(&mut self.shell.must_be_quiet) {
            assert!(!self.shell.is_answering(), "an interrupt lets an answer go on");
            assert!(self.shell.voice.is_empty(), "an interrupt lets the agent speak on");
        }
    }

    /// The open tools are those that the clients were told of, and those that must be.
    fn check_tools(&self) {
        let told: Vec<&ToolCallId> = self.watch.open_tools().collect();
        assert_eq!(told, self.reference.open_tools().collect::<Vec<_>>(), "the open tools");
        let is: Vec<_> = self.agent.open_tool_calls().filter_map(id_of).collect();
        assert_eq!(told, is, "the tools that a client would be told of when it comes back");
    }

    /// What clients see of the agent's work is what its model and its voice do.
    fn check_truth(&self) {
        let is_settled = self.shell.late.is_empty() && !self.drains;
        if !is_settled || self.reference.is_parting() || self.agent.phase() == Phase::Ended {
            return;
        }
        let (told, shell) = (self.watch.activity, &self.shell);
        if self.watch.open_tools().next().is_some() {
            return assert_eq!(told, Activity::Acting, "a tool runs");
        }
        self.check_room();
        if self.reference.is_in() {
            assert_eq!(told == Activity::Acting, shell.is_heard(), "acting is to be heard");
            let has_cause = shell.is_answering() || shell.is_awaited() || !shell.voice.is_empty();
            assert!(told != Activity::Thinking || has_cause, "nobody thinks");
        } else {
            let is_broken_off = shell.mind.as_ref().is_some_and(|mind| mind.answer.is_some());
            let is_at_work = shell.is_answering() || shell.is_opening();
            let is_told = told != Activity::Idle;
            assert!(is_told || !is_at_work, "somebody thinks, and nobody knows");
            assert!(!is_told || is_at_work || is_broken_off, "nobody thinks");
        }
    }
}

impl Body {
    /// A model listens where somebody is, and where nobody has come yet; an empty room costs
    /// nothing.
    fn check_room(&self) {
        let Some(room) = self.shell.room.as_ref().filter(|_| self.reference.is_in()) else {
            return;
        };
        let has_mind = self.shell.mind.is_some();
        assert!(has_mind || room.others.is_empty(), "nobody listens to those who are there");
        assert!(!has_mind || !room.others.is_empty() || !room.had_others, "an empty room costs");
    }
}

fn id_of(told: &Notification) -> Option<&ToolCallId> {
    match told {
        Notification::ToolCall { id, .. } => Some(id),
        _ => None,
    }
}

/// How much is printed of what went before a failure.
const LINES_KEPT: usize = 120;
