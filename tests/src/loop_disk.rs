//! A small file system of its own, on a loop device: it can be full without harm to others, and lose
//! what was not synced. Needs root and a kernel that lets it; where that is not so, tests say it and
//! are passed over.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when it is dropped.
pub struct LoopDisk {
    mounted_at: PathBuf,
    folder: tempfile::TempDir,
    /// File below the mount: a copy after each cut.
    image: PathBuf,
    cuts: u32,
    /// Bytes that reach the device each second, where that is limited.
    rate: Option<u64>,
}

/// A file system that is put on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// The one of most Linux machines.
    Ext4,
    /// One made for flash.
    F2fs,
}

/// File in which a kernel with the first version of control groups takes limits of devices.
const RATES: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device";

impl LoopDisk {
    /// Mounts a new ext4 of so many MiB at a folder, which is made.
    ///
    /// # Errors
    /// When this machine does not allow it, in words.
    pub fn mount(at: &Path, mib: u64) -> Result<Self, String> {
        Self::mount_as(FileSystem::Ext4, at, mib)
    }

    /// Mounts a new file system of so many MiB at a folder, which is made.
    ///
    /// # Errors
    /// When this machine does not allow it, in words.
    pub fn mount_as(system: FileSystem, at: &Path, mib: u64) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = folder.path().join("image");
        File::create(&image)
            .and_then(|file| file.set_len(mib << 20))
            .map_err(|error| error.to_string())?;
        let mut make = match system {
            FileSystem::Ext4 => {
                // No blocks in reserve: what root may still write, a test for a full disk must not have.
                let mut make = Command::new("mkfs.ext4");
                make.args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,nodiscard"]);
                make
            }
            FileSystem::F2fs => {
                let mut make = Command::new("mkfs.f2fs");
                make.args(["-q", "-f"]);
                make
            }
        };
        tool(make.arg(&image))?;
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        mount(&image, at)?;
        Ok(Self {
            mounted_at: at.to_owned(),
            folder,
            image,
            cuts: 0,
            rate: None,
        })
    }

    /// Lets so many bytes reach the device each second, as a slow card does, or as many as come.
    ///
    /// # Errors
    /// When this machine does not allow it, in words.
    pub fn limit(&mut self, bytes_a_second: Option<u64>) -> Result<(), String> {
        self.rate = bytes_a_second;
        self.set_rate(bytes_a_second.unwrap_or(0))
    }

    fn set_rate(&self, rate: u64) -> Result<(), String> {
        let device = fs::metadata(&self.mounted_at).map_err(|error| error.to_string())?;
        let (major, minor) = (device.dev() >> 8 & 0xfff, device.dev() & 0xff);
        fs::write(RATES, format!("{major}:{minor} {rate}"))
            .map_err(|error| format!("no limit of a device's rate: {RATES}: {error}"))
    }

    /// A copy of the device at this moment, as a machine would find it whose power failed: without
    /// anything that the kernel has in memory and was not asked to sync. Nobody may be writing
    /// meanwhile. A limit of its rate is no more afterwards.
    pub fn as_the_power_fails(&mut self) -> Snapshot {
        self.cuts += 1;
        if self.rate.is_some() {
            // The bytes that have reached the device by now are all that ever will.
            self.set_rate(1).unwrap();
        }
        let copy = self.folder.path().join(format!("cut-{}", self.cuts));
        // The kernel writes by itself now and then: a copy that differs from the next may be torn.
        let same = |image: &Path| {
            fs::copy(image, &copy).unwrap();
            fs::read(image).unwrap() == fs::read(&copy).unwrap()
        };
        while !same(&self.image) {}
        if self.rate.take().is_some() {
            // So that the processes that wait for it can end.
            self.set_rate(0).unwrap();
        }
        Snapshot(copy)
    }

    /// Goes on with what was there when the power failed. Nobody may have a file open.
    pub fn comes_back(&mut self, snapshot: Snapshot) {
        tool(Command::new("umount").arg(&self.mounted_at)).unwrap();
        let old = std::mem::replace(&mut self.image, snapshot.0);
        fs::remove_file(old).unwrap();
        mount(&self.image, &self.mounted_at).unwrap();
    }

    /// Makes it one that nobody can write to: a card with its lock on.
    ///
    /// # Panics
    /// When somebody has a file of it open.
    pub fn lock(&self) {
        tool(Command::new("umount").arg(&self.mounted_at)).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-o", "loop,ro"])
            .arg(&self.image)
            .arg(&self.mounted_at);
        tool(&mut mount).unwrap();
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
        // Space that was only reserved must be taken, or it is found free later.
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
        if self.rate.is_some() {
            let _ = self.set_rate(0);
        }
        // An agent that was just killed may hold it for a moment; a lazy unmount waits for that.
        let _ = tool(Command::new("umount").arg("-l").arg(&self.mounted_at));
    }
}

fn tool(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!(
            "{:?}: {}",
            command.get_program(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))
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
