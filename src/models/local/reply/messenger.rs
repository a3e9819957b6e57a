//! PURE. The tool through which an agent speaks that acts by tools alone.

use serde_json::json;

use super::Reply;
use super::tools::{Kind, Parameter, Tool};

/// A declared tool that sends what the agent has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Messenger {
    tool: String,
    parameter: String,
}

impl Messenger {
    /// The first such tool: it is named like one, and all it needs is one text.
    pub(in super::super) fn among(tools: &[Tool]) -> Option<Self> {
        tools.iter().filter(|tool| NAMES.contains(&&*plain(&tool.name))).find_map(Self::of)
    }

    /// Whether this is the tool.
    pub(in super::super) fn is(&self, tool: &str) -> bool {
        self.tool == tool
    }

    /// The call that says this.
    pub(in super::super) fn say(&self, text: &str) -> Reply {
        let arguments = json!({&self.parameter: text}).to_string();
        Reply::Call { name: self.tool.clone(), arguments }
    }

    fn of(tool: &Tool) -> Option<Self> {
        let texts = || tool.parameters.iter().filter(|parameter| parameter.kind == Kind::Text);
        let named = texts().find(|parameter| PARAMETERS.contains(&&*plain(&parameter.name)));
        let only = || texts().next().filter(|_| texts().count() == 1);
        let text: &Parameter = named.or_else(only)?;
        let needs_more = |other: &&Parameter| other.is_required && other.name != text.name;
        let needs_no_more = !tool.parameters.iter().any(|other| needs_more(&other));
        let messenger = || Self { tool: tool.name.clone(), parameter: text.name.clone() };
        needs_no_more.then(messenger)
    }
}

/// `sendMessage`, `send-message` and `send_message` are one name.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

const NAMES: &[&str] = &[
    "sendmessage",
    "sendchatmessage",
    "sendreply",
    "sendtext",
    "postmessage",
    "say",
    "speak",
    "reply",
    "respond",
    "answer",
];
const PARAMETERS: &[&str] = &["message", "text", "content", "body", "reply"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_messenger_is_known_by_its_name_and_its_one_text() {
        let spellings = ["send_message", "send-message", "sendMessage", "say", "reply"];
        for name in spellings {
            let messenger = Messenger::among(&[tool("roll_dice", &[]), text_tool(name)]).unwrap();
            let arguments = r#"{"message":"Hi \"Ann\""}"#.to_owned();
            let call = Reply::Call { name: name.into(), arguments };
            assert_eq!(messenger.say("Hi \"Ann\""), call);
            assert!(messenger.is(name) && !messenger.is("roll_dice"));
        }
    }

    #[test]
    fn what_may_be_left_out_is() {
        let optional = Parameter { name: "channel".into(), ..Parameter::default() };
        let number = Parameter { name: "priority".into(), kind: Kind::Number, is_required: false };
        let words = Parameter { name: "words".into(), is_required: true, ..Parameter::default() };
        let body = Parameter { name: "body".into(), is_required: true, ..Parameter::default() };
        assert!(Messenger::among(&[tool("say", &[number, words.clone()])]).is_some());
        assert!(Messenger::among(&[tool("say", &[optional.clone(), body])]).is_some());
        assert_eq!(Messenger::among(&[tool("say", &[optional, words])]), None);
    }

    #[test]
    fn a_tool_that_needs_more_or_is_named_otherwise_is_none() {
        let to = Parameter { name: "to".into(), is_required: true, ..Parameter::default() };
        let mut letter = text_tool("send_message");
        letter.parameters.push(to);
        assert_eq!(Messenger::among(&[letter, text_tool("weather"), tool("say", &[])]), None);
    }

    fn text_tool(name: &str) -> Tool {
        let message = Parameter { name: "message".into(), is_required: true, kind: Kind::Text };
        tool(name, &[message])
    }

    fn tool(name: &str, parameters: &[Parameter]) -> Tool {
        Tool { name: name.into(), parameters: parameters.to_vec(), ..Tool::default() }
    }
}
