//! `tidemill check`: reads everything that `run` would read, and says what is wrong.

use std::io::Write as _;

use super::{ConfigOption, Failure};
use crate::agent::check_destinations;
use crate::config::Config;
use crate::install::install_all;
use crate::recovery::{self, RecoveryError};

pub(super) const HELP: &str = "Examples:
  tidemill check                        the configuration in /etc/tidemill
  tidemill check --config agent.toml

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
    let broker = &config.broker;
    writeln!(
        out,
        "gateway {}: listens to {}:{}",
        config.gateway_id, broker.host, broker.port
    )?;
    for (name, destination) in &config.destinations {
        writeln!(out, "destination {name}: {}", destination.endpoint)?;
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
    check_rows(&config, &mut out)?;
    writeln!(out, "all is well")?;
    Ok(())
}

/// Checks that rows which wait still have somewhere to go. While an agent runs it has checked that.
fn check_rows(config: &Config, out: &mut impl std::io::Write) -> Result<(), Failure> {
    if !config.data_dir.join(recovery::JOURNAL).is_dir() {
        return Ok(());
    }
    match recovery::look(&config.data_dir) {
        Ok(mut image) => check_destinations(&mut image, config)
            .map_err(|error| Failure::Wrong(vec![error.to_string()])),
        Err(RecoveryError::Locked(_)) => {
            writeln!(out, "an agent is at work in {}", config.data_dir.display())?;
            Ok(())
        }
        Err(error) => Err(Failure::Wrong(vec![error.to_string()])),
    }
}
