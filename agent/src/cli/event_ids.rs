//! `tidemill event-ids`: producers that number their events, and how to let one count anew.

use serde_json::json;

use super::inspect::{look, part, running, table};
use super::{ConfigOption, Failure};
use crate::agent::books;
use crate::agent::control::Question;
use crate::config::Config;
use tidemill_base::console;

pub(super) const HELP: &str = "An event `producer:n` whose number lies 256 or more below the producer's mark, its highest number, is not \
applied: a broker that was killed sends such events again. So does a sensor whose counter starts anew: then \
the columns too_old and repeated of the ledger rise, and `tidemill inspect health` names the producer. Once \
forgotten, it begins anew with its next number, and what the broker still has of it counts again.

Examples:
  tidemill event-ids list --config agent.toml
  tidemill event-ids forget sensor7

Exit codes: 0 done; 1 the data directory cannot be read, there is no such producer, or no agent runs \
(forget); 2 wrong use";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List producers with their marks
    List(Common),
    /// Let a producer begin anew with its next number; needs a running agent
    Forget {
        /// Its name: what stands before the last colon
        producer: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    file: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    match &options.what {
        What::List(common) => list(common),
        What::Forget { producer, common } => forget(producer, common),
    }
}

const COLUMNS: [&str; 5] = ["producer", "mark", "apart", "too_old", "repeated"];

fn list(common: &Common) -> Result<(), Failure> {
    let config = Config::read(&common.file.config)?;
    let of_image = |image: &crate::commit::image::Image| books::event_ids(&image.event_ids);
    let answer = look(&config.data_dir, &Question::EventIds, of_image)?;
    let mut out = console::stdout();
    if common.json {
        out.json(format_args!("{answer:#}"))?;
        return Ok(());
    }
    out.text(&table(part(&answer, "producers"), &COLUMNS))?;
    writeln!(
        out,
        "and {} names that are no numbers",
        part(&answer, "opaque")
    )?;
    Ok(())
}

fn forget(producer: &str, common: &Common) -> Result<(), Failure> {
    let config = Config::read(&common.file.config)?;
    let question = Question::ForgetProducer {
        producer: producer.to_owned(),
    };
    let answer = running(&config.data_dir, &question)?;
    if part(&answer, "done") != true {
        return Err(Failure::Failed(anyhow::anyhow!(
            "there is no producer {producer:?}; `tidemill event-ids list` shows them"
        )));
    }
    let mut out = console::stdout();
    if common.json {
        out.json(json!({ "forgotten": producer }))?;
    } else {
        writeln!(out, "{producer} begins anew with its next number")?;
    }
    Ok(())
}
