//! Can the models be had? Each is asked for a session, which is closed at once.

use std::time::Duration;

use super::finding::Finding;
use crate::agent::{AgentSpec, Medium, ModelEvent};
use crate::app;
use crate::config::{LOCAL, ModelsConfig, ProfileConfig};
use crate::meter::Meter;
use crate::models::{self, ModelItem, ModelProfile};
use crate::sys::clock;

/// One finding for each profile, the local one first.
pub(super) async fn all(config: &ModelsConfig) -> Vec<Finding> {
    let mut findings = vec![Finding::within(&check(LOCAL), DEADLINE, local(config)).await];
    for profile in &config.profiles {
        let check = check(&profile.name);
        findings.push(Finding::within(&check, DEADLINE, remote(profile)).await);
    }
    findings
}

/// Whether the local model loads and answers. It may be missing where agents get another.
async fn local(config: &ModelsConfig) -> Finding {
    let check = check(LOCAL);
    let (url, _server) = match app::open_local(config).await {
        Ok(local) => local,
        Err(error) if config.default == LOCAL => {
            let remedy = "bring what is missing, or set model to another profile";
            return Finding::failed(&check, format!("{error:#}"), remedy);
        }
        Err(error) => {
            return Finding::fine(
                &check,
                format!("left out, for nobody has to have it: {error:#}"),
            );
        }
    };
    match open(ModelProfile::local(url)).await {
        Ok(took) => Finding::fine(&check, format!("has loaded; a session took {took}")),
        Err(reason) => Finding::failed(&check, reason, "see what the log says of it"),
    }
}

/// Whether a server gives a session to who has this key.
async fn remote(profile: &ProfileConfig) -> Finding {
    let check = check(&profile.name);
    let key = if profile.key.is_some() { "with its key" } else { "without a key" };
    match open(app::profile_of(profile)).await {
        Ok(took) => {
            let seen = format!("{} gives a session {key}, which took {took}", profile.model);
            Finding::fine(&check, seen)
        }
        Err(reason) => {
            let remedy = remedy(profile, &reason);
            Finding::failed(&check, format!("no session {key}: {reason}"), remedy)
        }
    }
}

/// Opens a session and closes it; how long that took, or why there is none.
async fn open(mut profile: ModelProfile) -> Result<String, String> {
    profile.deadlines.connect = PATIENCE;
    profile.deadlines.configure = PATIENCE;
    let begun = clock::now();
    let spec = AgentSpec { name: "doctor".to_owned(), ..AgentSpec::default() };
    let mut link = models::open(&profile, spec, Medium::Voice, &Meter::new());
    while let Some(arrived) = link.items.recv().await {
        match arrived.item {
            ModelItem::Event(ModelEvent::Ready { .. }) => {
                let took = clock::now().duration_since(begun).as_millis();
                return Ok(format!("{took} ms"));
            }
            ModelItem::Event(ModelEvent::Failed(failure)) => return Err(failure.to_string()),
            ModelItem::Event(_) | ModelItem::Audio { .. } | ModelItem::AudioDone { .. } => {}
        }
    }
    Err("the session ended before it began".to_owned())
}

/// What to do about a server that gives no session, by what it has answered.
fn remedy(profile: &ProfileConfig, reason: &str) -> String {
    let ProfileConfig { name, url, model, .. } = profile;
    let key = if name == "openai" {
        "OPENAI_API_KEY".to_owned()
    } else {
        format!("the variable that models.{name}.key_env names")
    };
    let has_status =
        |codes: &[u16]| codes.iter().any(|code| reason.contains(&format!("HTTP {code}")));
    if has_status(&[401, 403]) {
        format!("put a key that may use {model} into {key}")
    } else if has_status(&[404]) {
        format!("see whether models.{name}.url and models.{name}.model are right")
    } else if has_status(&[429]) {
        "see the limits and the credit of the account".to_owned()
    } else {
        let place = url.split('?').next().unwrap_or(url);
        format!("see whether {place} can be reached from here and models.{name} is right")
    }
}

fn check(profile: &str) -> String {
    format!("model {profile}")
}

/// How long a server may take for its socket, and for its session.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one model may take in all; the local one has to be loaded first.
const DEADLINE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DialectConfig;

    #[test]
    fn what_the_server_answers_decides_what_to_do() {
        let remedy = |name: &str, reason: &str| remedy(&profile(name), reason);
        let refused = "host: refused with HTTP 401";
        assert!(remedy("openai", refused).contains("OPENAI_API_KEY"));
        assert!(remedy("mine", refused).contains("models.mine.key_env"));
        assert!(remedy("mine", "host: refused with HTTP 404").contains("models.mine.model"));
        assert!(remedy("mine", "host: refused with HTTP 429").contains("account"));
        let unreachable = remedy("mine", "host: connection refused");
        assert!(unreachable.contains("wss://host/v1") && !unreachable.contains("secret"));
    }

    fn profile(name: &str) -> ProfileConfig {
        ProfileConfig {
            name: name.to_owned(),
            url: "wss://host/v1?key=secret".to_owned(),
            dialect: DialectConfig::Generic,
            model: "m".to_owned(),
            key: None,
            voice: None,
            transcription_model: None,
            noise_reduction: None,
            images: true,
        }
    }
}
