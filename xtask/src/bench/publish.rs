//! Sends the events of a run: each device's packet is encoded once, then only its digits change, so
//! that the sender costs little beside the broker and the agent that are measured.

use super::event;
use super::mqtt::{Arrival, Connection, publish};
use anyhow::{Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Events written at once at most: a quarter of what a socket usually buffers.
const BATCH: u64 = 512;

/// QoS 1 messages under way at most; mosquitto's `max_inflight_messages` is set to the same.
pub(super) const WINDOW: u64 = 1_000;

/// Longest time until the broker acknowledges anything at all.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// Events to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Events a second; 0 is as fast as the broker takes them.
    pub(super) rate: u64,
    pub(super) count: u64,
    pub(super) devices: u64,
    pub(super) qos: u8,
}

/// Times of the sending.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) began: Instant,
    /// Greatest delay of the sender behind its own schedule: the run measures the sender where this
    /// is large.
    pub(super) late: Duration,
}

/// Sends `plan`, or as much of it as goes before `stop` is set; returns once all is written, and
/// with QoS 1 acknowledged.
pub(super) fn run(port: u16, plan: Plan, stop: &AtomicBool) -> Result<Sent> {
    let mut connection = Connection::open(port, "bench-publisher")?;
    connection.patience(ACK_WAIT)?;
    let mut templates: Vec<_> = (0..plan.devices)
        .map(|device| Template::new(device, plan.qos > 0))
        .collect();
    let due = |seq: u64| Duration::from_nanos(seq * 1_000_000_000 / plan.rate.max(1));
    let began = Instant::now();
    let (mut seq, mut under_way, mut late) = (0, 0, Duration::ZERO);
    let mut batch = Vec::with_capacity(128 * 1024);
    while seq < plan.count && !stop.load(Ordering::Relaxed) {
        let mut now = began.elapsed();
        if plan.rate > 0 {
            if now < due(seq) {
                thread::sleep(due(seq) - now);
                now = began.elapsed();
            }
            late = late.max(now.saturating_sub(due(seq)));
        }
        let ns = event::now_ns();
        let end = plan.count.min(seq + BATCH);
        batch.clear();
        while seq < end && (plan.rate == 0 || due(seq) <= now) && under_way < WINDOW {
            let device = (seq % plan.devices) as usize;
            let template = templates.get_mut(device).expect("one per device");
            batch.extend_from_slice(template.filled(seq, ns));
            under_way += u64::from(plan.qos > 0);
            seq += 1;
        }
        connection.send(&batch)?;
        if under_way > WINDOW / 2 {
            under_way -= acknowledged(&mut connection)?;
        }
    }
    while under_way > 0 {
        under_way -= acknowledged(&mut connection)?;
    }
    connection.send(&[0xe0, 0])?;
    Ok(Sent { began, late })
}

/// Waits for acknowledgements and counts them.
fn acknowledged(connection: &mut Connection) -> Result<u64> {
    let begun = Instant::now();
    let mut count = 0;
    while count == 0 {
        let open =
            connection.receive(|arrival| count += u64::from(arrival == Arrival::Acknowledged))?;
        if !open || begun.elapsed() > ACK_WAIT {
            bail!("the broker stopped acknowledging");
        }
    }
    Ok(count)
}

/// A device's packet with the places of the digits that change.
struct Template {
    packet: Vec<u8>,
    /// Start of the payload in the packet; in front of it stands the packet id, with QoS 1.
    payload_at: usize,
    has_id: bool,
    ts: Digits,
    ns: Digits,
    seq: Digits,
    degrees: Digits,
    hundredths: Digits,
}

/// Some digits of a packet.
#[derive(Clone, Copy)]
struct Digits {
    at: usize,
    width: usize,
}

impl Template {
    fn new(device: u64, has_id: bool) -> Self {
        let payload = event::payload(device, 0, event::now_ns());
        let packet = publish(
            &event::topic(device),
            payload.as_bytes(),
            has_id.then_some(1),
        );
        let payload_at = packet.len() - payload.len();
        let behind = |text: &str, width| {
            let found = payload.find(text).expect("each payload has these fields");
            let at = payload_at + found + text.len();
            Digits { at, width }
        };
        let degrees = behind(r#""temperature":"#, 2);
        Self {
            has_id,
            ts: behind(r#""ts":"#, 13),
            ns: behind(r#""ns":"#, 19),
            seq: behind(r#""seq":"#, 10),
            hundredths: Digits {
                at: degrees.at + 3,
                width: 2,
            },
            degrees,
            payload_at,
            packet,
        }
    }

    fn filled(&mut self, seq: u64, ns: u64) -> &[u8] {
        let centidegrees = event::centidegrees(seq);
        for (place, value) in [
            (self.ts, ns / 1_000_000),
            (self.ns, ns),
            (self.seq, event::SEQ_BASE + seq),
            (self.degrees, centidegrees / 100),
            (self.hundredths, centidegrees % 100),
        ] {
            self.put_digits(place, value);
        }
        if self.has_id {
            // Ids count 1 to 65,535 and are free again long before they recur.
            let id = (seq % 65_535 + 1) as u16;
            let place = self.packet.get_mut(self.payload_at - 2..self.payload_at);
            place
                .expect("the id was encoded")
                .copy_from_slice(&id.to_be_bytes());
        }
        &self.packet
    }

    fn put_digits(&mut self, place: Digits, mut value: u64) {
        let digits = self.packet.iter_mut().skip(place.at).take(place.width);
        for digit in digits.rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_template_equals_a_fresh_encoding() {
        for has_id in [false, true] {
            let mut template = Template::new(17, has_id);
            for seq in [0, 1, 99, 12_345, 65_534, 65_535] {
                let ns = 1_700_000_000_123_456_789 + seq;
                let payload = event::payload(17, seq, ns);
                let id = has_id.then_some((seq % 65_535 + 1) as u16);
                let fresh = publish("sensors/d017/env", payload.as_bytes(), id);
                assert_eq!(template.filled(seq, ns), fresh, "event {seq}");
            }
        }
    }
}
