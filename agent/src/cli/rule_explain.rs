//! `tidemill rule explain`: the plan of a rule, its inputs and state, and its code as text.

use super::Failure;
use super::rule_build::{Options, fuel, install};
use crate::install::module_bytes;
use crate::rule::FunctionSource;
use tidemill_base::console;

pub(super) const HELP: &str = "Examples:
  tidemill rule explain overheat.toml
  tidemill rule explain overheat.sql

Exit codes: 0 it was explained, 2 the rule cannot be installed (the reason with file and line on standard error)";

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let bound = install(&options.rule, |_| ())?;
    let rule = bound.rule();
    let mut out = console::stdout();
    writeln!(out, "rule      {} version {}", rule.name, rule.version)?;
    match &rule.function {
        FunctionSource::Sql(statement) => {
            for line in statement.sql.lines() {
                writeln!(out, "          {line}")?;
            }
            out.text("\nplan\n")?;
            for (name, value) in &statement.plan {
                writeln!(out, "{name:<9} {value}")?;
            }
        }
        FunctionSource::Wasm(_) | FunctionSource::Stock(_) | FunctionSource::Inline(_) => {}
    }
    out.text("\nfunction\n")?;
    for (name, value) in bound.describe() {
        writeln!(out, "{name:<9} {value}")?;
    }
    writeln!(out, "{:<9} {}", "fuel", fuel(&bound)?)?;
    let wasm = module_bytes(&rule.function).map_err(|why| Failure::Wrong(vec![why]))?;
    let text = wasmprinter::print_bytes(wasm).map_err(Failure::Failed)?;
    out.text(&format!("\ncode\n{text}\n"))?;
    Ok(())
}
