//! Holds every answer that a test gets against what the gateway says of itself.

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// The OpenAPI document of a gateway.
pub(crate) struct Conformance(pub(crate) Value);

impl Conformance {
    /// Fails the test if this answer is none that the document describes.
    pub(crate) fn check(
        &self,
        (method, path): (&Method, &str),
        (status, headers, text): (StatusCode, &HeaderMap, &str),
    ) {
        let name = format!("{method} {path}: {status}");
        let Some(item) = self.item(path) else {
            assert_eq!(status, StatusCode::NOT_FOUND, "{name}, and the path is not described");
            return;
        };
        if method == Method::HEAD {
            return; // What GET answers, without its body (RFC 9110, section 9.3.2).
        }
        let Some(call) = item.get(method.as_str().to_lowercase()) else {
            let is_refused = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::SERVICE_UNAVAILABLE];
            assert!(is_refused.contains(&status), "{name}, and the method is not described");
            return;
        };
        let answer = &call["responses"][status.as_str()];
        assert!(answer.is_object(), "{name} is not described: {text}");
        let kind = headers.get("content-type").map_or("", |kind| kind.to_str().expect("text"));
        let kind = kind.split(';').next().unwrap_or_default();
        let Some(content) = answer.get("content") else {
            assert_eq!((kind, text), ("", ""), "{name} has a body");
            return;
        };
        let schema = &content[kind]["schema"];
        assert!(schema.is_object(), "{name} is no {kind} by its description");
        if kind != "application/json" {
            return;
        }
        let value: Value = serde_json::from_str(text).expect("JSON");
        let mistakes = self.mistakes(&value, schema, "");
        assert!(mistakes.is_empty(), "{name}: {mistakes:?} in {text}");
        if let Some(code) = value["code"].as_str().filter(|_| status.as_u16() >= 400) {
            let about = answer["description"].as_str().unwrap_or_default();
            assert!(about.contains(&format!("`{code}`")), "{name} with {code}: {about}");
        }
    }

    /// The calls of a path: those with fewer names left open go first.
    fn item(&self, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap_or_default();
        let fits = |template: &str| {
            let (mut wanted, mut given) = (template.split('/'), path.split('/'));
            let fits = wanted.by_ref().zip(given.by_ref()).all(|(wanted, given)| {
                wanted == given || (wanted.starts_with('{') && !given.is_empty())
            });
            fits && template.split('/').count() == path.split('/').count()
        };
        let items = self.0["paths"].as_object().into_iter().flatten();
        let fitting = items.filter(|(template, _)| fits(template));
        let best = fitting.min_by_key(|(template, _)| template.matches('{').count());
        best.map(|(_, item)| item)
    }

    /// What is wrong with a value by its schema: as much of JSON Schema as the document uses for
    /// answers. An object has no fields but those that are described.
    fn mistakes(&self, value: &Value, schema: &Value, path: &str) -> Vec<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.0.pointer(&reference[1..]).expect("it leads somewhere");
            return self.mistakes(value, target, path);
        }
        for either in ["oneOf", "anyOf"].map(|word| &schema[word]) {
            let Some(either) = either.as_array() else { continue };
            let fits = either.iter().any(|one| self.mistakes(value, one, path).is_empty());
            return if fits { Vec::new() } else { vec![format!("{path} is none of them")] };
        }
        let mut mistakes = Vec::new();
        let kinds = &schema["type"];
        let is_of = |kind: &Value| kind.as_str().is_some_and(|kind| is_a(value, kind));
        if !kinds.is_null()
            && !is_of(kinds)
            && !kinds.as_array().is_some_and(|k| k.iter().any(is_of))
        {
            mistakes.push(format!("{path} is no {kinds}"));
        }
        if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
            mistakes.push(format!("{path} is none of {}", schema["enum"]));
        }
        let entries = value.as_array().into_iter().flatten().enumerate();
        let entries = entries.filter(|_| schema["items"].is_object());
        mistakes.extend(entries.flat_map(|(index, entry)| {
            self.mistakes(entry, &schema["items"], &format!("{path}[{index}]"))
        }));
        mistakes.extend(self.mistakes_of_fields(value, schema, path));
        mistakes
    }

    fn mistakes_of_fields(&self, value: &Value, schema: &Value, path: &str) -> Vec<String> {
        let (properties, required) = self.fields_of(schema);
        let Some(object) = value.as_object().filter(|_| !properties.is_empty()) else {
            return Vec::new();
        };
        let missing = required.iter().filter(|name| !object.contains_key(**name));
        let mut mistakes: Vec<_> =
            missing.map(|name| format!("{path}.{name} is missing")).collect();
        for (name, value) in object {
            let path = format!("{path}.{name}");
            match properties.iter().find(|(known, _)| *known == name) {
                Some((_, schema)) => mistakes.extend(self.mistakes(value, schema, &path)),
                None => mistakes.push(format!("{path} is not described")),
            }
        }
        mistakes
    }

    /// The fields of an object, those of its parts included, and which of them it must have.
    fn fields_of<'a>(&'a self, schema: &'a Value) -> (Vec<(&'a String, &'a Value)>, Vec<&'a str>) {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.fields_of(self.0.pointer(&reference[1..]).expect("it leads somewhere"));
        }
        let properties = schema["properties"].as_object().into_iter().flatten();
        let required = schema["required"].as_array().into_iter().flatten();
        let mut properties: Vec<_> = properties.collect();
        let mut required: Vec<_> = required.filter_map(Value::as_str).collect();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let (more_properties, more_required) = self.fields_of(part);
            properties.extend(more_properties);
            required.extend(more_required);
        }
        (properties, required)
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type of JSON Schema"),
    }
}
