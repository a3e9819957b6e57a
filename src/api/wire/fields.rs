//! Reading a JSON object field by field, so that all its mistakes are told at once.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::strict;

/// One mistake, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(in crate::api) struct Mistake {
    /// `metadata.tools[2].name`; empty for the whole body.
    pub(in crate::api) path: String,
    /// What is wrong with it.
    pub(in crate::api) message: String,
}

/// Why a body was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum BadBody {
    /// It is no JSON.
    NotJson(String),
    /// It is JSON, but not what was asked for.
    Mistakes(Vec<Mistake>),
}

/// An object being read: what it holds, where it stands, and the mistakes so far.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Fields<'a> {
    /// Begins with a whole body.
    pub(super) fn new(object: &'a Map<String, Value>, mistakes: &'a mut Vec<Mistake>) -> Self {
        Self { object, path: String::new(), mistakes }
    }

    /// Notes a mistake in one field.
    pub(super) fn mistake(&mut self, field: &str, message: impl Into<String>) {
        let path = self.path_of(field);
        self.mistakes.push(Mistake { path, message: message.into() });
    }

    /// The field, if it is there and not null.
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.get_or_null(field).filter(|value| !value.is_null())
    }

    /// The field, if it is there.
    pub(super) fn get_or_null(&self, field: &str) -> Option<&'a Value> {
        #[cfg(test)]
        tests::note(self.path_of(field));
        self.object.get(field)
    }

    /// A text of so many characters, if it is there.
    pub(super) fn text(&mut self, field: &str, length: RangeInclusive<usize>) -> Option<String> {
        let Some(text) = self.get(field)?.as_str() else {
            self.mistake(field, "must be a string");
            return None;
        };
        if !length.contains(&text.chars().count()) {
            let (least, most) = (length.start(), length.end());
            self.mistake(field, format!("must have {least} to {most} characters"));
            return None;
        }
        Some(text.to_owned())
    }

    /// A text that must be there.
    pub(super) fn required_text(&mut self, field: &str, length: RangeInclusive<usize>) -> String {
        if self.get(field).is_none() {
            self.mistake(field, "is required");
            return String::new();
        }
        self.text(field, length).unwrap_or_default()
    }

    /// One of these words, if it is there.
    pub(super) fn word(&mut self, field: &str, words: &[&str]) -> Option<String> {
        let value = self.get(field)?;
        let word = value.as_str().filter(|word| words.contains(word));
        if word.is_none() {
            self.mistake(field, format!("must be one of: {}", words.join(", ")));
        }
        word.map(str::to_owned)
    }

    /// A whole number within bounds, if it is there.
    pub(super) fn number(&mut self, field: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let number = whole_number(self.get(field)?).filter(|number| bounds.contains(number));
        if number.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            self.mistake(field, format!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// True or false, if it is there.
    pub(super) fn boolean(&mut self, field: &str) -> Option<bool> {
        let boolean = self.get(field)?.as_bool();
        if boolean.is_none() {
            self.mistake(field, "must be true or false");
        }
        boolean
    }

    /// An object, if it is there.
    pub(super) fn object(&mut self, field: &str) -> Option<Fields<'_>> {
        let Some(object) = self.get(field)?.as_object() else {
            self.mistake(field, "must be an object");
            return None;
        };
        Some(Fields { object, path: self.path_of(field), mistakes: self.mistakes })
    }

    /// Each object of a list of at most `most`, handed to `read`; nothing if it is not there.
    pub(super) fn objects<T>(
        &mut self,
        field: &str,
        most: usize,
        mut read: impl FnMut(&mut Fields<'_>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.get(field) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            self.mistake(field, "must be an array");
            return Vec::new();
        };
        if list.len() > most {
            self.mistake(field, format!("must have at most {most} entries"));
            return Vec::new();
        }
        let path = self.path_of(field);
        let mut read_all = Vec::with_capacity(list.len());
        for (index, entry) in list.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match entry.as_object() {
                Some(object) => {
                    read_all.push(read(&mut Fields { object, path, mistakes: self.mistakes }));
                }
                None => {
                    self.mistakes.push(Mistake { path, message: "must be an object".to_owned() });
                }
            }
        }
        read_all
    }

    /// Every field, as it is.
    pub(super) const fn whole(&self) -> &'a Map<String, Value> {
        self.object
    }

    fn path_of(&self, field: &str) -> String {
        match self.path.as_str() {
            "" => field.to_owned(),
            path => format!("{path}.{field}"),
        }
    }
}

/// To JSON Schema, `60.0` is as whole as `60` (Draft 2020-12, section 4.2.3).
fn whole_number(value: &Value) -> Option<u64> {
    let is_whole = |number: &f64| number.fract() == 0.0 && (0.0..WHOLE_MAX).contains(number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, not negative, and small enough to be exact"
    )]
    value.as_u64().or_else(|| value.as_f64().filter(is_whole).map(|number| number as u64))
}

/// Below this, every whole number has a float of its own.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Whether a body that may be left out was left out.
pub(super) fn is_empty_body(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii(), b"" | b"null")
}

/// Reads a whole body, which must be one JSON object without repeats, too much depth or dangerous
/// keys anywhere in it; tells all its mistakes at once.
pub(super) fn read_body<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> Result<T, BadBody> {
    let value = strict::value(bytes)?;
    let Some(object) = value.as_object() else {
        return Err(one_mistake("", "the body must be a JSON object"));
    };
    let mut mistakes = Vec::new();
    let mut fields = Fields::new(object, &mut mistakes);
    for (name, value) in object {
        let dangerous = DANGEROUS_KEYS.contains(&name.as_str());
        let reason = dangerous.then(|| "must not be the name of a field".to_owned());
        if let Some(reason) = reason.or_else(|| unfit(value)) {
            fields.mistake(name, reason);
        }
    }
    let body = read(&mut fields);
    if mistakes.is_empty() { Ok(body) } else { Err(BadBody::Mistakes(mistakes)) }
}

/// A body with a single mistake.
fn one_mistake(path: &str, message: &str) -> BadBody {
    BadBody::Mistakes(vec![Mistake { path: path.to_owned(), message: message.to_owned() }])
}

/// What makes a value unfit to be passed on, wherever in it: keys that JavaScript takes for more
/// than keys, and depth that could exhaust a reader's stack.
pub(super) fn unfit(value: &Value) -> Option<String> {
    unfit_at(value, 0)
}

fn unfit_at(value: &Value, depth: usize) -> Option<String> {
    if depth > DEPTH_MAX {
        return Some(format!("must not be nested deeper than {DEPTH_MAX}"));
    }
    match value {
        Value::Array(list) => list.iter().find_map(|value| unfit_at(value, depth + 1)),
        Value::Object(object) => object.iter().find_map(|(key, value)| {
            if DANGEROUS_KEYS.contains(&key.as_str()) {
                return Some(format!("must not have a key {key}"));
            }
            unfit_at(value, depth + 1)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Objects and arrays within each other; more is no data but an attack.
const DEPTH_MAX: usize = 32;

const DANGEROUS_KEYS: [&str; 3] = ["__proto__", "constructor", "prototype"];

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    thread_local! {
        static ASKED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(path: String) {
        ASKED.with_borrow_mut(|asked| asked.insert(path));
    }

    /// Every field that was looked at on this thread since the last time.
    pub(in crate::api::wire) fn asked_for() -> BTreeSet<String> {
        ASKED.take()
    }

    #[test]
    fn a_dangerous_key_is_found_at_any_depth() {
        assert_eq!(unfit(&json!({"a": [1, {"b": "__proto__"}]})), None);
        let found = unfit(&json!({"a": [1, {"__proto__": 1}]}));
        assert_eq!(found.as_deref(), Some("must not have a key __proto__"));
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth| (0..depth).fold(json!(1), |value, _| json!([value]));
        assert_eq!(unfit(&nested(DEPTH_MAX)), None);
        assert!(unfit(&nested(DEPTH_MAX + 1)).is_some());
    }

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for (value, whole) in [
            (json!(60), Some(60)),
            (json!(60.0), Some(60)),
            (json!(60.5), None),
            (json!(-1.0), None),
            (json!(1e300), None),
            (json!("60"), None),
        ] {
            assert_eq!(whole_number(&value), whole, "{value}");
        }
    }

    #[test]
    fn a_whole_body_is_free_of_dangers_and_repeats() {
        let paths = |text: &str| match read_body(text.as_bytes(), |_| ()) {
            Err(BadBody::Mistakes(mistakes)) => mistakes.into_iter().map(|m| m.path).collect(),
            other => panic!("{text} has mistakes, not {other:?}"),
        };
        let read: [Vec<String>; 4] = [
            paths(r#"{"__proto__": {}, "unknown": {"constructor": 1}}"#),
            paths(r#"{"a": {"b": 1, "b": 2}}"#),
            paths(&format!(r#"{{"a": {}1{}}}"#, "[".repeat(40), "]".repeat(40))),
            paths("[]"),
        ];
        assert_eq!(read, [vec!["__proto__", "unknown"], vec!["a.b"], vec!["a"], vec![""]]);
        assert!(matches!(read_body(b"{} x", |_| ()), Err(BadBody::NotJson(_))));
    }

    #[test]
    fn every_mistake_is_told_with_its_path() {
        let body = json!({"n": 0, "o": {"b": 1, "w": "x"}, "l": [{}, 5], "t": "long"});
        let mut mistakes = Vec::new();
        let mut fields = Fields::new(body.as_object().expect("an object"), &mut mistakes);
        fields.number("n", 1..=9);
        fields.text("t", 1..=3);
        if let Some(mut object) = fields.object("o") {
            object.boolean("b");
            object.word("w", &["a", "b"]);
        }
        fields.objects("l", 9, |entry| entry.required_text("name", 1..=9));
        fields.required_text("gone", 1..=9);
        let told: Vec<_> = mistakes.iter().map(|m| format!("{} {}", m.path, m.message)).collect();
        assert_eq!(
            told,
            [
                "n must be a whole number from 1 to 9",
                "t must have 1 to 3 characters",
                "o.b must be true or false",
                "o.w must be one of: a, b",
                "l[0].name is required",
                "l[1] must be an object",
                "gone is required",
            ]
        );
    }
}
