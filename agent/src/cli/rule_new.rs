//! `tidemill rule new`: a commented rule to start from, with some events to try it on, which works at
//! once. For a language that is compiled all of it stands in a folder of its own, with whatever the
//! compiler needs, so that nothing has to be fetched from this repository.

mod assemblyscript;
mod c;
mod module;
mod rust;
mod sdk;
#[cfg(feature = "sql")]
mod sql;

use std::borrow::Cow;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::Failure;
use tidemill_base::console;

#[cfg(feature = "sql")]
pub(super) const HELP: &str = "With --language sql two files are written, NAME.toml and NAME.jsonl. For the other languages a folder NAME \
is made, with the rule, the events, the source, and what the compiler needs besides. Files that are there \
are never written over.

Examples:
  tidemill rule new overheat
  tidemill rule test overheat.toml --events overheat.jsonl

  tidemill rule new overheat --language rust      # says how to build it, and what that needs

Exit codes: 0 everything was written, 2 something is there already, cannot be written, or the name is none";

#[cfg(not(feature = "sql"))]
pub(super) const HELP: &str = "A folder NAME is made, with the rule, the events, the source, and what the compiler needs besides. Files that \
are there are never written over. This is a small build of tidemill, without SQL.

Examples:
  tidemill rule new overheat --language rust      # says how to build it, and what that needs

Exit codes: 0 everything was written, 2 something is there already, cannot be written, or the name is none";

/// Events that every starting point is tried on; the first of the three is below the limit.
const EVENTS: &str = r#"{"at": 1700000000000, "topic": "sensors/d1/env", "payload": {"device": "d1", "temperature": 21.5}}
{"at": 1700000001000, "topic": "sensors/d2/env", "payload": {"device": "d2", "temperature": 61}}
{"at": 1700000002000, "topic": "sensors/d1/env", "payload": {"device": "d1", "temperature": 72.25}}
"#;

/// Most files named of those that are there already.
const NAMED_MAX: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The rule's name: a-z, 0-9 and -
    name: String,
    /// Language of the function; `as` stands for assemblyscript
    #[cfg_attr(feature = "sql", arg(long, value_enum, default_value = "sql"))]
    #[cfg_attr(not(feature = "sql"), arg(long, value_enum))]
    language: Language,
    /// Folder for the files, or for the folder that holds them
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    #[cfg(feature = "sql")]
    Sql,
    Rust,
    C,
    #[value(alias = "as")]
    Assemblyscript,
}

/// Files of a new rule, and the next steps of its author.
struct Start {
    /// The folder that the files are in, below `--dir`.
    folder: Option<String>,
    files: Vec<File>,
    /// Tools to install besides Tidemill.
    needs: Option<String>,
    /// Commands to call in the folder.
    commands: Vec<String>,
}

/// A file, by its path in the folder.
struct File {
    path: String,
    text: Cow<'static, str>,
    /// `true` if the file is part of a copy that is named as a whole.
    part: bool,
}

impl File {
    fn new(path: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            part: false,
        }
    }
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let name = &options.name;
    check(name)?;
    let start = match options.language {
        #[cfg(feature = "sql")]
        Language::Sql => sql::start(name),
        Language::Rust => rust::start(name),
        Language::C => c::start(name),
        Language::Assemblyscript => assemblyscript::start(name),
    };
    let folder = match &start.folder {
        Some(folder) => options.dir.join(folder),
        None => options.dir.clone(),
    };
    // One that is not there is more likely a slip than a wish.
    if !options.dir.is_dir() {
        let message = format!("{}: there is no such folder", options.dir.display());
        return Err(Failure::Wrong(vec![message]));
    }
    let there = match start.folder {
        Some(_) => in_the_way(&folder)?,
        None => already_there(&folder, &start.files),
    };
    if !there.is_empty() {
        return Err(Failure::Wrong(there));
    }
    let mut out = console::stdout();
    for file in &start.files {
        let path = folder.join(&file.path);
        write_new(&path, &file.text).map_err(|error| wrong(&path, &error))?;
        if !file.part {
            writeln!(out, "wrote {}", path.display())?;
        }
    }
    let parts = start.files.iter().filter(|file| file.part).count();
    if parts > 0 {
        let at = folder.join(sdk::FOLDER);
        writeln!(out, "wrote {} ({parts} files: the SDK)", at.display())?;
    }
    if let Some(needs) = &start.needs {
        out.text(&format!("\nIt needs {needs}.\n"))?;
    }
    out.text("\nNext:\n")?;
    if folder != Path::new(".") {
        writeln!(out, "  cd {}", quoted(&folder))?;
    }
    for command in &start.commands {
        writeln!(out, "  {command}")?;
    }
    Ok(())
}

/// A leading - is an option to every command that is given the name.
fn check(name: &str) -> Result<(), Failure> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || name.starts_with('-') || !name.chars().all(good) {
        let message = format!(
            "name {name:?}: 1 to 64 of the characters a-z, 0-9 and -, the first of which is no -"
        );
        return Err(Failure::Wrong(vec![message]));
    }
    Ok(())
}

/// Names what stands where the folder would be made. An empty folder is no obstacle.
fn in_the_way(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Ok(vec![there(folder)]);
        }
        Err(error) => return Err(wrong(folder, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| wrong(folder, &error))?;
        names.push(there(&entry.path()));
    }
    names.sort();
    if names.len() > NAMED_MAX {
        let more = names.len() - NAMED_MAX;
        names.truncate(NAMED_MAX);
        names.push(format!("and {more} more in {}", folder.display()));
    }
    Ok(names)
}

/// The files that are there already, as anything: a link that leads nowhere is one as well.
fn already_there(folder: &Path, files: &[File]) -> Vec<String> {
    let paths = files.iter().map(|file| folder.join(&file.path));
    paths
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| there(&path))
        .collect()
}

fn there(path: &Path) -> String {
    format!("{} is there already", path.display())
}

fn wrong(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Wrong(vec![format!("{}: {error}", path.display())])
}

/// Writes a file that must not be there, and makes the folders above it.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::File::create_new(path)?.write_all(text.as_bytes())
}

/// A path as a shell takes it for one word.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,@%".contains(c);
    match text.chars().all(plain) && !text.starts_with('-') {
        true => text,
        false if text.starts_with('-') => format!("'./{}'", text.replace('\'', r"'\''")),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// The command that tries the rule once its module is there.
fn try_it(name: &str) -> String {
    format!("tidemill rule test {name}.toml --events {name}.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[fn(&str) -> Start] = &[
        #[cfg(feature = "sql")]
        sql::start,
        rust::start,
        c::start,
        assemblyscript::start,
    ];

    #[test]
    fn nothing_of_the_examples_places_and_names_is_left() {
        for start in ALL {
            for file in start("overheat").files.iter().filter(|file| !file.part) {
                let path = &file.path;
                for left in ["-filter", "../../", "NAME", "BUILD"] {
                    assert!(!file.text.contains(left), "{left:?} in {path}");
                }
                // The crate is always called alike, so the command that copies its module names it.
                let module = file.text.replace("release/filter.wasm", "");
                assert!(!module.contains("filter.wasm"), "filter.wasm in {path}");
                assert!(file.text.ends_with('\n'), "{path}");
            }
        }
    }

    #[test]
    fn a_rule_and_its_events_belong_to_each() {
        for start in ALL {
            let start = start("x-1");
            let has = |path: &str| start.files.iter().any(|file| file.path == path);
            assert!(has("x-1.toml") && has("x-1.jsonl"));
            let last = start.commands.last().map(String::as_str);
            assert_eq!(last, Some("tidemill rule test x-1.toml --events x-1.jsonl"));
        }
    }

    #[test]
    fn a_folder_is_one_word_to_a_shell() {
        for (path, word) in [
            ("rules/a-1", "rules/a-1"),
            ("my rules/it's", r"'my rules/it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("-x", "'./-x'"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
