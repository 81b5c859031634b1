//! `[fleet]`: where rules are pushed from, and whose word counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tidemill_bundle::{Envelope, PayloadType, ROOT_BYTES_MAX, Root, Scope};
use toml::Spanned;

use super::Broker;
use super::address::{Address, address};
use super::broker::{KEEP_ALIVE, Keys};
use super::check::{Table, beside};
use super::destination::{Destination, Endpoint};
use super::keys::OPERATOR;
use super::tls::TlsKeys;
use tidemill_base::files::read_input;
use tidemill_base::text::{Errors, FileErrors, Source, shape};
use tidemill_transport::negotiation::Protocol;

/// Groups of a gateway.
const GROUPS_MAX: usize = 16;

/// Probation and pause where nothing is said, in milliseconds.
const MINUTE: u64 = 60_000;

const HOUR: u64 = 60 * MINUTE;

/// The broker that rules are pushed from, and the root of trust.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The broker; without one, rules come by `tidemill apply` only.
    pub broker: Option<Broker>,
    /// Groups of the gateway; the last one wins.
    pub groups: Vec<String>,
    /// The root that it begins with, and its envelope.
    pub root: (Root, Envelope),
    /// The least time in which a deployment goes back by itself if it does harm.
    pub probation: Duration,
    /// Time between two activations.
    pub pause: Duration,
}

/// The table `[fleet]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FleetTable {
    url: Option<Spanned<String>>,
    via: Option<Spanned<String>>,
    protocol: Option<Protocol>,
    username: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    cert_file: Option<Spanned<PathBuf>>,
    key_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    root: Spanned<PathBuf>,
    probation: Option<Spanned<String>>,
    pause: Option<Spanned<String>>,
}

impl FleetTable {
    /// Checks the table.
    pub(super) fn checked(
        &self,
        table: &Table<'_>,
        destinations: &BTreeMap<String, Destination>,
    ) -> Option<Fleet> {
        let broker = match (&self.url, &self.via) {
            (Some(_), Some(via)) => {
                table.error(
                    "via",
                    via,
                    ": url names the broker already; take one of them out",
                );
                None
            }
            (Some(url), None) => Some(self.broker(table, url)),
            (None, Some(via)) => self.via(table, via, destinations),
            (None, None) => {
                self.refuse_login(table, ": there is no url");
                None
            }
        };
        let groups = self.groups(table);
        let probation = self.probation.as_ref();
        let pause = self.pause.as_ref();
        let root = self.root(table);
        let probation = table.duration(
            "probation",
            probation,
            1_000..=HOUR,
            MINUTE,
            "lies between 1s and 1h",
        );
        let pause = table.duration("pause", pause, 0..=HOUR, MINUTE, "is at most 1h");
        Some(Fleet {
            broker,
            groups,
            root: root?,
            probation,
            pause,
        })
    }

    fn broker(&self, table: &Table<'_>, url: &Spanned<String>) -> Broker {
        let address = address(url.get_ref(), false).unwrap_or_else(|why| {
            table.error("url", url, format!(": {why}"));
            Address::stand_in(url.get_ref())
        });
        let keys = Keys {
            protocol: self.protocol,
            username: self.username.as_ref(),
            password_file: self.password_file.as_ref(),
            tls: TlsKeys {
                url,
                ca_file: self.ca_file.as_ref(),
                cert_file: self.cert_file.as_ref(),
                key_file: self.key_file.as_ref(),
            },
            packet_bytes_max: None,
            in_flight: None,
            envelope: None,
            keep_alive: None,
            keep_alive_default: KEEP_ALIVE,
            timeout: None,
        };
        keys.checked(table, address)
    }

    fn via(
        &self,
        table: &Table<'_>,
        via: &Spanned<String>,
        destinations: &BTreeMap<String, Destination>,
    ) -> Option<Broker> {
        self.refuse_login(table, ": the destination of via has its own");
        let name = via.get_ref();
        match destinations
            .get(name)
            .map(|destination| &destination.endpoint)
        {
            Some(Endpoint::Mqtt(broker)) => return Some(broker.clone()),
            Some(Endpoint::Http(_)) => {
                table.error(
                    "via",
                    via,
                    format!(": {name:?} is no broker; rules are pushed over MQTT"),
                );
            }
            None => {
                let why = format!(": there is no [destinations.{name}]; name one, or write url");
                table.error("via", via, why);
            }
        }
        None
    }

    /// Refuses keys of a login that nothing would use.
    fn refuse_login(&self, table: &Table<'_>, why: &str) {
        if let Some(name) = &self.username {
            table.error("username", name, why);
        }
        let files = [
            ("password_file", &self.password_file),
            ("ca_file", &self.ca_file),
            ("cert_file", &self.cert_file),
            ("key_file", &self.key_file),
        ];
        for (key, file) in files {
            if let Some(file) = file {
                table.error(key, file, why);
            }
        }
    }

    fn groups(&self, table: &Table<'_>) -> Vec<String> {
        let mut groups = Vec::new();
        for group in &self.groups {
            let name = group.get_ref();
            if let Err(error) = Scope::group(name) {
                table.error("groups", group, format!(": {error}"));
            } else if groups.contains(name) {
                table.error("groups", group, format!(": {name} stands there twice"));
            } else if groups.len() == GROUPS_MAX {
                table.error("groups", group, format!(": at most {GROUPS_MAX}"));
                break;
            } else {
                groups.push(name.clone());
            }
        }
        groups
    }

    fn root(&self, table: &Table<'_>) -> Option<(Root, Envelope)> {
        let path = table.path(&self.root);
        let shown = path.display();
        let bytes = match read_input(&path, ROOT_BYTES_MAX as u64 + 1) {
            Ok(bytes) => bytes,
            Err(error) => {
                let why = format!(
                    ": {shown} cannot be read: {error}; copy the root.json of your fleet there, which \
                     `tidemill init --fleet` makes"
                );
                table.error("root", &self.root, why);
                return None;
            }
        };
        let envelope = Envelope::parse(bytes.trim_ascii_end(), PayloadType::Root);
        let root = envelope.and_then(|envelope| Ok((Root::first(&envelope)?, envelope)));
        root.map_err(|refusal| {
            let why = format!(
                ": {shown} is no root of trust: {}; `tidemill root verify` looks into it",
                refusal.text
            );
            table.error("root", &self.root, why);
        })
        .ok()
    }
}

/// The operator's file `fleet.toml`.
#[derive(Debug)]
pub struct FleetFile {
    /// The fleet's broker.
    pub broker: Broker,
    /// The key that signs bundles.
    pub key: PathBuf,
    /// Roots, in their order.
    pub roots: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorFile {
    broker: OperatorBroker,
    keys: OperatorKeys,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorBroker {
    url: Spanned<String>,
    protocol: Option<Protocol>,
    username: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    cert_file: Option<Spanned<PathBuf>>,
    key_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorKeys {
    bundle: PathBuf,
    roots: Vec<PathBuf>,
}

impl FleetFile {
    /// Reads and checks the operator's file.
    ///
    /// # Errors
    /// Everything that is wrong with it, with its line.
    pub fn read(path: &Path) -> Result<Self, FileErrors> {
        let source = Source::read(path)?;
        let errors = Errors::default();
        let read = shape::read(&source, &errors);
        let file: Option<OperatorFile> = shape::shaped(&source, read, OPERATOR, &errors);
        let table = Table {
            source: &source,
            name: "broker",
            errors: &errors,
        };
        let file = file.map(|file| {
            let given = &file.broker;
            let address = address(given.url.get_ref(), false).unwrap_or_else(|why| {
                table.error("url", &given.url, format!(": {why}"));
                Address::stand_in(given.url.get_ref())
            });
            let keys = Keys {
                protocol: given.protocol,
                username: given.username.as_ref(),
                password_file: given.password_file.as_ref(),
                tls: TlsKeys {
                    url: &given.url,
                    ca_file: given.ca_file.as_ref(),
                    cert_file: given.cert_file.as_ref(),
                    key_file: given.key_file.as_ref(),
                },
                packet_bytes_max: None,
                in_flight: None,
                envelope: None,
                keep_alive: None,
                keep_alive_default: KEEP_ALIVE,
                timeout: None,
            };
            Self {
                broker: keys.checked(&table, address),
                key: beside(&source, &file.keys.bundle),
                roots: file
                    .keys
                    .roots
                    .iter()
                    .map(|root| beside(&source, root))
                    .collect(),
            }
        });
        match (errors.into_list(), file) {
            (Some(errors), _) => Err(errors),
            (None, Some(file)) => Ok(file),
            (None, None) => Err(source.error("cannot be understood").into()),
        }
    }
}
