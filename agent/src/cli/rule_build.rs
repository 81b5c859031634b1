//! `tidemill rule build`: a rule and its function checked as an install would, and described.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::limits::FunctionLimits;
use crate::event::payload::Payload;
use crate::function::FuelBound;
use crate::install::{Installer, module_bytes};
use crate::mill::{BoundRule, Edit};
use crate::rule::{Gateway, Rule, Stream};
use tidemill_base::console;
use tidemill_base::text::FileErrors;

pub(super) const HELP: &str = "Examples:
  tidemill rule build overheat.toml
  tidemill rule build overheat.sql
  tidemill rule build energy.toml --against energy.before.toml

With --against it says what the edit does to the state that the rule has: what is kept, what begins anew, \
and whether windows that are open are given up.

Exit codes: 0 the rule can be installed, 2 it cannot (the reason with file and line on standard error)";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The rule's manifest, or a file with one statement
    #[arg(value_name = "RULE.toml|RULE.sql")]
    pub(super) rule: PathBuf,
}

/// A rule, and the one that it was before.
#[derive(Debug, clap::Args)]
pub(super) struct BuildOptions {
    #[command(flatten)]
    build: Options,
    /// The rule as it is now, to say what the edit does to its state
    #[arg(long, value_name = "OLD.toml|OLD.sql")]
    against: Option<PathBuf>,
}

pub(super) fn run(options: &BuildOptions) -> Result<(), Failure> {
    let bound = install(&options.build.rule, |_| ())?;
    let rule = bound.rule();
    let mut out = console::stdout();
    writeln!(out, "rule      {} version {}", rule.name, rule.version)?;
    for (name, value) in bound.describe() {
        writeln!(out, "{name:<9} {value}")?;
    }
    writeln!(out, "{:<9} {}", "fuel", fuel(&bound)?)?;
    if let Some(old) = &options.against {
        let old = install(old, |_| ())?;
        match Edit::of_versions(&old, &bound) {
            _ if old.name() != bound.name() => writeln!(
                out,
                "{:<9} its name is another one: what {} keeps stays with that name",
                "edit",
                old.name()
            )?,
            Some(edit) => writeln!(out, "{:<9} {edit}", "edit")?,
            None => writeln!(
                out,
                "{:<9} nothing is kept by name: the schema decides",
                "edit"
            )?,
        }
    }
    Ok(())
}

/// The cost of an event in words: the most that the code needs, where that can be told, and the
/// fuel that it is granted.
pub(super) fn fuel(bound: &BoundRule) -> Result<String, Failure> {
    let rule = bound.rule();
    let wasm = module_bytes(&rule.function).map_err(|why| Failure::Wrong(vec![why]))?;
    let granted = rule.limits.fuel;
    let calls = if bound.is_called_for_each_pane() {
        "for each pane of an event"
    } else {
        "an event"
    };
    let reads_rows = |stream: &Stream| *stream.payload != Payload::default();
    let bound = FuelBound::of(&wasm, rule.limits.emission_bytes);
    let bound = if rule.streams.iter().any(reads_rows) {
        bound.map(FuelBound::with_row)
    } else {
        bound
    };
    Ok(match bound {
        Some(most) => format!("at most {most} {calls}; {granted} are granted"),
        None => format!("at most {granted} {calls}, as granted"),
    })
}

/// Installs one rule outside of any gateway, changed before: every destination is good, ceilings are the
/// defaults.
pub(super) fn install(
    path: &Path,
    change: impl FnOnce(&mut Rule),
) -> Result<BoundRule, FileErrors> {
    let gateway = Gateway {
        id: "gateway",
        destinations: None,
        limits: &FunctionLimits::default(),
    };
    install_within(&gateway, path, change)
}

/// The same with the name and the ceilings of a gateway.
pub(super) fn install_within(
    gateway: &Gateway<'_>,
    path: &Path,
    change: impl FnOnce(&mut Rule),
) -> Result<BoundRule, FileErrors> {
    let mut rule = Rule::read(path, gateway)?;
    change(&mut rule);
    Installer::new(gateway.limits).install(rule, &[])
}
