//! A real mosquitto on a free loopback port, in a temporary directory, for one test.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian and others put it; `/usr/sbin` is not on every user's path.
const PROGRAMS: [&str; 3] = [
    "mosquitto",
    "/usr/sbin/mosquitto",
    "/usr/local/sbin/mosquitto",
];

/// How long a broker may take to accept connections.
const START_WITHIN: Duration = Duration::from_secs(10);

/// A running, or stopped, mosquitto. It is killed when dropped.
pub(crate) struct Broker {
    directory: tempfile::TempDir,
    port: u16,
    config: String,
    child: Option<Child>,
}

impl Broker {
    /// Starts a broker that anybody may use, with further lines of configuration. A port that
    /// another process took in the meantime is answered with another port.
    pub(crate) fn start(lines: &str) -> Self {
        for _ in 0..5 {
            let mut broker = Self::stopped(lines);
            if broker.try_run() {
                return broker;
            }
        }
        panic!("mosquitto did not come up on any of five free ports");
    }

    /// Reserves a port for a broker that is not running yet.
    pub(crate) fn stopped(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        // Started as root it would become a user who cannot write here.
        let config = format!(
            "user root\npersistence_location {}/\nlistener {port} 127.0.0.1\n\
             allow_anonymous true\n{lines}\n",
            directory.path().display()
        );
        Self {
            directory,
            port,
            config,
            child: None,
        }
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds a line of configuration for the next start; of a repeated key mosquitto takes the last.
    pub(crate) fn add(&mut self, line: &str) {
        self.config.push_str(line);
        self.config.push('\n');
    }

    /// Starts it on its port, after [`Self::stop`] or [`Self::stopped`].
    pub(crate) fn run(&mut self) {
        assert!(
            self.try_run(),
            "mosquitto did not start on port {}",
            self.port
        );
    }

    /// Ends it as an operator would; with `persistence true` it saves its sessions first.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            let status = Command::new("kill").arg(pid).status().unwrap();
            assert!(status.success(), "kill failed");
            child.wait().unwrap();
        }
    }

    /// Kills it: nothing is saved, every connection breaks.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn try_run(&mut self) -> bool {
        let config = self.path("mosquitto.conf");
        fs::write(&config, &self.config).unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        let mut child = PROGRAMS
            .iter()
            .find_map(|program| {
                Command::new(program)
                    .arg("-v")
                    .arg("-c")
                    .arg(&config)
                    .current_dir(self.directory.path())
                    .stdout(Stdio::null())
                    .stderr(log.try_clone().unwrap())
                    .spawn()
                    .ok()
            })
            .expect(
                "mosquitto is missing: `cargo xtask test` installs it, \
                 so does `sudo apt-get install mosquitto`",
            );
        let up = accepts(self.port, &mut child);
        self.child = Some(child);
        if !up {
            self.kill();
        }
        up
    }

    /// Waits until it logged this. The broker is one thread: each connection that it answers in
    /// between gives it a turn.
    pub(crate) fn until_logged(&self, text: &str) {
        let give_up = Instant::now() + START_WITHIN;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < give_up,
                "no {text:?} in the log:\n{}",
                self.log()
            );
            Peer::connect(self.port, "onlooker");
        }
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Connects until the broker answers, without sleeping: a refused connection comes back at once, so
/// the loop yields in between.
fn accepts(port: u16, child: &mut Child) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let give_up = Instant::now() + START_WITHIN;
    while Instant::now() < give_up {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect_timeout(&address, START_WITHIN).is_ok() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// A loopback port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A bare MQTT 3.1.1 client with blocking calls, enough to look at the agent from outside.
pub(crate) struct Peer {
    stream: TcpStream,
    packets: u16,
}

impl Peer {
    /// Connects with a clean session.
    pub(crate) fn connect(port: u16, client_id: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(START_WITHIN)).unwrap();
        let mut peer = Self { stream, packets: 0 };
        let mut body = b"\0\x04MQTT\x04\x02\0\0".to_vec();
        text(&mut body, client_id);
        peer.write(0x10, &body);
        let (kind, body) = peer.read().unwrap();
        assert_eq!((kind, body.get(1)), (0x20, Some(&0)), "connection refused");
        peer
    }

    /// Publishes; at QoS 1 waits for the acknowledgement.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        let mut body = Vec::new();
        text(&mut body, topic);
        if qos > 0 {
            self.packets += 1;
            body.extend(self.packets.to_be_bytes());
        }
        body.extend(payload);
        self.write(0x30 | (qos << 1) | u8::from(retain), &body);
        if qos > 0 {
            let (kind, _) = self.read().unwrap();
            assert_eq!(kind, 0x40, "no acknowledgement");
        }
    }

    /// Subscribes at QoS 0 and waits for the acknowledgement.
    pub(crate) fn subscribe(&mut self, filter: &str) {
        self.packets += 1;
        let mut body = self.packets.to_be_bytes().to_vec();
        text(&mut body, filter);
        body.push(0);
        self.write(0x82, &body);
        let (kind, body) = self.read().unwrap();
        assert_eq!(
            (kind, body.last()),
            (0x90, Some(&0)),
            "subscription refused"
        );
    }

    /// The next message; `None` when the broker closed the connection.
    pub(crate) fn receive(&mut self) -> Option<(String, Vec<u8>)> {
        loop {
            let (kind, body) = self.read()?;
            if kind & 0xf0 != 0x30 {
                continue;
            }
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
            return Some((topic, body[2 + length..].to_vec()));
        }
    }

    fn write(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        let mut length = body.len();
        loop {
            let more = length >= 128;
            packet.push((length % 128) as u8 | u8::from(more) << 7);
            length /= 128;
            if !more {
                break;
            }
        }
        packet.extend(body);
        self.stream.write_all(&packet).unwrap();
    }

    fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut byte = [0];
        match self.stream.read_exact(&mut byte) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("nothing came for {START_WITHIN:?}")
            }
            Err(_) => return None,
        }
        let kind = byte[0];
        let mut length = 0;
        for place in 0..4 {
            self.stream.read_exact(&mut byte).ok()?;
            length |= usize::from(byte[0] & 127) << (7 * place);
            if byte[0] < 128 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some((kind, body))
    }
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text.as_bytes());
}
