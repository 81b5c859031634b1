//! Changes to files and names, from strace's record.

use super::calls::{Line, lines, unescape};

/// A change below a folder, or a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileCall {
    pub(super) change: Change,
    /// The line at which it began.
    pub(super) entered: usize,
    /// The line at which it was over.
    pub(super) returned: usize,
}

impl FileCall {
    /// `true` if it writes these bytes to a file whose path ends like this.
    pub(super) fn writes(&self, ending: &str, wanted: &[u8]) -> bool {
        let Change::Write { path, bytes, .. } = &self.change else {
            return false;
        };
        let has_it = || bytes.windows(wanted.len()).any(|part| part == wanted);
        path.ends_with(ending) && (wanted.is_empty() || has_it())
    }
}

/// Effect of a call. Paths are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A file is there from now on, with nothing in it if it is cut.
    Open {
        path: String,
        create: bool,
        cut: bool,
    },
    Write {
        path: String,
        at: u64,
        bytes: Vec<u8>,
    },
    /// The file gets that length; it becomes longer only where `grow`.
    Length {
        path: String,
        bytes: u64,
        grow: bool,
    },
    Folder {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    Sync {
        path: String,
    },
}

/// Place in the file of the next `write` to each descriptor.
#[derive(Default)]
struct Positions(std::collections::BTreeMap<u64, (u64, bool)>);

/// All changes that succeeded, in the order in which they returned.
pub(super) fn read(text: &str) -> Vec<FileCall> {
    let mut positions = Positions::default();
    let calls = lines(text).into_iter().filter_map(|line| {
        let Line {
            text,
            entered,
            returned,
        } = line;
        Some(FileCall {
            change: change(&text, &mut positions)?,
            entered,
            returned,
        })
    });
    calls.collect()
}

fn change(line: &str, positions: &mut Positions) -> Option<Change> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let number = result.split(['<', ' ']).next()?;
    let result_number: u64 = number.parse().ok()?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let text = |number: usize| {
        let quoted = arguments.split('"').nth(2 * number + 1)?;
        Some(String::from_utf8_lossy(&unescape(quoted)).into_owned())
    };
    match name {
        "openat" => {
            let path = named(result)?;
            let has = |flag| arguments.contains(flag);
            positions.0.insert(result_number, (0, has("O_APPEND")));
            has("O_DIRECTORY").eq(&false).then_some(Change::Open {
                path,
                create: has("O_CREAT"),
                cut: has("O_TRUNC"),
            })
        }
        "lseek" => {
            positions.0.entry(descriptor(arguments)?).or_default().0 = result_number;
            None
        }
        "write" | "pwrite64" => {
            let path = named(arguments)?;
            let quoted = arguments.split('"').nth(1)?;
            let mut bytes = unescape(quoted);
            let written = usize::try_from(result_number).ok()?;
            assert!(bytes.len() >= written, "strace has cut a write to {path}");
            bytes.truncate(written);
            let at = if name == "pwrite64" {
                arguments.rsplit(", ").next()?.parse().ok()?
            } else {
                let (at, appends) = positions.0.entry(descriptor(arguments)?).or_default();
                assert!(!*appends, "{path} is appended to: not modelled");
                *at += result_number;
                *at - result_number
            };
            Some(Change::Write { path, at, bytes })
        }
        "ftruncate" => Some(Change::Length {
            path: named(arguments)?,
            bytes: arguments.rsplit(", ").next()?.parse().ok()?,
            grow: false,
        }),
        "fallocate" => {
            let mut numbers = arguments.rsplit(", ").map(str::parse::<u64>);
            let (length, offset) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            (arguments.contains(", 0, ")).then_some(Change::Length {
                path: named(arguments)?,
                bytes: offset + length,
                grow: true,
            })
        }
        "mkdir" => Some(Change::Folder { path: text(0)? }),
        "rename" | "renameat" | "renameat2" => Some(Change::Rename {
            from: text(0)?,
            to: text(1)?,
        }),
        "unlink" | "rmdir" => Some(Change::Remove { path: text(0)? }),
        "unlinkat" => {
            let name = text(0)?;
            let path = if name.starts_with('/') {
                name
            } else {
                format!("{}/{name}", named(arguments)?)
            };
            Some(Change::Remove { path })
        }
        "fsync" | "fdatasync" => Some(Change::Sync {
            path: named(arguments)?,
        }),
        _ => None,
    }
}

fn descriptor(arguments: &str) -> Option<u64> {
    arguments.split('<').next()?.parse().ok()
}

/// The path of the first descriptor; nothing where its file has none any more.
fn named(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('<')?;
    let (path, rest) = rest.split_once('>')?;
    let path = String::from_utf8_lossy(&unescape(path)).into_owned();
    (path.starts_with('/') && !rest.starts_with("(deleted)")).then_some(path)
}
