//! `tidemill push`: signs rules and publishes them for gateways, and waits for what they say.

mod again;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tidemill_bundle::{
    Bundle, BundleName, BundleRule, DesiredTopic, Entry, Envelope, PayloadType, Scope, Sha256Hex,
    read_tmb, sha256,
};

use super::super::Failure;
use super::apply::Wait;
use super::bundle::{Terms, check_allowed, sealed};
use super::client::{Client, Message};
use super::files::read;
use super::key_file::KeyOption;
use super::place::{FleetOption, Place, Pushed};
use super::view::{View, filters, is_online};
use super::{pack, wrong};
use tidemill_base::console;
use tidemill_base::text::duration_ms;

pub(in crate::cli) const HELP: &str = "The rules of a bundle are replaced as a whole: those that are not named go, which --remove allows. The version is the \
one after the highest of fleet.lock and the broker; fleet.lock is written before anything is published, and belongs \
in version control.

Examples:
  tidemill push overheat.toml --to gw-17 --wait
  tidemill push overheat.toml energy.sql --to group:plant-a --wait=confirmed --timeout 5m --min 95%
  tidemill push --none --to gw-17             no rules of this bundle
  tidemill push --inherit --to gw-17          those of its groups, or of all, again
  tidemill push --again                       what the broker lost

Exit codes: 0 published (with --wait: it runs where it should); 1 refused, rolled back, less than --min, a broker that \
cannot be reached or refuses; 2 wrong use, or a rule that cannot be installed; 3 time ran out";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Manifests, files with one statement, or a file of `tidemill bundle sign`
    #[arg(value_name = "RULE.toml|RULE.sql|FILE.tmb")]
    rules: Vec<PathBuf>,
    /// The gateways: an id, group:NAME or all
    #[arg(long, value_name = "SCOPE", required_unless_present = "again")]
    to: Option<String>,
    /// The bundle's name
    #[arg(long, value_name = "NAME", default_value = "main")]
    bundle: String,
    /// No rules: takes away those of the bundle
    #[arg(long, conflicts_with_all = ["rules", "inherit", "again"])]
    none: bool,
    /// The rules of the next scope again: of its groups, or of all
    #[arg(long, conflicts_with_all = ["rules", "again"])]
    inherit: bool,
    /// Publish anew what the broker lost or has an older version of
    #[arg(long, conflicts_with = "rules")]
    again: bool,
    /// Let rules go that were in the bundle and are not named now
    #[arg(long)]
    remove: bool,
    /// Wait until the gateways run it on probation, or have confirmed it
    #[arg(long, value_enum, value_name = "probation|confirmed", num_args = 0..=1, require_equals = true, default_missing_value = "probation")]
    wait: Option<Wait>,
    /// The longest wait
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "2m")]
    timeout: u64,
    /// Share of the gateways that has to run it
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "100%")]
    min: f64,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    key: KeyOption,
    #[command(flatten)]
    fleet: FleetOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    let share = number.filter(|number| (0.0..=100.0).contains(number));
    share
        .map(|share| share / 100.0)
        .ok_or_else(|| "write a share such as 95%".to_owned())
}

pub(in crate::cli) fn run(options: &Options) -> Result<(), Failure> {
    let mut place = Place::read(&options.fleet)?;
    if options.again {
        return again::again(&place);
    }
    let prepared = options.prepare(&place)?;
    let mut client = Client::connect(&place.broker)?;
    let topic = DesiredTopic {
        scope: prepared.scope.clone(),
        bundle: prepared.bundle.clone(),
    };
    let mut listened = filters().to_vec();
    listened.push(topic.topic());
    let (mut view, mut on_broker) = (View::default(), None);
    let messages = client.listen(&listened)?;
    take(&mut view, &mut place, messages, &topic, &mut on_broker);
    let push = options.sign(&place, &prepared, on_broker.as_deref())?;
    let message = push.envelope.encode();
    let bytes = message.len() + topic.topic().len() + 16;
    if bytes > usize::try_from(client.packet_bytes).unwrap_or(usize::MAX) {
        return Err(Failure::Failed(anyhow::anyhow!(
            "the message has {bytes} bytes, and the broker takes {} (its Maximum Packet Size); raise that, or make two \
             bundles of it",
            client.packet_bytes
        )));
    }
    // Before anything is published, so that no version is used twice.
    place.note(push.clone())?;
    let came = client.publish(&topic.topic(), message.clone())?;
    take(&mut view, &mut place, came, &topic, &mut on_broker);
    read_back(
        &mut client,
        &mut view,
        &mut place,
        (&topic, &message, &mut on_broker),
    )?;
    options.say(&prepared, &push, &view)?;
    let outcome = match options.wait {
        Some(wait) => options.wait_for(&mut client, &mut view, &mut place, (&push, wait, &message)),
        None => Ok(()),
    };
    place.write_lock()?;
    outcome
}

/// Sorts messages: those of gateways, and the one that the broker keeps as desired.
fn take(
    view: &mut View,
    place: &mut Place,
    messages: Vec<Message>,
    topic: &DesiredTopic,
    on_broker: &mut Option<Vec<u8>>,
) {
    for message in messages {
        if message.0 == topic.topic() {
            *on_broker = (!message.1.is_empty()).then(|| message.1.to_vec());
        } else {
            view.take(place, message);
        }
    }
}

/// Waits until our own message comes back: over 3.1.1 one that is denied vanishes without a word.
fn read_back(
    client: &mut Client,
    view: &mut View,
    place: &mut Place,
    (topic, message, on_broker): (&DesiredTopic, &[u8], &mut Option<Vec<u8>>),
) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(5);
    while on_broker.as_deref() != Some(message) {
        if Instant::now() >= until {
            return Err(Failure::Failed(anyhow::anyhow!(
                "the broker has not kept {}: its access list has to let this login write there",
                topic.topic()
            )));
        }
        let came = client.receive(until)?;
        take(view, place, came, topic, on_broker);
    }
    Ok(())
}

/// A push before its version is known.
struct Prepared {
    scope: Scope,
    bundle: BundleName,
    rules: Option<Vec<BundleRule>>,
    /// A bundle that was signed already.
    signed: Option<(Envelope, Bundle)>,
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Options {
    /// Reads rules and says what goes, before any network.
    fn prepare(&self, place: &Place) -> Result<Prepared, Failure> {
        let to = self.to.as_deref().unwrap_or_default();
        let scope = if to == "all" || to.contains(':') {
            Scope::parse(to)
        } else {
            Scope::gateway(to)
        };
        let mut scope = scope.map_err(|error| wrong(format!("--to: {error}")))?;
        let bundle = BundleName::parse(&self.bundle);
        let mut bundle = bundle.map_err(|error| wrong(format!("--bundle: {error}")))?;
        let signed = self.signed()?;
        let rules = match &signed {
            Some((_, of)) => {
                if of.scope != scope {
                    return Err(wrong(format!(
                        "the file is signed for {}, say --to {0}",
                        of.scope
                    )));
                }
                (scope, bundle) = (of.scope.clone(), of.bundle.clone());
                of.rules.clone()
            }
            None if self.inherit => None,
            None if self.none => Some(Vec::new()),
            None => {
                pack::some(&self.rules)?;
                Some(pack::rules(&self.rules)?)
            }
        };
        let before = place
            .pushed(&scope, &bundle)
            .map(|it| it.rules.clone())
            .unwrap_or_default();
        let after = hashes(rules.as_deref().unwrap_or_default());
        let names = |of: BTreeSet<&String>| of.into_iter().cloned().collect::<Vec<String>>();
        let removed = names(
            before
                .keys()
                .filter(|name| !after.contains_key(*name))
                .collect(),
        );
        let takes_away = !self.none && !self.inherit && !self.remove && !removed.is_empty();
        if takes_away {
            return Err(wrong(format!(
                "bundle {bundle} for {scope} has rule {} too, which this push would take away; name its file as well, or \
                 say --remove",
                removed.join(", ")
            )));
        }
        Ok(Prepared {
            added: names(
                after
                    .keys()
                    .filter(|name| !before.contains_key(*name))
                    .collect(),
            ),
            changed: names(
                after
                    .iter()
                    .filter(|(name, hash)| before.get(*name).is_some_and(|old| old != *hash))
                    .map(|(name, _)| name)
                    .collect(),
            ),
            removed,
            scope,
            bundle,
            rules,
            signed,
        })
    }

    /// The bundle of a file that was signed already.
    fn signed(&self) -> Result<Option<(Envelope, Bundle)>, Failure> {
        let [file] = &*self.rules else {
            return Ok(None);
        };
        if file.extension().is_none_or(|it| it != "tmb") {
            return Ok(None);
        }
        let shown = file.display();
        let entries = read_tmb(&read(file)?).map_err(|error| wrong(format!("{shown}: {error}")))?;
        let mut bundles = entries.into_iter().filter_map(|entry| match entry {
            Entry::Bundle(envelope) => Some(envelope),
            Entry::Root(_) => None,
        });
        let (Some(envelope), None) = (bundles.next(), bundles.next()) else {
            return Err(wrong(format!(
                "{shown}: it holds more or less than one bundle"
            )));
        };
        let bundle =
            Bundle::parse(&envelope.payload).map_err(|it| wrong(format!("{shown}: {it}")))?;
        Ok(Some((envelope, bundle)))
    }

    /// Gives it a version and a signature.
    fn sign(
        &self,
        place: &Place,
        prepared: &Prepared,
        on_broker: Option<&[u8]>,
    ) -> Result<Pushed, Failure> {
        let root = place.root()?;
        let pushed = place.pushed(&prepared.scope, &prepared.bundle);
        let kept = on_broker.and_then(|bytes| {
            let envelope = Envelope::parse(bytes, PayloadType::Bundle).ok()?;
            let signs = |key: &tidemill_bundle::BundleKey| envelope.is_signed_by(&key.key);
            // Anybody may have put it there; only a signature makes it count.
            root.bundle_keys.iter().any(signs).then_some(())?;
            Bundle::parse(&envelope.payload).ok()
        });
        let highest = pushed
            .map_or(0, |it| it.version)
            .max(kept.map_or(0, |it| it.version));
        let (bundle, envelope) = match &prepared.signed {
            Some((envelope, bundle)) if bundle.version > highest => {
                (bundle.clone(), envelope.clone())
            }
            Some((_, bundle)) => {
                return Err(wrong(format!(
                    "version {} of the file is not above {highest}, which was pushed before; sign it anew",
                    bundle.version
                )));
            }
            None => {
                let key = self.key.read(Some(&place.key))?;
                let of = (prepared.scope.clone(), prepared.bundle.clone());
                let rules = prepared.rules.clone();
                let bundle = self
                    .terms
                    .bundle(of, highest.saturating_add(1), root.root, rules)?;
                check_allowed(root, key.public().id(), &bundle)?;
                let envelope = sealed(&bundle, &key)?;
                (bundle, envelope)
            }
        };
        Ok(Pushed {
            sha256: envelope.sha256(),
            rules: hashes(bundle.rules.as_deref().unwrap_or_default()),
            scope: bundle.scope,
            bundle: bundle.bundle,
            version: bundle.version,
            envelope,
        })
    }

    fn say(&self, prepared: &Prepared, push: &Pushed, view: &View) -> Result<(), Failure> {
        let mut out = if self.json {
            None
        } else {
            Some(console::stdout())
        };
        let Some(out) = &mut out else { return Ok(()) };
        let list = |names: &[String]| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        writeln!(
            out,
            "pushed bundle {} version {} to {}: added {}; changed {}; removed {}",
            push.bundle,
            push.version,
            push.scope,
            list(&prepared.added),
            list(&prepared.changed),
            list(&prepared.removed)
        )?;
        let all: Vec<_> = view.of(&push.scope).collect();
        let away = all
            .iter()
            .filter(|(_, _, status)| !is_online(status))
            .count();
        if all.is_empty() {
            writeln!(
                out,
                "no gateway of {} has ever reported; check its id, groups and [fleet]",
                push.scope
            )?;
        } else {
            writeln!(out, "{} gateways, {away} away", all.len())?;
        }
        Ok(())
    }
}

/// Hashes of rules by name, to tell which are changed.
fn hashes(rules: &[BundleRule]) -> BTreeMap<String, Sha256Hex> {
    let hash = |rule: &BundleRule| {
        let module = rule
            .module
            .as_ref()
            .map_or(String::new(), |module| module.sha256.to_string());
        (
            rule.name.clone(),
            sha256(format!("{module}\n{}", rule.manifest).as_bytes()),
        )
    };
    rules.iter().map(hash).collect()
}
