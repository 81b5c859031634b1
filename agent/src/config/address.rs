//! URLs of brokers and HTTP endpoints, taken apart.

use std::net::IpAddr;

/// A network address with its scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    /// The path behind host and port, with its slash; empty for brokers.
    pub(super) path: String,
}

/// The protocol of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Mqtt,
    Mqtts,
    Http,
    Https,
}

impl Scheme {
    fn named(name: &str) -> Option<Self> {
        match name {
            "mqtt" | "tcp" => Some(Self::Mqtt),
            "mqtts" | "ssl" => Some(Self::Mqtts),
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Mqtt => 1_883,
            Self::Mqtts => 8_883,
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `true` if the connection is encrypted.
    pub(super) fn is_secure(self) -> bool {
        matches!(self, Self::Mqtts | Self::Https)
    }

    /// `true` for HTTP and HTTPS.
    pub(super) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

impl Address {
    /// `true` if others than the two ends can read the traffic: it is not encrypted, and leaves
    /// this machine as far as the address shows.
    pub(super) fn is_open(&self) -> bool {
        let host = self.host.to_ascii_lowercase();
        let is_here = match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        !self.scheme.is_secure() && !is_here
    }

    /// An address in place of a wrong one, so that the check of the other keys goes on.
    pub(super) fn stand_in(url: &str) -> Self {
        let scheme = url.split("://").next().and_then(Scheme::named);
        let scheme = scheme.unwrap_or(Scheme::Mqtt);
        Self {
            scheme,
            host: "localhost".to_owned(),
            port: scheme.port(),
            path: String::new(),
        }
    }
}

/// Takes the URL of a broker apart, or also that of an HTTP endpoint.
pub(super) fn address(url: &str, may_be_http: bool) -> Result<Address, String> {
    let wanted = if may_be_http {
        "mqtt://host:1883, mqtts://host:8883 or https://host/path"
    } else {
        "mqtt://host:1883 or mqtts://host:8883"
    };
    let shown = without_secrets(url);
    let (scheme, rest) = url
        .split_once("://")
        .and_then(|(name, rest)| Some((Scheme::named(name)?, rest)))
        .filter(|(scheme, _)| may_be_http || !scheme.is_http())
        .ok_or_else(|| {
            if may_be_http {
                format!("{shown:?} is no address of a destination; write {wanted}")
            } else {
                format!("{shown:?} is no address of a broker; write {wanted}")
            }
        })?;
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(place) => rest.split_at(place),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err("an address has no user name in it; username has a key of its own".to_owned());
    }
    let path = path_of(scheme, path).map_err(|why| format!("{shown:?} {why}"))?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
            (host, port.parse().ok())
        }
        _ => (authority, Some(scheme.port())),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    match port {
        Some(port) if port > 0 && !host.is_empty() && host.chars().all(good) => Ok(Address {
            scheme,
            host: host.to_owned(),
            port,
            path,
        }),
        _ => Err(format!(
            "{shown:?} has no valid host and port; write {wanted}"
        )),
    }
}

/// An address as it may be shown: without a login before its host, and without its query.
fn without_secrets(url: &str) -> String {
    let (url, has_query) = match url.find(['?', '#']) {
        Some(at) => (url.get(..at).unwrap_or_default(), true),
        None => (url, false),
    };
    let shown = match url.rsplit_once('@') {
        Some((login, host)) => match login.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…@{host}"),
            None => format!("…@{host}"),
        },
        None => url.to_owned(),
    };
    if has_query { shown + "?…" } else { shown }
}

fn path_of(scheme: Scheme, path: &str) -> Result<String, &'static str> {
    match (scheme.is_http(), path) {
        (false, "" | "/") => Ok(String::new()),
        (false, _) => Err("has more than host and port"),
        (true, _) if !path.chars().all(|c| c.is_ascii_graphic() && c != '#') => {
            Err("has a character that a path must escape, or a #")
        }
        (true, _) if path.starts_with('/') => Ok(path.to_owned()),
        (true, _) => Ok(format!("/{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        use Scheme::{Http, Https, Mqtt, Mqtts};
        for (url, scheme, host, port, path) in [
            ("mqtt://h", Mqtt, "h", 1883, ""),
            ("tcp://h:1/", Mqtt, "h", 1, ""),
            ("mqtt://[::1]:1884", Mqtt, "::1", 1884, ""),
            ("mqtt://[::1]", Mqtt, "::1", 1883, ""),
            ("mqtts://h", Mqtts, "h", 8883, ""),
            ("ssl://h:1", Mqtts, "h", 1, ""),
            ("http://h", Http, "h", 80, "/"),
            ("http://h:8080?a=b", Http, "h", 8080, "/?a=b"),
            ("https://h/in/rows?a=b", Https, "h", 443, "/in/rows?a=b"),
        ] {
            let (host, path) = (host.to_owned(), path.to_owned());
            let expected = Address {
                scheme,
                host,
                port,
                path,
            };
            assert_eq!(address(url, true), Ok(expected), "{url}");
        }
        for url in [
            "mqtt://",
            "mqtt://h:0",
            "mqtt://h:x",
            "mqtt://u@h",
            "mqtt://h/p",
            "mqtt://h h",
            "https://h/a b",
            "https://h/a#b",
            "https://:1/",
            "ftp://h",
            "h",
        ] {
            assert!(address(url, true).is_err(), "{url}");
        }
        assert!(address("https://h", false).is_err());
    }

    #[test]
    fn addresses_beyond_this_machine_are_open_unless_they_are_encrypted() {
        for (url, expected) in [
            ("mqtt://h", true),
            ("http://10.0.0.1/in", true),
            ("mqtt://[2001:db8::1]", true),
            ("mqtts://h", false),
            ("https://h", false),
            ("mqtt://localhost", false),
            ("mqtt://LOCALHOST", false),
            ("mqtt://127.9.9.9", false),
            ("http://[::1]:80/", false),
            ("http://[::ffff:127.0.0.1]/", false),
            ("mqtt://localhost.example", true),
        ] {
            assert_eq!(address(url, true).unwrap().is_open(), expected, "{url}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        for url in [
            "mqtt://user:hush@h",
            "mqtt:/user:hush@h",
            "user:hush@h",
            "user:hu@hush@h",
            "ftp://h/?key=hush",
            "https://h/a b?key=hush@h",
            "https://h:x/?key=hush",
            "https://h/#hush",
        ] {
            let why = address(url, true).unwrap_err();
            assert!(!why.contains("hush"), "{why}");
        }
    }
}
