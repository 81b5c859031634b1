//! `tidemill bundle`: rules made into a signed file, and a look into one.

mod inspect;

use std::path::PathBuf;

use tidemill_bundle::{
    Bundle, BundleName, Entry, Envelope, Health, PayloadType, Root, Scope, StateChoice, is_version,
    write_tmb,
};

use super::super::Failure;
use super::files::{read_root, write_new};
use super::key_file::KeyOption;
use super::{after, issued, pack, wrong};
use tidemill_base::console;
use tidemill_base::text::duration_ms;

pub(in crate::cli) const HELP: &str = "A bundle is signed for gateways (gateway:ID, group:NAME or all) under a name and a version, which has to \
rise. Statements come compiled, and modules inside. With SOURCE_DATE_EPOCH the same command makes the same \
bytes.

Examples:
  tidemill bundle sign overheat.toml --scope group:plant-a --bundle main --version 7 --key ops.key --out main.tmb
  tidemill bundle inspect main.tmb --root root.json
  tidemill apply main.tmb                      on a gateway

Exit codes: 0 done; 1 a signature does not hold, a key that the root does not allow, or a wrong passphrase; \
2 wrong use, or a rule that cannot be installed";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Sign rules as a file for `apply` and `push`
    Sign(Box<Sign>),
    /// Show what a file holds: who signed it, what its rules listen to, where they send, sizes
    Inspect {
        /// The file
        file: PathBuf,
        /// The root to judge signatures by [default: the first one in the file]
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Sign {
    /// Manifests, or files with one statement
    #[arg(value_name = "RULE.toml|RULE.sql", required_unless_present = "none")]
    rules: Vec<PathBuf>,
    /// No rules: takes away those of the bundle
    #[arg(long, conflicts_with = "rules")]
    none: bool,
    /// The gateways: gateway:ID, group:NAME or all
    #[arg(long, value_name = "SCOPE")]
    scope: String,
    /// The bundle's name
    #[arg(long, value_name = "NAME", default_value = "main")]
    bundle: String,
    /// Its version, above the one before
    #[arg(long, value_name = "N", default_value = "1")]
    version: u64,
    /// The file to write
    #[arg(long, value_name = "FILE.tmb")]
    out: PathBuf,
    /// The root that it relies on; also checks that the key may sign this
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Roots to bring along, for gateways that are behind
    #[arg(long, value_name = "FILE")]
    with_root: Vec<PathBuf>,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    key: KeyOption,
}

/// Terms of a bundle.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Terms {
    /// Time for which it is accepted, such as 90d [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    expires: Option<u64>,
    /// The oldest agent that takes it
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    min_agent: String,
    /// Events that each changed rule has to see in probation
    #[arg(long, value_name = "N", default_value = "20")]
    events: u64,
    /// The longest wait for them
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    within: String,
    /// Share of dead letters, above that of the version before, at which it goes back
    #[arg(long, value_name = "SHARE", default_value = "0.05")]
    dead_share: f64,
}

impl Terms {
    /// A bundle on these terms.
    pub(super) fn bundle(
        &self,
        (scope, name): (Scope, BundleName),
        version: u64,
        root: u64,
        rules: Option<Vec<tidemill_bundle::BundleRule>>,
    ) -> Result<Bundle, Failure> {
        if !is_version(&self.min_agent) {
            return Err(wrong("--min-agent: write a version such as 0.2.0"));
        }
        duration_ms(&self.within).map_err(|why| wrong(format!("--within: {why}")))?;
        let issued = issued()?;
        let bundle = Bundle {
            bundle: name,
            scope,
            version,
            root,
            min_agent: self.min_agent.clone(),
            issued,
            expires: self.expires.map(|ms| after(issued, ms)).transpose()?,
            health: Health {
                events: self.events,
                within: self.within.clone(),
                dead_share: self.dead_share,
                state: StateChoice::Keep,
            },
            rules,
        };
        bundle.check().map_err(|refusal| wrong(refusal.text))?;
        Ok(bundle)
    }
}

pub(in crate::cli) fn run(options: &Options) -> Result<(), Failure> {
    match &options.what {
        What::Sign(sign) => sign.run(),
        What::Inspect { file, root, json } => inspect::inspect(file, root.as_deref(), *json),
    }
}

impl Sign {
    fn run(&self) -> Result<(), Failure> {
        let scope =
            Scope::parse(&self.scope).map_err(|error| wrong(format!("--scope: {error}")))?;
        let name = BundleName::parse(&self.bundle);
        let name = name.map_err(|error| wrong(format!("--bundle: {error}")))?;
        let root = self
            .root
            .as_deref()
            .map(read_root)
            .transpose()?
            .map(|(_, root)| root);
        if !self.none {
            pack::some(&self.rules)?;
        }
        let rules = pack::rules(&self.rules)?;
        let number = root.as_ref().map_or(1, |root| root.root);
        let bundle = self
            .terms
            .bundle((scope, name), self.version, number, Some(rules))?;
        let key = self.key.read(None)?;
        if let Some(root) = &root {
            check_allowed(root, key.public().id(), &bundle)?;
        }
        let envelope = sealed(&bundle, &key)?;
        let roots = self
            .with_root
            .iter()
            .map(|path| Ok(Entry::Root(read_root(path)?.0)));
        let mut entries: Vec<Entry> = roots.collect::<Result<_, Failure>>()?;
        entries.push(Entry::Bundle(envelope.clone()));
        let bytes = write_tmb(&entries);
        write_new(&self.out, &bytes, 0o644)?;
        let mut out = console::stdout();
        let rules = bundle.rules.as_ref().map_or(0, Vec::len);
        Ok(writeln!(
            out,
            "wrote {}: bundle {} version {} for {}, {rules} rules, {} bytes, sha256 {}",
            self.out.display(),
            bundle.bundle,
            bundle.version,
            bundle.scope,
            bytes.len(),
            envelope.sha256()
        )?)
    }
}

/// Signs a bundle, which has to fit.
pub(super) fn sealed(
    bundle: &Bundle,
    key: &tidemill_bundle::SigningKey,
) -> Result<Envelope, Failure> {
    let mut envelope = Envelope::new(PayloadType::Bundle, bundle.encode());
    envelope.sign(key);
    let (bytes, most) = (envelope.encode().len(), PayloadType::Bundle.bytes_max());
    if bytes > most {
        return Err(wrong(format!(
            "the bundle has {bytes} bytes signed, gateways take {most}; make two of it, --bundle gives them names"
        )));
    }
    Ok(envelope)
}

/// Refuses a key that the root does not let sign this.
pub(super) fn check_allowed(
    root: &Root,
    id: tidemill_bundle::KeyId,
    bundle: &Bundle,
) -> Result<(), Failure> {
    let key = root.bundle_key(id);
    if key.is_some_and(|key| key.may_sign(&bundle.scope, &bundle.bundle)) {
        return Ok(());
    }
    let why = if key.is_some() {
        format!(
            "does not let key {id} sign bundle {} for {}",
            bundle.bundle, bundle.scope
        )
    } else {
        format!("has no bundle key {id}")
    };
    let text = format!(
        "root {} {why}; `tidemill root edit` makes the next one",
        root.root
    );
    Err(Failure::Failed(anyhow::anyhow!(text)))
}
