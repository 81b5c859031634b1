//! `tidemill run`: the agent in the foreground, until a signal ends it.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::{ConfigOption, Failure, LogFormat, log};
use crate::agent::{self, AgentError, Remote};
use crate::config::Config;
use crate::fleet::BootError;
use crate::storage::data_dir;
use crate::storage::recovery::RecoveryError;
use tidemill_base::secret::keep_out_of_dumps;
use tidemill_base::text::duration_ms;

pub(super) const HELP: &str = "Signals:
  SIGTERM, SIGINT   stop: finish what was taken, send it, write the state; a second one ends at once
  SIGHUP            read the rules again; wrong ones leave the old ones running

Environment:
  TIDEMILL_LOG            what to log: error, warn, info (default), debug
  TIDEMILL_GATEWAY__ID    overrides gateway.id, and so for every key of the configuration

Examples:
  tidemill run --config agent.toml
  TIDEMILL_LOG=debug tidemill run --config agent.toml --log-format json

Exit codes: 0 stopped when told to, 1 failed (or another agent uses the data directory), 2 wrong \
configuration or rules, 74 storage failed";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    file: ConfigOption,
    /// Format of log lines
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Longest time for a stop to send what waits
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "5s")]
    grace: u64,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    log::start(options.log_format)?;
    let config = Config::read(&options.file.config)?;
    if let Err(error) = keep_out_of_dumps() {
        warn!("a crash may write passwords to a core dump: {error}");
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }
    data_dir::enter(&config.data_dir)?;
    let grace = Duration::from_millis(options.grace);
    agent::run(config, |remote| {
        let (listens, until_it_does) = sync_channel::<()>(0);
        let listening = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || listen(&remote, grace, listens));
        if let Err(error) = listening {
            warn!("signals are not listened to: {error}");
        }
        // A signal that nobody listens to would end the process with events taken and not written.
        let _ = until_it_does.recv();
    })
    .map_err(Failure::from)
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Rules(errors) => errors.into(),
            AgentError::Fleet(BootError::Rules(errors)) => errors.into(),
            AgentError::Fleet(error @ BootError::Locked(_)) => Self::Failed(error.into()),
            AgentError::Fleet(error @ BootError::Storage(_)) => Self::Storage(error.into()),
            AgentError::Deploy(error) => Self::Wrong(vec![error.to_string()]),
            AgentError::Homeless { .. } => Self::Wrong(vec![error.to_string()]),
            AgentError::Recovery(RecoveryError::Locked(_)) => Self::Failed(error.into()),
            AgentError::Recovery(_) | AgentError::Journal(_) => Self::Storage(error.into()),
            AgentError::Thread(_) | AgentError::Ended(_) => Self::Failed(error.into()),
        }
    }
}

/// Passes signals on until the process ends; drops `listens` when it has begun, or cannot.
fn listen(remote: &Remote, grace: Duration, listens: SyncSender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let outcome = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut hang_up = signal(SignalKind::hangup())?;
            drop(listens);
            let mut stopping = false;
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hang_up.recv() => {
                        info!("reading the rules again");
                        remote.reload();
                        continue;
                    }
                }
                if stopping {
                    std::process::exit(1);
                }
                stopping = true;
                remote.stop(grace);
            }
        })
    });
    let outcome: Result<(), std::io::Error> = outcome;
    if let Err(error) = outcome {
        warn!("signals are not listened to: {error}");
    }
}
