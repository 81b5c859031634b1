//! A start that rules or destinations do not allow. With `start = "held"` the process stays: the broker keeps
//! what sensors publish, whoever asks is told why, and the next reload reads configuration and rules again.

use tracing::{error, info, warn};

use super::health::{Health, Part};
use super::room::{Ended, Hindrance, Lobby};
use super::start::Deployed;
use super::{Agent, AgentError};
use crate::config::{Config, Start};
use crate::fleet::{self, Boot, BootError};
use crate::install::install_all;
use crate::storage::pond::{self, PondsError};
use crate::storage::recovery::RecoveryError;

/// Said to whoever could end it.
const WAY_OUT: &str = "mend it, then reload the agent (systemctl reload tidemill, or kill -HUP)";

/// Starts an agent, holding for as long as its configuration asks for that; `None` where somebody wished the
/// end.
///
/// # Errors
/// When it cannot start, and is not to be held.
pub(super) fn start(mut lobby: Lobby, mut config: Config) -> Result<Option<Agent>, AgentError> {
    loop {
        let why = match deploy(&mut lobby, &config) {
            Ok(None) => return Ok(None),
            Ok(Some(deployed)) => return Agent::start(config, deployed, lobby).map(Some),
            Err(error) if config.start == Start::Held => Why::of(error)?,
            Err(error) => return Err(error),
        };
        match hold(&mut lobby, &config, why)? {
            Some(read) => config = read,
            None => return Ok(None),
        }
    }
}

fn deploy(
    lobby: &mut Lobby,
    config: &Config,
) -> Result<Option<(Deployed, Option<Boot>)>, AgentError> {
    let mut boot = match &config.fleet {
        Some(fleet) => Some(fleet::boot(config, fleet)?),
        None => None,
    };
    let rules = match &mut boot {
        Some(boot) => std::mem::take(&mut boot.rules),
        None => install_all(config).map_err(AgentError::Rules)?,
    };
    match lobby.open(config)? {
        Some(recovered) => {
            let deployed = Deployed::new(config, rules, recovered)?;
            Ok(Some((deployed, boot)))
        }
        None => Ok(None),
    }
}

/// Waits until a configuration can be read that somebody wants to be tried; `None` where somebody wished the
/// end. The data directory stays locked: no other agent takes it meanwhile, and questions come here.
fn hold(lobby: &mut Lobby, config: &Config, why: Why) -> Result<Option<Config>, AgentError> {
    let lock = match pond::lock(&config.data_dir) {
        Err(error @ PondsError::Locked(_)) => return Err(RecoveryError::from(error).into()),
        lock => lock.inspect_err(|error| warn!("the data directory cannot be locked: {error}")),
    };
    lobby.listen(config);
    let mut why = why;
    loop {
        for line in &why.0 {
            error!("held, nothing is taken in: {line}");
        }
        Lobby::is_ready();
        if lobby.wait(None, &why)? == Ended::Stop {
            info!("stopped while held");
            return Ok(None);
        }
        match Config::read(&config.source.path) {
            Ok(read) if read.data_dir == config.data_dir => {
                drop(lock);
                return Ok(Some(read));
            }
            Ok(_) => why = Why(vec!["gateway.data_dir was changed, which only a new start reads: systemctl restart tidemill".to_owned()]),
            Err(errors) => why = Why(errors.iter().map(|error| format!("{error:#}")).collect()),
        }
    }
}

/// The reasons why a start is held, a line each.
struct Why(Vec<String>);

impl Why {
    /// The reasons that an error has.
    ///
    /// # Errors
    /// The error itself where a mended configuration would not end it.
    fn of(error: AgentError) -> Result<Self, AgentError> {
        match error {
            AgentError::Rules(errors) | AgentError::Fleet(BootError::Rules(errors)) => Ok(Self(
                errors.iter().map(|error| format!("{error:#}")).collect(),
            )),
            AgentError::Deploy(error) => Ok(Self(vec![error.to_string()])),
            AgentError::Homeless { .. } => Ok(Self(vec![error.to_string()])),
            AgentError::Fleet(_)
            | AgentError::Recovery(_)
            | AgentError::Journal(_)
            | AgentError::Thread(_)
            | AgentError::Ended(_) => Err(error),
        }
    }

    fn first(&self) -> &str {
        self.0.first().map_or("no reason", String::as_str)
    }
}

impl Hindrance for Why {
    fn refusal(&self) -> String {
        format!("the agent is held: {}; {WAY_OUT}", self.first())
    }

    fn tell(&self, health: &mut Health) {
        for line in &self.0 {
            health.ails_at(Part("start", ""), format!("held: {line}; {WAY_OUT}"), None);
        }
        health.says("held", self.0.clone());
        health.says(
            "held_back_by",
            format!("the start is held: {}", self.first()),
        );
    }
}
