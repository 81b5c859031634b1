//! The state database: sled, written by checkpoints and read at the start. Nothing but this file
//! names sled. A checkpoint is durable once [`Pond::write`] has returned: sled's own flush does not
//! reach the medium on Linux, so the file is synced through a descriptor of our own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::mill::{Checkpoint, SavedRule};
use crate::record::{AgentRecord, RecordError, RuleRecord, decode_state};
use crate::state::Key;
use crate::topic::{Subscription, TopicFilter};

/// Bytes of sled's cache: its default of 1 GB is more than a gateway has.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// Writes in one batch: above about a thousand sled's memory grows without bound.
const BATCH_WRITES_MAX: usize = 1_000;

/// Where the agent's own record stands; rules and states have prefixes of their own.
const AGENT: &[u8] = b"a";
/// Where the subscriptions stand that the broker's session is known to hold.
const SUBSCRIPTIONS: &[u8] = b"b";
const RULE: u8 = b'r';
const STATE: u8 = b's';

/// Why the pond cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PondError {
    /// Another agent works in the data directory.
    #[error("{0} is used by another agent; stop that one, or set gateway.data_dir")]
    Locked(PathBuf),
    /// The directory cannot be made or written.
    #[error("data directory {0}: {1}")]
    Directory(PathBuf, #[source] std::io::Error),
    /// The database failed.
    #[error("state database")]
    Database(#[from] sled::Error),
    /// Something in it cannot be read.
    #[error("{what} in the state database: {error}; move {dir} away to start without state")]
    Record {
        /// What was read.
        what: String,
        /// What is wrong with it.
        error: RecordError,
        /// The data directory.
        dir: PathBuf,
    },
}

/// The state database of one data directory, which is locked while this value lives.
#[derive(Debug)]
pub struct Pond {
    dir: PathBuf,
    database: sled::Db,
    file: File,
    _lock: File,
}

/// What the pond holds.
#[derive(Debug, Default)]
pub struct Saved {
    /// The agent's own record; `None` in a new data directory.
    pub agent: Option<AgentRecord>,
    /// Rules by name.
    pub rules: BTreeMap<String, SavedRule>,
}

impl Pond {
    /// Opens the database in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be used, another agent uses it, or the database does not open.
    pub fn open(dir: &Path) -> Result<Self, PondError> {
        let failed = |error| PondError::Directory(dir.to_owned(), error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Err(PondError::Locked(dir.to_owned()));
        }
        let path = dir.join("pond");
        let database = sled::Config::new()
            .path(&path)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()?;
        let file = File::open(path.join("db")).map_err(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            database,
            file,
            _lock: lock,
        })
    }

    /// Reads everything that was written.
    ///
    /// # Errors
    /// When the database fails or holds something of another format.
    pub fn read(&self) -> Result<Saved, PondError> {
        let mut saved = Saved::default();
        if let Some(bytes) = self.database.get(AGENT)? {
            let agent = AgentRecord::decode(&bytes);
            saved.agent =
                Some(agent.map_err(|error| self.unreadable("the agent's record", error))?);
        }
        for entry in self.database.scan_prefix([RULE]) {
            let (key, bytes) = entry?;
            let Some((name, _)) = split_key(&key) else {
                continue;
            };
            let record = RuleRecord::decode(&bytes)
                .map_err(|error| self.unreadable(&format!("rule {name}"), error))?;
            let RuleRecord {
                schema,
                pane_due_mono_ms,
                slots,
            } = record;
            let rule = SavedRule {
                schema,
                pane_due_mono_ms,
                slots,
                keys: Vec::new(),
            };
            saved.rules.insert(name.to_owned(), rule);
        }
        for entry in self.database.scan_prefix([STATE]) {
            let (key, bytes) = entry?;
            let Some((name, key)) = split_key(&key) else {
                continue;
            };
            let state = decode_state(&bytes)
                .map_err(|error| self.unreadable(&format!("key {key:?} of rule {name}"), error))?;
            let rule = saved.rules.entry(name.to_owned()).or_default();
            rule.keys.push((key.into(), state));
        }
        Ok(saved)
    }

    /// Writes a checkpoint and returns once it is on the medium. The agent's record goes last.
    ///
    /// # Errors
    /// When the database or the medium fails; part of the checkpoint may be written then, and
    /// writing it again completes it.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<(), PondError> {
        let mut writes = Vec::new();
        for (name, record) in &checkpoint.rules {
            writes.push((rule_key(name), Some(record.as_slice())));
        }
        for (name, key, record) in &checkpoint.states {
            writes.push((state_key(name, key), Some(record.as_slice())));
        }
        for (name, key) in &checkpoint.gone {
            writes.push((state_key(name, key), None));
        }
        for chunk in writes.chunks(BATCH_WRITES_MAX) {
            let mut batch = sled::Batch::default();
            for (key, record) in chunk {
                match record {
                    Some(record) => batch.insert(key.as_slice(), *record),
                    None => batch.remove(key.as_slice()),
                }
            }
            self.database.apply_batch(batch)?;
            self.flush()?;
        }
        self.database.insert(AGENT, checkpoint.agent.as_slice())?;
        self.flush()
    }

    /// The subscriptions that the session with `broker` is known to hold.
    ///
    /// # Errors
    /// When the database fails.
    pub fn subscriptions(&self, broker: &str) -> Result<Vec<Subscription>, PondError> {
        let Some(bytes) = self.database.get(SUBSCRIPTIONS)? else {
            return Ok(Vec::new());
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        if lines.next() != Some(broker) {
            return Ok(Vec::new());
        }
        let parse = |line: &str| {
            let (id, filter) = line.split_once(' ')?;
            Some(Subscription {
                id: id.parse().ok()?,
                filter: TopicFilter::new(filter).ok()?,
            })
        };
        Ok(lines.filter_map(parse).collect())
    }

    /// Remembers what the session with `broker` holds.
    ///
    /// # Errors
    /// When the database or the medium fails.
    pub fn set_subscriptions(&self, broker: &str, held: &[Subscription]) -> Result<(), PondError> {
        let lines = held.iter().map(|s| format!("{} {}\n", s.id, s.filter));
        let text: String = std::iter::once(format!("{broker}\n"))
            .chain(lines)
            .collect();
        self.database.insert(SUBSCRIPTIONS, text.as_bytes())?;
        self.flush()
    }

    fn flush(&self) -> Result<(), PondError> {
        self.database.flush()?;
        self.file
            .sync_data()
            .map_err(|error| PondError::Directory(self.dir.clone(), error))?;
        // Without this sled keeps what it replaced, for as long as the process lives.
        for _ in 0..4 {
            crossbeam_epoch::pin().flush();
        }
        Ok(())
    }

    fn unreadable(&self, what: &str, error: RecordError) -> PondError {
        PondError::Record {
            what: what.to_owned(),
            error,
            dir: self.dir.clone(),
        }
    }
}

fn rule_key(name: &str) -> Vec<u8> {
    [&[RULE], name.as_bytes(), &[0]].concat()
}

fn state_key(name: &str, key: &Key) -> Vec<u8> {
    [&[STATE], name.as_bytes(), &[0], key.as_bytes()].concat()
}

/// Name of the rule and key, without the prefix.
fn split_key(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key.get(1..)?).ok()?.split_once('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::encode_state;
    use crate::state::KeyState;

    fn checkpoint(states: &[(&str, f64)], gone: &[&str]) -> Checkpoint {
        let state = |value| KeyState {
            slots: vec![value],
            ..KeyState::default()
        };
        Checkpoint {
            in_seq: 7,
            agent: AgentRecord {
                in_seq: 7,
                ..AgentRecord::default()
            }
            .encode(),
            rules: vec![(
                "r".into(),
                RuleRecord {
                    schema: 3,
                    ..RuleRecord::default()
                }
                .encode(),
            )],
            states: states
                .iter()
                .map(|(key, value)| ("r".into(), Key::from(*key), encode_state(&state(*value))))
                .collect(),
            gone: gone
                .iter()
                .map(|key| ("r".into(), Key::from(*key)))
                .collect(),
        }
    }

    #[test]
    fn what_was_written_is_there_after_it_was_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let pond = Pond::open(dir.path()).unwrap();
        assert!(pond.read().unwrap().agent.is_none());
        pond.write(&checkpoint(&[("a", 1.0), ("b", 2.0)], &[]))
            .unwrap();
        pond.write(&checkpoint(&[("a", 3.0), ("c/d", 4.0)], &["b"]))
            .unwrap();
        drop(pond);
        let saved = Pond::open(dir.path()).unwrap().read().unwrap();
        assert_eq!(saved.agent.unwrap().in_seq, 7);
        let rule = &saved.rules["r"];
        assert_eq!(rule.schema, 3);
        let keys: Vec<_> = rule.keys.iter().map(|(k, s)| (&**k, s.slots[0])).collect();
        assert_eq!(keys, [("a", 3.0), ("c/d", 4.0)]);
    }

    #[test]
    fn two_agents_cannot_share_a_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Pond::open(dir.path()).unwrap();
        let error = Pond::open(dir.path()).unwrap_err();
        assert!(
            error.to_string().contains("used by another agent"),
            "{error}"
        );
    }

    #[test]
    fn subscriptions_are_remembered_for_one_broker() {
        let dir = tempfile::tempdir().unwrap();
        let pond = Pond::open(dir.path()).unwrap();
        let held = [Subscription {
            id: 3,
            filter: TopicFilter::new("a b/#").unwrap(),
        }];
        pond.set_subscriptions("h:1883 gw", &held).unwrap();
        assert_eq!(pond.subscriptions("h:1883 gw").unwrap(), held);
        assert_eq!(pond.subscriptions("other:1883 gw").unwrap(), []);
    }

    #[test]
    fn a_record_of_another_format_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let pond = Pond::open(dir.path()).unwrap();
        pond.database.insert(AGENT, &[9]).unwrap();
        let error = pond.read().unwrap_err().to_string();
        assert!(
            error.contains("has format 9") && error.contains("move"),
            "{error}"
        );
    }
}
