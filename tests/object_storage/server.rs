//! An object storage of another maker's (s3rver), which checks signatures and keeps files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use callbridge::privacy::Secret;
use callbridge::runtime::RecordingBucket;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A storage that runs, or may run again where it has run.
pub(crate) struct Storage {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Storage {
    /// One with the empty bucket `calls`, on a free port.
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (child, port) = start(folder.path(), 0).await;
        Self { folder, port, child }
    }

    /// Kills it; what it has is kept.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it ran");
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        (self.child, _) = start(self.folder.path(), self.port).await;
    }

    /// The bucket and its key.
    pub(crate) fn bucket(&self) -> RecordingBucket {
        RecordingBucket {
            endpoint: format!("http://127.0.0.1:{}", self.port),
            region: "us-east-1".into(),
            name: "calls".into(),
            prefix: "from/here".into(),
            path_style: true,
            access_key: "S3RVER".into(),
            secret_key: Secret::new("S3RVER"),
            keep_local: false,
        }
    }

    /// The names of all objects in the bucket, in order.
    pub(crate) fn objects(&self) -> Vec<String> {
        let bucket = self.folder.path().join("calls");
        let mut names: Vec<String> = files_below(&bucket)
            .iter()
            .filter_map(|path| path.strip_prefix(&bucket).ok()?.to_str())
            .filter_map(|path| path.strip_suffix("._S3rver_object"))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// Puts what is no recording beside the recordings of `owner`.
    pub(crate) fn put_foreign(&self, name: &str) {
        let place = self.folder.path().join("calls").join(name);
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        for (end, text) in [("object", "x"), ("object.md5", "\"x\""), ("metadata.json", "{}")] {
            let path = format!("{}._S3rver_{end}", place.display());
            std::fs::write(path, text).expect("a file");
        }
    }
}

/// All files below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

async fn start(folder: &Path, port: u16) -> (Child, u16) {
    let packages = cache().join("s3/node_modules");
    assert!(packages.exists(), "{} is missing: run `make test-deps`", packages.display());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/object_storage/server.cjs");
    let mut child = Command::new("node")
        .env("NODE_PATH", packages)
        .args([OsStr::new(script), folder.as_os_str(), OsStr::new(&port.to_string())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node: run `make test-deps`");
    let mut lines = BufReader::new(child.stdout.take().expect("its words")).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("it starts").expect("a line");
    let port = line.expect("it runs; its last words are above").parse().expect("a port");
    (child, port)
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/callbridge");
    std::env::var_os("CALLBRIDGE_CACHE").map_or_else(home, PathBuf::from)
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
