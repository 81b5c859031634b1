//! Lines of strace to system calls. A call that another thread's line interrupted is put together
//! again: it entered the kernel at its first line and returned at its second.

use std::collections::BTreeMap;

/// A system call on a file or socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// The path, or the peers of a socket.
    pub(super) file: String,
    /// Bytes that were really read or written.
    pub(super) bytes: Vec<u8>,
    /// The line at which it began.
    pub(super) entered: usize,
    /// The line at which it was over.
    pub(super) returned: usize,
}

impl Call {
    pub(super) fn is_read(&self) -> bool {
        ["read", "readv", "recvfrom", "recvmsg"].contains(&self.name.as_str())
    }

    pub(super) fn is_sync(&self) -> bool {
        ["fdatasync", "fsync"].contains(&self.name.as_str())
    }

    pub(super) fn is_on_socket(&self) -> bool {
        self.file.starts_with("TCP")
    }

    /// The port at the other end of a socket.
    pub(super) fn peer(&self) -> Option<u16> {
        let (_, port) = self.file.trim_end_matches(']').rsplit_once(':')?;
        port.parse().ok()
    }
}

/// All calls that succeeded, in the order in which they began.
pub(super) fn read(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = lines(text)
        .iter()
        .filter_map(|line| call(&line.text, line.entered, line.returned))
        .collect();
    calls.sort_by_key(|call| call.entered);
    calls
}

/// A call as strace shows it, on one line.
pub(super) struct Line {
    pub(super) text: String,
    /// The line at which it began.
    pub(super) entered: usize,
    /// The line at which it was over.
    pub(super) returned: usize,
}

/// All calls that returned, in the order in which they did.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut begun: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.trim_start().splitn(2, ' ');
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else {
            continue;
        };
        // Behind the thread stands the time of day.
        let Some((_, rest)) = rest.trim_start().split_once(' ') else {
            continue;
        };
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (number, first.trim_end().to_owned()));
            continue;
        }
        let (entered, text) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let begun = begun.remove(thread);
                let behind = resumed.split_once(" resumed>").map(|(_, behind)| behind);
                let (Some((entered, first)), Some(behind)) = (begun, behind) else {
                    continue;
                };
                (entered, format!("{first}{behind}"))
            }
            None => (number, rest.to_owned()),
        };
        lines.push(Line {
            text,
            entered,
            returned: number,
        });
    }
    lines
}

/// `name(3<file>, "bytes", …) = 5`; nothing for what failed or is no such call.
fn call(line: &str, entered: usize, returned: usize) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let result: usize = result.split(' ').next()?.parse().ok()?;
    let (_, rest) = arguments.split_once('<')?;
    // A socket's description has an arrow in it.
    let end = if rest.starts_with("TCP") {
        rest.find("]>")? + 1
    } else {
        rest.find('>')?
    };
    let (file, rest) = rest.split_at(end);
    let mut bytes: Vec<u8> = rest
        .split('"')
        .skip(1)
        .step_by(2)
        .flat_map(unescape)
        .collect();
    // The first so many went; of a long one strace shows the beginning.
    bytes.truncate(result);
    Some(Call {
        name: name.to_owned(),
        file: String::from_utf8_lossy(&unescape(file)).into_owned(),
        bytes,
        entered,
        returned,
    })
}

/// `\x41` and plain characters to bytes.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    let digit = |at: usize| (*text.get(at)? as char).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut at = 0;
    while at < text.len() {
        let escape = text[at..].starts_with(b"\\x");
        match (digit(at + 2), digit(at + 3)) {
            (Some(high), Some(low)) if escape => {
                bytes.push((high * 16 + low) as u8);
                at += 4;
            }
            _ => {
                bytes.push(text[at]);
                at += 1;
            }
        }
    }
    bytes
}
