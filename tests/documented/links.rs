//! Where the links of a page lead: to files that are there, and to headings within them.

use std::path::Path;

use super::page::Page;

/// The links of this page that lead nowhere, or out of the book.
pub(crate) fn astray(page: &Page) -> Vec<String> {
    let complaint = |target: &String| {
        let why = follow(page, target).err()?;
        Some(format!("{}: {target}: {why}", page.name))
    };
    targets(&page.prose).iter().filter_map(complaint).collect()
}

/// What links and images in this prose point at, other hosts left out.
pub(crate) fn targets(prose: &str) -> Vec<String> {
    let marked = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let images = prose.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let is_elsewhere = |target: &&str| target.contains("://") || target.starts_with("mailto:");
    marked.chain(images).filter(|target| !is_elsewhere(target)).map(str::to_owned).collect()
}

fn follow(page: &Page, target: &str) -> Result<(), &'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let here = Path::new(&page.name);
    let there = match (path, here.parent()) {
        ("", _) => here.to_owned(),
        (path, folder) => folder.ok_or("a page lies in a folder")?.join(path),
    };
    let there = there.canonicalize().map_err(|_| "there is no such file")?;
    let book = Path::new("docs").canonicalize().map_err(|_| "there is no book")?;
    if here.starts_with("docs") && !there.starts_with(book) {
        return Err("it leads out of the book");
    }
    if anchor.is_empty() || anchors(&there).iter().any(|name| name == anchor) {
        return Ok(());
    }
    Err("the page has no such heading")
}

/// What headings are called in links, on code hosts and in the book alike.
fn anchors(page: &Path) -> Vec<String> {
    let page = Page::read(&page.to_string_lossy());
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
