//! Counts of a port, as its status publishes them.

use serde::Serialize;

/// Counts since the start. Each line that came counts once in `plain`, `undecoded`, `log`, `log_dropped`, `noise`,
/// `too_long`, `smp_lines` or in the counts of acknowledged lines; of a port with frames, each packet in `frames`,
/// `undecoded`, `frames_damaged` or `too_long`, and each byte in `frame_bytes`, `stray_bytes` or what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Bytes read.
    pub bytes: u64,
    /// Plain lines and sentences that became events.
    pub plain: u64,
    /// Frames that became events.
    pub frames: u64,
    /// Bytes that are no packet: damaged, or without an end.
    pub frames_damaged: u64,
    /// Bytes of whole packets, ends and checksums included.
    pub frame_bytes: u64,
    /// Bytes that lie in no whole packet.
    pub stray_bytes: u64,
    /// Lines and whole packets that are not of the port's form.
    pub undecoded: u64,
    /// Log lines published.
    pub log: u64,
    /// Log lines beyond 100 a second, or without a broker.
    pub log_dropped: u64,
    /// Lines that are no text, and halves at an unplugging.
    pub noise: u64,
    /// Lines and packets longer than `line_bytes`.
    pub too_long: u64,
    /// Lines of SMP packets.
    pub smp_lines: u64,
    /// SMP packets whose length and checksum fit.
    pub smp_packets: u64,
    /// SMP packets given up.
    pub smp_damaged: u64,
    /// Events of plain lines and frames that the broker has taken.
    pub published: u64,
    /// Events of plain lines and frames given up for want of room.
    pub dropped: u64,
    /// Publishes that the broker refused; they are repeated.
    pub refused: u64,
    /// Publishes that the broker will never take: topic, length or form are wrong for it. They are given up.
    pub rejected: u64,
    /// Publishes for which there was no subscriber.
    pub unheard: u64,
    /// Events whose topic could not be made of their fields.
    pub default_topic: u64,
    /// Bytes that the kernel dropped.
    pub overruns: u64,
    /// Raw lines written for others.
    pub written: u64,
    /// Raw lines and commands that were not taken.
    pub write_refused: u64,
}
