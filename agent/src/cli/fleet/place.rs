//! The operator's folder: `fleet.toml`, which a person writes, and `fleet.lock`, which the tool writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidemill_bundle::{BundleName, Envelope, PublicKey, Root, Scope, Sha256Hex};

use super::super::Failure;
use super::files::{read, read_root, replace};
use super::wrong;
use crate::config::{Broker, FleetFile};

/// The operator's file, if nothing else is said.
pub(super) const FLEET_PATH: &str = "fleet.toml";

/// The file of the fleet that a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct FleetOption {
    /// The operator's file: broker, key, roots
    #[arg(long, value_name = "FILE", default_value = FLEET_PATH, env = "TIDEMILL_FLEET")]
    pub(super) fleet: PathBuf,
}

/// An operator's fleet.
pub(super) struct Place {
    /// The broker.
    pub(super) broker: Broker,
    /// The key that signs bundles.
    pub(super) key: PathBuf,
    /// Roots in their order, with their envelopes.
    pub(super) roots: Vec<(Envelope, Root)>,
    lock_path: PathBuf,
    /// Pushes and known gateways.
    pub(super) lock: Lock,
}

/// `fleet.lock`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    tidemill_fleet_lock: u32,
    /// The last push of each bundle.
    pub(super) pushed: Vec<Pushed>,
    /// Gateways that have reported.
    pub(super) gateways: BTreeMap<String, Known>,
}

/// A push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pushed {
    /// The gateways.
    pub(super) scope: Scope,
    /// The bundle.
    pub(super) bundle: BundleName,
    /// The version.
    pub(super) version: u64,
    /// SHA-256 of the payload.
    pub(super) sha256: Sha256Hex,
    /// Hashes of its rules by name.
    pub(super) rules: BTreeMap<String, Sha256Hex>,
    /// The message, to be published again.
    pub(super) envelope: Envelope,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    /// Its key, as it was first seen.
    pub(super) key: PublicKey,
    /// Its groups, as it last told.
    pub(super) groups: Vec<String>,
}

impl Place {
    /// Reads the folder of an operator.
    pub(super) fn read(option: &FleetOption) -> Result<Self, Failure> {
        let file = FleetFile::read(&option.fleet)?;
        let roots = file.roots.iter().map(|path| read_root(path));
        let roots = roots.collect::<Result<Vec<_>, Failure>>()?;
        let lock_path = option.fleet.with_extension("lock");
        let lock = read_lock(&lock_path)?;
        Ok(Self {
            broker: file.broker,
            key: file.key,
            roots,
            lock_path,
            lock,
        })
    }

    /// The root that gateways trust.
    pub(super) fn root(&self) -> Result<&Root, Failure> {
        let last = self.roots.last().map(|(_, root)| root);
        last.ok_or_else(|| {
            wrong("fleet.toml names no root; write roots = [\"root.json\"] under [keys]")
        })
    }

    /// The last push of a bundle.
    pub(super) fn pushed(&self, scope: &Scope, bundle: &BundleName) -> Option<&Pushed> {
        self.lock
            .pushed
            .iter()
            .find(|it| it.scope == *scope && it.bundle == *bundle)
    }

    /// Writes `fleet.lock`.
    pub(super) fn write_lock(&self) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(&self.lock).unwrap_or_default() + "\n";
        replace(&self.lock_path, text.as_bytes())
    }

    /// Takes note of a push.
    pub(super) fn note(&mut self, push: Pushed) -> Result<(), Failure> {
        self.lock
            .pushed
            .retain(|it| it.scope != push.scope || it.bundle != push.bundle);
        self.lock.pushed.push(push);
        let key = |it: &Pushed| (it.scope.clone(), it.bundle.clone());
        self.lock.pushed.sort_by_key(key);
        self.write_lock()
    }
}

fn read_lock(path: &Path) -> Result<Lock, Failure> {
    if path.symlink_metadata().is_err() {
        return Ok(Lock {
            tidemill_fleet_lock: 1,
            ..Lock::default()
        });
    }
    let bytes = read(path)?;
    let shown = path.display();
    let lock: Lock = serde_json::from_slice(&bytes).map_err(|error| {
        let conflict = bytes.windows(7).any(|seven| seven == b"<<<<<<<");
        let why = if conflict {
            "it has a merge conflict: keep the higher version of each bundle".to_owned()
        } else {
            format!("it is damaged ({error}); take it from version control")
        };
        wrong(format!("{shown}:{}: {why}", error.line()))
    })?;
    if lock.tidemill_fleet_lock != 1 {
        return Err(wrong(format!(
            "{shown}: it is of another version of tidemill; use that one"
        )));
    }
    Ok(lock)
}
