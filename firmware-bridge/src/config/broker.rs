//! The broker: its address, login and certificates.

use super::Check;
use super::file::BrokerTable;
use super::words::duration;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Milliseconds between pings, and until a broker that owes an answer counts as gone.
const KEEP_ALIVE: u64 = 15_000;
const TIMEOUT: u64 = 10_000;
const SPAN_MS: RangeInclusive<u64> = 1_000..=3_600_000;

/// Files of an encrypted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsKeys {
    /// Certificates that are trusted; the system's where nothing is said.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The broker and the login there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Files of the connection, where it is encrypted.
    pub tls: Option<TlsKeys>,
    /// Login name.
    pub username: Option<String>,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// Time between pings.
    pub keep_alive: Duration,
    /// Time after which a silent broker counts as gone.
    pub timeout: Duration,
}

impl Broker {
    pub(super) fn of(table: &BrokerTable, check: &mut Check<'_>) -> Option<Self> {
        let address = match address(table.url.get_ref()) {
            Ok(address) => Some(address),
            Err(why) => {
                check.error(table.url.span(), format!("url: {why}"));
                None
            }
        };
        let is_secure = address.as_ref().is_some_and(|address| address.is_secure);
        let tls = tls(table, is_secure, check);
        if let Some(file) = &table.password_file {
            if table.username.is_none() {
                check.error(
                    file.span(),
                    "password_file: a password has no use without username",
                );
            }
            let path = check.path(file.get_ref());
            if let Err(error) = std::fs::File::open(&path) {
                let why = format!("password_file: {} cannot be read: {error}", path.display());
                check.error(file.span(), why);
            }
        }
        let keep_alive = span(table.keep_alive.as_ref(), "keep_alive", KEEP_ALIVE, check);
        let timeout = span(table.timeout.as_ref(), "timeout", TIMEOUT, check);
        let address = address?;
        Some(Self {
            host: address.host,
            port: address.port,
            tls,
            username: table.username.as_ref().map(|name| name.get_ref().clone()),
            password_file: table
                .password_file
                .as_ref()
                .map(|file| check.path(file.get_ref())),
            keep_alive,
            timeout,
        })
    }
}

fn tls(table: &BrokerTable, is_secure: bool, check: &mut Check<'_>) -> Option<TlsKeys> {
    let files = [
        ("ca_file", &table.ca_file),
        ("cert_file", &table.cert_file),
        ("key_file", &table.key_file),
    ];
    for (key, file) in files {
        let Some(file) = file else { continue };
        let path = check.path(file.get_ref());
        if !is_secure {
            let why = format!("{key}: the connection is not encrypted; write mqtts:// in url");
            check.error(file.span(), why);
        } else if let Err(error) = std::fs::File::open(&path) {
            let why = format!("{key}: {} cannot be read: {error}", path.display());
            check.error(file.span(), why);
        }
    }
    let client = match (&table.cert_file, &table.key_file) {
        (Some(cert), Some(key)) => Some((check.path(cert.get_ref()), check.path(key.get_ref()))),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            check.error(
                one.span(),
                "cert_file and key_file have a use together only",
            );
            None
        }
    };
    is_secure.then(|| TlsKeys {
        ca_file: table
            .ca_file
            .as_ref()
            .map(|file| check.path(file.get_ref())),
        client,
    })
}

fn span(
    given: Option<&Spanned<String>>,
    key: &str,
    default: u64,
    check: &mut Check<'_>,
) -> Duration {
    Duration::from_millis(duration(given, key, default, SPAN_MS, check))
}

struct Address {
    is_secure: bool,
    host: String,
    port: u16,
}

fn address(url: &str) -> Result<Address, String> {
    const WANTED: &str = "write mqtt://host:1883 or mqtts://host:8883";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (is_secure, default) = match scheme {
        "mqtt" | "tcp" => (false, 1_883),
        "mqtts" | "ssl" => (true, 8_883),
        _ => return Err(format!("this is no address of a broker; {WANTED}")),
    };
    if rest.contains('@') {
        return Err("an address has no login in it; write username and password_file".to_owned());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
            (host, port.parse().ok())
        }
        _ => (rest, Some(default)),
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = inner.unwrap_or(host);
    let is_good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    match port {
        Some(port) if port > 0 && !host.is_empty() && host.chars().all(is_good) => Ok(Address {
            is_secure,
            host: host.to_owned(),
            port,
        }),
        _ => Err(format!("there is no valid host and port in it; {WANTED}")),
    }
}
