//! A receiver on a thread of its own: it takes in all rows that come to it, while a test does
//! something else and waits for how many there are.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::{Message, Peer5, Received, wait_until};

/// Topic of the message, no row, that tells that nothing comes after it.
const END: &str = "end-of-test";

/// State that the thread shares.
#[derive(Default)]
struct Shared {
    received: Received,
    ends: usize,
    /// The first thing that went wrong; nothing is taken in afterwards.
    fault: Option<String>,
}

/// Collects until it is dropped.
pub struct Collector {
    shared: Arc<Mutex<Shared>>,
    socket: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Subscribes to `filter` at QoS 1 on the broker of this port.
    pub fn start(port: u16, filter: &str) -> Self {
        let mut peer = Peer5::connect(port, &format!("collector-{filter}"));
        peer.subscribe(filter);
        if filter != "#" {
            peer.subscribe(END);
        }
        let socket = peer.socket();
        // While nothing is sent for long, nothing comes: that is for the test to judge.
        socket.set_read_timeout(None).unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while let Some(message) = peer.receive() {
                let mut shared = theirs.lock().unwrap();
                if message.topic == END {
                    shared.ends += 1;
                } else if let Err(fault) = take(&mut shared.received, &message) {
                    shared.fault = Some(fault);
                    return;
                }
            }
        });
        Self {
            shared,
            socket,
            thread: Some(thread),
        }
    }

    /// Number of rows, each counted once.
    ///
    /// # Panics
    /// When a row was lost or has changed, with its name.
    #[track_caller]
    pub fn count(&self) -> usize {
        self.shared().received.count()
    }

    /// Waits until there are so many rows. The patience is for one row, not for all of them.
    #[track_caller]
    pub fn until(&self, count: usize) {
        let mut had = self.count();
        while had < count {
            wait_until(
                || self.count() > had,
                || format!("LOST: {had} rows of {count} came, then no more"),
            );
            had = self.count();
        }
    }

    /// Waits until everything has come that the broker of this port has had so far.
    #[track_caller]
    pub fn settle(&self, port: u16) {
        let before = self.shared().ends;
        Peer5::connect(port, "settle").publish(END, b"", &[]);
        wait_until(
            || self.shared().ends > before,
            || "the broker does not pass on what it got".to_owned(),
        );
    }

    /// Looks at what came.
    #[track_caller]
    pub fn received<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.shared().received)
    }

    #[track_caller]
    fn shared(&self) -> MutexGuard<'_, Shared> {
        let shared = self.shared.lock().unwrap();
        if let Some(fault) = shared.fault.clone() {
            drop(shared);
            panic!("{fault}");
        }
        shared
    }
}

fn take(received: &mut Received, message: &Message) -> Result<bool, String> {
    received.take(&message.row()?, &message.topic, &message.payload)
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
