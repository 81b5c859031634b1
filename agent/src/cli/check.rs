//! `tidemill check`: reads everything that `run` would read, reports all faults at once, warns of
//! everything that can never work, and names the topics that the access lists of brokers have to
//! allow.

mod access;
mod disk;
mod folder;
mod reach;
mod useless;

use serde_json::Value;

use super::{ConfigOption, Failure};
use crate::agent::books;
use crate::agent::control::{Question, ask};
use crate::agent::{check_destinations, room_warning};
use crate::commit::record::RuleRecord;
use crate::config::{Config, Endpoint, LOCAL};
use crate::install;
use crate::mill::{BoundRule, Edit};
use crate::storage::data_dir::{self, DataDirError};
use crate::storage::recovery::{self, RecoveryError};
use tidemill_base::console::{self, Stdout};
use tidemill_base::text::FileError;

pub(super) const HELP: &str = "Everything that is wrong is said at once, each on a line with file and place, on standard error. Warnings are \
of what may start and can never work. To tell whether somebody listens there, the addresses of the broker \
and of all destinations are \
connected to, for 2 s at most, and nothing is sent. Certificates and keys are read, and a key has to be its \
certificate's; with --handshake encryption is begun too, for 5 s at most, so that the other side's certificate is \
judged as at a start. No login is sent.

Examples:
  tidemill check                        the configuration in /etc/tidemill
  tidemill check --config agent.toml
  tidemill check --handshake            do certificates and those who show them fit?
  tidemill check --offline              on a machine that reaches no broker

Of a rule that was edited since it was deployed it says what becomes of its state.

Exit codes: 0 nothing is wrong, warnings or not; 2 something is wrong";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    file: ConfigOption,
    /// Connect to nobody
    #[arg(long)]
    offline: bool,
    /// Begin encryption where it is configured, as a start would, without a login
    #[arg(long, conflicts_with = "offline")]
    handshake: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let (config, wrong) = Config::survey(&options.file.config);
    let mut errors: Vec<FileError> = wrong.into_iter().flatten().collect();
    let Some(config) = config else {
        return Err(errors.into());
    };
    // Their folder may stand in the part of the file that was not understood.
    let mut rules = Vec::new();
    if config.is_whole || config.rules_dir.is_dir() {
        let (found, wrong) = install::survey(&config);
        rules = found;
        errors.extend(wrong);
    }
    // Before addresses are tried: root becomes the owner while there is no other thread.
    let entered = data_dir::look_into(&config.data_dir);
    let warnings = warnings(&config, &rules, errors.is_empty(), options);
    if !errors.is_empty() {
        let mut err = console::stderr();
        for warning in &warnings {
            writeln!(err, "warning: {warning}")?;
        }
        return Err(errors.into());
    }
    let mut out = console::stdout();
    describe(&config, &rules, &mut out)?;
    match entered {
        Ok(()) => check_kept(&config, &rules, &mut out)?,
        // It is no directory, of which there is a warning.
        Err(DataDirError::Strange { path, .. }) if path == config.data_dir => {}
        // Whoever writes rules need not be the one who runs them.
        Err(error @ DataDirError::NotYours { .. }) => {
            writeln!(out, "what is kept was not looked at: {error}")?;
        }
        Err(error) => return Err(Failure::Wrong(vec![error.to_string()])),
    }
    for warning in &warnings {
        writeln!(out, "warning: {warning}")?;
    }
    match warnings.len() {
        0 => writeln!(out, "all is well")?,
        1 => writeln!(out, "nothing is wrong, 1 warning")?,
        many => writeln!(out, "nothing is wrong, {many} warnings")?,
    }
    Ok(())
}

/// Warnings of everything that may start and can never work. Those that hang on all rules are given
/// only where all are good.
fn warnings(
    config: &Config,
    rules: &[BoundRule],
    all_good: bool,
    options: &Options,
) -> Vec<String> {
    let mut all: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    let rules_of = rules
        .iter()
        .flat_map(|bound| useless::of_rule(bound.rule()));
    all.extend(rules_of.map(|warning| warning.to_string()));
    all.extend(useless::of_config(config).map(|warning| warning.to_string()));
    if all_good {
        let unused = useless::destinations(config, rules);
        all.extend(unused.map(|warning| warning.to_string()));
        all.extend(folder::unused(&config.rules_dir, rules));
        if rules.is_empty() {
            let dir = config.rules_dir.display();
            all.push(format!(
                "no rules (*.toml) in {dir}; `tidemill rule new` writes one to start with"
            ));
        }
    }
    let disk = disk::trouble(config);
    let is_usable = disk.is_none();
    all.extend(disk);
    if is_usable {
        all.extend(room_warning(config));
    }
    if !options.offline {
        let troubles = reach::troubles(config, options.handshake);
        all.extend(troubles.map(|warning| warning.to_string()));
    }
    all
}

fn describe(config: &Config, rules: &[BoundRule], out: &mut Stdout) -> std::io::Result<()> {
    let (broker, gateway) = (&config.broker, &config.gateway_id);
    let (host, port) = (&broker.host, broker.port);
    writeln!(out, "gateway {gateway}: listens to {host}:{port}")?;
    access::subscribes(gateway, rules, out)?;
    access::publishes(gateway, LOCAL, rules, out)?;
    for (name, destination) in &config.destinations {
        writeln!(out, "destination {name}: {}", destination.endpoint)?;
        if matches!(destination.endpoint, Endpoint::Mqtt(_)) {
            access::publishes(gateway, name, rules, out)?;
        }
    }
    for bound in rules {
        let rule = bound.rule();
        let (name, version) = (&rule.name, rule.version);
        writeln!(out, "rule {name} version {version}: {}", bound.summary())?;
    }
    Ok(())
}

/// Checks that waiting rows still have a destination, and tells the effect of edits on the state of
/// rules. While an agent runs it has checked the rows, and is asked for the state.
fn check_kept(config: &Config, rules: &[BoundRule], out: &mut Stdout) -> Result<(), Failure> {
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

/// The edits that a reload would make to the state of rules that an agent has deployed, by their records.
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
