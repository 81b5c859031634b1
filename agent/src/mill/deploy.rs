//! A deployment: the set of rules that is active, replaced whole. State of a rule carries over when
//! its schema is the same or the new function can migrate it.

mod carry;
mod edit;

use std::collections::HashMap;
use std::sync::Arc;

use crate::commit::image::SavedRule;
use crate::event::clock::Now;
use crate::event::state::time::{self, FORMER_RULE_KEY, RULE_KEY};
use crate::event::state::{Key, KeyState};
use crate::function::Handler;
use crate::mill::router::{Hit, Router};
use crate::rule::KeySpec;
use tidemill_base::text::shown;
use tidemill_transport::topic::{Subscription, Topic, TopicFilter};

use super::Mill;
use super::active::{Active, facts_of};
use super::bind::{BoundRule, window_code};
use super::due::{DueQueue, What, at_least_0};
use super::keys::{Held, KeyTable};
use super::output::Output;
use super::route::{Route, StopKey};

pub use edit::{Edit, saved_windows};

/// The key of events that a schedule makes, where the rule has none of its own.
const SCHEDULE_KEY: &str = "schedule";

/// Fuel for migrating the states of all rules of a deployment: meanwhile nothing else happens. That is
/// 70 ms on x86-64, and up to 2 s on a Pi Zero.
const MIGRATION_FUEL: u64 = 200_000_000;

/// The rules and subscriptions that are to be active.
#[derive(Default)]
pub struct Deployment {
    /// The rules; their names differ.
    pub rules: Vec<BoundRule>,
    /// The identifiers under which their filters are subscribed, those wanted longest first.
    pub subscriptions: Vec<Subscription>,
}

/// Why a deployment was refused; the old one runs on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// The function could not carry the state over.
    #[error(
        "rule {rule}: state of key \"{}\" could not be migrated from schema {from}: {reason}",
        shown(key)
    )]
    Migration {
        /// The rule.
        rule: String,
        /// The key.
        key: String,
        /// Schema of the old state.
        from: i32,
        /// The failure, for people.
        reason: String,
    },
    /// All states together take too much to migrate.
    #[error(
        "rule {rule}: to migrate the state of all rules takes more than {MIGRATION_FUEL} units of fuel; \
         forget some of it with `tidemill state rm`, or give the rule another name to start without state"
    )]
    MigrationTooCostly {
        /// The rule whose turn it was.
        rule: String,
    },
    /// The function has no `migrate`.
    #[error(
        "rule {rule}: its state has schema {from}, the function expects {to} and exports no migrate; \
         give the rule another name to start without state"
    )]
    NoMigration {
        /// The rule.
        rule: String,
        /// Schema of the old state.
        from: i32,
        /// Schema that the function expects.
        to: i32,
    },
}

impl Mill {
    /// Replaces the active rules, whole or not at all. Tells the fate of the state of rules whose
    /// function is another than before.
    ///
    /// # Errors
    /// When the state of a rule cannot be carried over.
    pub fn deploy(
        &mut self,
        now: Now,
        deployment: Deployment,
        out: &mut Vec<Output>,
    ) -> Result<Vec<Edit>, DeployError> {
        let Deployment {
            mut rules,
            subscriptions,
        } = deployment;
        rules.sort_by_key(|bound| Arc::clone(&bound.rule.name));
        let mut actives: Vec<Active> = (0..)
            .zip(rules)
            .map(|(index, bound)| {
                let fuel_per_second = bound.rule.limits.fuel_per_second;
                let mut active = Active::new(index, bound, self.time_floor_ms, now);
                if self.is_paced {
                    active.pace(fuel_per_second, now);
                }
                active
            })
            .collect();
        let before: HashMap<&str, &Active> = self
            .rules
            .iter()
            .map(|old| (&*old.rule.name, old))
            .collect();
        let (mut edits, mut freed) = (Vec::new(), Vec::new());
        let mut fuel = MIGRATION_FUEL;
        for active in &mut actives {
            let name = &*active.rule.name;
            let (saved, is_kept, is_another) = match before.get(name) {
                Some(old) => {
                    let is_another = old.module.manifest != active.module.manifest;
                    (old.save(), !old.is_volatile(), is_another)
                }
                None => match self.dormant.get(name) {
                    Some(saved) => (saved.clone(), true, false),
                    None => continue,
                },
            };
            let old = before.get(name).copied();
            let edit = active.restore(saved, is_kept, (now, &mut fuel))?;
            if old.is_some_and(|old| active.succeed(old, now)) {
                freed.push(Arc::clone(&active.rule.name));
            }
            edits.extend(Some(edit).filter(|edit| edit.tells(is_another)));
        }
        out.extend(
            freed
                .into_iter()
                .map(|rule| Output::QuarantineLifted { rule }),
        );
        // Effects of the old rules stand in a commit of their own.
        self.commit(now, out);
        self.retire(&actives);
        self.activate(actives, &subscriptions, now);
        if let Some(durable) = &mut self.durable {
            durable.checkpoints.deployed();
        }
        self.bound_dormant(now, out);
        self.commit_deployment(now, out);
        // Rows of an earlier process wait, and whatever else comes may not be taken in before they go.
        self.end_step(now, out);
        Ok(edits)
    }

    /// Keeps the state of rules that are active no more, for the case that they come back.
    fn retire(&mut self, actives: &[Active]) {
        for old in self.rules.iter().filter(|old| !old.is_volatile()) {
            self.dormant.insert(old.rule.name.to_string(), old.save());
        }
        for active in actives.iter().filter(|active| !active.is_volatile()) {
            self.dormant.remove(&*active.rule.name);
        }
    }

    fn activate(&mut self, mut rules: Vec<Active>, subscriptions: &[Subscription], now: Now) {
        let ranked = (0..).zip(subscriptions);
        let ranked: HashMap<&TopicFilter, (u32, u32)> =
            ranked.map(|(rank, s)| (&s.filter, (rank, s.id))).collect();
        let hit = |rule, filter: &TopicFilter| {
            let (rank, subscription) = ranked.get(filter).copied().unwrap_or((u32::MAX, 0));
            Hit {
                rule,
                subscription,
                rank,
            }
        };
        for at in 0..rules.len() {
            let alone = rules
                .get(at)
                .map(|active| Arc::new(scheduled_route(active, &rules)));
            if let (Some(active), Some(alone)) = (rules.get_mut(at), alone) {
                active.alone = alone;
            }
        }
        let filters: Vec<_> = rules
            .iter()
            .flat_map(|active| {
                active
                    .rule
                    .triggers
                    .mqtt
                    .iter()
                    .map(|filter| (hit(active.index, filter), filter))
            })
            .collect();
        self.router = Router::new(filters);
        self.due = DueQueue::default();
        for active in &mut rules {
            active.enqueue(now, &mut self.due);
        }
        self.has_schedules = rules.iter().any(|active| !active.schedules.is_empty());
        self.rules = rules;
        for rule in 0..self.rules.len() {
            let schedules = self
                .rules
                .get(rule)
                .map_or(0, |active| active.schedules.len());
            for number in 0..schedules {
                self.place_schedule(rule, number, now);
            }
        }
    }
}

/// The way of the events that a rule's schedules make.
fn scheduled_route(active: &Active, rules: &[Active]) -> Route {
    let mut route = Route::new(
        &[Hit {
            rule: active.index,
            subscription: 0,
            rank: 0,
        }],
        facts_of(rules),
        &Topic::none(),
    );
    if matches!(active.key, KeySpec::Topic | KeySpec::Levels(_)) {
        for stop in &mut route.stops {
            stop.key = StopKey::Known(SCHEDULE_KEY.into());
        }
    }
    route
}

impl Active {
    /// The state to keep of the rule when it is replaced, or written down.
    pub(super) fn save(&self) -> SavedRule {
        SavedRule {
            record: self.record(),
            counts: self.ledger.clone(),
            keys: self
                .keys
                .iter()
                .map(|(key, state)| (key.clone(), state.clone()))
                .collect(),
        }
    }

    /// The slot that each schedule ran last.
    pub(super) fn schedule_slots(&self) -> Vec<(String, i64)> {
        let schedules = self.rule.triggers.schedules.iter().zip(&self.schedules);
        schedules
            .filter_map(|(s, state)| Some((s.text().to_owned(), state.last_ms?)))
            .collect()
    }

    /// Takes over the state of an earlier rule of this name; `is_kept` tells whether commits hold
    /// it.
    fn restore(
        &mut self,
        saved: SavedRule,
        is_kept: bool,
        (now, fuel): (Now, &mut u64),
    ) -> Result<Edit, DeployError> {
        let SavedRule {
            record,
            counts,
            keys,
        } = saved;
        self.ledger = counts;
        self.told.begin_with(&self.ledger);
        if is_kept {
            self.committed.counts = self.ledger.clone();
            self.committed.record = record.clone();
        }
        for (schedule, state) in self.rule.triggers.schedules.iter().zip(&mut self.schedules) {
            let last = record
                .slots
                .iter()
                .find(|(text, _)| text == schedule.text());
            state.last_ms = last.map(|(_, slot_ms)| *slot_ms);
        }
        self.keys = KeyTable::new(self.keys.keys_max(), !self.is_volatile());
        let gone = if is_kept {
            self.keys.restore(keys)
        } else {
            let keys = keys.into_iter();
            keys.filter_map(|(key, state)| self.keys.insert(key, state))
                .collect()
        };
        self.move_own();
        let edit = self.carry(&record);
        self.fit(gone);
        self.restore_time();
        self.restore_behind(now);
        let to = self.module.manifest.state.schema;
        if to != record.schema {
            self.migrate((record.schema, to), fuel)?;
        }
        Ok(edit)
    }

    /// Lets go of keys that the rule's limits have no room for, those that found no place among them: other
    /// limits may have counted, or another way to count.
    fn fit(&mut self, gone: Vec<Held>) {
        // Nothing of them is among what is due yet.
        let due = &mut DueQueue::default();
        self.reached.keys |= !gone.is_empty();
        for gone in gone {
            self.forget(gone, due);
        }
        while let Some(gone) = self.keys.shrink(self.state_bytes_max, RULE_KEY) {
            self.reached.bytes = true;
            self.forget(gone, due);
        }
    }

    /// Moves state that belongs to no key from its place in earlier versions, beside the state of
    /// events without a key.
    fn move_own(&mut self) {
        let Some(mut old) = self.keys.remove(FORMER_RULE_KEY) else {
            return;
        };
        let entries = std::mem::take(&mut old.entries).into_iter();
        let (own, kept): (Vec<_>, Vec<_>) = entries.partition(|(name, _)| time::is_the_rules(name));
        old.entries = kept.into_iter().collect();
        if !own.is_empty() {
            let mut state = self.keys.remove(RULE_KEY).unwrap_or_default();
            for (name, value) in own {
                state.entries.insert(name, value);
            }
            self.keys.insert(RULE_KEY.into(), state);
        }
        if old != KeyState::default() {
            self.keys.insert(FORMER_RULE_KEY.into(), old);
        }
    }

    fn migrate(&mut self, (from, to): (i32, i32), fuel: &mut u64) -> Result<(), DeployError> {
        let rule = self.rule.name.to_string();
        if self.keys.iter().all(|(key, _)| &**key == RULE_KEY) {
            return Ok(());
        }
        if !self.module.handlers.migrate {
            return Err(DeployError::NoMigration { rule, from, to });
        }
        let failed = self.migrate_all(from, fuel);
        failed.map_err(|failed| match failed {
            Some((key, reason)) => DeployError::Migration {
                rule,
                key: key.to_string(),
                from,
                reason,
            },
            None => DeployError::MigrationTooCostly { rule },
        })
    }

    /// Migrates the state of each key. An error without a key says that the fuel is used up.
    fn migrate_all(&mut self, from: i32, fuel: &mut u64) -> Result<(), Option<(Key, String)>> {
        let keys: Vec<Key> = self
            .keys
            .sorted()
            .into_iter()
            .filter(|(key, _)| &***key != RULE_KEY)
            .map(|(key, _)| key.clone())
            .collect();
        let mut frame = Box::<crate::function::frame::Frame>::default();
        for key in keys {
            let Some(place) = self.keys.find(&key) else {
                continue;
            };
            frame.state = self.keys.lend(place);
            frame.key = key.clone();
            frame.effects.clear();
            let before = frame.state.bytes();
            let limit = self.state_bytes_max;
            frame.state_bytes_free = limit.saturating_sub(self.keys.bytes());
            self.function
                .call(Handler::Migrate(from), &mut frame)
                .map_err(|fault| Some((key, fault.to_string())))?;
            let used = self.function.fuel_used();
            *fuel = fuel.checked_sub(used).ok_or(None)?;
            let slots = self.window.map_or(0, |window| window.slots);
            let frame = &mut *frame;
            crate::function::effects::apply_to_state(
                &mut frame.effects,
                &mut frame.state,
                &mut None,
                slots,
            );
            let growth = frame.state.bytes().cast_signed() - before.cast_signed();
            self.keys
                .put_back(place, std::mem::take(&mut frame.state), growth, true);
        }
        Ok(())
    }

    /// The byte in which the rule's record tells its window and its kind of time.
    pub(super) fn window_code(&self) -> u8 {
        window_code(self.window.as_ref(), self.time.is_some())
    }

    /// Puts the rule's due times into the queue, schedules aside.
    pub(super) fn enqueue(&mut self, now: Now, due: &mut DueQueue) {
        self.enqueue_rest(now, due);
        if self.closing.is_some() {
            due.insert(0, What::Closing(self.index));
        }
        if let Some(at) = self.first_behind() {
            due.insert(at_least_0(at), What::Event(self.index));
        }
        let by_the_clock = self.time.is_none();
        if self
            .time
            .as_ref()
            .is_some_and(|time| time.holds_something())
        {
            due.insert(0, What::Release(self.index));
        }
        for pane in self.panes.iter().filter(|_| by_the_clock) {
            due.insert(at_least_0(pane.due), What::Pane(self.index));
        }
        for (key, state) in self.keys.iter() {
            let own = state.panes.iter().filter_map(|pane| pane.due);
            for at in own.filter(|_| by_the_clock && !self.is_on_grid()) {
                due.insert(at_least_0(at), What::KeyPane(self.index, key.clone()));
            }
            for (id, at) in &state.timers {
                due.insert(at.mono_ms, What::Timer(self.index, key.clone(), *id));
            }
        }
    }
}
