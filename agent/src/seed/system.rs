//! The table `[system]`, which only the image of Tidemill has: name, clock, logins, network, and the broker for
//! devices on it. Nothing in it has a password unless its owner gives one.

mod form;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use form::{is_host, is_host_label, is_network, is_ssh_key};

use crate::event::zone::Zone;
use tidemill_base::secret::Secret;
use tidemill_base::text::shape::{self, Key, Takes};
use tidemill_base::text::{Errors, Source};

/// Port of the broker of an image for its own agent.
const LOCAL_PORT: u16 = 1_883;

/// The same where devices have the other one.
const LOCAL_PORT_BESIDE: u16 = 1_884;

/// The file around the table, for the check of its keys.
pub(super) const FILE: &[Key] = &[Key::new("system", Takes::Table(SYSTEM), "")];

const SYSTEM: &[Key] = &[
    Key::new("hostname", Takes::Text, "\"plant-7\""),
    Key::new("timezone", Takes::Text, "\"Europe/Berlin\""),
    Key::new("time_servers", Takes::Texts, "[\"ntp.plant.example\"]"),
    Key::new("ssh_keys", Takes::Texts, "[\"ssh-ed25519 AAAA… ops\"]"),
    Key::new("network", Takes::Table(NETWORK), ""),
    Key::new("wifi", Takes::Table(WIFI), ""),
    Key::new("sensors", Takes::Table(SENSORS), ""),
];

const NETWORK: &[Key] = &[
    Key::required("address", Takes::Text, "\"192.168.1.50/24\""),
    Key::new("router", Takes::Text, "\"192.168.1.1\""),
    Key::new("dns", Takes::Texts, "[\"192.168.1.1\"]"),
];

const WIFI: &[Key] = &[
    Key::required("country", Takes::Text, "\"DE\""),
    Key::required("ssid", Takes::Text, "\"plant\""),
    Key::new("password", Takes::Text, "\"…\""),
];

const SENSORS: &[Key] = &[
    Key::required("port", Takes::Number, "1883"),
    Key::required("users", Takes::Named(&Takes::Text), "{ sensor = \"…\" }"),
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    system: SystemTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemTable {
    hostname: Option<Spanned<String>>,
    timezone: Option<Spanned<String>>,
    #[serde(default)]
    time_servers: Vec<Spanned<String>>,
    #[serde(default)]
    ssh_keys: Vec<Spanned<String>>,
    network: Option<NetworkTable>,
    wifi: Option<WifiTable>,
    sensors: Option<SensorsTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkTable {
    address: Spanned<String>,
    router: Option<Spanned<String>>,
    #[serde(default)]
    dns: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WifiTable {
    country: Spanned<String>,
    ssid: Spanned<String>,
    password: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SensorsTable {
    port: Spanned<u64>,
    users: Spanned<BTreeMap<String, Spanned<String>>>,
}

/// Settings of the system.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    /// Name of the machine.
    pub(super) hostname: Option<String>,
    /// Time zone, by its name.
    pub(super) timezone: Option<String>,
    /// Time servers; those of the system where there are none.
    pub(super) time_servers: Vec<String>,
    /// Keys for the user `gateway`.
    pub(super) ssh_keys: Vec<String>,
    /// The wired network; by DHCP where it is `None`.
    pub(super) network: Option<Network>,
    /// The wireless one.
    pub(super) wifi: Option<Wifi>,
    /// The broker for devices.
    pub(super) sensors: Option<Sensors>,
}

/// A wired network without DHCP.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// Address with the length of its prefix.
    pub(super) address: String,
    /// Way to other networks.
    pub(super) router: Option<String>,
    /// Name servers.
    pub(super) dns: Vec<String>,
}

/// A wireless network.
#[derive(Debug, Clone)]
pub(super) struct Wifi {
    /// The country whose rules hold, by two letters.
    pub(super) country: String,
    /// Its name.
    pub(super) ssid: String,
    /// Its password; none for a network that is open.
    pub(super) password: Option<Secret>,
}

/// The broker for devices on the network.
#[derive(Debug, Clone)]
pub(super) struct Sensors {
    /// The port that it listens on.
    pub(super) port: u16,
    /// Passwords by users.
    pub(super) users: BTreeMap<String, Secret>,
}

impl System {
    /// Checks the table. Where a secret stood the name of its file does, and `known` has the secret.
    pub(super) fn read(
        source: &Source,
        table: Spanned<DeValue<'_>>,
        known: &BTreeMap<String, Secret>,
        errors: &Errors,
    ) -> Self {
        let span = table.span();
        let mut root = DeTable::new();
        root.insert(Spanned::new(span.clone(), "system".into()), table);
        let own = Errors::default();
        let file: Option<File> = shape::shaped(source, Spanned::new(span, root), FILE, &own);
        errors.extend(own.into_list().into_iter().flatten());
        let Some(file) = file else {
            return Self::default();
        };
        Check {
            source,
            errors,
            known,
        }
        .system(file.system)
    }

    /// Port at which the agent reaches the broker of its machine.
    pub(super) fn local_port(&self) -> u16 {
        match self.sensors_port() {
            Some(LOCAL_PORT) => LOCAL_PORT_BESIDE,
            Some(_) | None => LOCAL_PORT,
        }
    }

    /// Port at which devices reach it.
    pub(super) fn sensors_port(&self) -> Option<u16> {
        self.sensors.as_ref().map(|sensors| sensors.port)
    }

    /// The settings, a line each.
    pub(super) fn parts(&self) -> Vec<String> {
        let wired = self.network.as_ref();
        let all = [
            self.hostname
                .as_ref()
                .map(|name| format!("host name {name}")),
            self.timezone
                .as_ref()
                .map(|name| format!("time zone {name}")),
            (!self.time_servers.is_empty())
                .then(|| format!("time servers {}", self.time_servers.join(", "))),
            (!self.ssh_keys.is_empty()).then(|| format!("{} SSH keys", self.ssh_keys.len())),
            wired.map(|network| format!("wired address {}", network.address)),
            self.wifi
                .as_ref()
                .map(|wifi| format!("Wi-Fi {}", wifi.ssid)),
            self.sensors.as_ref().map(|sensors| {
                format!(
                    "broker for {} users at port {}",
                    sensors.users.len(),
                    sensors.port
                )
            }),
        ];
        all.into_iter().flatten().collect()
    }
}

struct Check<'a> {
    source: &'a Source,
    errors: &'a Errors,
    known: &'a BTreeMap<String, Secret>,
}

impl Check<'_> {
    fn wrong<T>(&self, key: &str, value: &Spanned<T>, why: &str) {
        let message = format!("system.{key}: {why}");
        self.errors
            .push(self.source.error_at(&value.span(), message));
    }

    /// The value, after an error where it is not good.
    fn text(
        &self,
        key: &str,
        value: &Spanned<String>,
        is_good: impl Fn(&str) -> bool,
        why: &str,
    ) -> String {
        if !is_good(value.get_ref()) {
            self.wrong(key, value, why);
        }
        value.get_ref().clone()
    }

    fn system(&self, table: SystemTable) -> System {
        let hostname = table.hostname.map(|name| {
            let why = "a host name has 1 to 63 letters, digits or -, none of them at an end; write \"plant-7\"";
            self.text("hostname", &name, is_host_label, why)
        });
        let timezone = table.timezone.map(|name| {
            let why = "there is no such time zone; write one as \"Europe/Berlin\"";
            self.text("timezone", &name, |name| Zone::named(name).is_some(), why)
        });
        let servers = table.time_servers.iter().map(|name| {
            let why = "a time server is a name or an address without blanks";
            self.text("time_servers", name, is_host, why)
        });
        let keys = table.ssh_keys.iter().map(|key| {
            let why = "this is no public key of SSH; copy the one line of a file that ends in .pub";
            self.text("ssh_keys", key, is_ssh_key, why)
        });
        System {
            hostname,
            timezone,
            time_servers: servers.collect(),
            ssh_keys: keys.collect(),
            network: table.network.map(|network| self.network(network)),
            wifi: table.wifi.map(|wifi| self.wifi(wifi)),
            sensors: table.sensors.map(|sensors| self.sensors(sensors)),
        }
    }

    fn network(&self, table: NetworkTable) -> Network {
        let is_ip = |text: &str| text.parse::<IpAddr>().is_ok();
        let why = "this is no address; write \"192.168.1.1\"";
        let servers = table.dns.iter();
        Network {
            address: self.text(
                "network.address",
                &table.address,
                is_network,
                "this is no address with the length of its prefix; write \"192.168.1.50/24\"",
            ),
            router: table
                .router
                .map(|router| self.text("network.router", &router, is_ip, why)),
            dns: servers
                .map(|server| self.text("network.dns", server, is_ip, why))
                .collect(),
        }
    }

    fn wifi(&self, table: WifiTable) -> Wifi {
        let is_country =
            |text: &str| text.len() == 2 && text.chars().all(|c| c.is_ascii_uppercase());
        let is_ssid =
            |text: &str| (1..=32).contains(&text.len()) && !text.contains(char::is_control);
        let password = table.password.as_ref().and_then(|file| {
            let secret = self.known.get(file.get_ref())?;
            let length = secret.expose().len();
            let is_text = secret
                .expose()
                .chars()
                .all(|c| c.is_ascii_graphic() || c == ' ');
            if !(8..=63).contains(&length) || !is_text {
                let why = "a password of Wi-Fi has 8 to 63 letters, digits and signs of ASCII";
                // The one that is kept on another machine is not known here.
                if secret.expose() != super::TAKEN_OVER {
                    self.wrong("wifi.password", file, why);
                }
            }
            Some(secret.clone())
        });
        Wifi {
            country: self.text(
                "wifi.country",
                &table.country,
                is_country,
                "a country has two capital letters; write \"DE\"",
            ),
            ssid: self.text(
                "wifi.ssid",
                &table.ssid,
                is_ssid,
                "a network's name has 1 to 32 bytes",
            ),
            password,
        }
    }

    fn sensors(&self, table: SensorsTable) -> Sensors {
        let port = u16::try_from(*table.port.get_ref()).unwrap_or(0);
        if port == 0 {
            self.wrong(
                "sensors.port",
                &table.port,
                "a port lies between 1 and 65535; write 1883",
            );
        }
        if table.users.get_ref().is_empty() {
            let why = "nobody could connect; write users = { sensor = \"a password\" }";
            self.wrong("sensors.users", &table.users, why);
        }
        let mut users = BTreeMap::new();
        for (name, file) in table.users.get_ref() {
            let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > 64 || !name.chars().all(is_good) {
                let why = "a user has 1 to 64 letters, digits, - _ or .";
                self.wrong("sensors.users", file, why);
            }
            if let Some(secret) = self.known.get(file.get_ref()) {
                if secret.expose().contains(char::is_control) {
                    self.wrong(
                        "sensors.users",
                        file,
                        "a password is one line of visible characters",
                    );
                }
                users.insert(name.clone(), secret.clone());
            }
        }
        Sensors { port, users }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_is_that_of_the_parser() {
        assert_eq!(shape::unlike_parser::<File>(FILE), Vec::<String>::new());
    }
}
