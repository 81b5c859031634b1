//! A witness of what really left a process, and when: strace's record of its system calls is read and
//! held against the promise that no acknowledgement and no emission leaves before the sync that
//! covers it has returned. Events are told apart by marks in their payloads, such as `wit-000017`.

mod calls;
mod packets;

use std::collections::BTreeMap;

use calls::Call;
use packets::{Packet, Packets};

/// The system calls of one run, in the order in which the kernel was entered.
pub struct Trace {
    calls: Vec<Call>,
}

/// What a trace shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Witnessed {
    /// Messages with a mark whose acknowledgement was sent.
    pub acknowledged: usize,
    /// Messages with a mark that were sent.
    pub sent: usize,
    /// Syncs of journal files that returned without error.
    pub syncs: usize,
    /// What must not have happened, each as a sentence.
    pub violations: Vec<String>,
}

impl Trace {
    /// How strace has to be called for this, besides `-o FILE`. `-D` leaves the process its parent,
    /// `-yy` names files and peers, reads are there for the packet identifiers of what was received.
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

/// What went over one socket.
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
