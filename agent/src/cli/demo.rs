//! `tidemill demo`: what it can do, to look at, without anything to install or to configure.

#[cfg(feature = "demo")]
mod play;

use tidemill_base::text::duration_ms;

#[cfg(feature = "demo")]
pub(super) use play::run;

pub(super) const HELP: &str = "Environment:
  TIDEMILL_LOG   what to log, as for `tidemill run`; without it nothing is logged
  NO_COLOR       plain lines, as with --no-color

Examples:
  tidemill demo                       until Ctrl-C
  tidemill demo --for 20s --no-color
  tidemill demo --fleet fleet.toml    and elsewhere: tidemill push warm.toml --to demo --wait
  tidemill demo --port 1884           and elsewhere: mosquitto_sub -p 1884 -t '#' -v

Exit codes: 0 results came up and the ledger balances, 1 they did not, 2 wrong use or a port that is taken";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Length of the run [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_ms)]
    run_for: Option<u64>,
    /// Port of the broker that sensors publish to [default: a free port]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Take pushes as the gateway `demo` of this operator's fleet; its broker listens where the file says
    #[arg(long, value_name = "fleet.toml", conflicts_with = "port")]
    fleet: Option<std::path::PathBuf>,
    /// Write plain lines even to a terminal
    #[arg(long)]
    no_color: bool,
}

/// Says how to get the demo: this build is without its broker.
#[cfg(not(feature = "demo"))]
pub(super) fn run(_: &Options) -> Result<(), super::Failure> {
    let text = "this build has no demo, which brings a broker along; a build with the feature `demo`, \
                which is on by default, has it: cargo install --path agent";
    Err(super::Failure::Wrong(vec![text.to_owned()]))
}
