//! A seed to start with.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::SEED;
use super::find::names;

/// Why no seed was written.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// One lies there already.
    #[error("{} is there already; edit it, or remove it first", .0.display())]
    There(PathBuf),
    /// The folder cannot be read or written.
    #[error("{}: {error}; name the boot partition of the card, which has a file config.txt", path.display())]
    Refused {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// Writes a commented seed to a boot partition; returns its path.
///
/// # Errors
/// When there is one, or it cannot be written.
pub fn write_new(boot: &Path, gateway: Option<&str>) -> Result<PathBuf, TemplateError> {
    let refused = |path: &Path, error| TemplateError::Refused {
        path: path.to_owned(),
        error,
    };
    if let Some(there) = names(boot).map_err(|error| refused(boot, error))?.first() {
        return Err(TemplateError::There(there.clone()));
    }
    let path = boot.join(SEED);
    let written = std::fs::File::create_new(&path).and_then(|mut file| {
        file.write_all(text(gateway).as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| refused(&path, error))?;
    Ok(path)
}

fn text(gateway: Option<&str>) -> String {
    let id = match gateway {
        Some(id) => format!("id = {id:?}"),
        None => "# id = \"plant-7\"              # without it: gw- and eight digits of its own"
            .to_owned(),
    };
    format!(
        r#"# A seed for Tidemill: what this gateway should be. It is read when the gateway starts, and becomes
# tidemill.taken.toml without its secrets; tidemill-report.txt beside it says what became of it.
# Rules (*.toml, *.sql, *.wasm) go into the folder tidemill-rules beside this file.
# A line that begins with # counts for nothing: take the # away to use it. Every key: docs/configuration.md

[gateway]
{id}

[broker]                         # where sensors publish; without it the broker of the gateway itself
# url = "mqtt://127.0.0.1:1883"

# [destinations.cloud]           # where results go
# url = "mqtts://broker.example:8883"
# username = "plant-7"
# password = ""                  # for https:// a token = "" instead
# ca_file = "cloud-ca.pem"       # a file beside this one

# [system]                       # for the image of Tidemill alone
# hostname = "plant-7"
# timezone = "Europe/Berlin"
# time_servers = ["ntp.plant.example"]
# ssh_keys = ["ssh-ed25519 AAAA… you"]       # for the user gateway; without it nobody logs in
# network = {{ address = "192.168.1.50/24", router = "192.168.1.1", dns = ["192.168.1.1"] }}
# wifi = {{ country = "DE", ssid = "plant", password = "" }}
# sensors = {{ port = 1883, users = {{ sensor = "" }} }}   # the broker for devices on the network
"#
    )
}
