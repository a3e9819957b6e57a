//! What an operator runs beside the gateway: doctor, health, completions, the manual page; and the
//! files that make a service and a package of it.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's helpers may fail the test")]

mod compose;
mod files;
mod relays;
mod worlds;

use std::net::{TcpListener, UdpSocket};

use worlds::World;

const PROFILE: &str = "model = 'mine'\n[models.mine]\nmodel = 'm'\nurl = 'ws://ADDRESS/v1'\n\
                       dialect = 'generic'\nkey_env = 'MY_KEY'\n";

#[tokio::test]
async fn in_a_good_world_all_is_well_and_nothing_is_changed() {
    let world = World::new();
    let told = world.doctor(&[]).await;
    assert_eq!(told.code, Some(0), "{}", told.out);
    for check in ["settings", "database", "http", "media", "model local", "clock", "silero"] {
        told.line(&format!("ok       {check:<16} "));
    }
    assert!(told.line("warning  ice").contains("only this machine can call"), "{}", told.out);
    assert!(told.out.ends_with("a gateway can run here\n"), "{}", told.out);
    assert_eq!(world.files(), Vec::<String>::new());
}

#[tokio::test]
async fn programs_read_the_same_as_json() {
    let world = World::new();
    let told = world.doctor(&["--json", "--database", "sqlite:/no/where.db"]).await;
    assert_eq!(told.code, Some(1), "{}", told.out);
    let report: serde_json::Value = serde_json::from_str(&told.out).expect("one object");
    assert_eq!(report["healthy"], false);
    let checks = report["checks"].as_array().expect("a list");
    let database = checks.iter().find(|one| one["check"] == "database").expect("the check");
    assert_eq!(database["state"], "failed");
    assert_eq!(database["remedy"], "make the folder, and give it to the gateway's user");
    assert!(checks.iter().any(|one| one["state"] == "ok" && one["remedy"].is_null()));
}

#[tokio::test]
async fn settings_that_are_wrong_are_all_told() {
    let world = World::new();
    let told = world.doctor(&["--listen", "here", "--log", "loud"]).await;
    assert_eq!(told.code, Some(1), "{}", told.out);
    assert!(told.line("failed   settings         --listen").contains("mend this setting"));
    told.line("failed   settings         --log");
}

#[tokio::test]
async fn ports_that_strangers_hold_are_named() {
    let http = TcpListener::bind("127.0.0.1:0").expect("a port");
    let media = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = http.local_addr().expect("an address").to_string();
    let media_at = media.local_addr().expect("an address").to_string();
    let stranger = std::thread::spawn(move || drop(http.accept()));
    let told = World::new().doctor(&["--listen", &at, "--media-listen", &media_at]).await;
    stranger.join().expect("somebody has asked");
    assert_eq!(told.code, Some(1), "{}", told.out);
    assert!(told.line(&format!("failed   http             {at}")).contains("ss -ltnp"));
    assert!(told.line(&format!("failed   media            {media_at}")).contains("ss -lunp"));
}

#[tokio::test]
async fn a_port_for_media_over_tcp_that_a_stranger_holds_is_named() {
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = stranger.local_addr().expect("an address").to_string();
    let told = World::new().doctor(&["--media-tcp-listen", &at]).await;
    let line = told.line(&format!("failed   media            {at}"));
    assert!(line.contains("set media_tcp_listen to another port"), "{line}");
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_told() {
    // Not even root makes a file there.
    let told = World::new().doctor(&["--database", "sqlite:/proc/callbridge.db"]).await;
    assert_eq!(told.code, Some(1), "{}", told.out);
    assert!(told.line("failed   database").contains("let the gateway's user read and write"));
}

#[tokio::test]
async fn a_folder_for_recordings_that_cannot_be_written_is_told() {
    let world = World::new();
    let told = world.doctor(&["--recordings-directory", "/proc/recordings"]).await;
    assert_eq!(told.code, Some(1), "{}", told.out);
    assert!(told.line("failed   recordings").contains("name another"), "{}", told.out);
    let told = world.doctor(&["--recordings-directory", "recordings"]).await;
    assert!(
        told.out.contains(" recordings       recordings can be written, and has "),
        "{}",
        told.out
    );
    assert_eq!(world.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_is_read_with_its_key_and_its_end() {
    let world = World::new();
    let settings = ["--tls-certificate", "c.pem", "--tls-key", "k.pem"];
    for (days, beginning) in [(90, "ok "), (3, "warning "), (-1, "failed ")] {
        let (certificate, key) = worlds::certificate(days);
        world.write("c.pem", &certificate);
        world.write("k.pem", &key);
        let told = world.doctor(&settings).await;
        let line = told.line(&format!("{beginning:<8} tls"));
        assert!(line.contains("c.pem"), "{line}");
        assert_eq!(told.code, Some(i32::from(days < 0)), "{}", told.out);
    }
    world.write("k.pem", &worlds::certificate(90).1);
    let told = world.doctor(&settings).await;
    assert!(told.line("failed   tls").contains("make no HTTPS"), "{}", told.out);
}

#[tokio::test]
async fn proxies_that_are_everybody_are_told() {
    let world = World::new();
    let told = world.doctor(&["--http-trusted-proxies", "0.0.0.0/0"]).await;
    assert!(told.line("warning  proxies").contains("is everybody"), "{}", told.out);
    let told = world.doctor(&["--http-trusted-proxies", "10.0.0.0/8"]).await;
    told.line("ok       proxies");
}

#[tokio::test]
async fn a_model_that_is_not_there_is_told() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = closed.local_addr().expect("an address").to_string();
    drop(closed);
    let world = World::new();
    world.write("callbridge.toml", &PROFILE.replace("ADDRESS", &at));
    let told = world.doctor(&[]).await;
    assert_eq!(told.code, Some(1), "{}", told.out);
    let line = told.line("failed   model mine");
    assert!(line.contains(&format!("see whether ws://{at}/v1 can be reached")), "{line}");
}

#[tokio::test]
async fn a_key_that_is_wrong_is_told_and_not_shown() {
    let server = worlds::refusing("401 Unauthorized");
    let world = World::new();
    world.write("callbridge.toml", &PROFILE.replace("ADDRESS", &server.to_string()));
    let told = world.doctor(&[]).await;
    assert_eq!(told.code, Some(1), "{}", told.out);
    let line = told.line("failed   model mine");
    assert!(line.contains("HTTP 401") && line.contains("models.mine.key_env"), "{line}");
    assert!(!told.out.contains(worlds::MODEL_KEY), "{}", told.out);
    told.line("ok       model local");
    assert!(told.line("ok       clock").contains("that of mine"), "{}", told.out);
}

#[tokio::test]
async fn a_gateway_that_runs_is_healthy_and_holds_its_ports() {
    let world = World::new();
    let gateway = world.serve().await;
    let health = world.run(&["health", &gateway.url]).await;
    assert_eq!((health.code, health.out.as_str()), (Some(0), "ok\n"));
    let at = gateway.url.strip_prefix("http://").expect("its address").to_owned();
    let told = world.doctor(&["--listen", &at]).await;
    assert_eq!(told.code, Some(0), "{}", told.out);
    assert!(told.line("ok       http").contains("served by a gateway"), "{}", told.out);
    assert!(told.line("ok       database").contains("up to date"), "{}", told.out);
    assert_eq!(world.run(&["health", "--listen", &at]).await.code, Some(0));
    gateway.kill().await;
    let health = world.run(&["health", "--listen", &at]).await;
    assert_eq!(health.code, Some(1));
    assert!(health.err.contains("does not answer"), "{}", health.err);
}

#[tokio::test]
async fn what_answers_like_no_gateway_is_not_healthy() {
    let server = worlds::refusing("200 OK");
    let health = World::new().run(&["health", &format!("http://{server}/")]).await;
    assert_eq!(health.code, Some(1));
    assert!(health.err.contains("is no gateway"), "{}", health.err);
}

#[tokio::test]
async fn manual_and_completions_are_printed() {
    let world = World::new();
    let page = world.run(&["man"]).await;
    assert_eq!(page.code, Some(0), "{}", page.err);
    assert!(page.out.contains(".TH callbridge 1") && page.out.contains("doctor"), "{}", page.out);
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef callbridge"), ("fish", "complete -c")]
    {
        let script = world.run(&["completions", shell]).await;
        assert_eq!(script.code, Some(0), "{}", script.err);
        assert!(script.out.contains(mark), "{shell}: {}", script.out);
    }
    let unknown = world.run(&["completions", "csh"]).await;
    assert_eq!(unknown.code, Some(64), "{}", unknown.err);
}
