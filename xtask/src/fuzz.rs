//! `cargo xtask fuzz`: one of the fuzz targets under cargo-fuzz, for a time. Those of the compiler start
//! from the statements of the public cases and of the documentation.

use crate::args::Args;
use crate::shell::{Workspace, program, run, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// The text of `cargo xtask fuzz --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask fuzz TARGET [OPTIONS]

  text               any bytes as a statement
  grammar            statements by the grammar, most of which compile
  functions          functions and operators on what a device may send
  publish            messages of both versions of MQTT, written and read
  stream             any bytes as what a broker sends, in pieces
  answers            CONNACK, SUBACK and other answers of a broker
  http               any bytes as what an HTTP endpoint answers
  control            any bytes on the control socket
  mill               a rule in SQL with rows, events and times, through the mill
  payload            any payload as each format that a rule may name
  demux              any bytes as what a microcontroller sends, in pieces
  frames             any bytes as frames of each kind, whole and in pieces, and as CBOR
  modbus             any bytes as what a line with Modbus units brings
  decode             any text as each form that a port of the bridge may name
  bundle             any bytes as an envelope, a bundle, a root or a file of them

  --minutes N        how long (default 10)

Corpus and findings are kept in rules/sql/fuzz for the first three, in firmware-bridge/fuzz for demux, frames, modbus and decode
and in agent/fuzz for the others, in corpus/TARGET and artifacts/TARGET. A finding is seen again, in rules/sql,
firmware-bridge or agent: cargo fuzz run TARGET fuzz/artifacts/TARGET/crash-…
";

/// The targets, and where cargo-fuzz is started for each: it looks for `fuzz` below.
const TARGETS: [(&str, &str); 15] = [
    ("text", SQL),
    ("grammar", SQL),
    ("functions", SQL),
    ("publish", "agent"),
    ("stream", "agent"),
    ("answers", "agent"),
    ("http", "agent"),
    ("control", "agent"),
    ("mill", "agent"),
    ("payload", "agent"),
    ("demux", BRIDGE),
    ("frames", BRIDGE),
    ("modbus", BRIDGE),
    ("decode", BRIDGE),
    ("bundle", "agent"),
];

const SQL: &str = "rules/sql";
const BRIDGE: &str = "firmware-bridge";

/// Seconds for one input: far above what any takes, also on a busy machine.
const TIMEOUT: &str = "-timeout=10";

/// Fuzzes one target.
pub(crate) fn fuzz(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &[], &["minutes"])?;
    let minutes: u64 = args.number("minutes")?.unwrap_or(10);
    let [target] = &*args.words else {
        bail!("one of {}", names().join(", "));
    };
    let Some((_, folder)) = TARGETS.iter().find(|(name, _)| name == target) else {
        bail!("there is no target {target:?}, but {}", names().join(", "));
    };
    if program("cargo-fuzz").is_none() {
        say("installing cargo-fuzz");
        run(&mut workspace.cargo(&["install", "cargo-fuzz", "--locked"]))?;
    }
    if target == "text" {
        seed(workspace)?;
    }
    let mut command = workspace.cargo(&["fuzz", "run", target, "--"]);
    command
        .current_dir(workspace.root.join(folder))
        // Coverage and the sanitizer are unstable options of the compiler: this lets the pinned release take them.
        .env("RUSTC_BOOTSTRAP", "1")
        .arg(format!("-max_total_time={}", minutes.saturating_mul(60)))
        .arg(TIMEOUT);
    run(&mut command)
}

fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|(name, _)| *name).collect()
}

/// Puts the statements that there are into the corpus, behind a byte that stands for no options.
fn seed(workspace: &Workspace) -> Result<()> {
    let read = |name: &str| {
        let path = workspace.root.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut statements = Vec::new();
    for cases in ["ekuiper-expr", "ekuiper-stream"] {
        let cases = read(&format!("tests/data/{cases}.jsonl"))?;
        statements.extend(cases.lines().filter_map(of_case));
    }
    statements.extend(of_page(&read("docs/sql.md")?));
    let corpus = workspace.root.join(SQL).join("fuzz/corpus/text");
    fs::create_dir_all(&corpus)?;
    for (number, statement) in statements.iter().enumerate() {
        write(&corpus.join(format!("seed-{number:03}")), statement)?;
    }
    say(format!("{} statements to start from", statements.len()));
    Ok(())
}

fn write(path: &Path, statement: &str) -> Result<()> {
    fs::write(path, format!("@{statement}"))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The statement in a line of JSON, whose escapes are those of a text without control characters.
fn of_case(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("\"sql\":\"")?;
    let mut statement = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return Some(statement),
            '\\' => statement.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            other => statement.push(other),
        }
    }
}

/// The statements of a page.
fn of_page(page: &str) -> Vec<String> {
    let blocks = page.split("```sql\n").skip(1);
    let texts = blocks.filter_map(|block| block.split_once("```"));
    texts.map(|(text, _)| text.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_found_in_cases_and_pages() {
        let line = r#"{"id":1,"sql":"SELECT \"a\\d\" FROM t","run":null}"#;
        assert_eq!(of_case(line).as_deref(), Some(r#"SELECT "a\d" FROM t"#));
        assert_eq!(of_case(r#"{"sql":null}"#), None);
        let page = "x\n```sql\nSELECT a\n```\n```json\n{}\n```\n```sql\nSELECT b\n```\n";
        assert_eq!(of_page(page), ["SELECT a\n", "SELECT b\n"]);
    }
}
