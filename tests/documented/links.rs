//! Where the links of a page lead: to files that are there, and to headings within them.

use std::path::{Component, Path, PathBuf};

use super::page::Page;

/// The links of this page that lead nowhere, or out of the book.
pub(crate) fn astray(page: &Page) -> Vec<String> {
    let complaint = |target: &str| {
        let why = wrong_with(page, target)?;
        Some(format!("{}: {target}: {why}", page.name))
    };
    targets(&page.prose).iter().filter_map(|target| complaint(target)).collect()
}

/// What links and images in this prose point at, other hosts left out.
pub(crate) fn targets(prose: &str) -> Vec<String> {
    let marked = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let images = prose.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let is_elsewhere = |target: &&str| target.contains("://") || target.starts_with("mailto:");
    marked.chain(images).filter(|target| !is_elsewhere(target)).map(str::to_owned).collect()
}

fn wrong_with(page: &Page, target: &str) -> Option<&'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let here = Path::new(&page.name);
    let file = match path {
        "" => here.to_owned(),
        path => plain(&here.parent().unwrap().join(path)),
    };
    if !file.exists() {
        return Some("there is no such file");
    }
    if here.starts_with("docs") && !file.starts_with("docs") {
        return Some("it leads out of the book");
    }
    let is_found = anchor.is_empty()
        || anchors(&Page::read(file.to_str().unwrap())).contains(&anchor.to_owned());
    (!is_found).then_some("the page has no such heading")
}

/// A path without `..` in it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// What headings are called in links, on code hosts and in the book alike.
fn anchors(page: &Page) -> Vec<String> {
    let headings = page.prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn headings_are_called_as_code_hosts_call_them() {
    assert_eq!(anchor("A Prometheus and a Grafana"), "a-prometheus-and-a-grafana");
    assert_eq!(anchor("What is `heard`?"), "what-is-heard");
}
