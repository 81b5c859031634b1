//! `tidemill demo`: what it can do, to look at, without anything to install or to configure.

use std::time::Duration;

use super::{Failure, LogFormat, log};
use crate::console;
use crate::demo::{self, DemoError};
use crate::text::duration_ms;

pub(super) const HELP: &str = "Environment:
  TIDEMILL_LOG   what to log, as for `tidemill run`; without it nothing is logged
  NO_COLOR       plain lines, as with --no-color

Examples:
  tidemill demo                       until Ctrl-C
  tidemill demo --for 20s --no-color
  tidemill demo --port 1884           and elsewhere: mosquitto_sub -p 1884 -t '#' -v

Exit codes: 0 results came up and the ledger balances, 1 they did not, 2 wrong use or a port that is taken";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// How long to run [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_ms)]
    run_for: Option<u64>,
    /// Where the broker listens that sensors publish to [default: a free port]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Write plain lines even to a terminal
    #[arg(long)]
    no_color: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let logs = std::env::var_os("TIDEMILL_LOG").is_some();
    if logs {
        log::start(LogFormat::Text)?;
    }
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // Log lines would run through the picture.
    let disturbed = logs && console::stderr_is_terminal();
    demo::run(&demo::Options {
        run_for: options.run_for.map(Duration::from_millis),
        port: options.port,
        live: console::stdout_is_terminal() && !options.no_color && !no_color && !disturbed,
    })
    .map_err(Failure::from)
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::PortTaken(_) => Self::Wrong(vec![error.to_string()]),
            DemoError::Output(error) => error.into(),
            error => Self::Failed(error.into()),
        }
    }
}
