//! A connection to a broker, of either version of MQTT, for the source as well as for destinations. What is written is rumqttc's, what
//! is read and the loop are ours: only so are acknowledgements written in bulk over MQTT 5 too, does nothing have to be
//! read in order to write, and can a message be read past that no memory would hold
//! (docs/decisions/0007-acknowledgement.md).

mod accepted;
mod dial;
mod liveness;
mod publish;
mod v311;
mod v5;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Sleep, sleep_until};

use super::link::{Peer, Refusal, Sending, Version};
use super::packets::{Handshake, Inbox};
pub use super::packets::{Incoming, Received};
use super::trouble::Trouble;
use crate::topic::{Subscription, TopicFilter};
pub use accepted::Accepted;
use dial::{Moved, Stream};
use liveness::{Due, Liveness};

/// The answers to a message at QoS 2, and to the answer to that.
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

/// Bytes per read. Small, because a kept part of a payload keeps the rest of its read in memory.
const READ_BYTES: usize = 16 << 10;

/// Nothing more is queued while this many bytes wait to be written.
const OUTGOING_BYTES_MAX: usize = 256 << 10;

/// A buffer that has grown beyond this is given back once it is empty.
const OUTGOING_KEPT_MAX: usize = 512 << 10;

/// Outcome of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something was read.
    Read,
    /// A ping is due.
    PingDue,
}

/// A connection that a broker took: what comes in, what goes out, and when either is overdue.
pub struct Connection {
    stream: Box<dyn Stream>,
    /// Tells when bytes moved last.
    moved: Arc<Moved>,
    version: Version,
    incoming: Inbox,
    /// Messages at QoS 2 that were not acknowledged yet: a session may hold some of an earlier client.
    exactly_once: BTreeSet<u16>,
    /// Acknowledgements of what the broker's window lets it send, messages within [`OUTGOING_BYTES_MAX`],
    /// and few other packets.
    outgoing: BytesMut,
    /// Bytes that left it.
    written: u64,
    /// Written bytes may still rest in the stream's encryption buffer.
    unflushed: bool,
    packet_ids: u16,
    packet: u16,
    liveness: Liveness,
    /// Wakes us for what is due, or earlier.
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    /// Connects and waits until the broker takes the connection.
    pub async fn open(peer: &Peer, version: Version) -> Result<(Self, Accepted), Trouble> {
        let (stream, moved) = dial::reach(peer).await?;
        let now = Instant::now();
        let bytes_max = usize::try_from(peer.incoming_bytes_max).unwrap_or(usize::MAX);
        let mut connection = Self {
            stream,
            moved: Arc::clone(&moved),
            version,
            incoming: Inbox::new(version, bytes_max),
            exactly_once: BTreeSet::new(),
            outgoing: BytesMut::new(),
            written: 0,
            unflushed: false,
            packet_ids: peer.packet_ids,
            packet: 0,
            liveness: Liveness::new(peer.timeout, peer.ping_every, now),
            timer: Box::pin(sleep_until((now + peer.ping_every).into())),
        };
        match version {
            Version::V5 => v5::connect(peer, &mut connection.outgoing)?,
            Version::V311 => v311::connect(peer, &mut connection.outgoing)?,
        }
        let answer = moved.meanwhile(peer.timeout, connection.accepted()).await;
        let accepted = match answer {
            // Encryption was the last that the broker said yes to.
            Err(Trouble::Closed) if peer.tls.is_some() => return Err(Trouble::Shunned),
            Err(Trouble::Closed) => return Err(Trouble::Unanswered),
            answer => answer?,
        };
        let keep_alive = accepted.keep_alive;
        connection.liveness.accepted(keep_alive, Instant::now());
        Ok((connection, accepted))
    }

    async fn accepted(&mut self) -> Result<Accepted, Trouble> {
        loop {
            let what = "something else before its answer to the connection";
            if let Some(frame) = self.incoming.peek()?
                && (frame.length() > READ_BYTES || frame.is_publish())
            {
                return Err(Trouble::NoMqtt(what.to_owned()));
            }
            match self.incoming.next()? {
                Some(Incoming::Connack(connack)) => return Accepted::of(self.version, connack),
                Some(_) => return Err(Trouble::NoMqtt(what.to_owned())),
                None => {}
            }
            // No ping is sent before the answer: the time for that is bounded by itself.
            self.turn(true).await?;
        }
    }

    /// Writes what is to be written and, if `reads`, waits for something to read; else it only comes
    /// back when a ping is due. May be dropped at any time.
    pub async fn turn(&mut self, reads: bool) -> Result<Turn, Trouble> {
        std::future::poll_fn(|context| self.poll_turn(context, reads)).await
    }

    /// The same for one who reads; it also comes back, with nothing, when something was written and that
    /// is `wanted`.
    pub async fn turn_or_written(&mut self, wanted: bool) -> Result<Option<Turn>, Trouble> {
        std::future::poll_fn(|context| {
            let before = (self.written, self.is_flushed());
            match self.poll_turn(context, true) {
                Poll::Pending if wanted && before != (self.written, self.is_flushed()) => {
                    Poll::Ready(Ok(None))
                }
                turn => turn.map_ok(Some),
            }
        })
        .await
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, reads: bool) -> Poll<Result<Turn, Trouble>> {
        // A broker that hangs up may have said why: that is read first.
        let written = self.poll_write(context);
        if written.is_err() {
            self.outgoing.clear();
            self.unflushed = false;
        }
        let now = Instant::now();
        if !reads {
            self.liveness.excuse(now);
        }
        let (at, due) = self.liveness.due(self.moved.at());
        if written.is_ok() && due == Due::Ping && now >= at {
            // Moved on here, so that no caller that does not ping is told the same again at once.
            self.liveness.put_off(now);
            return Poll::Ready(Ok(Turn::PingDue));
        }
        let read = if reads {
            self.poll_read(context)
        } else {
            Poll::Pending
        };
        match (read, written) {
            (Poll::Ready(Ok(())), _) => Poll::Ready(Ok(Turn::Read)),
            (_, Err(trouble)) | (Poll::Ready(Err(trouble)), Ok(())) => Poll::Ready(Err(trouble)),
            (Poll::Pending, Ok(())) if now >= at => Poll::Ready(Err(Trouble::Silent)),
            (Poll::Pending, Ok(())) => {
                self.wake_at(at, context);
                Poll::Pending
            }
        }
    }

    /// Lets the timer wake us at this moment, or at an earlier one: it is not set anew for each packet.
    fn wake_at(&mut self, at: Instant, context: &mut Context<'_>) {
        if self.timer.deadline().into_std() > at {
            self.timer.as_mut().reset(at.into());
        }
        while self.timer.as_mut().poll(context).is_ready() {
            self.timer.as_mut().reset(at.into());
            if Instant::now() >= at {
                context.waker().wake_by_ref();
                return;
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        let incoming = self.incoming.buffer();
        incoming.reserve(READ_BYTES);
        let mut room = incoming.limit(READ_BYTES);
        let read = pin!(self.stream.read_buf(&mut room)).poll(context);
        Poll::Ready(match ready!(read) {
            Ok(0) => Err(Trouble::Closed),
            Ok(_) => {
                self.liveness.heard(Instant::now());
                Ok(())
            }
            Err(error) => Err(Trouble::from_io(&error)),
        })
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<(), Trouble> {
        if self.outgoing.is_empty() && !self.unflushed {
            return Ok(());
        }
        while !self.outgoing.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.outgoing) {
                Poll::Ready(Ok(0)) => return Err(Trouble::Closed),
                Poll::Ready(Ok(count)) => {
                    self.outgoing.advance(count);
                    self.written += count as u64;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(Trouble::from_io(&error)),
                Poll::Pending => return Ok(()),
            }
        }
        if self.outgoing.capacity() > OUTGOING_KEPT_MAX {
            self.outgoing = BytesMut::new();
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(error)) => Err(Trouble::from_io(&error)),
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                Ok(())
            }
            Poll::Pending => Ok(()),
        }
    }

    /// The next of what was read; `None` when there is nothing more.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, Trouble> {
        loop {
            let Some(incoming) = self.incoming.next()? else {
                return Ok(None);
            };
            match &incoming {
                Incoming::Message(received) => {
                    if let Some(Handshake {
                        packet,
                        exactly_once: true,
                        ..
                    }) = received.handshake
                    {
                        self.exactly_once.insert(packet);
                    }
                }
                Incoming::Released(packet) => {
                    put_two_bytes(PUBCOMP, *packet, &mut self.outgoing);
                    continue;
                }
                Incoming::Disconnect(disconnect) => return Err(v5::hung_up(disconnect.clone())),
                Incoming::PingAnswered => self.liveness.answered(),
                Incoming::Connack(_) | Incoming::Other => continue,
                _ => {}
            }
            return Ok(Some(incoming));
        }
    }

    /// Acknowledges messages, in this order.
    pub fn acknowledge(&mut self, packets: &[u16]) -> Result<(), Trouble> {
        for packet in packets {
            if !self.exactly_once.is_empty() && self.exactly_once.remove(packet) {
                put_two_bytes(PUBREC, *packet, &mut self.outgoing);
                continue;
            }
            match self.version {
                Version::V5 => v5::acknowledge(*packet, &mut self.outgoing)?,
                Version::V311 => v311::acknowledge(*packet, &mut self.outgoing)?,
            }
        }
        Ok(())
    }

    /// Asks for filters; returns what the answer is known by. `identified`: copies are to name the
    /// subscription, which is a single one then.
    pub fn subscribe(
        &mut self,
        wanted: &[Subscription],
        qos: u8,
        identified: bool,
    ) -> Result<u16, Trouble> {
        let packet = self.next_packet();
        match self.version {
            Version::V5 => v5::subscribe(packet, wanted, qos, identified, &mut self.outgoing)?,
            Version::V311 => v311::subscribe(packet, wanted, qos, &mut self.outgoing)?,
        }
        Ok(packet)
    }

    /// Drops filters; returns what the answer is known by.
    pub fn unsubscribe(&mut self, filters: &[TopicFilter]) -> Result<u16, Trouble> {
        let packet = self.next_packet();
        match self.version {
            Version::V5 => v5::unsubscribe(packet, filters, &mut self.outgoing)?,
            Version::V311 => v311::unsubscribe(packet, filters, &mut self.outgoing)?,
        }
        Ok(packet)
    }

    fn next_packet(&mut self) -> u16 {
        self.packet = self.packet % self.packet_ids + 1;
        self.packet
    }

    /// Asks for an answer.
    pub fn ping(&mut self) -> Result<(), Trouble> {
        self.liveness.pinged(Instant::now());
        match self.version {
            Version::V5 => v5::ping(&mut self.outgoing),
            Version::V311 => v311::ping(&mut self.outgoing),
        }
    }

    /// Time of the last ping that was answered.
    pub fn answered_ping(&self) -> Option<Instant> {
        self.liveness.answered_ping()
    }

    /// Notes that nothing was read for lack of room: silence is then no sign of a dead broker.
    pub fn excuse_silence(&mut self) {
        self.liveness.excuse(Instant::now());
    }

    /// `true` if the broker owes acknowledgements of what was published, and how much longer than the
    /// time limit it may be silent for that.
    pub fn awaits(&mut self, patience: Option<Duration>) {
        self.liveness.owes(patience, Instant::now());
    }

    /// `true` if another message may be put behind those that wait to be written.
    pub fn has_room(&self) -> bool {
        self.outgoing.len() < OUTGOING_BYTES_MAX
    }

    /// Publishes a message under this packet identifier, which is 0 at QoS 0; returns the position
    /// of its end in the stream.
    pub fn publish(&mut self, packet: u16, sending: Sending<'_>) -> Result<u64, Trouble> {
        publish::write(self.version, packet, sending, &mut self.outgoing)?;
        Ok(self.written + self.outgoing.len() as u64)
    }

    /// The place in the stream up to which everything was written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// `true` if nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        self.outgoing.is_empty() && !self.unflushed
    }

    /// Says good-bye.
    pub fn disconnect(&mut self) -> Result<(), Trouble> {
        match self.version {
            Version::V5 => v5::disconnect(&mut self.outgoing),
            Version::V311 => v311::disconnect(&mut self.outgoing),
        }
    }
}

/// A packet that says no more than which message it is about; the same in both versions.
fn put_two_bytes(first: u8, packet: u16, out: &mut BytesMut) {
    out.put_u8(first);
    out.put_u8(2);
    out.put_u16(packet);
}

/// The reason why the broker refused a message, from its answer; `None` if it accepted it.
pub fn refusal(code: u8, reason: Option<String>) -> Option<Refusal> {
    publish::refusal(code, reason)
}
