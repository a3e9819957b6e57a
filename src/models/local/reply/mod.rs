//! PURE. What to say to what was heard: rules, in order, the first that fits.

mod calendar;
mod context;
mod heard;
mod messenger;
mod numbers;
mod tools;
mod words;

use jiff::civil::DateTime;

use context::Context;
use heard::{Heard, newest};
pub(super) use messenger::Messenger;
use numbers::{numbers, spelt, sum};
use tools::Request;
pub(super) use tools::{Kind, Parameter, Tool, outcome};
pub(super) use words::sentences;
use words::{Words, sentence};

/// What the mind does about a sentence.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// Say this.
    Say(String),
    /// Call a tool the session has declared.
    Call {
        /// Its name.
        name: String,
        /// A JSON object, as text.
        arguments: String,
    },
    /// Nothing was heard, so nothing is said.
    Nothing,
}

/// What one session remembers. Another session's mind knows nothing of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Mind {
    name: Option<String>,
    /// Who spoke last, where that was told.
    speaker: Option<String>,
    heard: Option<String>,
    /// What was added to the conversation and is not answered.
    unanswered: Option<String>,
    said: Option<String>,
    context: Context,
    /// A tool that waits for the answer to our question.
    request: Option<Request>,
}

impl Mind {
    /// Answers a sentence that was heard. `now` is local time.
    pub(super) fn answer(&mut self, heard: &str, now: DateTime, tools: &[Tool]) -> Reply {
        self.react(&Heard::aloud(heard), now, tools)
    }

    /// Answers a text that was written, or what is told of one; of several, the newest.
    pub(super) fn read(&mut self, text: &str, now: DateTime, tools: &[Tool]) -> Reply {
        self.react(&Heard::read(newest(text)), now, tools)
    }

    /// Takes in what was added to the conversation, without an answer.
    pub(super) fn learn(&mut self, role: Option<&str>, text: &str) {
        match role {
            Some("assistant") => self.said = Some(text.to_owned()),
            Some("system") => {
                self.context.tell(text);
                let words = Words::of(text);
                if let Some(place) = words.find_any(TOLD_NAME_CUES) {
                    self.name = name_at(&words, place).or(self.name.take());
                }
            }
            Some("user") => {
                let heard = Heard::read(text);
                let words = Words::of(heard.text);
                if let Some(place) = words.find_any(NAME_CUES) {
                    self.name = name_at(&words, place).or(self.name.take());
                }
                if let Some(before) = self.unanswered.replace(heard.text.to_owned()) {
                    self.heard = Some(before);
                }
            }
            Some(_) | None => {}
        }
    }

    fn react(&mut self, heard: &Heard<'_>, now: DateTime, tools: &[Tool]) -> Reply {
        let words = Words::of(heard.text);
        if words.len() == 0 {
            return Reply::Nothing;
        }
        self.speaker = heard.speaker.map(str::to_owned);
        let reply = match self.request.take() {
            Some(mut request) => {
                request.answer(&words);
                self.ask_or_call(request)
            }
            None => self.reply(&words, now, tools, heard.is_said),
        };
        self.heard = Some(heard.text.trim().to_owned());
        self.unanswered = None;
        if let Reply::Say(text) = &reply {
            self.said = Some(text.clone());
        }
        reply
    }

    fn reply(&mut self, words: &Words<'_>, now: DateTime, tools: &[Tool], is_said: bool) -> Reply {
        if let Some(text) = self.echo(words) {
            return Reply::Say(sentence(&text));
        }
        if let Some(tool) = Tool::asked_for(tools, words) {
            return self.ask_or_call(Request::new(tool, words));
        }
        let greeting = words.plain().next().filter(|word| GREETINGS.contains(word));
        let answer = self.fact(words, now);
        Reply::Say(match (greeting, answer) {
            (Some(_), Some(answer)) => format!("Hello. {answer}"),
            (Some(_), None) if words.len() <= SHORT => match &self.name {
                Some(name) => format!("Hello, {name}."),
                None => "Hello. How can I help you?".to_owned(),
            },
            (None, Some(answer)) => answer,
            (_, None) => {
                let start = if is_said { "You said" } else { "Noted" };
                format!("{start}: {}", sentence(words.from(0).unwrap_or_default()))
            }
        })
    }

    fn ask_or_call(&mut self, request: Request) -> Reply {
        match request.question() {
            Some(question) => {
                self.request = Some(request);
                Reply::Say(question)
            }
            None => Reply::Call { name: request.name.clone(), arguments: request.arguments() },
        }
    }

    /// What is to be said word for word.
    fn echo(&self, words: &Words<'_>) -> Option<String> {
        if words.has_any(&["say that again", "repeat that", "what did you say"]) {
            return Some(self.said.clone().unwrap_or_else(|| "I have said nothing yet".to_owned()));
        }
        if let Some(place) = words.find_any(&["repeat after me", "say after me"]) {
            return words.from(place).map(str::to_owned);
        }
        let order = words.plain().position(|word| !POLITE.contains(&word))?;
        let is_order =
            words.plain().nth(order).is_some_and(|word| ["say", "repeat"].contains(&word));
        words.from(order + 1).filter(|_| is_order).map(str::to_owned)
    }

    fn fact(&mut self, words: &Words<'_>, now: DateTime) -> Option<String> {
        self.farewell(words)
            .or_else(|| self.names(words))
            .or_else(|| self.spelling(words))
            .or_else(|| self.count(words))
            .or_else(|| sum(words))
            .or_else(|| time_or_date(words, now))
            .or_else(|| self.context.answer(words))
            .or_else(|| self.heard_before(words))
            .or_else(|| words.has_any(HELP).then(|| HELP_TEXT.to_owned()))
            .or_else(|| words.has_any(&["thank you", "thanks"]).then(|| "You are welcome.".into()))
    }

    fn farewell(&self, words: &Words<'_>) -> Option<String> {
        words.has_any(&["goodbye", "good bye", "bye", "bye-bye", "hang up"]).then(|| {
            match &self.name {
                Some(name) => format!("Goodbye, {name}."),
                None => "Goodbye.".to_owned(),
            }
        })
    }

    fn names(&mut self, words: &Words<'_>) -> Option<String> {
        if words.has_any(&["what is my name", "what's my name", "who am i", "remember my name"]) {
            return Some(match self.name.as_ref().or(self.speaker.as_ref()) {
                Some(name) => format!("Your name is {name}."),
                None => "You have not told me your name.".to_owned(),
            });
        }
        let told = words.find_any(NAME_CUES);
        let is_name = |place: &usize| is_capital(words, *place);
        let place = told.or_else(|| words.find_any(&["i am", "i'm"]).filter(is_name))?;
        let name = name_at(words, place)?;
        self.name = Some(name.clone());
        Some(format!("Nice to meet you, {name}."))
    }

    fn spelling(&self, words: &Words<'_>) -> Option<String> {
        let place = words.find("spell")?;
        let is_filler = |word: &&str| ["the", "word", "name"].contains(word);
        let skipped = words.plain().skip(place).take_while(is_filler).count();
        let word = if words.has_any(&["spell my name"]) {
            self.name.as_deref()?
        } else {
            words.spoken(place + skipped)?
        };
        let letters = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase);
        let letters: Vec<String> = letters.map(String::from).collect();
        Some(format!("{}.", letters.join(", ")))
    }

    fn count(&self, words: &Words<'_>) -> Option<String> {
        if words.has_any(&["how many words", "count the words", "count my words"]) {
            let given =
                words.find_any(&["words in", "words of"]).and_then(|place| words.from(place));
            let counted = given.or(self.heard.as_deref()).unwrap_or_default();
            let number = i64::try_from(Words::of(counted).len()).unwrap_or(i64::MAX);
            let noun = if number == 1 { "word" } else { "words" };
            return Some(format!("That is {} {noun}.", spelt(number)));
        }
        words.find("count")?;
        let last = *numbers(words).last().filter(|last| **last > 0)?;
        let first = match numbers(words)[..] {
            [first, last] if first < last => first,
            _ => 1,
        };
        let counted: Vec<i64> = (first..=last).take(COUNT_MAX).collect();
        let groups = counted.chunks(10).map(|group| {
            let numbers: Vec<String> = group.iter().map(|number| spelt(*number)).collect();
            sentence(&numbers.join(", "))
        });
        Some(groups.collect::<Vec<_>>().join(" "))
    }

    fn heard_before(&self, words: &Words<'_>) -> Option<String> {
        words.has_any(&["what did i say", "what have i said"]).then(|| match &self.heard {
            Some(heard) => format!("You said: {}", sentence(heard)),
            None => "You have said nothing yet.".to_owned(),
        })
    }
}

/// The text that instructions ask for word for word: `Say exactly: "…"`.
pub(super) fn dictated(instructions: &str) -> Option<&str> {
    let text = instructions.trim().strip_prefix("Say exactly:")?.trim();
    Some(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text))
}

/// What is said when an answer is asked for before anyone has spoken.
pub(super) const OPENING: &str = "Hello. How can I help you?";

fn time_or_date(words: &Words<'_>, now: DateTime) -> Option<String> {
    if words.has_any(&["what time", "the time", "what's the time"]) {
        return Some(calendar::time(now));
    }
    words
        .has_any(&["what day", "what date", "the date", "today's date", "which day"])
        .then(|| calendar::date(now))
}

/// The name at a place, of one word or two.
fn name_at(words: &Words<'_>, place: usize) -> Option<String> {
    let name = capital(words.spoken(place)?);
    let has_more = words.clause(place).is_some_and(|clause| clause.contains(' '));
    if !has_more || !is_capital(words, place + 1) {
        return Some(name);
    }
    Some(format!("{name} {}", words.spoken(place + 1).unwrap_or_default()))
}

fn is_capital(words: &Words<'_>, place: usize) -> bool {
    let first = words.spoken(place).and_then(|word| word.chars().next());
    first.is_some_and(char::is_uppercase)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

const GREETINGS: &[&str] = &["hello", "hi", "hey"];
const NAME_CUES: &[&str] = &["my name is", "my name's", "call me"];
/// How a name is told of somebody else.
const TOLD_NAME_CUES: &[&str] = &["my name is", "user's name is", "caller's name is"];
const POLITE: &[&str] = &["please", "can", "could", "would", "you", "now", "then", "and", "ok"];
const HELP: &[&str] = &["help", "what can you do", "what do you do"];
const HELP_TEXT: &str = "I can tell the time and the date. I can repeat what you say, count, \
                         spell, do sums, and remember your name.";
/// So many words are a greeting and nothing else.
const SHORT: usize = 3;
/// Nobody waits for more.
const COUNT_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_get_their_answers() {
        for (heard, said) in [
            (
                "Hello. What time is it?",
                "Hello. It is now forty-two minutes past three in the afternoon.",
            ),
            ("What day is it today?", "Today is Sunday, the twenty-second of November."),
            ("Repeat after me, the quick brown fox.", "The quick brown fox."),
            ("Please say good evening", "Good evening."),
            ("Can you spell the word cat?", "C, A, T."),
            ("Count to three.", "One, two, three."),
            ("Count from nine to twelve", "Nine, ten, eleven, twelve."),
            ("Count the words in the quick brown fox.", "That is four words."),
            ("What is six times seven?", "That is forty-two."),
            ("Thank you. Goodbye.", "Goodbye."),
            ("Hi there!", "Hello. How can I help you?"),
            ("What can you do?", HELP_TEXT),
            ("I like green tea", "You said: I like green tea."),
            ("Hello, my dog can dance.", "You said: Hello, my dog can dance."),
        ] {
            assert_eq!(Mind::default().answer(heard, now(), &[]), say(said), "{heard}");
        }
    }

    #[test]
    fn a_name_is_remembered_by_one_mind_alone() {
        let mut mind = Mind::default();
        let mut hear = |text| mind.answer(text, now(), &[]);
        assert_eq!(hear("What is my name?"), say("You have not told me your name."));
        assert_eq!(hear("Hello, my name is Alice."), say("Hello. Nice to meet you, Alice."));
        assert_eq!(hear("I am hungry"), say("You said: I am hungry."));
        assert_eq!(hear("What is my name?"), say("Your name is Alice."));
        assert_eq!(hear("Spell my name"), say("A, L, I, C, E."));
        assert_eq!(hear("I'm Bob Ray, really"), say("Nice to meet you, Bob Ray."));
        assert_eq!(hear("Bye"), say("Goodbye, Bob Ray."));
    }

    #[test]
    fn what_is_told_of_a_message_is_answered_as_the_message() {
        for (told, said) in [
            (
                "new-message: Ann wrote: what time is it?",
                "It is now forty-two minutes past three in the afternoon.",
            ),
            ("new-message: Ann wrote: \"What is six times seven?\"", "That is forty-two."),
            ("new-message: Ann wrote: I like tea", "You said: I like tea."),
            ("new-message: Ann wrote: what is my name?", "Your name is Ann."),
            (
                "user-asked: Somebody wants to know what time it is",
                "It is now forty-two minutes past three in the afternoon.",
            ),
            ("card-played: Ann played a 7", "Noted: Ann played a 7."),
        ] {
            assert_eq!(Mind::default().read(told, now(), &[]), say(said), "{told}");
        }
    }

    #[test]
    fn what_was_added_to_the_conversation_is_remembered() {
        let mut mind = Mind::default();
        mind.learn(Some("system"), r#"{"topic":"cats"}"#);
        mind.learn(Some("user"), "new-message: Ann wrote: my name is Alice");
        mind.learn(Some("assistant"), "Nice to meet you.");
        mind.learn(Some("user"), "What did I say?");
        assert_eq!(mind.read("What did I say?", now(), &[]), say("You said: My name is Alice."));
        let mut read = |text| mind.read(text, now(), &[]);
        assert_eq!(read("What is my name?"), say("Your name is Alice."));
        assert_eq!(read("What is the topic?"), say("The topic is cats."));
        mind.learn(Some("system"), "So far: the user's name is Bob.");
        assert_eq!(mind.read("Who am I?", now(), &[]), say("Your name is Bob."));
    }

    #[test]
    fn it_knows_what_was_said_before() {
        let mut mind = Mind::default();
        let mut hear = |text| mind.answer(text, now(), &[]);
        hear("The moon is round");
        assert_eq!(hear("How many words was that?"), say("That is four words."));
        assert_eq!(hear("Repeat that, please."), say("That is four words."));
        assert_eq!(hear("What did I say?"), say("You said: Repeat that, please."));
    }

    #[test]
    fn a_declared_tool_comes_before_what_the_mind_knows_itself() {
        let tool = Tool { name: "tell_clock".into(), ..Tool::default() };
        let tool = Tool { description: "What time is it on the clock".into(), ..tool };
        let reply = Mind::default().answer("Tell me what the clock says", now(), &[tool]);
        let arguments = "{}".to_owned();
        assert_eq!(reply, Reply::Call { name: "tell_clock".into(), arguments });
    }

    #[test]
    fn a_tool_without_its_value_is_called_after_the_question() {
        let city = Parameter { name: "city".into(), is_required: true, ..Parameter::default() };
        let tool = Tool { name: "get_weather".into(), parameters: vec![city], ..Tool::default() };
        let tools = [tool];
        let mut mind = Mind::default();
        assert_eq!(mind.answer("How is the weather?", now(), &tools), say("Which city?"));
        let arguments = r#"{"city":"Paris"}"#.to_owned();
        let call = Reply::Call { name: "get_weather".into(), arguments };
        assert_eq!(mind.answer("Paris", now(), &tools), call);
    }

    #[test]
    fn silence_is_not_answered() {
        assert_eq!(Mind::default().answer(" ... ", now(), &[]), Reply::Nothing);
    }

    #[test]
    fn a_long_count_is_many_sentences_and_ends() {
        let Reply::Say(text) = Mind::default().answer("Count to 1000000.", now(), &[]) else {
            panic!("it counts");
        };
        assert_eq!(sentences(&text).len(), 10);
        assert!(text.ends_with("one hundred."));
    }

    #[test]
    fn dictation_is_taken_word_for_word() {
        assert_eq!(dictated("Say exactly: \"Hi. I am \"Ada\".\""), Some("Hi. I am \"Ada\"."));
        assert_eq!(dictated("Say exactly: hello"), Some("hello"));
        assert_eq!(dictated("Be friendly."), None);
    }

    fn now() -> DateTime {
        jiff::civil::date(2026, 11, 22).at(15, 42, 0, 0)
    }

    fn say(text: &str) -> Reply {
        Reply::Say(text.to_owned())
    }
}
