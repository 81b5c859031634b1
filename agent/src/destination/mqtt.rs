//! A destination that is a broker: its settings. The loop that serves it stands in `outlet`, its
//! messages in `cargo`.

mod cargo;
mod outlet;

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Identity, Seat};
use tidemill_base::secret::Secret;
use tidemill_transport::link::Peer;
use tidemill_transport::link::TIMEOUT;
use tidemill_transport::negotiation::Protocol;
use tidemill_transport::tls::TlsFiles;

/// A broker sends a destination nothing longer than a CONNACK or a DISCONNECT with its reasons.
const CONTROL_BYTES_MAX: u32 = 1 << 16;

/// Shortest keep-alive interval announced to a broker. A broker that counts whole packets only
/// would otherwise hang up while a large one is under way on a slow link.
const TOLD_KEEP_ALIVE_MIN: Duration = Duration::from_secs(300);

/// Settings of a destination's broker and connection.
#[derive(Debug, Clone)]
pub struct DestinationSettings {
    /// The destination's name in the configuration, for logs.
    pub name: String,
    /// The broker's name or address.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// Client id of this connection; no other client may use it.
    pub client_id: String,
    /// User name, where the broker asks for one.
    pub username: Option<String>,
    /// Password, where the broker asks for one.
    pub password: Option<Secret>,
    /// Certificates, where the connection is encrypted.
    pub tls: Option<TlsFiles>,
    /// MQTT version to use; `Auto` tries 5 first, over which rows bear their names.
    pub protocol: Protocol,
    /// Most messages that wait, those in flight included.
    pub queue_messages_max: usize,
    /// Most bytes of topic and payload that wait, those in flight included.
    pub queue_bytes_max: usize,
    /// Most QoS 1 messages that may be unacknowledged at once.
    pub inflight_max: u16,
    /// Longer packets are dropped and reported.
    pub packet_bytes_max: u32,
    /// The gateway whose rows these are.
    pub identity: Identity,
    /// `true` if rows are sent in a JSON envelope that bears their names, over either MQTT.
    pub envelope: bool,
    /// A ping goes out this often; at least a second.
    pub keep_alive: Duration,
    /// Longest silence of a broker that owes an answer, with no byte moving; longer where much is
    /// in flight to it.
    pub timeout: Duration,
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
            tls: None,
            protocol: Protocol::Auto,
            queue_messages_max: 10_000,
            queue_bytes_max: 8 << 20,
            inflight_max: 100,
            packet_bytes_max: 1 << 20,
            identity: Identity::default(),
            envelope: false,
            keep_alive: Duration::from_secs(30),
            timeout: TIMEOUT,
        }
    }

    fn peer(&self) -> Peer {
        let ping_every = self.keep_alive.max(Duration::from_secs(1));
        Peer {
            host: self.host.clone(),
            port: self.port,
            client_id: self.client_id.clone(),
            username: self.username.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
            keep_alive: ping_every.max(TOLD_KEEP_ALIVE_MIN),
            ping_every,
            timeout: self.timeout,
            clean: true,
            session_expiry: Duration::ZERO,
            will: None,
            incoming_bytes_max: CONTROL_BYTES_MAX,
            packet_ids: 1,
            receive_maximum: None,
            receive_buffer_bytes: None,
        }
    }
}

/// Serves one destination to its end.
pub(super) async fn run(
    settings: DestinationSettings,
    seat: Seat,
    stop_seen: watch::Receiver<Option<Instant>>,
) {
    outlet::Outlet::new(settings, seat, stop_seen).run().await;
}
