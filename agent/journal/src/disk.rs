//! The operations a journal needs of a disk, and the real one: a directory. A segment is created
//! whole (filled with zeros, synced, its name durable) or not at all, so a later commit changes no
//! file system metadata and needs no free space.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_base::files::{create_own, explain, own};

/// File extensions of a finished segment and of one under construction.
const MADE: &str = "seg";
const UNMADE: &str = "new";

/// Zeros are written in chunks of this size.
const ZEROS: &[u8] = &[0; 64 * 1024];

/// Storage for segments.
pub trait Disk: Clone {
    /// An open segment.
    type File: DiskFile;

    /// Drops what was not made to its end, and makes all names durable.
    ///
    /// # Errors
    /// When the disk fails.
    fn settle(&self) -> io::Result<()>;

    /// Names of all segments.
    ///
    /// # Errors
    /// When the disk fails.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a segment of zeros. It is durable when this returns, and not there when this fails.
    ///
    /// # Errors
    /// When there is no room ([`is_full`]), or the disk fails.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Self::File>;

    /// Opens a segment.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Removes a segment.
    ///
    /// # Errors
    /// When the disk fails.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// An open segment. Reads and writes within its length only.
pub trait DiskFile {
    /// Length in bytes.
    ///
    /// # Errors
    /// When the disk fails.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// When the disk fails, or the segment ends before `out` is full.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes; durable only once [`DiskFile::sync`] has returned.
    ///
    /// # Errors
    /// When the disk fails; part of it may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes durable what was written.
    ///
    /// # Errors
    /// When the disk fails. What was written since the last sync may be lost then, whatever a later
    /// sync says.
    fn sync(&self) -> io::Result<()>;
}

/// `true` if an error means a full disk or quota, which ends once somebody frees space.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Segments as files of one directory.
#[derive(Debug, Clone)]
pub struct DirectoryDisk {
    dir: Arc<Path>,
    writable: bool,
}

impl DirectoryDisk {
    /// Uses a directory, which is made if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(dir: &Path) -> io::Result<Self> {
        make_directory(dir)?;
        Ok(Self {
            dir: dir.into(),
            writable: true,
        })
    }

    /// Looks at a directory, in which nothing can be written.
    pub fn read_only(dir: &Path) -> Self {
        Self {
            dir: dir.into(),
            writable: false,
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn fill(&self, unmade: &Path, made: &Path, bytes: u64) -> io::Result<File> {
        let file = create_own(unmade)?;
        reserve(&file, bytes)?;
        let mut offset = 0;
        while offset < bytes {
            let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..left).unwrap_or(ZEROS);
            file.write_all_at(zeros, offset)?;
            offset += zeros.len() as u64;
        }
        file.sync_all()?;
        std::fs::rename(unmade, made)?;
        sync_directory(&self.dir)?;
        Ok(file)
    }
}

impl Disk for DirectoryDisk {
    type File = File;

    fn settle(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == UNMADE) {
                std::fs::remove_file(path)?;
            }
        }
        sync_directory(&self.dir)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().into_string();
            names.extend(name.ok().filter(|name| index(name).is_some()));
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<File> {
        let (made, unmade) = (self.path(name), self.path(name).with_extension(UNMADE));
        self.fill(&unmade, &made, bytes).inspect_err(|_| {
            // If this fails too, the next start removes the file or adopts it as the spare that it
            // is.
            let _ = std::fs::remove_file(&unmade);
            let _ = std::fs::remove_file(&made);
        })
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let path = self.path(name);
        let opened = own().read(true).write(self.writable).open(&path);
        opened.map_err(|error| explain(&path, error))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))?;
        sync_directory(&self.dir)
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Finds out whether there is room before anything is written: on a full disk this is tried again and
/// again, and every byte written in vain wears the card.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory and any missing parents, durably.
///
/// # Errors
/// When one of them cannot be made.
pub fn make_directory(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Path::new(""));
    make_directory(parent)?;
    DirBuilder::new().mode(0o700).create(dir)?;
    sync_directory(parent)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// When the disk fails.
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    let here = dir.as_os_str().is_empty();
    File::open(if here { Path::new(".") } else { dir })?.sync_all()
}

/// The name of a segment.
pub(super) fn name(index: u32) -> String {
    format!("{index:08}.{MADE}")
}

/// The number in a segment's name.
pub(super) fn index(name: &str) -> Option<u32> {
    let (digits, ending) = name.split_once('.')?;
    digits.parse().ok().filter(|_| ending == MADE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_made_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let disk = DirectoryDisk::new(&temp.path().join("deep/journal")).unwrap();
        let file = disk.create(&name(3), 100_000).unwrap();
        assert_eq!(file.bytes().unwrap(), 100_000);
        std::fs::write(disk.dir().join("00000004.new"), b"half").unwrap();
        std::fs::write(disk.dir().join("notes.txt"), b"not ours").unwrap();
        assert_eq!(disk.list().unwrap(), ["00000003.seg"]);
        disk.settle().unwrap();
        let mut names: Vec<_> = std::fs::read_dir(disk.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["00000003.seg", "notes.txt"]);
        disk.remove(&name(3)).unwrap();
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
        assert_eq!(
            disk.open(&name(3)).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn only_names_of_segments_bear_a_number() {
        assert_eq!(index(&name(17)), Some(17));
        for other in ["17", "17.new", "x.seg", "17.seg.old", ""] {
            assert_eq!(index(other), None, "{other}");
        }
    }
}
