//! What the agent has been told and has said, across its rounds and calls; bounded.

use std::collections::VecDeque;

use super::Outputs;
use super::command::{ContextUpdate, Rejection};
use super::output::{ModelAction, Output, Role};
use crate::privacy::Pii;

/// The conversation so far, and the news that the model has not been given yet.
#[derive(Debug, Default, PartialEq)]
pub(super) struct History {
    /// What a model has heard of, oldest first.
    told: VecDeque<Said>,
    told_bytes: usize,
    /// What it has still to hear of, in order.
    news: VecDeque<Said>,
    news_bytes: usize,
    images: Vec<Pii<String>>,
    /// The state of the client's world: each event replaces the one before it.
    state: Option<Pii<String>>,
    state_is_news: bool,
}

/// One thing that was told or said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) by: Speaker,
    pub(super) text: Pii<String>,
}

/// Who has said it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Speaker {
    /// A client: it has told an event, or a tool's late result.
    Client,
    /// Someone in a call, by name.
    Participant(String),
    /// The agent itself.
    Agent,
}

impl History {
    /// Takes in what a client tells; the model hears of it with the next [`Self::give`].
    pub(super) fn tell(&mut self, update: ContextUpdate) -> Result<(), Rejection> {
        let ContextUpdate { name, description, context_json, images, .. } = update;
        let text = match description.expose().as_str() {
            "" => name,
            description => format!("{name}: {description}"),
        };
        if self.news.len() >= NEWS_MAX || self.news_bytes + text.len() > NEWS_BYTES_MAX {
            return Err(Rejection::QueueFull);
        }
        self.add_news(Pii::new(text));
        if !images.is_empty() {
            self.images = images;
        }
        let state = Some(context_json).filter(|json| json.expose() != "{}");
        self.state_is_news |= self.state != state;
        self.state = state;
        Ok(())
    }

    /// Takes in something that the model must hear of and that nobody could refuse.
    pub(super) fn add_news(&mut self, text: Pii<String>) {
        self.news_bytes += text.expose().len();
        self.news.push_back(Said { by: Speaker::Client, text });
    }

    /// Takes in what the model has heard or said itself.
    pub(super) fn note(&mut self, by: Speaker, text: Pii<String>) {
        if text.expose().trim().is_empty() {
            return;
        }
        self.told_bytes += text.expose().len();
        self.told.push_back(Said { by, text });
        while self.told_bytes > TOLD_BYTES_MAX && self.told.len() > 1 {
            let gone = self.told.pop_front().map_or(0, |said| said.text.expose().len());
            self.told_bytes -= gone;
        }
    }

    pub(super) fn has_news(&self) -> bool {
        self.state_is_news || !self.news.is_empty() || !self.images.is_empty()
    }

    /// Gives a model that has just opened all that has been so far, and the news.
    pub(super) fn give_all(&mut self, outputs: &mut Outputs) {
        if !self.told.is_empty() {
            let lines = self.told.iter().map(Said::line).collect::<Vec<_>>().join("\n");
            let text = Pii::new(format!("The conversation so far:\n{lines}"));
            outputs.push_back(add(Role::System, text));
        }
        self.state_is_news = self.state.is_some();
        self.give(outputs);
    }

    /// Gives the model the news: the state, then what has happened, in order.
    pub(super) fn give(&mut self, outputs: &mut Outputs) {
        if std::mem::take(&mut self.state_is_news) {
            let state = self.state.as_ref().map_or("{}", |state| state.expose());
            let text = Pii::new(format!("The current state: {state}"));
            outputs.push_back(add(Role::System, text));
        }
        let images = std::mem::take(&mut self.images).into_iter();
        outputs.extend(images.map(|url| Output::Model(ModelAction::AddImage { url })));
        let news = std::mem::take(&mut self.news);
        self.news_bytes = 0;
        let skipped = surplus(&news);
        let lines = news.iter().skip(skipped).map(|said| said.text.expose().as_str());
        let text = lines.collect::<Vec<_>>().join("\n");
        if !text.is_empty() {
            outputs.push_back(add(Role::User, Pii::new(text)));
        }
        for said in news {
            self.note(said.by, said.text);
        }
    }

    /// Puts what another agent has been told before what this one has been told.
    pub(super) fn follow(&mut self, before: Self) {
        let own = std::mem::replace(self, before);
        for said in own.told {
            self.note(said.by, said.text);
        }
        for said in own.news {
            self.add_news(said.text);
        }
        if self.state.is_none() {
            self.state = own.state;
        }
        self.state_is_news = self.state.is_some();
        self.images.extend(own.images);
    }
}

impl Said {
    fn line(&self) -> String {
        let text = self.text.expose();
        match &self.by {
            Speaker::Client => text.clone(),
            Speaker::Participant(name) if name.is_empty() => format!("A caller said: {text}"),
            Speaker::Participant(name) => format!("{name} said: {text}"),
            Speaker::Agent => format!("You said: {text}"),
        }
    }
}

/// How many of the oldest news a model is not given, since no model could take them all.
fn surplus(news: &VecDeque<Said>) -> usize {
    let mut bytes = 0;
    let fits = news.iter().rev().take_while(|said| {
        bytes += said.text.expose().len() + 1;
        bytes <= TOLD_BYTES_MAX
    });
    (news.len() - fits.count()).min(news.len().saturating_sub(1))
}

fn add(role: Role, text: Pii<String>) -> Output {
    Output::Model(ModelAction::AddText { role, text })
}

/// What a model is given of the past, in bytes of text; the oldest goes first.
const TOLD_BYTES_MAX: usize = 64 * 1024;

/// Events that may wait for the model. Over it, the sender is refused.
const NEWS_MAX: usize = 32_768;
const NEWS_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_given_once_in_order_after_the_state() {
        let mut history = History::default();
        history.tell(event("card-played", "Ann: a 7", r#"{"n":1}"#)).unwrap();
        history.tell(event("card-played", "Bob: an 8", r#"{"n":2}"#)).unwrap();
        assert_eq!(
            given(|outputs| history.give(outputs)),
            [
                r#"System The current state: {"n":2}"#,
                "User card-played: Ann: a 7\ncard-played: Bob: an 8"
            ]
        );
        assert!(!history.has_news());
        assert!(given(|outputs| history.give(outputs)).is_empty());
    }

    #[test]
    fn a_model_that_has_just_opened_hears_the_whole_story() {
        let mut history = History::default();
        history.tell(event("hello", "", r#"{"n":1}"#)).unwrap();
        given(|outputs| history.give(outputs));
        history.note(Speaker::Agent, Pii::new("Hi.".into()));
        history.note(Speaker::Participant("Ann".into()), Pii::new("Who?".into()));
        let all = given(|outputs| history.give_all(outputs));
        let story = "System The conversation so far:\nhello\nYou said: Hi.\nAnn said: Who?";
        assert_eq!(all, [story, r#"System The current state: {"n":1}"#]);
    }

    #[test]
    fn more_news_than_can_wait_are_refused() {
        let mut history = History::default();
        for _ in 0..NEWS_MAX {
            history.tell(event("tick", "", "{}")).unwrap();
        }
        assert_eq!(history.tell(event("tick", "", "{}")), Err(Rejection::QueueFull));
        let all = given(|outputs| history.give(outputs));
        assert!(all.iter().all(|text| text.len() <= TOLD_BYTES_MAX + 10));
        history.tell(event("tick", "", "{}")).unwrap();
    }

    #[test]
    fn the_past_is_bounded() {
        let mut history = History::default();
        for _ in 0..3 {
            history.note(Speaker::Agent, Pii::new("x".repeat(TOLD_BYTES_MAX / 2)));
        }
        assert_eq!(history.told.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_out_of_order_and_the_past_is_bounded(
            events in proptest::collection::vec((1_usize..20_000, 0..4_u8), 1..40)
        ) {
            let mut history = History::default();
            let (mut told, mut heard) = (Vec::new(), Vec::new());
            for (at, (length, then)) in events.into_iter().enumerate() {
                let name = format!("{at}.{}", "x".repeat(length));
                history.tell(event(&name, "", "{}")).unwrap();
                told.push(name);
                match then {
                    0 => heard.extend(given_news(&mut history)),
                    1 => history.note(Speaker::Agent, Pii::new("Hm.".repeat(length))),
                    _ => {}
                }
                proptest::prop_assert!(history.told_bytes <= TOLD_BYTES_MAX);
                let bytes: usize = history.told.iter().map(|said| said.text.expose().len()).sum();
                proptest::prop_assert_eq!(history.told_bytes, bytes);
            }
            heard.extend(given_news(&mut history));
            // Only what no model could take at once is skipped, and that is the oldest.
            proptest::prop_assert!(told.ends_with(&heard[heard.len() - 1..]));
            let mut rest = told.iter();
            proptest::prop_assert!(heard.iter().all(|event| rest.any(|told| told == event)));
            proptest::prop_assert!(!history.has_news());
        }
    }

    fn given_news(history: &mut History) -> Vec<String> {
        let all = given(|outputs| history.give(outputs));
        let news = all.iter().filter_map(|text| text.strip_prefix("User "));
        news.flat_map(|text| text.split('\n').map(str::to_owned)).collect()
    }

    fn event(name: &str, description: &str, context_json: &str) -> ContextUpdate {
        ContextUpdate {
            name: name.into(),
            description: Pii::new(description.into()),
            context_json: Pii::new(context_json.into()),
            images: Vec::new(),
            triggering: true,
        }
    }

    fn given(give: impl FnOnce(&mut Outputs)) -> Vec<String> {
        let mut outputs = Outputs::new();
        give(&mut outputs);
        let text = |output| {
            let Output::Model(ModelAction::AddText { role, text }) = output else {
                panic!("{output:?}")
            };
            format!("{role:?} {}", text.expose())
        };
        outputs.into_iter().map(text).collect()
    }
}
