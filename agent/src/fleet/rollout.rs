//! The way of a bundle from its acceptance to its confirmation, as a state machine: time is an argument,
//! and whatever has to be done leaves as an output, one at a time, whose end comes back as an input.
//! At any moment one deployment is being changed to, by one bundle; others wait for their turn.

mod model;
mod probation;

use std::collections::{BTreeMap, VecDeque};

use tidemill_bundle::{BundleName, Reason, Refusal, Scope, Sha256Hex};

pub use model::{
    Before, ByRule, Candidate, Counts, Deployment, Entry, Input, Output, Progress, Terms,
};

/// Bundles that wait. A newer version takes the place of an older one, so this many identities.
const WAITING_MAX: usize = 64;

/// Deployments that went back and are remembered.
pub const ROLLED_BACK_MAX: usize = 64;

/// The stage of the work.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Idle,
    Preparing,
    Storing,
    Switching,
    /// `before` is what was counted when it began; after a start, at the first count.
    Probation {
        since_ms: u64,
        before: Option<ByRule>,
    },
    GoingBack,
    /// `true` if it is proven.
    Confirming(bool),
    Settling,
}

/// The deployment that is being changed to.
#[derive(Debug, Clone, PartialEq)]
struct Attempt {
    candidate: Candidate,
    deployment: Deployment,
    changed: Vec<String>,
}

/// The state machine.
#[derive(Debug)]
pub struct Rollout {
    active: Deployment,
    next: u64,
    phase: Phase,
    attempt: Option<Attempt>,
    waiting: VecDeque<Candidate>,
    rolled_back: Vec<(Entry, Refusal)>,
    /// Refusals after the marks, each with the deployment beside which it was refused.
    refused: BTreeMap<(Sha256Hex, u64), Refusal>,
    /// The latest of each bundle, with the order in which they changed.
    progress: BTreeMap<(Scope, BundleName), (u64, Entry, Progress)>,
    changes: u64,
    pause_ms: u64,
    switched_ms: Option<u64>,
}

impl Rollout {
    /// A machine that goes on from what lies in the depot.
    pub fn new(before: Before, pause_ms: u64) -> Self {
        let mut rollout = Self {
            active: before.active,
            next: before.next.max(1),
            phase: Phase::Idle,
            attempt: None,
            waiting: VecDeque::new(),
            rolled_back: before.rolled_back,
            refused: BTreeMap::new(),
            progress: BTreeMap::new(),
            changes: 0,
            pause_ms,
            switched_ms: None,
        };
        for (entry, refusal) in rollout.rolled_back.clone() {
            rollout.note(&entry, Progress::RolledBack(refusal));
        }
        for entry in rollout.active.entries.clone() {
            // Whoever rolled back a newer version wants to hear of that, not of the old one.
            let key = (entry.scope.clone(), entry.bundle.clone());
            if !rollout.progress.contains_key(&key) {
                rollout.note(&entry, Progress::Active(true));
            }
        }
        rollout
    }

    /// Takes a pending deployment up again that was switched to before the process ended.
    pub fn resume(
        &mut self,
        now_ms: u64,
        candidate: Candidate,
        deployment: Deployment,
        changed: Vec<String>,
    ) {
        self.note(&candidate.entry, Progress::Probation);
        self.attempt = Some(Attempt {
            candidate,
            deployment,
            changed,
        });
        self.phase = Phase::Probation {
            since_ms: now_ms,
            before: None,
        };
    }

    /// Takes an input, and says what has to be done next.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Option<Output> {
        match input {
            Input::Accepted(candidate) => self.accepted(candidate),
            Input::Prepared(outcome) => return self.prepared(now_ms, outcome),
            Input::Stored(outcome) => return self.stored(now_ms, outcome),
            Input::Switched(outcome) => return self.switched(now_ms, outcome),
            Input::WentBack(refusal) => return self.went_back(refusal),
            Input::Confirmed => return self.confirmed(),
            Input::Settled if self.phase == Phase::Settling => self.phase = Phase::Idle,
            Input::Counts(counts) => return self.judge(now_ms, &counts),
            Input::Settled | Input::Tick => {}
        }
        self.proceed(now_ms)
    }

    /// The deployment that runs for good.
    pub fn active(&self) -> &Deployment {
        &self.active
    }

    /// The deployment that is being changed to, if its number is taken.
    pub fn pending(&self) -> Option<u64> {
        match self.phase {
            Phase::Switching
            | Phase::Probation { .. }
            | Phase::GoingBack
            | Phase::Confirming(_) => self
                .attempt
                .as_ref()
                .map(|attempt| attempt.deployment.number),
            Phase::Idle | Phase::Preparing | Phase::Storing | Phase::Settling => None,
        }
    }

    /// The number of the next deployment.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Those that went back.
    pub fn rolled_back(&self) -> &[(Entry, Refusal)] {
        &self.rolled_back
    }

    /// Progress of each bundle.
    pub fn progress(&self) -> impl Iterator<Item = (&Entry, &Progress)> {
        self.progress
            .values()
            .map(|(_, entry, progress)| (entry, progress))
    }

    /// Progress of the bundle of this name that changed last.
    pub fn latest(&self, bundle: &BundleName) -> Option<(&Entry, &Progress)> {
        let of_it = self
            .progress
            .values()
            .filter(|(_, entry, _)| entry.bundle == *bundle);
        let latest = of_it.max_by_key(|(change, _, _)| *change);
        latest.map(|(_, entry, progress)| (entry, progress))
    }

    /// Envelopes of the bundles that wait.
    pub fn wanted(&self) -> impl Iterator<Item = Sha256Hex> {
        self.waiting
            .iter()
            .map(|candidate| candidate.entry.envelope)
    }

    /// When it has to be looked at again even if nothing happens.
    pub fn next_due_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Idle if self.waiting.is_empty() => None,
            Phase::Idle => self.switched_ms.map(|at| at.saturating_add(self.pause_ms)),
            Phase::Probation { since_ms, .. } => {
                let terms = self.attempt.as_ref().map(|attempt| attempt.candidate.terms);
                terms.map(|terms| since_ms.saturating_add(terms.probation_ms))
            }
            _ => None,
        }
    }

    /// `true` while a deployment is in probation.
    pub fn is_in_probation(&self) -> bool {
        matches!(self.phase, Phase::Probation { .. })
    }

    fn note(&mut self, entry: &Entry, progress: Progress) {
        let key = (entry.scope.clone(), entry.bundle.clone());
        self.changes += 1;
        self.progress
            .insert(key, (self.changes, entry.clone(), progress));
    }

    fn accepted(&mut self, candidate: Candidate) {
        let entry = &candidate.entry;
        let same = |known: &Entry| known.sha256 == entry.sha256 && known.is_of(entry);
        if self.active.entries.iter().any(same) {
            return;
        }
        if let Some(attempt) = &self.attempt
            && same(&attempt.candidate.entry)
        {
            return;
        }
        if let Some((_, refusal)) = self.rolled_back.iter().find(|(known, _)| same(known)) {
            let refusal = refusal.clone();
            self.note(&candidate.entry, Progress::RolledBack(refusal));
            return;
        }
        if let Some(refusal) = self.refused.get(&(entry.sha256, self.active.number)) {
            let refusal = refusal.clone();
            self.note(&candidate.entry, Progress::Refused(refusal));
            return;
        }
        self.waiting.retain(|other| !other.entry.is_of(entry));
        if self.waiting.len() >= WAITING_MAX {
            let text = format!("{WAITING_MAX} bundles wait already");
            let refusal = Refusal::new(Reason::TooMany, text);
            self.note(&candidate.entry, Progress::Refused(refusal));
            return;
        }
        self.note(&candidate.entry, Progress::Waiting);
        self.waiting.push_back(candidate);
    }

    /// Begins with the next one where nothing else is under way.
    fn proceed(&mut self, now_ms: u64) -> Option<Output> {
        if let Phase::Probation { .. } = self.phase {
            return self.supersede();
        }
        let rests = self
            .switched_ms
            .is_some_and(|at| now_ms < at.saturating_add(self.pause_ms));
        if self.phase != Phase::Idle || rests {
            return None;
        }
        let candidate = self.waiting.pop_front()?;
        let deployment = self.active.with(self.next, &candidate.entry);
        self.note(&candidate.entry, Progress::Preparing);
        self.attempt = Some(Attempt {
            candidate,
            deployment: deployment.clone(),
            changed: Vec::new(),
        });
        self.phase = Phase::Preparing;
        Some(Output::Prepare(deployment))
    }

    /// Ends a probation that a newer version of the same bundle waits for.
    fn supersede(&mut self) -> Option<Output> {
        let attempt = self.attempt.as_ref()?;
        let entry = &attempt.candidate.entry;
        let newer = self.waiting.iter().find(|other| other.entry.is_of(entry))?;
        let text = format!("version {} came during its probation", newer.entry.version);
        self.go_back(Refusal::new(Reason::Superseded, text))
    }

    fn go_back(&mut self, refusal: Refusal) -> Option<Output> {
        self.phase = Phase::GoingBack;
        Some(Output::GoBack(refusal))
    }

    fn prepared(&mut self, now_ms: u64, outcome: Result<Vec<String>, Refusal>) -> Option<Output> {
        if self.phase != Phase::Preparing {
            return None;
        }
        match outcome {
            Ok(changed) => {
                let attempt = self.attempt.as_mut()?;
                attempt.changed = changed;
                let deployment = attempt.deployment.clone();
                // A number that was written once is never used again.
                self.next = deployment.number.saturating_add(1);
                self.phase = Phase::Storing;
                Some(Output::Store(deployment))
            }
            Err(refusal) => self.refuse(now_ms, refusal),
        }
    }

    fn stored(&mut self, now_ms: u64, outcome: Result<(), Refusal>) -> Option<Output> {
        if self.phase != Phase::Storing {
            return None;
        }
        match outcome {
            Ok(()) => {
                self.phase = Phase::Switching;
                let attempt = self.attempt.as_ref()?;
                Some(Output::Switch(attempt.deployment.number))
            }
            Err(refusal) => self.refuse(now_ms, refusal),
        }
    }

    fn switched(&mut self, now_ms: u64, outcome: Result<ByRule, Refusal>) -> Option<Output> {
        if self.phase != Phase::Switching {
            return None;
        }
        match outcome {
            Ok(before) => {
                let entry = self.attempt.as_ref()?.candidate.entry.clone();
                self.switched_ms = Some(now_ms);
                self.note(&entry, Progress::Probation);
                self.phase = Phase::Probation {
                    since_ms: now_ms,
                    before: Some(before),
                };
                self.proceed(now_ms)
            }
            Err(refusal) => {
                self.refusal_of_attempt(refusal);
                // It was written down as pending.
                self.phase = Phase::Settling;
                Some(Output::Settle)
            }
        }
    }

    fn refuse(&mut self, now_ms: u64, refusal: Refusal) -> Option<Output> {
        self.refusal_of_attempt(refusal);
        self.phase = Phase::Idle;
        self.proceed(now_ms)
    }

    fn refusal_of_attempt(&mut self, refusal: Refusal) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        let entry = attempt.candidate.entry;
        self.refused
            .insert((entry.sha256, self.active.number), refusal.clone());
        while self.refused.len() > ROLLED_BACK_MAX {
            self.refused.pop_first();
        }
        self.note(&entry, Progress::Refused(refusal));
    }

    fn went_back(&mut self, refusal: Refusal) -> Option<Output> {
        let may_go = matches!(
            self.phase,
            Phase::GoingBack | Phase::Probation { .. } | Phase::Confirming(_)
        );
        if !may_go {
            return None;
        }
        let attempt = self.attempt.take()?;
        let entry = attempt.candidate.entry;
        self.rolled_back.push((entry.clone(), refusal.clone()));
        let surplus = self.rolled_back.len().saturating_sub(ROLLED_BACK_MAX);
        self.rolled_back.drain(..surplus);
        self.note(&entry, Progress::RolledBack(refusal));
        self.phase = Phase::Settling;
        Some(Output::Settle)
    }

    fn confirmed(&mut self) -> Option<Output> {
        let Phase::Confirming(is_proven) = self.phase else {
            return None;
        };
        let attempt = self.attempt.take()?;
        self.active = attempt.deployment;
        self.note(&attempt.candidate.entry, Progress::Active(is_proven));
        self.phase = Phase::Settling;
        Some(Output::Settle)
    }
}

#[cfg(test)]
mod tests;
