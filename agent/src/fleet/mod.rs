//! Rules that are pushed: signed bundles are judged, prepared, switched to on probation, and confirmed or
//! rolled back. A thread of its own does all that takes time; the loop of the agent only switches, goes
//! back and tells what it counted. `docs/fleet.md` tells owners, `rollout` decides.

mod boot;
mod build;
mod depot;
mod judge;
mod link;
pub mod rollout;
mod steps;
mod tell;
mod work;

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tidemill_bundle::Refusal;
use tidemill_bundle::report::{RuleState, StatusHealth};
use tokio::sync::oneshot;

pub use boot::{Boot, BootError, boot};
pub use steps::{Step, reached};

use crate::config::Config;
use crate::event::clock::Clock;
use crate::mill::BoundRule;
use rollout::ByRule;
use tidemill_base::heartbeat::Heartbeats;

/// Notes that may wait for the thread.
const NOTES_MAX: usize = 16;

/// Notes of the loop that may wait for room among them.
const KEPT_MAX: usize = 8;

/// Bytes of a file that is applied.
pub const APPLY_BYTES_MAX: usize = 8 << 20;

/// Orders to the loop.
pub enum Order {
    /// Make these rules run; `back` is what to go back to.
    Switch {
        /// The number of the deployment.
        number: u64,
        /// Its rules.
        rules: Vec<BoundRule>,
        /// The rules of the one before.
        back: Vec<BoundRule>,
        /// Names of those that are new or another than before.
        changed: Vec<String>,
    },
    /// These rules run already, in probation; `back` is what to go back to.
    Resume {
        /// The rules of the deployment before.
        back: Vec<BoundRule>,
        /// Names of rules that are new or another than before.
        changed: Vec<String>,
    },
    /// Rules that were read again because their owner asked for that, or why they were not.
    Replace(Result<Vec<BoundRule>, Refusal>),
    /// Go back to the rules before.
    GoBack(Refusal),
    /// The deployment runs for good, unless it went back just now.
    Confirm,
}

/// Notes to the thread.
#[derive(Debug)]
pub enum Note {
    /// A file was handed over the control socket.
    Apply {
        /// Its content.
        body: Vec<u8>,
        /// The way back for the answer.
        answer: oneshot::Sender<Value>,
    },
    /// Somebody asks how pushed rules do.
    Ask(oneshot::Sender<Value>),
    /// A switch was done, or was not possible.
    Switched(Result<ByRule, Refusal>),
    /// The loop went back.
    WentBack(Refusal),
    /// The loop goes back no more.
    Confirmed,
    /// Counts of the changed rules, and how the gateway does.
    Looked(ByRule, StatusHealth, Vec<RuleState>),
    /// The broker has our subscriptions.
    Connected,
    /// A message came; none of one that was too long or malformed.
    Arrived {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Option<Bytes>,
    },
    /// The owner wants local rules to be read again.
    Reload,
    /// The agent ends in good order.
    Stop(SyncSender<()>),
}

type Orders = Arc<Mutex<VecDeque<Order>>>;

/// The thread, for the loop.
pub struct FleetHandle {
    notes: SyncSender<Note>,
    /// Notes that found no room and may not be lost.
    kept: VecDeque<Note>,
    orders: Orders,
}

impl FleetHandle {
    /// Starts the thread. `wake` makes the loop look for orders.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        boot: Boot,
        config: &Config,
        clock: &Clock,
        heartbeats: &Heartbeats,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (notes, inbox) = sync_channel(NOTES_MAX);
        let orders = Orders::default();
        let pulse = heartbeats.pulse("fleet");
        let desk = work::Desk {
            orders: Arc::clone(&orders),
            wake: Box::new(wake),
        };
        let broker = config
            .fleet
            .as_ref()
            .and_then(|fleet| fleet.broker.as_ref());
        let link = broker.map(|_| link::Link::default());
        let mut work = work::Work::new(boot, config.clone(), clock.clone(), (desk, link.clone()));
        if let (Some(link), Some(broker)) = (link, broker) {
            link.start(broker, &config.gateway_id, heartbeats, notes.clone())?;
        }
        std::thread::Builder::new()
            .name("fleet".to_owned())
            .spawn(move || work.run(&inbox, &pulse))?;
        Ok(Self {
            notes,
            kept: VecDeque::new(),
            orders,
        })
    }

    /// The next order.
    pub fn take_order(&mut self) -> Option<Order> {
        self.send_kept();
        self.orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    /// Tells what may not be lost.
    pub fn tell(&mut self, note: Note) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push_back(note);
        }
        self.send_kept();
    }

    /// Tells what may be lost where there is no room, which drops it.
    pub fn try_tell(&mut self, note: Note) {
        // The next one says the same, or whoever asked sees that nobody answers.
        let _ = self.notes.try_send(note);
    }

    /// Ends the thread, which writes down that this end is an orderly one.
    pub fn stop(mut self, within: Duration) {
        let (done, ended) = sync_channel(1);
        self.tell(Note::Stop(done));
        if self.kept.is_empty() {
            let _ = ended.recv_timeout(within);
        }
    }

    fn send_kept(&mut self) {
        while let Some(note) = self.kept.pop_front() {
            match self.notes.try_send(note) {
                Ok(()) => {}
                Err(TrySendError::Full(note)) => {
                    self.kept.push_front(note);
                    return;
                }
                Err(TrySendError::Disconnected(_)) => self.kept.clear(),
            }
        }
    }
}
