//! Reading JSON text so that nothing in it is passed over: a key that stands twice is a mistake.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::fields::{BadBody, Mistake};

/// The value of a whole text; mistakes name the place of each key that stands twice.
pub(super) fn value(bytes: &[u8]) -> Result<Value, BadBody> {
    let not_json = |error: serde_json::Error| BadBody::NotJson(error.to_string());
    let mut mistakes = Vec::new();
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let reading = Reading { place: &Place::Root, mistakes: &mut mistakes };
    let value = reading.deserialize(&mut text).map_err(not_json)?;
    text.end().map_err(not_json)?;
    if mistakes.is_empty() { Ok(value) } else { Err(BadBody::Mistakes(mistakes)) }
}

/// A value about to be read, and where it stands.
struct Reading<'a> {
    place: &'a Place<'a>,
    mistakes: &'a mut Vec<Mistake>,
}

/// A place in a text, spelt out only where there is a mistake to tell.
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Entry(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Entry(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Self { place, mistakes } = self;
        let mut list = Vec::new();
        loop {
            let place = Place::Entry(place, list.len());
            match entries.next_element_seed(Reading { place: &place, mistakes })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let Self { place, mistakes } = self;
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let place = Place::Field(place, &name);
            let value = fields.next_value_seed(Reading { place: &place, mistakes })?;
            if object.contains_key(&name) && mistakes.len() < MISTAKES_MAX {
                let message = "must not stand there twice".to_owned();
                mistakes.push(Mistake { path: place.to_string(), message });
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// Mistakes that are told of one text; more would only make the answer longer.
const MISTAKES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_without_repeats_is_read_as_it_is() {
        let text =
            r#" {"a": [1, -2, 0.5, "x\n", null, true, {"b": {}}], "c": 18446744073709551615} "#;
        let plain: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(value(text.as_bytes()).expect("in order"), plain);
        assert_eq!(value(b"5").expect("in order"), json!(5));
    }

    #[test]
    fn every_key_that_stands_twice_is_told_with_its_place() {
        let text = br#"{"a": 1, "b": [{}, {"c": {"d": 1, "d": 2}}], "a": 3}"#;
        let Err(BadBody::Mistakes(mistakes)) = value(text) else { panic!("it has mistakes") };
        let paths: Vec<_> = mistakes.into_iter().map(|mistake| mistake.path).collect();
        assert_eq!(paths, ["b[1].c.d", "a"]);
    }

    #[test]
    fn what_follows_the_value_is_no_json() {
        for text in ["{} {}", "{},", "[1] x", "", "{\"a\":1,}", "nan"] {
            let refused = value(text.as_bytes());
            assert!(matches!(refused, Err(BadBody::NotJson(_))), "{text}: {refused:?}");
        }
        let deep = "[".repeat(5_000);
        assert!(matches!(value(deep.as_bytes()), Err(BadBody::NotJson(_))));
    }

    #[test]
    fn repeats_without_end_are_told_in_part() {
        let text = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(1_000));
        let Err(BadBody::Mistakes(mistakes)) = value(text.as_bytes()) else { panic!("mistakes") };
        assert_eq!(mistakes.len(), MISTAKES_MAX);
    }
}
