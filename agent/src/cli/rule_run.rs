//! `tidemill rule run`: one rule on the events that a broker brings now, under the real clock, through
//! the very mill that a gateway runs. Nothing is published and nothing is kept.

mod live;
mod record;
mod signals;

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use self::live::{INBOX_MAX, Live, Wish};
use self::record::Record;
use super::Failure;
use super::results::Results;
use super::rule_build::{install, install_within};
use super::rule_new::quoted;
use crate::config::{Broker, Config};
use crate::event::clock::{Clock, EARLIEST_WALL_MS};
use crate::install::subscriptions;
use crate::mill::BoundRule;
use crate::rule::{Gateway, Rule};
use tidemill_base::console;
use tidemill_base::text::{duration_ms, size_bytes};

pub(super) const HELP: &str = r#"The rule works on what the broker brings from now on, under the real clock: windows close, timers and schedules fire. What it emits is written to standard output as `tidemill rule test` writes it, one JSON object a line. Nothing is published; nothing is kept: no journal, no state, no session at the broker, where this client has a name of its own beside that of a gateway.

Events come at QoS 0: a broker may leave some out if results are read more slowly than events come. Retained messages are for rules that ask for them, as on a gateway; a connection that was lost and made again brings them again. A broker that cannot be reached is tried again and again, and each time it is said why.

SIGTERM and SIGINT end it, as --for and --count do, with a summary on standard error; so does a reader of the results that goes, such as `head`.

Examples:
  tidemill rule run overheat.toml
  tidemill rule run overheat.sql --broker mqtt://gateway.local:1883 --for 10m
  tidemill rule run overheat.toml --config agent.toml --count 5     # the gateway's broker, TLS and login
  tidemill rule run overheat.toml --for 1h --record sample.jsonl    # a sample for `rule test --events`

Exit codes: 0 it ran, also where nothing came; 1 it never had a connection, the broker refused a subscription, or the record could not be written; 2 rule, configuration or options are wrong"#;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The rule's manifest, or a file with one statement
    #[arg(value_name = "RULE.toml|RULE.sql")]
    rule: PathBuf,
    /// The broker that sensors publish to
    #[arg(
        long,
        value_name = "URL",
        default_value = "mqtt://127.0.0.1:1883",
        value_parser = Broker::at,
        conflicts_with = "config"
    )]
    broker: Broker,
    /// A gateway's configuration: its broker with TLS and login, its limits
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_ms)]
    run_for: Option<u64>,
    /// End after so many lines of results
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Write the events that the rule works on to a new file, for `rule test --events`
    #[arg(long, value_name = "FILE.jsonl")]
    record: Option<PathBuf>,
    /// Maximum size of that file: the recording ends there, and the run goes on
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = size_bytes,
        default_value = "64MiB",
        requires = "record"
    )]
    record_max: u64,
    /// Tolerated lateness of an event by its own timestamp, for all streams of the rule
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    lateness: Option<u64>,
    /// Write the emissions of a rule in SQL as lists
    #[arg(long)]
    array: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let (broker, rule) = read(options)?;
    let record = options.record.as_deref();
    let record = record.map(|path| Record::create(path, options.record_max));
    let record = record.transpose()?;
    let wish = Arc::<Wish>::default();
    let (sender, inbox) = sync_channel(INBOX_MAX);
    signals::listen(&wish, &sender);
    let filters = subscriptions(std::slice::from_ref(&rule), &[]);
    let clock = Clock::new(EARLIEST_WALL_MS);
    let results = Results::written(options.array, options.count);
    let mut live = Live::start(rule, filters.clone(), results, record, clock, inbox)?;
    live.run_for(options.run_for);
    let source = live.listen(&broker, &client_id(), filters, sender)?;
    let outcome = live.work(&wish);
    live.leave(source);
    console::stderr().text(&live.summary(&again(options)))?;
    outcome
}

/// The broker, and the rule within the limits of the gateway, where one is given.
fn read(options: &Options) -> Result<(Broker, BoundRule), Failure> {
    let change = |rule: &mut Rule| {
        rule.leave_shares();
        if let Some(lateness) = options.lateness {
            rule.set_lateness(lateness);
        }
    };
    let Some(path) = &options.config else {
        let rule = install(&options.rule, change)?;
        return Ok((options.broker.clone(), rule));
    };
    let config = Config::read(path)?;
    let gateway = Gateway {
        id: &config.gateway_id,
        destinations: None,
        limits: &config.limits,
    };
    let rule = install_within(&gateway, &options.rule, change)?;
    Ok((config.broker, rule))
}

/// The command that runs a recording again, with the options of this run.
fn again(options: &Options) -> String {
    let rule = quoted(&options.rule);
    let events = options.record.as_deref().map(quoted).unwrap_or_default();
    let mut command = format!("tidemill rule test {rule} --events {events}");
    if let Some(lateness) = options.lateness {
        command.push_str(&format!(" --lateness {lateness}ms"));
    }
    if options.array {
        command.push_str(" --array");
    }
    command
}

/// A name that no other client has: no gateway's id has a colon. Short enough for every broker.
fn client_id() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("tidemill:run-{:08x}", random as u32)
}
