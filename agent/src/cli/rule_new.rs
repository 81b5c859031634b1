//! `tidemill rule new`: a commented rule in SQL with some events, which works at once.

use std::io::Write as _;
use std::path::PathBuf;

use super::Failure;

pub(super) const HELP: &str = "Example:
  tidemill rule new overheat
  tidemill rule test overheat.toml --events overheat.jsonl

Exit codes: 0 both files were written, 2 one of them is there already, or the name is none";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The rule's name: a-z, 0-9 and -
    name: String,
    /// Where to write the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

const RULE: &str = r#"# What docs/sql.md says of the language; `tidemill rule explain NAME.toml` shows what becomes of it.
name = "NAME"
version = 1                       # rises with every change
description = "Tell when a machine runs hot"

[on]
mqtt = ["sensors/+/env"]          # filters on the local broker

[function]
# Without a window each event stands for itself. A mean of each device and minute would be:
#   SELECT device, avg(temperature) AS mean FROM input GROUP BY device, TUMBLINGWINDOW(mi, 1)
sql = """
SELECT device, temperature, round(temperature * 1.8 + 32, 1) AS fahrenheit
FROM input
WHERE temperature > :limit
"""

[params]
limit = 50                        # :limit in the statement

[ports.out]
to = "local"                      # or a destination of the gateway's configuration
topic = "alerts/NAME"
"#;

const EVENTS: &str = r#"{"at": 1700000000000, "topic": "sensors/d1/env", "payload": {"device": "d1", "temperature": 21.5}}
{"at": 1700000001000, "topic": "sensors/d2/env", "payload": {"device": "d2", "temperature": 61}}
{"at": 1700000002000, "topic": "sensors/d1/env", "payload": {"device": "d1", "temperature": 72.25}}
"#;

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let name = &options.name;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        let message = format!("name {name:?}: 1 to 64 of the characters a-z, 0-9 and -");
        return Err(Failure::Wrong(vec![message]));
    }
    let files = [
        ("toml", RULE.replace("NAME", name)),
        ("jsonl", EVENTS.to_owned()),
    ];
    let files = files.map(|(kind, text)| (options.dir.join(format!("{name}.{kind}")), text));
    let there: Vec<String> = files
        .iter()
        .filter(|(path, _)| path.exists())
        .map(|(path, _)| format!("{} is there already", path.display()))
        .collect();
    if !there.is_empty() {
        return Err(Failure::Wrong(there));
    }
    let mut out = std::io::stdout().lock();
    for (path, text) in &files {
        std::fs::write(path, text)
            .map_err(|error| Failure::Wrong(vec![format!("{}: {error}", path.display())]))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    writeln!(
        out,
        "try it: tidemill rule test {name}.toml --events {name}.jsonl"
    )?;
    Ok(())
}
