//! Files written aside and moved to their places, so that a power cut leaves each of them as it was or whole.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::tree::{Tree, sync_folder};

/// Name of the folder aside, in the folder that the files go to.
const ASIDE: &str = ".seed";

/// A folder beside the files that are to be replaced.
#[derive(Debug)]
pub(super) struct Stage {
    to: PathBuf,
    /// The group that may read the files.
    group: u32,
    /// Permissions of files and of folders.
    modes: (u32, u32),
    /// Permissions and groups of files that have others.
    own: Vec<(String, u32, Option<u32>)>,
}

impl Stage {
    /// An empty stage for a folder, whose group will own what goes there. What a power cut left of one is gone.
    pub(super) fn new(to: &Path, modes: (u32, u32)) -> io::Result<(Self, Tree)> {
        let group = fs::metadata(to)?.gid();
        let aside = to.join(ASIDE);
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&aside)?;
        let stage = Self {
            to: to.to_owned(),
            group,
            modes,
            own: Vec::new(),
        };
        Ok((stage, Tree::new(&aside)))
    }

    /// Gives a file other permissions, and another group.
    pub(super) fn private(&mut self, name: &str, mode: u32, group: Option<u32>) {
        self.own.push((name.to_owned(), mode, group));
    }

    /// Moves files to their places in this order, the last one once all others are on stable storage.
    pub(super) fn commit(self, tree: &Tree, names: &[String]) -> io::Result<()> {
        let Some((last, others)) = names.split_last() else {
            return self.end();
        };
        for name in names {
            let path = tree.path(name);
            let own = self.own.iter().find(|(own, ..)| own == name);
            let (mode, group) =
                own.map_or((self.modes.0, None), |(_, mode, group)| (*mode, *group));
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
            self.give(&path, group)?;
        }
        let mut folders = Vec::new();
        for name in others {
            folders.push(self.place(tree, name)?);
        }
        folders.push(self.to.clone());
        folders.dedup();
        folders.iter().try_for_each(|folder| sync_folder(folder))?;
        let folder = self.place(tree, last)?;
        sync_folder(&folder)?;
        self.end()
    }

    /// Moves one file; returns its folder.
    fn place(&self, tree: &Tree, name: &str) -> io::Result<PathBuf> {
        let to = self.to.join(name);
        let folder = to.parent().unwrap_or(&self.to).to_owned();
        if !folder.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(self.modes.1)
                .create(&folder)?;
            fs::set_permissions(&folder, Permissions::from_mode(self.modes.1))?;
            self.give(&folder, None)?;
        }
        fs::rename(tree.path(name), &to)?;
        Ok(folder)
    }

    /// Gives a path to root and the group; only root can, and others keep what is theirs.
    fn give(&self, path: &Path, group: Option<u32>) -> io::Result<()> {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(0), Some(group.unwrap_or(self.group)))?;
        }
        Ok(())
    }

    /// Takes the folder aside away.
    pub(super) fn end(self) -> io::Result<()> {
        fs::remove_dir_all(self.to.join(ASIDE))
    }
}
