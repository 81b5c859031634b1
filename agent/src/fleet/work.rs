//! The thread `fleet`: judges what comes, carries out what `rollout` decides, and hands the loop its
//! orders. It alone writes the depot.

mod intake;
mod speak;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use tidemill_bundle::report::{RuleState, StatusHealth};
use tidemill_bundle::{DesiredTopic, Envelope, Refusal, SigningKey, Trust};
use tracing::{error, info, warn};

use super::boot::Boot;
use super::build::{Builder, Built, InForce, changed};
use super::depot::{Depot, Pending, RolledBack, State, storage};
use super::judge::Refusals;
use super::link::Link;
use super::rollout::{Before, Deployment, Entry, Input, Output, Rollout};
use super::steps::{Step, reached};
use super::{Note, Order, Orders};
use crate::config::{Config, Fleet};
use crate::event::clock::Clock;
use crate::mill::BoundRule;
pub(super) use intake::moment;
use intake::no_fleet;
use speak::Told;
use tidemill_base::heartbeat::{Pulse, WORK_WITHIN};

/// The longest rest of the thread.
const REST_MAX: Duration = Duration::from_secs(1);

/// The place where orders for the loop are left.
pub(super) struct Desk {
    pub(super) orders: Orders,
    pub(super) wake: Box<dyn Fn() + Send>,
}

impl Desk {
    fn order(&self, order: Order) {
        self.orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(order);
        (self.wake)();
    }
}

/// Rules that are ready to run, until the loop is given them.
struct Ready {
    built: Built,
    back: Vec<BoundRule>,
    changed: Vec<String>,
}

/// The work of the thread.
pub(super) struct Work {
    pub(super) config: Config,
    pub(super) fleet: Option<Fleet>,
    pub(super) clock: Clock,
    desk: Desk,
    pub(super) depot: Depot,
    pub(super) device: SigningKey,
    pub(super) trust: Trust,
    root: Option<Envelope>,
    pub(super) state: State,
    pub(super) rollout: Rollout,
    ready: Option<Ready>,
    pub(super) in_force: Vec<InForce>,
    /// The bundles in force before what is in probation.
    in_force_before: Vec<InForce>,
    pub(super) shadowed: Vec<String>,
    pub(super) refusals: Refusals,
    pub(super) damage: Vec<String>,
    pub(super) is_rebuilt: bool,
    pub(super) health: StatusHealth,
    /// Local rules are to be read again as soon as nothing is in probation.
    wants_reload: bool,
    pub(super) link: Option<Link>,
    told: Told,
    /// Rules that are not well.
    pub(super) unwell: Vec<RuleState>,
    /// Messages that may be good once a root has come.
    early: BTreeMap<DesiredTopic, Bytes>,
}

impl Work {
    pub(super) fn new(
        boot: Boot,
        config: Config,
        clock: Clock,
        (desk, link): (Desk, Option<Link>),
    ) -> Self {
        let fleet = config.fleet.clone();
        let pause = fleet.as_ref().map_or(Duration::ZERO, |fleet| fleet.pause);
        let rolled_back = boot.state.rolled_back.iter().map(|back| {
            let refusal = Refusal::new(back.reason, back.text.clone());
            (Entry::from(back.entry.clone()), refusal)
        });
        let before = Before {
            active: boot.active,
            next: boot.state.next,
            rolled_back: rolled_back.collect(),
        };
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let mut work = Self {
            rollout: Rollout::new(before, pause_ms),
            config,
            fleet,
            clock,
            desk,
            depot: boot.depot,
            device: boot.device,
            trust: boot.trust,
            root: boot.root,
            state: boot.state,
            ready: None,
            in_force_before: boot.in_force.clone(),
            in_force: boot.in_force,
            shadowed: boot.shadowed,
            refusals: Refusals::default(),
            damage: boot.damage,
            is_rebuilt: boot.is_rebuilt,
            health: StatusHealth::default(),
            wants_reload: false,
            link,
            told: Told::default(),
            unwell: Vec::new(),
            early: BTreeMap::new(),
        };
        work.set_will();
        work.listen();
        if let Some(probation) = boot.probation {
            let now_ms = work.clock.now().mono_ms;
            let changed = probation.changed.clone();
            work.rollout
                .resume(now_ms, probation.candidate, probation.deployment, changed);
            // The loop runs its rules already; it learns what to go back to.
            work.desk.order(Order::Resume {
                back: probation.back,
                changed: probation.changed,
            });
        }
        work
    }

    pub(super) fn run(&mut self, inbox: &Receiver<Note>, pulse: &Pulse) {
        loop {
            pulse.rests();
            let note = inbox.recv_timeout(self.rest());
            pulse.works(WORK_WITHIN);
            match note {
                Ok(Note::Stop(done)) => {
                    self.end();
                    let _ = done.send(());
                    return;
                }
                Ok(note) => self.hear(note),
                Err(RecvTimeoutError::Timeout) => self.advance(Input::Tick),
                // The loop has ended.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.speak();
        }
    }

    fn rest(&self) -> Duration {
        let now_ms = self.clock.now().mono_ms;
        let due = [self.rollout.next_due_ms(), self.next_word_ms()]
            .into_iter()
            .flatten()
            .min();
        let due = due.map(|due| Duration::from_millis(due.saturating_sub(now_ms).max(10)));
        due.unwrap_or(REST_MAX).min(REST_MAX)
    }

    /// Notes that this end is an orderly one, which is no sign against what is in probation.
    fn end(&mut self) {
        self.say_offline();
        if let Some(pending) = &mut self.state.pending {
            pending.starts = pending.starts.saturating_sub(1);
            self.write_state();
        }
    }

    fn hear(&mut self, note: Note) {
        match note {
            Note::Apply { body, answer } => {
                let told = self.apply(&body);
                // Whoever asked may have gone.
                let _ = answer.send(told);
            }
            Note::Ask(answer) => {
                let _ = answer.send(self.tell());
            }
            Note::Switched(outcome) => {
                reached(Step::Switched);
                self.advance(Input::Switched(outcome));
            }
            Note::WentBack(refusal) => self.advance(Input::WentBack(refusal)),
            Note::Confirmed => self.advance(Input::Confirmed),
            Note::Connected => self.connected(),
            Note::Arrived { topic, payload } => self.arrived(&topic, payload),
            Note::Looked(counts, health, unwell) => {
                self.health = health;
                self.unwell = unwell;
                self.advance(Input::Counts(counts));
            }
            Note::Reload => {
                if self.rollout.pending().is_some() {
                    info!(
                        "local rules are read again once the pushed ones are through their probation"
                    );
                }
                self.wants_reload = true;
                self.reload_if_due();
            }
            Note::Stop(_) => {}
        }
    }

    /// Steps `rollout` on, and does what it asks for until it waits for the loop.
    fn advance(&mut self, input: Input) {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            let now_ms = self.clock.now().mono_ms;
            let output = self.rollout.step(now_ms, next);
            input = output.and_then(|output| self.carry_out(output));
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Prepare(deployment) => {
                let prepared = self.prepare(&deployment);
                reached(Step::Prepared);
                if let Err(refusal) = &prepared {
                    warn!("a pushed bundle is refused, the rules before run on: {refusal}");
                }
                Some(Input::Prepared(prepared))
            }
            Output::Store(deployment) => {
                let stored = self.store(&deployment);
                if let Err(refusal) = &stored {
                    error!("a pushed bundle is refused, the rules before run on: {refusal}");
                }
                Some(Input::Stored(stored))
            }
            Output::Switch(number) => {
                let ready = self.ready.take()?;
                self.in_force_before = std::mem::replace(&mut self.in_force, ready.built.in_force);
                self.shadowed = ready
                    .built
                    .shadowed
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                self.desk.order(Order::Switch {
                    number,
                    rules: ready.built.rules,
                    back: ready.back,
                    changed: ready.changed,
                });
                None
            }
            Output::GoBack(refusal) => {
                self.desk.order(Order::GoBack(refusal));
                None
            }
            Output::Confirm => {
                self.desk.order(Order::Confirm);
                None
            }
            Output::Settle => {
                self.settle();
                Some(Input::Settled)
            }
        }
    }

    fn prepare(&mut self, deployment: &Deployment) -> Result<Vec<String>, Refusal> {
        let fleet = self.fleet.as_ref().ok_or_else(no_fleet)?;
        let builder = Builder {
            config: &self.config,
            fleet,
            depot: &self.depot,
            trust: &self.trust,
        };
        let active = self.rollout.active();
        let new = deployment
            .entries
            .iter()
            .find(|entry| !active.entries.contains(entry));
        let built = builder.build(deployment, new)?;
        let back = builder.build(active, None)?;
        let changed = changed(&back.rules, &built.rules)?;
        self.ready = Some(Ready {
            built,
            back: back.rules,
            changed: changed.clone(),
        });
        Ok(changed)
    }

    fn store(&mut self, deployment: &Deployment) -> Result<(), Refusal> {
        let config = tidemill_bundle::sha256(self.config.source.text.as_bytes());
        let written = self.depot.write_deployment(deployment, config);
        written.map_err(|error| storage(&error))?;
        reached(Step::Stored);
        let state = State {
            next: self.rollout.next(),
            pending: Some(Pending {
                deployment: deployment.number,
                starts: 0,
            }),
            ..self.state.clone()
        };
        self.depot
            .write_state(&state)
            .map_err(|error| storage(&error))?;
        self.state = state;
        reached(Step::Pending);
        Ok(())
    }

    /// Writes down what is active, and that nothing is pending.
    fn settle(&mut self) {
        let active = self.rollout.active().number;
        let is_confirmed = active != self.state.active;
        if is_confirmed {
            self.state.previous = self.state.active;
            self.state.active = active;
            info!(deployment = active, "a deployment is confirmed");
        } else {
            self.in_force = self.in_force_before.clone();
        }
        self.state.next = self.rollout.next();
        self.state.pending = None;
        let rolled_back = self
            .rollout
            .rolled_back()
            .iter()
            .map(|(entry, refusal)| RolledBack {
                entry: entry.into(),
                reason: refusal.reason,
                text: refusal.text.clone(),
            });
        self.state.rolled_back = rolled_back.collect();
        self.write_state();
        reached(Step::Confirmed);
        if is_confirmed {
            self.depot.clean(
                &[self.state.active, self.state.previous],
                self.rollout.wanted(),
            );
            reached(Step::Cleaned);
        }
        self.reload_if_due();
    }

    /// Reads local rules again, beside those that were pushed.
    fn reload_if_due(&mut self) {
        if !self.wants_reload || self.state.pending.is_some() {
            return;
        }
        let Some(fleet) = &self.fleet else { return };
        self.wants_reload = false;
        let builder = Builder {
            config: &self.config,
            fleet,
            depot: &self.depot,
            trust: &self.trust,
        };
        let active = self.rollout.active();
        let rules = builder.build(active, None).map(|built| {
            self.shadowed = built.shadowed.iter().map(ToString::to_string).collect();
            built.rules
        });
        self.desk.order(Order::Replace(rules));
    }

    /// Writes the state; where that is not possible, the next time will do: what is pending stays so.
    fn write_state(&self) {
        if let Err(error) = self.depot.write_state(&self.state) {
            error!("{}", storage(&error).text);
        }
    }
}
