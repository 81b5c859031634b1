//! From a deployment to rules: which bundles are in force, what their keys may, and what is bound to what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidemill_bundle::{
    Bundle, BundleKey, BundleName, BundleRule, KeyId, Reason, Refusal, Scope, Trust,
};

use super::depot::Depot;
use super::rollout::{Deployment, Entry};
use crate::config::{Config, Fleet};
use crate::install::{destination_names, survey_with};
use crate::mill::BoundRule;
use crate::rule::{FunctionSource, Gateway, Port, Rule, Statement};
use tidemill_base::text::{FileError, Source};
use tidemill_transport::topic::TopicFilter;

/// Bundles in force.
const IN_FORCE_MAX: usize = 64;

/// Errors that a refusal names; more are counted.
const ERRORS_TOLD: usize = 3;

/// Bytes of what a refusal says.
const TEXT_BYTES: usize = 600;

/// Rules of a deployment, ready to run.
pub(crate) struct Built {
    /// Local rules and pushed ones.
    pub(crate) rules: Vec<BoundRule>,
    /// Bundles whose rules these are.
    pub(crate) in_force: Vec<InForce>,
    /// Pushed rules that local files hide.
    pub(crate) shadowed: Vec<Arc<str>>,
}

/// A bundle whose rules run.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    /// The bundle.
    pub(crate) entry: Entry,
    /// Names of its rules.
    pub(crate) rules: Vec<String>,
    /// `true` while a key that counts stands for it.
    pub(crate) is_signed: bool,
}

/// Builds deployments for one gateway.
#[derive(Clone, Copy)]
pub(crate) struct Builder<'a> {
    /// The gateway's configuration.
    pub(crate) config: &'a Config,
    /// Its fleet.
    pub(crate) fleet: &'a Fleet,
    /// The folder of envelopes.
    pub(crate) depot: &'a Depot,
    /// Whose word counts.
    pub(crate) trust: &'a Trust,
}

/// A bundle with the keys that stand for it.
struct Signed<'a> {
    entry: &'a Entry,
    bundle: Bundle,
    keys: Vec<&'a BundleKey>,
}

impl Builder<'_> {
    /// Reads, compiles and proves the rules of a deployment. The rules of `candidate`, which is new, are
    /// held to what its key may; those that run already run on.
    ///
    /// # Errors
    /// The first reason, with all that belongs to it.
    pub(crate) fn build<'b>(
        &'b self,
        deployment: &'b Deployment,
        candidate: Option<&Entry>,
    ) -> Result<Built, Refusal> {
        let signed = self.in_force(deployment)?;
        let mut pushed = Vec::new();
        let mut by_name: BTreeMap<String, &BundleName> = BTreeMap::new();
        for of in &signed {
            let name = &of.bundle.bundle;
            for rule in of.bundle.rules.iter().flatten() {
                if let Some(other) = by_name.insert(rule.name.clone(), name) {
                    let text =
                        format!("rule {}: bundle {other} has a rule of this name", rule.name);
                    return Err(Refusal::new(Reason::NameTaken, text));
                }
                let parsed = self.rule(&of.bundle, rule)?;
                if candidate == Some(of.entry) {
                    check_reach(&parsed, &of.keys)?;
                }
                pushed.push(parsed);
            }
        }
        let survey = survey_with(self.config, pushed);
        if !survey.errors.is_empty() {
            let reason = if survey.has_cycle {
                Reason::Cycle
            } else if survey.has_failed_test {
                Reason::TestFailed
            } else {
                Reason::Install
            };
            return Err(refusal_of(reason, &survey.errors));
        }
        let in_force = signed.into_iter().map(|of| InForce {
            entry: of.entry.clone(),
            is_signed: !of.keys.is_empty(),
            rules: of
                .bundle
                .rules
                .into_iter()
                .flatten()
                .map(|rule| rule.name)
                .collect(),
        });
        Ok(Built {
            rules: survey.rules,
            in_force: in_force.collect(),
            shadowed: survey.shadowed,
        })
    }

    /// The bundles in force: of each name the one of highest precedence that has rules.
    fn in_force<'b>(&'b self, deployment: &'b Deployment) -> Result<Vec<Signed<'b>>, Refusal> {
        let mut ranked: Vec<(usize, &Entry)> = deployment
            .entries
            .iter()
            .filter_map(|entry| Some((self.rank(&entry.scope)?, entry)))
            .collect();
        ranked.sort_by_key(|(rank, entry)| (*rank, &entry.bundle));
        let mut taken: BTreeSet<&BundleName> = BTreeSet::new();
        let mut signed = Vec::new();
        for (_, entry) in ranked {
            if taken.contains(&entry.bundle) {
                continue;
            }
            let damaged = |why: String| Refusal::new(Reason::Storage, why);
            let envelope = self.depot.envelope(entry.envelope).map_err(damaged)?;
            let bundle = Bundle::parse(&envelope.payload)?;
            if bundle.rules.is_none() {
                continue;
            }
            taken.insert(&entry.bundle);
            let ids: Vec<KeyId> = self.trust.still_signed_by(&envelope, &bundle);
            let root = self.trust.root();
            let keys = ids.iter().filter_map(|id| root?.bundle_key(*id));
            signed.push(Signed {
                entry,
                keys: keys.collect(),
                bundle,
            });
        }
        if signed.len() > IN_FORCE_MAX {
            let text = format!(
                "{} bundles would be in force, at most {IN_FORCE_MAX} are",
                signed.len()
            );
            return Err(Refusal::new(Reason::TooMany, text));
        }
        Ok(signed)
    }

    /// The place of a scope in precedence, the lowest first; `None` for other gateways.
    pub(crate) fn rank(&self, scope: &Scope) -> Option<usize> {
        let groups = &self.fleet.groups;
        match scope {
            Scope::Gateway(id) => (**id == *self.config.gateway_id).then_some(0),
            Scope::Group(name) => {
                let place = groups.iter().position(|group| **group == **name)?;
                Some(groups.len() - place)
            }
            Scope::All => Some(groups.len() + 1),
        }
    }

    fn rule(&self, bundle: &Bundle, rule: &BundleRule) -> Result<Rule, Refusal> {
        let destinations = destination_names(self.config);
        let gateway = Gateway {
            id: &self.config.gateway_id,
            destinations: Some(&*destinations),
            limits: &self.config.limits,
        };
        let source = Source {
            path: format!(
                "bundle {}@{}/{}.toml",
                bundle.bundle, bundle.version, rule.name
            )
            .into(),
            text: rule.manifest.clone(),
        };
        let mut parsed = Rule::parse(source, &gateway).map_err(|errors| {
            let errors: Vec<FileError> = errors.into_iter().collect();
            refusal_of(Reason::Install, &errors)
        })?;
        let fail = |text: String| {
            let error = parsed.source.error_at(&parsed.function_span, text);
            refusal_of(Reason::Install, &[error])
        };
        if *parsed.name != *rule.name || parsed.version != rule.version {
            return Err(fail(format!(
                "the bundle calls it {} version {}, the manifest {} version {}",
                rule.name, rule.version, parsed.name, parsed.version
            )));
        }
        parsed.function = match (&parsed.function, &rule.module) {
            (FunctionSource::Stock(name), None) => FunctionSource::Stock(name.clone()),
            (FunctionSource::Wasm(_) | FunctionSource::Inline(_), Some(module)) => {
                FunctionSource::Inline(Arc::new(module.inline.clone()))
            }
            (FunctionSource::Sql(statement), Some(module)) => {
                check_streams(&parsed, rule).map_err(fail)?;
                FunctionSource::Sql(Arc::new(Statement {
                    sql: statement.sql.clone(),
                    wasm: module.inline.clone(),
                    plan: statement.plan.clone(),
                }))
            }
            (FunctionSource::Stock(_), Some(_)) => {
                return Err(fail(
                    "a stock function needs no module, and one came along".to_owned(),
                ));
            }
            (_, None) => {
                return Err(fail(
                    "its module did not come along; sign it with `tidemill bundle sign`".to_owned(),
                ));
            }
        };
        check_reserved(&parsed)?;
        Ok(parsed)
    }
}

/// Refuses a statement whose module numbers other streams than this agent would.
fn check_streams(parsed: &Rule, rule: &BundleRule) -> Result<(), String> {
    let ours = parsed.streams.iter().map(|stream| {
        let filters: Vec<String> = stream.mqtt.iter().map(ToString::to_string).collect();
        (stream.name.clone(), filters)
    });
    let theirs = rule
        .streams
        .iter()
        .map(|stream| (stream.name.clone(), stream.mqtt.clone()));
    if ours.eq(theirs) {
        return Ok(());
    }
    Err(
        "its statement was compiled for other streams than the manifest has; sign it anew"
            .to_owned(),
    )
}

/// Refuses topics of the broker and of the fleet itself.
fn check_reserved(rule: &Rule) -> Result<(), Refusal> {
    let is_reserved = |topic: &str| {
        let first = topic.split('/').next().unwrap_or_default();
        first.starts_with('$') || first == "tidemill"
    };
    let reserved = |what: &str, topic: &str| {
        let text = format!(
            "rule {}: it {what} {topic}, which is none of a rule's",
            rule.name
        );
        Refusal::new(Reason::BeyondKey, text)
    };
    let filters = rule
        .triggers
        .mqtt
        .iter()
        .chain(rule.streams.iter().flat_map(|it| &it.mqtt));
    for filter in filters {
        if is_reserved(filter.plain()) {
            return Err(reserved("listens to", filter.as_str()));
        }
    }
    for (name, port) in &rule.ports {
        let topic = written(rule, &port.value);
        if port.value.to == crate::config::LOCAL && is_reserved(topic) {
            return Err(reserved(&format!("sends by {name} to"), topic));
        }
    }
    Ok(())
}

/// Refuses a rule that listens or sends beyond what one of the keys may.
fn check_reach(rule: &Rule, keys: &[&BundleKey]) -> Result<(), Refusal> {
    let mut beyond = None;
    for key in keys {
        match reach(rule, key) {
            Ok(()) => return Ok(()),
            Err(why) => beyond = Some(format!("rule {}: {why}; key {} may not", rule.name, key.id)),
        }
    }
    let text = beyond.unwrap_or_else(|| format!("rule {}: no key stands for it", rule.name));
    Err(Refusal::new(Reason::BeyondKey, text))
}

fn reach(rule: &Rule, key: &BundleKey) -> Result<(), String> {
    let listen: Vec<TopicFilter> = key
        .listen
        .iter()
        .filter_map(|filter| TopicFilter::new(filter).ok())
        .collect();
    let filters = rule
        .triggers
        .mqtt
        .iter()
        .chain(rule.streams.iter().flat_map(|it| &it.mqtt));
    for filter in filters {
        if !listen.iter().any(|may| may.covers(filter)) {
            return Err(format!("it listens to {filter}"));
        }
    }
    // A key that is only known by the function may be anything.
    let unknown = crate::rule::KeySpec::Pointer(String::new());
    let by = rule.key.as_ref().unwrap_or(&unknown);
    for (name, port) in &rule.ports {
        let to = &port.value.to;
        let filter = port.value.topic.as_filter(by);
        let may = key.send.iter().filter_map(|place| place.split_once(':'));
        let mut may = may.filter(|(destination, _)| destination == to || *destination == "*");
        let is_covered = may.any(|(_, allowed)| {
            let allowed = TopicFilter::new(allowed);
            allowed.is_ok_and(|allowed| match &filter {
                Some(filter) => allowed.covers(filter),
                None => allowed.as_str() == "#",
            })
        });
        if !is_covered {
            let topic = written(rule, &port.value);
            return Err(format!("it sends by {name} to {to}:{topic}"));
        }
    }
    Ok(())
}

/// The topic of a port as its manifest has it.
fn written<'a>(rule: &'a Rule, port: &Port) -> &'a str {
    let text = rule
        .source
        .text
        .get(port.topic_span.clone())
        .unwrap_or_default();
    text.trim_matches(['"', '\''])
}

fn refusal_of(reason: Reason, errors: &[FileError]) -> Refusal {
    // Without the lines that a terminal would show.
    let told = errors
        .iter()
        .take(ERRORS_TOLD)
        .map(|error| format!("{error:#}"));
    let mut text = told.collect::<Vec<_>>().join("; ");
    let more = errors.len().saturating_sub(ERRORS_TOLD);
    if more > 0 {
        text += &format!("; and {more} more");
    }
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    Refusal::new(reason, text)
}

/// Names of rules that are new or another than before, and a refusal where state would have to change
/// its schema, which going back could not undo.
///
/// # Errors
/// When a rule expects its state in another schema.
pub(crate) fn changed(before: &[BoundRule], after: &[BoundRule]) -> Result<Vec<String>, Refusal> {
    let old: BTreeMap<&str, &BoundRule> =
        before.iter().map(|rule| (&**rule.name(), rule)).collect();
    let mut changed = Vec::new();
    for rule in after {
        let Some(old) = old.get(&**rule.name()) else {
            changed.push(rule.name().to_string());
            continue;
        };
        let schema = |rule: &BoundRule| rule.module().manifest.state.schema;
        let (from, to) = (schema(old), schema(rule));
        if from != to {
            let text = format!(
                "rule {}: its state has schema {from}, the pushed version expects {to}, and going back would lose \
                 it; give the rule another name",
                rule.name()
            );
            return Err(Refusal::new(Reason::Migration, text));
        }
        if old.fingerprint() != rule.fingerprint() {
            changed.push(rule.name().to_string());
        }
    }
    Ok(changed)
}
