//! `cargo xtask size`: what the release binary is made of, crate by crate, and the gate on its size.

use crate::args::Args;
use crate::dist::build::{Build, build};
use crate::dist::sizes::{Size, guard};
use crate::dist::symbols;
use crate::dist::targets::Target;
use crate::dist::tools::Tools;
use crate::setup;
use crate::shell::{Workspace, say};
use anyhow::Result;
use std::fs;
use std::io::Write;
use std::path::Path;

/// The text of `cargo xtask size --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask size [OPTIONS] [TARGET]

  TARGET      as of `dist` (default x86_64-unknown-linux-gnu)
  --build B   default (with the demo), full (without), small (without SQL, too) or bridge (the serial bridge);
              may be given several times (default: default and full)
  --rows N    how many crates are listed (default 40)
  --file F    only the table of F, a binary with its symbols

Builds as `dist` does, some minutes each. Prints code and data by the crate that wrote them, and what the
file consists of. Fails when a binary is larger than its row in docs/performance.md, and lowers the row when
it is smaller.

Exit codes: 0 within the rows, 1 above or not built, 2 wrong use
";

/// Crates in a table, if nothing else is said.
const ROWS: usize = 40;

/// Prints the tables that were asked for and compares with the rows.
pub(crate) fn size(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &[], &["build", "rows", "file"])?;
    let rows = args.number("rows")?.unwrap_or(ROWS);
    if let Some(file) = args.text("file") {
        args.no_words()?;
        return print(&symbols::table(Path::new(file), rows)?);
    }
    let name = args.words.first().map(String::as_str);
    let target = Target::named(name.unwrap_or("x86_64-unknown-linux-gnu"))?;
    let builds = match args.all("build") {
        [] => vec![Build::Default, Build::Full],
        names => names
            .iter()
            .map(|name| Build::named(name))
            .collect::<Result<_, _>>()?,
    };
    let tools = Tools::ensure()?;
    setup::for_target(workspace, target.name)?;
    let mut sizes = Vec::new();
    for wanted in builds {
        say(format!("── {} ({})", target.name, wanted.name()));
        let binary = build(workspace, &tools, target, wanted)?;
        let bytes = fs::metadata(&binary.stripped)?.len();
        print(&format!(
            "{} ({}): {bytes} bytes stripped\n\n{}\n",
            target.name,
            wanted.name(),
            symbols::table(&binary.with_symbols, rows)?
        ))?;
        sizes.push(Size {
            target,
            build: wanted,
            bytes,
        });
    }
    guard(workspace, &sizes)
}

fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
