//! Reading the rules again while the agent runs, and telling the changes: rules, and keys of the
//! configuration that only a start reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::installing::Progress;
use super::{Agent, AgentError, refused};
use crate::config::Config;
use crate::install::subscriptions;
use crate::mill::{BoundRule, DeployError, Deployment};
use crate::source::mqtt as source;
use tidemill_base::text::{Source, changed_keys};

/// Names of one kind that a line of the log has.
const NAMED_MAX: usize = 20;

/// Differences between two sets of rules, by names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    new: Vec<Arc<str>>,
    changed: Vec<Arc<str>>,
    gone: Vec<Arc<str>>,
}

/// Fingerprints of rules, by name.
pub(super) fn fingerprints(rules: &[BoundRule]) -> BTreeMap<Arc<str>, u128> {
    let each = rules.iter();
    each.map(|bound| (Arc::clone(bound.name()), bound.fingerprint()))
        .collect()
}

impl Changes {
    fn between(before: &BTreeMap<Arc<str>, u128>, after: &BTreeMap<Arc<str>, u128>) -> Self {
        let mut changes = Self::default();
        for (name, fingerprint) in after {
            match before.get(name) {
                None => changes.new.push(Arc::clone(name)),
                Some(old) if old != fingerprint => changes.changed.push(Arc::clone(name)),
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|name| !after.contains_key(*name));
        changes.gone = gone.cloned().collect();
        changes
    }
}

/// Names in a line of the log; of many the first, and how many there are.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<&str> = names.iter().take(NAMED_MAX).map(AsRef::as_ref).collect();
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

impl Agent {
    /// Reads the rules again. Wrong ones leave the old deployment running.
    pub(super) fn reload(&mut self) {
        if self.pushed.reload() {
            // Its thread reads them beside those that were pushed.
            self.say_what_needs_a_restart();
            return;
        }
        let waker = &self.waker;
        match self.installing.begin(&self.config, &self.heartbeats, waker) {
            Ok(true) => {}
            Ok(false) => info!(
                "rules are being read and compiled already: they are read again once that is done"
            ),
            Err(error) => error!("rules are not changed: a thread cannot be started: {error}"),
        }
        self.say_what_needs_a_restart();
    }

    /// Switches to the rules that were read, once they are there.
    pub(super) fn take_installed(&mut self) {
        match self.installing.look() {
            Progress::Nothing => {}
            Progress::Done(rules) => self.reload_with(rules.map_err(AgentError::Rules)),
            Progress::Again => self.reload(),
            Progress::Failed => error!(
                "rules are not changed: the thread that reads them has failed, please report this"
            ),
        }
    }

    /// Takes rules in that were read again.
    pub(super) fn reload_with(&mut self, rules: Result<Vec<BoundRule>, AgentError>) {
        let outcome = rules.and_then(|rules| Ok(self.deploy(rules)?));
        self.note_refusal(outcome.as_ref().err().map(refused::in_words));
        match outcome {
            Ok(changes) => info!(
                rules = self.fingerprints.len(),
                new = listed(&changes.new),
                changed = listed(&changes.changed),
                gone = listed(&changes.gone),
                "deployed anew"
            ),
            Err(AgentError::Rules(errors)) => {
                for error in errors {
                    error!("rules are not changed: {error:#}");
                }
            }
            Err(error) => error!("rules are not changed: {:#}", anyhow::Error::from(error)),
        }
    }

    /// Has health tell why the rules that were read again do not run, until others do.
    pub(super) fn note_refusal(&mut self, why: Option<String>) {
        let wall_ms = self.clock.now().wall_ms;
        self.refused.rules(why, wall_ms);
    }

    /// Makes rules run in place of those before, whole or not at all.
    pub(super) fn deploy(&mut self, rules: Vec<BoundRule>) -> Result<Changes, DeployError> {
        let fingerprints = fingerprints(&rules);
        let now = self.clock.now();
        // A filter on its way to the broker keeps its number too: copies that bear it may be
        // waiting already, and would answer no rule under another.
        let known = [self.wanted.as_slice(), &self.held].concat();
        let wanted = subscriptions(&rules, &known);
        let subscriptions = wanted.clone();
        let deployment = Deployment {
            rules,
            subscriptions,
        };
        let deployed = self.mill.deploy(now, deployment, &mut self.asked);
        self.carry_out(now);
        deployed?.iter().for_each(|edit| info!("{edit}"));
        self.source
            .command(source::SourceCommand::Subscriptions(wanted.clone()));
        self.wanted = wanted;
        let changes = Changes::between(&self.fingerprints, &fingerprints);
        self.fingerprints = fingerprints;
        Ok(changes)
    }

    /// Says which keys of the configuration differ from those of the start, and whatever the next start
    /// would refuse.
    fn say_what_needs_a_restart(&mut self) {
        let path = &self.config.source.path;
        let why = Config::read(path).err();
        let why = why.map(|errors| refused::of_files(&errors.into_iter().collect::<Vec<_>>()));
        let wall_ms = self.clock.now().wall_ms;
        self.refused.configuration(why.clone(), wall_ms);
        if let Some(why) = why {
            warn!("the configuration cannot be read, which the next start needs: {why}");
        }
        let read = Source::read(&self.config.source.path).ok();
        let changed = read.and_then(|now| changed_keys(&self.config.source, &now).ok());
        if let Some(keys) = changed.filter(|keys| !keys.is_empty()) {
            warn!(
                keys = listed(&keys),
                "the configuration was changed: these keys are read at the next start only"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_new_changed_or_gone() {
        let set = |rules: &[(&str, u128)]| -> BTreeMap<Arc<str>, u128> {
            rules
                .iter()
                .map(|(name, print)| ((*name).into(), *print))
                .collect()
        };
        let before = set(&[("a", 1), ("b", 2), ("c", 3)]);
        let after = set(&[("b", 2), ("c", 4), ("d", 5)]);
        let expected = Changes {
            new: vec!["d".into()],
            changed: vec!["c".into()],
            gone: vec!["a".into()],
        };
        assert_eq!(Changes::between(&before, &after), expected);
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..22).map(|n| n.to_string()).collect();
        assert!(listed(&names).ends_with("18, 19 and 2 more"));
        assert_eq!(listed::<String>(&[]), "none");
    }
}
