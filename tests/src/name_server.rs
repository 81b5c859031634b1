//! A name server on a loopback address of its own, which is silent until a test lets it answer: then
//! every name is 127.0.0.1. Only a process in a mount namespace of its own can be made to ask it.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Interval at which the server looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running server; it ends when it is dropped.
pub struct NameServer {
    directory: tempfile::TempDir,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answers: AtomicBool,
    ended: AtomicBool,
    asked: AtomicU64,
}

impl NameServer {
    /// Starts one; `None` where this user may take no port for it, or may not make a namespace.
    pub fn start() -> Option<Self> {
        let may = Command::new("unshare").args(["-m", "true"]).output();
        if !may.is_ok_and(|ran| ran.status.success()) {
            return None;
        }
        let [a, b, ..] = std::process::id().to_le_bytes();
        let address = (1..200).find_map(|last| {
            let address = format!("127.{}.{}.{last}", 100 + a % 100, b);
            let socket = UdpSocket::bind((address.as_str(), 53)).ok()?;
            Some((address, socket))
        });
        let (address, socket) = address?;
        socket.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let lines = format!("nameserver {address}\n");
        std::fs::write(directory.path().join("resolv.conf"), lines).unwrap();
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || serve(&socket, &theirs));
        Some(Self { directory, shared })
    }

    /// From now on it answers.
    pub fn answer(&self) {
        self.shared.answers.store(true, Ordering::Release);
    }

    /// Number of questions so far.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Acquire)
    }

    /// A program with arguments that runs another one so that it asks this server.
    pub fn wrapper(&self) -> Vec<String> {
        let file = self.directory.path().join("resolv.conf");
        let script = format!(
            "mount --bind {} /etc/resolv.conf && exec \"$@\"",
            show(&file)
        );
        ["unshare", "-m", "sh", "-c", &script, "sh"]
            .map(str::to_owned)
            .to_vec()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut query = [0; 512];
    while !shared.ended.load(Ordering::Acquire) {
        let Ok((length, from)) = socket.recv_from(&mut query) else {
            continue;
        };
        shared.asked.fetch_add(1, Ordering::AcqRel);
        if shared.answers.load(Ordering::Acquire)
            && let Some(answer) = answer(&query[..length])
        {
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// The answer to a query with one question: 127.0.0.1, and no address of another kind.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += 1 + usize::from(query[end]);
    }
    let question = query.get(12..end + 5)?;
    let asks_for_ipv4 = query[end + 1..end + 3] == [0, 1];
    let mut answer = query[..2].to_vec();
    // A response, recursion available; one question.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(asks_for_ipv4), 0, 0, 0, 0]);
    answer.extend(question);
    if asks_for_ipv4 {
        // The name of the question, an IPv4 address, for a second.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
