//! A broker's CONNACK, and the limits it announces.

use std::time::Duration;

use super::{v5, v311};
use crate::link::{Limits, Version};
use crate::packets::Connack;
use crate::trouble::Trouble;

/// The broker took the connection.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    /// The broker kept the session.
    pub session_present: bool,
    /// Copies will name their subscriptions.
    pub identifiers: bool,
    /// Session expiry set by the broker, if it differs from the one asked for.
    pub session_expiry: Option<Duration>,
    /// The broker's limits for messages sent to it.
    pub limits: Limits,
    pub(super) keep_alive: Option<Duration>,
}

impl Accepted {
    pub(super) fn of(version: Version, connack: Connack) -> Result<Self, Trouble> {
        let Connack {
            session_present,
            code,
            given,
            is_short,
        } = connack;
        match (version, code) {
            (Version::V5, 1..) => return Err(v5::refused(code, given.reason)),
            (Version::V311, 1..) => return Err(v311::refused(code)),
            // It took us for a client of 3.1.1.
            (Version::V5, 0) if is_short => return Err(Trouble::VersionRefused),
            (_, 0) => {}
        }
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let none = Limits::NONE;
        Ok(Self {
            session_present,
            identifiers: version == Version::V5 && given.identifiers_available != Some(false),
            session_expiry: given.session_expiry.map(seconds),
            limits: Limits {
                in_flight: given.receive_maximum.unwrap_or(none.in_flight),
                packet_bytes: given.packet_bytes_maximum.unwrap_or(none.packet_bytes),
                qos: given.qos_maximum.unwrap_or(none.qos).min(none.qos),
                retains: given.retain_available.unwrap_or(none.retains),
            },
            keep_alive: given.server_keep_alive.map(|time| seconds(time.into())),
        })
    }
}
