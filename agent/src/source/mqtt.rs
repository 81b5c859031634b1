//! Intake of events over MQTT: a thread of its own, named `mqtt-in`, that owns client and event
//! loop, keeps the session's subscriptions as wanted, hands events on in batches and acknowledges
//! them when told to. The mill decides on the fate of an event, and on its acknowledgement.

mod awaited;
pub mod epochs;
mod intake;
mod reports;
mod rest;
mod retained;
mod shortfalls;
pub mod subscriptions;
mod topics;
mod waiting;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::{Broker, TOPIC_BYTES_MAX};
use crate::event::Event;
use crate::event::clock::Clock;
use tidemill_base::heartbeat::{Heartbeats, WORK_WITHIN, join_by};
use tidemill_base::secret::Secret;
use tidemill_transport::tls::TlsFiles;
use tidemill_transport::topic::TopicFilter;

pub use epochs::Confirmation;
pub use rest::Coalesce;
pub use subscriptions::Subscription;
use tidemill_transport::link::Peer;
use tidemill_transport::link::TIMEOUT;
pub use tidemill_transport::link::Version;
pub use tidemill_transport::negotiation::Protocol;
use waiting::Waiting;

/// Number of packet identifiers: well above what is in flight at once, so that none is used twice.
const PACKET_IDS: u16 = 2 * subscriptions::CHANGES_IN_FLIGHT_MAX;

/// Messages that an MQTT 5 broker may send ahead of acknowledgements: enough for 20,000 a second on
/// a card that takes 100 ms for a sync, and a bound for the messages that a broken connection
/// brings again.
const RECEIVE_MAXIMUM: u16 = 2_000;

/// Settings of the source's broker and connection.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// The broker's name or address.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// Client id, under which the broker keeps the session; no other client may use it.
    pub client_id: String,
    /// User name, where the broker asks for one.
    pub username: Option<String>,
    /// Password, where the broker asks for one.
    pub password: Option<Secret>,
    /// Certificates, where the connection is encrypted.
    pub tls: Option<TlsFiles>,
    /// MQTT version to use; `Auto` tries 5 first.
    pub protocol: Protocol,
    /// Quality of service of all subscriptions, 0 or 1.
    pub qos: u8,
    /// Longest packet of which the payload is kept, in bytes; longer messages may have any length.
    pub packet_bytes_max: u32,
    /// Longest topic of which a message is given to rules, in bytes.
    pub topic_bytes_max: usize,
    /// Rest of the socket after a batch, so that many events share a wake-up.
    pub coalesce: Coalesce,
    /// A ping goes out this often; at least a second.
    pub keep_alive: Duration,
    /// Longest silence of a broker that owes an answer, with no byte moving.
    pub timeout: Duration,
    /// Number of events with which a batch is handed on at the latest.
    pub batch_events_max: usize,
    /// MQTT 5: how many unacknowledged messages the broker may send; its default when `None`.
    pub receive_maximum: Option<u16>,
    /// `true` if the broker is to keep the session while this client is away; else each connection
    /// begins with nothing.
    pub kept: bool,
    /// Time for which an MQTT 5 broker is to keep the session.
    pub session_expiry: Duration,
    /// Size asked of the kernel for the socket's receive buffer; its own choice when `None`.
    pub receive_buffer_bytes: Option<u32>,
    /// Tells the time of arrival.
    pub clock: Clock,
    /// Registry of the thread's heartbeat.
    pub heartbeats: Heartbeats,
}

impl SourceSettings {
    /// Settings for a broker that asks for nothing special.
    pub fn new(host: &str, port: u16, client_id: &str, clock: Clock) -> Self {
        Self {
            host: host.to_owned(),
            port,
            client_id: client_id.to_owned(),
            username: None,
            password: None,
            tls: None,
            protocol: Protocol::Auto,
            qos: 1,
            packet_bytes_max: 1 << 20,
            topic_bytes_max: TOPIC_BYTES_MAX,
            coalesce: Coalesce::Auto,
            keep_alive: Duration::from_secs(5),
            timeout: TIMEOUT,
            batch_events_max: 1_024,
            receive_maximum: Some(RECEIVE_MAXIMUM),
            kept: true,
            session_expiry: Duration::from_secs(7 * 24 * 3_600),
            receive_buffer_bytes: None,
            clock,
            heartbeats: Heartbeats::default(),
        }
    }

    /// Settings for a broker as it is configured.
    pub fn of(broker: &Broker, client_id: &str, clock: Clock) -> Self {
        Self {
            username: broker.username.clone(),
            password: broker.password.clone(),
            tls: broker.tls.clone(),
            protocol: broker.protocol,
            packet_bytes_max: broker.packet_bytes_max,
            topic_bytes_max: broker.topic_bytes_max,
            keep_alive: broker.keep_alive,
            timeout: broker.timeout,
            ..Self::new(&broker.host, broker.port, client_id, clock)
        }
    }

    /// Whom to connect to, and how.
    fn peer(&self) -> Peer {
        Peer {
            host: self.host.clone(),
            port: self.port,
            client_id: self.client_id.clone(),
            username: self.username.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
            keep_alive: self.keep_alive.max(Duration::from_secs(1)),
            ping_every: self.keep_alive.max(Duration::from_secs(1)),
            timeout: self.timeout,
            clean: !self.kept,
            session_expiry: if self.kept {
                self.session_expiry
            } else {
                Duration::ZERO
            },
            will: None,
            incoming_bytes_max: self.packet_bytes_max,
            packet_ids: PACKET_IDS,
            receive_maximum: self.receive_maximum,
            receive_buffer_bytes: self.receive_buffer_bytes,
        }
    }
}

/// A report of the source.
#[derive(Debug)]
pub enum SourceReport {
    /// Events in the order of their arrival.
    Events(Vec<Event>),
    /// The broker took the connection. Its events come after this.
    Connected {
        /// The connection's number, counted from 1 since the process began.
        epoch: u64,
        /// MQTT version of the connection.
        protocol: Version,
        /// `true` if the broker kept the session. If not, the session holds no subscription, and
        /// the messages that were queued in it are gone; the source subscribes after
        /// [`SourceControl::proceed`].
        session_present: bool,
        /// Number of messages that the broker may leave unacknowledged, as far as known: over MQTT
        /// 5 it was told. Its own limit may be lower.
        window: Option<u16>,
    },
    /// The broker has read acknowledgements: it will not send those messages again.
    Confirmed(Confirmation),
    /// Subscriptions that the session holds now: to be kept on disk and handed to the next
    /// [`spawn`]. Comes before a filter is dropped and after filters were taken.
    Subscribed {
        /// All subscriptions held.
        held: Vec<Subscription>,
    },
    /// The broker did not take a filter. It is asked for again with the next connection.
    Refused {
        /// The filter.
        filter: TopicFilter,
        /// Reason that the broker gave.
        reason: String,
    },
    /// Requests that the broker does not fulfil, in words: all of them, in place of those told
    /// before. While there is any, events may be lost.
    FallsShort(Vec<String>),
    /// The connection failed or ended. What it brought and was not acknowledged comes again.
    Disconnected {
        /// Reason, and a way out.
        reason: String,
        /// When the next attempt comes.
        retry_in: Duration,
    },
    /// Messages were dropped that are of no use or too large, and that nobody has to acknowledge, or can:
    /// most came at QoS 0.
    Unusable {
        /// Number of messages.
        count: usize,
        /// Why, for the first of them.
        reason: String,
    },
}

/// Outcome of offering a report.
#[derive(Debug)]
pub enum Flow {
    /// The report was taken.
    Taken,
    /// There is no room now: it comes back and is offered again a little later. Meanwhile the
    /// source stops reading, which holds the broker back, and keeps the connection alive.
    Full(SourceReport),
    /// Nobody listens any more: the source stops.
    Gone,
}

/// A command to the source.
#[derive(Debug, Clone)]
pub enum SourceCommand {
    /// The whole set of wanted subscriptions, in place of the one before.
    Subscriptions(Vec<Subscription>),
    /// Say good-bye to the broker, which keeps the session, and end.
    Stop,
}

/// The latest commands; a newer one replaces an older one that was not seen yet.
#[derive(Debug, Clone)]
struct Wishes {
    wanted: Vec<Subscription>,
    /// The latest connection whose lost session may be filled again.
    proceed: u64,
    stop: bool,
}

/// Commands the source; nothing here ever waits.
#[derive(Debug, Clone)]
pub struct SourceControl {
    wishes: watch::Sender<Wishes>,
    waiting: Arc<Waiting>,
}

impl SourceControl {
    /// Passes a command on.
    pub fn command(&self, command: SourceCommand) {
        self.wishes.send_modify(|wishes| match command {
            SourceCommand::Subscriptions(wanted) => wishes.wanted = wanted,
            SourceCommand::Stop => wishes.stop = true,
        });
    }

    /// Acknowledges messages in this order, on the connection of this epoch only: if that is gone,
    /// nothing happens, and they come again. What is acknowledged before [`SourceCommand::Stop`]
    /// leaves before the good-bye.
    pub fn acknowledge(&self, epoch: u64, packets: Vec<u16>) {
        self.waiting.put(epoch, packets);
    }

    /// Lets the source subscribe on a connection whose session the broker did not keep: the agent
    /// has taken note of the loss. `u64::MAX` does so for all connections to come.
    pub fn proceed(&self, epoch: u64) {
        self.wishes
            .send_modify(|wishes| wishes.proceed = wishes.proceed.max(epoch));
    }
}

/// Holds the source's thread.
#[derive(Debug)]
pub struct SourceHandle {
    control: SourceControl,
    thread: JoinHandle<()>,
}

impl SourceHandle {
    /// A handle to command the source, to be kept anywhere.
    pub fn control(&self) -> SourceControl {
        self.control.clone()
    }

    /// As [`SourceControl::command`].
    pub fn command(&self, command: SourceCommand) {
        self.control.command(command);
    }

    /// As [`SourceControl::acknowledge`].
    pub fn acknowledge(&self, epoch: u64, packets: Vec<u16>) {
        self.control.acknowledge(epoch, packets);
    }

    /// As [`SourceControl::proceed`].
    pub fn proceed(&self, epoch: u64) {
        self.control.proceed(epoch);
    }

    /// Waits for the thread to end, but no longer than until a moment.
    pub fn join_by(self, deadline: Instant) {
        let _ = join_by(self.thread, deadline);
    }

    /// Waits for the thread to end, which it does within about a second of
    /// [`SourceCommand::Stop`], provided `report` returns. Tells whether it ended well.
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

/// Starts the source. `held` is what the broker is known to hold of this client's session.
///
/// `report` is called on the source's thread. It may block, but then nothing pings the broker, which
/// closes the connection after one and a half keep-alives; better it returns [`Flow::Full`].
///
/// # Errors
/// When the thread or its runtime cannot be started.
pub fn spawn(
    settings: SourceSettings,
    held: Vec<Subscription>,
    wanted: Vec<Subscription>,
    report: impl FnMut(SourceReport) -> Flow + Send + 'static,
) -> Result<SourceHandle, io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (wishes, receiver) = watch::channel(Wishes {
        wanted,
        proceed: 0,
        stop: false,
    });
    let waiting = Arc::<Waiting>::default();
    let pulse = Arc::new(settings.heartbeats.pulse("mqtt-in"));
    let commands = (receiver, Arc::clone(&waiting));
    let intake = intake::Intake::new(settings, held, commands, Arc::clone(&pulse), report);
    // The budget of cooperative scheduling would cut a drain short; nobody shares this thread.
    let all = tokio::task::unconstrained(pulse.watch(WORK_WITHIN, intake.run()));
    let thread = std::thread::Builder::new()
        .name("mqtt-in".to_owned())
        .spawn(move || runtime.block_on(all))?;
    let control = SourceControl { wishes, waiting };
    Ok(SourceHandle { control, thread })
}
