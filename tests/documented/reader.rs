//! Somebody who reads a page from top to bottom, and types what it says.

use std::fs::OpenOptions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::lan;
use super::page::{Block, Kind, Mark, Page};
use super::shape::fits;

/// Follows a page in a network of its own; to be called first in a `#[test]`.
pub(crate) fn follow(name: &str) {
    lan::run(PAGE_LIMIT, async {
        Reader::new().read(&Page::read(name)).await;
    });
}

/// A checkout of their own, and the terminals that they have left running.
struct Reader {
    checkout: TempDir,
    /// What stands beside the checkout: programs, what the shell remembers, logs.
    desk: TempDir,
    terminals: Vec<Terminal>,
}

/// A command that runs on, and what it has printed.
struct Terminal {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has printed since it was last looked at.
    fresh: Vec<String>,
}

impl Reader {
    fn new() -> Self {
        let (checkout, desk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in CHECKOUT {
            symlink(ours.join(name), checkout.path().join(name)).unwrap();
        }
        symlink(cache().join("node/node_modules"), checkout.path().join("node_modules")).unwrap();
        let bin = desk.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_callbridge"), bin.join("callbridge")).unwrap();
        std::fs::write(bin.join("cargo"), CARGO).unwrap();
        std::fs::set_permissions(bin.join("cargo"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        std::fs::write(desk.path().join("memory"), "").unwrap();
        Self { checkout, desk, terminals: Vec::new() }
    }

    async fn read(mut self, page: &Page) {
        for block in &page.blocks {
            self.come_to(block, &format!("{}:{}", page.name, block.line)).await;
        }
        // What still runs ends, the latest first.
        while let Some(terminal) = self.terminals.pop() {
            terminal.interrupt().await;
        }
    }

    async fn come_to(&mut self, block: &Block, place: &str) {
        match (&block.kind, &block.mark) {
            (_, Mark::NotRun(_)) => {}
            (_, Mark::Seen(name)) => {
                let shown: Vec<&str> = block.text.lines().collect();
                let terminal = self.terminals.iter_mut().find(|terminal| terminal.name == *name);
                let terminal = terminal.unwrap_or_else(|| panic!("{place}: no terminal {name}"));
                terminal.shows(&shown, place).await;
            }
            (Kind::Shell | Kind::Console, Mark::Stays(name)) => {
                for (command, shown) in block.commands() {
                    self.leave_running(name, &command, &shown, place).await;
                }
            }
            (Kind::Shell | Kind::Console, Mark::None) => {
                for (command, shown) in block.commands() {
                    self.run(&command, &shown, place).await;
                }
            }
            (Kind::File(name), _) => {
                std::fs::write(self.checkout.path().join(name), &block.text).unwrap();
            }
            (Kind::Other, _) => {}
        }
    }

    async fn run(&self, command: &str, shown: &[&str], place: &str) {
        // What it sets is there for the next one: variables and functions.
        let memory = self.desk.path().join("memory");
        let memory = memory.display();
        let script = format!(". {memory}\n{command}\n{{ export -p; declare -f; }} >{memory}");
        let output = timeout(COMMAND_LIMIT, self.shell(&script).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{place}: does not end: {command}"));
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = || {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("{place}: {command}\n{said}\n{complaint}\n{}", self.logs())
        };
        assert!(output.status.success(), "{}: {}", output.status, told());
        let printed: Vec<String> = said.lines().map(str::to_owned).collect();
        assert!(fits(shown, &printed), "not as shown: {}", told());
    }

    async fn leave_running(&mut self, name: &str, command: &str, shown: &[&str], place: &str) {
        if let Some(at) = self.terminals.iter().position(|terminal| terminal.name == name) {
            self.terminals.remove(at).interrupt().await;
        }
        let log = self.desk.path().join(format!("{name}.log"));
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = self.shell(command);
        // A group of its own, as in a terminal: ctrl-c reaches all of it.
        let child = child.stdout(Stdio::piped()).stderr(log).process_group(0).spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut terminal = Terminal { name: name.to_owned(), child, lines, fresh: Vec::new() };
        let is_shown = shown.iter().any(|line| line.trim() != "…");
        assert!(is_shown, "{place}: what stays is to show when it is there: use `console`");
        terminal.shows(shown, place).await;
        self.terminals.push(terminal);
    }

    /// A new shell in the checkout. It stops at the first command that fails.
    fn shell(&self, command: &str) -> Command {
        let (bin, venv) = (self.desk.path().join("bin"), cache().join("venv/bin"));
        let path = format!("'{}:{}':$PATH", bin.display(), venv.display());
        // A function, which comes before whatever a page puts on the path.
        let program = format!("callbridge() {{ {} \"$@\"; }}", bin.join("callbridge").display());
        let script = format!("set -a -e -o pipefail; PATH={path}\n{program}\n{command}");
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).current_dir(self.checkout.path());
        for (name, _) in std::env::vars() {
            let is_setting = name.starts_with("CALLBRIDGE_") && name != "CALLBRIDGE_CACHE";
            if is_setting || name == "OPENAI_API_KEY" {
                shell.env_remove(name);
            }
        }
        shell.env("CALLBRIDGE_ADMISSION_LATE_MS", "0").env("CALLBRIDGE_ADMISSION_QUEUE_MS", "0");
        shell.stdin(Stdio::null()).kill_on_drop(true);
        shell
    }

    /// What those who stay have told on standard error, for complaints.
    fn logs(&self) -> String {
        let entries =
            std::fs::read_dir(self.desk.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = entries.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
        logs.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }
}

impl Terminal {
    /// Waits until what it prints is what is shown.
    async fn shows(&mut self, shown: &[&str], place: &str) {
        while !fits(shown, &self.fresh) {
            let line = timeout(COMMAND_LIMIT, self.lines.next_line()).await;
            let line = line.ok().and_then(Result::unwrap);
            let Some(line) = line else {
                panic!("{place}: {} does not show {shown:#?}, but {:#?}", self.name, self.fresh);
            };
            self.fresh.push(line);
        }
        self.fresh.clear();
    }

    /// Ctrl-c.
    async fn interrupt(mut self) {
        let group = format!("-{}", self.child.id().expect("it has not been waited for"));
        // It may have ended by itself.
        let _ = Command::new("kill").args(["-INT", "--", &group]).status().await.unwrap();
        let ended = timeout(COMMAND_LIMIT, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} does not end by ctrl-c", self.name)).unwrap();
    }
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/callbridge");
    std::env::var_os("CALLBRIDGE_CACHE").map_or_else(home, PathBuf::from)
}

/// What a page may name of a checkout.
const CHECKOUT: &[&str] =
    &["Cargo.toml", "Makefile", "assets", "docs", "fixtures", "packaging", "scripts", "src"];

/// What is taken for cargo: `cargo run -- ARGUMENTS` runs what is built already.
const CARGO: &str = "#!/bin/sh\n\
    [ \"$1\" = run ] || { echo \"no cargo here for: $*\" >&2; exit 1; }\n\
    while [ \"$1\" != -- ]; do shift; done\n\
    shift\n\
    exec callbridge \"$@\"\n";

/// A bound on every single command, far above what a busy machine takes.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The same for a page.
const PAGE_LIMIT: Duration = Duration::from_secs(300);

#[test]
#[should_panic(expected = "a.md:1: echo one; false")]
fn a_command_that_fails_is_told() {
    read("```sh\necho one; false\necho two\n```\n");
}

#[test]
#[should_panic(expected = "not as shown: a.md:1: echo two")]
fn output_that_is_not_as_shown_is_told() {
    read("```console\n$ one=two\n$ echo $one\ntwo\n$ echo two\none\n```\n");
}

fn read(text: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Reader::new().read(&Page::parse("a.md", text)));
}
