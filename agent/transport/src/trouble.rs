//! Why a connection failed or ended, in words a person can act on.

use std::io;

use super::packets::PacketError;
use crate::tls;

/// A failed connection, with a way out if there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing listens at the address, with the reason.
    #[error("nothing answers there ({0}): is the broker running, are host and port right?")]
    Unreachable(String),
    /// The broker does not take this version of MQTT.
    #[error("the broker does not speak this version of MQTT")]
    VersionRefused,
    /// User name or password was refused.
    #[error("the broker refused user name or password: check both in the configuration")]
    Credentials,
    /// The client may not connect.
    #[error(
        "the broker does not let this client in: check user name and password here, \
         and the broker's access list"
    )]
    NotAuthorized,
    /// The client id was refused.
    #[error("the broker refused the client id: choose another in the configuration")]
    ClientIdRefused,
    /// Another client took the session over.
    #[error("another client connected with the same client id: give each its own")]
    TakenOver,
    /// The broker ends.
    #[error("the broker is shutting down")]
    ShuttingDown,
    /// The broker gave a reason of its own.
    #[error("the broker gave a reason: {0}")]
    Refused(String),
    /// A message was refused, with the reason.
    #[error("the broker does not take a message: {0}")]
    MessageRefused(String),
    /// Something that this client did is not allowed, with the reason.
    #[error("the broker does not allow something that this client did: {0}")]
    Denied(String),
    /// Pings are answered, a message is not.
    #[error("the broker answers, but an acknowledgement is missing")]
    Unacknowledged,
    /// Pings are answered, a subscription is not.
    #[error("the broker answers pings, but not the request for subscriptions")]
    Unsubscribed,
    /// The name has no address.
    #[error(
        "the name {0} has no address, or no name server tells it in time (DNS): is it spelled right?"
    )]
    NoAddress(String),
    /// The name cannot be looked up.
    #[error(
        "the name {host} cannot be looked up (DNS: {why}): is it spelled right, is there a name server?"
    )]
    NoName {
        /// The name.
        host: String,
        /// The reason.
        why: String,
    },
    /// The connection was closed before any answer.
    #[error(
        "the connection was closed before an answer came: if that port is one with TLS, write mqtts:// in \
         url; else the broker does not take this client"
    )]
    Unanswered,
    /// The port expects TLS.
    #[error("that port speaks TLS, and url begins with mqtt://: write mqtts:// there")]
    WantsTls,
    /// The connection was closed without a reason.
    #[error("the connection was closed without a reason")]
    Closed,
    /// The connection was closed right after the TLS handshake.
    #[error(
        "the connection was closed without a reason once it was encrypted: a broker does that \
         which does not take our certificate, or wants to see one (cert_file, key_file)"
    )]
    Shunned,
    /// No answer came in time.
    #[error("the broker does not answer")]
    Silent,
    /// The answer is no packet of MQTT.
    #[error("the answer is not MQTT as expected ({0}): is that port a broker's?")]
    NoMqtt(String),
    /// TLS failed, with the reason.
    #[error("{0}")]
    Tls(String),
    /// A packet could not be written, with the reason.
    #[error("{0}")]
    Library(String),
}

impl Trouble {
    /// While encryption was being agreed on.
    pub fn from_handshake(error: &io::Error) -> Self {
        match tls::explain_handshake(error) {
            Some(why) => Self::Tls(why),
            None => Self::from_io(error),
        }
    }

    /// While a connection stood or was being made.
    pub fn from_io(error: &io::Error) -> Self {
        if let Some(why) = tls::explain(error) {
            return Self::Tls(why);
        }
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Closed,
            io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Unreachable(error.to_string()),
        }
    }

    /// `true` if a broker that does not know this version of MQTT may behave this way.
    pub fn may_be_version(&self) -> bool {
        matches!(
            self,
            Self::Closed | Self::Unanswered | Self::Shunned | Self::Silent | Self::NoMqtt(_)
        )
    }
}

impl From<PacketError> for Trouble {
    fn from(error: PacketError) -> Self {
        match &error {
            // An alert of TLS, or its first word to somebody who spoke without.
            PacketError::Unreadable { head, .. } if head.starts_with("15 03") => Self::WantsTls,
            PacketError::Unreadable { .. } => Self::NoMqtt(error.to_string()),
            PacketError::Oversized { .. } => Self::Refused(error.to_string()),
        }
    }
}
