//! The demo from the command line: its options, and the exit code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Options;
use crate::cli::{Failure, LogFormat, log};
use crate::config::FleetFile;
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
    let fleet = options.fleet.as_deref().map(fleet).transpose()?;
    let (port, root) = fleet.unzip();
    demo::run(&demo::Options {
        run_for: options.run_for.map(Duration::from_millis),
        port: port.or(options.port),
        root,
        live: console::stdout_is_terminal() && !options.no_color && !no_color && !disturbed,
    })
    .map_err(Failure::from)
}

/// The port and the first root of an operator's fleet, whose broker has to be on this machine.
fn fleet(path: &Path) -> Result<(u16, PathBuf), Failure> {
    let file = FleetFile::read(path)?;
    let wrong = |text: String| Failure::Wrong(vec![format!("{}: {text}", path.display())]);
    let broker = &file.broker;
    if !matches!(&*broker.host, "127.0.0.1" | "localhost") || broker.tls.is_some() {
        let text = "the demo brings a broker for mqtt://127.0.0.1 along; write such an address, or run \
                    `tidemill run` as a gateway of this fleet";
        return Err(wrong(text.to_owned()));
    }
    let root = file.roots.first();
    let root = root.ok_or_else(|| wrong("names no root under [keys]".to_owned()))?;
    let root = std::path::absolute(root)?;
    Ok((broker.port, root))
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
