//! The start: which deployment runs, and what is said where the one that should cannot.

use std::io;
use std::path::PathBuf;

use tidemill_bundle::{Bundle, Reason, Refusal, Root, SigningKey, Trust};
use tracing::{error, info, warn};

use super::build::{Builder, Built, InForce, changed};
use super::depot::{Depot, Found, Pending, RolledBack, State};
use super::judge::terms_of;
use super::rollout::{Candidate, Deployment};
use crate::config::{Config, Fleet};
use crate::install::install_all;
use crate::mill::BoundRule;
use tidemill_base::text::FileError;

/// Starts in probation that do not come to an orderly end; at this one the deployment before runs.
const STARTS_MAX: u32 = 3;

/// Everything that a start has found out.
pub struct Boot {
    pub(super) depot: Depot,
    pub(super) device: SigningKey,
    pub(super) trust: Trust,
    pub(super) root: Option<tidemill_bundle::Envelope>,
    pub(super) state: State,
    pub(super) active: Deployment,
    pub(super) probation: Option<Probation>,
    pub(super) in_force: Vec<InForce>,
    pub(super) shadowed: Vec<String>,
    /// Losses, in words.
    pub(super) damage: Vec<String>,
    /// `true` if trust was lost and begun anew.
    pub(super) is_rebuilt: bool,
    /// Rules that run.
    pub rules: Vec<BoundRule>,
}

/// A deployment that was in probation when the process ended.
pub(super) struct Probation {
    pub(super) candidate: Candidate,
    pub(super) deployment: Deployment,
    pub(super) back: Vec<BoundRule>,
    pub(super) changed: Vec<String>,
}

/// Why a start with pushed rules is not possible.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Another process has the data directory.
    #[error("another agent uses the data directory {}", .0.display())]
    Locked(PathBuf),
    /// The depot cannot be made or read.
    #[error("pushed rules cannot be kept")]
    Storage(#[from] io::Error),
    /// Local rules are wrong, and no deployment runs without them.
    #[error("the rules cannot be deployed")]
    Rules(Vec<FileError>),
}

/// Chooses the deployment that runs, and counts this start.
///
/// # Errors
/// When the depot cannot be used at all, or not even the local rules can be installed.
pub fn boot(config: &Config, fleet: &Fleet) -> Result<Boot, BootError> {
    let depot = Depot::open(&config.data_dir)?;
    let depot = depot.ok_or_else(|| BootError::Locked(config.data_dir.clone()))?;
    let device = depot.device_key()?;
    let mut damage = Vec::new();
    let (mut state, why) = depot.state();
    damage.extend(why);
    let (trust, root, is_rebuilt) = trusted(&depot, fleet, &state, &mut damage);
    state.start = state.start.saturating_add(1);
    count_start(&depot, &mut state);
    depot.write_state(&state)?;
    depot.write_trust(&trust, root.as_ref())?;
    let builder = Builder {
        config,
        fleet,
        depot: &depot,
        trust: &trust,
    };
    let chosen = choose(builder, &mut state, &mut damage)?;
    damage.iter().for_each(|why| error!("pushed rules: {why}"));
    let (active, built, probation) = chosen;
    depot.write_state(&state)?;
    info!(
        deployment = active.number,
        bundles = built.in_force.len(),
        "pushed rules"
    );
    let shadowed = built.shadowed.iter().map(ToString::to_string).collect();
    Ok(Boot {
        rules: built.rules,
        in_force: built.in_force,
        depot,
        device,
        trust,
        root,
        state,
        active,
        probation,
        shadowed,
        damage,
        is_rebuilt,
    })
}

/// Trust as it was left; else what the owner's root and the bundles at hand tell.
fn trusted(
    depot: &Depot,
    fleet: &Fleet,
    state: &State,
    damage: &mut Vec<String>,
) -> (Trust, Option<tidemill_bundle::Envelope>, bool) {
    let (first, envelope) = &fleet.root;
    let is_first = state.start == 0;
    let is_rebuilt = match depot.trust() {
        Found::Whole((trust, root)) => {
            // A root that the owner has put there since is followed if it is a later one.
            let reached = trust.root().map_or(0, |root| root.root);
            if first.root <= reached {
                return (trust, root, false);
            }
            let mut trust = trust;
            trust.begin(first.clone());
            return (trust, Some(envelope.clone()), false);
        }
        Found::Missing if is_first => false,
        Found::Missing => {
            damage.push("fleet/trust is missing: it begins anew with fleet.root".to_owned());
            true
        }
        Found::Damaged(why) => {
            damage.push(format!("{why}: trust begins anew with fleet.root"));
            true
        }
    };
    let mut trust = Trust::default();
    trust.begin(Root::clone(first));
    if is_rebuilt {
        trust = marks_at_hand(depot, state, trust);
    }
    (trust, Some(envelope.clone()), is_rebuilt)
}

/// Marks of the bundles that lie in the depot, so that nobody goes behind those.
fn marks_at_hand(depot: &Depot, state: &State, mut trust: Trust) -> Trust {
    let pending = state.pending.as_ref().map(|pending| pending.deployment);
    for number in [Some(state.active), Some(state.previous), pending]
        .into_iter()
        .flatten()
    {
        let entries = depot
            .deployment(number)
            .map(|it| it.entries)
            .unwrap_or_default();
        for entry in entries {
            let Ok(envelope) = depot.envelope(entry.envelope) else {
                continue;
            };
            let Ok(bundle) = Bundle::parse(&envelope.payload) else {
                continue;
            };
            let accepted = tidemill_bundle::Accepted {
                signers: trust.still_signed_by(&envelope, &bundle),
                sha256: envelope.sha256(),
                is_new: true,
                bundle,
            };
            trust = trust.marked(&accepted).unwrap_or(trust);
        }
    }
    trust
}

/// Counts a start with a deployment that is not confirmed; the third sends it back.
fn count_start(depot: &Depot, state: &mut State) {
    let Some(pending) = &mut state.pending else {
        return;
    };
    pending.starts = pending.starts.saturating_add(1);
    if pending.starts < STARTS_MAX {
        return;
    }
    let number = pending.deployment;
    let text = format!(
        "the agent has ended {} times in its probation",
        STARTS_MAX - 1
    );
    warn!(deployment = number, "goes back: {text}");
    go_back(depot, state, &Refusal::new(Reason::Died, text));
}

/// Notes that what is pending went back.
fn go_back(depot: &Depot, state: &mut State, refusal: &Refusal) {
    let Some(pending) = state.pending.take() else {
        return;
    };
    if let Some(entry) = new_entry(depot, state.active, pending.deployment) {
        state.rolled_back.push(RolledBack {
            entry: (&entry).into(),
            reason: refusal.reason,
            text: refusal.text.clone(),
        });
    }
}

/// The bundle by which one deployment differs from another.
fn new_entry(depot: &Depot, from: u64, to: u64) -> Option<super::rollout::Entry> {
    let (from, to) = (depot.deployment(from).ok()?, depot.deployment(to).ok()?);
    to.entries
        .into_iter()
        .find(|entry| !from.entries.contains(entry))
}

type Chosen = (Deployment, Built, Option<Probation>);

/// The first that can run: what is pending, what is active, what was active before, the local files.
fn choose(
    builder: Builder<'_>,
    state: &mut State,
    damage: &mut Vec<String>,
) -> Result<Chosen, BootError> {
    let pending = state.pending.clone();
    if let Some(Pending { deployment, .. }) = pending {
        match probation(builder, state.active, deployment) {
            Ok((built, probation)) => {
                let active = builder.depot.deployment(state.active).unwrap_or_default();
                return Ok((active, built, Some(probation)));
            }
            Err(refusal) => {
                damage.push(format!("deployment {deployment} cannot run: {refusal}"));
                go_back(builder.depot, state, &refusal);
            }
        }
    }
    let mut tried = Vec::new();
    for number in [state.active, state.previous] {
        if number == 0 || tried.contains(&number) {
            continue;
        }
        tried.push(number);
        let storage = |why: String| Refusal::new(Reason::Storage, why);
        let deployment = builder.depot.deployment(number).map_err(storage);
        let built = deployment.and_then(|it| Ok((builder.build(&it, None)?, it)));
        match built {
            Ok((built, deployment)) => {
                state.active = number;
                return Ok((deployment, built, None));
            }
            Err(refusal) => damage.push(format!("deployment {number} cannot run: {refusal}")),
        }
    }
    // Whoever has a wrong local file and nothing pushed is told by file and line.
    let rules = install_all(builder.config).map_err(BootError::Rules)?;
    let built = Built {
        rules,
        in_force: Vec::new(),
        shadowed: Vec::new(),
    };
    Ok((Deployment::default(), built, None))
}

/// The pending deployment, with the rules to go back to.
fn probation(
    builder: Builder<'_>,
    active: u64,
    pending: u64,
) -> Result<(Built, Probation), Refusal> {
    let storage = |why: String| Refusal::new(Reason::Storage, why);
    let deployment = builder.depot.deployment(pending).map_err(storage)?;
    let before = builder.depot.deployment(active).map_err(storage)?;
    let new = deployment
        .entries
        .iter()
        .find(|entry| !before.entries.contains(entry));
    let entry = new
        .ok_or_else(|| storage("it brings nothing new".to_owned()))?
        .clone();
    let envelope = builder.depot.envelope(entry.envelope).map_err(storage)?;
    let bundle = Bundle::parse(&envelope.payload)?;
    let back = builder.build(&before, None)?;
    let built = builder.build(&deployment, None)?;
    let changed = changed(&back.rules, &built.rules)?;
    let terms = terms_of(&bundle, builder.fleet);
    let probation = Probation {
        candidate: Candidate { entry, terms },
        deployment,
        back: back.rules,
        changed,
    };
    Ok((built, probation))
}
