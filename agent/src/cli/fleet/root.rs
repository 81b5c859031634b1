//! `tidemill root`: the document that says whose signature counts for what.

use std::path::{Path, PathBuf};

use serde_json::json;
use tidemill_bundle::{
    BundleKey, Envelope, KeyId, Pattern, PayloadType, PublicKey, Root, RootKey, Topics,
};

use super::super::Failure;
use super::client::Client;
use super::files::{line, read_root, replace, write_new};
use super::key_file::{self, KeyOption};
use super::place::{FleetOption, Place};
use super::{after, issued, wrong};
use tidemill_base::console;
use tidemill_base::text::duration_ms;
use tidemill_transport::topic::TopicFilter;

pub(in crate::cli) const HELP: &str = "Root 1 goes to each gateway by hand, as fleet.root of agent.toml; later ones reach it over MQTT. Root n + 1 \
is signed by as many keys of root n as its threshold says, and by as many of its own. A key that is removed \
never comes back.

Examples:
  tidemill root edit --add-root-key root.key --add-bundle-key ops.key --out root.json
  tidemill root sign root.json --key root.key
  tidemill root verify root.json
  tidemill root edit --from root.json --remove 5e88… --add-bundle-key new.key --out root-2.json
  tidemill root verify root-2.json --after root.json
  tidemill root publish root-2.json           then name it last under roots in fleet.toml

Exit codes: 0 done, 1 a signature is missing or does not hold, or a wrong passphrase, 2 wrong use or no root";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write the first root, or the one that comes after another, without signatures
    Edit(Box<Edit>),
    /// Add the signature of a key to a root
    Sign {
        /// The root's file
        file: PathBuf,
        #[command(flatten)]
        key: KeyOption,
    },
    /// Publish a root, by whose number gateways find it; it is kept there for ever
    Publish {
        /// The root's file
        file: PathBuf,
        #[command(flatten)]
        fleet: FleetOption,
    },
    /// Say who has signed a root, and whether that is enough
    Verify {
        /// The root's file
        file: PathBuf,
        /// The root before it
        #[arg(long, value_name = "FILE")]
        after: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Edit {
    /// The root before it; none for the first
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Signatures that the next root needs
    #[arg(long, value_name = "N")]
    threshold: Option<u64>,
    /// A key that signs roots: its file, or its public half
    #[arg(long, value_name = "KEY")]
    add_root_key: Vec<String>,
    /// A key that signs bundles: its file, or its public half
    #[arg(long, value_name = "KEY")]
    add_bundle_key: Vec<String>,
    /// Scopes that the added bundle keys may sign for, such as group:plant-*
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    scope: Vec<String>,
    /// Bundles that they may sign
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    bundle: Vec<String>,
    /// Topic filters that their rules may listen to
    #[arg(long, value_name = "FILTER", default_value = "#")]
    listen: Vec<String>,
    /// Places that their rules may send to, as DESTINATION:FILTER; * stands for every destination
    #[arg(long, value_name = "DESTINATION:FILTER", default_value = "*:#")]
    send: Vec<String>,
    /// Id of a key to remove, for good
    #[arg(long, value_name = "ID")]
    remove: Vec<String>,
    /// Time for which new bundles are accepted by it, such as 365d [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    expires: Option<u64>,
}

pub(in crate::cli) fn run(options: &Options) -> Result<(), Failure> {
    match &options.what {
        What::Edit(edit) => edit.run(),
        What::Sign { file, key } => sign(file, key),
        What::Publish { file, fleet } => publish(file, fleet),
        What::Verify { file, after, json } => verify(file, after.as_deref(), *json),
    }
}

impl Edit {
    fn run(&self) -> Result<(), Failure> {
        let mut root = match &self.from {
            Some(from) => {
                let (_, mut root) = read_root(from)?;
                root.root += 1;
                root
            }
            None => Root {
                root: 1,
                threshold: 1,
                issued: issued()?,
                expires: None,
                removed: Vec::new(),
                root_keys: Vec::new(),
                bundle_keys: Vec::new(),
            },
        };
        root.issued = issued()?;
        root.expires = self.expires.map(|ms| after(root.issued, ms)).transpose()?;
        for id in &self.remove {
            remove(&mut root, id)?;
        }
        for key in &self.add_root_key {
            let key = public(key)?;
            root.root_keys.push(RootKey { id: key.id(), key });
        }
        for key in &self.add_bundle_key {
            root.bundle_keys.push(self.bundle_key(public(key)?)?);
        }
        root.threshold = self.threshold.unwrap_or(root.threshold);
        root.check().map_err(|refusal| wrong(refusal.text))?;
        let draft = Envelope::new(PayloadType::Root, root.encode());
        write_new(&self.out, &line(&draft), 0o644)?;
        let mut out = console::stdout();
        writeln!(out, "wrote root {} to {}", root.root, self.out.display())?;
        let file = super::super::rule_new::quoted(&self.out);
        Ok(writeln!(
            out,
            "sign it: tidemill root sign {file} --key FILE"
        )?)
    }

    fn bundle_key(&self, key: PublicKey) -> Result<BundleKey, Failure> {
        bundle_key(key, &self.scope, &self.bundle, (&self.listen, &self.send))
    }
}

/// An entry of a bundle key, with its rights checked.
pub(super) fn bundle_key(
    key: PublicKey,
    scopes: &[String],
    bundles: &[String],
    (listen, send): (&[String], &[String]),
) -> Result<BundleKey, Failure> {
    let patterns = |texts: &[String]| -> Result<Vec<Pattern>, Failure> {
        let parsed = texts.iter().map(|text| Pattern::parse(text));
        parsed
            .map(|it| it.map_err(|error| wrong(error.to_string())))
            .collect()
    };
    for filter in listen {
        TopicFilter::new(filter).map_err(|error| wrong(format!("--listen: {error}")))?;
    }
    for place in send {
        let filter = place.split_once(':').map(|(_, filter)| filter);
        let filter = filter.ok_or_else(|| {
            wrong(format!(
                "--send: {place:?} names no destination; write local:out/# or *:#"
            ))
        })?;
        TopicFilter::new(filter).map_err(|error| wrong(format!("--send: {error}")))?;
    }
    Ok(BundleKey {
        id: key.id(),
        key,
        scopes: patterns(scopes)?,
        bundles: patterns(bundles)?,
        listen: listen.to_vec(),
        send: send.to_vec(),
    })
}

fn remove(root: &mut Root, id: &str) -> Result<(), Failure> {
    let known = KeyId::parse(id);
    let Some(id) = known else {
        return Err(wrong(format!(
            "{id:?} is no id of a key: it has 32 digits 0-9 and a-f"
        )));
    };
    let before = root.root_keys.len() + root.bundle_keys.len();
    root.root_keys.retain(|key| key.id != id);
    root.bundle_keys.retain(|key| key.id != id);
    if root.root_keys.len() + root.bundle_keys.len() == before {
        return Err(wrong(format!(
            "the root has no key {id}; `tidemill root verify` lists them"
        )));
    }
    root.removed.push(id);
    Ok(())
}

/// A public key, given by itself or by the file of its other half.
fn public(given: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = PublicKey::parse(given) {
        return Ok(key);
    }
    key_file::public(Path::new(given)).map(|(_, key, _)| key)
}

fn sign(file: &Path, key: &KeyOption) -> Result<(), Failure> {
    let (mut envelope, root) = read_root(file)?;
    let key = key.read(None)?;
    let id = key.public().id();
    envelope.sign(&key);
    replace(file, &line(&envelope))?;
    let mut out = console::stdout();
    let is_own = root.root_keys.iter().any(|key| key.id == id);
    let note = if is_own {
        ""
    } else {
        " (which this root does not name)"
    };
    Ok(writeln!(out, "root {} is signed by {id}{note}", root.root)?)
}

fn publish(file: &Path, fleet: &FleetOption) -> Result<(), Failure> {
    let place = Place::read(fleet)?;
    let (envelope, root) = read_root(file)?;
    let before = place
        .roots
        .iter()
        .find(|(_, before)| before.root + 1 == root.root);
    let judged = match before {
        Some((_, before)) => before.next(&envelope),
        None if root.root == 1 => Root::first(&envelope),
        None => {
            let text = format!(
                "fleet.toml has no root {}; name it under roots",
                root.root - 1
            );
            return Err(wrong(text));
        }
    };
    judged.map_err(|it| Failure::Failed(anyhow::anyhow!("{}: {it}", file.display())))?;
    let topic = Topics::root(root.root);
    Client::connect(&place.broker)?.publish(&topic, envelope.encode())?;
    Ok(writeln!(console::stdout(), "published {topic}")?)
}

fn verify(file: &Path, after: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let (envelope, root) = read_root(file)?;
    let signed = root
        .root_keys
        .iter()
        .filter(|key| envelope.is_signed_by(&key.key));
    let signed: Vec<KeyId> = signed.map(|key| key.id).collect();
    let outcome = match after {
        None => Root::first(&envelope),
        Some(before) => read_root(before)?.1.next(&envelope),
    };
    let mut out = console::stdout();
    if as_json {
        let why = outcome.as_ref().err().map(|refusal| refusal.text.clone());
        out.json(json!({
            "root": root, "signed": signed, "good": outcome.is_ok(), "why": why,
        }))?;
    } else {
        let expires = root.expires.map_or("never".to_owned(), |at| at.to_string());
        writeln!(
            out,
            "root       {}, threshold {}, expires {expires}",
            root.root, root.threshold
        )?;
        for key in &root.root_keys {
            let note = if signed.contains(&key.id) {
                "  has signed"
            } else {
                ""
            };
            writeln!(out, "root key   {}{note}", key.id)?;
        }
        for key in &root.bundle_keys {
            let list = |patterns: &[Pattern]| {
                patterns
                    .iter()
                    .map(Pattern::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            writeln!(
                out,
                "bundle key {}  scopes {}  bundles {}  listen {}  send {}",
                key.id,
                list(&key.scopes),
                list(&key.bundles),
                key.listen.join(" "),
                key.send.join(" ")
            )?;
        }
        for id in &root.removed {
            writeln!(out, "removed    {id}")?;
        }
    }
    match outcome {
        Ok(_) => Ok(()),
        Err(refusal) => Err(Failure::Failed(anyhow::anyhow!(
            "{}: {refusal}",
            file.display()
        ))),
    }
}
