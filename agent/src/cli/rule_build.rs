//! `tidemill rule build`: a rule and its function checked as an install would, and described.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::install::Installer;
use crate::limits::FunctionLimits;
use crate::mill::BoundRule;
use crate::rule::{Gateway, Rule};
use crate::text::FileError;

pub(super) const HELP: &str = "Examples:
  tidemill rule build overheat.toml
  tidemill rule build overheat.sql

Exit codes: 0 the rule can be installed, 2 it cannot (the reason with file and line on standard error)";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The rule's manifest, or a file with one statement
    #[arg(value_name = "RULE.toml|RULE.sql")]
    pub(super) rule: PathBuf,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let bound = install(&options.rule, |_| ())?;
    let rule = bound.rule();
    let mut out = std::io::stdout().lock();
    writeln!(out, "rule      {} version {}", rule.name, rule.version)?;
    for (name, value) in bound.describe() {
        writeln!(out, "{name:<9} {value}")?;
    }
    Ok(())
}

/// Installs one rule outside of any gateway, changed before: every destination is good, ceilings are the
/// defaults.
pub(super) fn install(path: &Path, change: impl FnOnce(&mut Rule)) -> Result<BoundRule, FileError> {
    let limits = FunctionLimits::default();
    let gateway = Gateway {
        id: "gateway",
        destinations: None,
        limits: &limits,
    };
    let mut rule = Rule::read(path, &gateway)?;
    change(&mut rule);
    Installer::new(&limits).install(rule, &[])
}
