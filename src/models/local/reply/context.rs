//! PURE. What the mind was told of its situation, and questions about it.

use serde_json::Value;

use super::tools::part;
use super::words::{Words, sentence};

/// What an agent's clients say is the case: a state, or a summary. Each one replaces the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Context(Option<String>);

impl Context {
    /// Takes what is the case from here on.
    pub(super) fn tell(&mut self, text: &str) {
        self.0 = Some(text.trim().to_owned());
    }

    /// The answer to a question about it, if it has one.
    pub(super) fn answer(&self, words: &Words<'_>) -> Option<String> {
        let told = self.0.as_deref()?;
        if words.has_any(&["what do you know", "what is the situation", "what's the situation"]) {
            return Some(sentence(told));
        }
        let place = words.find_any(&["what is the", "what's the", "what are the"])?;
        let subject = words.clause(place)?.to_lowercase();
        let value = field(told, &subject).or_else(|| said_of(told, &subject))?;
        Some(sentence(&format!("The {subject} is {value}")))
    }
}

/// The value of a field of the state in the text, if there is one and it has such a field.
fn field(told: &str, subject: &str) -> Option<String> {
    let state = told.get(told.find('{')?..=told.rfind('}')?)?;
    let Value::Object(state) = serde_json::from_str(state).ok()? else { return None };
    let (_, value) = state.iter().find(|(name, _)| spaced(name) == subject)?;
    Some(part(value))
}

/// What a text says in so many words: `The topic is cats.`
fn said_of(told: &str, subject: &str) -> Option<String> {
    let words = Words::of(told);
    let value = words.clause(words.find(&format!("the {subject} is"))?)?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// `tableNumber` and `table_number` are both called a table number.
fn spaced(name: &str) -> String {
    let mut spaced = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            spaced.push(' ');
        }
        spaced.extend(if c.is_alphanumeric() { c } else { ' ' }.to_lowercase());
    }
    spaced.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_asked_for_its_fields_and_a_text_for_its_words() {
        let mut context = Context::default();
        assert_eq!(context.answer(&Words::of("What is the topic?")), None);
        context.tell(r#"Current state: {"tableNumber":4,"topic":"cats","players":["Ann","Bob"]}"#);
        for (question, answer) in [
            ("What is the topic?", Some("The topic is cats.")),
            ("Hey, what's the table number, please?", Some("The table number is 4.")),
            ("What are the players?", Some("The players is Ann,Bob.")),
            ("What is the weather?", None),
        ] {
            assert_eq!(context.answer(&Words::of(question)).as_deref(), answer, "{question}");
        }
        context.tell("We are in Rome. The topic is old stones, and more.");
        let answer = context.answer(&Words::of("What is the topic?"));
        assert_eq!(answer.as_deref(), Some("The topic is old stones."));
        let answer = context.answer(&Words::of("What do you know?"));
        assert_eq!(answer.unwrap(), "We are in Rome. The topic is old stones, and more.");
    }
}
