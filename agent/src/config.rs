//! A gateway's configuration, checked. Unknown keys are errors; every key can be overridden by an
//! environment variable, `TIDEMILL_GATEWAY__ID` for `gateway.id`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::limits::FunctionLimits;
use crate::text::{FileError, Source, duration_ms};

/// What a variable that overrides a key begins with.
const ENVIRONMENT_PREFIX: &str = "TIDEMILL_";

/// The name under which rules speak of the broker that sensors publish to.
pub const LOCAL: &str = "local";

/// A gateway's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// MQTT client id and name of the gateway.
    pub gateway_id: String,
    /// Where state is kept; one agent at a time.
    pub data_dir: PathBuf,
    /// Where rule manifests are read.
    pub rules_dir: PathBuf,
    /// Where sensors publish.
    pub broker: Broker,
    /// Where emissions go besides the local broker, by name.
    pub destinations: BTreeMap<String, Broker>,
    /// Ceilings for every rule.
    pub limits: FunctionLimits,
    /// Keys that are understood and have no effect in this version, as sentences.
    pub warnings: Vec<String>,
}

/// How to reach a broker.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Which MQTT to speak.
    pub protocol: Protocol,
    /// Login name.
    pub username: Option<String>,
    /// Login password, read from `password_file`.
    pub password: Option<String>,
    /// Quality of service asked for when subscribing, 0 or 1.
    pub qos: u8,
    /// Largest packet taken in, in bytes.
    pub packet_bytes_max: u32,
    /// How long the socket rests after a batch.
    pub coalesce: Duration,
}

/// Which MQTT to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// What the broker takes, 5 asked for first.
    #[serde(rename = "auto")]
    Auto,
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gateway: GatewayTable,
    broker: BrokerTable,
    #[serde(default)]
    destinations: BTreeMap<String, BrokerTable>,
    http: Option<toml::Table>,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayTable {
    id: Spanned<String>,
    data_dir: Option<PathBuf>,
    rules_dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BrokerTable {
    url: Spanned<String>,
    protocol: Option<Protocol>,
    username: Option<String>,
    password_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    cert_file: Option<Spanned<PathBuf>>,
    key_file: Option<Spanned<PathBuf>>,
    qos: Option<Spanned<u8>>,
    packet_bytes_max: Option<Spanned<u32>>,
    coalesce: Option<Spanned<String>>,
    commit_interval: Option<Spanned<String>>,
    event_id: Option<String>,
    outbox: Option<toml::Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    module_bytes: Option<usize>,
    memory_pages: Option<u32>,
    fuel: Option<u64>,
    emissions: Option<usize>,
    emission_bytes: Option<usize>,
    state_bytes: Option<usize>,
    keys: Option<usize>,
}

impl Config {
    /// Reads and checks a configuration file, with overrides from the environment.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown key, or a value that cannot be.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let overrides = std::env::vars().filter_map(|(name, value)| {
            let path = name.strip_prefix(ENVIRONMENT_PREFIX)?;
            path.contains("__").then(|| (path.to_lowercase(), value))
        });
        Self::parse(&Source::read(path)?, overrides)
    }

    /// Checks the text of a configuration; `overrides` are pairs such as (`gateway__id`, `gw-2`).
    ///
    /// # Errors
    /// As for [`Config::read`].
    pub fn parse(
        source: &Source,
        overrides: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, FileError> {
        let mut overrides = overrides.into_iter().peekable();
        if overrides.peek().is_none() {
            return checked(source, source.parse()?);
        }
        let mut table: toml::Table = source.parse()?;
        for (path, value) in overrides {
            let name = format!("{ENVIRONMENT_PREFIX}{}", path.to_uppercase());
            put(&mut table, &path, &value).map_err(|why| source.error(format!("{name}: {why}")))?;
        }
        let text = toml::to_string(&table).map_err(|e| source.error(e.to_string()))?;
        let merged = Source {
            path: format!(
                "{} with {ENVIRONMENT_PREFIX}… overrides",
                source.path.display()
            )
            .into(),
            text,
        };
        checked(&merged, merged.parse()?)
    }
}

/// Puts an overriding value where its path of names leads.
fn put(table: &mut toml::Table, path: &str, value: &str) -> Result<(), String> {
    let (tables, key) = path.rsplit_once("__").ok_or("names no key")?;
    let mut place = table;
    for name in tables.split("__") {
        place = place
            .entry(name.to_owned())
            .or_insert_with(|| toml::Table::new().into())
            .as_table_mut()
            .ok_or_else(|| format!("{name} is no table"))?;
    }
    let was_text = place.get(key).is_some_and(toml::Value::is_str);
    let number = value
        .parse()
        .map(toml::Value::Integer)
        .ok()
        .filter(|_| !was_text);
    place.insert(key.to_owned(), number.unwrap_or_else(|| value.into()));
    Ok(())
}

fn checked(source: &Source, file: File) -> Result<Config, FileError> {
    let id = file.gateway.id.get_ref();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.len() > 64 || !id.chars().all(good) {
        let message = "gateway.id has 1 to 64 letters, digits, - _ or .";
        return Err(source.error_at(&file.gateway.id.span(), message));
    }
    let mut warnings = Vec::new();
    if file.http.is_some() {
        warnings.push("http: this version has no HTTP server; nothing listens".to_owned());
    }
    let broker = checked_broker(source, "broker", &file.broker, &mut warnings)?;
    let mut destinations = BTreeMap::new();
    for (name, table) in &file.destinations {
        if name == LOCAL {
            let message = "\"local\" is the broker of [broker]; give this destination another name";
            return Err(source.error_at(&table.url.span(), message));
        }
        let broker = checked_broker(
            source,
            &format!("destinations.{name}"),
            table,
            &mut warnings,
        )?;
        destinations.insert(name.clone(), broker);
    }
    let beside = |dir: PathBuf| source.path.parent().map_or(dir.clone(), |at| at.join(dir));
    Ok(Config {
        gateway_id: id.clone(),
        data_dir: beside(
            file.gateway
                .data_dir
                .unwrap_or_else(|| "/var/lib/tidemill".into()),
        ),
        rules_dir: beside(
            file.gateway
                .rules_dir
                .unwrap_or_else(|| "/etc/tidemill/rules".into()),
        ),
        broker,
        destinations,
        limits: file.limits.over(FunctionLimits::default()),
        warnings,
    })
}

fn checked_broker(
    source: &Source,
    name: &str,
    table: &BrokerTable,
    warnings: &mut Vec<String>,
) -> Result<Broker, FileError> {
    let (host, port) = host_and_port(table.url.get_ref())
        .map_err(|why| source.error_at(&table.url.span(), format!("{name}.url: {why}")))?;
    let certificates = [&table.ca_file, &table.cert_file, &table.key_file];
    if let Some(file) = certificates.into_iter().flatten().next() {
        let message = format!("{name}: this version speaks no TLS, so a certificate has no use");
        return Err(source.error_at(&file.span(), message));
    }
    let later = [
        ("commit_interval", table.commit_interval.is_some()),
        ("event_id", table.event_id.is_some()),
        ("outbox", table.outbox.is_some()),
    ];
    for (key, _) in later.iter().filter(|(_, given)| *given) {
        warnings.push(format!(
            "{name}.{key}: has no effect in this version, which keeps no journal"
        ));
    }
    let password = match &table.password_file {
        Some(path) => Some(read_password(source, name, path)?),
        None => None,
    };
    let qos = match &table.qos {
        Some(qos) if *qos.get_ref() > 1 => {
            let message = format!("{name}.qos is 0 or 1; exactly-once needs no QoS 2");
            return Err(source.error_at(&qos.span(), message));
        }
        Some(qos) => *qos.get_ref(),
        None => 1,
    };
    let packet_bytes_max = match &table.packet_bytes_max {
        Some(bytes) if !(1_024..=8 * 1_048_576).contains(bytes.get_ref()) => {
            let message = format!("{name}.packet_bytes_max lies between 1,024 and 8,388,608");
            return Err(source.error_at(&bytes.span(), message));
        }
        Some(bytes) => *bytes.get_ref(),
        None => 1_048_576,
    };
    let coalesce_ms = match &table.coalesce {
        Some(text) => match duration_ms(text.get_ref()) {
            Ok(ms) if ms <= 1_000 => ms,
            Ok(_) => {
                let message = format!("{name}.coalesce is at most 1s: events wait that long");
                return Err(source.error_at(&text.span(), message));
            }
            Err(why) => {
                return Err(source.error_at(&text.span(), format!("{name}.coalesce: {why}")));
            }
        },
        None => 5,
    };
    Ok(Broker {
        host,
        port,
        protocol: table.protocol.unwrap_or(Protocol::Auto),
        username: table.username.clone(),
        password,
        qos,
        packet_bytes_max,
        coalesce: Duration::from_millis(coalesce_ms),
    })
}

fn read_password(
    source: &Source,
    name: &str,
    path: &Spanned<PathBuf>,
) -> Result<String, FileError> {
    let file = source
        .path
        .parent()
        .map_or(path.get_ref().clone(), |at| at.join(path.get_ref()));
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => {
            let message = format!(
                "{name}.password_file: {} cannot be read: {error}",
                file.display()
            );
            Err(source.error_at(&path.span(), message))
        }
    }
}

fn host_and_port(url: &str) -> Result<(String, u16), String> {
    let rest = match url.split_once("://") {
        Some(("mqtt" | "tcp", rest)) => rest,
        Some(("mqtts" | "ssl" | "http" | "https", _)) => {
            return Err(format!(
                "{url:?}: this version speaks MQTT without TLS only, mqtt://host:1883"
            ));
        }
        _ => {
            return Err(format!(
                "{url:?} is no address of a broker; write mqtt://host:1883"
            ));
        }
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains(['/', '@', '?']) {
        return Err(format!(
            "{url:?} has more than host and port; username has a key of its own"
        ));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => (host, port),
        _ => (rest, "1883"),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(format!(
            "{url:?} has no valid host and port; write mqtt://host:1883"
        )),
    }
}

impl LimitsTable {
    fn over(&self, limits: FunctionLimits) -> FunctionLimits {
        FunctionLimits {
            module_bytes: self.module_bytes.unwrap_or(limits.module_bytes),
            memory_pages: self.memory_pages.unwrap_or(limits.memory_pages),
            fuel: self.fuel.unwrap_or(limits.fuel),
            emissions: self.emissions.unwrap_or(limits.emissions),
            emission_bytes: self.emission_bytes.unwrap_or(limits.emission_bytes),
            state_bytes: self.state_bytes.unwrap_or(limits.state_bytes),
            keys: self.keys.unwrap_or(limits.keys),
            ..limits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "[gateway]\nid = \"gw\"\n[broker]\nurl = \"mqtt://127.0.0.1\"\n";

    fn parse(text: &str, overrides: &[(&str, &str)]) -> Result<Config, FileError> {
        let source = Source {
            path: "/etc/t/agent.toml".into(),
            text: text.to_owned(),
        };
        let pairs = overrides
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::parse(&source, pairs)
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = parse(text, &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn little_has_to_be_said() {
        let config = parse(SMALL, &[]).unwrap();
        assert_eq!((config.broker.port, config.broker.qos), (1883, 1));
        assert_eq!(config.broker.coalesce, Duration::from_millis(5));
        assert_eq!(config.broker.protocol, Protocol::Auto);
        assert_eq!(config.rules_dir, Path::new("/etc/tidemill/rules"));
        assert_eq!(config.limits, FunctionLimits::default());
    }

    #[test]
    fn the_environment_overrides_and_adds_keys() {
        let config = parse(
            SMALL,
            &[
                ("gateway__id", "7"),
                ("limits__fuel", "9"),
                ("gateway__rules_dir", "r"),
            ],
        );
        let config = config.unwrap();
        assert_eq!((config.gateway_id.as_str(), config.limits.fuel), ("7", 9));
        assert_eq!(config.rules_dir, Path::new("/etc/t/r"));
        let error = parse(SMALL, &[("broker__ulr", "x")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown key `ulr`"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        refused(
            "[gateway]\nid = \"a b\"\n[broker]\nurl=\"mqtt://h\"",
            "agent.toml:2:6: gateway.id has",
        );
        refused(
            "[gateway]\nid = \"a\"\n[broker]\nurl=\"h:1\"",
            "agent.toml:4:5: broker.url: \"h:1\" is no",
        );
        refused(
            "[gateway]\nid = \"a\"\n[broker]\nurl=\"mqtts://h\"",
            "without TLS only",
        );
        refused(
            &format!("{SMALL}qos = 2\n"),
            "agent.toml:5:7: broker.qos is 0 or 1",
        );
        refused(
            &format!("{SMALL}colaesce = \"1s\"\n"),
            "agent.toml:5:1: unknown key `colaesce`",
        );
        refused(&format!("{SMALL}coalesce = \"1\"\n"), "is no duration");
        refused(&format!("{SMALL}coalesce = \"2s\"\n"), "at most 1s");
        refused(&format!("{SMALL}protocol = \"4\"\n"), "unknown variant `4`");
        refused(
            &format!("{SMALL}[destinations.local]\nurl=\"mqtt://h\"\n"),
            "another name",
        );
        refused("[gateway]\nid = 3\n", "expected a string");
        refused("[broker]\nurl=\"mqtt://h\"\n", "missing key `gateway`");
        refused(
            &format!("{SMALL}password_file = \"/nowhere\"\n"),
            "cannot be read",
        );
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (url, host, port) in [
            ("mqtt://h", "h", 1883),
            ("tcp://h:1/", "h", 1),
            ("mqtt://[::1]:1884", "::1", 1884),
            ("mqtt://[::1]", "::1", 1883),
        ] {
            assert_eq!(host_and_port(url), Ok((host.to_owned(), port)), "{url}");
        }
        for url in [
            "mqtt://",
            "mqtt://h:0",
            "mqtt://h:x",
            "mqtt://u@h",
            "mqtt://h/p",
            "h",
        ] {
            assert!(host_and_port(url).is_err(), "{url}");
        }
    }

    #[test]
    fn keys_without_effect_yet_are_warned_about() {
        let config = parse(
            &format!("{SMALL}commit_interval = \"1s\"\n[http]\nlisten = \"x\"\n"),
            &[],
        );
        assert_eq!(config.unwrap().warnings.len(), 2);
    }
}
