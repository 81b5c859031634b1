//! The examples of the documentation, as the pages show them: rules and statements build, commands
//! run, and what comes out is what stands there. After a change that is wanted
//! `TIDEMILL_WRITE_DOCS=1` writes results anew.
//!
//! Blocks are told apart by what they are tagged with, and by what is in them:
//!
//! - `toml` is a rule or a configuration. One that is not whole gets the rest from here.
//! - `sql` is a statement, and from there on the one that is tried.
//! - `json` whose lines have a payload are the events that statements and rules are tried on, until
//!   there are others; a block of what came out, or an empty one, is compared.
//! - In a block without a tag lines behind `$ ` are commands, and their output stands below them.
//!   If there is no such line and the first word is a command, all lines are.
//!
//! A block is also a file of the page's folder where the line before it names one: `rules/hot.toml`:

mod blocks;
mod complete;
mod links;
mod picture;
mod recipes;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tidemill_tests::{run, tidemill};

use blocks::{Block, Kind, blocks};

/// Pages that have to have examples: where none is found, it is the reading that is broken.
const PAGES: [(&str, usize); 9] = [
    ("README.md", 5),
    ("docs/from-ekuiper.md", 7),
    ("docs/from-node-red.md", 6),
    ("docs/functions.md", 9),
    ("docs/recipes.md", 60),
    ("docs/rule.md", 5),
    ("docs/sparkplug.md", 6),
    ("docs/sql.md", 60),
    ("docs/time.md", 8),
];

/// One page with a folder of its own.
struct Page {
    name: String,
    folder: TempDir,
    /// The statement or rule that was shown last.
    rule: Option<&'static str>,
    has_events: bool,
    /// Faults of the page, as text.
    wrong: String,
    checked: usize,
}

impl Page {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        Self {
            name: name.to_owned(),
            folder,
            rule: None,
            has_events: false,
            wrong: String::new(),
            checked: 0,
        }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).unwrap();
    }

    fn complain(&mut self, block: &Block<'_>, what: &str) {
        writeln!(self.wrong, "{}:{}: {what}", self.name, block.line).unwrap();
    }

    /// Does what a block says, and gives what should stand in it.
    fn check(&mut self, block: &Block<'_>) -> Option<String> {
        self.checked += usize::from(!matches!(block.kind(), Kind::Other));
        if let Some(file) = block.file() {
            self.write(file, &complete::config(block.text, self.folder.path()));
        }
        match block.kind() {
            Kind::Rule => {
                let rule = complete::rule(block.text, self.folder.path());
                self.build("rule.toml", &rule, block);
            }
            Kind::Statement => self.build("statement.sql", block.text, block),
            Kind::Config => {
                self.write(
                    "config.toml",
                    &complete::config(block.text, self.folder.path()),
                );
                self.command("tidemill check --config config.toml", block);
            }
            Kind::Events => {
                self.write("shown.jsonl", block.text);
                self.has_events = true;
            }
            Kind::Results => {
                let (Some(rule), true) = (self.rule, self.has_events) else {
                    self.complain(block, "results of no rule, or without events");
                    return None;
                };
                let ran = run(
                    self.folder.path(),
                    &["rule", "test", rule, "--events", "shown.jsonl"],
                );
                if ran.code != Some(0) {
                    self.complain(block, &ran.err);
                }
                return Some(ran.out);
            }
            Kind::Session => return Some(self.session(block)),
            Kind::Commands => {
                for line in block.text.lines() {
                    self.try_command(line, block);
                }
            }
            Kind::Other => {}
        }
        None
    }

    fn build(&mut self, file: &'static str, text: &str, block: &Block<'_>) {
        self.write(file, text);
        self.rule = Some(file);
        let ran = run(self.folder.path(), &["rule", "build", file]);
        if ran.code != Some(0) {
            self.complain(block, &ran.err);
        }
    }

    /// Runs the commands of a session, and gives it as it should stand there.
    fn session(&mut self, block: &Block<'_>) -> String {
        let commands = block
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("$ "));
        let commands: Vec<&str> = commands.collect();
        commands.into_iter().fold(String::new(), |shown, command| {
            let out = self.command(command, block);
            format!("{shown}$ {command}\n{out}")
        })
    }

    /// Tries a command. Of a block of commands those run that need nothing but files that were
    /// shown; for others the program is asked whether it knows their words.
    fn try_command(&mut self, line: &str, block: &Block<'_>) {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let starts = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
        let there = |word: &str| {
            let is_file = [".toml", ".sql", ".jsonl"]
                .iter()
                .any(|end| word.ends_with(end));
            !is_file || self.folder.path().join(word).is_file()
        };
        let needs_files_only = starts(&["tidemill check", "tidemill rule"]);
        if starts(&["echo "]) || (needs_files_only && line.split(' ').all(there)) {
            self.command(line, block);
        } else if starts(&["tidemill "]) {
            let words = line.split([';', '|', '>', '&']).next().unwrap_or_default();
            self.command(&format!("{words} --help"), block);
        }
    }

    /// The standard output of a command, which has to end well.
    fn command(&mut self, command: &str, block: &Block<'_>) -> String {
        let program = tidemill();
        let mut path = program.parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let output = Command::new("sh")
            .args(["-c", command])
            .env("PATH", path)
            .env_remove("TIDEMILL_LOG")
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        if !output.status.success() {
            let err = String::from_utf8_lossy(&output.stderr);
            let out = String::from_utf8_lossy(&output.stdout);
            self.complain(block, &format!("{command}: {}\n{out}{err}", output.status));
        }
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Goes through a page; gives it with the results that came, what is wrong, and how many blocks were
/// looked at.
fn page(name: &str, text: &str) -> (String, String, usize) {
    let mut page = Page::new(name);
    let mut written = String::new();
    let mut end = 0;
    for block in blocks(text) {
        let Some(came) = page.check(&block) else {
            continue;
        };
        written.push_str(&text[end..block.place.start]);
        written.push_str(&came);
        end = block.place.end;
        if came != block.text {
            let shown = block.text;
            let what = format!("this comes out:\n{came}  and not what stands there:\n{shown}");
            page.complain(&block, &what);
        }
    }
    written.push_str(&text[end..]);
    (written, page.wrong, page.checked)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All pages, by their paths in the repository.
fn pages() -> Vec<String> {
    let mut names: Vec<String> = vec!["README.md".to_owned()];
    for folder in ["docs", "examples"] {
        let mut files: Vec<PathBuf> = vec![root().join(folder)];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                let entries = std::fs::read_dir(&path).unwrap();
                files.extend(entries.map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let name = path.strip_prefix(root()).unwrap();
                names.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    // Nested targets have pages of other people.
    names.retain(|name| !name.contains("node_modules") && !name.contains("/target/"));
    names
}

#[test]
fn what_the_pages_show_is_what_happens() {
    let names = pages();
    let write = std::env::var_os("TIDEMILL_WRITE_DOCS").is_some();
    let mut wrong = String::new();
    for name in &names {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        let (written, complaints, checked) = page(name, &text);
        if write && written != text {
            std::fs::write(root().join(name), written).unwrap();
        }
        wrong.push_str(&complaints);
        let least = PAGES.iter().find(|(page, _)| page == name);
        let least = least.map_or(0, |(_, least)| *least);
        assert!(checked >= least, "{name}: {checked} examples found");
    }
    for (name, _) in PAGES {
        assert!(names.iter().any(|known| known == name), "{name} is gone");
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nif that is wanted: TIDEMILL_WRITE_DOCS=1 cargo test -p tidemill-tests docs::"
    );
}

const RULE: &str = "```sql\nSELECT a FROM t WHERE a > 1\n```\n\n\
    ```json\n{\"at\": 1, \"topic\": \"t\", \"payload\": {\"a\": 2}}\n```\n\n";

#[test]
fn a_page_that_says_something_else_is_found_out() {
    let right = "```json\n{\"at\":1,\"port\":\"out\",\"key\":\"all\",\"payload\":{\"a\":2}}\n```\n";
    let text = format!("{RULE}{right}");
    assert_eq!(page("p", &text), (text.clone(), String::new(), 3));

    let (written, wrong, _) = page("p", &text.replace("\"a\":2}}\n```\n", "\"a\":3}}\n```\n"));
    assert_eq!(written, text);
    assert!(wrong.starts_with("p:9: this comes out:\n"), "{wrong}");

    let (_, wrong, _) = page("p", &text.replace("SELECT a", "SELECT uper(a)"));
    assert!(
        wrong.contains("p:1: ") && wrong.contains("did you mean upper?"),
        "{wrong}"
    );

    let session = "Save it as `t.sql`:\n\n```sql\nSELECT a FROM t\n```\n\n\
        ```\n$ tidemill rule build t.sqll\n```\n";
    let (_, wrong, _) = page("p", session);
    assert!(wrong.contains("p:7: tidemill rule build t.sqll"), "{wrong}");
    let (_, wrong, _) = page("p", "```\ntidemill run --confog x &\n```\n");
    assert!(wrong.contains("--confog"), "{wrong}");
    let (_, wrong, _) = page("p", "```toml\nname = \"x\"\n[on]\nmqtt = [\"a\"]\n```\n");
    assert!(wrong.contains("p:1: "), "{wrong}");
}
