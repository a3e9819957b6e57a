//! Images in what clients send: checked, taken out, and stood for by a few words.

use serde_json::{Map, Value};

/// The images of one message, in the order in which they stand in it.
#[derive(Default)]
pub(super) struct Images {
    /// `data:` URLs, each an image of a known kind.
    pub(super) urls: Vec<String>,
    /// What stands for each in text: `[image: alt]`.
    pub(super) marks: Vec<String>,
}

impl Images {
    /// Takes the images out of `fields.images`; gives what is left, with a mark for each.
    pub(super) fn take_from(
        &mut self,
        fields: &Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        let others = fields.iter().filter(|(name, _)| *name != FIELD);
        let mut left: Map<String, Value> =
            others.map(|(name, value)| (name.clone(), value.clone())).collect();
        let before = self.marks.len();
        self.read(fields)?;
        if fields.contains_key(FIELD) {
            left.insert(FIELD.to_owned(), self.marks[before..].into());
        }
        Ok(left)
    }

    /// Reads the images in `fields.images`, if there are any.
    pub(super) fn read(&mut self, fields: &Map<String, Value>) -> Result<(), String> {
        let images = match fields.get(FIELD) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(images)) => images,
            Some(_) => return Err("images must be an array".to_owned()),
        };
        if self.urls.len() + images.len() > IMAGES_MAX {
            return Err(format!("a message may have at most {IMAGES_MAX} images"));
        }
        for image in images {
            let url = image.get("url").and_then(Value::as_str);
            let url = url.ok_or("an image must be an object with a url")?;
            check(url)?;
            self.urls.push(url.to_owned());
            self.marks.push(mark_of(image)?);
        }
        Ok(())
    }
}

fn mark_of(image: &Value) -> Result<String, String> {
    match image.get("alt") {
        None | Some(Value::Null) => Ok("[image]".to_owned()),
        Some(Value::String(alt)) if alt.trim().is_empty() => Ok("[image]".to_owned()),
        Some(Value::String(alt)) => {
            Ok(format!("[image: {}]", alt.trim().chars().take(ALT_MAX).collect::<String>()))
        }
        Some(_) => Err("the alt of an image must be a string".to_owned()),
    }
}

/// Only what a model can be given at once, and shown to nobody else, is an image: the bytes
/// themselves (RFC 2397), and no address to fetch them from.
fn check(url: &str) -> Result<(), String> {
    let kind = KINDS.iter().find_map(|kind| Some((kind, url.strip_prefix(kind.prefix)?)));
    let Some((kind, data)) = kind else {
        return Err("an image must be a base64 data URL of a PNG, JPEG, WebP or GIF".to_owned());
    };
    if data.len() / 4 * 3 > IMAGE_BYTES_MAX + 2 {
        return Err(too_large());
    }
    let bytes = base64_simd::STANDARD.decode_to_vec(data);
    let bytes = bytes.map_err(|_| "the data of an image must be base64".to_owned())?;
    if bytes.len() > IMAGE_BYTES_MAX {
        return Err(too_large());
    }
    if !(kind.is_it)(&bytes) {
        return Err(format!("an image that calls itself {} is none", kind.name));
    }
    Ok(())
}

fn too_large() -> String {
    format!("an image must not be larger than {IMAGE_BYTES_MAX} bytes")
}

/// A kind of image, and how its first bytes tell.
struct Kind {
    name: &'static str,
    prefix: &'static str,
    is_it: fn(&[u8]) -> bool,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "PNG",
        prefix: "data:image/png;base64,",
        is_it: |bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
    },
    Kind {
        name: "JPEG",
        prefix: "data:image/jpeg;base64,",
        is_it: |bytes| bytes.starts_with(b"\xff\xd8\xff"),
    },
    Kind {
        name: "WebP",
        prefix: "data:image/webp;base64,",
        is_it: |bytes| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
    },
    Kind {
        name: "GIF",
        prefix: "data:image/gif;base64,",
        is_it: |bytes| bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a"),
    },
];

const FIELD: &str = "images";

const IMAGES_MAX: usize = 8;
const IMAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Characters of a description that go into a mark.
const ALT_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_is_known_by_its_first_bytes() {
        for (kind, first) in [
            ("png", &b"\x89PNG\r\n\x1a\n...."[..]),
            ("jpeg", b"\xff\xd8\xff\xe0"),
            ("webp", b"RIFF\0\0\0\0WEBPVP8 "),
            ("gif", b"GIF89a"),
        ] {
            assert_eq!(check(&url(kind, first)), Ok(()), "{kind}");
            assert!(check(&url(kind, b"<svg>")).expect_err("none").contains("is none"), "{kind}");
        }
    }

    #[test]
    fn what_is_no_data_url_of_an_image_is_refused() {
        for (url, reason) in [
            ("https://example.org/a.png", "must be a base64 data URL"),
            ("data:image/svg+xml;base64,PHN2Zz4=", "must be a base64 data URL"),
            ("data:image/png,abc", "must be a base64 data URL"),
            ("data:image/png;base64,a b", "must be base64"),
        ] {
            assert!(check(url).expect_err("refused").contains(reason), "{url}");
        }
    }

    #[test]
    fn four_mebibytes_are_enough() {
        let of_size = |size: usize| {
            let mut bytes = b"GIF89a".to_vec();
            bytes.resize(size, 0);
            check(&url("gif", &bytes))
        };
        assert_eq!(of_size(IMAGE_BYTES_MAX), Ok(()));
        assert_eq!(of_size(IMAGE_BYTES_MAX + 1), Err(too_large()));
        assert_eq!(of_size(IMAGE_BYTES_MAX * 2), Err(too_large()));
    }

    #[test]
    fn images_are_taken_out_and_marked() {
        let gif = url("gif", b"GIF89a");
        let message = json!({
            "content": "look", "images": [{"url": gif, "alt": " a cat "}, {"url": gif}],
        });
        let mut images = Images::default();
        let left = images.take_from(message.as_object().expect("an object")).expect("in order");
        let expected = json!({"content": "look", "images": ["[image: a cat]", "[image]"]});
        assert_eq!(Value::Object(left), expected);
        assert_eq!(images.urls, [gif.clone(), gif]);
    }

    #[test]
    fn eight_images_are_a_message_and_nine_are_not() {
        let fields =
            |count| json!({ "images": vec![json!({"url": url("gif", b"GIF89a")}); count] });
        let read = |fields: Value| Images::default().read(fields.as_object().expect("an object"));
        assert_eq!(read(fields(8)), Ok(()));
        assert!(read(fields(9)).expect_err("too many").contains("at most 8"));
        assert!(read(json!({"images": "one"})).expect_err("no list").contains("an array"));
        assert!(read(json!({"images": ["one"]})).expect_err("no object").contains("with a url"));
        let alt = json!({"images": [{"url": url("gif", b"GIF89a"), "alt": 5}]});
        assert!(read(alt).expect_err("no text").contains("a string"));
    }

    fn url(kind: &str, bytes: &[u8]) -> String {
        format!("data:image/{kind};base64,{}", base64_simd::STANDARD.encode_to_string(bytes))
    }
}
