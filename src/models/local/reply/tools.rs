//! PURE. Which declared tool a sentence asks for, with what, and what came of it.

use serde_json::{Map, Value};

use super::numbers::numbers;
use super::words::{Words, sentence};

/// A tool that the session has declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Tool {
    /// The name it is called by.
    pub(in super::super) name: String,
    /// What it is for.
    pub(in super::super) description: String,
    /// What it takes.
    pub(in super::super) parameters: Vec<Parameter>,
}

/// One thing a tool takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Parameter {
    /// Its name.
    pub(in super::super) name: String,
    /// What it holds.
    pub(in super::super) kind: Kind,
    /// Whether a call without it is no call.
    pub(in super::super) is_required: bool,
}

/// What a parameter holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) enum Kind {
    /// Any text.
    #[default]
    Text,
    /// One of these texts.
    OneOf(Vec<String>),
    /// A whole number, or any number.
    Number,
    /// Yes or no.
    Flag,
}

/// A tool, and as much of what it takes as has been heard.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    /// The tool's name.
    pub(super) name: String,
    arguments: Map<String, Value>,
    /// What must still be asked for.
    missing: Vec<Parameter>,
}

impl Tool {
    /// The tool a sentence asks for: its name's words are there, or two of its description's.
    pub(super) fn asked_for<'a>(tools: &'a [Self], words: &Words<'_>) -> Option<&'a Self> {
        let score = |tool: &Self| {
            let name = telling_words(&tool.name);
            let named = name.iter().filter(|word| is_said(word, words)).count();
            let is_named = named > 0 && named == name.len();
            let described = telling_words(&tool.description);
            let described = described.iter().filter(|word| is_said(word, words)).count();
            let score = if is_named { 10 * named + described } else { described };
            (score >= 2).then_some(score)
        };
        let scored = tools.iter().filter_map(|tool| Some((score(tool)?, tool)));
        // Of equals the first declared wins.
        scored.rev().max_by_key(|(score, _)| *score).map(|(_, tool)| tool)
    }
}

impl Request {
    /// Fills in what the sentence says.
    pub(super) fn new(tool: &Tool, words: &Words<'_>) -> Self {
        let mut request =
            Self { name: tool.name.clone(), arguments: Map::new(), missing: Vec::new() };
        let mut numbers = numbers(words).into_iter();
        for parameter in &tool.parameters {
            let value = match &parameter.kind {
                Kind::Text => text_for(parameter, words)
                    .map(Value::from)
                    .filter(|value| !request.arguments.values().any(|taken| taken == value)),
                Kind::OneOf(options) => option_in(options, words),
                Kind::Number => numbers.next().map(Value::from),
                Kind::Flag => None,
            };
            match value {
                Some(value) => _ = request.arguments.insert(parameter.name.clone(), value),
                None if parameter.is_required => request.missing.push(parameter.clone()),
                None => {}
            }
        }
        request
    }

    /// What must be asked before the tool can be called.
    pub(super) fn question(&self) -> Option<String> {
        self.missing.first().map(|missing| format!("Which {}?", missing.name.replace('_', " ")))
    }

    /// Takes the answer to that question.
    pub(super) fn answer(&mut self, words: &Words<'_>) {
        if self.missing.is_empty() {
            return;
        }
        let parameter = self.missing.remove(0);
        let said = || match text_for(&parameter, words) {
            Some(text) => Some(Value::from(text)),
            None => words.clause(0).map(Value::from),
        };
        let value = match &parameter.kind {
            Kind::Text => said(),
            Kind::OneOf(options) => option_in(options, words).or_else(said),
            Kind::Number => numbers(words).first().map(|number| Value::from(*number)),
            Kind::Flag => Some(Value::from(!words.has_any(&["no", "not", "don't"]))),
        };
        self.arguments.insert(parameter.name, value.unwrap_or(Value::Null));
    }

    /// A JSON object, as text.
    pub(super) fn arguments(self) -> String {
        Value::Object(self.arguments).to_string()
    }
}

/// What came of a tool call, as a sentence.
pub(in super::super) fn outcome(output: &str) -> String {
    let told = match serde_json::from_str::<Value>(output) {
        Ok(value) => told(&value),
        Err(_) => output.trim().to_owned(),
    };
    if told.is_empty() { "That is done.".to_owned() } else { sentence(&told) }
}

fn told(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "Yes".to_owned(),
        Value::Bool(false) => "No".to_owned(),
        Value::Number(number) => format!("It is {number}"),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(part).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            if let Some(error) = fields.get("error") {
                return format!("That did not work: {}", part(error));
            }
            let field = |(name, value): (&String, &Value)| {
                format!("the {} is {}", name.replace(['_', '-'], " "), part(value))
            };
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
    }
}

pub(super) fn part(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string().replace(['"', '{', '}', '[', ']'], ""),
    }
}

/// The words of a name or a description that tell it from others.
fn telling_words(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    for c in text.chars() {
        if c.is_uppercase() {
            spaced.push(' ');
        }
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
    }
    let spaced = spaced.to_lowercase();
    let telling = |word: &&str| word.len() > 1 && !DULL.contains(word);
    let mut words: Vec<String> = spaced.split(' ').filter(telling).map(str::to_owned).collect();
    words.sort();
    words.dedup();
    words
}

/// Whether a word was said, in singular or plural.
fn is_said(word: &str, words: &Words<'_>) -> bool {
    words.plain().any(|said| said == word || stem(said) == stem(word))
}

fn stem(word: &str) -> &str {
    let word = word.strip_suffix("'s").unwrap_or(word);
    word.strip_suffix('s').filter(|stem| stem.len() > 2).unwrap_or(word)
}

fn option_in(options: &[String], words: &Words<'_>) -> Option<Value> {
    let said = |option: &&String| words.find(&option.to_lowercase().replace('_', " ")).is_some();
    options.iter().find(said).map(|option| Value::from(option.as_str()))
}

/// What follows the parameter's own name, or else a word that often stands before a value.
fn text_for(parameter: &Parameter, words: &Words<'_>) -> Option<String> {
    let name = parameter.name.to_lowercase().replace(['_', '-'], " ");
    let cues = [
        name.as_str(),
        "called",
        "named",
        "saying",
        "that",
        "about",
        "in",
        "for",
        "at",
        "to",
        "of",
        "from",
        "on",
    ];
    let value = cues.iter().find_map(|cue| words.clause(words.find(cue)?))?;
    let value = value.strip_prefix("the ").unwrap_or(value);
    let value = TAILS.iter().fold(value, |value, tail| value.strip_suffix(tail).unwrap_or(value));
    (!value.is_empty()).then(|| value.to_owned())
}

/// Words that say nothing about which tool is meant.
const DULL: &[&str] = &[
    "get",
    "set",
    "fetch",
    "find",
    "look",
    "lookup",
    "up",
    "do",
    "make",
    "run",
    "call",
    "tool",
    "function",
    "the",
    "an",
    "of",
    "for",
    "in",
    "at",
    "on",
    "to",
    "by",
    "with",
    "and",
    "or",
    "is",
    "it",
    "this",
    "that",
    "from",
    "given",
    "current",
    "currently",
    "use",
    "used",
    "when",
    "what",
    "user",
    "asks",
    "returns",
    "return",
    "about",
    "you",
    "me",
    "my",
    "your",
    "name",
    "please",
    "can",
    "be",
    "as",
    "are",
    "time",
    "one",
    "some",
    "any",
];
/// What people add behind the value.
const TAILS: &[&str] = &[" please", " today", " right now", " now"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_asked_for_by_its_name_or_by_two_words_of_its_description() {
        let tools = [weather(), lamp()];
        let asked = |text| Tool::asked_for(&tools, &Words::of(text)).map(|tool| &*tool.name);
        assert_eq!(asked("Please tell me the weather in Paris."), Some("get_weather"));
        assert_eq!(asked("Switch the light in the kitchen to blue."), Some("setLamp"));
        assert_eq!(asked("Is there light?"), None);
        assert_eq!(asked("What can you do for me?"), None);
    }

    #[test]
    fn values_follow_their_cues() {
        let heard = |tool: &Tool, text| Request::new(tool, &Words::of(text)).arguments();
        assert_eq!(heard(&weather(), "The weather in New York today?"), r#"{"city":"New York"}"#);
        assert_eq!(heard(&weather(), "Weather for city of Rome, for 3 days"), {
            r#"{"city":"of Rome","days":3}"#
        });
        assert_eq!(heard(&lamp(), "Make the lamp blue"), r#"{"colour":"blue"}"#);
    }

    #[test]
    fn what_was_said_once_is_one_value() {
        let unit = Parameter { name: "unit".into(), ..Parameter::default() };
        let place = Parameter { name: "place".into(), is_required: true, ..Parameter::default() };
        let tool =
            Tool { name: "weather".into(), parameters: vec![place, unit], ..Tool::default() };
        let heard = |text| Request::new(&tool, &Words::of(text)).arguments();
        assert_eq!(heard("What is the weather in Paris?"), r#"{"place":"Paris"}"#);
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let mut request = Request::new(&weather(), &Words::of("Tell me the weather"));
        assert_eq!(request.question().as_deref(), Some("Which city?"));
        request.answer(&Words::of("In Paris, please."));
        assert_eq!((request.question(), &*request.arguments()), (None, r#"{"city":"Paris"}"#));
    }

    #[test]
    fn an_outcome_is_told_in_a_sentence() {
        assert_eq!(outcome("sunny and warm"), "Sunny and warm.");
        assert_eq!(outcome(r#""It rains.""#), "It rains.");
        assert_eq!(
            outcome(r#"{"air_quality":"good","degrees":21}"#),
            "The air quality is good, the degrees is 21."
        );
        assert_eq!(outcome(r#"{"error":"timeout"}"#), "That did not work: timeout.");
        assert_eq!((&*outcome("null"), &*outcome("[1,\"a\"]")), ("That is done.", "1, a."));
    }

    fn weather() -> Tool {
        let city = Parameter { name: "city".into(), is_required: true, ..Parameter::default() };
        let days = Parameter { name: "days".into(), kind: Kind::Number, is_required: false };
        Tool {
            name: "get_weather".into(),
            description: "Get the current weather in a given city".into(),
            parameters: vec![city, days],
        }
    }

    fn lamp() -> Tool {
        let options = Kind::OneOf(vec!["red".into(), "blue".into()]);
        let colour = Parameter { name: "colour".into(), kind: options, is_required: true };
        Tool {
            name: "setLamp".into(),
            description: "Switch a light to a colour".into(),
            parameters: vec![colour],
        }
    }
}
