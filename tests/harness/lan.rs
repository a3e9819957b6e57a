//! Networks of a test's own: the test runs itself again in a namespace with one address, and may
//! have a neighbour on the same wire. Nothing of the machine's network is reached or changed.

use std::future::Future;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The address of whoever runs in the test's own namespace.
#[allow(dead_code, reason = "each test program uses its part of it")]
pub(crate) const HERE: &str = "10.77.0.1";

/// The address of the neighbour.
#[allow(dead_code, reason = "only tests of two machines have one")]
pub(crate) const NEXT_DOOR: &str = "10.77.0.2";

/// Runs a test in a network namespace of its own; to be called first in a `#[test]`. All that it
/// starts there ends with it.
pub(crate) fn run(limit: Duration, test: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        furnish();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { tokio::time::timeout(limit, test).await }).expect("in time");
        return;
    }
    let thread = std::thread::current();
    let name = thread.name().expect("tests run in threads of their names");
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    // A process namespace too: whatever the test leaves behind dies with it.
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    let status = command.status().expect("`unshare` is there: run `make test-deps`");
    assert!(status.success(), "{name}, in a network of its own: {status}");
}

/// A machine with a network of its own, and nothing in it. Dropping it takes it away.
#[allow(dead_code, reason = "only tests of two machines have one")]
pub(crate) struct Machine {
    holder: Child,
}

#[allow(dead_code, reason = "only tests of two machines have one")]
impl Machine {
    pub(crate) fn new() -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--", "sh", "-c", "echo; exec sleep infinity"]);
        let mut holder = holder.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let machine = Self { holder };
        machine.ip(&["link", "set", "lo", "up"]);
        machine
    }

    /// Moves an end of a wire from our own side to this machine, and gives it an address.
    pub(crate) fn plug_in(&self, end: &str, address: &str) {
        ip(&["link", "set", end, "netns", &self.holder.id().to_string()]);
        self.ip(&["addr", "add", address, "dev", end]);
        self.ip(&["link", "set", end, "up"]);
    }

    /// A program that will run there.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).args(["--", program]);
        command
    }

    /// Changes its network.
    pub(crate) fn ip(&self, arguments: &[&str]) {
        let status = self.command("ip").args(arguments).status();
        let status = status.expect("`nsenter` is there: run `make test-deps`");
        assert!(status.success(), "ip {arguments:?}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Another machine on the same wire. Dropping it takes it away.
#[allow(dead_code, reason = "only tests of two machines have one")]
pub(crate) struct Neighbour {
    machine: Machine,
}

#[allow(dead_code, reason = "only tests of two machines have one")]
impl Neighbour {
    /// Moves the far end of the wire into a namespace of its own.
    pub(crate) fn new() -> Self {
        let machine = Machine::new();
        machine.plug_in(FAR_END, "10.77.0.2/24");
        Self { machine }
    }

    /// A program that will run there.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.machine.command(program)
    }

    /// Pulls the plug, or puts it in again.
    #[expect(clippy::unused_self, reason = "without a neighbour there is no wire")]
    pub(crate) fn plug(&self, is_in: bool) {
        ip(&["link", "set", NEAR_END, if is_in { "up" } else { "down" }]);
    }
}

/// Gives our side of the wire another address, as a machine gets in another network.
#[allow(dead_code, reason = "only tests of machines that move do")]
pub(crate) fn readdress() {
    ip(&["addr", "flush", "dev", NEAR_END]);
    ip(&["addr", "add", "10.77.0.3/24", "dev", NEAR_END]);
}

fn furnish() {
    ip(&["link", "set", "lo", "up"]);
    ip(&["link", "add", NEAR_END, "type", "veth", "peer", "name", FAR_END]);
    ip(&["addr", "add", "10.77.0.1/24", "dev", NEAR_END]);
    ip(&["link", "set", NEAR_END, "up"]);
    ip(&["link", "set", FAR_END, "up"]);
}

/// Changes our own network.
pub(crate) fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    let status = status.expect("`ip` is there: run `make test-deps`");
    assert!(status.success(), "ip {arguments:?}");
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

const INSIDE: &str = "INSIDE_A_LAN";
const NEAR_END: &str = "lan0";
/// The end of the wire that is for another machine.
pub(crate) const FAR_END: &str = "lan1";
