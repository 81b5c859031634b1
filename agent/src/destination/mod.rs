//! Destinations of emissions. One thread, named `out`, serves all of them: each has a connection of
//! its own, two lanes of committed rows, and a bounded queue of messages that live in memory only
//! and end with the process.
//!
//! Outcomes of rows are gathered as [`LaneReport`]s until the mill takes them; those of other
//! messages are reported by count.

mod configured;
pub mod http;
mod lane;
pub mod mqtt;
mod names;
mod queue;
mod reports;
mod seat;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

use crate::event::emission::{LaneReport, Priority, Row};
use tidemill_base::heartbeat::{Heartbeats, WORK_WITHIN, join_by};
use tidemill_transport::message::Version;
use tidemill_transport::topic::Topic;

pub use configured::{client_id, configured};
pub use names::Identity;
use queue::Queue;
use reports::Reports;
use seat::{Desk, Seat, Shared, Shipped, lock};

/// Time that a thread needs to notice the end of its grace.
const STOP_MARGIN: Duration = Duration::from_millis(100);

/// Settings of a destination, by protocol.
#[derive(Debug, Clone)]
pub enum Settings {
    /// A broker.
    Mqtt(mqtt::DestinationSettings),
    /// An endpoint that takes batches by HTTP.
    Http(http::HttpSettings),
}

impl From<http::HttpSettings> for Settings {
    fn from(settings: http::HttpSettings) -> Self {
        Self::Http(settings)
    }
}

impl From<mqtt::DestinationSettings> for Settings {
    fn from(settings: mqtt::DestinationSettings) -> Self {
        Self::Mqtt(settings)
    }
}

impl Settings {
    fn name(&self) -> &str {
        match self {
            Self::Mqtt(settings) => &settings.name,
            Self::Http(settings) => &settings.name,
        }
    }

    fn queue(&self) -> Queue {
        match self {
            Self::Mqtt(settings) => {
                Queue::new(settings.queue_messages_max, settings.queue_bytes_max)
            }
            Self::Http(settings) => {
                Queue::new(settings.queue_messages_max, settings.queue_bytes_max)
            }
        }
    }
}

/// One message that is no row of a lane.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Place of the destination in the list given to [`spawn`].
    pub destination: usize,
    /// Topic to publish to.
    pub topic: Topic,
    /// Content of the message.
    pub payload: Bytes,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// `true` if the broker is to keep it for later subscribers.
    pub retain: bool,
}

/// A report on a destination, besides the outcomes of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationReport {
    /// The broker took the connection.
    Connected {
        /// Place of the destination.
        destination: usize,
        /// MQTT version of the connection; `None` over HTTP.
        protocol: Option<Version>,
    },
    /// The connection failed or ended.
    Disconnected {
        /// Place of the destination.
        destination: usize,
        /// Reason, and a way out.
        reason: String,
        /// When the next attempt comes.
        retry_in: Duration,
    },
    /// QoS 1 messages were acknowledged, or QoS 0 messages written; rows are not counted here.
    Acknowledged {
        /// Place of the destination.
        destination: usize,
        /// Number of messages.
        count: usize,
    },
    /// Messages were given up; rows never are.
    Dropped {
        /// Place of the destination.
        destination: usize,
        /// Number of messages.
        count: usize,
        /// Why.
        why: String,
    },
}

/// Status of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DestinationStatus {
    /// `true` if a connection stands, or the last request was answered.
    pub connected: bool,
    /// Reason why there is no connection, and a way out; or why the one before was given up, where
    /// nothing was acknowledged since.
    pub trouble: Option<String>,
    /// `true` if a connected broker does not acknowledge messages.
    pub unheard: bool,
    /// Reason why a lane stands still though there is a connection: its owner has to do something.
    pub stalled: Option<String>,
    /// Reason why messages there may get lost, where the broker does not acknowledge.
    pub unconfirmed: Option<String>,
    /// Rows handed out and not settled, of both lanes.
    pub rows: usize,
    /// The moment when it was last connected, lost, refused or heard again.
    pub since: Option<Instant>,
}

/// Work left over when the destinations stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// For each destination how many messages were not acknowledged, rows not counted.
    pub unsent: Vec<usize>,
    /// Reports on rows since they were last taken.
    pub lanes: Vec<LaneReport>,
}

/// Holds the destinations' thread.
pub struct DestinationsHandle {
    shared: Arc<[Shared]>,
    desk: Arc<Desk>,
    stop_by: watch::Sender<Option<Instant>>,
    thread: JoinHandle<()>,
}

impl DestinationsHandle {
    /// Queues a batch; never waits for a receiver. Where a queue is full its oldest messages make
    /// room and are reported as dropped. A message for an unknown destination is a mistake of the
    /// caller and is ignored.
    pub fn send(&self, batch: Vec<Outgoing>) {
        let mut touched: Option<(usize, MutexGuard<'_, Queue>)> = None;
        for message in batch {
            let place = message.destination;
            if !matches!(&touched, Some((current, _)) if *current == place) {
                self.let_go(touched.take());
                touched = self.shared.get(place).map(|shared| (place, shared.queue()));
            }
            if let Some((_, queue)) = &mut touched {
                queue.push(message);
            }
        }
        self.let_go(touched);
    }

    /// Hands over rows of a lane, each after those before it. Over HTTP they are one batch, sent
    /// unchanged until it is settled; one that is refused may be handed over again in pieces. They are sent, and sent again, until
    /// a [`LaneReport`] settles them. Who calls bounds how many are on their way.
    pub fn ship(&self, destination: usize, priority: Priority, rows: Vec<Row>) {
        self.put_into_inbox(destination, priority, rows, false);
    }

    /// As [`DestinationsHandle::ship`], after a rest: the endpoint refused every row at the last try.
    pub fn ship_after_rest(&self, destination: usize, priority: Priority, rows: Vec<Row>) {
        self.put_into_inbox(destination, priority, rows, true);
    }

    fn put_into_inbox(&self, place: usize, priority: Priority, rows: Vec<Row>, rest: bool) {
        let Some(shared) = self.shared.get(place).filter(|_| !rows.is_empty()) else {
            return;
        };
        let mut inbox = lock(&shared.inbox);
        let lane = inbox.lane(priority);
        lane.batches.push(Shipped {
            rows,
            refusals: lane.refusals,
            stands_still: rest,
        });
        drop(inbox);
        shared.woken.notify_one();
    }

    /// Reports on rows since the last call, those of a lane in the order in which they happened.
    pub fn take_lane_reports(&self) -> Vec<LaneReport> {
        let reports = self.desk.lanes.take();
        for report in &reports {
            if let LaneReport::Refused {
                destination,
                priority,
                ..
            } = report
                && let Some(shared) = self.shared.get(*destination)
            {
                lock(&shared.inbox).lane(*priority).refusals += 1;
            }
        }
        reports
    }

    /// The status of each destination.
    pub fn status(&self) -> Vec<DestinationStatus> {
        let statuses = self
            .shared
            .iter()
            .map(|shared| lock(&shared.status).clone());
        statuses.collect()
    }

    /// Returns `true` if a destination has a connection.
    pub fn is_connected(&self, destination: usize) -> bool {
        let shared = self.shared.get(destination);
        shared.is_some_and(|shared| lock(&shared.status).connected)
    }

    /// Returns `true` if more than half of a destination's room is taken. A sender that is faster
    /// than a connected broker should wait then; for a broker that is away, waiting is no use.
    pub fn is_half_full(&self, destination: usize) -> bool {
        self.shared
            .get(destination)
            .is_some_and(|shared| shared.queue().is_half_full())
    }

    fn let_go(&self, touched: Option<(usize, MutexGuard<'_, Queue>)>) {
        if let Some((place, queue)) = touched {
            drop(queue);
            if let Some(shared) = self.shared.get(place) {
                shared.woken.notify_one();
            }
        }
    }

    /// Sends everything queued and shipped, waits for its acknowledgements, says good-bye; at most
    /// for `grace`. Rows do not make it wait for a receiver that is away: they are kept.
    pub fn stop(self, grace: Duration) -> Leftovers {
        let stop_by = Instant::now() + grace;
        self.stop_by.send_replace(Some(stop_by));
        // A thread that panicked, or hangs, has sent nothing more: the queues tell.
        let _ = join_by(self.thread, stop_by + STOP_MARGIN);
        Leftovers {
            unsent: self.shared.iter().map(|s| s.queue().len()).collect(),
            lanes: self.desk.lanes.take(),
        }
    }
}

/// As [`spawn_watched`], with heartbeats that nobody listens to.
///
/// # Errors
/// When the thread or its runtime cannot be started.
pub fn spawn(
    destinations: Vec<Settings>,
    report: impl FnMut(DestinationReport) + Send + 'static,
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<DestinationsHandle, io::Error> {
    spawn_watched(destinations, &Heartbeats::default(), report, wake)
}

/// Starts the thread for all destinations. `report` and `wake` are called on it and must not block;
/// `wake` says that there are lane reports to take.
///
/// # Errors
/// When the thread or its runtime cannot be started.
pub fn spawn_watched(
    destinations: Vec<Settings>,
    heartbeats: &Heartbeats,
    report: impl FnMut(DestinationReport) + Send + 'static,
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<DestinationsHandle, io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (stop_by, stop_seen) = watch::channel(None);
    let shared: Arc<[Shared]> = destinations
        .iter()
        .map(|settings| Shared {
            queue: Mutex::new(settings.queue()),
            inbox: Mutex::default(),
            status: Mutex::new(DestinationStatus {
                since: Some(Instant::now()),
                ..DestinationStatus::default()
            }),
            woken: Notify::new(),
        })
        .collect();
    let desk = Arc::new(Desk {
        report: Mutex::new(Box::new(report)),
        lanes: Reports::default(),
        wake: Box::new(wake),
    });
    let seats = Arc::clone(&shared);
    let desk_there = Arc::clone(&desk);
    let heartbeats = heartbeats.clone();
    let thread = std::thread::Builder::new()
        .name("out".to_owned())
        .spawn(move || {
            let tasks = all_tasks(destinations, &heartbeats, &seats, &desk_there, &stop_seen);
            let pulse = Arc::new(heartbeats.pulse("out"));
            runtime.block_on(pulse.watch(WORK_WITHIN, tasks));
            // The library looks names up on threads that cannot be stopped.
            runtime.shutdown_background();
        })?;
    Ok(DestinationsHandle {
        shared,
        desk,
        stop_by,
        thread,
    })
}

/// A task for each destination. Each has a heartbeat of its own, so that one that does not yield is
/// known by its name.
fn all_tasks(
    destinations: Vec<Settings>,
    heartbeats: &Heartbeats,
    all: &Arc<[Shared]>,
    desk: &Arc<Desk>,
    stop_seen: &watch::Receiver<Option<Instant>>,
) -> LocalSet {
    let tasks = LocalSet::new();
    for (place, settings) in destinations.into_iter().enumerate() {
        let pulse = Arc::new(heartbeats.pulse(&format!("out/{}", settings.name())));
        let seat = Seat {
            place,
            all: Arc::clone(all),
            desk: Arc::clone(desk),
            pulse: Arc::clone(&pulse),
        };
        let stop_seen = stop_seen.clone();
        let task: Pin<Box<dyn Future<Output = ()>>> = match settings {
            Settings::Mqtt(settings) => Box::pin(mqtt::run(settings, seat, stop_seen)),
            Settings::Http(settings) => Box::pin(http::run(settings, seat, stop_seen)),
        };
        tasks.spawn_local(pulse.watch(WORK_WITHIN, task));
    }
    tasks
}
