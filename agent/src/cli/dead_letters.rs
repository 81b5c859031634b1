//! `tidemill dead-letters`: events that a rule could not digest and rows that a destination refused.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::inspect::{look, part, running, table, text};
use super::{ConfigOption, Failure};
use crate::agent::books;
use crate::agent::control::Question;
use crate::config::Config;
use tidemill_base::console;
use tidemill_base::text::{SHOWN_BYTES, shown_within};

pub(super) const HELP: &str = "A dead letter is kept until it is worked on once more, dropped, or displaced: at most 1,000 letters and 2 MiB.

Examples:
  tidemill dead-letters list --config agent.toml
  tidemill dead-letters show 17
  tidemill dead-letters show 17 --raw > payload
  tidemill dead-letters redrive 17        # by the rule, or to the destination, that could not
  tidemill dead-letters redrive all
  tidemill dead-letters drop 17

Of each letter that is worked on once more it says what became of it: a row waits for its destination again, an event \
that fails again is another dead letter.

Exit codes: 0 done, 1 it cannot be read, there is no such letter, one failed again, or no agent runs (redrive, drop), \
2 wrong use";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List them, oldest first
    List(Common),
    /// Show one with everything that is known of it
    Show {
        /// Its number
        seq: u64,
        /// Write the payload alone, byte for byte, to a file or a pipe
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Work on one once more, or on all; needs a running agent
    Redrive {
        /// Its number, or `all`
        which: Which,
        #[command(flatten)]
        common: Common,
    },
    /// Forget one, or all; needs a running agent
    Drop {
        /// Its number, or `all`
        which: Which,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    file: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One dead letter, or all.
#[derive(Debug, Clone, Copy)]
enum Which {
    One(u64),
    All,
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::One)
                .map_err(|_| "write the number of a dead letter, or all".to_owned()),
        }
    }
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    match &options.what {
        What::List(common) => list(common),
        What::Show { seq, raw, common } => match raw {
            true => write_payload(*seq, common),
            false => show(*seq, common),
        },
        What::Redrive { which, common } => {
            each(*which, common, "redriven", |seq| Question::Redrive { seq })
        }
        What::Drop { which, common } => {
            each(*which, common, "dropped", |seq| Question::Drop { seq })
        }
    }
}

fn letters(common: &Common, only: Option<u64>) -> Result<Vec<Value>, Failure> {
    let config = Config::read(&common.file.config)?;
    let question = Question::DeadLetters { only };
    let of_image = |image: &crate::commit::image::Image| books::dead_letters(&image.outbox, only);
    let answer = look(&config.data_dir, &question, of_image)?;
    Ok(answer.as_array().cloned().unwrap_or_default())
}

/// Bytes of a topic that the list shows: all rows are as wide as the longest.
const TOPIC_BYTES: usize = 64;

const COLUMNS: [&str; 6] = ["seq", "at", "rule", "lane", "topic", "reason"];

fn list(common: &Common) -> Result<(), Failure> {
    let all = letters(common, None)?;
    let mut out = console::stdout();
    if common.json {
        out.json(format_args!("{:#}", Value::Array(all)))?;
        return Ok(());
    }
    let lines: Vec<Value> = all.iter().map(row).collect();
    if lines.is_empty() {
        writeln!(out, "no dead letters")?
    } else {
        out.text(&table(&Value::Array(lines), &COLUMNS))?
    }
    Ok(())
}

/// A letter as a row of the list.
fn row(letter: &Value) -> Value {
    json!({
        "seq": part(letter, "seq"),
        "at": time(part(letter, "at")),
        "rule": part(letter, "rule"),
        "lane": part(letter, "lane").as_str().unwrap_or_default(),
        "topic": brief(part(letter, "topic"), TOPIC_BYTES),
        "reason": brief(part(letter, "reason"), SHOWN_BYTES),
    })
}

/// The part of a text that a row of a table has room for; `show` has the rest.
fn brief(text: &Value, bytes_max: usize) -> String {
    shown_within(text.as_str().unwrap_or_default(), bytes_max).to_string()
}

/// Milliseconds since 1970 as a person reads them.
fn time(at: &Value) -> String {
    let time = at
        .as_i64()
        .and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(
        || text(at),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    )
}

fn show(seq: u64, common: &Common) -> Result<(), Failure> {
    let all = letters(common, Some(seq))?;
    let Some(letter) = all.first() else {
        return Err(none(seq));
    };
    let mut out = console::stdout();
    if common.json {
        out.json(format_args!("{letter:#}"))?;
        return Ok(());
    }
    for (name, value) in letter.as_object().into_iter().flatten() {
        let value = match name.as_str() {
            "at" => time(value),
            _ => text(value),
        };
        writeln!(out, "{name:<10} {value}")?;
    }
    Ok(())
}

/// Writes the payload of a letter as it came. A terminal would obey it.
fn write_payload(seq: u64, common: &Common) -> Result<(), Failure> {
    if console::stdout_is_terminal() {
        let why = "--raw writes bytes as a device sent them, which a terminal obeys; lead them into a \
                   file or a pipe";
        return Err(Failure::Wrong(vec![why.to_owned()]));
    }
    let all = letters(common, Some(seq))?;
    let letter = all.first().ok_or_else(|| none(seq))?;
    let bytes = match part(letter, "payload_base64").as_str() {
        Some(encoded) => BASE64_STANDARD
            .decode(encoded)
            .map_err(|error| Failure::Failed(error.into()))?,
        None => {
            let text = part(letter, "payload").as_str().unwrap_or_default();
            text.as_bytes().to_vec()
        }
    };
    console::stdout().raw(&bytes)?;
    Ok(())
}

fn none(seq: u64) -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "there is no dead letter {seq}; `tidemill dead-letters list` shows them"
    ))
}

fn each(
    which: Which,
    common: &Common,
    done: &str,
    question: impl Fn(u64) -> Question,
) -> Result<(), Failure> {
    let config = Config::read(&common.file.config)?;
    let dir = &config.data_dir;
    let seqs = match which {
        Which::One(seq) => vec![seq],
        Which::All => {
            let all = running(dir, &Question::DeadLetters { only: None })?;
            let all = all.as_array().cloned().unwrap_or_default();
            all.iter()
                .filter_map(|letter| part(letter, "seq").as_u64())
                .collect()
        }
    };
    // One that cannot be worked on stands in the way of no other one.
    let mut outcome = Outcome::default();
    for seq in seqs {
        let answer = running(dir, &question(seq))?;
        match (part(&answer, "done"), part(&answer, "reason").as_str()) {
            (Value::Bool(true), _) => outcome.is_done(seq, &answer),
            (_, Some(reason)) => outcome.left.push(format!("dead letter {seq}: {reason}")),
            // Of all, it went by itself meanwhile.
            (_, None) if matches!(which, Which::All) => {}
            (_, None) => return Err(none(seq)),
        }
    }
    let mut out = console::stdout();
    if !outcome.is_failure() || !outcome.done.is_empty() || !outcome.again.is_empty() {
        if common.json {
            let told = if outcome.again.is_empty() {
                json!({ done: outcome.done })
            } else {
                json!({ done: outcome.done, "again": outcome.again })
            };
            out.json(told)?
        } else {
            writeln!(out, "{} {done}{}", outcome.done.len(), outcome.told())?
        }
    }
    if outcome.is_failure() {
        let dead = outcome.again.iter().map(|again| {
            let of = |name| text(part(again, name));
            let (seq, letter, reason) = (of("seq"), of("letter"), of("reason"));
            format!("dead letter {seq}: it failed again, and is dead letter {letter} now: {reason}")
        });
        let lines: Vec<String> = dead.chain(outcome.left).collect();
        return Err(Failure::Failed(anyhow::anyhow!(lines.join("\n"))));
    }
    Ok(())
}

/// The fate of dead letters that were asked for.
#[derive(Default)]
struct Outcome {
    done: Vec<u64>,
    /// The number of those that wait for their destination again.
    waiting: usize,
    /// Letters that failed once more: their number, the new one, and why.
    again: Vec<Value>,
    /// Why others were not touched.
    left: Vec<String>,
}

impl Outcome {
    fn is_done(&mut self, seq: u64, answer: &Value) {
        match answer.get("again") {
            Some(again) => self.again.push(json!({
                "seq": seq,
                "letter": part(again, "letter"),
                "reason": part(again, "reason"),
            })),
            None => self.done.push(seq),
        }
        self.waiting += usize::from(answer.get("lane").is_some());
    }

    fn is_failure(&self) -> bool {
        !self.left.is_empty() || !self.again.is_empty()
    }

    /// A few words on what else there is to know.
    fn told(&self) -> String {
        let mut told = Vec::new();
        if self.waiting > 0 {
            told.push(format!("{} wait for their destination again", self.waiting));
        }
        if !self.again.is_empty() {
            told.push(format!("{} failed again", self.again.len()));
        }
        let begin = if told.is_empty() { "" } else { "; " };
        format!("{begin}{}", told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_list_is_no_wider_for_a_topic_of_60_kb() {
        let letter = |topic: &str| {
            json!({ "seq": 1, "at": 0, "rule": "r", "lane": null, "topic": topic,
                "reason": format!("topic {topic:?}") })
        };
        let long = format!("s/a\nb/{}", "t".repeat(60_000));
        let rows = [letter(&long), letter("s/a")].map(|letter| row(&letter));
        assert_eq!(rows[1]["topic"], "s/a");
        let table = table(&Value::Array(rows.into()), &COLUMNS);
        assert_eq!(table.lines().count(), 3);
        assert!(table.lines().all(|line| line.len() < 450), "{table}");
        assert!(table.contains("… (60006 bytes)"));
    }
}
