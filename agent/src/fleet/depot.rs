//! The depot: what is kept of pushed rules, in the folder `fleet` of the data directory. Each file is
//! written aside, synced and renamed, and the folder synced; each ends in a hash of what stands before,
//! so that a damaged one is known. None of them is ever fatal: what is missing or damaged is told, and
//! what is left runs.

mod kept;
mod sealed;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use tidemill_bundle::{
    Envelope, PayloadType, Refusal, Root, SEED_BYTES, Sha256Hex, SigningKey, Trust, sha256,
};

use super::rollout::{Deployment, Entry};
use kept::{KeptDeployment, KeptTrust};
pub(crate) use kept::{KeptEntry, Pending, RolledBack, State};
use sealed::{getrandom, listed, read_whole, sealed, to_json, unsealed, write_synced};
use tidemill_base::files;

/// Bytes of all objects.
const DEPOT_BYTES_MAX: u64 = 64 << 20;

/// Name of the folder.
const NAME: &str = "fleet";

/// The folder, held by one process.
#[derive(Debug)]
pub(crate) struct Depot {
    dir: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// The outcome of reading a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<T> {
    /// It is there and whole.
    Whole(T),
    /// There is none.
    Missing,
    /// It is damaged, or cannot be read.
    Damaged(String),
}

impl Depot {
    /// Opens the depot of a data directory; makes it if it is not there. `None` if another process has it.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Option<Self>> {
        let dir = data_dir.join(NAME);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for folder in [
            data_dir,
            &dir,
            &dir.join("deployments"),
            &dir.join("objects"),
        ] {
            builder.create(folder)?;
        }
        let lock = files::own()
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { dir, _lock: lock })),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The key by which this gateway signs what it tells; made at the first start.
    ///
    /// # Errors
    /// When it can neither be read nor written.
    pub(crate) fn device_key(&self) -> io::Result<SigningKey> {
        let path = self.dir.join("device.key");
        let mut seed = zeroize::Zeroizing::new([0; SEED_BYTES]);
        let read = files::own()
            .read(true)
            .open(&path)
            .and_then(|mut file| file.read_exact(&mut *seed));
        if let Err(error) = read {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                tracing::warn!(
                    "{} is damaged: a new key is made, which operators have to accept",
                    path.display()
                );
            } else if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            getrandom(&mut seed)?;
            self.write("device.key", &*seed)?;
        }
        Ok(SigningKey::from_seed(&seed))
    }

    /// Reads the state; the one before it where it is damaged.
    pub(crate) fn state(&self) -> (State, Option<String>) {
        let damage = match self.read::<State>("state") {
            Found::Whole(state) => return (state, None),
            Found::Missing => None,
            Found::Damaged(why) => Some(why),
        };
        match self.read::<State>("state.before") {
            Found::Whole(state) => {
                let why = damage.unwrap_or_else(|| "state is missing".to_owned());
                (state, Some(why))
            }
            Found::Missing | Found::Damaged(_) if damage.is_none() => (State::default(), None),
            Found::Missing | Found::Damaged(_) => (State::default(), damage),
        }
    }

    /// Writes the state.
    ///
    /// # Errors
    /// When it cannot be written; then the one before is there.
    pub(crate) fn write_state(&self, state: &State) -> io::Result<()> {
        let (state_path, before) = (self.dir.join("state"), self.dir.join("state.before"));
        if let Ok(bytes) = read_whole(&state_path)
            && unsealed(&bytes).is_some()
        {
            self.write_at(&before, &bytes)?;
        }
        self.write("state", &sealed(&to_json(state)))
    }

    /// Reads trust.
    pub(crate) fn trust(&self) -> Found<(Trust, Option<Envelope>)> {
        let kept = match self.read::<KeptTrust>("trust") {
            Found::Whole(kept) => kept,
            Found::Missing => return Found::Missing,
            Found::Damaged(why) => return Found::Damaged(why),
        };
        // It was accepted when it was written; only its form is checked again.
        let root = kept
            .root
            .as_ref()
            .map(|envelope| Root::parse(&envelope.payload))
            .transpose();
        let trust = root.and_then(|root| Trust::decode(kept.trust.get().as_bytes(), root));
        match trust {
            Ok(trust) => Found::Whole((trust, kept.root)),
            Err(refusal) => Found::Damaged(refusal.text),
        }
    }

    /// Writes trust.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_trust(&self, trust: &Trust, root: Option<&Envelope>) -> io::Result<()> {
        let text = String::from_utf8(trust.encode()).map_err(io::Error::other)?;
        let kept = KeptTrust {
            trust: serde_json::value::RawValue::from_string(text).map_err(io::Error::other)?,
            root: root.cloned(),
        };
        self.write("trust", &sealed(&to_json(&kept)))
    }

    /// Reads a deployment; number 0 is always there.
    ///
    /// # Errors
    /// In words, when it is missing or damaged.
    pub(crate) fn deployment(&self, number: u64) -> Result<Deployment, String> {
        if number == 0 {
            return Ok(Deployment::default());
        }
        let name = format!("deployments/{number}.json");
        match self.read::<KeptDeployment>(&name) {
            Found::Whole(kept) if kept.deployment == number => Ok(Deployment {
                number,
                entries: kept.bundles.into_iter().map(Entry::from).collect(),
            }),
            Found::Whole(_) => Err(format!("fleet/{name} is that of another deployment")),
            Found::Missing => Err(format!("fleet/{name} is missing")),
            Found::Damaged(why) => Err(why),
        }
    }

    /// Writes a deployment, whose envelopes are there already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_deployment(
        &self,
        deployment: &Deployment,
        config: Sha256Hex,
    ) -> io::Result<()> {
        let kept = KeptDeployment {
            deployment: deployment.number,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            config,
            bundles: deployment.entries.iter().map(KeptEntry::from).collect(),
        };
        let name = format!("deployments/{}.json", deployment.number);
        self.write(&name, &sealed(&to_json(&kept)))
    }

    /// Reads the envelope of a bundle.
    ///
    /// # Errors
    /// When it is missing, damaged, or no envelope.
    pub(crate) fn envelope(&self, hash: Sha256Hex) -> Result<Envelope, String> {
        let shown = format!("fleet/objects/{hash}");
        let bytes = read_whole(&self.object(hash)).map_err(|error| format!("{shown}: {error}"))?;
        if sha256(&bytes) != hash {
            return Err(format!("{shown} is damaged"));
        }
        Envelope::parse(&bytes, PayloadType::Bundle)
            .map_err(|refusal| format!("{shown}: {refusal}"))
    }

    /// Writes an envelope under its hash.
    ///
    /// # Errors
    /// When it cannot be written, or the depot would hold more than it may.
    pub(crate) fn write_envelope(&self, bytes: &[u8]) -> io::Result<Sha256Hex> {
        let hash = sha256(bytes);
        let path = self.object(hash);
        if read_whole(&path).is_ok_and(|there| there == bytes) {
            return Ok(hash);
        }
        let held = self
            .objects()
            .filter_map(|path| Some(path.metadata().ok()?.len()))
            .sum::<u64>();
        if held.saturating_add(bytes.len() as u64) > DEPOT_BYTES_MAX {
            let text = format!(
                "the depot holds {} MiB, which is all that it may",
                DEPOT_BYTES_MAX >> 20
            );
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        }
        self.write_at(&path, bytes)?;
        Ok(hash)
    }

    /// Removes what none of these deployments names, and nobody waits for. A file that cannot be removed stays.
    pub(crate) fn clean(&self, kept: &[u64], wanted: impl Iterator<Item = Sha256Hex>) {
        let mut objects: BTreeSet<PathBuf> = wanted.map(|hash| self.object(hash)).collect();
        for number in kept {
            let Ok(deployment) = self.deployment(*number) else {
                // Its envelopes may be those that are needed once it is mended.
                return;
            };
            objects.extend(
                deployment
                    .entries
                    .iter()
                    .map(|entry| self.object(entry.envelope)),
            );
        }
        let deployments = listed(&self.dir.join("deployments"));
        let names: BTreeSet<PathBuf> = kept
            .iter()
            .map(|number| self.dir.join(format!("deployments/{number}.json")))
            .collect();
        let surplus = deployments.filter(|path| !names.contains(path));
        for path in surplus.chain(self.objects().filter(|path| !objects.contains(path))) {
            let _ = std::fs::remove_file(path);
        }
    }

    fn object(&self, hash: Sha256Hex) -> PathBuf {
        self.dir.join("objects").join(hash.to_string())
    }

    fn objects(&self) -> impl Iterator<Item = PathBuf> {
        listed(&self.dir.join("objects"))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Found<T> {
        let bytes = match read_whole(&self.dir.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Missing,
            Err(error) => return Found::Damaged(format!("fleet/{name}: {error}")),
        };
        let content = unsealed(&bytes).ok_or_else(|| format!("fleet/{name} is damaged"));
        let parsed = content.and_then(|content| {
            serde_json::from_slice(content).map_err(|error| format!("fleet/{name}: {error}"))
        });
        match parsed {
            Ok(content) => Found::Whole(content),
            Err(why) => Found::Damaged(why),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write_at(&self.dir.join(name), bytes)
    }

    fn write_at(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = path.with_extension("new");
        let written = write_synced(&aside, bytes).and_then(|()| std::fs::rename(&aside, path));
        if let Err(error) = written {
            // On a full disk half of it would stay.
            let _ = std::fs::remove_file(&aside);
            return Err(error);
        }
        let folder = path.parent().unwrap_or(&self.dir);
        File::open(folder)?.sync_all()
    }
}

/// The refusal of something that could not be written.
pub(crate) fn storage(error: &io::Error) -> Refusal {
    let text = format!("the depot cannot be written: {error}");
    Refusal::new(tidemill_bundle::Reason::Storage, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_bundle::{BundleName, Moment, RootKey, Scope};

    fn depot() -> (tempfile::TempDir, Depot) {
        let dir = tempfile::tempdir().unwrap();
        let depot = Depot::open(dir.path()).unwrap().unwrap();
        (dir, depot)
    }

    fn envelope(payload: &[u8]) -> Envelope {
        let mut envelope = Envelope::new(PayloadType::Bundle, payload.to_vec());
        envelope.sign(&SigningKey::from_seed(&[1; SEED_BYTES]));
        envelope
    }

    fn entry(hash: Sha256Hex) -> Entry {
        Entry {
            scope: Scope::All,
            bundle: BundleName::parse("main").unwrap(),
            version: 7,
            sha256: sha256(b"{}"),
            envelope: hash,
        }
    }

    #[test]
    fn bytes_of_the_files_are_stable() {
        let (dir, depot) = depot();
        let state = State {
            start: 41,
            next: 14,
            active: 12,
            previous: 11,
            pending: Some(Pending {
                deployment: 13,
                starts: 1,
            }),
            rolled_back: Vec::new(),
        };
        depot.write_state(&state).unwrap();
        let text = std::fs::read_to_string(dir.path().join("fleet/state")).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"start":41,"next":14,"active":12,"previous":11,"pending":{"deployment":13,"starts":1},"#,
                "\"rolled_back\":[]}\n",
                "ee84df036fe5ec326faee7e6c4bccc369e23eaafb0b8c0eca86a6d661a4987a4\n"
            )
        );
        assert_eq!(depot.state(), (state, None));
    }

    #[test]
    fn a_damaged_state_is_the_one_before() {
        let (dir, depot) = depot();
        assert_eq!(depot.state(), (State::default(), None));
        let first = State {
            active: 1,
            ..State::default()
        };
        depot.write_state(&first).unwrap();
        depot
            .write_state(&State {
                active: 2,
                ..first.clone()
            })
            .unwrap();
        let path = dir.path().join("fleet/state");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (state, damage) = depot.state();
        assert_eq!(state, first);
        assert!(damage.is_some());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(depot.state().0, first);
        // A damaged one never takes the place of the one before.
        std::fs::write(&path, b"x").unwrap();
        depot.write_state(&State { active: 3, ..first }).unwrap();
        assert_eq!(depot.state().0.active, 3);
    }

    #[test]
    fn deployments_and_envelopes_are_known_by_their_hashes() {
        let (dir, depot) = depot();
        let bytes = envelope(b"{}").encode();
        let hash = depot.write_envelope(&bytes).unwrap();
        let deployment = Deployment {
            number: 3,
            entries: vec![entry(hash)],
        };
        depot.write_deployment(&deployment, sha256(b"")).unwrap();
        assert_eq!(depot.deployment(3), Ok(deployment));
        assert_eq!(depot.deployment(0), Ok(Deployment::default()));
        assert!(depot.deployment(4).unwrap_err().contains("missing"));
        assert_eq!(depot.envelope(hash).unwrap().encode(), bytes);
        let other = depot.write_envelope(&envelope(b"[]").encode()).unwrap();
        depot.clean(&[0, 3], std::iter::empty());
        assert!(depot.envelope(hash).is_ok() && depot.envelope(other).is_err());
        std::fs::write(
            dir.path().join(format!("fleet/objects/{hash}")),
            &bytes[1..],
        )
        .unwrap();
        assert!(depot.envelope(hash).unwrap_err().contains("damaged"));
        depot.write_envelope(&bytes).unwrap();
        assert!(
            depot.envelope(hash).is_ok(),
            "what is damaged is written again"
        );
    }

    #[test]
    fn trust_is_kept_with_its_root() {
        let (_dir, depot) = depot();
        assert!(matches!(depot.trust(), Found::Missing));
        let key = SigningKey::from_seed(&[2; SEED_BYTES]);
        let root = Root {
            root: 1,
            threshold: 1,
            issued: Moment::parse("2026-12-01T00:00:00Z").unwrap(),
            expires: None,
            removed: Vec::new(),
            root_keys: vec![RootKey {
                id: key.public().id(),
                key: key.public(),
            }],
            bundle_keys: Vec::new(),
        };
        let mut envelope = Envelope::new(PayloadType::Root, root.encode());
        envelope.sign(&key);
        let mut trust = Trust::default();
        trust.begin(Root::first(&envelope).unwrap());
        depot.write_trust(&trust, Some(&envelope)).unwrap();
        assert_eq!(depot.trust(), Found::Whole((trust, Some(envelope))));
    }

    #[test]
    fn one_process_has_the_depot_and_the_device_keeps_its_key() {
        let (dir, depot) = depot();
        assert!(Depot::open(dir.path()).unwrap().is_none());
        let key = depot.device_key().unwrap().public();
        assert_eq!(depot.device_key().unwrap().public(), key);
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(dir.path().join("fleet/device.key"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        drop(depot);
        assert!(Depot::open(dir.path()).unwrap().is_some());
    }
}
