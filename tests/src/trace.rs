//! A witness of what really left a process, and when: strace's record of its system calls is read and
//! held against the promise that no acknowledgement and no emission leaves before the sync that
//! covers it has returned. Events are told apart by marks in their payloads, such as `wit-000017`.

mod calls;
mod disk;
mod files;
mod packets;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use crate::Random;
use calls::Call;
use disk::Disk;
use files::{Change, FileCall};
use packets::{Packet, Packets};
pub use tree::{Loss, Tree};

/// The system calls of one run, in the order in which the kernel was entered.
pub struct Trace {
    calls: Vec<Call>,
}

/// Findings of a trace.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Witnessed {
    /// Messages with a mark whose acknowledgement was sent.
    pub acknowledged: usize,
    /// Messages with a mark that were sent.
    pub sent: usize,
    /// Syncs of journal files that returned without error.
    pub syncs: usize,
    /// Events that must not have happened, each as a sentence.
    pub violations: Vec<String>,
}

impl Trace {
    /// Command line of strace for this, besides `-o FILE`. `-D` leaves the process its parent,
    /// `-yy` names files and peers, reads are there for the packet identifiers of messages that
    /// were received.
    pub const STRACE: [&str; 9] = [
        "strace",
        "-D",
        "-f",
        "-tt",
        "-xx",
        "-yy",
        "-s",
        "65536",
        "--trace=pwrite64,pwritev,fdatasync,fsync,write,writev,sendto,sendmsg,read,readv,recvfrom,recvmsg",
    ];

    /// Reads what strace wrote.
    pub fn read(text: &str) -> Self {
        Self {
            calls: calls::read(text),
        }
    }

    /// Judges the trace of an agent that listens on a broker at port `intake`. Marks are `prefix`
    /// and digits; a file is the journal's when its path has `journal` in it.
    pub fn witness(&self, intake: u16, prefix: &str) -> Witnessed {
        let mut witnessed = Witnessed::default();
        let durable = self.durable(prefix, &mut witnessed);
        let mut sockets: BTreeMap<&str, Socket> = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.is_on_socket()) {
            let socket = sockets.entry(&call.file).or_default();
            if call.is_read() {
                for packet in socket.received.push(call.entered, &call.bytes) {
                    if let Packet::Publish { id: Some(id), .. } = packet.content
                        && let Some(mark) = mark(&packet.body, prefix)
                    {
                        socket.waiting.push((id, mark));
                    }
                }
                continue;
            }
            for packet in socket.sent.push(call.entered, &call.bytes) {
                match packet.content {
                    Packet::Publish { .. } => {
                        if let Some(mark) = mark(&packet.body, prefix) {
                            witnessed.sent += 1;
                            let what = format!("emission {mark}");
                            witnessed.check(&what, packet.at, durable.get(&mark));
                        }
                    }
                    Packet::Acknowledgement { id } if call.peer() == Some(intake) => {
                        let Some(mark) = socket.answered(id, &mut witnessed.violations) else {
                            continue;
                        };
                        witnessed.acknowledged += 1;
                        let what = format!("the acknowledgement of {mark}");
                        witnessed.check(&what, packet.at, durable.get(&mark));
                    }
                    _ => {}
                }
            }
        }
        witnessed
    }

    /// For each mark the number of the call whose return made it durable.
    fn durable(&self, prefix: &str, witnessed: &mut Witnessed) -> BTreeMap<String, usize> {
        let journal = |call: &&Call| call.file.contains("journal");
        let mut unsynced: BTreeMap<&str, Vec<(usize, Vec<String>)>> = BTreeMap::new();
        let mut durable = BTreeMap::new();
        // A sync covers what had been written when it began, so the order is that of the returns.
        let mut calls: Vec<_> = self.calls.iter().filter(journal).collect();
        calls.sort_by_key(|call| call.returned);
        for call in calls {
            let written = unsynced.entry(&call.file).or_default();
            if call.is_sync() {
                witnessed.syncs += 1;
                written.retain(|(at, marks)| {
                    let covered = *at < call.entered;
                    if covered {
                        for mark in marks {
                            durable.entry(mark.clone()).or_insert(call.returned);
                        }
                    }
                    !covered
                });
            } else if !call.is_read() {
                written.push((call.returned, marks(&call.bytes, prefix)));
            }
        }
        durable
    }
}

/// The changes to files below one folder, in the order in which they returned.
pub struct FileTrace<'a> {
    root: &'a Path,
    /// Content of the folder, synced, before the first change.
    begins: &'a Tree,
    calls: Vec<FileCall>,
}

impl<'a> FileTrace<'a> {
    /// Command line of strace for this, besides `-o FILE`.
    pub const STRACE: [&'static str; 9] = [
        "strace",
        "-D",
        "-f",
        "--seccomp-bpf",
        "-tt",
        "-xx",
        "-yy",
        "-s1048576",
        "--trace=openat,lseek,write,pwrite64,ftruncate,fallocate,mkdir,rename,renameat,renameat2,unlink,unlinkat,rmdir,fsync,fdatasync",
    ];

    /// Reads what strace wrote about a process that worked in the folder `root`, given by its whole path.
    pub fn read(text: &str, root: &'a Path, begins: &'a Tree) -> Self {
        let calls = files::read(text);
        Self {
            root,
            begins,
            calls,
        }
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// `true` if there was no change.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The folder after a power cut behind the first `count` changes.
    pub fn after_power_cut(&self, count: usize, loss: Loss, random: &mut Random) -> Tree {
        self.disk(count).after_power_cut(loss, random)
    }

    /// The changes that write these bytes to a file whose path ends like this.
    pub fn writes_of(&self, ending: &str, wanted: &[u8]) -> Vec<usize> {
        let calls = self.calls.iter().enumerate();
        let wanted = calls.filter(|(_, call)| call.writes(ending, wanted));
        wanted.map(|(at, _)| at).collect()
    }

    /// The changes that remove a file whose path ends like this.
    pub fn removals_of(&self, ending: &str) -> Vec<usize> {
        let calls = self.calls.iter().enumerate();
        let removals = calls.filter(|(_, call)| match &call.change {
            Change::Remove { path } => path.ends_with(ending),
            _ => false,
        });
        removals.map(|(at, _)| at).collect()
    }

    /// The last change before another one that writes these bytes to a file whose path ends like this.
    /// Of its writes only so many are looked at.
    pub fn last_write_before(
        &self,
        change: usize,
        ending: &str,
        wanted: &[u8],
        looked_at: usize,
    ) -> Option<usize> {
        let calls = self.calls.iter().enumerate().take(change);
        let writes = calls.rev().filter(|(_, call)| call.writes(ending, b""));
        let mut found = writes.take(looked_at);
        found.find_map(|(at, call)| call.writes(ending, wanted).then_some(at))
    }

    /// The last change before another one that makes this file or folder durable.
    pub fn last_sync_before(&self, change: usize, path: &Path) -> Option<usize> {
        let calls = self.calls.iter().take(change);
        calls
            .rev()
            .position(|call| match &call.change {
                Change::Sync { path: synced } => Path::new(synced) == path,
                _ => false,
            })
            .map(|back| change - 1 - back)
    }

    /// Number of changes that wrote to files below a folder.
    pub fn writes_below(&self, folder: &Path) -> usize {
        let below = |call: &&FileCall| match &call.change {
            Change::Write { path, .. } => Path::new(path).starts_with(folder),
            _ => false,
        };
        self.calls.iter().filter(below).count()
    }

    /// Files and folders below one that were not all on the medium when this change began.
    pub fn unsynced_before(&self, change: usize, below: &str) -> Vec<String> {
        let began = self.calls[change].entered;
        let count = self.calls.iter().take_while(|call| call.returned < began);
        let below = self.root.join(below).display().to_string();
        self.disk(count.count()).unsynced(&below)
    }

    fn disk(&self, count: usize) -> Disk {
        let mut disk = Disk::new(self.root, self.begins);
        let calls = self.calls.iter().take(count);
        calls.for_each(|call| disk.take_up(call));
        disk
    }
}

impl Witnessed {
    fn check(&mut self, what: &str, left: usize, durable: Option<&usize>) {
        match durable {
            Some(at) if *at < left => {}
            Some(at) => self.violations.push(format!(
                "{what} left at line {left} of the trace, the sync that covers it returned at line {at}"
            )),
            None => self.violations.push(format!(
                "{what} left at line {left} of the trace, no sync of the journal ever covered it"
            )),
        }
    }
}

/// Packets of one socket.
#[derive(Default)]
struct Socket {
    received: Packets,
    sent: Packets,
    /// Messages that are not acknowledged yet, in order of receipt.
    waiting: Vec<(u16, String)>,
}

impl Socket {
    /// The mark of the message that was acknowledged.
    fn answered(&mut self, id: u16, violations: &mut Vec<String>) -> Option<String> {
        let place = self.waiting.iter().position(|waits| waits.0 == id)?;
        if place > 0 {
            let (_, overtaken) = &self.waiting[0];
            violations.push(format!("packet {id} was acknowledged before {overtaken}"));
        }
        Some(self.waiting.remove(place).1)
    }
}

/// All marks in some bytes.
fn marks(bytes: &[u8], prefix: &str) -> Vec<String> {
    let prefix = prefix.as_bytes();
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(prefix.len()).position(|part| part == prefix) {
        let behind = &rest[at + prefix.len()..];
        let digits = behind.iter().take_while(|byte| byte.is_ascii_digit());
        let length = prefix.len() + digits.count();
        found.push(String::from_utf8_lossy(&rest[at..at + length]).into_owned());
        rest = &rest[at + length..];
    }
    found
}

fn mark(bytes: &[u8], prefix: &str) -> Option<String> {
    marks(bytes, prefix).into_iter().next()
}

#[cfg(test)]
mod tests;
