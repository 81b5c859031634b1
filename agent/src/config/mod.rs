//! A gateway's configuration, checked. Unknown keys are errors; every key can be overridden by an
//! environment variable, `TIDEMILL_GATEWAY__ID` for `gateway.id`.

mod address;
mod broker;
mod check;
mod destination;
mod fleet;
mod keys;
pub mod limits;
mod outbox;
mod overrides;
#[cfg(test)]
mod page;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use crate::config::limits::{EFFECT_BYTES_MAX, FunctionLimits};
use tidemill_base::text::{Errors, FileError, FileErrors, Size, Source, shape};

use broker::BrokerTable;
use check::{Table, beside};
use destination::DestinationTable;
use fleet::FleetTable;
use overrides::Overrides;

pub use broker::{Broker, Coalesce, EventIdSource, Intake, TOPIC_BYTES_MAX};
pub use destination::{Destination, Endpoint, HttpEndpoint, HttpLogin};
pub use fleet::{Fleet, FleetFile};
pub use keys::LIMITS as LIMIT_KEYS;
pub use outbox::{OutboxLimits, WhenFull};
pub use tidemill_transport::tls::{ClientFiles, TlsFiles};

/// Prefix of environment variables that override a key.
const ENVIRONMENT_PREFIX: &str = "TIDEMILL_";

/// Name of the broker that sensors publish to, as rules use it.
pub const LOCAL: &str = "local";

/// A gateway's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// MQTT client id and name of the gateway.
    pub gateway_id: String,
    /// Directory of the state; one agent at a time.
    pub data_dir: PathBuf,
    /// Directory of the rule manifests.
    pub rules_dir: PathBuf,
    /// Consequence of a start that its rules or its destinations do not allow.
    pub start: Start,
    /// The broker that sensors publish to.
    pub broker: Broker,
    /// Settings of event intake and commits.
    pub intake: Intake,
    /// Limits of the rows that wait for the local broker.
    pub local_outbox: OutboxLimits,
    /// Destinations of emissions besides the local broker, by name.
    pub destinations: BTreeMap<String, Destination>,
    /// Destinations no longer configured, whose waiting rows the owner gives up.
    pub discard: BTreeSet<String>,
    /// Size of a journal segment in bytes.
    pub segment_bytes: u64,
    /// Limits of the latest events kept for trials.
    pub recorder: Recorder,
    /// The table `[fleet]`, if there is one.
    pub fleet: Option<Fleet>,
    /// Ceilings for every rule.
    pub limits: FunctionLimits,
    /// Keys that are understood and have no effect in this version.
    pub warnings: Vec<FileError>,
    /// `true` if all of the file was understood; else tables may be missing here.
    pub is_whole: bool,
    /// The file, for later messages about it.
    pub source: Arc<Source>,
    /// Places of the addresses of all destinations in it, [`LOCAL`] among them.
    pub urls: BTreeMap<String, Range<usize>>,
}

/// Consequence of a start whose rules cannot be installed or take over their state, or whose destinations lack
/// one for which rows wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The process ends with 2.
    #[default]
    Exit,
    /// The process stays, takes nothing in, says why, and tries again when it is told to.
    Held,
}

/// Limits of the latest events kept for trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorder {
    /// Bytes in memory; 0 keeps none.
    pub bytes: u64,
    /// Bytes on disk, if the owner grants flash for them.
    pub disk: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gateway: GatewayTable,
    broker: BrokerTable,
    #[serde(default)]
    destinations: BTreeMap<String, DestinationTable>,
    #[serde(default)]
    outbox: DiscardTable,
    #[serde(default)]
    journal: JournalTable,
    #[serde(default)]
    recorder: RecorderTable,
    fleet: Option<FleetTable>,
    http: Option<Spanned<toml::Table>>,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayTable {
    id: Spanned<String>,
    data_dir: Option<PathBuf>,
    rules_dir: Option<PathBuf>,
    #[serde(default)]
    start: Start,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiscardTable {
    #[serde(default)]
    discard: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalTable {
    segment_bytes: Option<Spanned<Size>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecorderTable {
    bytes: Option<Spanned<Size>>,
    disk: Option<Spanned<Size>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    module_bytes: Option<Spanned<Size>>,
    value_bytes: Option<Spanned<Size>>,
    memory_pages: Option<Spanned<u64>>,
    fuel: Option<Spanned<u64>>,
    fuel_per_second: Option<Spanned<u64>>,
    emissions: Option<Spanned<u64>>,
    emission_bytes: Option<Spanned<Size>>,
    state_bytes: Option<Spanned<Size>>,
    keys: Option<Spanned<u64>>,
}

impl Config {
    /// Reads and checks a configuration file, with overrides from the environment.
    ///
    /// # Errors
    /// Everything that is wrong with it: the file cannot be read, has an unknown key, or a value that
    /// cannot be.
    pub fn read(path: &Path) -> Result<Self, FileErrors> {
        let source = Source::read(path)?;
        let overrides = environment().map_err(|why| source.error(why))?;
        Self::parse(&source, overrides)
    }

    /// Reads a configuration file as [`Config::read`] does, and makes of one that is wrong what can be
    /// made of it: good enough to check rules against, and not to run.
    pub fn survey(path: &Path) -> (Option<Self>, Option<FileErrors>) {
        let read = Source::read(path).and_then(|source| {
            let overrides = environment().map_err(|why| source.error(why))?;
            Ok((source, overrides))
        });
        match read {
            Ok((source, overrides)) => Self::survey_text(&source, overrides),
            Err(error) => (None, Some(error.into())),
        }
    }

    /// Checks a configuration whose table `edit` makes of another one. What is wrong has its place in the text
    /// of that one.
    pub fn of_edited(
        source: &Source,
        edit: impl FnOnce(&mut shape::Read<'_>, &Errors),
    ) -> (Option<Self>, Option<FileErrors>) {
        let errors = Errors::default();
        let mut read = shape::read(source, &errors);
        edit(&mut read, &errors);
        let is_whole = errors.is_empty();
        let file = shape::shaped(source, read, keys::FILE, &errors);
        let config = file.map(|file| {
            let mut config = checked(source, file, &errors);
            config.is_whole = is_whole;
            config
        });
        (config, errors.into_list())
    }

    /// Checks the text of a configuration; `overrides` are pairs such as (`gateway__id`, `gw-2`).
    ///
    /// # Errors
    /// Same as [`Config::read`].
    pub fn parse(
        source: &Source,
        overrides: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, FileErrors> {
        match Self::survey_text(source, overrides) {
            (_, Some(errors)) => Err(errors),
            (Some(config), None) => Ok(config),
            (None, None) => Err(source.error("cannot be understood").into()),
        }
    }

    fn survey_text(
        source: &Source,
        overrides: impl IntoIterator<Item = (String, String)>,
    ) -> (Option<Self>, Option<FileErrors>) {
        let overrides = Overrides::new(source, overrides);
        let errors = Errors::default();
        let mut read = shape::read(source, &errors);
        overrides.put_into(&mut read, &errors);
        if read.get_ref().is_empty() && errors.is_empty() {
            errors.push(source.error(EMPTY));
            return (None, errors.into_list());
        }
        let source = overrides.noted();
        let is_whole = errors.is_empty();
        let file = shape::shaped(source, read, keys::FILE, &errors);
        let config = file.map(|file| {
            let mut config = checked(source, file, &errors);
            config.is_whole = is_whole;
            let warnings = config.warnings.into_iter();
            config.warnings = warnings.map(|warning| overrides.name(warning)).collect();
            config
        });
        (config, overrides.named(errors).into_list())
    }
}

/// Said of a file without any key.
const EMPTY: &str = "says nothing; write [gateway] and below it id = \"gateway-1\", then [broker] and below it \
                     url = \"mqtt://127.0.0.1:1883\", or let `tidemill init` write it";

fn environment() -> Result<Vec<(String, String)>, String> {
    overrides::of_environment(std::env::vars_os())
}

fn checked(source: &Source, file: File, errors: &Errors) -> Config {
    let id = file.gateway.id.get_ref();
    if !is_name(id) {
        let message = "gateway.id has 1 to 64 letters, digits, - _ or .; write id = \"gateway-1\"";
        errors.push(source.error_at(&file.gateway.id.span(), message));
    }
    let table = |name| Table {
        source,
        name,
        errors,
    };
    let http = file.http.iter().map(|http| {
        source.error_at(
            &http.span(),
            "http: this version has no HTTP server; nothing listens",
        )
    });
    let directory = |given: &Option<PathBuf>, default: &str| match given {
        Some(given) => beside(source, given),
        None => default.into(),
    };
    let broker = table("broker");
    let destinations = checked_destinations(source, &file.destinations, errors);
    let urls = file.destinations.iter();
    let urls = urls.map(|(name, table)| (name.clone(), table.url.span()));
    let local = (LOCAL.to_owned(), file.broker.url.span());
    let urls = urls.chain(std::iter::once(local)).collect();
    let segment = file.journal.segment_bytes.as_ref();
    let fleet = file.fleet.as_ref();
    let fleet = fleet.and_then(|given| given.checked(&table("fleet"), &destinations));
    let outbox = &file.broker.outbox;
    Config {
        gateway_id: id.clone(),
        data_dir: directory(&file.gateway.data_dir, "/var/lib/tidemill"),
        rules_dir: directory(&file.gateway.rules_dir, "/etc/tidemill/rules"),
        start: file.gateway.start,
        broker: file.broker.broker(&broker),
        intake: file.broker.intake(&broker),
        local_outbox: outbox.checked(&broker, OutboxLimits::LOCAL),
        discard: checked_discard(&table("outbox"), &file.outbox, &destinations),
        destinations,
        segment_bytes: table("journal").size("segment_bytes", segment, 1 << 20..=64 << 20, 8 << 20),
        recorder: checked_recorder(&table("recorder"), &file.recorder),
        fleet,
        limits: file.limits.checked(&table("limits")),
        warnings: http.chain(errors.take_warnings()).collect(),
        is_whole: true,
        urls,
        source: Arc::new(source.clone()),
    }
}

/// `true` if a text may be the name of a gateway or a destination: the name is part of client ids,
/// of lanes' names and of keys for good.
fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 64 && text.chars().all(good)
}

fn checked_destinations(
    source: &Source,
    tables: &BTreeMap<String, DestinationTable>,
    errors: &Errors,
) -> BTreeMap<String, Destination> {
    let mut destinations = BTreeMap::new();
    for (name, given) in tables {
        let span = given.url.span();
        if name == LOCAL {
            let message = "\"local\" is the broker of [broker]; give this destination another name";
            errors.push(source.error_at(&span, message));
        }
        if !is_name(name) {
            let message = "a destination's name has 1 to 64 letters, digits, - _ or .";
            errors.push(source.error_at(&span, message));
        }
        let table = Table {
            source,
            name: &format!("destinations.{name}"),
            errors,
        };
        destinations.insert(name.clone(), given.checked(&table));
    }
    destinations
}

fn checked_discard(
    table: &Table<'_>,
    given: &DiscardTable,
    destinations: &BTreeMap<String, Destination>,
) -> BTreeSet<String> {
    for name in &given.discard {
        if name.get_ref() == LOCAL || destinations.contains_key(name.get_ref()) {
            let why = format!(
                ": {:?} is still a destination; only rows of one that was taken out can be given up",
                name.get_ref()
            );
            table.error("discard", name, why);
        }
    }
    let names = given.discard.iter().map(|name| name.get_ref().clone());
    names.collect()
}

fn checked_recorder(table: &Table<'_>, given: &RecorderTable) -> Recorder {
    let disk = given.disk.as_ref();
    Recorder {
        bytes: table.size("bytes", given.bytes.as_ref(), 0..=256 << 20, 8 << 20),
        disk: disk.map(|_| table.size("disk", disk, 1 << 20..=64 << 30, 1 << 20)),
    }
}

impl LimitsTable {
    /// Ceilings between bounds: none is so high that one rule could take the memory of a gateway, or
    /// that an event could cost more than all rules together may ask for because of it.
    fn checked(&self, table: &Table<'_>) -> FunctionLimits {
        let limits = FunctionLimits::default();
        let size = |key, given: &Option<Spanned<Size>>, bounds, default: usize| {
            table.size(key, given.as_ref(), bounds, default)
        };
        let (pages, fuel) = (self.memory_pages.as_ref(), self.fuel.as_ref());
        let (emissions, keys) = (self.emissions.as_ref(), self.keys.as_ref());
        let (module, state) = (&self.module_bytes, &self.state_bytes);
        let emission = &self.emission_bytes;
        let emission_max = EFFECT_BYTES_MAX as u64;
        FunctionLimits {
            module_bytes: size(
                "module_bytes",
                module,
                1_024..=16 << 20,
                limits.module_bytes,
            ),
            memory_pages: table.number("memory_pages", pages, 1..=1_024, limits.memory_pages),
            fuel: table.number("fuel", fuel, 1..=100_000_000, limits.fuel),
            fuel_per_second: table.number(
                "fuel_per_second",
                self.fuel_per_second.as_ref(),
                1..=100_000_000_000,
                limits.fuel_per_second,
            ),
            emissions: table.number("emissions", emissions, 1..=4_096, limits.emissions),
            emission_bytes: size(
                "emission_bytes",
                emission,
                1..=emission_max,
                limits.emission_bytes,
            ),
            value_bytes: size(
                "value_bytes",
                &self.value_bytes,
                64 << 10..=256 << 20,
                limits.value_bytes,
            ),
            state_bytes: size("state_bytes", state, 1_024..=64 << 20, limits.state_bytes),
            keys: table.number("keys", keys, 1..=1_000_000, limits.keys),
            ..limits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SMALL: &str = "[gateway]\nid = \"gw\"\n[broker]\nurl = \"mqtt://127.0.0.1\"\n";

    fn parse(text: &str, overrides: &[(&str, &str)]) -> Result<Config, FileErrors> {
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
        assert_eq!((config.broker.port, config.intake.qos), (1883, 1));
        assert_eq!(config.intake.coalesce, Coalesce::Auto);
        let coalesce = |text: &str| {
            let config = parse(&format!("{SMALL}coalesce = {text:?}\n"), &[]);
            config.unwrap().intake.coalesce
        };
        assert_eq!(coalesce("auto"), Coalesce::Auto);
        assert_eq!(coalesce("0ms"), Coalesce::Fixed(Duration::ZERO));
        assert_eq!(coalesce("7ms"), Coalesce::Fixed(Duration::from_millis(7)));
        assert_eq!(config.intake.commit_interval, Duration::from_millis(50));
        assert_eq!(config.intake.commit_events, 256);
        let by_property = EventIdSource::UserProperty("eid".to_owned());
        assert_eq!(config.intake.event_id, by_property);
        assert_eq!(config.local_outbox, OutboxLimits::LOCAL);
        assert_eq!(config.segment_bytes, 8 << 20);
        let memory_only = Recorder {
            bytes: 8 << 20,
            disk: None,
        };
        assert_eq!(config.recorder, memory_only);
        assert_eq!(
            config.broker.protocol,
            tidemill_transport::negotiation::Protocol::Auto
        );
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
            &format!("{SMALL}qos = 2\n"),
            "agent.toml:5:7: broker.qos is 0 or 1",
        );
        refused(
            &format!("{SMALL}colaesce = \"1s\"\n"),
            "agent.toml:5:1: unknown key `colaesce`",
        );
        refused(&format!("{SMALL}coalesce = \"1\"\n"), "is no duration");
        refused(&format!("{SMALL}coalesce = \"Auto\"\n"), "is no duration");
        refused(&format!("{SMALL}coalesce = \"2s\"\n"), "at most 1s");
        refused(
            &format!("{SMALL}protocol = \"4\"\n"),
            "broker.protocol: it is one of \"auto\", \"5\", \"3.1.1\"",
        );
        refused(
            &format!("{SMALL}[destinations.local]\nurl=\"mqtt://h\"\n"),
            "another name",
        );
        refused(
            "[gateway]\nid = 3\n",
            "agent.toml:2:6: gateway.id: it is a text, in quotes; write id = \"3\"",
        );
        refused(
            "[broker]\nurl=\"mqtt://h\"\n",
            "missing table `[gateway]`; write [gateway] and below it id = \"gateway-1\"",
        );
        refused(
            &format!("{SMALL}username = \"u\"\npassword_file = \"/nowhere\"\n"),
            "cannot be read",
        );
    }

    #[test]
    fn outboxes_journal_and_recorder_are_read() {
        let config = parse(
            &format!(
                "{SMALL}commit_interval = \"0ms\"\ncommit_events = 4096\nevent_id = \"/id\"\n\
                 [broker.outbox]\ncount = 7\n[destinations.cloud]\nurl = \"mqtt://c\"\n\
                 outbox = {{ bytes = \"1GiB\", age = \"1d\", when_full = \"block\" }}\nenvelope = true\n\
                 [destinations.second]\nurl = \"mqtt://d\"\n[outbox]\ndiscard = [\"old\"]\n\
                 [journal]\nsegment_bytes = 1_048_576\n[recorder]\nbytes = 0\ndisk = \"64MiB\"\n"
            ),
            &[("destinations__cloud__outbox__count", "9")],
        )
        .unwrap();
        assert_eq!(config.intake.commit_interval, Duration::ZERO);
        assert_eq!(config.intake.event_id, EventIdSource::Pointer("/id".into()));
        assert_eq!(config.local_outbox.count, Some(7));
        let cloud = &config.destinations["cloud"];
        let expected = OutboxLimits {
            bytes: 1 << 30,
            age_ms: 86_400_000,
            count: Some(9),
            when_full: WhenFull::Block,
        };
        assert_eq!(cloud.outbox, expected);
        assert!(matches!(&cloud.endpoint, Endpoint::Mqtt(broker) if broker.envelope));
        let second = &config.destinations["second"];
        assert_eq!(second.outbox, OutboxLimits::DESTINATION);
        assert!(config.discard.contains("old"));
        assert_eq!(config.segment_bytes, 1 << 20);
        let expected = Recorder {
            bytes: 0,
            disk: Some(64 << 20),
        };
        assert_eq!(config.recorder, expected);
    }

    #[test]
    fn what_lies_outside_its_bounds_is_named_with_its_line() {
        for (lines, expected) in [
            (
                "commit_interval = \"11s\"",
                "agent.toml:5:19: broker.commit_interval is at most 10s",
            ),
            (
                "commit_interval = \"x\"",
                "broker.commit_interval: \"x\" is no duration",
            ),
            (
                "commit_events = 0",
                "agent.toml:5:17: broker.commit_events lies between 1 and 4096",
            ),
            ("event_id = \"eid\"", "broker.event_id: \"eid\" is neither"),
            ("in_flight = 0", "broker.in_flight lies between 1 and 4096"),
            (
                "[limits]\nemission_bytes = 4194305",
                "agent.toml:6:18: limits.emission_bytes lies between 1 and 4MiB",
            ),
            (
                "[limits]\nfuel_per_second = 0",
                "agent.toml:6:19: limits.fuel_per_second lies between 1 and 100000000000",
            ),
            (
                "[limits]\nkeys = 0",
                "agent.toml:6:8: limits.keys lies between 1 and 1000000",
            ),
            (
                "ca_file = \"p\"",
                "broker.ca_file: the connection is not encrypted",
            ),
            (
                "outbox = { bytes = \"1KiB\" }",
                "agent.toml:5:20: broker.outbox.bytes lies between 64KiB and 1TiB",
            ),
            (
                "outbox = { bytes = \"1Kib\" }",
                "agent.toml:5:20: broker.outbox.bytes: \"1Kib\" is no size; write \"64KiB\"",
            ),
            (
                "outbox = { bytes = true }",
                "broker.outbox.bytes: it is a number of bytes",
            ),
            (
                "outbox = { age = \"1ms\" }",
                "broker.outbox.age lies between 1s and 3660d",
            ),
            (
                "outbox = { count = 0 }",
                "broker.outbox.count lies between 1 and",
            ),
            (
                "outbox = { when_full = \"drop\" }",
                "it is one of \"drop_oldest\", \"drop_newest\", \"block\"",
            ),
            ("outbox = { size = 1 }", "unknown key `size`"),
            (
                "[outbox]\ndiscard = [\"local\"]",
                "agent.toml:6:12: outbox.discard: \"local\" is still",
            ),
            (
                "[journal]\nsegment_bytes = \"65MiB\"",
                "journal.segment_bytes lies between 1MiB and 64MiB",
            ),
            (
                "[recorder]\ndisk = 1",
                "recorder.disk lies between 1MiB and 64GiB",
            ),
            (
                "[destinations.c]\nurl = \"mqtt://h\"\ntoken_file = \"t\"",
                "destinations.c.token_file: MQTT knows no tokens",
            ),
            (
                "[destinations.c]\nurl = \"mqtt://h\"\nanswer_timeout = \"1m\"",
                "destinations.c.answer_timeout: only HTTP knows that",
            ),
            (
                "[destinations.c]\nurl = \"http://h\"\ntimeout = \"100ms\"",
                "agent.toml:7:11: destinations.c.timeout lies between 1s and 1h",
            ),
            (
                "[destinations.c]\nurl = \"http://h\"\nanswer_timeout = \"2h\"",
                "destinations.c.answer_timeout lies between 1s and 1h",
            ),
            (
                "[destinations.c]\nurl = \"http://h\"\nkeep_alive = \"1m\"",
                "destinations.c.keep_alive: only brokers know that",
            ),
            (
                "[destinations.\"a b\"]\nurl = \"mqtt://h\"",
                "agent.toml:6:7: a destination's name has",
            ),
            (
                "[destinations.c]\nurl = \"mqtts://h\"\nca_file = \"/nowhere\"",
                "agent.toml:7:11: destinations.c.ca_file: /nowhere cannot be read: No such file",
            ),
            (
                "[destinations.c]\nurl = \"https://h\"\ncert_file = \"/nowhere\"",
                "agent.toml:7:13: destinations.c.cert_file has no use without key_file",
            ),
            (
                "[destinations.c]\nurl = \"ftp://h\"",
                "destinations.c.url: \"ftp://h\" is no address of a destination",
            ),
        ] {
            refused(&format!("{SMALL}{lines}\n"), expected);
        }
    }

    #[test]
    fn every_key_stands_in_the_documentation() {
        let docs = include_str!("../../../docs/configuration.md");
        for (table, keys) in shape::tables(keys::FILE) {
            for key in keys.iter().map(|key| key.name) {
                let named = [format!("`{key}"), format!(".{key}`"), format!("[{key}")];
                let is_named = named.iter().any(|name| docs.contains(name));
                assert!(
                    is_named,
                    "docs/configuration.md does not have {key} of [{table}]"
                );
            }
        }
    }

    #[test]
    fn the_list_of_keys_is_that_of_the_parser() {
        assert_eq!(
            shape::unlike_parser::<File>(keys::FILE),
            Vec::<String>::new()
        );
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let errors = parse(
            "[gateway]\nidd = \"gw\"\ndata_dir = 7\n[broker]\nurl = \"h\"\nqos = 9\npassword = \"x\"\n\
             [destination.c]\nurl = \"mqtt://h\"\n[limits]\nfuel = 0\nkeys = \"7\"\n",
            &[("limits__emissions", "0"), ("broker__kos", "1")],
        );
        let errors = errors.unwrap_err().to_string();
        let expected = [
            "TIDEMILL_BROKER__KOS: unknown key `kos`; did you mean `qos`?",
            "TIDEMILL_LIMITS__EMISSIONS: limits.emissions lies between",
            ":2:1: unknown key `idd`; did you mean `id`?",
            ":3:12: gateway.data_dir: it is a text, in quotes; write data_dir = \"7\"",
            ":5:7: broker.url: \"h\" is no address",
            ":6:7: broker.qos is 0 or 1",
            ":7:1: unknown key `password`; write `password_file`, the path of a file",
            ":8:2: unknown key `destination`; did you mean `destinations`?",
            ":11:8: limits.fuel lies between",
            ":12:8: limits.keys: it is a whole number from 0 on, without quotes; write keys = 7",
        ];
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{errors}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "{line} is not {expected}");
        }
    }

    #[test]
    fn keys_without_effect_yet_are_warned_about() {
        let config = parse(&format!("{SMALL}[http]\nlisten = \"x\"\n"), &[]);
        assert_eq!(config.unwrap().warnings.len(), 1);
    }
}
