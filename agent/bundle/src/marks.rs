//! Marks: the highest version accepted of each bundle, for each key that signed it. They never go
//! down, so that nobody brings an old bundle back; only a key that is removed takes its marks along.

use serde::{Deserialize, Serialize};

use crate::encoding::Sha256Hex;
use crate::key::KeyId;
use crate::names::{BundleName, Scope};
use crate::refusal::{Reason, Refusal};

/// Bundles with marks.
const BUNDLES_MAX: usize = 256;

/// Marks in all: a bundle of several signers has one for each.
const MARKS_MAX: usize = 1_024;

/// The highest version that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The gateways.
    pub scope: Scope,
    /// The bundle.
    pub bundle: BundleName,
    /// The key that signed it.
    pub key: KeyId,
    /// The version.
    pub version: u64,
    /// SHA-256 of the payload.
    pub sha256: Sha256Hex,
}

/// All marks, in the order of scope, bundle and key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marks(Vec<Mark>);

impl Marks {
    /// Tells whether a version of a bundle may come: `true` if it is new, `false` if it is the one that
    /// was accepted last.
    ///
    /// # Errors
    /// When one at least as high was accepted before.
    pub fn admit(
        &self,
        scope: &Scope,
        bundle: &BundleName,
        version: u64,
        sha256: Sha256Hex,
    ) -> Result<bool, Refusal> {
        let of_it = self.of(scope, bundle);
        let Some(highest) = of_it.max_by_key(|mark| mark.version) else {
            return Ok(true);
        };
        if version > highest.version {
            return Ok(true);
        }
        if version == highest.version && sha256 == highest.sha256 {
            return Ok(false);
        }
        let text = if version == highest.version {
            format!("version {version} was accepted before with other content; push a new version")
        } else {
            format!(
                "version {version} is not above {}, which was accepted before",
                highest.version
            )
        };
        Err(Refusal::new(Reason::Replay, text))
    }

    /// Sets a mark; a lower one is none.
    ///
    /// # Errors
    /// When there are as many as are kept.
    pub fn set(&mut self, mark: Mark) -> Result<(), Refusal> {
        let place = self
            .0
            .binary_search_by(|known| key_of(known).cmp(&key_of(&mark)));
        match place {
            Ok(at) => {
                if let Some(known) = self
                    .0
                    .get_mut(at)
                    .filter(|known| known.version < mark.version)
                {
                    *known = mark;
                }
                Ok(())
            }
            Err(at) => {
                let is_new = self.of(&mark.scope, &mark.bundle).next().is_none();
                if self.0.len() >= MARKS_MAX || (is_new && self.bundles() >= BUNDLES_MAX) {
                    let text = format!("marks of {BUNDLES_MAX} bundles are kept, this is one more");
                    return Err(Refusal::new(Reason::TooMany, text));
                }
                self.0.insert(at, mark);
                Ok(())
            }
        }
    }

    /// Forgets the marks of keys that do not count any more.
    pub fn retain(&mut self, counts: impl Fn(KeyId) -> bool) {
        self.0.retain(|mark| counts(mark.key));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mark> {
        self.0.iter()
    }

    fn of<'a>(
        &'a self,
        scope: &'a Scope,
        bundle: &'a BundleName,
    ) -> impl Iterator<Item = &'a Mark> {
        self.0
            .iter()
            .filter(move |mark| mark.scope == *scope && mark.bundle == *bundle)
    }

    fn bundles(&self) -> usize {
        let same = |a: &&Mark, b: &&Mark| a.scope == b.scope && a.bundle == b.bundle;
        let marks: Vec<&Mark> = self.0.iter().collect();
        marks.chunk_by(|a, b| same(a, b)).count()
    }
}

fn key_of(mark: &Mark) -> (&Scope, &BundleName, KeyId) {
    (&mark.scope, &mark.bundle, mark.key)
}
