//! A small file system of its own, on a loop device: it can be full without harm to others. Needs
//! root and a kernel that lets it; where that is not so, tests say it and are passed over.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted file system; unmounted when it is dropped.
pub struct LoopDisk {
    mounted_at: PathBuf,
    _image: tempfile::TempDir,
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
        tool(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(at),
        )?;
        Ok(Self {
            mounted_at: at.to_owned(),
            _image: folder,
        })
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
}
