//! A page of the documentation as a list of its blocks of code, and the prose around them.

use std::path::Path;

/// A page, and what in it is code.
pub(crate) struct Page {
    /// Its path from the checkout.
    pub(crate) name: String,
    pub(crate) blocks: Vec<Block>,
    /// All lines that are no code.
    pub(crate) prose: String,
}

/// What stands between two fences.
pub(crate) struct Block {
    /// The line of its first fence, from 1.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) kind: Kind,
    pub(crate) mark: Mark,
    pub(crate) text: String,
}

/// What is to be done with a block.
#[derive(PartialEq)]
pub(crate) enum Kind {
    /// Commands, one a line.
    Shell,
    /// Commands behind `$`, and what they print.
    Console,
    /// What is saved under this name.
    File(String),
    /// To be read only.
    Other,
}

/// What the page says to this test about a block.
#[derive(PartialEq)]
pub(crate) enum Mark {
    None,
    NotRun(String),
    Stays(String),
    Seen(String),
}

impl Page {
    /// Every page of the documentation.
    pub(crate) fn all() -> Vec<Self> {
        let mut names: Vec<String> =
            ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
                .map(str::to_owned)
                .into();
        for entry in std::fs::read_dir("docs").unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|ending| ending == "md") {
                names.push(format!("docs/{name}"));
            }
        }
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    pub(crate) fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(name);
        Self::parse(name, &text.unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let mut page = Self { name: name.to_owned(), blocks: Vec::new(), prose: String::new() };
        let mut lines = text.lines().enumerate();
        let mut mark = Mark::None;
        while let Some((at, line)) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let code = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
                let text: String = code.flat_map(|line| [line, "\n"]).collect();
                let mark = std::mem::replace(&mut mark, Mark::None);
                page.blocks.push(Block::new(at + 1, language, mark, text));
                continue;
            }
            if !line.is_empty() {
                mark = Mark::read(line, || format!("{name}:{}", at + 1));
            }
            page.prose.push_str(line);
            page.prose.push('\n');
        }
        page
    }
}

impl Block {
    fn new(line: usize, language: &str, mark: Mark, text: String) -> Self {
        let kind = match language {
            "sh" => Kind::Shell,
            "console" => Kind::Console,
            _ => file_name(&text).map_or(Kind::Other, |name| Kind::File(name.to_owned())),
        };
        Self { line, language: language.to_owned(), kind, mark, text }
    }

    /// The commands of the block, each with the lines that it is said to print.
    pub(crate) fn commands(&self) -> Vec<(String, Vec<&str>)> {
        if self.kind == Kind::Shell {
            return vec![(self.text.clone(), vec!["…"])];
        }
        let mut commands: Vec<(String, Vec<&str>)> = Vec::new();
        for line in self.text.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((format!("{command}\n"), Vec::new())),
                (None, Some((command, printed))) => {
                    let goes_on = command.ends_with("\\\n") || line.starts_with("    ");
                    if printed.is_empty() && goes_on {
                        command.extend([line, "\n"]);
                    } else {
                        printed.push(line);
                    }
                }
                (None, None) => panic!("line {}: output before any command", self.line),
            }
        }
        commands
    }
}

impl Mark {
    /// Reads a line that stands above a block; `place` is for complaints.
    fn read(line: &str, place: impl Fn() -> String) -> Self {
        let inner = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        let Some((word, rest)) = inner.and_then(|inner| inner.split_once(": ")) else {
            return Self::None;
        };
        let rest = rest.to_owned();
        match word {
            "not run" => Self::NotRun(rest),
            "stays" => Self::Stays(rest),
            "seen" => Self::Seen(rest),
            // Marks of other tests.
            "demo" | "load" => Self::None,
            _ => panic!("{}: {word:?} means nothing to this test", place()),
        }
    }
}

/// The name in a first line such as `// agent.js` or `# callbridge.toml`.
fn file_name(text: &str) -> Option<&str> {
    let first = text.lines().next()?;
    let name = first.strip_prefix("// ").or_else(|| first.strip_prefix("# "))?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let (stem, ending) = name.rsplit_once('.')?;
    (name.chars().all(is_name) && !stem.is_empty() && !ending.is_empty()).then_some(name)
}

#[test]
fn a_page_is_taken_apart() {
    let text = "# Title\n<!-- stays: gateway -->\n\n\
                ```console\n$ a \\\nb\n$ c 'd\n    e'\n…\n  f\n```\n\
                ```js\n// agent.js\nx();\n```\n\
                <!-- not run: for a reason -->\nmore\n```sh\nls\n```\n";
    let page = Page::parse("a.md", text);
    let [console, program, shell] = &page.blocks[..] else { panic!("three blocks") };
    assert!(console.line == 4 && console.mark == Mark::Stays("gateway".into()));
    let commands =
        [("a \\\nb\n".to_owned(), vec![]), ("c 'd\n    e'\n".to_owned(), vec!["…", "  f"])];
    assert_eq!(console.commands(), commands);
    assert!(program.kind == Kind::File("agent.js".into()) && program.mark == Mark::None);
    // The comment stands above something else.
    assert!(shell.kind == Kind::Shell && shell.mark == Mark::None);
    assert_eq!(shell.commands(), [("ls\n".to_owned(), vec!["…"])]);
    assert!(page.prose.contains("more") && !page.prose.contains("ls"));
}

#[test]
#[should_panic(expected = "means nothing to this test")]
fn a_misspelt_mark_is_told() {
    Page::parse("a.md", "<!-- not ran: it is late -->\n");
}
