//! A temporary folder for an agent: the demo's rules, a configuration, a place for state. It is
//! removed when it goes out of scope.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::Config;
use tidemill_base::text::{FileErrors, Source};

/// The rules that the demo runs, as they would lie in a gateway's rules folder.
const RULES: [(&str, &str); 3] = [
    ("average.toml", include_str!("rules/average.toml")),
    ("humidity.toml", include_str!("rules/humidity.toml")),
    ("overheat.toml", include_str!("rules/overheat.toml")),
];

/// The folder, until it is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it, readable by its owner only, with the rules in it.
    pub(super) fn make() -> io::Result<Self> {
        let folder = Self(new_directory()?);
        let rules = folder.0.join("rules");
        std::fs::create_dir(&rules)?;
        for (name, text) in RULES {
            std::fs::write(rules.join(name), text)?;
        }
        Ok(folder)
    }

    /// Path of the folder.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration of an agent between two brokers on this machine.
    pub(super) fn config(
        &self,
        (local, upstream): (u16, u16),
        root: Option<&Path>,
    ) -> Result<Config, FileErrors> {
        let fleet = root.map_or(String::new(), |root| {
            let root = toml::Value::from(root.display().to_string());
            format!(
                "[fleet]\nurl = \"mqtt://127.0.0.1:{local}\"\nprotocol = \"3.1.1\"\nroot = {root}\n\
                 probation = \"5s\"\npause = \"0s\"\n"
            )
        });
        let text = format!(
            r#"[gateway]
id = "demo"
data_dir = "data"
rules_dir = "rules"

[broker]
url = "mqtt://127.0.0.1:{local}"
protocol = "3.1.1"

[destinations.cloud]
url = "mqtt://127.0.0.1:{upstream}"
protocol = "3.1.1"
{fleet}"#
        );
        let path = self.0.join("agent.toml");
        // The environment's overrides are meant for the gateway, not for this one.
        Config::parse(&Source { path, text }, [])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Files that cannot be removed lie in a folder that the system clears by itself.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The first name that is free, so that several demos can run at once.
fn new_directory() -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let process = std::process::id();
    let mut number = 0;
    loop {
        let path = std::env::temp_dir().join(format!("tidemill-demo-{process}-{number}"));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => {
                number += 1;
            }
            made => return made.map(|()| path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::install_all;

    #[test]
    fn the_rules_install_and_the_folder_goes_with_its_owner() {
        let folder = Folder::make().unwrap();
        let config = folder.config((1, 2), None).unwrap();
        let names: Vec<_> = install_all(&config)
            .unwrap()
            .iter()
            .map(|bound| bound.rule().name.to_string())
            .collect();
        assert_eq!(names, ["average", "humidity", "overheat"]);
        let path = folder.path().to_owned();
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }
}
