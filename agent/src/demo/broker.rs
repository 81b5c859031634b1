//! An MQTT broker inside the process, so that a demo needs nothing installed. It keeps nothing on
//! disk, and may lose messages that a real broker would not: durability is tested against
//! mosquitto.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Longest time until the broker accepts connections.
const START_WITHIN: Duration = Duration::from_secs(5);

/// Interval at which the start tries to connect.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A broker that runs until the process ends.
#[derive(Debug)]
pub struct EmbeddedBroker {
    port: u16,
}

impl EmbeddedBroker {
    /// The broker's port on the loopback interface, for MQTT 3.1.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Starts a broker for MQTT 3.1.1 on the loopback interface, on this port or a free one.
///
/// # Errors
/// When the port is taken, or the broker does not come up.
pub fn start(port: Option<u16>) -> io::Result<EmbeddedBroker> {
    // Bound here first: the broker itself would only log that the port is taken.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0)))?;
    let address = listener.local_addr()?;
    drop(listener);

    let (ended, end) = sync_channel(1);
    std::thread::Builder::new()
        .name("demo-broker".to_owned())
        .spawn(move || {
            let result = Broker::new(config(address)).start();
            // Nobody listens any more once the broker is up.
            let _ = ended.send(result.err().map(|error| error.to_string()));
        })?;
    let give_up = Instant::now() + START_WITHIN;
    while Instant::now() < give_up {
        if TcpStream::connect(address).is_ok() {
            return Ok(EmbeddedBroker {
                port: address.port(),
            });
        }
        match end.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(reason) => return Err(io::Error::other(reason.unwrap_or_default())),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "the embedded broker does not accept connections",
    ))
}

fn config(listen: SocketAddr) -> Config {
    let server = ServerSettings {
        name: "demo-mqtt".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: 1 << 20,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    Config {
        router: RouterConfig {
            max_connections: 1_000,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 4,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("demo".to_owned(), server)])),
        ..Config::default()
    }
}
