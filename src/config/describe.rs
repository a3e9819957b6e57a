//! The effective settings as text, in the order of the manual, with secrets hidden.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::privacy::Secret;

use super::{BucketConfig, Config, LogFormat, LogLevels, ProfileConfig};

impl Config {
    /// Every setting by its key in the file, and the value in force.
    #[must_use]
    pub fn describe(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |key: &str, value: String| rows.push((key.to_owned(), value));
        row("listen", self.listen.to_string());
        let media: Vec<String> = self.media_listen.iter().map(ToString::to_string).collect();
        row("media_listen", media.join(","));
        row("media_tcp_listen", streams(self.media_tcp_listen.as_deref()));
        row("public_ip", self.public_ip.map_or_else(none, |ip| ip.to_string()));
        let file = |path: &PathBuf| path.display().to_string();
        let tls = self.http.tls.as_ref();
        row("tls.certificate", tls.map_or_else(none, |tls| file(&tls.certificate)));
        row("tls.key", tls.map_or_else(none, |tls| file(&tls.key)));
        let proxies: Vec<_> = self.http.trusted_proxies.iter().map(ToString::to_string).collect();
        row("http.trusted_proxies", listed(&proxies));
        row("stun.urls", listed(&self.ice.stun));
        let turn = self.ice.turn.as_ref();
        row("turn.urls", turn.map_or_else(none, |turn| listed(&turn.urls)));
        row("turn.secret", hidden(turn.map(|turn| &turn.secret)));
        let ttl = turn.map(|turn| turn.ttl.as_secs().to_string());
        row("turn.ttl_seconds", ttl.unwrap_or_else(none));
        row("database", without_password(&self.database));
        row("bootstrap_key", hidden(self.bootstrap_key.as_ref()));
        row("admin_token", hidden(self.admin_token.as_ref()));
        row("model", self.model.default.clone());
        for profile in &self.model.profiles {
            describe_profile(profile, &mut row);
        }
        row("local.dir", self.model.local.dir.display().to_string());
        row("local.voice", self.model.local.voice.clone());
        row("hearing.silero", self.hearing.silero.display().to_string());
        row("grace.client_seconds", self.grace.client.as_secs().to_string());
        row("grace.shutdown_seconds", self.grace.shutdown.as_secs().to_string());
        row("retention.inactive_hours", (self.retention.inactive.as_secs() / 3600).to_string());
        row("retention.idle_minutes", (self.retention.idle.as_secs() / 60).to_string());
        row("retention.alone_seconds", self.retention.alone.as_secs().to_string());
        row("archive.enabled", self.archive.enabled.to_string());
        row("archive.days", (self.archive.kept.as_secs() / 86_400).to_string());
        let recordings = self.recordings.as_ref();
        let directory = recordings.map(|recordings| recordings.directory.display().to_string());
        row("recordings.directory", directory.unwrap_or_else(none));
        let days = recordings.map(|recordings| (recordings.kept.as_secs() / 86_400).to_string());
        row("recordings.retention_days", days.unwrap_or_else(none));
        let minutes = recordings.map(|recordings| (recordings.longest.as_secs() / 60).to_string());
        row("recordings.max_minutes", minutes.unwrap_or_else(none));
        describe_bucket(recordings.and_then(|recordings| recordings.bucket.as_ref()), &mut row);
        let journal = self.journal.as_ref();
        let directory = journal.map(|journal| journal.directory.display().to_string());
        row("journal.directory", directory.unwrap_or_else(none));
        let megabytes = journal.map(|journal| (journal.bytes_max / 1_000_000).to_string());
        row("journal.megabytes_max", megabytes.unwrap_or_else(none));
        row("telemetry.otlp_endpoint", self.otlp_endpoint.clone().unwrap_or_else(none));
        row("limits.requests_per_second", self.limits.requests.to_string());
        row("limits.wrong_keys_per_second", self.limits.wrong_keys.to_string());
        row("limits.messages_per_second", self.limits.messages.to_string());
        let admission = self.admission;
        row("admission.late_ms", admission.late.as_millis().to_string());
        row("admission.queue_ms", admission.queue.as_millis().to_string());
        row("admission.late_percent", admission.late_percent.to_string());
        row("admission.setups_per_second", admission.setups_per_second.to_string());
        row("admission.calls_max", admission.calls_max.to_string());
        row("rooms.open", self.rooms.open.to_string());
        row("rooms.files", self.rooms.files.to_string());
        row("rooms.daily", self.rooms.daily.display().to_string());
        row("webhooks.private", self.webhooks.private.to_string());
        row("log.format", format_name(self.log.format).to_owned());
        row("log.level", levels_text(&self.log.levels));
        rows
    }
}

fn describe_profile(profile: &ProfileConfig, row: &mut impl FnMut(&str, String)) {
    let key = |field: &str| format!("models.{}.{field}", profile.name);
    row(&key("url"), profile.url.clone());
    row(&key("dialect"), profile.dialect.name().to_owned());
    row(&key("model"), profile.model.clone());
    row(&key("key"), hidden(profile.key.as_ref()));
    row(&key("voice"), profile.voice.clone().unwrap_or_else(none));
    row(&key("transcription_model"), profile.transcription_model.clone().unwrap_or_else(none));
    row(&key("noise_reduction"), profile.noise_reduction.clone().unwrap_or_else(none));
    row(&key("images"), profile.images.to_string());
}

fn describe_bucket(bucket: Option<&BucketConfig>, row: &mut impl FnMut(&str, String)) {
    let mut part = |name: &str, value: Option<String>| {
        row(
            &format!("recordings.s3.{name}"),
            value.filter(|it| !it.is_empty()).unwrap_or_else(none),
        );
    };
    part("bucket", bucket.map(|bucket| bucket.name.clone()));
    part("endpoint", bucket.map(|bucket| bucket.endpoint.clone()));
    part("region", bucket.map(|bucket| bucket.region.clone()));
    part("prefix", bucket.map(|bucket| bucket.prefix.clone()));
    part("path_style", bucket.map(|bucket| bucket.path_style.to_string()));
    part("access_key", bucket.map(|bucket| bucket.access_key.clone()));
    part("secret_key", bucket.map(|bucket| hidden(Some(&bucket.secret_key))));
    part("keep_local", bucket.map(|bucket| bucket.keep_local.to_string()));
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { none() } else { words.join(",") }
}

/// Where media is taken over TCP.
fn streams(addresses: Option<&[SocketAddr]>) -> String {
    match addresses {
        None => "as media_listen".to_owned(),
        Some([]) => "off".to_owned(),
        Some(some) => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

fn none() -> String {
    "none".to_owned()
}

fn hidden(secret: Option<&Secret>) -> String {
    secret.map_or_else(none, |_| "(set, not shown)".to_owned())
}

/// The URL of a server may carry a password: before the `@`, or as a parameter. What could be a
/// part of one, in a URL that is not quite one, is not shown either.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| *scheme != "sqlite")
    else {
        return url.to_owned();
    };
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let shown = if parameters.is_empty() { "" } else { "?…" };
    match place.rsplit_once('@') {
        _ if parameters.contains('@') => format!("{scheme}://…"),
        Some((_, place)) => format!("{scheme}://…@{place}{shown}"),
        None => format!("{scheme}://{place}{shown}"),
    }
}

fn format_name(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

fn levels_text(levels: &LogLevels) -> String {
    let modules = levels.modules.iter().map(|(module, level)| format!(",{module}={level}"));
    std::iter::once(levels.own.to_string()).chain(modules).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_password_is_not_shown() {
        assert_eq!(without_password("postgres://me:pw@db/x"), "postgres://…@db/x");
        assert_eq!(without_password("postgres://me:p@w@db/x"), "postgres://…@db/x");
        assert_eq!(without_password("postgres://db/x?password=pw"), "postgres://db/x?…");
        assert_eq!(without_password("postgres://me:p?w@db/x"), "postgres://…");
        assert_eq!(without_password("sqlite:a@b.db"), "sqlite:a@b.db");
        assert_eq!(without_password("sqlite:///a@b.db"), "sqlite:///a@b.db");
    }
}
