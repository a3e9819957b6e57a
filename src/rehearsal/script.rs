//! A scenario as text becomes a script: who speaks when, what the model answers, what goes wrong.
//! The language is told in `src/rehearsal/mod.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::agent;
use super::manner::Manner;
use super::words::{Line, lines, number, range, seconds};
use crate::agent::AgentSpec;

/// Everything that happens in a rehearsal and is not decided by what is rehearsed.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The agent.
    pub agent: AgentSpec,
    /// Who is in the room, and when; the first is the one that lines without a name mean.
    pub people: Vec<Person>,
    /// What the model answers, one answer after another.
    pub answers: Vec<Answer>,
    /// What happens to the model's sockets, and when.
    pub faults: Vec<(Duration, Fault)>,
    /// When nobody gets a socket or a session, and how.
    pub outages: Vec<Outage>,
    /// How long a session of the model lives.
    pub session: Option<Duration>,
    /// How the server differs from the one that the others imitate.
    pub manner: Manner,
    /// What clients answer to tools, by name.
    pub tools: BTreeMap<String, ToolReply>,
    /// What clients ask, and when.
    pub asks: Vec<(Duration, Ask)>,
    /// What comes back of the agent's voice through the first person's microphone.
    pub echo: Option<Echo>,
    /// When the rehearsal ends, if the script says so.
    pub until: Option<Duration>,
}

/// Someone in the room.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// Its name, which is its id as well.
    pub name: String,
    /// When it comes in.
    pub joins: Duration,
    /// When it goes, and why.
    pub leaves: Option<(Duration, String)>,
    /// What it says, in order.
    pub lines: Vec<Spoken>,
    /// When it coughs or clicks, and for how long.
    pub noises: Vec<(Duration, Duration)>,
    /// From when to when nothing comes of it.
    pub gaps: Vec<(Duration, Duration)>,
}

/// One thing that someone says.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
    /// Its words.
    pub text: String,
    /// How long after the turn they are known as text; `None` if they never are.
    pub known_after: Option<Duration>,
}

/// One answer of the model.
#[derive(Clone, Debug)]
pub struct Answer {
    /// From the end of the turn to the first sign of the answer.
    pub after: Duration,
    /// How many times faster than it is heard sound comes.
    pub speed: u32,
    /// What it is made of.
    pub parts: Vec<Part>,
}

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Part {
    /// Sound and its words.
    Audio {
        /// How long, the silence included.
        lasts: Duration,
        /// How much silence it begins with.
        silence: Duration,
        /// What is said.
        text: String,
    },
    /// Words without sound.
    Text(String),
    /// A wish to run a tool.
    Tool {
        /// Its name.
        name: String,
        /// Its arguments, as JSON.
        arguments: String,
    },
    /// The answer fails, with this code.
    Fail(String),
    /// The answer stops short, for this reason.
    Incomplete(String),
    /// Nothing comes any more, not even an end.
    Hang,
}

/// What happens to a socket that stands.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It closes, with this code; 1006 is without a goodbye.
    Close(u16),
    /// Nothing comes of it any more, and it does not close.
    HalfOpen,
    /// The server says that the session is over, and closes.
    Expire,
    /// The server complains, with this code.
    Error(String),
    /// The server says this, whatever it is.
    Raw(String),
}

/// A time in which no session can be had.
#[derive(Clone, Debug)]
pub struct Outage {
    /// From when.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
    /// How that shows.
    pub kind: OutageKind,
}

/// How a server that gives no session behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageKind {
    /// It refuses, with this HTTP status.
    Refuse(u16),
    /// It takes the connection, and never `session.update`.
    Mute,
}

/// What becomes of a tool call.
#[derive(Clone, Debug)]
pub struct ToolReply {
    /// How long it takes.
    pub after: Duration,
    /// Its result as JSON, or what went wrong.
    pub outcome: Result<String, String>,
}

/// What a client asks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Say this.
    Say(String),
    /// Stop what you are at.
    Interrupt,
    /// Say nothing, or speak again.
    Mute(bool),
    /// Something has happened; answer if it is `triggering`.
    Context {
        /// In plain words.
        text: String,
        /// Whether the agent may answer.
        triggering: bool,
    },
    /// Join the call, again.
    Join,
    /// Leave the call.
    Leave,
    /// End for good.
    Delete,
    /// The client's connection breaks.
    Disconnect,
    /// Another client comes.
    Connect,
    /// The process is going down.
    Shutdown,
}

/// A microphone that hears the loudspeaker.
#[derive(Clone, Copy, Debug)]
pub struct Echo {
    /// How late.
    pub delay: Duration,
    /// How loud, as a factor.
    pub gain: f32,
}

/// A line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the scenario: {reason}")]
pub struct ScriptError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl Script {
    /// Reads a scenario.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self::default();
        script.agent.name = "Ida".into();
        script.agent.voice_enabled = true;
        for (line, text) in lines(text) {
            let wrong = |reason| ScriptError { line, reason };
            let mut words = Line::read(&text).map_err(wrong)?;
            if !words.is_empty() {
                script.take(&mut words).map_err(wrong)?;
                words.expect_end().map_err(wrong)?;
            }
        }
        if script.people.is_empty() {
            script.person(FIRST);
        }
        Ok(script)
    }

    /// When everything in the script has happened, with some time for what follows from it.
    #[must_use]
    pub fn end(&self) -> Duration {
        let spoken = self.people.iter().flat_map(|person| {
            let lines = person.lines.iter().map(|spoken| spoken.to);
            let gone = person.leaves.iter().map(|(at, _)| *at);
            lines.chain(person.noises.iter().map(|(at, _)| *at)).chain(gone)
        });
        let faults = self.faults.iter().map(|(at, _)| *at);
        let asks = self.asks.iter().map(|(at, _)| *at);
        let last = spoken.chain(faults).chain(asks).max().unwrap_or_default();
        self.until.unwrap_or(last + AFTERMATH)
    }

    fn take(&mut self, words: &mut Line) -> Result<(), String> {
        match words.word()?.as_str() {
            "human" => self.take_human(words),
            "noise" => {
                let person = self.named(words);
                let (at, lasts) = (seconds(&words.word()?)?, seconds(&words.word()?)?);
                self.people[person].noises.push((at, lasts));
                Ok(())
            }
            "gap" => {
                let person = self.named(words);
                let gap = range(&words.word()?)?;
                self.people[person].gaps.push(gap);
                Ok(())
            }
            "joins" => {
                let person = self.named(words);
                self.people[person].joins = seconds(&words.word()?)?;
                Ok(())
            }
            "leaves" => {
                let person = self.named(words);
                let at = seconds(&words.word()?)?;
                let reason = words.quoted().unwrap_or_else(|| "left".into());
                self.people[person].leaves = Some((at, reason));
                Ok(())
            }
            "echo" => {
                let delay = seconds(&words.word()?)?;
                let decibels = words.word()?;
                let decibels = number(decibels.strip_suffix("dB").ok_or("echo in dB")?)?;
                #[expect(clippy::cast_possible_truncation, reason = "a factor")]
                let gain = 10_f64.powf(decibels / 20.0) as f32;
                self.echo = Some(Echo { delay, gain });
                Ok(())
            }
            "model" => self.take_model(words),
            "tool" => self.take_tool(words),
            "agent" => agent::take(&mut self.agent, words),
            "at" => {
                let at = seconds(&words.word()?)?;
                words.keyword("client")?;
                let ask = ask(words)?;
                self.asks.push((at, ask));
                Ok(())
            }
            "until" => {
                self.until = Some(seconds(&words.word()?)?);
                Ok(())
            }
            other => Err(format!("no line begins with {other:?}")),
        }
    }

    fn take_human(&mut self, words: &mut Line) -> Result<(), String> {
        let person = self.named(words);
        let (from, to) = range(&words.word()?)?;
        let text = words.quoted().unwrap_or_default();
        let known_after = match words.name().as_deref() {
            None => Some(TRANSCRIBING),
            Some("known") => Some(seconds(&words.word()?)?),
            Some("unknown") => None,
            Some(other) => return Err(format!("what is said has no {other:?}")),
        };
        let lines = &mut self.people[person].lines;
        if lines.last().is_some_and(|before| before.to > from) {
            return Err("nobody says two things at once".into());
        }
        lines.push(Spoken { from, to, text, known_after });
        Ok(())
    }

    fn take_model(&mut self, words: &mut Line) -> Result<(), String> {
        let first = words.word()?;
        let fault = match first.as_str() {
            "drop" | "close" => Fault::Close(words.parsed()?),
            "half-open" => Fault::HalfOpen,
            "expire" => Fault::Expire,
            "error" => Fault::Error(words.word()?),
            "raw" => Fault::Raw(words.json().ok_or("what does it say?")?),
            "refuse" | "mute" => {
                let kind = match first.as_str() {
                    "refuse" => OutageKind::Refuse(words.parsed()?),
                    _ => OutageKind::Mute,
                };
                let (from, to) = range(&words.word()?)?;
                self.outages.push(Outage { from, to, kind });
                return Ok(());
            }
            "session" => {
                self.session = Some(seconds(&words.word()?)?);
                return Ok(());
            }
            "manner" => {
                self.manner = match words.word()?.as_str() {
                    "beta" => Manner::Beta,
                    "conversation-first" => Manner::ConversationFirst,
                    "silent-first" => Manner::SilentFirst,
                    other => return Err(format!("no server is {other:?}")),
                };
                return Ok(());
            }
            _ => {
                let answer = answer(&first, words)?;
                self.answers.push(answer);
                return Ok(());
            }
        };
        words.keyword("at")?;
        self.faults.push((seconds(&words.word()?)?, fault));
        Ok(())
    }

    fn take_tool(&mut self, words: &mut Line) -> Result<(), String> {
        let name = words.word()?;
        words.keyword("after")?;
        let after = seconds(&words.word()?)?;
        let outcome = match words.json() {
            Some(json) => Ok(json),
            None => Err(words.quoted().ok_or("a result as JSON, or a fault in quotes")?),
        };
        self.tools.insert(name, ToolReply { after, outcome });
        Ok(())
    }

    /// The person that the next word names, or the first.
    fn named(&mut self, words: &mut Line) -> usize {
        let name = words.name();
        match name {
            Some(name) => self.person(&name),
            None if self.people.is_empty() => self.person(FIRST),
            None => 0,
        }
    }

    fn person(&mut self, name: &str) -> usize {
        let known = self.people.iter().position(|person| person.name == name);
        known.unwrap_or_else(|| {
            self.people.push(Person { name: name.to_owned(), ..Person::default() });
            self.people.len() - 1
        })
    }
}

fn answer(first: &str, words: &mut Line) -> Result<Answer, String> {
    let mut answer = Answer { after: THINKING, speed: SPEED, parts: Vec::new() };
    let mut kind = first.to_owned();
    loop {
        answer.parts.push(match kind.as_str() {
            "audio" => {
                let mut lasts = words.word()?;
                lasts.push_str(&words.unit());
                let lasts = seconds(&lasts)?;
                let text = words.quoted().unwrap_or_default();
                Part::Audio { lasts, silence: Duration::ZERO, text }
            }
            "text" => Part::Text(words.quoted().ok_or("which text?")?),
            "tool" => Part::Tool {
                name: words.word()?,
                arguments: words.json().unwrap_or_else(|| "{}".into()),
            },
            "fail" => Part::Fail(words.word()?),
            "incomplete" => Part::Incomplete(words.word()?),
            "nothing" => return Ok(answer),
            "hang" => Part::Hang,
            other => return Err(format!("a model does not {other:?}")),
        });
        while let Some(option) = words.name() {
            match option.as_str() {
                "after" => answer.after = seconds(&words.word()?)?,
                "speed" => answer.speed = words.parsed()?,
                "silence" => {
                    let before = seconds(&words.word()?)?;
                    if let Some(Part::Audio { silence, .. }) = answer.parts.last_mut() {
                        *silence = before;
                    }
                }
                other => return Err(format!("an answer has no {other:?}")),
            }
        }
        if !words.plus() {
            return Ok(answer);
        }
        kind = words.word()?;
    }
}

fn ask(words: &mut Line) -> Result<Ask, String> {
    Ok(match words.word()?.as_str() {
        "say" => Ask::Say(words.quoted().ok_or("say what?")?),
        "interrupt" => Ask::Interrupt,
        "mute" => Ask::Mute(true),
        "unmute" => Ask::Mute(false),
        "tells" => Ask::Context { text: words.quoted().ok_or("what?")?, triggering: false },
        "asks" => Ask::Context { text: words.quoted().ok_or("what?")?, triggering: true },
        "join" => Ask::Join,
        "leave" => Ask::Leave,
        "delete" => Ask::Delete,
        "disconnect" => Ask::Disconnect,
        "connect" => Ask::Connect,
        "shutdown" => Ask::Shutdown,
        other => return Err(format!("a client does not {other:?}")),
    })
}

/// Whom lines without a name mean.
const FIRST: &str = "ann";

/// From the end of a turn to the first sound, as good servers have it.
const THINKING: Duration = Duration::from_millis(300);

/// How much faster than it is heard sound usually comes.
const SPEED: u32 = 5;

/// From the end of a turn to its words.
const TRANSCRIBING: Duration = Duration::from_millis(300);

/// What is waited for after the last thing in the script.
const AFTERMATH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whole_or_refused_by_its_number() {
        for (line, reason) in [
            ("human 0.5..2.5 \"a\" more", "has no \"more\""),
            ("human 2..1", "ends before it begins"),
            ("human 1..2\nhuman 1.5..3", "nobody says two things at once"),
            ("model drop 1006", "\"at\" is missing"),
            ("model audio ten \"a\"", "is no number"),
            ("model sings", "a model does not \"sings\""),
            ("agent bored", "an agent has no \"bored\""),
            ("human 1..2 \"a", "a quote is open"),
            ("weather", "no line begins with"),
        ] {
            let told = Script::parse(&format!("# first\n{line}")).expect_err(line).to_string();
            assert!(told.contains(reason), "{line}: {told}");
            assert!(told.starts_with(&format!("line {}", 1 + line.lines().count())), "{told}");
        }
    }

    #[test]
    fn an_answer_may_have_several_parts_and_options() {
        let script = "model audio 10 s \"Wait.\" after 1 silence 500ms + tool look {\"a\": \"}\"}";
        let script = Script::parse(script).expect("an answer");
        let answer = &script.answers[0];
        assert_eq!((answer.after, answer.speed), (Duration::from_secs(1), SPEED));
        let [Part::Audio { lasts, silence, .. }, Part::Tool { arguments, .. }] = &answer.parts[..]
        else {
            panic!("{answer:?}")
        };
        assert_eq!(lasts.as_millis(), 10_000);
        assert_eq!((silence.as_millis(), arguments.as_str()), (500, r#"{"a": "}"}"#));
    }

    #[test]
    fn whoever_has_no_name_is_the_first() {
        let script = Script::parse("human 1..2 \"a\"\nhuman bob 3..4 \"b\"\nnoise 5 80ms").unwrap();
        let names: Vec<_> = script.people.iter().map(|person| person.name.as_str()).collect();
        assert_eq!(names, ["ann", "bob"]);
        assert_eq!(script.people[0].noises.len(), 1);
        assert_eq!(script.end(), Duration::from_secs(10));
    }
}
