//! From files to a deployment: reads the manifests of a directory, loads the modules they name
//! (each content once), runs the tests inside, and binds rule and function together. Collects every
//! error, so that an owner mends them in one go.

mod cycles;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::limits::{FunctionLimits, RULES_MAX};
use crate::config::{Config, LOCAL};
use crate::event::hash_bytes;
use crate::function::{Engine, Module};
use crate::mill::{BoundRule, prove};
use crate::rule::stock;
use crate::rule::{FunctionSource, Gateway, Rule, sent_twice};
use tidemill_base::files::read_input;
use tidemill_base::text::{FileError, FileErrors, nearest};
use tidemill_transport::topic::{Subscription, TopicFilter, twice_sent};

/// Most bytes of a module that is only inspected.
const MODULE_BYTES_MAX: u64 = 64 << 20;

/// Loads modules and remembers them, so that a thousand rules with one function hold it once.
pub struct Installer {
    engine: Engine,
    limits: FunctionLimits,
    modules: HashMap<Vec<u8>, Arc<Module>>,
    /// `true` if a test inside a module failed.
    has_failed_test: bool,
}

impl Installer {
    /// An installer under the gateway's ceilings.
    pub fn new(limits: &FunctionLimits) -> Self {
        Self {
            engine: Engine::new(limits),
            limits: *limits,
            modules: HashMap::new(),
            has_failed_test: false,
        }
    }

    /// Loads the rule's function and binds it.
    ///
    /// # Errors
    /// When the module cannot be read or is refused, when one of its tests fails, or when rule and
    /// function do not fit.
    pub fn install(&mut self, rule: Rule, destinations: &[&str]) -> Result<BoundRule, FileErrors> {
        let wasm = read_module(&rule, self.limits.module_bytes)?;
        let bytes = wasm.len();
        let wasm_hash = hash_bytes(&[&wasm]);
        let module = match self.modules.get(&wasm) {
            Some(module) => Arc::clone(module),
            None => {
                let module = self
                    .engine
                    .load(&wasm)
                    .map_err(|error| refused(&rule, &error.to_string()))?;
                if let Err(why) = prove(&self.engine, &module, &self.limits) {
                    self.has_failed_test = true;
                    return Err(refused(&rule, &why).into());
                }
                self.modules.insert(wasm, Arc::clone(&module));
                module
            }
        };
        let mut bound = BoundRule::new(rule, &module, bytes, &self.engine, destinations)?;
        bound.set_function(wasm_hash);
        Ok(bound)
    }
}

fn refused(rule: &Rule, why: &str) -> FileError {
    let place = match &rule.function {
        FunctionSource::Wasm(path) => path.display().to_string(),
        FunctionSource::Stock(name) => format!("stock function {name}"),
        FunctionSource::Sql(_) => "the compiled statement".to_owned(),
        FunctionSource::Inline(_) => "the module of the bundle".to_owned(),
    };
    rule.source
        .error_at(&rule.function_span, format!("{place}: {why}"))
}

fn read_module(rule: &Rule, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    match &rule.function {
        FunctionSource::Wasm(path) => {
            read_input(path, bytes_max as u64).map_err(|error| match error.kind() {
                ErrorKind::FileTooLarge => refused(
                    rule,
                    &format!("is larger than the limit of {bytes_max} bytes"),
                ),
                _ => refused(rule, &format!("cannot be read: {error}")),
            })
        }
        FunctionSource::Sql(statement) => Ok(statement.wasm.clone()),
        FunctionSource::Inline(wasm) => Ok(wasm.to_vec()),
        FunctionSource::Stock(name) => match stock::module(name) {
            Some(wasm) => Ok(wasm.to_vec()),
            None => {
                let near = nearest(name, stock::names());
                let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
                let all: Vec<_> = stock::names().collect();
                Err(refused(
                    rule,
                    &format!("there is none, there are {}{hint}", all.join(", ")),
                ))
            }
        },
    }
}

/// The module of a function, for looking at.
///
/// # Errors
/// When it cannot be read, in words.
pub fn module_bytes(function: &FunctionSource) -> Result<Vec<u8>, String> {
    match function {
        FunctionSource::Wasm(path) => {
            let read = read_input(path, MODULE_BYTES_MAX);
            read.map_err(|error| format!("{}: {error}", path.display()))
        }
        FunctionSource::Sql(statement) => Ok(statement.wasm.clone()),
        FunctionSource::Inline(wasm) => Ok(wasm.to_vec()),
        FunctionSource::Stock(name) => match stock::module(name) {
            Some(wasm) => Ok(wasm.to_vec()),
            None => Err(format!("there is no stock function {name}")),
        },
    }
}

/// Reads and checks every manifest (`*.toml`) of the rules directory and binds it to its function.
///
/// # Errors
/// Everything that is wrong in any of them; then none is returned.
pub fn install_all(config: &Config) -> Result<Vec<BoundRule>, Vec<FileError>> {
    match survey(config) {
        (rules, errors) if errors.is_empty() => Ok(rules),
        (_, errors) => Err(errors),
    }
}

/// Rules as far as they are good, and what is wrong.
#[derive(Default)]
pub struct Survey {
    /// The rules.
    pub rules: Vec<BoundRule>,
    /// Everything that is wrong.
    pub errors: Vec<FileError>,
    /// Names of pushed rules that local files hide.
    pub shadowed: Vec<Arc<str>>,
    /// `true` if one of the errors is about a test inside a module.
    pub has_failed_test: bool,
    /// `true` if one of the errors is about rules that feed each other.
    pub has_cycle: bool,
}

/// Reads the manifests as [`install_all`] does: the rules that are good, and everything that is wrong.
pub fn survey(config: &Config) -> (Vec<BoundRule>, Vec<FileError>) {
    let survey = survey_with(config, Vec::new());
    (survey.rules, survey.errors)
}

/// Reads the manifests of the rules directory, and binds these rules beside them: one that has the name
/// of a local file gives way to it.
pub fn survey_with(config: &Config, pushed: Vec<Rule>) -> Survey {
    let destinations = destination_names(config);
    let gateway = Gateway {
        id: &config.gateway_id,
        // Of a file that was not understood some may be missing.
        destinations: config.is_whole.then_some(&*destinations),
        limits: &config.limits,
    };
    let mut installer = Installer::new(&config.limits);
    let mut survey = Survey::default();
    let (mut local, errors) = local_rules(config, &gateway, &mut installer);
    survey.errors = errors;
    let names: BTreeSet<Arc<str>> = local.iter().map(|rule| rule.name.clone()).collect();
    for rule in pushed {
        if names.contains(&rule.name) {
            survey.shadowed.push(rule.name);
        } else {
            local.push(rule);
        }
    }
    if local.len() > RULES_MAX {
        survey.errors.push(too_many(config, local.len()));
        return survey;
    }
    for rule in local {
        match installer.install(rule, &destinations) {
            Ok(rule) => survey.rules.push(rule),
            Err(wrong) => survey.errors.extend(wrong),
        }
    }
    survey.has_failed_test = installer.has_failed_test;
    let place = |error: &FileError| (error.path.clone(), error.place);
    survey.errors.sort_by_cached_key(place);
    let bound = &survey.rules;
    let all = bound.iter().flat_map(|rule| &rule.rule().triggers.mqtt);
    let all: BTreeSet<&TopicFilter> = all.collect();
    let all: Vec<&TopicFilter> = all.into_iter().collect();
    if let Some((shared, other)) = twice_sent(&all) {
        let has = |rule: &&BoundRule| rule.rule().triggers.mqtt.contains(shared);
        if let Some(rule) = bound.iter().find(has) {
            let error = rule.rule().source.error(sent_twice(shared, other));
            survey.errors.push(error);
        }
    }
    let cycle = cycles::check(config, &survey.rules);
    survey.has_cycle = cycle.is_some();
    survey.errors.extend(cycle);
    survey
}

fn local_rules(
    config: &Config,
    gateway: &Gateway<'_>,
    installer: &mut Installer,
) -> (Vec<Rule>, Vec<FileError>) {
    let (mut rules, mut errors) = (Vec::new(), Vec::new());
    let paths = match manifests(&config.rules_dir) {
        Ok(paths) => paths,
        Err(error) => return (rules, vec![error]),
    };
    if paths.len() > RULES_MAX {
        return (rules, vec![too_many(config, paths.len())]);
    }
    let names = destination_names(config);
    let mut by_name: BTreeMap<Arc<str>, PathBuf> = BTreeMap::new();
    for path in paths {
        let (rule, wrong) = Rule::survey(&path, gateway);
        let mut wrong: Vec<FileError> = wrong.into_iter().flatten().collect();
        let Some(rule) = rule else {
            errors.extend(wrong);
            continue;
        };
        if let Some(first) = by_name.insert(rule.name.clone(), path) {
            let message = format!("name {:?} is taken by {}", &*rule.name, first.display());
            wrong.push(rule.source.error(message));
        }
        if wrong.is_empty() {
            rules.push(rule);
        } else {
            errors.extend(all_of(rule, wrong, installer, &names));
        }
    }
    (rules, errors)
}

/// Everything that is wrong with a rule of which something is: also where it does not fit its function. Of
/// a line that is wrong already nothing more is said.
fn all_of(
    rule: Rule,
    mut wrong: Vec<FileError>,
    installer: &mut Installer,
    destinations: &[&str],
) -> Vec<FileError> {
    let line = |error: &FileError| error.place.map(|(line, _)| line);
    let told: Vec<_> = wrong.iter().filter_map(line).collect();
    let more = installer.install(rule, destinations).err();
    let more = more.into_iter().flatten();
    wrong.extend(more.filter(|error| !line(error).is_some_and(|line| told.contains(&line))));
    wrong.sort_by_key(|error| error.place);
    wrong
}

fn too_many(config: &Config, count: usize) -> FileError {
    FileError {
        path: config.rules_dir.clone(),
        place: None,
        message: format!("holds {count} rules, a gateway takes {RULES_MAX}"),
        excerpt: None,
    }
}

/// Names of the destinations in the order of their numbers: the local broker is number 0.
pub fn destination_names(config: &Config) -> Vec<&str> {
    std::iter::once(LOCAL)
        .chain(config.destinations.keys().map(String::as_str))
        .collect()
}

fn manifests(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let unreadable = |error: std::io::Error| FileError {
        path: dir.to_owned(),
        place: None,
        message: format!(
            "rules directory cannot be read: {error}; make it, or set gateway.rules_dir"
        ),
        excerpt: None,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
            && !path.is_dir()
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A subscription identifier has at most three bytes on the wire.
const IDENTIFIERS: u128 = (1 << 21) - 1;

/// The subscriptions that rules need. A filter keeps the number that it has in `held`; a new one gets
/// one that hangs on its text alone, as far as that is free: copies that wait at the broker bear it,
/// and have to be understood also where nobody took note of the number before the process ended.
///
/// Those in `held` come first, in its order. Of the copies of a message a rule answers the one that
/// stands first here; were that to change with a filter that comes to the rule, then a message whose
/// copies lie on both sides of a deployment would count twice, or not at all.
pub fn subscriptions(rules: &[BoundRule], held: &[Subscription]) -> Vec<Subscription> {
    let mut wanted: Vec<&TopicFilter> = rules
        .iter()
        .flat_map(|bound| &bound.rule().triggers.mqtt)
        .collect();
    wanted.sort();
    wanted.dedup();
    let (mut places, mut numbered) = (HashMap::new(), HashMap::new());
    for (place, known) in held.iter().enumerate() {
        places.entry(&known.filter).or_insert(place);
        if known.id != 0 {
            numbered.entry(&known.filter).or_insert(known);
        }
    }
    wanted.sort_by_cached_key(|filter| places.get(filter).copied().unwrap_or(usize::MAX));
    let mut taken: BTreeSet<u32> = held.iter().map(|subscription| subscription.id).collect();
    wanted
        .into_iter()
        .filter_map(|filter| {
            if let Some(known) = numbered.get(filter) {
                return Some(Subscription::clone(known));
            }
            let own = hash_bytes(&[filter.as_str().as_bytes()]) % IDENTIFIERS;
            let tries = (0..IDENTIFIERS).map(|more| 1 + (own + more) % IDENTIFIERS);
            let mut tries = tries.filter_map(|id| u32::try_from(id).ok());
            let id = tries.find(|id| taken.insert(*id))?;
            Some(Subscription {
                id,
                filter: filter.clone(),
            })
        })
        .collect()
}
