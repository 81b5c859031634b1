//! What connections of source and destinations have in common: whom to connect to, and what a broker
//! says of messages. The connection itself is [`super::connection`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::secret::Secret;
use crate::tls::TlsFiles;

pub use crate::event::Version;

/// Where and how to connect.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    /// Where the connection is encrypted: certificates, read anew for each connection.
    pub(crate) tls: Option<TlsFiles>,
    /// What the broker is told: after one and a half times as long without a packet of ours it may hang
    /// up.
    pub(crate) keep_alive: Duration,
    /// A ping goes out this often.
    pub(crate) ping_every: Duration,
    /// So long a broker that owes an answer may be silent, with no byte moving.
    pub(crate) timeout: Duration,
    /// Whether the broker forgets what an earlier connection of this client left with it.
    pub(crate) clean: bool,
    /// How long the broker keeps an MQTT 5 session after the connection ends.
    pub(crate) session_expiry: Duration,
    /// Longer messages are read past.
    pub(crate) incoming_bytes_max: u32,
    /// Packet identifiers in use at once for what is sent; owners stay well below.
    pub(crate) packet_ids: u16,
    /// MQTT 5: how many QoS 1 messages the broker may send ahead of acknowledgements.
    pub(crate) receive_maximum: Option<u16>,
    /// Size asked of the kernel for the socket's receive buffer; its own choice when `None`.
    pub(crate) receive_buffer_bytes: Option<u32>,
}

impl Peer {
    /// What a person knows the broker by.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn password(&self) -> &str {
        self.password.as_ref().map_or("", Secret::expose)
    }
}

/// Why a broker did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
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
pub(crate) struct Limits {
    /// How many QoS 1 messages may be unacknowledged.
    pub(crate) in_flight: u16,
    /// The longest packet it takes.
    pub(crate) packet_bytes: u32,
    /// The highest quality of service it takes.
    pub(crate) qos: u8,
    /// Whether it keeps messages for later subscribers.
    pub(crate) retains: bool,
}

impl Limits {
    /// A broker that speaks of none.
    pub(crate) const NONE: Self = Self {
        in_flight: u16::MAX,
        packet_bytes: u32::MAX,
        qos: 1,
        retains: true,
    };
}

/// A message to send.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// MQTT 5 user properties; lost over 3.1.1.
    pub(crate) properties: Vec<(String, String)>,
}

/// Polls once, without waiting.
pub(crate) async fn once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Waits until a moment, or for ever.
pub(crate) async fn until(at: Option<std::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
