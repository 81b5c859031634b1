//! Roots of trust: numbered documents that name the keys which may sign roots, and those which may
//! sign bundles. Each is signed by the one before it and by itself.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::envelope::{Envelope, PayloadType};
use crate::json;
use crate::key::{KeyId, PublicKey};
use crate::moment::Moment;
use crate::names::{BundleName, Pattern, Scope};
use crate::refusal::{Reason, Refusal, malformed};

/// Keys that sign roots.
const ROOT_KEYS_MAX: usize = 32;

/// Keys that sign bundles.
const BUNDLE_KEYS_MAX: usize = 64;

/// Keys that are gone.
const REMOVED_MAX: usize = 1_000;

/// Filters that a key is held to.
const FILTERS_MAX: usize = 64;

/// A root of trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Its number, from 1 on without a gap.
    pub root: u64,
    /// Signatures of root keys that a root needs.
    pub threshold: u64,
    /// When it was made.
    pub issued: Moment,
    /// From when on nothing new is accepted by it; the next root still is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
    /// Every key that was in a root once and is no more.
    pub removed: Vec<KeyId>,
    /// Keys that sign roots.
    pub root_keys: Vec<RootKey>,
    /// Keys that sign bundles.
    pub bundle_keys: Vec<BundleKey>,
}

/// A key that signs roots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootKey {
    /// Its id.
    pub id: KeyId,
    /// The key.
    pub key: PublicKey,
}

/// A key that signs bundles, and what it may sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleKey {
    /// Its id.
    pub id: KeyId,
    /// The key.
    pub key: PublicKey,
    /// Scopes.
    pub scopes: Vec<Pattern>,
    /// Names of bundles.
    pub bundles: Vec<Pattern>,
    /// Filters that cover those of its rules.
    pub listen: Vec<String>,
    /// `DESTINATION:FILTER` that cover where its rules send.
    pub send: Vec<String>,
}

impl BundleKey {
    /// `true` if the key may sign a bundle of this name for this scope.
    pub fn may_sign(&self, scope: &Scope, bundle: &BundleName) -> bool {
        let scope = scope.to_string();
        self.scopes.iter().any(|pattern| pattern.matches(&scope))
            && self
                .bundles
                .iter()
                .any(|pattern| pattern.matches(bundle.as_str()))
    }
}

impl Root {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        // Numbers, texts and lists can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Accepts a root that nothing comes before for this gateway: its file, which an owner has put there.
    ///
    /// # Errors
    /// When it is malformed, or not signed by its own threshold.
    pub fn first(envelope: &Envelope) -> Result<Self, Refusal> {
        let root = Self::of(envelope)?;
        root.check_signatures(envelope, "its own")?;
        Ok(root)
    }

    /// Accepts the root that comes after this one.
    ///
    /// # Errors
    /// When it is malformed, is not the next one, is not signed by the threshold of both, brings a
    /// removed key back, or forgets one.
    pub fn next(&self, envelope: &Envelope) -> Result<Self, Refusal> {
        // By our own keys first: nobody else's payload is parsed.
        self.check_signatures(envelope, "the present root's")?;
        let next = Self::of(envelope)?;
        next.check_signatures(envelope, "its own")?;
        if next.root != self.root.saturating_add(1) {
            let text = format!("root {} does not follow root {}", next.root, self.root);
            return Err(Refusal::new(Reason::Replay, text));
        }
        let removed: BTreeSet<KeyId> = next.removed.iter().copied().collect();
        let now: BTreeSet<KeyId> = next.ids().collect();
        let gone = self.ids().filter(|id| !now.contains(id));
        let forgotten = gone
            .chain(self.removed.iter().copied())
            .find(|id| !removed.contains(id));
        match forgotten {
            Some(id) => Err(malformed(format!(
                "root {}: key {id} is gone and has to stand under removed",
                next.root
            ))),
            None => Ok(next),
        }
    }

    /// Looks a bundle key up.
    pub fn bundle_key(&self, id: KeyId) -> Option<&BundleKey> {
        self.bundle_keys.iter().find(|key| key.id == id)
    }

    /// Ids of all keys.
    fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        let roots = self.root_keys.iter().map(|key| key.id);
        roots.chain(self.bundle_keys.iter().map(|key| key.id))
    }

    fn of(envelope: &Envelope) -> Result<Self, Refusal> {
        if envelope.payload_type != PayloadType::Root {
            return Err(malformed(format!("{} is no root", envelope.payload_type)));
        }
        Self::parse(&envelope.payload)
    }

    /// Reads and checks a payload, whose signatures somebody else looks at.
    ///
    /// # Errors
    /// When it is no JSON of this form, or as for [`Root::check`].
    pub fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let root: Self =
            json::parse(payload).map_err(|why| malformed(format!("the root: {why}")))?;
        root.check()?;
        Ok(root)
    }

    /// Checks what its types do not tell.
    ///
    /// # Errors
    /// When a limit is exceeded, the threshold cannot be met, a key stands twice, is removed and there,
    /// or is not the one of its id.
    pub fn check(&self) -> Result<(), Refusal> {
        let wrong = |text: String| Err(malformed(format!("root {}: {text}", self.root)));
        if self.root == 0 {
            return wrong("roots are numbered from 1 on".to_owned());
        }
        let (roots, bundles) = (self.root_keys.len(), self.bundle_keys.len());
        if roots > ROOT_KEYS_MAX || bundles > BUNDLE_KEYS_MAX || self.removed.len() > REMOVED_MAX {
            return wrong(format!(
                "it has at most {ROOT_KEYS_MAX} root keys, {BUNDLE_KEYS_MAX} bundle keys and {REMOVED_MAX} \
                 removed ones"
            ));
        }
        if self.threshold == 0 || self.threshold > roots as u64 {
            return wrong(format!(
                "threshold {} with {roots} root keys",
                self.threshold
            ));
        }
        let keys = self.root_keys.iter().map(|key| (key.id, &key.key));
        let keys = keys.chain(self.bundle_keys.iter().map(|key| (key.id, &key.key)));
        let removed: BTreeSet<KeyId> = self.removed.iter().copied().collect();
        let mut seen = BTreeSet::new();
        for (id, key) in keys {
            if key.id() != id {
                return wrong(format!("key {id} has another id, {}", key.id()));
            }
            if removed.contains(&id) {
                return wrong(format!("key {id} was removed and never comes back"));
            }
            // A key that signs roots and bundles could not be taken away from one of them.
            if !seen.insert(id) {
                return wrong(format!("key {id} stands there twice"));
            }
        }
        let mut filters = self
            .bundle_keys
            .iter()
            .map(|key| key.listen.len().max(key.send.len()));
        if filters.any(|count| count > FILTERS_MAX) {
            return wrong(format!("a key has at most {FILTERS_MAX} filters"));
        }
        Ok(())
    }

    fn check_signatures(&self, envelope: &Envelope, whose: &str) -> Result<(), Refusal> {
        let signers = self
            .root_keys
            .iter()
            .filter(|key| envelope.is_signed_by(&key.key));
        let count = signers.count() as u64;
        if count < self.threshold {
            let text = format!(
                "{count} good signatures of {whose} root keys, {} are needed",
                self.threshold
            );
            return Err(Refusal::new(Reason::BadSignature, text));
        }
        Ok(())
    }
}
