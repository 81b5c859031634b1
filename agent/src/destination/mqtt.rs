//! Sends emissions over MQTT: one thread, named `mqtt-out`, for all brokers, each with a client, a
//! bounded queue and a connection of its own. What is queued lives in memory and ends with the
//! process; what becomes of an emission is reported by count.

mod outlet;
mod queue;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::source::mqtt::link::Peer;
use crate::source::mqtt::{KEEP_ALIVE_MIN, Protocol, Version};
use crate::topic::Topic;
use queue::Queue;

/// A broker sends a destination nothing longer than a CONNACK or a DISCONNECT with its reasons.
const CONTROL_BYTES_MAX: u32 = 1 << 16;

/// The library numbers packets round robin; with this many times the window a number is never
/// needed again before its acknowledgement has come.
const PACKET_IDS_PER_INFLIGHT: u16 = 8;

/// Where emissions go.
#[derive(Debug, Clone)]
pub struct DestinationSettings {
    /// The destination's name in the configuration, for logs.
    pub name: String,
    /// The broker's name or address.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// What the broker knows this client by; no other client may use it.
    pub client_id: String,
    /// User name, where the broker asks for one.
    pub username: Option<String>,
    /// Password, where the broker asks for one.
    pub password: Option<String>,
    /// Which MQTT to speak; `Auto` tries 3.1.1 first, which can be written in bulk.
    pub protocol: Protocol,
    /// How many messages wait at most, those in flight included.
    pub queue_messages_max: usize,
    /// How many bytes of topic and payload wait at most, those in flight included.
    pub queue_bytes_max: usize,
    /// How many QoS 1 messages may be unacknowledged at once.
    pub inflight_max: u16,
    /// Longer packets are dropped and reported.
    pub packet_bytes_max: u32,
    /// A ping goes out this often, at least every 5 s over MQTT 5.
    pub keep_alive: Duration,
}

impl DestinationSettings {
    /// Settings for a broker that asks for nothing special.
    pub fn new(name: &str, host: &str, port: u16, client_id: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
            client_id: client_id.to_owned(),
            username: None,
            password: None,
            protocol: Protocol::Auto,
            queue_messages_max: 10_000,
            queue_bytes_max: 8 << 20,
            inflight_max: 100,
            packet_bytes_max: 1 << 20,
            keep_alive: Duration::from_secs(5),
        }
    }

    fn peer(&self) -> Peer {
        Peer {
            host: self.host.clone(),
            port: self.port,
            client_id: self.client_id.clone(),
            username: self.username.clone(),
            password: self.password.clone(),
            keep_alive: self.keep_alive.max(KEEP_ALIVE_MIN),
            clean: true,
            session_expiry: Duration::ZERO,
            incoming_bytes_max: CONTROL_BYTES_MAX,
            outgoing_bytes_max: self.packet_bytes_max,
            packet_ids: self.inflight_max.saturating_mul(PACKET_IDS_PER_INFLIGHT),
            receive_maximum: None,
            receive_buffer_bytes: None,
        }
    }
}

/// One message to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Which destination, by its place in the list given to [`spawn`].
    pub destination: usize,
    /// Where to publish.
    pub topic: Topic,
    /// What to publish.
    pub payload: Bytes,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// What the destinations have to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationReport {
    /// The broker took the connection.
    Connected {
        /// Which destination.
        destination: usize,
        /// What is spoken.
        protocol: Version,
    },
    /// The connection failed or ended.
    Disconnected {
        /// Which destination.
        destination: usize,
        /// Why, and what can be done about it.
        reason: String,
        /// When the next attempt comes.
        retry_in: Duration,
    },
    /// QoS 1 messages were acknowledged, or QoS 0 messages written.
    Acknowledged {
        /// Which destination.
        destination: usize,
        /// How many.
        count: usize,
    },
    /// Messages were given up.
    Dropped {
        /// Which destination.
        destination: usize,
        /// How many.
        count: usize,
        /// Why.
        why: String,
    },
}

/// What the two threads share about one destination.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    woken: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere leaves the queue whole: each change of it is one call.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds the destinations' thread.
#[derive(Debug)]
pub struct DestinationsHandle {
    shared: Arc<[Shared]>,
    stop_by: watch::Sender<Option<Instant>>,
    thread: JoinHandle<()>,
}

impl DestinationsHandle {
    /// Queues a batch; never waits for a broker. Where a queue is full its oldest messages make
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

    /// Whether more than half of a destination's room is taken. Whoever sends faster than a broker
    /// takes should wait then; one whose broker is away cannot.
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

    /// Sends what is queued, waits for its acknowledgements, says good-bye; at most for `grace`.
    /// Returns for each destination how many messages were not acknowledged.
    pub fn stop(self, grace: Duration) -> Vec<usize> {
        self.stop_by.send_replace(Some(Instant::now() + grace));
        // A thread that panicked has sent nothing more: the queues tell.
        let _ = self.thread.join();
        self.shared.iter().map(|s| s.queue().len()).collect()
    }
}

/// Starts the thread for all destinations. `report` is called on it and must not block.
///
/// # Errors
/// When the thread or its runtime cannot be started.
pub fn spawn(
    destinations: Vec<DestinationSettings>,
    report: impl FnMut(DestinationReport) + Send + 'static,
) -> Result<DestinationsHandle, io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (stop_by, stop_seen) = watch::channel(None);
    let shared: Arc<[Shared]> = destinations
        .iter()
        .map(|settings| Shared {
            queue: Mutex::new(Queue::new(
                settings.queue_messages_max,
                settings.queue_bytes_max,
            )),
            woken: Notify::new(),
        })
        .collect();
    let outlets = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("mqtt-out".to_owned())
        .spawn(move || outlet::run_all(&runtime, destinations, &outlets, &stop_seen, report))?;
    Ok(DestinationsHandle {
        shared,
        stop_by,
        thread,
    })
}
