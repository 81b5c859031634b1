//! A TCP link that fails to order. It stands between an agent and a broker, and can cut connections,
//! refuse them, swallow what is sent, be late or slow, or break at a random byte. All of it is one thread, so
//! that an order has been carried out when its call returns.

mod carrier;
mod way;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use carrier::Carrier;

/// The way in which a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// With a reset: what was under way is gone on both sides.
    Reset,
    /// In good order, as far as TCP can tell: both sides read to the end.
    Close,
}

/// Treatment of connections by the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The link carries what is sent.
    Up,
    /// New connections are reset at once. Those that are there go on; see [`Proxy::cut`].
    Refusing,
    /// New connections are accepted, and nothing is carried on any, in neither direction.
    BlackHole,
}

enum Order {
    Link(Link),
    Cut(Cut),
    Delay(Duration),
    Rate(u64),
    CutAtRandom { seed: u64, bytes: Range<u64> },
    Heal,
    End,
}

/// An order, and where to tell how many connections it ended.
type Ordered = (Order, SyncSender<usize>);

#[derive(Default)]
struct Counts {
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicU64,
    cuts: AtomicU64,
}

/// A link to a port of this machine; it ends when it is dropped.
pub struct Proxy {
    port: u16,
    orders: SyncSender<Ordered>,
    bell: UnixStream,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A link to this port that carries everything.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bell, rings) = UnixStream::pair().unwrap();
        let (orders, received) = sync_channel(1);
        let counts = Arc::new(Counts::default());
        let carrier = Carrier::new(listener, target, rings, received, Arc::clone(&counts));
        Self {
            port,
            orders,
            bell,
            counts,
            thread: Some(std::thread::spawn(move || carrier.run())),
        }
    }

    /// The port that the proxy listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what the link does with connections.
    pub fn set(&self, link: Link) {
        self.order(Order::Link(link));
    }

    /// Ends all connections that there are; returns how many there were.
    pub fn cut(&self, how: Cut) -> usize {
        self.order(Order::Cut(how))
    }

    /// Holds each byte up for so long.
    pub fn delay(&self, delay: Duration) {
        self.order(Order::Delay(delay));
    }

    /// Carries so many bytes in a second at most, in each direction of each connection; what comes faster
    /// waits, up to 1 MiB.
    pub fn rate(&self, bytes_per_second: u64) {
        self.order(Order::Rate(bytes_per_second));
    }

    /// Ends each connection, those that are there as well, once it has carried a random number of
    /// bytes from `bytes`, by reset or by close, until [`Proxy::heal`].
    pub fn cut_at_random(&self, seed: u64, bytes: Range<u64>) {
        self.order(Order::CutAtRandom { seed, bytes });
    }

    /// The link carries everything again, without delay, as fast as it can.
    pub fn heal(&self) {
        self.order(Order::Heal);
    }

    /// Bytes carried from those who connect to the target.
    pub fn bytes_up(&self) -> u64 {
        self.counts.up.load(Ordering::Relaxed)
    }

    /// Bytes carried from the target to those who connect.
    pub fn bytes_down(&self) -> u64 {
        self.counts.down.load(Ordering::Relaxed)
    }

    /// Number of connections so far, refused or not.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Number of connections that were cut, to order or at random.
    pub fn cuts(&self) -> u64 {
        self.counts.cuts.load(Ordering::Relaxed)
    }

    fn order(&self, order: Order) -> usize {
        let (done, carried_out) = sync_channel(1);
        self.orders.send((order, done)).unwrap();
        (&self.bell).write_all(b"!").unwrap();
        carried_out.recv().expect("the link has ended")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let (done, _) = sync_channel(1);
        let _ = self.orders.send((Order::End, done));
        let _ = (&self.bell).write_all(b"!");
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
