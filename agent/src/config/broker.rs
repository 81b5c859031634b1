//! Settings of brokers, and of event intake from the one that sensors publish to.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::address::{Address, address};
use super::check::Table;
use super::outbox::OutboxTable;
use super::tls::TlsKeys;
use tidemill_base::secret::Secret;
use tidemill_base::text::Size;
use tidemill_transport::negotiation::Protocol;
use tidemill_transport::tls::TlsFiles;

/// Default size limit of a packet, in bytes.
const PACKET_BYTES_MAX: u32 = 1 << 20;

/// Default size limit of a topic taken in, in bytes: what devices publish to has a few dozen.
pub const TOPIC_BYTES_MAX: usize = 1_024;
const TOPIC_BYTES: RangeInclusive<u64> = 64..=65_535;

/// Default number of messages that may be unacknowledged.
const IN_FLIGHT: u16 = 100;

/// Default session expiry in milliseconds: a week.
const SESSION_EXPIRY: u64 = 7 * DAY_MS;
const SESSION_EXPIRY_MS: RangeInclusive<u64> = 60_000..=3_650 * DAY_MS;
const DAY_MS: u64 = 24 * 3_600_000;

/// Default ping interval of the broker that sensors publish to, in milliseconds: its answers also
/// tell which acknowledgements it has read. Destinations may stand behind metered links.
const KEEP_ALIVE_LOCAL: u64 = 5_000;
pub(super) const KEEP_ALIVE: u64 = 30_000;

/// Default time in milliseconds that a broker that owes an answer may be silent.
const TIMEOUT: u64 = 10_000;

/// Range of both in milliseconds.
const SPAN_MS: RangeInclusive<u64> = 1_000..=3_600_000;

/// Connection settings of a broker.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Certificates, if the connection is encrypted.
    pub tls: Option<TlsFiles>,
    /// MQTT version to speak.
    pub protocol: Protocol,
    /// Login name.
    pub username: Option<String>,
    /// Login password, read from `password_file`.
    pub password: Option<Secret>,
    /// Largest packet taken in or sent, in bytes.
    pub packet_bytes_max: u32,
    /// Longest topic taken in, in bytes.
    pub topic_bytes_max: usize,
    /// Messages we send that may be unacknowledged at once.
    pub in_flight: u16,
    /// `true` if rows are sent in a JSON envelope that carries their names.
    pub envelope: bool,
    /// Interval between pings.
    pub keep_alive: Duration,
    /// Time that a broker that owes an answer may be silent, with no byte moving.
    pub timeout: Duration,
}

/// Settings of event intake and commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// Quality of service asked for when subscribing, 0 or 1.
    pub qos: u8,
    /// Pause of the socket after a batch.
    pub coalesce: Coalesce,
    /// Longest wait of an event for its commit; zero commits each batch at once.
    pub commit_interval: Duration,
    /// Number of events at which a commit is due at the latest.
    pub commit_events: usize,
    /// Location of an event's own id.
    pub event_id: EventIdSource,
    /// Session expiry asked of the broker while the agent is away; MQTT 5 only.
    pub session_expiry: Duration,
    /// `true` if an id of the form `producer:n` is a rising number even though its sender does not
    /// say so.
    pub event_id_numbers: bool,
    /// Number of ids remembered that are no numbers.
    pub event_ids_remembered: usize,
}

/// Pause of the socket after a batch, so that many events share a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coalesce {
    /// Not at all on a quiet line, up to 5 ms on a busy one.
    Auto,
    /// A fixed time.
    Fixed(Duration),
}

/// Location of an event's own id, which identifies it when a broker sends it twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventIdSource {
    /// An MQTT 5 user property of this name.
    UserProperty(String),
    /// A JSON pointer into the payload.
    Pointer(String),
    /// No id.
    None,
}

/// The table `[broker]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BrokerTable {
    pub(super) url: Spanned<String>,
    protocol: Option<Protocol>,
    username: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    cert_file: Option<Spanned<PathBuf>>,
    key_file: Option<Spanned<PathBuf>>,
    qos: Option<Spanned<u64>>,
    packet_bytes_max: Option<Spanned<Size>>,
    topic_bytes_max: Option<Spanned<Size>>,
    in_flight: Option<Spanned<u64>>,
    envelope: Option<bool>,
    coalesce: Option<Spanned<String>>,
    commit_interval: Option<Spanned<String>>,
    commit_events: Option<Spanned<u64>>,
    event_id: Option<Spanned<String>>,
    session_expiry: Option<Spanned<String>>,
    event_id_numbers: Option<bool>,
    event_ids_remembered: Option<Spanned<u64>>,
    keep_alive: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) outbox: OutboxTable,
}

impl Broker {
    /// The broker at a URL, about which nothing else is said.
    ///
    /// # Errors
    /// A sentence that says what would be right; for `mqtts://` also when the system has no
    /// certificates to trust.
    pub fn at(url: &str) -> Result<Self, String> {
        let Address {
            scheme, host, port, ..
        } = address(url, false)?;
        let tls = scheme.is_secure().then(TlsFiles::default);
        if let Some(files) = &tls {
            files.read().map_err(|error| error.to_string())?;
        }
        Ok(Self {
            host,
            port,
            tls,
            protocol: Protocol::Auto,
            username: None,
            password: None,
            packet_bytes_max: PACKET_BYTES_MAX,
            topic_bytes_max: TOPIC_BYTES_MAX,
            in_flight: IN_FLIGHT,
            envelope: false,
            keep_alive: Duration::from_millis(KEEP_ALIVE_LOCAL),
            timeout: Duration::from_millis(TIMEOUT),
        })
    }
}

/// The keys of a connection to a broker, in any table.
pub(super) struct Keys<'a> {
    pub(super) protocol: Option<Protocol>,
    pub(super) username: Option<&'a Spanned<String>>,
    pub(super) password_file: Option<&'a Spanned<PathBuf>>,
    pub(super) tls: TlsKeys<'a>,
    pub(super) packet_bytes_max: Option<&'a Spanned<Size>>,
    pub(super) in_flight: Option<&'a Spanned<u64>>,
    pub(super) envelope: Option<bool>,
    pub(super) keep_alive: Option<&'a Spanned<String>>,
    /// Default of `keep_alive` in milliseconds.
    pub(super) keep_alive_default: u64,
    pub(super) timeout: Option<&'a Spanned<String>>,
}

impl BrokerTable {
    /// The broker that sensors publish to; a stand-in if its address is wrong.
    pub(super) fn broker(&self, table: &Table<'_>) -> Broker {
        let address = address(self.url.get_ref(), false).unwrap_or_else(|why| {
            table.error("url", &self.url, format!(": {why}"));
            Address::stand_in(self.url.get_ref())
        });
        let keys = Keys {
            protocol: self.protocol,
            username: self.username.as_ref(),
            password_file: self.password_file.as_ref(),
            tls: TlsKeys {
                url: &self.url,
                ca_file: self.ca_file.as_ref(),
                cert_file: self.cert_file.as_ref(),
                key_file: self.key_file.as_ref(),
            },
            packet_bytes_max: self.packet_bytes_max.as_ref(),
            in_flight: self.in_flight.as_ref(),
            envelope: self.envelope,
            keep_alive: self.keep_alive.as_ref(),
            keep_alive_default: KEEP_ALIVE_LOCAL,
            timeout: self.timeout.as_ref(),
        };
        let topic = self.topic_bytes_max.as_ref();
        Broker {
            topic_bytes_max: table.size("topic_bytes_max", topic, TOPIC_BYTES, TOPIC_BYTES_MAX),
            ..keys.checked(table, address)
        }
    }

    /// Reads the settings of event intake.
    pub(super) fn intake(&self, table: &Table<'_>) -> Intake {
        let late = "is at most 1s: events wait that long";
        let coalesce = match &self.coalesce {
            Some(text) if text.get_ref() != "auto" => {
                Coalesce::Fixed(table.duration("coalesce", Some(text), 0..=1_000, 0, late))
            }
            Some(_) | None => Coalesce::Auto,
        };
        let late = "is at most 10s: sensors wait that long for their acknowledgements";
        let short = "lies between 1m and 3650d: what sensors publish while the agent is away is lost after it";
        let expiry = self.session_expiry.as_ref();
        let session_expiry = table.duration(
            "session_expiry",
            expiry,
            SESSION_EXPIRY_MS,
            SESSION_EXPIRY,
            short,
        );
        let interval = self.commit_interval.as_ref();
        let events = self.commit_events.as_ref();
        let remembered = self.event_ids_remembered.as_ref();
        Intake {
            qos: self.qos(table),
            coalesce,
            commit_interval: table.duration("commit_interval", interval, 0..=10_000, 50, late),
            commit_events: table.number("commit_events", events, 1..=4_096, 256),
            event_id: self.event_id(table),
            session_expiry,
            event_id_numbers: self.event_id_numbers.unwrap_or(false),
            event_ids_remembered: table.number(
                "event_ids_remembered",
                remembered,
                256..=65_536,
                4_096,
            ),
        }
    }

    fn qos(&self, table: &Table<'_>) -> u8 {
        match self.qos.as_ref().map(|qos| (*qos.get_ref(), qos)) {
            Some((0, _)) => 0,
            Some((1, _)) | None => 1,
            Some((_, qos)) => {
                table.error("qos", qos, " is 0 or 1; exactly-once needs no QoS 2");
                1
            }
        }
    }

    fn event_id(&self, table: &Table<'_>) -> EventIdSource {
        let default = || EventIdSource::UserProperty("eid".to_owned());
        let Some(text) = &self.event_id else {
            return default();
        };
        event_id(text.get_ref()).unwrap_or_else(|why| {
            table.error("event_id", text, format!(": {why}"));
            default()
        })
    }
}

impl Keys<'_> {
    /// Checks the keys for the broker at `address`.
    pub(super) fn checked(&self, table: &Table<'_>, address: Address) -> Broker {
        let bytes = self.packet_bytes_max;
        if self.password_file.is_some() && address.is_open() {
            let why = ": the password goes over the network for everybody to read; write mqtts://";
            table.warn("url", self.tls.url, why);
        }
        let outside = "lies between 1s and 1h";
        Broker {
            tls: self.tls.checked(table, &address),
            host: address.host,
            port: address.port,
            protocol: self.protocol.unwrap_or(Protocol::Auto),
            username: self.username.map(|name| name.get_ref().clone()),
            password: password(table, self.username, self.password_file),
            packet_bytes_max: table.size(
                "packet_bytes_max",
                bytes,
                1_024..=8 << 20,
                PACKET_BYTES_MAX,
            ),
            topic_bytes_max: TOPIC_BYTES_MAX,
            in_flight: table.number("in_flight", self.in_flight, 1..=4_096, IN_FLIGHT),
            envelope: self.envelope.unwrap_or(false),
            keep_alive: table.duration(
                "keep_alive",
                self.keep_alive,
                SPAN_MS,
                self.keep_alive_default,
                outside,
            ),
            timeout: table.duration("timeout", self.timeout, SPAN_MS, TIMEOUT, outside),
        }
    }
}

/// A password; an error without a user name, because it would have no use.
fn password(
    table: &Table<'_>,
    username: Option<&Spanned<String>>,
    file: Option<&Spanned<PathBuf>>,
) -> Option<Secret> {
    let path = file?;
    let secret = table.secret("password_file", path);
    if username.is_none() {
        let why = " has no use without username";
        table.error("password_file", path, why);
    }
    secret.map(|(_, password)| password)
}

fn event_id(text: &str) -> Result<EventIdSource, String> {
    let escapes_are_good = || {
        let mut parts = text.split('~').skip(1);
        parts.all(|part| part.starts_with(['0', '1']))
    };
    match text.strip_prefix("user:") {
        Some(name) if !name.is_empty() && name.len() <= 256 && !name.contains('\0') => {
            Ok(EventIdSource::UserProperty(name.to_owned()))
        }
        None if text == "none" => Ok(EventIdSource::None),
        None if text.starts_with('/') && escapes_are_good() => {
            Ok(EventIdSource::Pointer(text.to_owned()))
        }
        _ => Err(format!(
            "{text:?} is neither \"user:NAME\" for an MQTT 5 user property, nor a JSON pointer \
             such as \"/id\", nor \"none\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_alone_is_a_broker_with_the_defaults() {
        let broker = Broker::at("mqtt://h:1884").unwrap();
        assert_eq!((broker.host.as_str(), broker.port), ("h", 1884));
        assert!(broker.tls.is_none());
        assert!(
            Broker::at("h:1884")
                .unwrap_err()
                .contains("mqtt://host:1883")
        );
    }

    #[test]
    fn places_of_event_ids_are_read() {
        let user = |name: &str| Ok(EventIdSource::UserProperty(name.to_owned()));
        let pointer = |path: &str| Ok(EventIdSource::Pointer(path.to_owned()));
        assert_eq!(event_id("user:eid"), user("eid"));
        assert_eq!(event_id("user:a b"), user("a b"));
        assert_eq!(event_id("/a/0/b~1c"), pointer("/a/0/b~1c"));
        assert_eq!(event_id("none"), Ok(EventIdSource::None));
        for text in ["", "user:", "eid", "a/b", "/a~", "/a~2b"] {
            assert!(
                event_id(text).unwrap_err().contains("JSON pointer"),
                "{text}"
            );
        }
    }
}
