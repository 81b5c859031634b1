//! `tidemill repair`: cuts a damaged journal where it is damaged, and puts aside state that nobody can read.

use super::{ConfigOption, Failure};
use crate::config::Config;
use crate::storage::data_dir;
use crate::storage::recovery;
use tidemill_base::console;

pub(super) const HELP: &str = "Keeps the longest run of whole records that continues the state and, of those before it, which serve rows \
that wait, all that are whole. Puts the old segments aside in the data directory, and gives the gateway a \
new incarnation, so that receivers do not take new emissions for old ones. What stood behind the damage is \
lost: events that were acknowledged may be missing from the state, and emissions may never be sent. Where \
neither state database can be read and the journal does not reach back to the beginning, both are put aside, \
and the gateway begins without state. No agent may be running.

Example:
  tidemill repair --config agent.toml

Exit codes: 0 done, or nothing is wrong, 1 it cannot be repaired, 2 wrong use";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    file: ConfigOption,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let config = Config::read(&options.file.config)?;
    data_dir::enter(&config.data_dir)?;
    let mended = recovery::repair(&config.data_dir, config.segment_bytes)
        .map_err(|error| Failure::Failed(error.into()))?;
    let mut out = console::stdout();
    for pond in &mended.ponds {
        let pond = pond.display();
        writeln!(out, "a state database that cannot be read is in {pond}")?;
    }
    if !mended.ponds.is_empty() {
        writeln!(out, "the gateway begins without state")?;
    }
    let Some(repaired) = mended.journal else {
        for (first, last) in &mended.lost {
            writeln!(
                out,
                "records {first} to {last} cannot be read; a start drops the rows that wait in them"
            )?;
        }
        let said = if mended.lost.is_empty() {
            "nothing is wrong with the journal"
        } else {
            "the journal is left as it is: a start goes on with it"
        };
        writeln!(out, "{said}")?;
        return Ok(());
    };
    let (first, last) = (repaired.first_lsn, repaired.next_lsn - 1);
    if last < first {
        writeln!(
            out,
            "no record could be kept: the journal begins anew at {first}"
        )?;
    } else {
        writeln!(out, "records {first} to {last} are kept")?;
    }
    for (first, last) in &repaired.missing {
        writeln!(
            out,
            "without {first} to {last}; a start drops the rows that wait in them"
        )?;
    }
    let incarnation = repaired.incarnation;
    writeln!(out, "the gateway is incarnation {incarnation} now")?;
    if let Some(aside) = repaired.put_aside {
        writeln!(out, "the old segments are in {}", aside.display())?;
    }
    Ok(())
}
