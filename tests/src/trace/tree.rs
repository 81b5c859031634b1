//! A folder in memory, and what of it a power cut may take.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Folders and files below one folder, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A file's contents.
    File(Vec<u8>),
    /// Content of a folder, by name.
    Folder(BTreeMap<String, Tree>),
}

/// The part that is lost of the things that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of them.
    Everything,
    /// The contents of files; names are there.
    Contents,
    /// Names; the contents of files are there.
    Names,
    /// Any of them.
    Any,
}

impl Loss {
    /// All.
    pub const ALL: [Self; 4] = [Self::Everything, Self::Contents, Self::Names, Self::Any];
}

impl Default for Tree {
    fn default() -> Self {
        Self::Folder(BTreeMap::new())
    }
}

impl Tree {
    /// Reads a folder; an empty one where there is none.
    ///
    /// # Errors
    /// When something in it cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        if path.is_file() {
            return Ok(Self::File(fs::read(path)?));
        }
        let mut names = BTreeMap::new();
        if path.exists() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                names.insert(name, Self::read(&entry.path())?);
            }
        }
        Ok(Self::Folder(names))
    }

    /// Writes it where nothing is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::File(bytes) => fs::write(path, bytes),
            Self::Folder(names) => {
                fs::create_dir_all(path)?;
                names
                    .iter()
                    .try_for_each(|(name, tree)| tree.write(&path.join(name)))
            }
        }
    }
}
