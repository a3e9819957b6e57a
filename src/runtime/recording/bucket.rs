//! A bucket of an object storage, as far as recordings need one: put, list, read, delete.
//!
//! Requests are those of Amazon's S3, which other makers' servers understand as well, with their
//! signature in the URL (AWS Signature Version 4, "Authenticating Requests: Using Query
//! Parameters"). No error has a URL in it.

use std::error::Error as _;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, RequestBuilder, Response, Url};
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Credentials, S3Action, UrlStyle};
use thiserror::Error;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::RecordingBucket;
use crate::sys::{clock, tls};

/// One bucket, and what opens it.
#[derive(Debug)]
pub(super) struct Bucket {
    place: rusty_s3::Bucket,
    credentials: Credentials,
    /// What all keys begin with: empty, or with a slash at its end.
    prefix: String,
    client: Client,
}

/// Something that lies in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Its key, without the prefix.
    pub(super) name: String,
    /// In bytes.
    pub(super) length: u64,
    /// When it was put there, in milliseconds since the Unix epoch, by the storage's clock.
    pub(super) put_ms: u64,
}

/// Objects in the order of their keys, and where the next ones begin.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) objects: Vec<Object>,
    pub(super) next: Option<String>,
}

/// Why something could not be done in a bucket.
#[derive(Debug, Error)]
pub(super) enum BucketError {
    /// No answer of the storage's.
    #[error("the object storage is not reached: {0}")]
    Unreachable(String),
    /// The storage's answer, with its own word for it.
    #[error("the object storage answers {status} {code}")]
    Refused { status: u16, code: String },
    /// An answer that is none of this protocol's.
    #[error("the object storage's answer is not understood: {0}")]
    Unclear(String),
    /// Our own file.
    #[error("the file cannot be read: {0}")]
    File(#[from] io::Error),
}

impl BucketError {
    /// Whether there is no such object.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "NoSuchKey")
    }

    /// Whether it is about one object, and others may fare better.
    pub(super) const fn is_its_own(&self) -> bool {
        matches!(self, Self::File(_) | Self::Refused { status: 400 | 413, .. })
    }
}

impl From<BucketError> for io::Error {
    fn from(error: BucketError) -> Self {
        if error.is_absence() {
            return Self::new(io::ErrorKind::NotFound, error);
        }
        if let BucketError::File(error) = error { error } else { Self::other(error) }
    }
}

impl Bucket {
    /// Opens nothing yet. Fails if no URL can be made of what the policy says.
    pub(super) fn new(policy: &RecordingBucket) -> io::Result<Self> {
        tls::choose_cryptography();
        let style = if policy.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let endpoint: Url = policy.endpoint.parse().map_err(io::Error::other)?;
        let (name, region) = (policy.name.clone(), policy.region.clone());
        let place = rusty_s3::Bucket::new(endpoint, style, name, region);
        let client = Client::builder().redirect(Policy::none()).connect_timeout(CONNECTING);
        let client = client.user_agent(concat!("callbridge/", env!("CARGO_PKG_VERSION"))).build();
        let prefix = policy.prefix.trim_matches('/');
        Ok(Self {
            place: place.map_err(io::Error::other)?,
            credentials: Credentials::new(&policy.access_key, policy.secret_key.expose()),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            client: client.map_err(io::Error::other)?,
        })
    }

    /// Puts a file there, in place of what has had its name.
    pub(super) async fn put(&self, name: &str, kind: &str, path: &Path) -> Result<(), BucketError> {
        let file = File::open(path).await?;
        let length = file.metadata().await?.len();
        let key = self.key(name);
        let url = signed(&self.place.put_object(Some(&self.credentials), &key));
        let body = Body::wrap_stream(pieces(file, length));
        let request = self.client.put(url).header(CONTENT_TYPE, kind);
        let request = request.header(CONTENT_LENGTH, length).body(body);
        let patience = ANSWERING + Duration::from_secs(length / SLOWEST_BYTES_A_SECOND);
        self.ask(request.timeout(patience)).await.map(drop)
    }

    /// What there is whose name begins like this, from a place on; a thousand at most.
    pub(super) async fn list(
        &self,
        beginning: &str,
        from: Option<&str>,
    ) -> Result<Listing, BucketError> {
        let mut action = self.place.list_objects_v2(Some(&self.credentials));
        action.with_prefix(self.key(beginning));
        if let Some(from) = from {
            action.with_continuation_token(from);
        }
        let url = signed(&action);
        let answer = self.ask(self.client.get(url).timeout(ANSWERING)).await?;
        let text = answer.text().await.map_err(|error| BucketError::Unreachable(why(&error)))?;
        let listed = ListObjectsV2::parse_response(&in_amazons_namespace(&text));
        let listed = listed.map_err(|error| BucketError::Unclear(error.to_string()))?;
        let objects = listed.contents.into_iter().filter_map(|content| {
            let put: Timestamp = content.last_modified?.parse().ok()?;
            Some(Object {
                name: content.key.strip_prefix(&self.prefix)?.to_owned(),
                length: content.size?,
                put_ms: u64::try_from(put.as_millisecond()).ok()?,
            })
        });
        let objects = objects.collect();
        Ok(Listing { objects, next: listed.next_continuation_token })
    }

    /// A part of an object, as it comes.
    pub(super) async fn read(
        &self,
        name: &str,
        part: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, BucketError> {
        if part.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let key = self.key(name);
        let url = signed(&self.place.get_object(Some(&self.credentials), &key));
        let range = format!("bytes={}-{}", part.start, part.end - 1);
        let asked = self.ask(self.client.get(url).header(RANGE, range));
        let answer = timeout(ANSWERING, asked).await;
        let answer = answer.map_err(|_| BucketError::Unreachable(SILENT.to_owned()))??;
        if answer.content_length() != Some(part.end - part.start) {
            return Err(BucketError::Unclear("it is not the part that was asked for".to_owned()));
        }
        let chunks = stream::try_unfold(answer, |mut answer| async move {
            let chunk = timeout(ANSWERING, answer.chunk()).await;
            let chunk = chunk.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, SILENT))?;
            let chunk = chunk.map_err(|error| io::Error::other(why(&error)))?;
            Ok(chunk.map(|chunk| (chunk, answer)))
        });
        Ok(chunks.boxed())
    }

    /// Deletes an object; that it is not there is no failure.
    pub(super) async fn delete(&self, name: &str) -> Result<(), BucketError> {
        let key = self.key(name);
        let url = signed(&self.place.delete_object(Some(&self.credentials), &key));
        match self.ask(self.client.delete(url).timeout(ANSWERING)).await {
            Err(error) if error.is_absence() => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Sends a request; its answer, if it is a success.
    async fn ask(&self, request: RequestBuilder) -> Result<Response, BucketError> {
        let answer = request.send().await;
        let answer = answer.map_err(|error| BucketError::Unreachable(why(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        Err(BucketError::Refused { status: status.as_u16(), code: code_of(answer).await })
    }
}

/// The URL by which an action is allowed from this moment on, for a while.
fn signed<'a>(action: &impl S3Action<'a>) -> Url {
    let ms = i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
    let now = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    action.sign_with_time(SIGNED_FOR, &now)
}

/// The same with the namespace that the protocol has: not all servers write it like Amazon's.
fn in_amazons_namespace(text: &str) -> String {
    let end = text.find("<ListBucketResult").and_then(|at| Some(at + text[at..].find('>')?));
    let Some((head, rest)) = end.and_then(|end| text.split_at_checked(end)) else {
        return text.to_owned();
    };
    let Some((before, named)) = head.split_once("xmlns=\"") else { return text.to_owned() };
    let after = named.split_once('"').map_or("", |(_, after)| after);
    format!("{before}xmlns=\"{NAMESPACE}\"{after}{rest}")
}

/// The storage's own word for a refusal: `<Code>` in its answer ("Error Responses").
async fn code_of(mut answer: Response) -> String {
    let mut text = Vec::new();
    while text.len() < REFUSAL_BYTES_MAX {
        // A refusal without a word is one as well.
        let Ok(Ok(Some(chunk))) = timeout(ANSWERING, answer.chunk()).await else { break };
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&text);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map(|(code, _)| code).unwrap_or_default();
    code.chars().filter(char::is_ascii_alphanumeric).take(CODE_CHARS_MAX).collect()
}

/// The next so many bytes of a file, a piece at a time.
pub(super) fn pieces(file: File, left: u64) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, left), |(mut file, left)| async move {
        let length = PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES));
        let mut piece = vec![0; length];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        let rest = left - read as u64;
        Ok((read > 0).then(|| (Bytes::from(piece), (file, rest))))
    })
}

/// The innermost reason, without the URL: it has the signature in it.
fn why(error: &reqwest::Error) -> String {
    let Some(mut inner) = error.source() else { return SILENT.to_owned() };
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Of the protocol's documents.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

const PIECE_BYTES: usize = 64 * 1024;

const CONNECTING: Duration = Duration::from_secs(5);

/// How long the storage may be silent.
const ANSWERING: Duration = Duration::from_secs(20);

/// With a slower line to its storage a gateway could not record ten calls at once.
const SLOWEST_BYTES_A_SECOND: u64 = 64 * 1024;

/// For how long a URL opens anything: long enough for clocks that differ.
const SIGNED_FOR: Duration = Duration::from_mins(5);

/// Of a refusal's body, so much is read at most.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

const CODE_CHARS_MAX: usize = 64;

const SILENT: &str = "it does not answer in time";
