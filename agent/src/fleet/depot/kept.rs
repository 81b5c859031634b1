//! The content of the depot's files.

use serde::{Deserialize, Serialize};
use tidemill_bundle::{BundleName, Envelope, Reason, Scope, Sha256Hex};

use crate::fleet::rollout::Entry;

/// The active deployment, and the one that is being changed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Starts of the agent.
    pub(crate) start: u64,
    /// The number of the next deployment.
    pub(crate) next: u64,
    /// The deployment that runs for good; 0 for the local files alone.
    pub(crate) active: u64,
    /// The one that ran for good before.
    pub(crate) previous: u64,
    /// The one that was switched to and is not confirmed.
    pub(crate) pending: Option<Pending>,
    /// Those that went back, the latest last.
    pub(crate) rolled_back: Vec<RolledBack>,
}

/// A deployment that is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pending {
    /// Its number.
    pub(crate) deployment: u64,
    /// Starts with it that did not come to an orderly end.
    pub(crate) starts: u32,
}

/// A bundle that went back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolledBack {
    /// The bundle.
    pub(crate) entry: KeptEntry,
    /// Why.
    pub(crate) reason: Reason,
    /// The same for people.
    pub(crate) text: String,
}

/// A bundle of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptEntry {
    /// The gateways.
    pub(crate) scope: Scope,
    /// The bundle.
    pub(crate) bundle: BundleName,
    /// The version.
    pub(crate) version: u64,
    /// SHA-256 of the payload.
    pub sha256: Sha256Hex,
    /// SHA-256 of the envelope, its name among the objects.
    pub(crate) envelope: Sha256Hex,
}

/// A deployment as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptDeployment {
    pub(super) deployment: u64,
    pub(super) agent: String,
    pub(super) config: Sha256Hex,
    pub(super) bundles: Vec<KeptEntry>,
}

/// Trust as it is kept: the marks as the crate writes them, and the envelope of the root beside them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptTrust {
    pub(super) trust: Box<serde_json::value::RawValue>,
    pub(super) root: Option<Envelope>,
}

impl From<&Entry> for KeptEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            scope: entry.scope.clone(),
            bundle: entry.bundle.clone(),
            version: entry.version,
            sha256: entry.sha256,
            envelope: entry.envelope,
        }
    }
}

impl From<KeptEntry> for Entry {
    fn from(kept: KeptEntry) -> Self {
        Self {
            scope: kept.scope,
            bundle: kept.bundle,
            version: kept.version,
            sha256: kept.sha256,
            envelope: kept.envelope,
        }
    }
}
