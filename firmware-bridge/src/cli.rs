//! The command line. Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 it ran
//! and was refused or failed, 2 wrong use or wrong input.

mod check;
mod listen;
mod log;
mod monitor;
mod ports;

use crate::config::Config;
use crate::devices::Roots;
use crate::run::{self, RunError};
use clap::{CommandFactory as _, Parser, Subcommand};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use tidemill_base::console;
use tidemill_base::secret::keep_out_of_dumps;
use tidemill_base::text::FileError;
use tracing::warn;

const RUN_HELP: &str = "Signals:
  SIGTERM, SIGINT   stop: bring to the broker what is held, for 2 s at most, and let the ports go
  SIGHUP            read the configuration again. If it has changed and is good, begin anew with it, all ports
                    included; if it is wrong, say so and go on

Environment:
  TIDEMILL_LOG      what to log: error, warn, info (default), debug

Exit codes: 0 stopped when told to, 1 failed (or another bridge has this id), 2 wrong configuration";

const CHECK_HELP: &str = "Everything that is wrong is said at once, each with file, line and key. Of each port it says whether its device \
is there; nothing is opened, because opening resets many boards.

Exit codes: 0 nothing is wrong, 2 something is";

const PORTS_HELP: &str = "Examples:
  tidemill-bridge ports
  tidemill-bridge ports --listen /dev/ttyUSB0     which baud is it?

--listen opens the port, which resets many boards, and listens for 1 s at each baud.";

const MONITOR_HELP: &str =
    "The running bridge shows what goes by; it never waits for the one who looks.

Examples:
  tidemill-bridge monitor
  tidemill-bridge monitor boiler --json";

/// Microcontrollers on serial lines, and their lines as events on MQTT.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill-bridge",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge until it is told to stop (SIGTERM or Ctrl-C)
    #[command(after_help = RUN_HELP)]
    Run {
        #[command(flatten)]
        file: ConfigOption,
        /// The form of log lines
        #[arg(long, value_enum, default_value = "text")]
        log_format: log::LogFormat,
    },
    /// Check the configuration without starting anything
    #[command(after_help = CHECK_HELP)]
    Check(ConfigOption),
    /// List the serial devices of this machine, and by what each can be named
    #[command(after_help = PORTS_HELP)]
    Ports {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        /// Open this device and say at which baud it speaks
        #[arg(long, value_name = "DEVICE", conflicts_with = "json")]
        listen: Option<PathBuf>,
    },
    /// Show what goes by on the ports of the running bridge
    #[command(after_help = MONITOR_HELP)]
    Monitor {
        /// One port only
        port: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        file: ConfigOption,
    },
}

#[derive(Debug, clap::Args)]
struct ConfigOption {
    /// The bridge's configuration
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/tidemill/bridge.toml",
        env = "TIDEMILL_BRIDGE_CONFIG"
    )]
    config: PathBuf,
}

/// Reasons for a command not to end well.
enum Failure {
    /// It ran and was refused or failed: exit code 1.
    Failed(String),
    /// Wrong use or wrong input: exit code 2.
    Wrong(String),
    /// Files are wrong: exit code 2.
    Files(Vec<FileError>),
}

impl From<Vec<FileError>> for Failure {
    fn from(errors: Vec<FileError>) -> Self {
        Self::Files(errors)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The commands with their options, of which manual pages and completions are made.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { file, log_format } => run(&file, log_format),
        Command::Check(file) => check::check(&file.config, &Roots::default()),
        Command::Ports {
            listen: Some(tty), ..
        } => listen::listen(&tty),
        Command::Ports { json, listen: None } => ports::ports(&Roots::default(), json),
        Command::Monitor { port, json, file } => monitor::monitor(&file.config, port, json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure),
    }
}

fn run(file: &ConfigOption, format: log::LogFormat) -> Result<(), Failure> {
    log::start(format)?;
    let config = Config::read(&file.config)?;
    if let Err(error) = keep_out_of_dumps() {
        warn!("a crash may write the password to a core dump: {error}");
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }
    Ok(run::run(config, &file.config, Roots::default())?)
}

fn report(failure: Failure) -> ExitCode {
    let mut err = console::stderr();
    // Nobody can be told that standard error is gone.
    let mut say = |why: &dyn std::fmt::Display| drop(writeln!(err, "error: {why}"));
    match failure {
        Failure::Failed(why) => {
            say(&why);
            ExitCode::from(1)
        }
        Failure::Wrong(why) => {
            say(&why);
            ExitCode::from(2)
        }
        Failure::Files(errors) => {
            errors.iter().for_each(|error| say(error));
            ExitCode::from(2)
        }
    }
}
