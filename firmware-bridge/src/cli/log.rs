//! The log of `run`: to standard error, as text or as one JSON object a line.

use super::Failure;
use clap::ValueEnum;
use tidemill_base::console::{self, JsonLines};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sets the log up, at the level that `TIDEMILL_LOG` asks for. Libraries say only what is wrong.
pub(super) fn start(format: LogFormat) -> Result<(), Failure> {
    let level = match std::env::var("TIDEMILL_LOG") {
        Ok(text) => text.parse::<LevelFilter>().map_err(|_| {
            Failure::Wrong(format!(
                "TIDEMILL_LOG: {text:?} is no level; write off, error, warn, info, debug or trace"
            ))
        })?,
        Err(_) => LevelFilter::INFO,
    };
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("tidemill", level);
    let log = tracing_subscriber::registry();
    let lines = tracing_subscriber::fmt::layer();
    match format {
        LogFormat::Text => {
            let colours = console::stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let lines = lines
                .with_writer(console::log_lines)
                .with_ansi(colours)
                .with_target(false);
            log.with(lines.with_filter(filter)).init();
        }
        LogFormat::Json => {
            let lines = lines
                .with_writer(|| JsonLines)
                .with_ansi(false)
                .json()
                .flatten_event(true);
            log.with(lines.with_filter(filter)).init();
        }
    }
    Ok(())
}
