//! A disk for tests: a page cache over a medium. A power cut keeps of each sector some version that was
//! written since the last sync; a killed process leaves the cache behind; a sync that fails leaves
//! sectors clean that never reached the medium, as Linux does. The same seed gives the same faults.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};
use super::format::mixed;

/// The unit that reaches the medium whole or not at all, in bytes.
const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// Random numbers that depend on nothing but a seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers of one seed.
    pub fn new(seed: u64) -> Self {
        Self(mixed(seed))
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mixed(self.0) % limit
    }

    /// `true` once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct ModelDisk(Arc<Mutex<World>>);

/// An open segment of a [`ModelDisk`].
#[derive(Debug)]
pub struct ModelFile {
    disk: ModelDisk,
    name: String,
    /// The process that opened it.
    process: u64,
}

#[derive(Debug, Default)]
struct World {
    segments: BTreeMap<String, Segment>,
    /// Goes up when the process ends: what it had opened is closed.
    process: u64,
    /// Operations that are left until everything fails.
    until_dead: Option<u64>,
    /// Segments for which there is room.
    room: Option<usize>,
    /// Picks the sectors that the next sync, which is to fail, leaves on the medium.
    failing_sync: Option<Random>,
    /// Writes that are left until one fails.
    until_bad_write: Option<u64>,
    /// Every write fails.
    is_write_protected: bool,
    /// Even a write over what is there asks for room, and finds none.
    full_for_overwriting: bool,
    /// Sectors that cannot be read, by segment.
    unreadable: BTreeSet<(String, usize)>,
    /// The segment that cannot be opened now.
    unopenable: Option<String>,
}

#[derive(Debug, Default)]
struct Segment {
    medium: Vec<Sector>,
    cache: Vec<Sector>,
    /// Earlier contents of each sector since it was last clean, oldest first.
    dirty: BTreeMap<usize, Vec<Sector>>,
    /// Numbers the writes of which `dirty` knows, for cuts between two writes.
    writes: BTreeMap<usize, Vec<u64>>,
    written: u64,
}

impl ModelDisk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails: everything in the cache is lost, but of what was written since the last sync
    /// anything may have reached the medium, in any order.
    pub fn crash(&self, seed: u64) {
        let mut world = self.world();
        let mut random = Random::new(seed);
        world.process += 1;
        world.until_dead = None;
        for segment in world.segments.values_mut() {
            segment.crash(&mut random);
        }
    }

    /// The process ends at once: the cache stays. Clean sectors may be read from the medium again.
    pub fn kill(&self, seed: u64) {
        let mut world = self.world();
        let mut random = Random::new(seed);
        world.process += 1;
        world.until_dead = None;
        let is_tight = random.one_in(2);
        for segment in world.segments.values_mut().filter(|_| is_tight) {
            segment.evict(&mut random);
        }
    }

    /// Lets every operation fail after this many more, until [`ModelDisk::crash`] or
    /// [`ModelDisk::kill`].
    pub fn die_after(&self, operations: u64) {
        self.world().until_dead = Some(operations);
    }

    /// Limits the number of segments; none is made beyond.
    pub fn set_room(&self, segments: Option<usize>) {
        self.world().room = segments;
    }

    /// `true` if even a write over what is there finds no room, as on a file system that never overwrites.
    pub fn set_full_for_overwriting(&self, is_full: bool) {
        self.world().full_for_overwriting = is_full;
    }

    /// The sector of a segment with this byte cannot be read any more.
    pub fn lose_sector(&self, name: &str, offset: u64) {
        let at = usize::try_from(offset).unwrap_or(usize::MAX) / SECTOR;
        self.world().unreadable.insert((name.to_owned(), at));
    }

    /// Lets opening this segment fail for now, as in a process that is out of descriptors.
    pub fn set_unopenable(&self, name: Option<&str>) {
        self.world().unopenable = name.map(str::to_owned);
    }

    /// The next sync fails: anything may have reached the medium, and all of it counts as clean.
    pub fn fail_next_sync(&self, seed: u64) {
        self.world().failing_sync = Some(Random::new(seed));
    }

    /// Lets one write fail after this many more.
    pub fn fail_write_after(&self, writes: u64) {
        self.world().until_bad_write = Some(writes);
    }

    /// From now on every write fails.
    pub fn protect_from_writing(&self) {
        self.world().is_write_protected = true;
    }

    /// Flips a bit of a segment, in cache and medium.
    pub fn flip(&self, name: &str, bit: u64) {
        let mut world = self.world();
        let Some(segment) = world.segments.get_mut(name) else {
            return;
        };
        let at = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        for sectors in [&mut segment.cache, &mut segment.medium] {
            let byte = sectors
                .get_mut(at / SECTOR)
                .and_then(|sector| sector.get_mut(at % SECTOR));
            if let Some(byte) = byte {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// The whole disk as a reader sees it.
    pub fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        let segments = world.segments.iter();
        segments
            .map(|(name, segment)| (name.clone(), segment.cache.concat()))
            .collect()
    }
}

impl Segment {
    fn blank(sectors: usize) -> Self {
        Self {
            medium: vec![[0; SECTOR]; sectors],
            cache: vec![[0; SECTOR]; sectors],
            ..Self::default()
        }
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        self.written += 1;
        let end = offset + bytes.len();
        for at in offset / SECTOR..end.div_ceil(SECTOR) {
            let Some(sector) = self.cache.get_mut(at) else {
                return;
            };
            let (from, upto) = (offset.max(at * SECTOR), end.min((at + 1) * SECTOR));
            let place = sector.get_mut(from - at * SECTOR..upto - at * SECTOR);
            let bytes = bytes.get(from - offset..upto - offset);
            if let (Some(place), Some(bytes)) = (place, bytes) {
                place.copy_from_slice(bytes);
            }
            self.dirty.entry(at).or_default().push(*sector);
            self.writes.entry(at).or_default().push(self.written);
        }
    }

    /// Lets of each dirty sector some version reach the medium: at random, or as if the writes had
    /// been carried out in order up to some point, or as if whole writes had been left out.
    fn settle(&mut self, random: &mut Random) {
        let first = self.written - self.writes_waiting();
        let (way, upto) = (
            random.below(3),
            random.below(self.written - first + 1) + first,
        );
        let kept: BTreeSet<u64> = (first..=self.written)
            .filter(|_| random.one_in(2))
            .collect();
        let mut writes = std::mem::take(&mut self.writes);
        for (at, versions) in std::mem::take(&mut self.dirty) {
            let numbers = writes.remove(&at).unwrap_or_default();
            let count = match way {
                0 => random.below(versions.len() as u64 + 1) as usize,
                1 => numbers.iter().filter(|number| **number <= upto).count(),
                _ => {
                    let last = numbers.iter().rposition(|number| kept.contains(number));
                    last.map_or(0, |last| last + 1)
                }
            };
            let version = count.checked_sub(1).and_then(|last| versions.get(last));
            if let (Some(version), Some(medium)) = (version, self.medium.get_mut(at)) {
                *medium = *version;
            }
        }
    }

    fn writes_waiting(&self) -> u64 {
        let oldest = self.writes.values().filter_map(|numbers| numbers.first());
        oldest.min().map_or(0, |oldest| self.written + 1 - oldest)
    }

    fn crash(&mut self, random: &mut Random) {
        self.settle(random);
        self.cache.clone_from(&self.medium);
    }

    fn evict(&mut self, random: &mut Random) {
        let sectors = self.cache.iter_mut().zip(&self.medium).enumerate();
        for (at, (cached, medium)) in sectors {
            if !self.dirty.contains_key(&at) && random.one_in(2) {
                *cached = *medium;
            }
        }
    }

    fn sync(&mut self) {
        for (at, versions) in std::mem::take(&mut self.dirty) {
            if let (Some(version), Some(medium)) = (versions.last(), self.medium.get_mut(at)) {
                *medium = *version;
            }
        }
        self.writes.clear();
    }
}

impl World {
    fn operate(&mut self) -> io::Result<()> {
        match &mut self.until_dead {
            Some(0) => Err(io::Error::other("the process is dead")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn segment(&mut self, name: &str) -> io::Result<&mut Segment> {
        let segment = self.segments.get_mut(name);
        segment.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for ModelDisk {
    type File = ModelFile;

    fn settle(&self) -> io::Result<()> {
        self.world().operate()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.operate()?;
        Ok(world.segments.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<ModelFile> {
        let mut world = self.world();
        world.operate()?;
        if world.room.is_some_and(|room| world.segments.len() >= room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let sectors = usize::try_from(bytes).unwrap_or(usize::MAX) / SECTOR;
        let segment = Segment::blank(sectors);
        world.segments.insert(name.to_owned(), segment);
        drop(world);
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<ModelFile> {
        let mut world = self.world();
        world.segment(name)?;
        if world.unopenable.as_deref() == Some(name) {
            return Err(io::Error::other("no descriptor is free"));
        }
        Ok(ModelFile {
            disk: self.clone(),
            name: name.to_owned(),
            process: world.process,
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.operate()?;
        world.segment(name)?;
        world.segments.remove(name);
        world.unreadable.retain(|(of, _)| of != name);
        Ok(())
    }
}

impl ModelFile {
    fn on<T>(&self, act: impl FnOnce(&mut World, &str) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.disk.world();
        if world.process != self.process {
            return Err(io::Error::other("opened by a process that has ended"));
        }
        world.operate()?;
        act(&mut world, &self.name)
    }
}

impl DiskFile for ModelFile {
    fn bytes(&self) -> io::Result<u64> {
        self.on(|world, name| Ok((world.segment(name)?.cache.len() * SECTOR) as u64))
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.on(|world, name| {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let sectors = offset / SECTOR..(offset + out.len()).div_ceil(SECTOR);
            let is_bad = |(of, at): &(String, usize)| of == name && sectors.contains(at);
            if world.unreadable.iter().any(is_bad) {
                return Err(io::Error::other("an unreadable sector"));
            }
            let cache = &world.segment(name)?.cache;
            let mut skip = offset % SECTOR;
            let mut sectors = cache.iter().skip(offset / SECTOR);
            let mut left = out;
            while !left.is_empty() {
                let sector = sectors.next().ok_or(io::ErrorKind::UnexpectedEof)?;
                let bytes = sector.get(skip..).unwrap_or_default();
                let (here, rest) = left.split_at_mut(bytes.len().min(left.len()));
                here.copy_from_slice(bytes.get(..here.len()).unwrap_or_default());
                (left, skip) = (rest, 0);
            }
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.on(|world, name| {
            if world.full_for_overwriting {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if world.is_write_protected {
                return Err(io::Error::other("write-protected"));
            }
            let is_bad = world.until_bad_write == Some(0);
            world.until_bad_write = world.until_bad_write.and_then(|left| left.checked_sub(1));
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let sectors = offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR);
            // The disk puts another sector in the place of one that is written whole again.
            let covers =
                |at: &usize| at * SECTOR >= offset && (at + 1) * SECTOR <= offset + bytes.len();
            let is_lost = |at: &usize| world.unreadable.contains(&(name.to_owned(), *at));
            if sectors.clone().any(|at| is_lost(&at) && !covers(&at)) {
                return Err(io::Error::other(
                    "an unreadable sector, to be written in part",
                ));
            }
            world
                .unreadable
                .retain(|(of, at)| of != name || !sectors.contains(at));
            let segment = world.segment(name)?;
            if offset + bytes.len() > segment.cache.len() * SECTOR {
                return Err(io::Error::other("a write behind the end of a segment"));
            }
            // A write that fails has done part of its work, in whole sectors.
            let part = (offset + bytes.len() / 2) / SECTOR * SECTOR;
            let done = if is_bad {
                part.saturating_sub(offset)
            } else {
                bytes.len()
            };
            segment.write(bytes.get(..done).unwrap_or_default(), offset);
            if is_bad {
                Err(io::Error::other("a bad write"))
            } else {
                Ok(())
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.on(|world, name| {
            let failing = world.failing_sync.take();
            let segment = world.segment(name)?;
            let Some(mut random) = failing else {
                segment.sync();
                return Ok(());
            };
            segment.settle(&mut random);
            segment.dirty.clear();
            Err(io::Error::other("a failed sync"))
        })
    }
}
