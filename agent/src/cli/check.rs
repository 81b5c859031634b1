//! `tidemill check`: reads everything that `run` would read, says what is wrong, and which topics the
//! access lists of brokers have to allow.

mod access;

use std::io::Write as _;

use serde_json::Value;

use super::{ConfigOption, Failure};
use crate::agent::control::{Question, ask};
use crate::agent::{check_destinations, room_warning};
use crate::books;
use crate::config::{Config, Endpoint, LOCAL};
use crate::install::install_all;
use crate::mill::{BoundRule, Edit};
use crate::record::RuleRecord;
use crate::recovery::{self, RecoveryError};

pub(super) const HELP: &str = "Examples:
  tidemill check                        the configuration in /etc/tidemill
  tidemill check --config agent.toml

Of a rule that was edited since it was deployed it says what becomes of its state.

Exit codes: 0 all is well, 2 something is wrong (each on a line with file and place)";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    file: ConfigOption,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let config = Config::read(&options.file.config)?;
    let rules = install_all(&config)?;
    let mut out = std::io::stdout().lock();
    for warning in &config.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let (broker, gateway) = (&config.broker, &config.gateway_id);
    let (host, port) = (&broker.host, broker.port);
    writeln!(out, "gateway {gateway}: listens to {host}:{port}")?;
    access::subscribes(gateway, &rules, &mut out)?;
    access::publishes(gateway, LOCAL, &rules, &mut out)?;
    for (name, destination) in &config.destinations {
        writeln!(out, "destination {name}: {}", destination.endpoint)?;
        if matches!(destination.endpoint, Endpoint::Mqtt(_)) {
            access::publishes(gateway, name, &rules, &mut out)?;
        }
    }
    if rules.is_empty() {
        writeln!(
            out,
            "warning: no rules (*.toml) in {}",
            config.rules_dir.display()
        )?;
    }
    for bound in &rules {
        let rule = bound.rule();
        writeln!(
            out,
            "rule {} version {}: {}",
            rule.name,
            rule.version,
            bound.summary()
        )?;
    }
    check_kept(&config, &rules, &mut out)?;
    if let Some(warning) = room_warning(&config) {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "all is well")?;
    Ok(())
}

/// Checks that rows which wait still have somewhere to go, and says what becomes of the state of rules that
/// were edited. While an agent runs it has checked the rows, and is asked for the state.
fn check_kept(
    config: &Config,
    rules: &[BoundRule],
    out: &mut impl std::io::Write,
) -> Result<(), Failure> {
    if !config.data_dir.join(recovery::JOURNAL).is_dir() {
        return Ok(());
    }
    match recovery::look(&config.data_dir) {
        Ok(mut image) => {
            for bound in rules {
                let saved = image.rules.get(&**bound.name());
                if let Some(edit) = saved.and_then(|saved| Edit::of_saved(saved, bound)) {
                    writeln!(out, "{edit}")?;
                }
            }
            check_destinations(&mut image, config)
                .map_err(|error| Failure::Wrong(vec![error.to_string()]))
        }
        Err(RecoveryError::Locked(_)) => {
            writeln!(out, "an agent is at work in {}", config.data_dir.display())?;
            // One that does not answer has a trouble of its own.
            if let Ok(records) = ask(&config.data_dir, &Question::Records) {
                for edit in edits(&records, rules) {
                    writeln!(out, "{edit}")?;
                }
            }
            Ok(())
        }
        Err(error) => Err(Failure::Wrong(vec![error.to_string()])),
    }
}

/// What a reload makes of the state of rules that an agent has deployed, by their records.
fn edits(records: &Value, rules: &[BoundRule]) -> Vec<Edit> {
    let all = records.as_array().into_iter().flatten();
    let judged = all.filter_map(|told| {
        let name = told.get("rule")?.as_str()?;
        let bound = rules.iter().find(|bound| **bound.name() == *name)?;
        let record = books::unhex(told.get("record")?.as_str()?)?;
        let record = RuleRecord::decode(&record).ok()?;
        Edit::of_record(&record, told.get("windows")?.as_u64()?, bound)
    });
    judged.collect()
}
