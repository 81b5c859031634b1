//! A deployment: the set of rules that is active, replaced whole. State of a rule carries over when
//! its schema is the same or the new function can migrate it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Now;
use crate::function::Handler;
use crate::image::SavedRule;
use crate::ledger::Fate;
use crate::record::RuleRecord;
use crate::router::{Hit, Router};
use crate::rule::KeySpec;
use crate::state::births;
use crate::state::time::{self, FORMER_RULE_KEY, RULE_KEY};
use crate::state::{Key, KeyState};
use crate::text::shown;
use crate::topic::{Subscription, Topic, TopicFilter};
use crate::window::{EVENT_TIME, is_part_of};

use super::Mill;
use super::active::Active;
use super::bind::BoundRule;
use super::due::{DueQueue, What, at_least_0};
use super::keys::KeyTable;
use super::output::Output;
use super::route::{Route, StopKey};

/// The key of events that a schedule makes, where the rule has none of its own.
const SCHEDULE_KEY: &str = "schedule";

/// What is to be active.
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
        /// What went wrong.
        reason: String,
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
    /// Replaces the active rules, whole or not at all.
    ///
    /// # Errors
    /// When the state of a rule cannot be carried over.
    pub fn deploy(
        &mut self,
        now: Now,
        deployment: Deployment,
        out: &mut Vec<Output>,
    ) -> Result<(), DeployError> {
        let Deployment {
            mut rules,
            subscriptions,
        } = deployment;
        rules.sort_by_key(|bound| Arc::clone(&bound.rule.name));
        let mut actives: Vec<Active> = (0..)
            .zip(rules)
            .map(|(index, bound)| Active::new(index, bound, self.time_floor_ms, now))
            .collect();
        let before: HashMap<&str, &Active> = self
            .rules
            .iter()
            .map(|old| (&*old.rule.name, old))
            .collect();
        for active in &mut actives {
            match before.get(&*active.rule.name) {
                Some(old) => active.restore(old.save(), !old.is_volatile())?,
                None => {
                    if let Some(saved) = self.dormant.get(&*active.rule.name) {
                        active.restore(saved.clone(), true)?;
                    }
                }
            }
        }
        // What the old rules did stands in a commit of theirs.
        self.commit(now, out);
        self.retire(&actives);
        self.activate(actives, &subscriptions, now);
        if let Some(durable) = &mut self.durable {
            durable.checkpoints.deployed();
        }
        self.commit_deployment(now, out);
        // Rows of an earlier process wait, and whatever else comes may not be taken in before they go.
        self.end_step(now, out);
        Ok(())
    }

    /// Keeps what is known of rules that are active no more, for the case that they come back.
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
        for active in &rules {
            active.enqueue(&mut self.due);
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
        rules,
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
    /// What is kept of the rule when it is replaced, or written down.
    fn save(&self) -> SavedRule {
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

    /// Takes over what an earlier rule of this name left; `is_kept` tells whether commits hold it.
    fn restore(&mut self, saved: SavedRule, is_kept: bool) -> Result<(), DeployError> {
        let SavedRule {
            record,
            counts,
            keys,
        } = saved;
        self.ledger = counts;
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
        match is_kept {
            true => self.keys.restore(keys),
            // No commit holds them: they are news.
            false => keys.into_iter().for_each(|(key, state)| {
                self.keys.insert(key, state);
            }),
        }
        self.move_own();
        self.restore_window(&record);
        self.restore_time();
        match self.module.manifest.state.schema {
            to if to == record.schema => Ok(()),
            to => self.migrate(record.schema, to),
        }
    }

    /// Moves what belongs to no key from where versions before kept it, beside what they kept of events
    /// without a key.
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

    /// Lets go of what versions before kept of events without a key and never fired: panes of the rule
    /// that are closed.
    fn let_go_of_former(&mut self) {
        if !self.is_on_grid() {
            return;
        }
        let Some(mut state) = self.keys.remove(FORMER_RULE_KEY) else {
            return;
        };
        let (panes, rows) = (state.panes.len(), state.rows().count());
        state
            .panes
            .retain(|pane| self.panes.iter().any(|open| is_part_of(pane, open)));
        let closed: Vec<_> = state
            .rows()
            .filter(|(_, at)| !self.panes.iter().any(|open| open.holds(*at)))
            .map(|(name, _)| name)
            .collect();
        closed.into_iter().for_each(|name| state.remove_row(name));
        self.ledger.windows_dropped += (panes - state.panes.len()) as u64;
        self.ledger.rows_dropped += (rows - state.rows().count()) as u64;
        if state != KeyState::default() {
            self.keys.insert(FORMER_RULE_KEY.into(), state);
        }
    }

    /// Opens the panes again in which keys were collecting; a rule that no longer keeps such a window
    /// drops them, and their rows.
    fn restore_window(&mut self, record: &RuleRecord) {
        self.restore_own((self.window_code() ^ record.window) & EVENT_TIME != 0);
        if self.window_code() == record.window {
            self.panes.clone_from(&record.panes);
            self.let_go_of_former();
            return;
        }
        let holds = |state: &KeyState| !state.panes.is_empty() || state.rows().next().is_some();
        if self.keys.iter().any(|(_, state)| holds(state)) {
            self.keys.update_all(|state| {
                state.panes.clear();
                let rows: Vec<_> = state.rows().map(|(name, _)| name).collect();
                rows.into_iter().for_each(|name| state.remove_row(name));
            });
        }
    }

    /// Drops what belongs to no key and is of no use to the rule any more: the time of events, where it
    /// has another one now, and births, where no stream of it is Sparkplug B.
    fn restore_own(&mut self, has_other_time: bool) {
        let hears_births = self.hears_births();
        let is_kept = |name: &[u8]| match births::is_birth(name) {
            true => hears_births,
            false => !has_other_time,
        };
        let own = self.keys.find(RULE_KEY);
        let own = own.and_then(|place| self.keys.state_at(place));
        if own.is_none_or(|state| state.entries.keys().all(|name| is_kept(name))) {
            return;
        }
        let Some(mut state) = self.keys.remove(RULE_KEY) else {
            return;
        };
        for _ in time::waiting(&state.entries).filter(|_| has_other_time) {
            self.ledger
                .enter(Fate::Dropped("the rule has another time"));
        }
        let entries = std::mem::take(&mut state.entries).into_iter();
        state.entries = entries.filter(|(name, _)| is_kept(name)).collect();
        if state != KeyState::default() {
            self.keys.insert(RULE_KEY.into(), state);
        }
    }

    fn migrate(&mut self, from: i32, to: i32) -> Result<(), DeployError> {
        let rule = self.rule.name.to_string();
        if self.keys.iter().all(|(key, _)| &**key == RULE_KEY) {
            return Ok(());
        }
        if !self.module.handlers.migrate {
            return Err(DeployError::NoMigration { rule, from, to });
        }
        self.migrate_all(from)
            .map_err(|(key, reason)| DeployError::Migration {
                rule,
                key: key.to_string(),
                from,
                reason,
            })
    }

    fn migrate_all(&mut self, from: i32) -> Result<(), (Key, String)> {
        let keys: Vec<Key> = self
            .keys
            .sorted()
            .into_iter()
            .filter(|(key, _)| &***key != RULE_KEY)
            .map(|(key, _)| key.clone())
            .collect();
        let mut frame = Box::<crate::frame::Frame>::default();
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
                .map_err(|fault| (key, fault.to_string()))?;
            let slots = self.window.map_or(0, |window| window.slots);
            let frame = &mut *frame;
            crate::effects::apply_to_state(&mut frame.effects, &mut frame.state, &mut None, slots);
            let growth = frame.state.bytes().cast_signed() - before.cast_signed();
            self.keys
                .put_back(place, std::mem::take(&mut frame.state), growth, true);
        }
        Ok(())
    }

    /// What the rule's record says of its window and its time.
    pub(super) fn window_code(&self) -> u8 {
        let window = self.window.map_or(0, |window| window.code());
        window | if self.time.is_some() { EVENT_TIME } else { 0 }
    }

    /// Puts what is due of the rule into the queue, schedules aside.
    pub(super) fn enqueue(&self, due: &mut DueQueue) {
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
