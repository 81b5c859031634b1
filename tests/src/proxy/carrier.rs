//! The thread of a link: it waits for orders, connections and bytes at once, and carries them.

use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

use super::way::{Pace, Way};
use super::{Counts, Cut, Link, Order, Ordered};
use crate::Random;

pub(super) struct Carrier {
    listener: TcpListener,
    target: u16,
    rings: UnixStream,
    orders: Receiver<Ordered>,
    counts: Arc<Counts>,
    link: Link,
    pace: Pace,
    /// Bytes after which connections break at random, if they do.
    breaks: Option<(Random, Range<u64>)>,
    pairs: Vec<Pair>,
}

/// A connection: the two sockets and what is under way between them.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    up: Way,
    down: Way,
    /// After so many bytes more it is cut, in this way.
    breaks_after: Option<(u64, Cut)>,
}

/// State of a connection after a look at it.
enum Fate {
    GoesOn,
    Over,
    Broken(Cut),
}

impl Carrier {
    pub(super) fn new(
        listener: TcpListener,
        target: u16,
        rings: UnixStream,
        orders: Receiver<Ordered>,
        counts: Arc<Counts>,
    ) -> Self {
        listener.set_nonblocking(true).unwrap();
        rings.set_nonblocking(true).unwrap();
        Self {
            listener,
            target,
            rings,
            orders,
            counts,
            link: Link::Up,
            pace: Pace::default(),
            breaks: None,
            pairs: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let ready = self.wait();
            while let Ok((order, done)) = self.orders.try_recv() {
                if matches!(order, Order::End) {
                    return;
                }
                let ended = self.carry_out(order);
                let _ = done.send(ended);
            }
            self.accept();
            if self.link != Link::BlackHole {
                self.carry(&ready);
            }
        }
    }

    /// Waits until something can be done; tells for each connection which sockets have something
    /// to read.
    fn wait(&mut self) -> Vec<(bool, bool)> {
        let now = Instant::now();
        let open = self.link != Link::BlackHole;
        let mut fds = vec![
            PollFd::new(&self.rings, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        let mut due = None;
        let mut ready = vec![(false, false); self.pairs.len()];
        let mut places = Vec::new();
        for (number, pair) in self.pairs.iter().enumerate().filter(|_| open) {
            let sockets = [
                (&pair.client, &pair.up, &pair.down),
                (&pair.server, &pair.down, &pair.up),
            ];
            for (side, (socket, reads, writes)) in sockets.into_iter().enumerate() {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, reads.wants_to_read());
                flags.set(PollFlags::OUT, writes.wants_to_write(now));
                // One of which nothing is wanted would still report its end, again and again.
                if !flags.is_empty() {
                    fds.push(PollFd::new(socket, flags));
                    places.push((number, side));
                }
            }
            let later = [pair.up.due(), pair.down.due()].into_iter().flatten();
            due = later.filter(|at| *at > now).chain(due).min();
        }
        let timeout = due.map(|at| Timespec::try_from(at - now).unwrap());
        poll(&mut fds, timeout.as_ref()).unwrap();
        let reads = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        for ((number, side), fd) in places.into_iter().zip(&fds[2..]) {
            let socket = &mut ready[number];
            let socket = if side == 0 {
                &mut socket.0
            } else {
                &mut socket.1
            };
            *socket = fd.revents().intersects(reads);
        }
        let mut heard = [0; 64];
        while (&self.rings).read(&mut heard).is_ok_and(|count| count > 0) {}
        ready
    }

    fn carry_out(&mut self, order: Order) -> usize {
        match order {
            Order::Link(link) => self.link = link,
            Order::Delay(delay) => self.pace.delay = delay,
            Order::Rate(rate) => self.pace.bytes_per_second = Some(rate),
            Order::CutAtRandom { seed, bytes } => {
                self.breaks = Some((Random::new(seed), bytes));
                for pair in &mut self.pairs {
                    pair.breaks_after = draw(&mut self.breaks);
                }
            }
            Order::Heal => {
                (self.link, self.pace, self.breaks) = (Link::Up, Pace::default(), None);
                for pair in &mut self.pairs {
                    pair.breaks_after = None;
                }
            }
            Order::Cut(how) => {
                let pairs = std::mem::take(&mut self.pairs);
                let count = pairs.len();
                self.counts.cuts.fetch_add(count as u64, Ordering::Relaxed);
                pairs.into_iter().for_each(|pair| pair.cut(how));
                return count;
            }
            Order::End => {}
        }
        0
    }

    fn accept(&mut self) {
        while let Ok((client, _)) = self.listener.accept() {
            self.counts.connections.fetch_add(1, Ordering::Relaxed);
            if self.link == Link::Refusing {
                reset(client);
                continue;
            }
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) {
                Ok(server) => {
                    for socket in [&client, &server] {
                        socket.set_nodelay(true).unwrap();
                        socket.set_nonblocking(true).unwrap();
                    }
                    self.pairs.push(Pair {
                        client,
                        server,
                        up: Way::default(),
                        down: Way::default(),
                        breaks_after: draw(&mut self.breaks),
                    });
                }
                // A target that is not there looks like a link that is not there.
                Err(_) => reset(client),
            }
        }
    }

    fn carry(&mut self, ready: &[(bool, bool)]) {
        let pairs = std::mem::take(&mut self.pairs);
        for (number, mut pair) in pairs.into_iter().enumerate() {
            // One that has just been accepted is read at the next turn.
            let ready = ready.get(number).copied().unwrap_or_default();
            match pair.carry(ready, self.pace, &self.counts) {
                Fate::GoesOn => self.pairs.push(pair),
                Fate::Over => {}
                Fate::Broken(how) => {
                    self.counts.cuts.fetch_add(1, Ordering::Relaxed);
                    pair.cut(how);
                }
            }
        }
    }
}

impl Pair {
    fn carry(&mut self, ready: (bool, bool), pace: Pace, counts: &Counts) -> Fate {
        let lost = ready.0 && self.up.wants_to_read() && !self.up.read(&mut self.client, pace);
        let lost =
            lost || ready.1 && self.down.wants_to_read() && !self.down.read(&mut self.server, pace);
        if lost {
            // The end of one side becomes that of the other.
            return Fate::Broken(Cut::Reset);
        }
        let now = Instant::now();
        let ways = [
            (&mut self.up, &mut self.server, &counts.up),
            (&mut self.down, &mut self.client, &counts.down),
        ];
        for (way, to, count) in ways {
            let most = self.breaks_after.map_or(u64::MAX, |(bytes, _)| bytes);
            let Some(written) = way.write(to, now, most) else {
                return Fate::Broken(Cut::Reset);
            };
            count.fetch_add(written, Ordering::Relaxed);
            if let Some((bytes, how)) = &mut self.breaks_after {
                *bytes -= written;
                if *bytes == 0 {
                    return Fate::Broken(*how);
                }
            }
        }
        if self.up.is_over() && self.down.is_over() {
            Fate::Over
        } else {
            Fate::GoesOn
        }
    }

    fn cut(self, how: Cut) {
        match how {
            Cut::Reset => {
                reset(self.client);
                reset(self.server);
            }
            Cut::Close => {
                for socket in [self.client, self.server] {
                    let _ = socket.shutdown(Shutdown::Both);
                }
            }
        }
    }
}

/// Draws the number of bytes after which the next connection breaks.
fn draw(breaks: &mut Option<(Random, Range<u64>)>) -> Option<(u64, Cut)> {
    let (random, bytes) = breaks.as_mut()?;
    let how = if random.one_in(2) {
        Cut::Reset
    } else {
        Cut::Close
    };
    Some((random.within(bytes.clone()).max(1), how))
}

/// Closes a socket without a farewell.
fn reset(socket: TcpStream) {
    let _ = set_socket_linger(&socket, Some(Duration::ZERO));
}
