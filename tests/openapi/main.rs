//! The description of the HTTP interface, against the running gateway.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

#[path = "../harness/mod.rs"]
mod harness;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use harness::{ADMIN, House, KEY};
use tokio::process::Command;

#[tokio::test]
async fn the_description_and_its_page_need_no_key_and_no_other_host() {
    let house = House::open().await;
    let get = async |path| house.bare(Method::GET, path).await;
    let document = get("/openapi.json").await;
    assert_eq!(document.status, StatusCode::OK);
    assert_eq!(document.header("content-type"), "application/json");
    let described = document.json();
    assert!(described["openapi"].as_str().expect("a version").starts_with("3.1"));
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));

    let page = get("/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("script-src 'self'"));
    let script = get("/assets/docs.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    for text in [page.text, script.text] {
        assert!(!text.contains("://"), "something of another host");
    }
}

/// The way back, that nothing is routed without a description, needs no test: the description is
/// what it is routed by, and `tests/tidy.rs` sees to it that there is no other way.
#[tokio::test]
async fn every_call_that_is_described_is_there_and_no_other() {
    let house = House::open().await;
    let document = house.bare(Method::GET, "/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let url = path.replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let is_described = item.get(method.to_lowercase()).is_some();
            let method = method.parse::<Method>().expect("a method");
            if url.ends_with("/events") && method == Method::GET {
                continue; // A stream without end; `tests/rest.rs` reads its beginning.
            }
            let answer = house.bare(method.clone(), &url).await;
            let is_there = answer.status != StatusCode::METHOD_NOT_ALLOWED
                && !answer.text.contains("there is nothing at");
            assert_eq!(is_there, is_described, "{method} {path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn schemathesis_finds_no_fault() {
    let mut house = House::open().await;
    let address = house.serve().await;
    let folder = tempfile::tempdir().expect("a folder");
    let program = cache().join("venv/bin/schemathesis");
    assert!(program.is_file(), "{} is missing: run make test-deps", program.display());
    let run = Command::new(program)
        .args(["--config-file", &here("schemathesis.toml")])
        .args(["run", &format!("http://{address}/openapi.json"), "--no-color"])
        .args(["--header", &format!("X-API-Key: {KEY}")])
        .args(["--header", &format!("Authorization: Bearer {ADMIN}")])
        .env("SCHEMATHESIS_HOOKS", here("hooks.py"))
        // It keeps examples in the folder that it runs in.
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(PATIENCE, run).await.expect("it ends").expect("it runs");
    let [told, complaint] =
        [run.stdout, run.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(run.status.success(), "{}:\n{told}\n{complaint}", run.status);
}

fn here(file: &str) -> String {
    format!("{}/tests/openapi/{file}", env!("CARGO_MANIFEST_DIR"))
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/callbridge");
    std::env::var_os("CALLBRIDGE_CACHE").map_or_else(home, PathBuf::from)
}

/// A run takes a third of this on two cores that are busy with other tests.
const PATIENCE: Duration = Duration::from_mins(3);
