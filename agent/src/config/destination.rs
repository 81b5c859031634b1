//! Destinations of emissions besides the local broker: another broker, or an HTTP endpoint.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::address::{Address, address};
use super::broker::{Broker, KEEP_ALIVE, Keys};
use super::check::Table;
use super::outbox::{OutboxLimits, OutboxTable};
use super::tls::TlsKeys;
use tidemill_base::files::exposure;
use tidemill_base::secret::SecretFile;
use tidemill_base::text::Size;
use tidemill_transport::negotiation::Protocol;
use tidemill_transport::tls::TlsFiles;

/// A place for emissions.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Connection settings.
    pub endpoint: Endpoint,
    /// Limits of the rows that wait for it.
    pub outbox: OutboxLimits,
    /// Longest absence that raises no alarm.
    pub alarm_after: Duration,
}

/// Default of `alarm_after` in milliseconds: the longest absence that raises no alarm.
const ALARM_AFTER_MS: u64 = 600_000;
const ALARM_AFTER_BOUNDS_MS: RangeInclusive<u64> = 1_000..=30 * 24 * 3_600_000;

/// The receiver at a destination.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// A broker.
    Mqtt(Broker),
    /// Something that takes batches by HTTP.
    Http(HttpEndpoint),
}

/// Connection settings of an endpoint that accepts batches by HTTP.
#[derive(Debug, Clone)]
pub struct HttpEndpoint {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query, with the slash they begin with.
    pub path: String,
    /// Certificates, if the connection is encrypted.
    pub tls: Option<TlsFiles>,
    /// Credentials sent with each request.
    pub login: Option<HttpLogin>,
    /// Longest time in which no byte moves in either direction.
    pub timeout: Duration,
    /// Longest wait for an answer to begin, once the whole request has left.
    pub answer_timeout: Duration,
}

impl HttpEndpoint {
    /// Default of both timeouts.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// The path without its query, in which some endpoints want a token.
    pub fn shown_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// Credentials of a request.
#[derive(Debug, Clone)]
pub enum HttpLogin {
    /// User name and password.
    Basic {
        /// Login name.
        username: String,
        /// File of the password, read before each request.
        password: SecretFile,
    },
    /// A token, read before each request.
    Bearer(SecretFile),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port, path) = match self {
            Self::Mqtt(broker) => (
                broker.tls.as_ref().map_or("mqtt", |_| "mqtts"),
                &broker.host,
                broker.port,
                "",
            ),
            Self::Http(http) => (
                http.tls.as_ref().map_or("http", |_| "https"),
                &http.host,
                http.port,
                http.shown_path(),
            ),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

/// A table `[destinations.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DestinationTable {
    pub(super) url: Spanned<String>,
    protocol: Option<Spanned<Protocol>>,
    username: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    token_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    cert_file: Option<Spanned<PathBuf>>,
    key_file: Option<Spanned<PathBuf>>,
    packet_bytes_max: Option<Spanned<Size>>,
    in_flight: Option<Spanned<u64>>,
    envelope: Option<Spanned<bool>>,
    keep_alive: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    answer_timeout: Option<Spanned<String>>,
    alarm_after: Option<Spanned<String>>,
    #[serde(default)]
    outbox: OutboxTable,
}

impl DestinationTable {
    /// Checks the table. If its address is wrong, keys that depend on it are not reported.
    pub(super) fn checked(&self, table: &Table<'_>) -> Destination {
        let endpoint = match address(self.url.get_ref(), true) {
            Ok(address) if address.scheme.is_http() => Endpoint::Http(self.http(table, address)),
            Ok(address) => Endpoint::Mqtt(self.mqtt(table, address)),
            Err(why) => {
                table.error("url", &self.url, format!(": {why}"));
                let address = Address::stand_in(self.url.get_ref());
                Endpoint::Http(HttpEndpoint {
                    host: address.host,
                    port: address.port,
                    path: address.path,
                    tls: None,
                    login: None,
                    timeout: HttpEndpoint::TIMEOUT,
                    answer_timeout: HttpEndpoint::TIMEOUT,
                })
            }
        };
        Destination {
            endpoint,
            outbox: self.outbox.checked(table, OutboxLimits::DESTINATION),
            alarm_after: table.duration(
                "alarm_after",
                self.alarm_after.as_ref(),
                ALARM_AFTER_BOUNDS_MS,
                ALARM_AFTER_MS,
                "lies between 1s and 30d",
            ),
        }
    }

    fn tls(&self) -> TlsKeys<'_> {
        TlsKeys {
            url: &self.url,
            ca_file: self.ca_file.as_ref(),
            cert_file: self.cert_file.as_ref(),
            key_file: self.key_file.as_ref(),
        }
    }

    fn mqtt(&self, table: &Table<'_>, address: Address) -> Broker {
        if let Some(token) = &self.token_file {
            let why = ": MQTT knows no tokens, it has username and password_file";
            table.error("token_file", token, why);
        }
        if let Some(value) = &self.answer_timeout {
            let why = ": only HTTP knows that; leave it out for a broker";
            table.error("answer_timeout", value, why);
        }
        let keys = Keys {
            protocol: self.protocol.as_ref().map(|protocol| *protocol.get_ref()),
            username: self.username.as_ref(),
            password_file: self.password_file.as_ref(),
            tls: self.tls(),
            packet_bytes_max: self.packet_bytes_max.as_ref(),
            in_flight: self.in_flight.as_ref(),
            envelope: self.envelope.as_ref().map(|wanted| *wanted.get_ref()),
            keep_alive: self.keep_alive.as_ref(),
            keep_alive_default: KEEP_ALIVE,
            timeout: self.timeout.as_ref(),
        };
        keys.checked(table, address)
    }

    fn http(&self, table: &Table<'_>, address: Address) -> HttpEndpoint {
        let only = ": only brokers know that; leave it out for HTTP";
        if let Some(value) = &self.protocol {
            table.error("protocol", value, only);
        }
        if let Some(value) = &self.packet_bytes_max {
            table.error("packet_bytes_max", value, only);
        }
        if let Some(value) = &self.in_flight {
            table.error("in_flight", value, only);
        }
        if let Some(value) = &self.envelope {
            table.error("envelope", value, only);
        }
        if let Some(value) = &self.keep_alive {
            table.error("keep_alive", value, only);
        }
        self.warn_of_open_logins(table, &address);
        let (bounds, outside) = (1_000..=3_600_000, "lies between 1s and 1h");
        let default = 10_000;
        let timeout = self.timeout.as_ref();
        let answer = self.answer_timeout.as_ref();
        HttpEndpoint {
            timeout: table.duration("timeout", timeout, bounds.clone(), default, outside),
            answer_timeout: table.duration("answer_timeout", answer, bounds, default, outside),
            tls: self.tls().checked(table, &address),
            login: self.login(table),
            host: address.host,
            port: address.port,
            path: address.path,
        }
    }

    /// Warns of a login that others can read, on its way or in the configuration. Some endpoints want a
    /// token in the query of their address.
    fn warn_of_open_logins(&self, table: &Table<'_>, address: &Address) {
        let has_query = address.path.contains('?');
        let has_login = self.password_file.is_some() || self.token_file.is_some();
        if address.is_open() && (has_login || has_query) {
            let what = if has_login { "the login" } else { "its query" };
            let why =
                format!(": {what} goes over the network for everybody to read; write https://");
            table.warn("url", &self.url, why);
        }
        let file = &table.source.path;
        if has_query && let Some(why) = exposure(file) {
            let why = format!(": its query may hold a token, and {why}");
            table.warn("url", &self.url, why);
        }
    }

    fn login(&self, table: &Table<'_>) -> Option<HttpLogin> {
        match (&self.username, &self.password_file, &self.token_file) {
            (None, None, None) => {}
            (None, None, Some(token)) => {
                let (file, _) = table.secret("token_file", token)?;
                return Some(HttpLogin::Bearer(file));
            }
            (Some(username), Some(password), None) => {
                if username.get_ref().contains(':') {
                    let why = " has a colon, which HTTP takes for its end";
                    table.error("username", username, why);
                }
                return Some(HttpLogin::Basic {
                    username: username.get_ref().clone(),
                    password: table.secret("password_file", password)?.0,
                });
            }
            (Some(username), None, None) => {
                let why = " has no use without password_file";
                table.error("username", username, why);
            }
            (None, Some(password), _) => {
                let why = " has no use without username";
                table.error("password_file", password, why);
            }
            (Some(_), _, Some(token)) => {
                let why = ": a request bears a token, or user name and password";
                table.error("token_file", token, why);
            }
        }
        None
    }
}
