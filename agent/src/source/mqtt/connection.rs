//! The source's connection to its broker, of either version of MQTT. What is written is rumqttc's, what
//! is read and the loop are ours: only so are acknowledgements written in bulk over MQTT 5 too, does nothing have to be
//! read in order to write, and can a message be read past that no memory would hold
//! (docs/decisions/0007-acknowledgement.md).

mod v311;
mod v5;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::link::{Peer, Version};
use super::packets::{Connack, Handshake, Inbox};
pub(super) use super::packets::{Incoming, Received};
use super::trouble::Trouble;
use crate::tls;
use crate::topic::{Subscription, TopicFilter};

/// The answers to a message at QoS 2, and to the answer to that.
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

/// A broker that has not taken the connection by then does not answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How much is read at once. What is kept of a payload keeps its neighbours in memory, so not more.
const READ_BYTES: usize = 16 << 10;

/// The broker took the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) session_present: bool,
    /// Copies will name their subscriptions.
    pub(super) identifiers: bool,
    keep_alive: Option<Duration>,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something was read.
    Read,
    /// It is time for a ping.
    PingDue,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    version: Version,
    incoming: Inbox,
    /// Messages at QoS 2 that were not acknowledged yet: a session may hold some of an earlier client.
    exactly_once: BTreeSet<u16>,
    /// Acknowledgements of what the broker's window lets it send, and few other packets.
    outgoing: BytesMut,
    /// What was written may rest in the stream, encrypted.
    unflushed: bool,
    packet_ids: u16,
    packet: u16,
    ping_every: Duration,
    ping_due: Pin<Box<Sleep>>,
    /// Nothing has come since the last ping.
    silent: bool,
}

impl Connection {
    /// Connects and waits until the broker takes the connection.
    pub(super) async fn open(peer: &Peer, version: Version) -> Result<(Self, Accepted), Trouble> {
        match timeout(CONNECT_WITHIN, Self::try_open(peer, version)).await {
            Ok(opened) => opened,
            Err(_) => Err(Trouble::Silent),
        }
    }

    async fn try_open(peer: &Peer, version: Version) -> Result<(Self, Accepted), Trouble> {
        let mut connection = Self {
            stream: reach(peer).await?,
            version,
            incoming: Inbox::new(
                version,
                usize::try_from(peer.incoming_bytes_max).unwrap_or(usize::MAX),
            ),
            exactly_once: BTreeSet::new(),
            outgoing: BytesMut::new(),
            unflushed: false,
            packet_ids: peer.packet_ids,
            packet: 0,
            ping_every: peer.keep_alive,
            ping_due: Box::pin(sleep(peer.keep_alive)),
            silent: false,
        };
        match version {
            Version::V5 => v5::connect(peer, &mut connection.outgoing)?,
            Version::V311 => v311::connect(peer, &mut connection.outgoing)?,
        }
        let accepted = match connection.accepted().await {
            // Encryption was the last that the broker said yes to.
            Err(Trouble::Closed) if peer.tls.is_some() => return Err(Trouble::Shunned),
            accepted => accepted?,
        };
        if let Some(keep_alive) = accepted.keep_alive.filter(|time| !time.is_zero()) {
            connection.ping_every = keep_alive.min(peer.keep_alive);
        }
        connection.rest_until_ping();
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
                Some(Incoming::Connack(connack)) => return self.welcomed(connack),
                Some(_) => return Err(Trouble::NoMqtt(what.to_owned())),
                None => {}
            }
            // No ping is sent before the answer: the time for that is bounded by itself.
            self.turn(true).await?;
        }
    }

    fn welcomed(&self, connack: Connack) -> Result<Accepted, Trouble> {
        let Connack {
            session_present,
            code,
            given,
            is_short,
        } = connack;
        match (self.version, code) {
            (Version::V5, 1..) => return Err(v5::refused(code, given.reason)),
            (Version::V311, 1..) => return Err(v311::refused(code)),
            // It took us for a client of 3.1.1.
            (Version::V5, 0) if is_short => return Err(Trouble::VersionRefused),
            (_, 0) => {}
        }
        let keep_alive = given.server_keep_alive;
        Ok(Accepted {
            session_present,
            identifiers: self.version == Version::V5 && given.identifiers_available != Some(false),
            keep_alive: keep_alive.map(|seconds| Duration::from_secs(seconds.into())),
        })
    }

    /// Writes what is to be written and, if `reads`, waits for something to read; else it only comes
    /// back when a ping is due. May be dropped at any time.
    pub(super) async fn turn(&mut self, reads: bool) -> Result<Turn, Trouble> {
        std::future::poll_fn(|context| self.poll_turn(context, reads)).await
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, reads: bool) -> Poll<Result<Turn, Trouble>> {
        // A broker that hangs up may have said why: that is read first.
        let written = self.poll_write(context);
        if written.is_err() {
            self.outgoing.clear();
            self.unflushed = false;
        } else if self.ping_due.as_mut().poll(context).is_ready() {
            // Moved on here, so that no caller that does not ping is told the same again at once.
            self.rest_until_ping();
            return Poll::Ready(Ok(Turn::PingDue));
        }
        let read = match reads {
            true => self.poll_read(context),
            false => Poll::Pending,
        };
        match (read, written) {
            (Poll::Ready(Ok(())), _) => Poll::Ready(Ok(Turn::Read)),
            (_, Err(trouble)) | (Poll::Ready(Err(trouble)), Ok(())) => Poll::Ready(Err(trouble)),
            (Poll::Pending, Ok(())) => Poll::Pending,
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
                self.silent = false;
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
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(Trouble::from_io(&error)),
                Poll::Pending => return Ok(()),
            }
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
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Trouble> {
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
                Incoming::Connack(_) | Incoming::Acknowledged { .. } | Incoming::Other => continue,
                _ => {}
            }
            return Ok(Some(incoming));
        }
    }

    /// Acknowledges messages, in this order.
    pub(super) fn acknowledge(&mut self, packets: &[u16]) -> Result<(), Trouble> {
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
    pub(super) fn subscribe(
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
    pub(super) fn unsubscribe(&mut self, filters: &[TopicFilter]) -> Result<u16, Trouble> {
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
    pub(super) fn ping(&mut self) -> Result<(), Trouble> {
        match self.version {
            Version::V5 => v5::ping(&mut self.outgoing),
            Version::V311 => v311::ping(&mut self.outgoing),
        }
    }

    /// The ping that is due.
    pub(super) fn keep_alive(&mut self) -> Result<(), Trouble> {
        if std::mem::replace(&mut self.silent, true) {
            return Err(Trouble::Silent);
        }
        self.ping()
    }

    fn rest_until_ping(&mut self) {
        let due = Instant::now() + self.ping_every;
        self.ping_due.as_mut().reset(due);
    }

    /// Nothing was read because there was no room for it: no sign of a dead broker.
    pub(super) fn excuse_silence(&mut self) {
        self.silent = false;
    }

    /// Says good-bye.
    pub(super) fn disconnect(&mut self) -> Result<(), Trouble> {
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

async fn reach(peer: &Peer) -> Result<Box<dyn Stream>, Trouble> {
    let stream = dial(peer).await.map_err(|error| Trouble::from_io(&error))?;
    let Some(files) = &peer.tls else {
        return Ok(Box::new(stream));
    };
    let credentials = files
        .read()
        .map_err(|error| Trouble::Tls(error.to_string()))?;
    let stream = tls::connect(credentials, &peer.host, stream).await;
    Ok(Box::new(stream.map_err(|e| Trouble::from_handshake(&e))?))
}

async fn dial(peer: &Peer) -> std::io::Result<TcpStream> {
    let mut error = std::io::Error::new(std::io::ErrorKind::NotFound, "that name has no address");
    for address in lookup_host((peer.host.as_str(), peer.port)).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_nodelay(true)?;
        if let Some(bytes) = peer.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}
