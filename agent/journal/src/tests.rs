//! The journal over the model disk and over real files.

mod damage;
mod faults;
mod files;
mod forged;
mod groups;
mod power;
mod sectors;
mod thread;

use std::collections::BTreeMap;

use tidemill_base::number::Lsn;

use super::model::{ModelDisk, Random};
use super::{Disk, Identity, Journal, JournalError, Settings};

const IDENTITY: Identity = Identity {
    incarnation: *b"an incarnation!!",
    mark: 0x7469_6465,
};

/// Small, so that a few records fill it and a walk over all of it costs nothing.
const SEGMENT_BYTES: u64 = 4096;

fn settings(salt: u64) -> Settings {
    Settings {
        segment_bytes: SEGMENT_BYTES,
        spares_max: 2,
        reserve: 0,
        identity: IDENTITY,
        salt,
        state_lsn: Lsn::ZERO,
    }
}

/// Records by LSN.
type Records = BTreeMap<u64, Vec<u8>>;

/// Opens a journal; what it replays comes with it.
fn open<D: Disk>(
    disk: &D,
    salt: u64,
    from_lsn: Lsn,
) -> Result<(Journal<D>, Records), JournalError> {
    open_for(disk, salt, (from_lsn, Lsn::ZERO))
}

/// Like [`open`], where records up to `state_lsn` hold nothing but pending rows.
fn open_for<D: Disk>(
    disk: &D,
    salt: u64,
    (from_lsn, state_lsn): (Lsn, Lsn),
) -> Result<(Journal<D>, Records), JournalError> {
    let mut replayed = BTreeMap::new();
    let settings = Settings {
        state_lsn,
        ..settings(salt)
    };
    let journal = Journal::open(disk.clone(), settings, from_lsn, |lsn, payload| {
        assert_eq!(lsn, from_lsn + 1 + replayed.len() as u64);
        replayed.insert(lsn.get(), payload.to_vec());
        Ok(())
    })?;
    Ok((journal, replayed))
}

/// A payload that tells its LSN and is of any length up to half a segment.
fn payload(random: &mut Random, lsn: Lsn) -> Vec<u8> {
    let longest = match random.below(8) {
        0 => SEGMENT_BYTES / 2,
        1 => 0,
        _ => 200,
    };
    let len = random.below(longest + 1) as usize;
    let noise = random.below(4);
    let bytes = lsn.get().to_le_bytes().into_iter().cycle().take(len);
    bytes.map(|byte| byte ^ noise as u8).collect()
}

/// Runs `check` with many seeds, or as many as `TIDEMILL_SEEDS` says, and says which one failed.
fn with_seeds(count: u64, check: impl Fn(u64)) {
    let asked = std::env::var("TIDEMILL_SEEDS").ok();
    let count = asked.map_or(count, |asked| asked.parse().unwrap());
    for seed in 0..count {
        let said = SaySeed(seed);
        check(seed);
        std::mem::forget(said);
    }
}

struct SaySeed(u64);

impl Drop for SaySeed {
    fn drop(&mut self) {
        eprintln!("seed {} fails", self.0);
    }
}
