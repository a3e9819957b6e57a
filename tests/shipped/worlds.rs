//! Worlds to run the program in: an empty folder each, servers that refuse, a gateway.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A bound on every single wait, far above what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the variable `MY_KEY` holds.
pub(crate) const MODEL_KEY: &str = "sk-of-nobody-at-all";

/// A folder in which the program is run.
pub(crate) struct World {
    folder: TempDir,
}

/// What a command has said.
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A gateway; dropping it kills it.
pub(crate) struct Gateway {
    pub(crate) url: String,
    child: Child,
    /// Held so that its standard output stays open.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("written");
    }

    /// The names of all files.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        entries.map(name).collect()
    }

    /// `callbridge doctor`, on any free port unless told otherwise.
    pub(crate) async fn doctor(&self, args: &[&str]) -> Told {
        let mut all = vec!["doctor"];
        if !args.contains(&"--listen") {
            all.extend(["--listen", "127.0.0.1:0"]);
        }
        all.extend(args);
        self.run(&all).await
    }

    /// Any command, to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Told {
        let output = self.command(args).output();
        let output = timeout(PATIENCE, output).await.expect("it ends").expect("it runs");
        Told {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// `callbridge serve`, as soon as it listens.
    pub(crate) async fn serve(&self) -> Gateway {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stderr(Stdio::null()).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("it says where it listens");
        let line = line.expect("readable").expect("a line");
        let url = line.split_whitespace().last().expect("an address").to_owned();
        Gateway { url, child, _lines: lines }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callbridge"));
        command.args(args).current_dir(self.folder.path()).env("MY_KEY", MODEL_KEY);
        command.env_remove("OPENAI_API_KEY").stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

impl Told {
    /// The one line that begins like this.
    pub(crate) fn line(&self, beginning: &str) -> &str {
        let line = self.out.lines().find(|line| line.starts_with(beginning));
        line.unwrap_or_else(|| panic!("no line begins with {beginning:?}: {}", self.out))
    }
}

impl Gateway {
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it was alive");
    }
}

/// A certificate that holds from some months ago and for so many days from here on, and its key.
pub(crate) fn certificate(days: i64) -> (String, String) {
    let day = |days: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days + 1);
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        let [month, day] = [date.month(), date.day()].map(i8::cast_unsigned);
        rcgen::date_time_ymd(date.year().into(), month, day)
    };
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (parameters.not_before, parameters.not_after) = (day(-100), day(days));
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

/// A server that answers whatever it is asked with this status and an hour that is right, for as
/// long as the test's process lives.
pub(crate) fn refusing(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            // A request of ours fits; whoever has gone is not answered.
            let _ = stream.read(&mut [0; 4096]);
            let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: 2\r\n\
                 Connection: close\r\n\r\nno"
            );
        }
    });
    at
}
