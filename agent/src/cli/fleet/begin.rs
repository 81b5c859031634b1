//! The files of a new fleet: keys, root 1, and the operator's file.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tidemill_bundle::{Envelope, PayloadType, Root, RootKey};

use super::super::Failure;
use super::files::{line, write_new};
use super::key_file::{self, Passphrase};
use super::root::bundle_key;
use super::{issued, wrong};

/// Files of a fleet in its folder, so that none is written over.
pub(in crate::cli) const FILES: [&str; 4] =
    ["keys/root.key", "keys/ops.key", "root.json", "fleet.toml"];

/// Writes them; `broker` is where rules are pushed.
pub(in crate::cli) fn begin(
    dir: &Path,
    broker: &str,
    passphrase: &Passphrase,
) -> Result<Vec<PathBuf>, Failure> {
    let keys = dir.join("keys");
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&keys);
    made.map_err(|error| wrong(format!("{}: {error}", keys.display())))?;
    let passphrase = passphrase.for_new()?;
    let paths = FILES.map(|name| dir.join(name));
    let [root_path, ops_path, document, fleet] = &paths;
    let root_key = key_file::make(root_path, "root", passphrase.as_ref())?;
    let ops_key = key_file::make(ops_path, "ops", passphrase.as_ref())?;
    let all = |text: &str| vec![text.to_owned()];
    let rights = (&*all("#"), &*all("*:#"));
    let root = Root {
        root: 1,
        threshold: 1,
        issued: issued()?,
        expires: None,
        removed: Vec::new(),
        root_keys: vec![RootKey {
            id: root_key.public().id(),
            key: root_key.public(),
        }],
        bundle_keys: vec![bundle_key(ops_key.public(), &all("*"), &all("*"), rights)?],
    };
    let mut envelope = Envelope::new(PayloadType::Root, root.encode());
    envelope.sign(&root_key);
    write_new(document, &line(&envelope), 0o644)?;
    write_new(fleet, operator(broker).as_bytes(), 0o644)?;
    Ok(paths.to_vec())
}

fn operator(broker: &str) -> String {
    let url = toml::Value::from(broker);
    format!(
        r#"# The operator's file of a fleet: docs/fleet.md. fleet.lock beside it is written by `tidemill push`; keep both in
# version control, and the keys out of it.

[broker]                       # where rules are pushed
url = {url}
# username = "operator"
# password_file = "password"

[keys]
bundle = "keys/ops.key"        # signs what is pushed
roots = ["root.json"]          # roots of trust in their order; the last one is what gateways come to
"#
    )
}
