//! Files that are written whole, and known when they are damaged.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidemill_bundle::{SEED_BYTES, sha256};

use tidemill_base::files;

/// Bytes of any file in here.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Writes a file and syncs it.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options: OpenOptions = files::own();
    let _ = std::fs::remove_file(path);
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads a regular file.
pub(super) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let file = files::own().read(true).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Paths in a folder; none where it cannot be read.
pub(super) fn listed(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

/// A line of JSON.
pub(super) fn to_json(content: &impl Serialize) -> Vec<u8> {
    // Numbers, texts and lists can always be written.
    serde_json::to_vec(content).unwrap_or_default()
}

/// A line, and its hash on the next.
pub(super) fn sealed(line: &[u8]) -> Vec<u8> {
    let hash = sha256(line).to_string();
    [line, b"\n", hash.as_bytes(), b"\n"].concat()
}

/// The line, if its hash is its own.
pub(super) fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_suffix(b"\n")?;
    let (line, hash) = bytes.split_at_checked(bytes.len().checked_sub(64)?)?;
    let line = line.strip_suffix(b"\n")?;
    (sha256(line).to_string().as_bytes() == hash).then_some(line)
}

/// Random bytes of the system.
pub(super) fn getrandom(seed: &mut [u8; SEED_BYTES]) -> io::Result<()> {
    use ring::rand::SecureRandom as _;
    let random = ring::rand::SystemRandom::new();
    random
        .fill(seed)
        .map_err(|_| io::Error::other("the system gives no random numbers"))
}
