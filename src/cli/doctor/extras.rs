//! What a gateway may have and need not: the detector silero, rooms of Daily.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::finding::Finding;
use crate::app;
use crate::config::{HearingConfig, RoomsConfig};
use crate::sys::tasks;

/// Whether the model of the detector `silero` can be read, if it is there.
pub(super) async fn silero(config: &HearingConfig) -> Finding {
    let HearingConfig { silero: path, is_silero_named } = config;
    if !path.exists() {
        let way = "`make deps-silero` brings it";
        return missing(SILERO, "hearing.silero", path, *is_silero_named, way);
    }
    let shown = path.display().to_string();
    let path = path.clone();
    let reading = async {
        match tasks::spawn_blocking(move || app::read_silero(&path)).await {
            Ok(Ok(_)) => Finding::fine(SILERO, format!("{shown} is whole")),
            Ok(Err(error)) => Finding::failed(SILERO, format!("{error:#}"), SILERO_REMEDY),
            Err(error) => Finding::failed(SILERO, error.to_string(), SILERO_REMEDY),
        }
    };
    Finding::within(SILERO, DEADLINE, reading).await
}

/// Whether Daily's package can be loaded, if it is there.
pub(super) async fn daily(config: &RoomsConfig) -> Finding {
    let RoomsConfig { daily: python, is_daily_named, .. } = config;
    if !python.exists() {
        let way = "`make deps-daily` brings it";
        return missing(DAILY, "rooms.daily", python, *is_daily_named, way);
    }
    Finding::within(DAILY, DEADLINE, import_daily(python)).await
}

async fn import_daily(python: &Path) -> Finding {
    let shown = python.display();
    let mut command = Command::new(python);
    // As the helper is started: isolated, and without the gateway's keys.
    command.args(["-I", "-c", "import daily"]).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let remedy = "`make deps-daily` brings it anew; without it, leave rooms.daily out";
    match command.status().await {
        Ok(status) if status.success() => Finding::fine(DAILY, format!("{shown} has its package")),
        Ok(_) => Finding::failed(DAILY, format!("{shown} cannot load its package"), remedy),
        Err(error) => Finding::failed(DAILY, format!("{shown} cannot be run: {error}"), remedy),
    }
}

/// What is named must be there, for the gateway does not start without it.
fn missing(check: &str, setting: &str, path: &Path, is_named: bool, way: &str) -> Finding {
    if is_named {
        let seen = format!("{setting} is {}, which is not there", path.display());
        return Finding::failed(check, seen, format!("{way}; or leave {setting} out"));
    }
    Finding::fine(check, format!("left out; {way}"))
}

const SILERO: &str = "silero";
const DAILY: &str = "daily";
const SILERO_REMEDY: &str = "remove it and run `make deps-silero`, or leave hearing.silero out";

/// How long one of them may take to load.
const DEADLINE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[tokio::test]
    async fn what_nobody_named_may_be_missing_and_what_is_named_may_not() {
        let config = |is_silero_named| HearingConfig { silero: "/no/x".into(), is_silero_named };
        assert_eq!(silero(&config(false)).await.state, State::Fine);
        let named = silero(&config(true)).await;
        assert!(named.is_failed() && named.line().contains("make deps-silero"), "{named:?}");
    }

    #[tokio::test]
    async fn a_python_without_the_package_is_told() {
        let finding = import_daily(Path::new("/bin/false")).await;
        assert!(finding.line().contains("cannot load its package"), "{finding:?}");
        let finding = import_daily(Path::new("/no/python")).await;
        assert!(finding.line().contains("cannot be run"), "{finding:?}");
    }
}
