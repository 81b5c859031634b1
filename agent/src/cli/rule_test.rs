//! `tidemill rule test`: a rule on events from a file, under a virtual clock, through the very mill
//! that a gateway runs.

mod expect;
mod silent;

use std::path::PathBuf;

use tidemill_values::TIMES_MS;

use self::expect::Expected;
use self::silent::Silent;
use super::results::Results;
use super::rule_build::install;
use super::trial::Trial;
use super::{Failure, events};
use crate::event::clock::Now;
use crate::mill::watermark;
use crate::mill::{Input, Mill};
use tidemill_base::console;
use tidemill_base::text::duration_ms;

pub(super) const HELP: &str = r#"Events, one a line:
  {"at": 1541152486013, "topic": "sensors/d1/env", "payload": {"temperature": 61}}
  "at" is the arrival in milliseconds; "payload_base64" stands for bytes that are not JSON.

Results, one a line, in the order in which things happened:
  {"at": 1541152486013, "port": "out", "key": "d1", "payload": {"temperature": 61}}
  {"at": 1541152486013, "dead_letter": "reason", "topic": "sensors/d1/env"}

Examples:
  tidemill rule test overheat.toml --events events.jsonl
  tidemill rule test average.toml --events events.jsonl --until 1541152490000
  tidemill rule test mine.toml --events - --cold < events.jsonl
  tidemill rule test overheat.toml --events events.jsonl > expected.jsonl
  tidemill rule test overheat.toml --events events.jsonl --expect expected.jsonl

With --expect the differences are written instead of the results; nothing if there are none. Lines are compared as JSON: blanks, the order of members, and 3 or 3.0 are of no matter.

Exit codes: 0 it ran, also where nothing came out; 1 something else came than --expect says; 2 rule, module or file is wrong or refused"#;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The rule's manifest
    #[arg(value_name = "RULE.toml")]
    rule: PathBuf,
    /// The events; - for standard input
    #[arg(long, value_name = "FILE.jsonl")]
    events: PathBuf,
    /// When the clock starts, in milliseconds [default: the first event]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(TIMES_MS))]
    from: Option<i64>,
    /// When the clock stops; what falls due exactly then still happens [default: the last event]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(TIMES_MS))]
    until: Option<i64>,
    /// Tolerated lateness of an event by its own timestamp, for all streams of the rule
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    lateness: Option<u64>,
    /// Start a fresh instance for every call, to find a function that relies on its memory
    #[arg(long)]
    cold: bool,
    /// Write the emissions of a rule in SQL as lists
    #[arg(long)]
    array: bool,
    /// Compare the results with this file, and show how they differ
    #[arg(long, value_name = "FILE.jsonl")]
    expect: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let events = events::read(&options.events)?;
    let expected = options.expect.as_deref().map(Expected::read).transpose()?;
    let bound = install(&options.rule, |rule| {
        if let Some(lateness) = options.lateness {
            rule.set_lateness(lateness);
        }
    })?;
    let from = options
        .from
        .or(events.first().map(|event| event.arrival_ms))
        .unwrap_or(0);
    let until = options
        .until
        .or(events.last().map(|event| event.arrival_ms))
        .unwrap_or(from);
    let mut mill = Mill::new();
    mill.set_cold(options.cold);
    mill.set_unpaced();
    mill.set_time_floor(watermark::FLOOR_MS.min(from.saturating_sub(RECORDED_BEFORE_MS)));
    let mut silent = Silent::new(&bound);
    let results = match expected {
        Some(_) => Results::kept(options.array),
        None => Results::written(options.array, None),
    };
    let mut trial = Trial::start(mill, bound, Vec::new(), results, virtual_now(from))?;
    let (mut worked_on, mut outside) = (0_u64, 0_u64);
    for event in events {
        let at = event.arrival_ms;
        if at < from || at > until {
            outside += 1;
            continue;
        }
        worked_on += 1;
        silent.see(&event);
        trial.event(virtual_now(at), event)?;
    }
    trial.advance(virtual_now(until))?;
    trial.step(virtual_now(until), Input::Tick)?;
    let mut text = format!("{worked_on} events, {}", trial.results.counted());
    if trial.unrouted() > 0 {
        let unrouted = trial.unrouted();
        text.push_str(&format!(", {unrouted} events that no trigger matched"));
    }
    match trial.bad_times() {
        0 => {}
        bad => text.push_str(&format!(", {bad} events with a bad time")),
    }
    if outside > 0 {
        text.push_str(&format!(", {outside} events outside of --from and --until"));
    }
    text.push_str(&trial.losses());
    console::stderr().text(&format!("{text}\n"))?;
    if trial.results.emissions() == 0 {
        for why in silent.why(&trial.ledger(), trial.unrouted()) {
            writeln!(console::stderr(), "nothing came out: {why}")?;
        }
    }
    match expected {
        Some(expected) => compare(&expected, &trial.results.into_kept()),
        None => Ok(()),
    }
}

/// Most milliseconds that an event may have happened before the clock starts: recordings may be
/// old, and late.
const RECORDED_BEFORE_MS: i64 = 366 * 86_400_000;

/// Wall and monotonic time are the same in here.
fn virtual_now(at: i64) -> Now {
    Now {
        mono_ms: u64::try_from(at).unwrap_or(0),
        wall_ms: at,
        ..Now::default()
    }
}

fn compare(expected: &Expected, came: &[String]) -> Result<(), Failure> {
    let (text, count) = expected.compare(came)?;
    console::stdout().text(&text)?;
    let count = match count {
        0 => return Ok(()),
        1 => "1 difference".to_owned(),
        _ => format!("{count} differences"),
    };
    Err(Failure::Failed(anyhow::anyhow!(
        "{count} to what is expected"
    )))
}
