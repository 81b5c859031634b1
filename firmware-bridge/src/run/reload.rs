//! SIGHUP: the configuration is read again. One that is wrong changes nothing; one that is good is begun with anew, with
//! all ports, because what a port holds and knows belongs to its settings.

use super::single;
use crate::config::Config;
use std::os::unix::net::UnixListener;
use std::path::Path;
use tidemill_base::text::printable;
use tracing::{error, info, warn};

/// Another configuration, and the claim of its id if that is another one.
pub(super) struct Reload {
    pub(super) config: Config,
    pub(super) claim: Option<UnixListener>,
}

/// Reads the file again; `None` where all stays as it is, which is said.
pub(super) fn reload(path: &Path, current: &Config) -> Option<Reload> {
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(errors) => {
            errors.iter().for_each(|error| error!("{error}"));
            let path = path.display();
            warn!("{} is wrong: the bridge goes on as it is", printable(path));
            return None;
        }
    };
    if config.text == current.text {
        info!("{} has not changed", printable(path.display()));
        return None;
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if config.id == current.id {
        let claim = None;
        return Some(Reload { config, claim });
    }
    match single::claim(&config.id) {
        Ok(claim) => {
            let claim = Some(claim);
            Some(Reload { config, claim })
        }
        Err(error) => {
            error!("{error}; the bridge goes on as it is");
            None
        }
    }
}
