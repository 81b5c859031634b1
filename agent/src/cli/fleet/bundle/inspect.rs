//! A look into a file of roots and bundles.

use std::path::Path;

use serde_json::{Value, json};
use tidemill_bundle::{Bundle, Entry, Envelope, Root, read_tmb};

use crate::cli::Failure;
use crate::cli::fleet::files::{read, read_root};
use crate::cli::fleet::wrong;
use tidemill_base::console;
use tidemill_base::text::printable;

/// Tells what a file holds, and fails where a signature does not hold.
pub(super) fn inspect(file: &Path, root: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let entries =
        read_tmb(&read(file)?).map_err(|error| wrong(format!("{}: {error}", file.display())))?;
    let mut root = root.map(read_root).transpose()?.map(|(_, root)| root);
    let (mut told, mut is_good) = (Vec::new(), true);
    for entry in &entries {
        match entry {
            Entry::Root(envelope) => {
                let outcome = match &root {
                    None => Root::first(envelope),
                    Some(root) => root.next(envelope),
                };
                is_good &= outcome.is_ok();
                let why = outcome.as_ref().err().map(ToString::to_string);
                let number = outcome.as_ref().map_or(0, |root| root.root);
                told.push(json!({ "root": number, "good": outcome.is_ok(), "why": why }));
                root = outcome.ok().or(root);
            }
            Entry::Bundle(envelope) => {
                let (value, good) = describe(envelope, root.as_ref());
                is_good &= good;
                told.push(value);
            }
        }
    }
    let mut out = console::stdout();
    if as_json {
        out.json(Value::from(told))?;
    } else {
        for value in &told {
            out.text(&as_text(value))?;
        }
    }
    if !is_good {
        let text = "a signature does not hold, or not by this root";
        return Err(Failure::Failed(anyhow::anyhow!(
            "{}: {text}",
            file.display()
        )));
    }
    Ok(())
}

/// Tells of a bundle, and whether its signature holds as far as a root is there.
fn describe(envelope: &Envelope, root: Option<&Root>) -> (Value, bool) {
    let signer = |signature: &tidemill_bundle::Signature| {
        let known = root.map(|root| {
            let key = root.bundle_key(signature.keyid);
            key.is_some_and(|key| envelope.is_signed_by(&key.key))
        });
        (signature.keyid, known)
    };
    let signers: Vec<_> = envelope.signatures.iter().map(signer).collect();
    let bundle = match Bundle::parse(&envelope.payload) {
        Ok(bundle) => bundle,
        Err(refusal) => return (json!({ "bundle": null, "why": refusal.to_string() }), false),
    };
    let is_good = root.is_none() || signers.iter().any(|(_, known)| *known == Some(true));
    let signers = signers
        .iter()
        .map(|(id, known)| json!({ "key": id, "good": known }));
    let rules = bundle
        .rules
        .as_deref()
        .unwrap_or_default()
        .iter()
        .map(|rule| {
            let manifest: Option<toml::Table> = rule.manifest.parse().ok();
            let part = |path: [&str; 2]| {
                let value = manifest.as_ref()?.get(path[0])?;
                if path[1].is_empty() {
                    Some(value.clone())
                } else {
                    value.get(path[1]).cloned()
                }
            };
            let ports = part(["ports", ""]);
            let sends: Vec<String> = ports
                .as_ref()
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten()
                .map(|(_, port)| {
                    let text = |key| port.get(key).and_then(toml::Value::as_str).unwrap_or("?");
                    format!("{}:{}", text("to"), text("topic"))
                })
                .collect();
            let streams = rule.streams.iter().flat_map(|stream| stream.mqtt.clone());
            let listens = part(["on", "mqtt"]);
            let listens = listens
                .as_ref()
                .and_then(toml::Value::as_array)
                .into_iter()
                .flatten();
            let listens = listens.filter_map(|filter| Some(filter.as_str()?.to_owned()));
            let listens: std::collections::BTreeSet<String> = listens.chain(streams).collect();
            json!({
                "name": rule.name, "version": rule.version, "listen": listens, "send": sends,
                "manifest_bytes": rule.manifest.len(),
                "module_bytes": rule.module.as_ref().map(|module| module.bytes),
            })
        });
    let told = json!({
        "bundle": bundle.bundle, "scope": bundle.scope, "version": bundle.version, "needs_root": bundle.root,
        "min_agent": bundle.min_agent, "issued": bundle.issued, "expires": bundle.expires,
        "sha256": envelope.sha256(), "bytes": envelope.encode().len(),
        "signers": signers.collect::<Vec<_>>(), "rules": rules.collect::<Vec<_>>(),
    });
    (told, is_good)
}

fn as_text(value: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => printable(text).to_string(),
        Value::Null => "-".to_owned(),
        other => printable(other).to_string(),
    };
    let field = |key: &str| text(value.get(key).unwrap_or(&Value::Null));
    if value.get("root").is_some() {
        let why = field("why");
        return match value.get("good") {
            Some(Value::Bool(true)) => format!("root      {}\n", field("root")),
            _ => format!("root      refused: {why}\n"),
        };
    }
    let mut lines = format!(
        "bundle    {} version {} for {}\nsha256    {}, {} bytes\nissued    {}, expires {}, root {}, agent {}\n",
        field("bundle"),
        field("version"),
        field("scope"),
        field("sha256"),
        field("bytes"),
        field("issued"),
        field("expires"),
        field("needs_root"),
        field("min_agent"),
    );
    let list = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    for signer in list("signers") {
        let word = match signer.get("good") {
            Some(Value::Bool(true)) => "good",
            Some(Value::Bool(false)) => "NOT GOOD by this root",
            _ => "not judged; say --root FILE",
        };
        lines += &format!(
            "signed by {} ({word})\n",
            text(signer.get("key").unwrap_or(&Value::Null))
        );
    }
    for rule in list("rules") {
        let field = |key: &str| rule.get(key).cloned().unwrap_or(Value::Null);
        let joined = |key: &str| {
            let list = field(key);
            let list = list.as_array().into_iter().flatten().map(text);
            list.collect::<Vec<_>>().join(" ")
        };
        lines += &format!(
            "rule      {} version {}  listens to {}  sends to {}  module {} bytes\n",
            text(&field("name")),
            text(&field("version")),
            joined("listen"),
            joined("send"),
            text(&field("module_bytes")),
        );
    }
    lines
}
