//! One MQTT connection of a destination, the same to its owner whether it speaks 5 or 3.1.1: opens,
//! polls, and turns the library's events into [`Signal`]s and its errors into [`Trouble`]. A link
//! serves one connection; after an error its owner opens another, so that nothing of a dead one is
//! left. The source has a loop of its own, [`super::connection`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::trouble::Trouble;
use super::{v5, v311};
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
    pub(crate) keep_alive: Duration,
    /// Whether the broker forgets what an earlier connection of this client left with it.
    pub(crate) clean: bool,
    /// How long the broker keeps an MQTT 5 session after the connection ends.
    pub(crate) session_expiry: Duration,
    /// Longer packets end a destination's connection with [`Trouble::Oversized`]; the source reads
    /// past messages that are.
    pub(crate) incoming_bytes_max: u32,
    /// No packet longer than this may be sent.
    pub(crate) outgoing_bytes_max: u32,
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

    /// What carries the connection.
    pub(super) fn transport(&self) -> Result<rumqttc::Transport, Trouble> {
        let Some(files) = &self.tls else {
            return Ok(rumqttc::Transport::Tcp);
        };
        let credentials = files
            .read()
            .map_err(|error| Trouble::Tls(error.to_string()))?;
        let config = rumqttc::TlsConfiguration::Rustls(credentials);
        Ok(rumqttc::Transport::tls_with_config(config))
    }

    pub(super) fn network(&self) -> rumqttc::NetworkOptions {
        let mut network = rumqttc::NetworkOptions::new();
        network.set_tcp_nodelay(true);
        if let Some(bytes) = self.receive_buffer_bytes {
            network.set_tcp_recv_buffer_size(bytes);
        }
        network
    }
}

/// What happened on a connection, as far as its owners care.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The broker took the connection.
    Connected,
    /// A PUBLISH left, in the order they were asked for; 0 at QoS 0.
    PublishSent(u16),
    /// The library keeps a PUBLISH back because its packet identifier is still in use.
    PublishStuck,
    Acknowledged {
        id: u16,
        refused: Option<Refusal>,
    },
    DisconnectSent,
}

/// Why a broker did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It may take it later.
    NotNow(String),
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

/// Asks a [`Line`] for things while it is being polled. Nothing here ever waits: the task that polls
/// would wait for itself.
pub(crate) enum Requests {
    V5(rumqttc::v5::AsyncClient),
    V311(rumqttc::AsyncClient),
}

/// The connection itself.
pub(crate) enum Line {
    V5(Box<v5::Loop>),
    V311(Box<v311::Loop>),
}

/// Prepares a connection; the first [`Line::poll`] establishes it. `requests_max` bounds what can
/// be asked for at once.
pub(crate) fn open(peer: &Peer, version: Version, requests_max: usize) -> (Requests, Line) {
    match version {
        Version::V5 => {
            let (client, line) = v5::open(peer, requests_max);
            (Requests::V5(client), Line::V5(Box::new(line)))
        }
        Version::V311 => {
            let (client, line) = v311::open(peer, requests_max);
            (Requests::V311(client), Line::V311(Box::new(line)))
        }
    }
}

impl Requests {
    /// Whether the request found room, as for the other below.
    pub(crate) fn publish(&self, sending: Sending<'_>) -> bool {
        match self {
            Self::V5(client) => v5::publish(client, sending),
            Self::V311(client) => v311::publish(client, &sending),
        }
    }

    pub(crate) fn disconnect(&self) -> bool {
        match self {
            Self::V5(client) => client.try_disconnect().is_ok(),
            Self::V311(client) => client.try_disconnect().is_ok(),
        }
    }
}

impl Line {
    /// Connects, reads, writes, pings; returns when there is something to [`Line::drain`].
    pub(crate) async fn poll(&mut self) -> Result<(), Trouble> {
        match self {
            Self::V5(line) => line.poll().await,
            Self::V311(line) => line.poll().await,
        }
    }

    /// Hands out everything that has been read and written, in order.
    pub(crate) fn drain(&mut self, mut sink: impl FnMut(Signal)) {
        match self {
            Self::V5(line) => line.drain(&mut sink),
            Self::V311(line) => line.drain(&mut sink),
        }
    }

    /// What the broker said of its limits.
    pub(crate) fn limits(&self) -> Limits {
        match self {
            Self::V5(line) => line.limits(),
            Self::V311(_) => Limits::NONE,
        }
    }

    /// The connection for writing in bulk, where the library lets us at it: 3.1.1 only.
    pub(crate) fn bulk(&mut self) -> Option<&mut v311::Loop> {
        match self {
            Self::V5(_) => None,
            Self::V311(line) => Some(line),
        }
    }
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
