//! The terms of a rollout: bundles by what they are known by, deployments of them, what happens and what
//! has to be done.

use std::collections::BTreeMap;

use tidemill_bundle::{BundleName, Refusal, Scope, Sha256Hex};

/// A bundle that was accepted, by what it is known by. Its content lies in the depot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The gateways.
    pub scope: Scope,
    /// The bundle.
    pub bundle: BundleName,
    /// The version.
    pub version: u64,
    /// SHA-256 of the payload.
    pub sha256: Sha256Hex,
    /// SHA-256 of the envelope, under which it lies in the depot.
    pub envelope: Sha256Hex,
}

impl Entry {
    /// `true` if both are versions of one bundle.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.scope == other.scope && self.bundle == other.bundle
    }
}

/// Conditions of a probation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// The least time.
    pub probation_ms: u64,
    /// Events of each changed rule.
    pub events: u64,
    /// The longest wait for them.
    pub within_ms: u64,
    /// Share of dead letters above that of the version before.
    pub dead_share: f64,
}

/// A bundle that waits for its turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The bundle.
    pub entry: Entry,
    /// Its terms.
    pub terms: Terms,
}

/// Events of a rule, since its ledger began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that reached it.
    pub received: u64,
    /// Those that became dead letters.
    pub dead: u64,
}

/// Counts by the names of rules.
pub type ByRule = BTreeMap<String, Counts>;

/// Progress of the latest attempt at a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It waits for another one, or for the pause to end.
    Waiting,
    /// It is read, compiled and proved, stored and switched to.
    Preparing,
    /// It runs, and may go back.
    Probation,
    /// It runs for good; `true` if every changed rule saw as many events as were asked for.
    Active(bool),
    /// It never ran.
    Refused(Refusal),
    /// It ran and went back.
    RolledBack(Refusal),
}

/// A deployment: the bundles that were accepted for this gateway, one version of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Its number; 0 is that of the local files alone.
    pub number: u64,
    /// The bundles, in the order of scope and name.
    pub entries: Vec<Entry>,
}

impl Deployment {
    /// The deployment that follows when a bundle is accepted.
    pub(super) fn with(&self, number: u64, entry: &Entry) -> Self {
        let kept = self.entries.iter().filter(|known| !known.is_of(entry));
        let mut entries: Vec<Entry> = kept.cloned().chain([entry.clone()]).collect();
        entries.sort();
        Self { number, entries }
    }
}

/// Events of a rollout.
#[derive(Debug)]
pub enum Input {
    /// A bundle was accepted, and its mark is on the disk.
    Accepted(Candidate),
    /// The rules of [`Output::Prepare`] can run, and these are changed.
    Prepared(Result<Vec<String>, Refusal>),
    /// [`Output::Store`] is on the disk.
    Stored(Result<(), Refusal>),
    /// [`Output::Switch`] was done; counts of the changed rules as they stood then.
    Switched(Result<ByRule, Refusal>),
    /// [`Output::GoBack`] was done, or the loop went back by itself, for a reason.
    WentBack(Refusal),
    /// [`Output::Confirm`] was done: the loop goes back no more.
    Confirmed,
    /// [`Output::Settle`] is on the disk.
    Settled,
    /// Counts of the changed rules as they stand.
    Counts(ByRule),
    /// Time goes by.
    Tick,
}

/// Work to be done. Each is answered by an input before the next one comes.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Read, compile and prove the rules of a deployment.
    Prepare(Deployment),
    /// Write a deployment down, and that it is pending.
    Store(Deployment),
    /// Make it run.
    Switch(u64),
    /// Make the one before run again.
    GoBack(Refusal),
    /// Keep it, unless it went back by itself just now.
    Confirm,
    /// Write down what is active, and that nothing is pending.
    Settle,
}

/// The depot's word on the time before the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// The deployment that runs for good.
    pub active: Deployment,
    /// The number of the next one.
    pub next: u64,
    /// Those that went back.
    pub rolled_back: Vec<(Entry, Refusal)>,
}
