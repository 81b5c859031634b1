//! A bundle: rules with their modules, for a scope, under a name and a version that rises. Everything
//! in here was signed by then, and is checked all the same.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use crate::encoding::{Sha256Hex, base64_bytes, sha256};
use crate::json;
use crate::moment::Moment;
use crate::names::{BundleName, Scope, is_plain};
use crate::refusal::{Refusal, malformed};

/// Rules of a bundle.
const RULES_MAX: usize = 1_000;

/// Bytes of a manifest.
const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// A set of rules that is switched to as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Its name; with the scope, its identity.
    pub bundle: BundleName,
    /// The gateways that it is for.
    pub scope: Scope,
    /// Rises with every push.
    pub version: u64,
    /// The lowest root that its signer relies on.
    pub root: u64,
    /// The oldest agent that takes it, such as `0.2.0`.
    pub min_agent: String,
    /// When it was signed.
    pub issued: Moment,
    /// From when on it is not accepted any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
    /// Conditions for its confirmation.
    #[serde(default)]
    pub health: Health,
    /// The rules; `None` lets the next scope in precedence count again.
    #[serde(deserialize_with = "stated")]
    pub rules: Option<Vec<BundleRule>>,
}

/// Conditions that a deployment has to meet in probation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Events that each changed rule has to see.
    pub events: u64,
    /// The longest time that they are waited for, such as `10m`.
    pub within: String,
    /// Share of dead letters above that of the version before.
    pub dead_share: f64,
    /// Fate of the state if it goes back.
    pub state: StateChoice,
}

/// Fate of the state if a deployment goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateChoice {
    /// It carries over, both ways.
    Keep,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            events: 20,
            within: "10m".to_owned(),
            dead_share: 0.05,
            state: StateChoice::Keep,
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRule {
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: u64,
    /// The manifest, TOML.
    pub manifest: String,
    /// The module, where it is none of those that the agent brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<InlineModule>,
    /// Streams in the order in which a compiled statement numbers them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<RuleStream>,
}

/// A module inside the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlineModule {
    /// SHA-256 of its bytes.
    pub sha256: Sha256Hex,
    /// Their number.
    pub bytes: u64,
    /// The bytes.
    #[serde(with = "base64_bytes")]
    pub inline: Vec<u8>,
}

/// A stream of a compiled statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleStream {
    /// Its name in the statement.
    pub name: String,
    /// Its filters; none where it has all events of the rule.
    pub mqtt: Vec<String>,
    /// The place of the time in an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// Tells a field that is `null` from one that is missing, which is an error.
fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(d)
}

impl InlineModule {
    /// A module of these bytes.
    pub fn new(wasm: Vec<u8>) -> Self {
        Self {
            sha256: sha256(&wasm),
            bytes: wasm.len() as u64,
            inline: wasm,
        }
    }
}

impl Bundle {
    /// Reads and checks a payload.
    ///
    /// # Errors
    /// When it is no JSON of this form, has a field that is not known, more rules than there may be, two
    /// of one name, or a module that is not what its hash says.
    pub fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let bundle: Self =
            json::parse(payload).map_err(|why| malformed(format!("the bundle: {why}")))?;
        bundle.check()?;
        Ok(bundle)
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        // Numbers, texts and lists can always be written; shares are finite.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Checks what its types do not tell.
    ///
    /// # Errors
    /// As for [`Bundle::parse`].
    pub fn check(&self) -> Result<(), Refusal> {
        if self.version == 0 {
            return Err(malformed("version: it begins at 1"));
        }
        if agent_version(&self.min_agent).is_none() {
            let text = format!(
                "min_agent: {:?} is no version such as 0.2.0",
                self.min_agent
            );
            return Err(malformed(text));
        }
        let share = self.health.dead_share;
        if !(0.0..=1.0).contains(&share) {
            return Err(malformed("health.dead_share lies between 0 and 1"));
        }
        match (&self.rules, &self.scope) {
            (None, Scope::All) => Err(malformed(
                "rules: null lets the next scope count, and behind all there is none; write []",
            )),
            (None, _) => Ok(()),
            (Some(rules), _) => check_rules(rules),
        }
    }
}

fn check_rules(rules: &[BundleRule]) -> Result<(), Refusal> {
    let count = rules.len();
    if count > RULES_MAX {
        return Err(malformed(format!(
            "rules: {count}, at most {RULES_MAX} are taken"
        )));
    }
    let mut names = BTreeSet::new();
    for rule in rules {
        let name = &rule.name;
        if !is_plain(name) {
            return Err(malformed(format!("rules: {name:?} is no name of a rule")));
        }
        if !names.insert(name) {
            return Err(malformed(format!("rules: two have the name {name}")));
        }
        if rule.manifest.len() > MANIFEST_BYTES_MAX {
            let text = format!("rule {name}: a manifest has at most {MANIFEST_BYTES_MAX} bytes");
            return Err(malformed(text));
        }
        let Some(module) = &rule.module else { continue };
        let is_itself =
            module.bytes == module.inline.len() as u64 && module.sha256 == sha256(&module.inline);
        if !is_itself {
            let text = format!("rule {name}: the module is not the one of its sha256 and bytes");
            return Err(malformed(text));
        }
    }
    Ok(())
}

/// Reads a version of an agent, for comparing.
pub(crate) fn agent_version(text: &str) -> Option<[u32; 3]> {
    let mut parts = text.split('.');
    let mut part = || {
        let part = parts.next()?;
        let good = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        good.then(|| part.parse().ok()).flatten()
    };
    let version = [part()?, part()?, part()?];
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Reason;

    const GOLDEN: &str = concat!(
        r#"{"bundle":"plant","scope":"group:plant-a","version":7,"root":3,"min_agent":"0.1.0","#,
        r#""issued":"2026-12-01T09:00:00Z","health":{"events":20,"within":"10m","dead_share":0.05,"#,
        r#""state":"keep"},"rules":[{"name":"hot","version":4,"manifest":"name = \"hot\"\n","#,
        r#""module":{"sha256":"cd5d4935a48c0672cb06407bb443bc0087aff947c6b864bac886982c73b3027f","#,
        r#""bytes":4,"inline":"AGFzbQ=="},"#,
        r#""streams":[{"name":"s","mqtt":["a/+"],"timestamp":"/ts"}]}]}"#
    );

    #[test]
    fn bytes_of_a_bundle_are_stable() {
        let bundle = Bundle::parse(GOLDEN.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(bundle.encode()).unwrap(), GOLDEN);
        let wasm = bundle.rules.unwrap().remove(0).module.unwrap();
        assert_eq!(wasm, InlineModule::new(b"\0asm".to_vec()));
    }

    #[test]
    fn what_is_not_known_or_not_so_is_refused_by_name() {
        let edits = [
            ("\"version\":7", "\"version\":0", "version"),
            ("\"version\":7", "\"version\":1e999", "out of range"),
            (
                "\"version\":7",
                "\"version\":7,\"version\":8",
                "duplicate field `version`",
            ),
            (
                "\"root\":3",
                "\"root\":3,\"waves\":[]",
                "unknown field `waves`",
            ),
            ("\"root\":3,", "", "missing field `root`"),
            ("\"keep\"", "\"restore\"", "restore"),
            ("0.1.0", "0.1", "min_agent"),
            ("0.05", "1.5", "dead_share"),
            ("\"bytes\":4", "\"bytes\":5", "not the one"),
            ("AGFzbQ==", "AGFzbR==", "base64"),
            ("group:plant-a", "group:Plant", "no name of a group"),
            ("\"name\":\"hot\"", "\"name\":\"a/b\"", "no name of a rule"),
        ];
        for (from, to, expected) in edits {
            let edited = GOLDEN.replacen(from, to, 1);
            assert_ne!(edited, GOLDEN, "{from}");
            let refusal = Bundle::parse(edited.as_bytes()).unwrap_err();
            assert_eq!(refusal.reason, Reason::Malformed);
            assert!(refusal.text.contains(expected), "{}", refusal.text);
        }
    }

    #[test]
    fn rules_may_be_none_or_null_and_not_missing() {
        let (head, _) = GOLDEN.split_once(",\"rules\"").unwrap();
        let parse = |text: String| Bundle::parse(text.as_bytes());
        assert_eq!(
            parse(format!("{head},\"rules\":[]}}")).unwrap().rules,
            Some(vec![])
        );
        assert_eq!(
            parse(format!("{head},\"rules\":null}}")).unwrap().rules,
            None
        );
        assert!(parse(format!("{head}}}")).is_err());
        let to_all = head.replace("group:plant-a", "all");
        assert!(parse(format!("{to_all},\"rules\":null}}")).is_err());
        assert!(parse(format!("{to_all},\"rules\":[]}}")).is_ok());
    }

    #[test]
    fn versions_of_agents_are_three_numbers() {
        assert_eq!(agent_version("0.12.3"), Some([0, 12, 3]));
        assert!(agent_version("0.9.0") < agent_version("0.10.0"));
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1.+2.3", "1.2.3-a"] {
            assert_eq!(agent_version(wrong), None, "{wrong}");
        }
    }
}
