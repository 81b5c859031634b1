//! A small file system of its own, on a loop device: it can be full without harm to others, and lose
//! what was not synced. Needs root and a kernel that lets it; where that is not so, tests say it and
//! are passed over.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when it is dropped.
pub struct LoopDisk {
    mounted_at: PathBuf,
    folder: tempfile::TempDir,
    /// What lies below the mount: a copy after each cut.
    image: PathBuf,
    cuts: u32,
}

impl LoopDisk {
    /// Mounts a new ext4 of so many MiB at a folder, which is made.
    ///
    /// # Errors
    /// When this machine does not allow it, in words.
    pub fn mount(at: &Path, mib: u64) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = folder.path().join("image");
        File::create(&image)
            .and_then(|file| file.set_len(mib << 20))
            .map_err(|error| error.to_string())?;
        // No blocks in reserve: what root may still write, a test for a full disk must not have.
        let make = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,nodiscard"];
        tool(Command::new("mkfs.ext4").args(make).arg(&image))?;
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        mount(&image, at)?;
        Ok(Self {
            mounted_at: at.to_owned(),
            folder,
            image,
            cuts: 0,
        })
    }

    /// What the device holds at this moment, as a machine would find it whose power failed: without
    /// what the kernel has in memory and was not asked to sync. Nobody may be writing meanwhile.
    pub fn as_the_power_fails(&mut self) -> Snapshot {
        self.cuts += 1;
        let copy = self.folder.path().join(format!("cut-{}", self.cuts));
        // The kernel writes by itself now and then: a copy that differs from the next may be torn.
        let same = |image: &Path| {
            fs::copy(image, &copy).unwrap();
            fs::read(image).unwrap() == fs::read(&copy).unwrap()
        };
        while !same(&self.image) {}
        Snapshot(copy)
    }

    /// Goes on with what was there when the power failed. Nobody may have a file open.
    pub fn comes_back(&mut self, snapshot: Snapshot) {
        tool(Command::new("umount").arg(&self.mounted_at)).unwrap();
        let old = std::mem::replace(&mut self.image, snapshot.0);
        fs::remove_file(old).unwrap();
        mount(&self.image, &self.mounted_at).unwrap();
    }

    /// Fills it but for so many bytes; removing the file that is returned makes room again.
    pub fn fill(&self, leave: u64) -> PathBuf {
        let path = self.mounted_at.join("ballast");
        let mut file = File::create(&path).unwrap();
        let chunk = vec![1; 64 * 1024];
        let mut written = 0;
        while let Ok(count) = file.write(&chunk)
            && count > 0
        {
            written += count as u64;
        }
        // What was only reserved must be taken, or it is found free later.
        let _ = file.sync_all();
        file.set_len(written.saturating_sub(leave)).unwrap();
        file.sync_all().unwrap();
        path
    }
}

/// A device as it was when the power failed.
pub struct Snapshot(PathBuf);

fn mount(image: &Path, at: &Path) -> Result<(), String> {
    let mut mount = Command::new("mount");
    tool(mount.args(["-o", "loop"]).arg(image).arg(at))
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // An agent that was just killed may hold it for a moment; a lazy unmount waits for that.
        let _ = tool(Command::new("umount").arg("-l").arg(&self.mounted_at));
    }
}

fn tool(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{:?}: {}",
            command.get_program(),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipped;

    #[test]
    fn a_full_disk_is_full_and_has_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("disk");
        let disk = match LoopDisk::mount(&at, 8) {
            Ok(disk) => disk,
            Err(why) => return skipped(&format!("no loop device to fill: {why}")),
        };
        let ballast = disk.fill(0);
        let full = fs::write(at.join("more"), vec![0; 200_000]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        fs::remove_file(ballast).unwrap();
        fs::write(at.join("more"), vec![0; 200_000]).unwrap();
    }

    #[test]
    fn a_power_cut_costs_what_was_not_synced() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("disk");
        let mut disk = match LoopDisk::mount(&at, 8) {
            Ok(disk) => disk,
            Err(why) => return skipped(&format!("no loop device to cut off: {why}")),
        };
        let mut synced = File::create(at.join("file")).unwrap();
        synced.write_all(b"synced").unwrap();
        synced.sync_all().unwrap();
        synced.write_all(b" and more").unwrap();
        drop(synced);
        let snapshot = disk.as_the_power_fails();
        disk.comes_back(snapshot);
        assert_eq!(fs::read(at.join("file")).unwrap(), b"synced");
    }
}
