//! Files of the operator. Documents are replaced whole; nothing that is there is written over by
//! accident.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use tidemill_bundle::{Envelope, PayloadType, Root};

use super::super::Failure;
use super::wrong;
use tidemill_base::files::read_input;

/// Bytes of a file that a command reads.
const BYTES_MAX: u64 = 9 << 20;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    read_input(path, BYTES_MAX)
        .map_err(|error| wrong(format!("{}: cannot be read: {error}", path.display())))
}

/// Writes a file that is not there yet, with these permissions.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let options = &mut std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => wrong(format!(
            "{} is there already and is not written over; choose another name",
            path.display()
        )),
        _ => Failure::Failed(anyhow::anyhow!("{}: {error}", path.display())),
    })
}

/// Replaces a file whole: beside it, synced, then renamed.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let failed = |error: std::io::Error| {
        Failure::Failed(anyhow::anyhow!(
            "{}: cannot be written: {error}",
            path.display()
        ))
    };
    let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    aside.write_all(bytes).map_err(failed)?;
    aside.as_file().sync_all().map_err(failed)?;
    aside.persist(path).map_err(|error| failed(error.error))?;
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed)
}

/// Reads the envelope of a root, signed or not.
pub(super) fn read_root(path: &Path) -> Result<(Envelope, Root), Failure> {
    let bytes = read(path)?;
    let bytes = bytes.trim_ascii_end();
    let refused =
        |why: &dyn std::fmt::Display| wrong(format!("{}: this is no root: {why}", path.display()));
    let envelope =
        Envelope::parse_draft(bytes, PayloadType::Root).map_err(|error| refused(&error.text))?;
    let root = Root::parse(&envelope.payload).map_err(|error| refused(&error.text))?;
    Ok((envelope, root))
}

/// The line of an envelope.
pub(super) fn line(envelope: &Envelope) -> Vec<u8> {
    let mut bytes = envelope.encode();
    bytes.push(b'\n');
    bytes
}
