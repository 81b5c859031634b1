//! What connections of source and destinations have in common: whom to connect to, and what a broker
//! says of messages. The connection itself is [`super::connection`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::tls::TlsFiles;
use tidemill_base::secret::Secret;

pub use crate::message::Version;

/// A broker that owes an answer is taken for dead after so long without any byte that moves.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The id that its session is kept under.
    pub client_id: String,
    /// User name, where the broker asks for one.
    pub username: Option<String>,
    /// Password, where the broker asks for one.
    pub password: Option<Secret>,
    /// Where the connection is encrypted: certificates, read anew for each connection.
    pub tls: Option<TlsFiles>,
    /// What the broker is told: after one and a half times as long without a packet of ours it may hang
    /// up.
    pub keep_alive: Duration,
    /// A ping goes out this often.
    pub ping_every: Duration,
    /// So long a broker that owes an answer may be silent, with no byte moving.
    pub timeout: Duration,
    /// Whether the broker forgets what an earlier connection of this client left with it.
    pub clean: bool,
    /// How long the broker keeps an MQTT 5 session after the connection ends.
    pub session_expiry: Duration,
    /// Longer messages are read past.
    pub incoming_bytes_max: u32,
    /// Packet identifiers in use at once for what is sent; owners stay well below.
    pub packet_ids: u16,
    /// MQTT 5: how many QoS 1 messages the broker may send ahead of acknowledgements.
    pub receive_maximum: Option<u16>,
    /// Size asked of the kernel for the socket's receive buffer; its own choice when `None`.
    pub receive_buffer_bytes: Option<u32>,
}

impl Peer {
    /// What a person knows the broker by.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn password(&self) -> &str {
        self.password.as_ref().map_or("", Secret::expose)
    }
}

/// Why a broker did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It may take it later.
    NotNow(String),
    /// It does not tell why.
    Unsaid(String),
    /// It does not take it from this client.
    NotAuthorized(String),
    /// It will never take it.
    Never(String),
}

/// What the broker said of its limits when it took the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many QoS 1 messages may be unacknowledged.
    pub in_flight: u16,
    /// The longest packet it takes.
    pub packet_bytes: u32,
    /// The highest quality of service it takes.
    pub qos: u8,
    /// Whether it keeps messages for later subscribers.
    pub retains: bool,
}

impl Limits {
    /// A broker that speaks of none.
    pub const NONE: Self = Self {
        in_flight: u16::MAX,
        packet_bytes: u32::MAX,
        qos: 1,
        retains: true,
    };
}

/// A message to send.
#[derive(Debug)]
pub struct Sending<'a> {
    /// The topic, without wildcards.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a Bytes,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// `true` if the broker keeps it for later subscribers.
    pub retain: bool,
    /// MQTT 5 user properties; lost over 3.1.1.
    pub properties: Vec<(String, String)>,
}

/// Polls once, without waiting.
pub async fn once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Waits until a moment, or for ever.
pub async fn until(at: Option<std::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
