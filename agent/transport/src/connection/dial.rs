//! Reaching a broker: its name, TCP and encryption. Time limits are for progress, not for the whole: a
//! handshake over a slow link may take as long as bytes move.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep_until, timeout};

use crate::link::Peer;
use crate::trouble::Trouble;
use crate::{resolve, tls};
use tidemill_base::heartbeat::WORK_WITHIN;

/// Longer nobody waits for an address or for an answer from one: a lost packet is sent again at ever
/// longer intervals, a new attempt begins anew.
const STEP_MAX: Duration = Duration::from_secs(10);

/// A whole handshake may take this many time limits, however it moves.
const STEPS_MAX: u32 = 12;

/// The kernel buffers no more than it has sent, and this much: so the bytes it accepts show the
/// bytes the link has carried.
const UNSENT_BYTES_MAX: u32 = 16 << 10;

impl Peer {
    /// An attempt to connect is over within this time, with the pause after it: the name and some
    /// addresses, then a handshake and an answer, which may take as long as bytes move.
    pub fn open_within(&self) -> Duration {
        let (handshake, answer) = (self.timeout * STEPS_MAX, self.timeout * STEPS_MAX);
        handshake + answer + WORK_WITHIN * 3
    }
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Remembers when bytes moved last.
#[derive(Debug)]
pub(super) struct Moved {
    start: Instant,
    /// Milliseconds since the start.
    last: AtomicU64,
}

impl Moved {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        })
    }

    /// When that was.
    pub(super) fn at(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    fn now(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// Waits for something as long as bytes move.
    pub(super) async fn meanwhile<T>(
        &self,
        limit: Duration,
        done: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let mut done = pin!(done);
        let end = Instant::now() + limit * STEPS_MAX;
        self.now();
        loop {
            let due = end.min(self.at() + limit);
            tokio::select! {
                done = &mut done => return done,
                () = sleep_until(due.into()) => {}
            }
            if Instant::now() >= end.min(self.at() + limit) {
                return Err(Trouble::Silent);
            }
        }
    }
}

/// A socket under any other layer, which observes whether bytes move. A write into a socket is a
/// sign of life only if the socket was full before: an empty one accepts anything.
struct Watched {
    inner: TcpStream,
    full: bool,
    moved: Arc<Moved>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.moved.now();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if std::mem::replace(&mut self.full, written.is_pending()) && written.is_ready() {
            self.moved.now();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Connects, encrypted if that is wanted.
pub(super) async fn reach(peer: &Peer) -> Result<(Box<dyn Stream>, Arc<Moved>), Trouble> {
    let inner = dial(peer).await?;
    let moved = Moved::new();
    let stream = Watched {
        inner,
        full: false,
        moved: Arc::clone(&moved),
    };
    let Some(files) = &peer.tls else {
        return Ok((Box::new(stream), moved));
    };
    let credentials = files
        .read()
        .map_err(|error| Trouble::Tls(error.to_string()))?;
    let encrypted = async {
        let stream = tls::connect(credentials, &peer.host, stream).await;
        stream.map_err(|error| Trouble::from_handshake(&error))
    };
    let stream = moved.meanwhile(peer.timeout, encrypted).await?;
    Ok((Box::new(stream), moved))
}

async fn dial(peer: &Peer) -> Result<TcpStream, Trouble> {
    let step = peer.timeout.min(STEP_MAX);
    let addresses = timeout(step, resolve::addresses(&peer.host, peer.port)).await;
    let addresses = addresses
        .map_err(|_| Trouble::NoAddress(peer.host.clone()))?
        .map_err(|error| Trouble::NoName {
            host: peer.host.clone(),
            why: error.to_string(),
        })?;
    let mut trouble = Trouble::NoAddress(peer.host.clone());
    for address in addresses {
        match timeout(step, connect(peer, address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(failed)) => trouble = Trouble::from_io(&failed),
            Err(_) => trouble = Trouble::Silent,
        }
    }
    Err(trouble)
}

async fn connect(peer: &Peer, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    if let Some(bytes) = peer.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    let options = SockRef::from(&stream);
    options.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    // When nothing arrives any more, the kernel's retries end up minutes apart.
    options.set_tcp_user_timeout(Some(peer.timeout * 2))?;
    Ok(stream)
}
