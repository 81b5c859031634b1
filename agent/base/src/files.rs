//! Files that somebody else may have put there: those that an owner names in a configuration or a rule,
//! and those below the data directory. Neither is taken for an ordinary file before that is seen.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::str::Utf8Error;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Bytes of a configuration, a rule's file or a statement: a hundred times the longest that was seen.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a file with a password, a token or a private key.
pub const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a file with certificates: what systems bring along has 0.3 MB.
pub const CERTIFICATES_BYTES_MAX: u64 = 4 << 20;

/// Reads an input file, which has to be a regular one, or a link to one, of at most `bytes_max`
/// bytes. At most one byte more is read, and the call never blocks.
///
/// # Errors
/// When it cannot be opened or read, is another kind of file (a named pipe would be waited for, a device
/// never ends), or is longer.
pub fn read_input(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open_input(path, bytes_max)?;
    let mut bytes = Vec::new();
    read_within(file, bytes_max, &mut bytes)?;
    Ok(bytes)
}

/// Reads a file with a secret in it, and leaves no copy in memory but the one that is returned, which is
/// wiped when it is dropped.
///
/// # Errors
/// Like [`read_input`], and when others than its owner can write it: the secret may be anybody's.
pub fn read_secret(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let (file, found) = open_input(path, bytes_max)?;
    let mode = found.mode() & 0o7777;
    if mode & 0o022 != 0 {
        let what = format!(
            "others can write it (mode {mode:04o}), so it may hold anything; type: chmod go-w {}",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    // With room for all of it nothing is moved while it is read.
    let room = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room.saturating_add(1)));
    read_within(file, bytes_max, &mut bytes)?;
    Ok(bytes)
}

/// Describes who besides its owner and group can read or replace a file with a secret, and the way
/// out; `None` if all is well, or the file cannot be examined.
pub fn exposure(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    let (mode, owner) = (found.mode() & 0o7777, found.uid());
    let shown = path.display();
    if mode & 0o004 != 0 {
        return Some(format!(
            "everybody on this machine can read {shown} (mode {mode:04o}); type: chmod o-r {shown}"
        ));
    }
    let folder = path
        .parent()
        .and_then(|folder| std::fs::metadata(folder).ok());
    let folder_mode = folder.map_or(0, |found| found.mode() & 0o7777);
    // In a folder with the sticky bit a file is its owner's.
    if folder_mode & 0o1002 == 0o002 {
        return Some(format!(
            "everybody on this machine can replace {shown}: its folder has mode {folder_mode:04o}"
        ));
    }
    let caller = rustix::process::geteuid();
    let is_ours = owner == 0 || owner == caller.as_raw() || caller.is_root();
    (!is_ours).then(|| {
        format!("{shown} belongs to user {owner}, who can replace it; type: chown root {shown}")
    })
}

fn open_input(path: &Path, bytes_max: u64) -> io::Result<(File, Metadata)> {
    // Looked at before it is opened, because opening a device may set something off.
    check_input(&std::fs::metadata(path)?, bytes_max)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY))
        .open(path)?;
    let found = file.metadata()?;
    check_input(&found, bytes_max)?;
    Ok((file, found))
}

fn read_within(file: File, bytes_max: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    file.take(bytes_max.saturating_add(1)).read_to_end(bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_long(bytes_max));
    }
    Ok(())
}

/// The error of a file that should be text, with the first line that is not.
pub fn not_text(bytes: &[u8], error: Utf8Error) -> io::Error {
    let line = bytes.iter().take(error.valid_up_to());
    let line = line.filter(|byte| **byte == b'\n').count() + 1;
    let what = format!("it is not UTF-8: line {line} has a byte that begins no character");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn check_input(found: &Metadata, bytes_max: u64) -> io::Result<()> {
    check_regular(found)?;
    if found.len() > bytes_max {
        return Err(too_long(bytes_max));
    }
    Ok(())
}

fn check_regular(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let what = format!("it is {}, not a regular file", kind(found.file_type()));
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

fn too_long(bytes_max: u64) -> io::Error {
    let what = format!("it is longer than {bytes_max} bytes");
    io::Error::new(io::ErrorKind::FileTooLarge, what)
}

/// A kind of file in words, with its article.
pub fn kind(found: FileType) -> &'static str {
    if found.is_symlink() {
        "a symbolic link"
    } else if found.is_dir() {
        "a directory"
    } else if found.is_fifo() {
        "a named pipe"
    } else if found.is_socket() {
        "a socket"
    } else if found.is_char_device() || found.is_block_device() {
        "a device"
    } else {
        "a file"
    }
}

/// Opens a file of the data directory: one that is our own or not there yet, never what a link points
/// to, and readable for nobody else whatever the umask.
pub fn own() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .mode(0o600)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY));
    options
}

/// Opens a file of the data directory for reading and writing; what stood in it is gone once it is known to be a
/// regular file.
///
/// # Errors
/// When it cannot be opened, is a link or another kind of file.
pub fn create_own(path: &Path) -> io::Result<File> {
    let file = own()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| explain(path, error))?;
    check_regular(&file.metadata()?)?;
    file.set_len(0)?;
    Ok(file)
}

/// Reads a small text of the data directory.
///
/// # Errors
/// When it cannot be opened or read, is a link or another kind of file, or is not UTF-8.
pub fn read_own(path: &Path) -> io::Result<String> {
    let file = own()
        .read(true)
        .open(path)
        .map_err(|error| explain(path, error))?;
    check_input(&file.metadata()?, TEXT_BYTES_MAX)?;
    let mut text = String::new();
    file.take(TEXT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Explains an error. For a link that is not followed, the system reports too many links.
pub fn explain(path: &Path, error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return error;
    }
    let what = match std::fs::read_link(path) {
        Ok(target) => format!(
            "it is a symbolic link to {}, which is not followed; remove it",
            target.display()
        ),
        Err(_) => "it is a symbolic link, which is not followed; remove it".to_owned(),
    };
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

fn flags(flags: OFlags) -> i32 {
    // The bits are those of a C int.
    flags.bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};

    #[test]
    fn an_input_is_a_regular_file_within_its_limit() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        let read = |max| read_input(&path, max).map_err(|error| error.to_string());
        assert!(read(8).unwrap_err().contains("No such file"));
        std::fs::write(&path, "12345678").unwrap();
        assert_eq!(read(8).unwrap(), b"12345678");
        assert_eq!(read(7).unwrap_err(), "it is longer than 7 bytes");
        let sparse = File::create(&path).unwrap();
        sparse.set_len(4 << 30).unwrap();
        assert_eq!(
            read(1 << 20).unwrap_err(),
            "it is longer than 1048576 bytes"
        );
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(
            read(8).unwrap_err(),
            "it is a directory, not a regular file"
        );
        std::fs::remove_dir(&path).unwrap();
        mkfifoat(CWD, &path, Mode::RUSR).unwrap();
        assert_eq!(
            read(8).unwrap_err(),
            "it is a named pipe, not a regular file"
        );
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(read(8).unwrap_err(), "it is a device, not a regular file");
        // A file of the kernel has no length, and is read all the same.
        assert!(read_input(Path::new("/proc/self/status"), 1 << 20).is_ok());
        assert!(read_input(Path::new("/proc/self/status"), 8).is_err());
    }

    #[test]
    fn a_text_that_is_none_names_its_line() {
        let text = [b"a\nb".as_slice(), &[0xff]].concat();
        let error = not_text(&text, std::str::from_utf8(&text).unwrap_err());
        let error = error.to_string();
        assert!(error.starts_with("it is not UTF-8: line 2"), "{error}");
    }

    #[test]
    fn a_secret_that_others_can_write_is_none_and_one_that_they_can_read_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        std::fs::write(&path, "hush").unwrap();
        for (mode, is_good, is_told) in [
            (0o600, true, false),
            (0o640, true, false),
            (0o644, true, true),
            (0o620, false, false),
            (0o602, false, false),
            (0o666, false, true),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read_secret(&path, 4);
            assert_eq!(read.is_ok(), is_good, "{mode:o}");
            assert_eq!(exposure(&path).is_some(), is_told, "{mode:o}");
            if let Err(error) = read {
                let error = error.to_string();
                assert!(error.contains("type: chmod go-w"), "{error}");
            }
        }
    }

    #[test]
    fn a_file_of_ours_is_never_that_of_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let (target, link) = (temp.path().join("target"), temp.path().join("link"));
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let errors = [
            create_own(&link).map(drop).unwrap_err(),
            read_own(&link).map(drop).unwrap_err(),
        ];
        for error in errors {
            let error = error.to_string();
            assert!(
                error.contains("symbolic link to") && error.contains("target"),
                "{error}"
            );
        }
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
        let fifo = temp.path().join("fifo");
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(
            create_own(&fifo).is_err(),
            "nobody reads it, and nobody waits"
        );
        assert!(read_own(&fifo).is_err());
        let file = temp.path().join("file");
        drop(create_own(&file).unwrap());
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
