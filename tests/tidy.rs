//! House rules that no compiler checks. Each test reports every violation of its rule at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What each top-level module may name besides itself. Arrows point down; a new module needs a
/// row. `app`, `cli`, `main` and `lib` compose everything and are not listed.
const MAY_NAME: &[(&str, &[&str])] = &[
    // Layer 0: words.
    ("ids", &[]),
    ("meter", &[]),
    ("privacy", &[]),
    ("sys", &[]),
    // Layer 1: pure cores.
    ("agent", &["ids", "privacy"]),
    ("media", &["ids"]),
    // Layer 2: adapters, which do not know each other.
    ("models", &["ids", "meter", "privacy", "sys", "agent", "media"]),
    ("rooms", &["ids", "meter", "privacy", "sys", "agent", "media"]),
    ("store", &["ids", "privacy", "sys", "agent"]),
    ("traces", &["sys"]),
    // Layer 3: the shell.
    (
        "runtime",
        &["ids", "meter", "privacy", "sys", "agent", "media", "models", "rooms", "store", "traces"],
    ),
    // The same cores in simulated time.
    ("rehearsal", &["ids", "meter", "privacy", "agent", "media", "models", "runtime"]),
    // Layer 4: what clients see, by handles and never by adapters.
    ("api", &["ids", "meter", "privacy", "sys", "agent", "runtime"]),
    // Layer 5: how the process starts.
    ("config", &["privacy"]),
    ("telemetry", &["config"]),
    ("load", &["ids", "privacy", "sys", "media", "models"]),
];
/// Tests may name these anywhere: a test of a pure module needs an instant to begin with.
const LAYER_0: &[&str] = &["ids", "privacy", "sys"];
const COMPOSERS: &[&str] = &["app", "cli", "main", "lib"];

const PURE: &[&str] = &["agent", "media"];
/// What is pure in modules that are not.
const PURE_FILES: &[&str] = &["src/runtime/core.rs", "src/runtime/sound.rs"];
const PURE_NEVER: &[&str] = &[
    "tokio",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::fs",
    "std::net",
    "tracing",
    "serde",
    "rand",
    "getrandom",
];
const LINE_COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

#[test]
fn modules_name_only_what_lies_below_them() {
    check(&["src"], layer_violations);
}

#[test]
fn pure_modules_reach_for_nothing_outside() {
    check(&["src"], |source| {
        let is_pure = PURE.contains(&source.module()) || PURE_FILES.contains(&&*source.path);
        // The server of a rehearsal speaks JSON; for the rest it is as pure as what it rehearses.
        let is_rehearsal = source.module() == "rehearsal";
        let bans = |word: &&&str| is_pure || (is_rehearsal && **word != "serde");
        PURE_NEVER.iter().filter(bans).flat_map(|word| source.uses(word)).collect()
    });
}

#[test]
fn serde_stays_at_the_edges() {
    check(&["src"], |source| {
        let is_edge = |part: &str| ["wire", "rows", "journal", "config"].contains(&part);
        if source.path.trim_end_matches(".rs").split(['/', '_']).any(is_edge) {
            return Vec::new();
        }
        ["serde::", "Serialize", "Deserialize"].iter().flat_map(|word| source.uses(word)).collect()
    });
}

#[test]
fn nothing_is_routed_but_by_its_description() {
    check(&["src/api"], |source| {
        let ways = [".route(", ".route_service(", ".nest(", ".nest_service("];
        ways.iter().flat_map(|way| source.uses(way)).collect()
    });
}

#[test]
fn anyhow_stays_in_the_program() {
    check(&["src"], |source| {
        let banned: &[&str] = if COMPOSERS.contains(&source.module()) { &[] } else { &["anyhow"] };
        banned.iter().flat_map(|word| source.uses(word)).collect()
    });
}

#[test]
fn only_the_registry_locks() {
    check(&["src"], |source| match source.path.as_str() {
        "src/runtime/registry.rs" => Vec::new(),
        _ => ["Mutex", "RwLock"].iter().flat_map(|word| source.uses(word)).collect(),
    });
}

#[test]
fn every_file_opens_with_what_it_is() {
    check(&["src", "tests", "benches"], |source| {
        let says_it = source.text.lines().next().is_some_and(|line| line.starts_with("//! "));
        violations_if(!says_it, source, 1, "the first line is not a `//!` sentence")
    });
}

#[test]
fn lines_functions_and_files_are_short() {
    check(&["src", "tests", "benches"], size_violations);
}

#[test]
fn every_bound_says_what_happens_when_it_is_full() {
    check(&["src"], capacity_violations);
}

#[test]
fn every_fixture_is_used() {
    let mut readers = String::new();
    for folder in ["src", "tests", "benches"] {
        let read = |path: String| fs::read_to_string(path).unwrap_or_default();
        readers.extend(files_below(folder).into_iter().map(read));
    }
    let name = |path: &String| path.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    let mut unused = files_below("fixtures");
    unused.retain(|path| name(path) != "README.md" && !readers.contains(&name(path)));
    assert_eq!(unused, Vec::<String>::new(), "fixtures that no test, bench or source names");
}

#[test]
fn the_architecture_page_names_every_folder_and_no_other() {
    let page = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let named: BTreeSet<String> = folders_named(&page);
    let mut there = BTreeSet::new();
    for file in files_below("src") {
        let parents = file.match_indices('/').map(|(at, _)| file[..=at].to_owned());
        there.extend(parents.filter(|folder| folder != "src/"));
    }
    let unnamed: Vec<_> = there.difference(&named).collect();
    let gone: Vec<_> = named.difference(&there).collect();
    assert!(unnamed.is_empty(), "folders that ARCHITECTURE.md does not name: {unnamed:?}");
    assert!(gone.is_empty(), "folders that ARCHITECTURE.md names and that are gone: {gone:?}");
}

/// One Rust file: as it is, and as tokens without comments and the content of literals.
struct Source {
    path: String,
    text: String,
    tokens: Vec<(usize, String)>,
    /// The line, from 1, on which the tests at the end begin; 1 if the file has nothing else.
    tests_line: usize,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let opens_tests = |pair: &[&str]| {
            pair[0] == "#[cfg(test)]" && (pair[1].starts_with("#[") || pair[1] == "mod tests {")
        };
        let is_tests = path.ends_with("/tests.rs") || path.ends_with("/testing.rs");
        let tests_line = match lines.windows(2).position(opens_tests) {
            _ if is_tests => 1,
            at => at.unwrap_or(lines.len()) + 1,
        };
        Self { path: path.into(), text: text.into(), tokens: tokens_of(text), tests_line }
    }

    /// The top-level module that the file belongs to.
    fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inside.split('/').next().unwrap_or(inside)
    }

    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |(_, token)| token)
    }

    /// Whether these tokens stand at this place.
    fn stands_at(&self, at: usize, tokens: &[(usize, String)]) -> bool {
        tokens.iter().enumerate().all(|(i, (_, token))| self.token(at + i) == token)
    }

    /// Violations by naming `path`, such as `a::b`, before the tests at the end; a name that
    /// goes on after `_` counts too, for a crate and those around it.
    fn uses(&self, path: &str) -> Vec<String> {
        let (tokens, family) = (tokens_of(path), format!("{path}_"));
        let mut violations = Vec::new();
        for (at, (line, token)) in self.tokens.iter().enumerate() {
            let is_used = self.stands_at(at, &tokens) || token.starts_with(&family);
            let is_wrong = is_used && *line < self.tests_line;
            violations.extend(violations_if(is_wrong, self, *line, &format!("uses {path}")));
        }
        violations
    }
}

fn layer_violations(source: &Source) -> Vec<String> {
    let own = source.module();
    if COMPOSERS.contains(&own) {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_NAME.iter().find(|(module, _)| *module == own) else {
        return violations_if(true, source, 1, "this module has no row in MAY_NAME");
    };
    let mut violations = Vec::new();
    for (line, named) in modules_named(source) {
        let is_ours =
            COMPOSERS.contains(&named) || MAY_NAME.iter().any(|(module, _)| *module == named);
        let is_test_word = line >= source.tests_line && LAYER_0.contains(&named);
        let is_wrong = is_ours && named != own && !allowed.contains(&named) && !is_test_word;
        let what = format!("{own} names {named}, which does not lie below it");
        violations.extend(violations_if(is_wrong, source, line, &what));
    }
    violations
}

/// What stands directly below the crate's root in `crate::a`, `crate::{a, b::c}` and in as many
/// `super::` as lead to the root.
fn modules_named(source: &Source) -> Vec<(usize, &str)> {
    let depth = source.path.trim_end_matches("/mod.rs").matches('/').count();
    let roots = [tokens_of("crate::"), tokens_of(&"super::".repeat(depth))];
    let mut named = Vec::new();
    for at in 0..source.tokens.len() {
        let Some(root) = roots.iter().find(|root| source.stands_at(at, root)) else { continue };
        let first = at + root.len();
        if source.token(first) == "{" {
            named.extend(group_heads(source, first));
        } else {
            named.push((source.tokens[at].0, source.token(first)));
        }
    }
    named
}

/// The first names of `{a, b::c, d::{e}}`, whose brace stands at `open`.
fn group_heads(source: &Source, open: usize) -> Vec<(usize, &str)> {
    let mut heads = Vec::new();
    let mut depth = 0;
    for at in open..source.tokens.len() {
        match source.token(at) {
            "{" => depth += 1,
            "}" => depth -= 1,
            token if depth == 1 && matches!(source.token(at - 1), "{" | ",") => {
                heads.push((source.tokens[at].0, token));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn size_violations(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for (line, text) in (1..).zip(source.text.lines()) {
        let columns = text.chars().count();
        let what = format!("{columns} columns, and {LINE_COLUMNS_MAX} are allowed");
        violations.extend(violations_if(columns > LINE_COLUMNS_MAX, source, line, &what));
    }
    for (line, name, length) in functions(source) {
        let what = format!("{name} has {length} lines, and {FUNCTION_LINES_MAX} are allowed");
        violations.extend(violations_if(length > FUNCTION_LINES_MAX, source, line, &what));
    }
    let length = source.tests_line - 1;
    let what = format!("{length} lines before the tests, and {FILE_LINES_MAX} are allowed");
    violations.extend(violations_if(length > FILE_LINES_MAX, source, 1, &what));
    violations
}

/// Each function with a body: its line, its name, and its lines from signature to last brace.
fn functions(source: &Source) -> Vec<(usize, &str, usize)> {
    let mut functions = Vec::new();
    for at in 0..source.tokens.len() {
        let is_named = source.token(at + 1).starts_with(|c: char| c.is_alphabetic() || c == '_');
        if source.token(at) != "fn" || !is_named {
            continue;
        }
        let (mut braces, mut others) = (0, 0);
        for (line, token) in &source.tokens[at..] {
            match token.as_str() {
                "{" => braces += 1,
                "}" => braces -= 1,
                "(" | "[" => others += 1,
                ")" | "]" => others -= 1,
                ";" if braces == 0 && others == 0 => break,
                _ => continue,
            }
            if token == "}" && braces == 0 {
                let first = source.tokens[at].0;
                functions.push((first, source.token(at + 1), line - first + 1));
                break;
            }
        }
    }
    functions
}

fn capacity_violations(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let mut violations = Vec::new();
    for at in 0..source.tokens.len() {
        let (line, name) = (source.tokens[at].0, source.token(at + 1));
        if source.token(at) != "const" || !name.ends_with("_CAPACITY") {
            continue;
        }
        let above = lines[..line - 1].iter().rev();
        let mut docs = above.take_while(|text| text.starts_with("///") || text.starts_with("#["));
        let is_silent = !docs.any(|text| text.contains("When full"));
        let what = format!("{name} does not say `When full: …`");
        violations.extend(violations_if(is_silent, source, line, &what));
    }
    violations
}

/// The folders of `src` that a page names, as in `` `src/agent/` ``.
fn folders_named(page: &str) -> BTreeSet<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    let folders = quoted.filter(|text| text.starts_with("src/") && text.ends_with('/'));
    folders.map(str::to_owned).collect()
}

/// Splits into names, numbers and single signs; comments and the content of literals are left
/// out. Each token has its line, from 1.
fn tokens_of(text: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest).unwrap_or_else(|| {
            let name_end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            name_end.max(first.len_utf8())
        });
        let (token, after) = rest.split_at(length);
        if skipped(rest).is_none() && !first.is_whitespace() {
            tokens.push((line, token.to_owned()));
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of the comment or literal that `text` begins with.
fn skipped(text: &str) -> Option<usize> {
    let through = |from: usize, close: &str| {
        text[from..].find(close).map_or(text.len(), |at| from + at + close.len())
    };
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(through(2, "*/"));
    }
    if let Some(raw) = text.strip_prefix("br").or_else(|| text.strip_prefix('r')) {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        let inside = text.len() - raw.len() + hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        return raw[hashes..].starts_with('"').then(|| through(inside, &close));
    }
    let mut signs = text.chars();
    match (signs.next()?, signs.next()?, signs.next()?) {
        ('"', ..) => Some(quoted_length(text, '"')),
        // Without these, the sign begins a lifetime.
        ('\'', '\\', _) | ('\'', _, '\'') => Some(quoted_length(text, '\'')),
        _ => None,
    }
}

/// The length of a literal between two `quote` signs, of which it begins with the first.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if sign == quote => return at + sign.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn violations_if(is_wrong: bool, source: &Source, line: usize, what: &str) -> Vec<String> {
    is_wrong.then(|| format!("{}:{line}: {what}", source.path)).into_iter().collect()
}

/// Runs `rule` over every Rust file of `folders`; all violations are reported together.
fn check(folders: &[&str], rule: impl Fn(&Source) -> Vec<String>) {
    let mut violations = Vec::new();
    for path in folders.iter().flat_map(files_below) {
        if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            violations.extend(rule(&Source::new(&path, &text)));
        }
    }
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// All files below a folder, in order; none if there is no such folder.
fn files_below(folder: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(files_below(path));
        } else {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_rule_finds_every_way_to_name_a_module() {
        let text = "use crate::{ids::AgentId, media, rooms::{a, store}};\n\
                fn f(x: crate::runtime::Gateway) { super::super::api::f(); }\n\
                // crate::models\nconst S: &str = \"crate::models\";";
        let wanted = [
            "1: agent names media",
            "1: agent names rooms",
            "2: agent names runtime",
            "2: agent names api",
        ];
        assert_told(&layer_violations(&Source::new("src/agent/call.rs", text)), &wanted);
        let unknown = layer_violations(&Source::new("src/plugins/mod.rs", ""));
        assert_told(&unknown, &["1: this module has no row"]);
        assert_told(&layer_violations(&Source::new("src/ids.rs", "use super::sys;")), &["1: ids"]);
        let tests =
            "#[cfg(test)]\nmod tests {\nuse crate::sys::clock;\nuse crate::agent::Phase;\n}";
        assert_told(
            &layer_violations(&Source::new("src/media/x.rs", tests)),
            &["4: media names agent"],
        );
        assert_told(
            &layer_violations(&Source::new("src/api/mod.rs", "use super::rooms;")),
            &["1: api"],
        );
        assert_told(&layer_violations(&Source::new("src/api/rooms.rs", "use super::rooms;")), &[]);
    }

    #[test]
    fn the_word_rules_see_code_and_neither_comments_nor_literals_nor_tests() {
        let text = "let a = Instant::now(); // tokio\nuse tokio_util::x;\n\
                    let b = 'a'; r#\"tokio\"#;\n\
                    fn f<'a>(tokio: &'a str) {}\n#[cfg(test)]\nmod tests {\ntokio::spawn();\n}";
        let source = Source::new("src/media/x.rs", text);
        assert_told(&source.uses("Instant::now"), &["1: uses"]);
        assert_told(&source.uses("tokio"), &["2: uses", "4: uses"]);
        assert_eq!(source.module(), "media");
    }

    #[test]
    fn the_size_rule_counts_columns_functions_and_files() {
        let long_line = format!("// {}", "x".repeat(LINE_COLUMNS_MAX));
        let body = "    // \"}\n".repeat(FUNCTION_LINES_MAX);
        let text = format!("{long_line}\nfn short(a: [u8; 3]);\nfn long() {{\n{body}}}\n");
        let source = Source::new("src/x.rs", &text);
        assert_told(&size_violations(&source), &["1: 103 columns", "3: long has 72 lines"]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}", "\n".repeat(9));
        let text = |lines| format!("{}{tests}", "\n".repeat(lines));
        assert_told(&size_violations(&Source::new("src/x.rs", &text(FILE_LINES_MAX))), &[]);
        let told = size_violations(&Source::new("src/x.rs", &text(FILE_LINES_MAX + 1)));
        assert_told(&told, &["1: 501 lines before the tests"]);
    }

    #[test]
    fn the_capacity_rule_wants_the_words_right_above() {
        let text = "/// When full: waits.\n#[allow(x)]\npub const A_CAPACITY: usize = 1;\n\
                /// A queue.\nconst B_CAPACITY: usize = 1;\n";
        let told = capacity_violations(&Source::new("src/x.rs", text));
        assert_told(&told, &["5: B_CAPACITY does not say"]);
    }

    #[test]
    fn folders_are_found_in_a_page() {
        let named =
            folders_named("`src/a/` is it, `src/a/b.rs` and `tests/` are not, src/c/ neither");
        assert_eq!(named.into_iter().collect::<Vec<_>>(), ["src/a/"]);
    }

    /// Each violation contains what was wanted of it, and there are no more of them.
    fn assert_told(violations: &[String], wanted: &[&str]) {
        let all_contain = violations
            .iter()
            .zip(wanted)
            .all(|(told, wanted)| told.contains(&format!(":{wanted}")));
        assert!(
            violations.len() == wanted.len() && all_contain,
            "{violations:#?}\nnot {wanted:#?}"
        );
    }
}
