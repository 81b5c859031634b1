//! From a seed to the files of a gateway. Secrets and files beside the seed are put into a tree, the keys that
//! name them are changed in the table as it was read, and the rest is checked as any configuration: what is
//! wrong has its place in the seed.

mod beside;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use beside::name_of;

use super::find::Found;
use super::secrets::{self, Hidden};
use super::system::System;
use super::tree::{FILES, RULES, SECRETS, Tree};
use crate::config::Config;
use crate::install;
use tidemill_base::secret::Secret;
use tidemill_base::text::shape::Read;
use tidemill_base::text::{Errors, FileError, Source};

/// The seed's name in the tree, for errors that are found there.
const SEED_IN_TREE: &str = "seed.toml";

/// Name of the configuration in the tree.
pub(super) const AGENT: &str = "agent.toml";

/// Facts about the gateway that a seed is for.
#[derive(Debug)]
pub(super) struct Kept {
    /// Folder of its configuration; `None` on another machine, where whatever was taken over is believed.
    pub(super) etc: Option<PathBuf>,
    /// `true` if it runs the image of Tidemill.
    pub(super) is_image: bool,
    /// Its name, where the seed says none.
    pub(super) id: String,
    /// The data directory, if its owner chose another one.
    pub(super) data_dir: Option<String>,
}

impl Kept {
    /// The facts about a gateway that is elsewhere.
    pub(super) fn unknown() -> Self {
        Self {
            etc: None,
            is_image: true,
            id: "gateway-1".to_owned(),
            data_dir: None,
        }
    }
}

/// A seed that is good, and its files in the tree.
#[derive(Debug)]
pub(super) struct Taken {
    /// Its parts, a line each.
    pub(super) parts: Vec<String>,
    /// Warnings: settings that work and should be others.
    pub(super) warnings: Vec<FileError>,
    /// Files of the tree that go to the gateway, the configuration last.
    pub(super) names: Vec<String>,
    /// The system's settings.
    pub(super) system: System,
    /// The seed without its secrets.
    pub(super) blank: String,
    /// Files on the boot partition with a secret in them.
    pub(super) secret_files: Vec<PathBuf>,
}

/// Reads a seed into a tree.
///
/// # Errors
/// Everything that is wrong with it, in words without any secret.
pub(super) fn take(
    found: &Found,
    boot: &Path,
    tree: &Tree,
    kept: &Kept,
) -> Result<Taken, Vec<FileError>> {
    let mut taking = Taking {
        boot,
        tree,
        kept,
        hidden: Hidden::of_text(&found.source.text),
        secrets: Vec::new(),
        known: BTreeMap::new(),
        names: Vec::new(),
        parts: Vec::new(),
        secret_files: Vec::new(),
        source: Source {
            path: tree.path(SEED_IN_TREE),
            text: found.source.text.clone(),
        },
    };
    let source = taking.source.clone();
    let (mut system, mut text) = (System::default(), None);
    let (config, wrong) = Config::of_edited(&source, |read, errors| {
        system = taking.edit(read, errors);
        text = rendered(read);
    });
    let mut errors: Vec<FileError> = wrong.into_iter().flatten().collect();
    let of_seed = taking.rules().unwrap_or_else(|error| {
        errors.push(error);
        BTreeSet::new()
    });
    let mut warnings = Vec::new();
    if let Some(config) = config {
        let (rules, wrong) = install::survey(&config);
        errors.extend(wrong);
        taking
            .parts
            .insert(0, format!("gateway {}", config.gateway_id));
        taking.parts.push(format!("{} rules in all", rules.len()));
        warnings = config.warnings;
    }
    let text = text.ok_or_else(|| std::io::Error::other("it cannot be written as TOML"));
    let put = text.and_then(|text| tree.put(AGENT, text.as_bytes()));
    if let Err(error) = put {
        errors.push(
            taking
                .source
                .error(format!("cannot be taken over: {error}")),
        );
    }
    taking.names.push(AGENT.to_owned());
    let named = |error: FileError| taking.named(error, &found.path, &of_seed);
    if !errors.is_empty() {
        return Err(errors.into_iter().map(named).collect());
    }
    Ok(Taken {
        warnings: warnings.into_iter().map(named).collect(),
        blank: secrets::blanked(&found.source.text, &taking.secrets, &taking.hidden),
        parts: taking.parts,
        names: taking.names,
        secret_files: taking.secret_files,
        system,
    })
}

/// The table as the text of a configuration.
fn rendered(read: &Read<'_>) -> Option<String> {
    let table = toml::Table::deserialize(toml::Deserializer::from(read.clone()));
    let text = toml::to_string(&table.ok()?).ok()?;
    Some(format!(
        "# Written by `tidemill seed apply` from the seed on the boot partition, which replaces it when there is\n\
         # another one. It may be edited here as well.\n\n{text}"
    ))
}

struct Taking<'a> {
    boot: &'a Path,
    tree: &'a Tree,
    kept: &'a Kept,
    source: Source,
    hidden: Hidden,
    /// Places of secrets in the text.
    secrets: Vec<Range<usize>>,
    /// Secrets of the system, by the names of their files.
    known: BTreeMap<String, Secret>,
    names: Vec<String>,
    parts: Vec<String>,
    secret_files: Vec<PathBuf>,
}

impl Taking<'_> {
    /// Makes a configuration of the seed's table, and returns the system's settings.
    fn edit(&mut self, read: &mut Read<'_>, errors: &Errors) -> System {
        let table = read.get_mut();
        if table.is_empty() && errors.is_empty() {
            let message = "says nothing; `tidemill seed new --boot DIR` writes a seed to start with, and without \
                           any seed a gateway has its defaults";
            errors.push(self.source.error(message));
        }
        let system = self.system(table, errors);
        let gateway = inner(table, "gateway");
        if let Some(gateway) = gateway {
            for key in ["data_dir", "rules_dir"] {
                if let Some(value) = gateway.get(key) {
                    let why = format!("gateway.{key} is no matter of a seed; leave it out");
                    errors.push(self.source.error_at(&value.span(), why));
                    gateway.remove(key);
                }
            }
            default(gateway, "id", &self.kept.id);
            default(gateway, "start", "held");
            default(gateway, "rules_dir", RULES);
            if let Some(data_dir) = &self.kept.data_dir {
                default(gateway, "data_dir", data_dir);
            }
        }
        if let Some(broker) = inner(table, "broker") {
            self.local_broker(broker, &system, errors);
            self.connection("broker", broker, errors);
        }
        if let Some(DeValue::Table(all)) = table.get_mut("destinations").map(Spanned::get_mut) {
            let names: Vec<String> = all.keys().map(|name| name.get_ref().to_string()).collect();
            for name in names {
                if let Some(DeValue::Table(one)) = all.get_mut(&*name).map(Spanned::get_mut) {
                    self.parts.push(format!("destination {name}"));
                    self.connection(&format!("destinations.{name}"), one, errors);
                }
            }
        }
        system
    }

    /// Sees to it that the agent finds the broker of its own machine.
    fn local_broker(&self, broker: &mut DeTable<'_>, system: &System, errors: &Errors) {
        if let Some(port) = system.sensors_port()
            && let Some(url) = broker.get("url")
            && url.get_ref().as_str() == Some(&format!("mqtt://127.0.0.1:{port}"))
            && !broker.contains_key("username")
        {
            let why = format!(
                "broker.url: at port {port} the broker asks everybody for a password; leave url out, and the agent \
                 uses a port that only this machine reaches"
            );
            errors.push(self.source.error_at(&url.span(), why));
        }
        let url = format!("mqtt://127.0.0.1:{}", system.local_port());
        default(broker, "url", &url);
    }

    fn system(&mut self, table: &mut DeTable<'_>, errors: &Errors) -> System {
        let Some(mut system) = table.remove("system") else {
            return System::default();
        };
        if !self.kept.is_image {
            let message = "[system] is for the image of Tidemill alone; leave it out here, and set these things with \
                           the tools of the system";
            errors.push(self.source.error_at(&system.span(), message));
            return System::default();
        }
        if let DeValue::Table(table) = system.get_mut() {
            if let Some(DeValue::Table(wifi)) = table.get_mut("wifi").map(Spanned::get_mut) {
                self.hold("system.wifi", "password", wifi, errors);
            }
            if let Some(DeValue::Table(sensors)) = table.get_mut("sensors").map(Spanned::get_mut)
                && let Some(DeValue::Table(users)) = sensors.get_mut("users").map(Spanned::get_mut)
            {
                let names: Vec<String> = users
                    .keys()
                    .map(|name| name.get_ref().to_string())
                    .collect();
                for name in names {
                    self.hold("system.sensors.users", &name, users, errors);
                }
            }
        }
        let system = System::read(&self.source, system, &self.known, errors);
        self.parts.extend(system.parts());
        system
    }

    /// Takes a secret of the system out of its table; the name of its file stands for it there.
    fn hold(&mut self, path: &str, key: &str, table: &mut DeTable<'_>, errors: &Errors) {
        if let Some((name, secret)) = self.secret(path, key, table, errors) {
            self.known.insert(name, secret);
        }
    }

    /// The keys of one connection: its secrets, and the files beside the seed.
    fn connection(&mut self, path: &str, table: &mut DeTable<'_>, errors: &Errors) {
        for key in ["password", "token"] {
            let file = format!("{key}_file");
            if let (Some(value), true) = (table.get(key), table.contains_key(&*file)) {
                let why = format!(
                    "{path}.{key} stands beside {file}, and one of them is enough; leave the other out"
                );
                errors.push(self.source.error_at(&value.span(), why));
                table.remove(key);
            } else if self.secret(path, key, table, errors).is_some()
                && let Some(value) = table.remove(key)
            {
                table.insert(Spanned::new(value.span(), file.into()), value);
            } else {
                // It is wrong, which was said.
                table.remove(key);
            }
        }
        for (key, is_secret) in [
            ("ca_file", false),
            ("cert_file", false),
            ("key_file", true),
            ("password_file", true),
            ("token_file", true),
        ] {
            let value = table.get_mut(key);
            let Some(value) = value.filter(|value| !is_ours(value.get_ref())) else {
                continue;
            };
            let taken = self.file(value.get_ref(), is_secret);
            match taken {
                Ok(name) => *value.get_mut() = DeValue::String(name.into()),
                Err(why) => {
                    let why = format!("{path}.{key}: {why}");
                    errors.push(self.source.error_at(&value.span(), why));
                    table.remove(key);
                }
            }
        }
    }

    /// The same error with the place that its file has for people, and without any secret.
    fn named(&self, error: FileError, seed: &Path, of_seed: &BTreeSet<String>) -> FileError {
        let error = self.hidden.hide_in(error);
        let place = |path: &Path| {
            if path == self.source.path {
                return seed.to_owned();
            }
            let root = self.tree.path("");
            let Ok(inside) = path.strip_prefix(&root) else {
                return path.to_owned();
            };
            let name = name_of(inside);
            match (inside.starts_with(RULES), &self.kept.etc) {
                (true, Some(etc)) if !of_seed.contains(&name) => etc.join(RULES).join(name),
                (true, _) => self.boot.join(super::RULES).join(name),
                (false, _) => self.boot.join(name),
            }
        };
        let root = self.tree.path("").display().to_string();
        let mut message = error.message.clone();
        for folder in [RULES, SECRETS, FILES, ""] {
            let prefix = format!("{root}{folder}");
            let prefix = prefix.trim_end_matches('/');
            message = message.replace(&format!("{prefix}/"), "");
        }
        FileError {
            path: place(&error.path),
            message,
            ..error
        }
    }
}

/// The table below a key, which is made if it is not there; `None` where the key has another value.
fn inner<'a, 't>(table: &'t mut DeTable<'a>, key: &'static str) -> Option<&'t mut DeTable<'a>> {
    if !table.contains_key(key) {
        let empty = DeValue::Table(DeTable::new());
        table.insert(Spanned::new(0..0, key.into()), Spanned::new(0..0, empty));
    }
    match table.get_mut(key)?.get_mut() {
        DeValue::Table(inner) => Some(inner),
        _ => None,
    }
}

/// Gives a key that is not there a value.
fn default(table: &mut DeTable<'_>, key: &'static str, value: &str) {
    if !table.contains_key(key) {
        let value = DeValue::String(value.to_owned().into());
        table.insert(Spanned::new(0..0, key.into()), Spanned::new(0..0, value));
    }
}

/// `true` if a value is the name of a file that stands for a secret of the seed.
fn is_ours(value: &DeValue<'_>) -> bool {
    let ours = format!("{SECRETS}/");
    value.as_str().is_some_and(|text| text.starts_with(&ours))
}
