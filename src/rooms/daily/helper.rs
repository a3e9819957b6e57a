//! The helper as a process: started with a socket of its own, listened to, and reaped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::pipe::Pipe;
use super::wire::Order;
use crate::privacy::Secret;
use crate::sys::tasks::{self, Task};

/// A running helper. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Helper {
    child: Child,
    _words: Option<Task>,
}

impl Helper {
    /// Starts the helper. Nothing but the two ends of its socket is left of it once it has ended.
    ///
    /// The socket is its standard input, so it has no name and nobody else can reach it; the
    /// environment is empty, for the gateway's own may hold keys. `token` is kept out of the log.
    pub(super) fn start(python: &Path, token: Option<Secret>) -> io::Result<(Self, Pipe)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let mut command = Command::new(python);
        // Isolated: a file in the working folder must not stand in for a module.
        command.args(["-I", "-u", "-c", PROGRAM]).env_clear().kill_on_drop(true);
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let words = child.stderr.take();
        let words = words.map(|words| tasks::spawn("daily helper", log_words(words, token)));
        Ok((Self { child, _words: words }, Pipe::new(ours)))
    }

    /// Has the helper say goodbye and end; it is killed if that takes too long.
    pub(super) async fn end(mut self, mut pipe: Pipe) {
        let goodbye = async {
            // A helper that takes no order any more is told by the end of its socket.
            if pipe.order(&Order::Leave).is_ok() {
                while pipe.next().await.is_ok() {}
            }
            drop(pipe);
            self.child.wait().await
        };
        match tokio::time::timeout(GOODBYE, goodbye).await {
            Ok(Ok(status)) => tracing::debug!(%status, "the helper of a Daily room has ended"),
            Ok(Err(error)) => tracing::debug!(%error, "the helper of a Daily room is lost"),
            Err(_) => {
                tracing::debug!("the helper of a Daily room is killed, for it does not end");
                // It may have ended meanwhile.
                let _ = self.child.kill().await;
            }
        }
    }
}

/// What the helper and Daily's package print: for those who look for a fault.
async fn log_words(words: impl AsyncRead + Unpin, token: Option<Secret>) {
    let mut words = BufReader::new(words);
    let mut line = Vec::with_capacity(WORDS_CAPACITY);
    while let Ok(byte) = words.read_u8().await {
        if byte != b'\n' {
            line.push(byte);
        }
        if byte == b'\n' || line.len() == WORDS_CAPACITY {
            let text = without_token(&line, token.as_ref());
            tracing::debug!(text, "the helper of a Daily room says");
            line.clear();
        }
    }
}

fn without_token(line: &[u8], token: Option<&Secret>) -> String {
    let text = String::from_utf8_lossy(line);
    match token.map(Secret::expose) {
        Some(token) if !token.is_empty() => text.replace(token, "…"),
        _ => text.into_owned(),
    }
}

/// The helper itself, so that the gateway needs no file beside it.
const PROGRAM: &str = include_str!("../../../assets/daily/helper.py");

/// How long the helper may take to leave the room and to end.
const GOODBYE: Duration = Duration::from_secs(2);

/// Bytes of a line that are kept.
///
/// When full: the line goes on as another.
const WORDS_CAPACITY: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_out_of_the_log() {
        let line = b"GET /rooms/hall?t=t-123 \xff";
        let cleaned = |token: &str| without_token(line, Some(&Secret::new(token)));
        assert_eq!(cleaned("t-123"), "GET /rooms/hall?t=… \u{fffd}");
        assert_eq!(cleaned(""), without_token(line, None));
    }
}
