//! `tidemill inspect`: looks into a gateway's data directory, through the agent that works there, or
//! into the files where none does.

mod fleet;
mod health;

use std::path::Path;

use serde_json::Value;

use super::{ConfigOption, Failure};
use crate::agent::books;
use crate::agent::control::{Question, ask};
use crate::commit::image::Image;
use crate::config::Config;
use crate::storage::data_dir;
use crate::storage::recovery::{self, RecoveryError};
use tidemill_base::console;
use tidemill_base::text::printable;

pub(super) const HELP: &str =
    "While an agent runs it is asked; where none does, the files are read, and not changed. Only a running agent \
tells of events, rules and health; the state databases can be looked into only while none runs.

Examples:
  tidemill inspect health                               # a line for each rule, destination and thread
  tidemill inspect rules
  tidemill inspect ledger --config agent.toml
  tidemill inspect ledger --json | jq .lanes
  tidemill inspect state-hash
  tidemill inspect journal
  tidemill inspect events --last 100 > events.jsonl     # for `tidemill rule test --events`

Exit codes: 0 done; 1 it cannot be read, a ledger does not balance, or the gateway is not well (health); 2 wrong use";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Report to show
    what: What,
    #[command(flatten)]
    file: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Number of the latest events to show
    #[arg(long, value_name = "N", default_value = "20")]
    last: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Both ledgers: what became of every event and every emission
    Ledger,
    /// One hash over everything that is kept
    StateHash,
    /// Lanes: what waits for each destination
    Outbox,
    /// The two state databases
    Pond,
    /// Segments and records of the journal
    Journal,
    /// The latest events, as the recorder has them; only from a running agent
    Events,
    /// The condition of each part, line by line; only from a running agent
    Health,
    /// Each rule: last event, last error, quarantine, state; only from a running agent
    Rules,
    /// Pushed rules: what runs, what is on probation, what was refused and why; only from a running agent
    Fleet,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let config = Config::read(&options.file.config)?;
    let dir = &config.data_dir;
    data_dir::look_into(dir)?;
    let answer = match options.what {
        What::Ledger | What::Outbox => look(dir, &Question::Ledger, books::ledger_of_image)?,
        What::StateHash => look(dir, &Question::StateHash, books::state_hash_of_image)?,
        What::Pond => recovery::inspect_ponds(dir).map_err(|error| match error {
            RecoveryError::Locked(_) => Failure::Failed(anyhow::anyhow!(
                "an agent runs on {} and has its state databases open: stop it to look into them",
                dir.display()
            )),
            error => of_nothing(dir, error),
        })?,
        What::Journal => recovery::inspect_journal(dir).map_err(|error| of_nothing(dir, error))?,
        What::Rules => running(dir, &Question::Rules)?,
        What::Events => running(dir, &Question::Events { last: options.last })?,
        What::Health => running(dir, &Question::Health)?,
        What::Fleet => running(dir, &Question::Fleet)?,
    };
    let mut out = console::stdout();
    match options.what {
        _ if options.json => out.json(format_args!("{answer:#}"))?,
        What::Ledger => out.text(&ledger(&answer))?,
        What::Outbox => out.text(&table(part(&answer, "lanes"), &OUTBOX))?,
        What::Events => {
            for line in answer.as_array().into_iter().flatten() {
                out.json(line)?;
            }
        }
        What::Journal => out.text(&journal(&answer))?,
        What::Pond => out.text(&table(&answer, &PONDS))?,
        What::StateHash => writeln!(out, "{}", text(part(&answer, "state_hash")))?,
        What::Rules => out.text(&health::rules(&answer))?,
        What::Fleet => out.text(&fleet::text(&answer))?,
        What::Health => out.text(&health::text(&answer, now_ms()))?,
    }
    if part(&answer, "well") == false {
        let troubles = part(&answer, "troubles").as_array().map_or(0, Vec::len);
        let many = if troubles == 1 { "trouble" } else { "troubles" };
        return Err(Failure::Failed(anyhow::anyhow!(
            "not well, {troubles} {many}"
        )));
    }
    if part(&answer, "balanced") == false {
        let error = "a ledger does not balance: please report this";
        return Err(Failure::Failed(anyhow::anyhow!(error)));
    }
    Ok(())
}

/// Asks the agent that works in the directory, or reads the files where none does.
pub(super) fn look(
    dir: &Path,
    question: &Question,
    of_image: impl FnOnce(&Image) -> Value,
) -> Result<Value, Failure> {
    data_dir::look_into(dir)?;
    match recovery::look(dir) {
        Ok(image) => Ok(of_image(&image)),
        Err(RecoveryError::Locked(_)) => running(dir, question),
        // An agent whose first start is held has written nothing yet, and says why.
        Err(_) if ask(dir, question).is_ok() => running(dir, question),
        Err(error) => Err(of_nothing(dir, error)),
    }
}

/// The time here, in milliseconds since 1970.
fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// The failure for a directory with nothing to read, with the way out.
fn of_nothing(dir: &Path, error: RecoveryError) -> Failure {
    if dir.join(recovery::JOURNAL).is_dir() {
        return Failure::Failed(error.into());
    }
    let dir = dir.display();
    Failure::Failed(anyhow::anyhow!(
        "no agent has run on {dir} yet; start one: tidemill run --config FILE"
    ))
}

/// Asks the agent that works in the directory.
pub(super) fn running(dir: &Path, question: &Question) -> Result<Value, Failure> {
    data_dir::look_into(dir)?;
    let answer = ask(dir, question).map_err(|error| {
        use std::io::ErrorKind;
        let dir = dir.display();
        Failure::Failed(match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                anyhow::anyhow!("no agent runs on {dir}; start one: tidemill run --config FILE")
            }
            ErrorKind::PermissionDenied => anyhow::anyhow!(
                "the agent on {dir} may be asked by its own user only; run this as that user, or with sudo"
            ),
            _ => anyhow::anyhow!("the agent on {dir} does not answer: {error}"),
        })
    })?;
    match answer.get("error") {
        Some(error) => Err(Failure::Failed(anyhow::anyhow!(text(error)))),
        None => Ok(answer),
    }
}

/// A part of an object; null where it has none of that name.
pub(super) fn part<'a>(whole: &'a Value, name: &str) -> &'a Value {
    whole.get(name).unwrap_or(&Value::Null)
}

/// A JSON value without the quotes around texts, printable and on one line.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).to_string(),
        Value::Null => "-".to_owned(),
        other => printable(other).to_string(),
    }
}

const INTAKE: [&str; 7] = [
    "received", "routed", "unrouted", "repeated", "surplus", "dead", "too_old",
];
const RULES: [&str; 8] = [
    "rule",
    "received",
    "filtered",
    "absorbed",
    "emitting",
    "dead",
    "dropped",
    "emissions",
];
/// They balance with nothing.
const BESIDES: [&str; 8] = [
    "rule",
    "faults_without_event",
    "keys_evicted",
    "rows_dropped",
    "windows_dropped",
    "windows_given_up",
    "bad_times",
    "fuel",
];
const LANES: [&str; 7] = [
    "lane",
    "made",
    "acknowledged",
    "waiting",
    "dead",
    "dropped",
    "balanced",
];
const OUTBOX: [&str; 5] = ["lane", "waiting", "waiting_bytes", "last_seq", "cursor"];
const PONDS: [&str; 5] = ["pond", "complete_up_to", "newest", "entries", "bytes"];
const RECORDS: [&str; 6] = ["lsn", "durable", "segment", "offset", "bytes", "holds"];

fn ledger(answer: &Value) -> String {
    let mut all = String::from("Messages: received is the sum of the others\n");
    all.push_str(&table(
        &Value::Array(vec![part(answer, "intake").clone()]),
        &INTAKE,
    ));
    all.push_str("\nEvents, by rule: received = filtered + absorbed + emitting + dead + dropped\n");
    all.push_str(&table(part(answer, "rules"), &RULES));
    all.push_str("\nBesides, by rule\n");
    all.push_str(&table(part(answer, "rules"), &BESIDES));
    all.push_str("\nEmissions, by lane: made = acknowledged + waiting + dead + dropped\n");
    all.push_str(&table(part(answer, "lanes"), &LANES));
    let verdict = if part(answer, "balanced") == true {
        "Both balance."
    } else {
        "They do not balance!"
    };
    all.push_str(&format!(
        "\n{verdict} As of commit {}.\n",
        part(answer, "lsn")
    ));
    all
}

fn journal(answer: &Value) -> String {
    let mut all = table(part(answer, "segments"), &["segment", "bytes", "state"]);
    all.push('\n');
    all.push_str(&table(part(answer, "records"), &RECORDS));
    let (first, next, durable) = (
        part(answer, "first"),
        part(answer, "next"),
        part(answer, "durable"),
    );
    let incarnation = text(part(answer, "incarnation"));
    all.push_str(&format!(
        "\nincarnation {incarnation}; records from {first} on, the next is {next}; up to {durable} they say that they were durable\n"
    ));
    if let Some(refused) = part(answer, "refused").as_str() {
        all.push_str(&format!(
            "a start would be refused: {}\n",
            printable(refused)
        ));
    }
    all
}

/// Objects as a table with these columns.
pub(super) fn table(rows: &Value, columns: &[&str]) -> String {
    let rows: Vec<_> = rows.as_array().into_iter().flatten().collect();
    if rows.is_empty() {
        return "  (none)\n".to_owned();
    }
    let cell = |row: &Value, name: &str| match row.get(name) {
        Some(Value::Object(counts)) => {
            let counts = counts.values().filter_map(Value::as_u64);
            counts.sum::<u64>().to_string()
        }
        other => other.map(text).unwrap_or_default(),
    };
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|&name| name.to_owned()).collect()];
    lines.extend(
        rows.iter()
            .map(|row| columns.iter().map(|name| cell(row, name)).collect()),
    );
    let width = |at: usize| {
        let cells = lines.iter().filter_map(|line| line.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut all = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths) {
            let is_number = cell.bytes().all(|byte| byte.is_ascii_digit());
            let padded = if is_number {
                format!("  {cell:>width$}")
            } else {
                format!("  {cell:<width$}")
            };
            all.push_str(&padded);
        }
        all.truncate(all.trim_end().len());
        all.push('\n');
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::image::SavedRule;
    use crate::commit::record::LaneRecord;
    use crate::event::emission::{LaneId, Priority};

    #[test]
    fn every_column_of_the_books_stands_in_their_text() {
        let mut image = Image::default();
        image.rules.insert("r".to_owned(), SavedRule::default());
        let lane = LaneId {
            destination: "local".into(),
            priority: Priority::Normal,
        };
        image.outbox.restore_lane(lane, &LaneRecord::default());
        let answer = books::ledger_of_image(&image);
        let mut shown = ledger(&answer);
        shown.push_str(&table(part(&answer, "lanes"), &OUTBOX));
        let shown: Vec<&str> = shown.split_whitespace().collect();
        let rows = ["/intake", "/rules/0", "/lanes/0"].map(|place| {
            let row = answer.pointer(place).and_then(Value::as_object);
            row.unwrap_or_else(|| panic!("no {place} in {answer}"))
        });
        for name in rows.iter().flat_map(|row| row.keys()) {
            assert!(shown.contains(&name.as_str()), "{name} is in no table");
        }
    }
}
