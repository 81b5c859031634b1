//! Types shared by the connections of source and destinations: the broker to connect to, and its
//! limits for messages. The connection itself is [`super::connection`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::tls::TlsFiles;
use tidemill_base::secret::Secret;

pub use crate::message::Version;

/// A broker that owes an answer is taken for dead after so long without any byte that moves.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Address and parameters of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The id that its session is kept under.
    pub client_id: String,
    /// User name, if the broker asks for one.
    pub username: Option<String>,
    /// Password, if the broker asks for one.
    pub password: Option<Secret>,
    /// Certificate files of an encrypted connection, read anew for each connection.
    pub tls: Option<TlsFiles>,
    /// Keep-alive announced to the broker, which may hang up after one and a half times as long
    /// without a packet of ours.
    pub keep_alive: Duration,
    /// Interval between pings.
    pub ping_every: Duration,
    /// Time that a broker that owes an answer may be silent, with no byte moving.
    pub timeout: Duration,
    /// `true` if the broker discards the state of earlier connections of this client.
    pub clean: bool,
    /// Time that the broker keeps an MQTT 5 session after the connection ends.
    pub session_expiry: Duration,
    /// The message that the broker publishes where this connection ends without a word.
    pub will: Option<Will>,
    /// Messages longer than this many bytes are skipped.
    pub incoming_bytes_max: u32,
    /// Packet identifiers in use at once for what is sent; owners stay well below.
    pub packet_ids: u16,
    /// MQTT 5: how many QoS 1 messages the broker may send ahead of acknowledgements.
    pub receive_maximum: Option<u16>,
    /// Size asked of the kernel for the socket's receive buffer; its own choice when `None`.
    pub receive_buffer_bytes: Option<u32>,
}

/// A message that the broker publishes for a client that vanishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Bytes,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// `true` if the broker keeps it for later subscribers.
    pub retain: bool,
}

impl Peer {
    /// Host and port, as shown to people.
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
    /// The broker may accept the message later.
    NotNow(String),
    /// The broker gives no reason.
    Unsaid(String),
    /// The broker does not accept the message from this client.
    NotAuthorized(String),
    /// The broker will never accept the message.
    Never(String),
}

/// Limits announced by the broker when it accepted the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// QoS 1 messages that may be unacknowledged at once.
    pub in_flight: u16,
    /// Length of the longest packet the broker accepts, in bytes.
    pub packet_bytes: u32,
    /// The highest quality of service the broker accepts.
    pub qos: u8,
    /// `true` if the broker keeps retained messages.
    pub retains: bool,
}

impl Limits {
    /// Limits of a broker that announces none.
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
    /// Data by which one who asked knows this as the answer; MQTT 5 only.
    pub correlation: Option<Bytes>,
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
