//! The demo from the command line: its options, and the exit code.

use std::time::Duration;

use super::Options;
use crate::cli::{Failure, LogFormat, log};
use crate::demo::{self, DemoError};
use tidemill_base::console;

pub(in crate::cli) fn run(options: &Options) -> Result<(), Failure> {
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
