//! Lives and deaths of a process over one disk: whatever happens, what was called durable is there
//! again, and nothing else is but what was appended after it.

use tidemill_base::number::Lsn;

use super::*;
use crate::format::encode_spare;

/// The contents a disk has to remember.
#[derive(Debug, Default)]
struct Oracle {
    /// Records appended by the current process, or by the last one that opened the journal.
    appended: Records,
    /// The highest LSN reported as durable.
    durable_lsn: Lsn,
    /// The highest LSN whose state was saved elsewhere.
    saved_lsn: Lsn,
}

impl Oracle {
    /// Checks that a replay holds all that was durable, and beyond it only records that were
    /// appended.
    fn check(&self, replayed: &Records) -> Result<(), String> {
        let last = self.saved_lsn + replayed.len() as u64;
        if last < self.durable_lsn {
            let durable = self.durable_lsn;
            return Err(format!("lost: {last} records are left of {durable}"));
        }
        for (lsn, payload) in replayed {
            if self.appended.get(lsn) != Some(payload) {
                return Err(format!("record {lsn} is not what was appended"));
            }
        }
        Ok(())
    }

    /// Everything from the first record on can be read back.
    fn check_all(&self, journal: &Journal<ModelDisk>) -> Result<(), String> {
        let first_lsn = journal.first_lsn();
        if first_lsn > self.saved_lsn + 1 {
            return Err(format!("begins with record {first_lsn}"));
        }
        let appended = self.appended.range(first_lsn.get()..);
        match journal.read(first_lsn, usize::MAX) {
            Ok(read) => {
                if read
                    .iter()
                    .map(|(lsn, payload)| (lsn.get(), payload))
                    .eq(appended.map(|(lsn, payload)| (*lsn, payload)))
                {
                    Ok(())
                } else {
                    Err("reads something else than was appended".to_owned())
                }
            }
            // It died meanwhile.
            Err(JournalError::Failed { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn opened(&mut self, replayed: Records, durable_lsn: Lsn) {
        self.appended.retain(|lsn, _| *lsn <= self.saved_lsn.get());
        self.appended.extend(replayed);
        self.durable_lsn = durable_lsn;
    }
}

/// The ways in which the test's processes may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deaths {
    /// The power fails.
    Power,
    /// They are killed, or the power fails.
    Any,
    /// Also syncs and writes fail.
    Disk,
}

struct Lives {
    disk: ModelDisk,
    oracle: Oracle,
    random: Random,
    deaths: Deaths,
    /// `true` if the record of an LSN is always the same: leftovers of an earlier life then fit
    /// best.
    is_repetitive: bool,
}

impl Lives {
    fn new(seed: u64, deaths: Deaths) -> Self {
        let mut random = Random::new(seed);
        let is_repetitive = random.one_in(2);
        Self {
            disk: ModelDisk::default(),
            oracle: Oracle::default(),
            random,
            deaths,
            is_repetitive,
        }
    }

    /// One process: it opens the journal, works, and dies somewhere.
    fn live(&mut self) -> Result<(), String> {
        if self.random.one_in(2) {
            let operations = self.random.below(150);
            self.disk.die_after(operations);
        }
        if self.deaths == Deaths::Disk && self.random.one_in(4) {
            self.disk.fail_next_sync(self.random.below(u64::MAX));
        }
        let salt = self.random.below(u64::MAX);
        // Rows that wait are asked for from further back than the state needs.
        let Oracle {
            saved_lsn,
            durable_lsn,
            ..
        } = self.oracle;
        let state_lsn = saved_lsn + self.random.below((durable_lsn - saved_lsn.get() + 1).get());
        match open_for(&self.disk, salt, (saved_lsn, state_lsn)) {
            Ok((journal, replayed)) => {
                if !journal.lost().is_empty() {
                    return Err(format!("goes on without {:?}", journal.lost()));
                }
                self.oracle.check(&replayed)?;
                self.oracle.opened(replayed, journal.durable_lsn());
                self.oracle.check_all(&journal)?;
                self.work(journal);
            }
            // Only the disk may be to blame.
            Err(JournalError::Failed { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        self.die();
        Ok(())
    }

    fn die(&mut self) {
        let seed = self.random.below(u64::MAX);
        if self.deaths == Deaths::Power || self.random.one_in(2) {
            self.disk.crash(seed);
        } else {
            self.disk.kill(seed);
        }
    }

    fn work(&mut self, mut journal: Journal<ModelDisk>) {
        for _ in 0..self.random.below(40) {
            let before = journal.next_lsn();
            let outcome = self.step(&mut journal);
            if outcome.is_err() {
                // A record that is half written may come back, or not.
                assert!(journal.next_lsn() == before || self.deaths == Deaths::Disk);
                return;
            }
        }
    }

    fn step(&mut self, journal: &mut Journal<ModelDisk>) -> Result<(), JournalError> {
        match self.random.below(16) {
            0..9 => {
                let lsn = journal.next_lsn();
                let payload = if self.is_repetitive {
                    payload(&mut Random::new(lsn.get()), lsn)
                } else {
                    payload(&mut self.random, lsn)
                };
                self.oracle.appended.insert(lsn.get(), payload.clone());
                journal.append(lsn, &payload)?;
            }
            9..13 => self.oracle.durable_lsn = journal.sync()?,
            13 => journal.prepare_spare()?,
            14 => {
                let more = self.oracle.durable_lsn - self.oracle.saved_lsn.get();
                self.oracle.saved_lsn += self.random.below((more + 1).get());
            }
            _ => {
                if self.deaths == Deaths::Disk && self.random.one_in(4) {
                    self.disk.fail_next_sync(self.random.below(u64::MAX));
                }
                if self.deaths == Deaths::Disk && self.random.one_in(4) {
                    self.disk.fail_write_after(self.random.below(9));
                }
                journal.recycle(self.oracle.saved_lsn + 1)?;
                if self.deaths == Deaths::Disk && self.random.one_in(4) {
                    self.lose_sector_of_spare();
                }
            }
        }
        Ok(())
    }
}

impl Lives {
    /// A segment that waits to be used rots: nobody reads it before it is written over.
    fn lose_sector_of_spare(&mut self) {
        let spare = encode_spare(IDENTITY);
        let mut segments = self.disk.image().into_iter();
        if let Some((name, _)) = segments.find(|(_, bytes)| bytes.starts_with(&spare)) {
            let offset = self.random.below(SEGMENT_BYTES);
            self.disk.lose_sector(&name, offset);
        }
    }
}

fn lives(seed: u64, deaths: Deaths) -> Result<(), String> {
    let mut lives = Lives::new(seed, deaths);
    for _ in 0..12 {
        lives.live()?;
    }
    Ok(())
}

#[test]
fn power_cuts_lose_nothing_that_was_durable() {
    with_seeds(500, |seed| lives(seed, Deaths::Power).unwrap());
}

#[test]
fn kills_followed_by_power_cuts_lose_nothing_that_was_durable() {
    with_seeds(500, |seed| lives(seed, Deaths::Any).unwrap());
}

#[test]
fn failed_syncs_and_writes_lose_nothing_that_was_durable() {
    with_seeds(500, |seed| lives(seed, Deaths::Disk).unwrap());
}

/// The first part of a record's head, left by one life, must not become whole through another one
/// whose record has the same LSN.
#[test]
fn half_a_head_is_no_danger_to_the_next_life() {
    with_seeds(1_000, |seed| {
        let disk = ModelDisk::default();
        for life in 0..4u8 {
            let (mut journal, replayed) = open(&disk, seed, Lsn::ZERO).unwrap();
            if let Some(second) = replayed.get(&2) {
                assert_eq!(second, &vec![life - 1; usize::from(life) - 1]);
            }
            if journal.next_lsn() == Lsn::new(1) {
                // The next head lies half in the first sector, half in the second.
                journal.append(Lsn::new(1), &[7; 400]).unwrap();
                journal.sync().unwrap();
            } else if journal.next_lsn() == Lsn::new(3) {
                return;
            }
            journal
                .append(Lsn::new(2), &vec![life; usize::from(life)])
                .unwrap();
            disk.crash(seed * 4 + u64::from(life));
        }
    });
}

/// A disk on which a power cut took a segment's header and first record, and left some of the records behind
/// them; `None` where this seed left something else. Record 1 is there, and the next one needs another segment.
fn headerless(seed: u64) -> Option<(ModelDisk, String)> {
    let disk = ModelDisk::default();
    let (mut journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
    journal.append(Lsn::new(1), &[1; 3_900]).unwrap();
    journal.sync().unwrap();
    for lsn in 2..=12 {
        journal.append(Lsn::new(lsn), &[2; 300]).unwrap();
    }
    disk.crash(seed);
    let mut segments = disk.image().into_iter();
    let has_records = |bytes: &[u8]| {
        let mark = IDENTITY.mark.to_le_bytes();
        bytes.chunks(8).any(|word| word.starts_with(&mark))
    };
    let left = segments.find(|(_, bytes)| bytes.starts_with(&[0; 512]) && has_records(bytes));
    left.map(|(name, _)| (disk, name))
}

/// Appends these numbers of bytes as records 2 and on, makes them durable, and lets the power fail.
fn appended(disk: &ModelDisk, sizes: &[usize]) -> u64 {
    let (mut journal, replayed) = open(disk, 2, Lsn::ZERO).unwrap();
    assert_eq!((replayed.len(), journal.next_lsn()), (1, Lsn::new(2)));
    for bytes in sizes {
        journal
            .append(journal.next_lsn(), &vec![3; *bytes])
            .unwrap();
    }
    let last = journal.sync().unwrap();
    disk.crash(last.get());
    last.get()
}

/// The numbers of records that a power cut left are given again. A segment that ends early in its next use is
/// not searched for them.
#[test]
fn what_a_power_cut_left_does_not_lengthen_the_next_use_of_its_segment() {
    let left = (0..200).filter_map(headerless);
    let left = left.inspect(|(disk, name)| {
        let last = appended(disk, &[100, 3_900, 20, 20, 20, 20]);
        assert!(disk.image()[name].starts_with(b"tidemill"));
        let (journal, replayed) = open_for(disk, 3, (Lsn::ZERO, Lsn::new(last))).unwrap();
        assert_eq!((replayed.len() as u64, journal.lost()), (last, &[][..]));
    });
    assert!(left.count() > 5);
}

/// Nor do they pass for records of its next use where those cannot be read.
#[test]
fn what_a_power_cut_left_does_not_come_in_the_place_of_lost_records() {
    let left = (0..200).filter_map(headerless);
    let left = left.inspect(|(disk, name)| {
        let last = appended(disk, &[400, 8, 8, 8, 8, 8, 8, 8, 8, 3_900]);
        // Records 3 to 10.
        disk.lose_sector(name, 512);
        let mut replayed = Vec::new();
        let settings = Settings {
            state_lsn: Lsn::new(last),
            ..settings(3)
        };
        let journal = Journal::open(disk.clone(), settings, Lsn::ZERO, |lsn, payload| {
            replayed.push((lsn.get(), payload.first().copied()));
            Ok(())
        });
        assert_eq!(journal.unwrap().lost(), [(Lsn::new(3), Lsn::new(10))]);
        assert_eq!(replayed, [(1, Some(1)), (2, Some(3)), (11, Some(3))]);
    });
    assert!(left.count() > 5);
}

/// The disk of a journal with a torn tail, and how many of its records were durable.
fn torn(seed: u64) -> (ModelDisk, u64) {
    let (disk, mut random) = (ModelDisk::default(), Random::new(seed));
    let (mut journal, _) = open(&disk, seed, Lsn::ZERO).unwrap();
    let durable_lsn = random.below(20);
    for lsn in 1..durable_lsn + 20 {
        journal
            .append(Lsn::new(lsn), &payload(&mut random, Lsn::new(lsn)))
            .unwrap();
        if lsn == durable_lsn {
            journal.sync().unwrap();
        }
    }
    disk.crash(seed);
    (disk, durable_lsn)
}

#[test]
fn a_recovery_that_is_cut_off_anywhere_is_recovered_from() {
    with_seeds(30, |seed| {
        for operations in 0.. {
            let (disk, durable_lsn) = torn(seed);
            disk.die_after(operations);
            let is_done = open(&disk, seed + 1, Lsn::ZERO).is_ok();
            if operations % 2 == 0 {
                disk.kill(operations);
            } else {
                disk.crash(operations);
            }
            let (_, replayed) = open(&disk, seed + 2, Lsn::ZERO).unwrap();
            assert!(replayed.len() as u64 >= durable_lsn, "{operations}");
            disk.crash(operations);
            let again = open(&disk, seed + 3, Lsn::ZERO).unwrap().1;
            assert_eq!(again, replayed, "{operations}");
            if is_done {
                break;
            }
        }
    });
}

/// The number of seeds until a fault is noticed.
#[cfg(feature = "sabotage")]
fn noticed(fault: tidemill_base::sabotage::Sabotage, deaths: Deaths) -> Option<u64> {
    tidemill_base::sabotage::set(Some(fault));
    let noticed = (0..200).find(|seed| lives(*seed, deaths).is_err());
    tidemill_base::sabotage::set(None);
    noticed
}

#[cfg(feature = "sabotage")]
#[test]
fn believing_the_page_cache_is_noticed() {
    use tidemill_base::sabotage::Sabotage::TailNotRewritten;
    for deaths in [Deaths::Any, Deaths::Disk] {
        assert!(noticed(TailNotRewritten, deaths).is_some());
    }
}

#[cfg(feature = "sabotage")]
#[test]
fn believing_a_sync_after_a_failed_one_is_noticed() {
    use tidemill_base::sabotage::Sabotage::SyncErrorIgnored;
    assert!(noticed(SyncErrorIgnored, Deaths::Disk).is_some());
}
