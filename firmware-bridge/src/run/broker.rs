//! The connection to the broker: publishes within the broker's window, messages and PUBACKs in, and a new connection
//! where one ends. What was meant for an earlier connection is dropped: the state machine says it again.

use super::inputs;
use crate::bridge::Input;
use crate::config::{Broker, Config};
use crate::message::{Delivery, Message, Publish, PublishId, Qos};
use crate::topics;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tidemill_base::secret::SecretFile;
use tidemill_transport::connection::{Accepted, Connection, Incoming, Received, Turn};
use tidemill_transport::link::{Limits, Peer, Sending, Will};
use tidemill_transport::message::Version;
use tidemill_transport::negotiation::Protocol;
use tidemill_transport::packets::Answer;
use tidemill_transport::reconnect::Reconnect;
use tidemill_transport::tls::{ClientFiles, TlsFiles};
use tidemill_transport::topic::{Subscription, TopicFilter};
use tidemill_transport::trouble::Trouble;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Time that the broker keeps our session, in which it keeps commands.
const SESSION_EXPIRY: Duration = Duration::from_secs(3_600);

/// Longest message for a device that is taken.
const INCOMING_BYTES_MAX: u32 = 64 << 10;

/// Packet identifiers up to here are those of SUBSCRIBE.
const SUBSCRIBE_IDS: u16 = 16;

/// Bytes of a PUBLISH beside topic and payload that are assumed, where the broker has a limit.
const HEAD_BYTES: usize = 256;

/// The reason code of a message that is longer than the broker takes.
const PACKET_TOO_LARGE: u8 = 0x95;

/// One thing to send.
#[derive(Debug)]
pub(super) enum What {
    /// A message.
    Publish(Publish),
    /// A PUBACK.
    Settle(Delivery),
}

/// One thing to send, on this connection only.
#[derive(Debug)]
pub(super) struct ToBroker {
    pub(super) connection: u64,
    pub(super) what: What,
}

/// The link, through all of its connections.
pub(super) struct Link {
    config: Broker,
    id: String,
    will: Publish,
    inputs: mpsc::Sender<inputs::Input>,
    connection: u64,
}

/// The main loop has ended, and all it said was sent.
struct Over;

/// One connection.
struct Session<'a> {
    connection: Connection,
    link: &'a Link,
    limits: Limits,
    /// Messages at QoS 1 beyond the broker's window.
    waiting: VecDeque<Publish>,
    in_flight: BTreeMap<u16, Option<PublishId>>,
    packet: u16,
    /// Messages that this broker cannot be sent at all.
    too_long: Vec<PublishId>,
    is_ending: bool,
}

impl Link {
    pub(super) fn new(config: &Config, will: Publish, inputs: mpsc::Sender<inputs::Input>) -> Self {
        Self {
            config: config.broker.clone(),
            id: config.id.clone(),
            will,
            inputs,
            connection: 0,
        }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<ToBroker>) {
        let mut reconnect = Reconnect::new(Protocol::V5, Version::V5);
        loop {
            let trouble = match self.open().await {
                Ok((connection, accepted)) => {
                    reconnect.connected();
                    info!(
                        "connected to the broker at {}:{}",
                        self.config.host, self.config.port
                    );
                    self.connection += 1;
                    let session = Session::new(connection, &self, accepted.limits);
                    let ended = session.run(&mut requests).await;
                    self.tell(None, Input::Broker(false)).await;
                    match ended {
                        Ok(Over) => return,
                        Err(trouble) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            let lost = reconnect.lost(&trouble, false);
            if lost.told.is_some() {
                let (host, port) = (&self.config.host, self.config.port);
                warn!(
                    "no connection to the broker at {host}:{port}: {}",
                    lost.reason
                );
            }
            let pause = tokio::time::sleep(lost.retry_in);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    request = requests.recv() => if request.is_none() { return },
                }
            }
        }
    }

    async fn open(&self) -> Result<(Connection, Accepted), Trouble> {
        let config = &self.config;
        let password = match &config.password_file {
            Some(file) => match SecretFile::new(file.clone()).read() {
                Ok(password) => Some(password),
                Err(error) => return Err(Trouble::Library(format!("{}: {error}", file.display()))),
            },
            None => None,
        };
        let tls = config.tls.as_ref().map(|keys| TlsFiles {
            ca_file: keys.ca_file.clone(),
            client: keys
                .client
                .clone()
                .map(|(cert_file, key_file)| ClientFiles {
                    cert_file,
                    key_file,
                }),
            ..TlsFiles::default()
        });
        let peer = Peer {
            host: config.host.clone(),
            port: config.port,
            client_id: format!("{}::bridge", self.id),
            username: config.username.clone(),
            password,
            tls,
            keep_alive: config.keep_alive,
            ping_every: config.keep_alive,
            timeout: config.timeout,
            clean: false,
            session_expiry: SESSION_EXPIRY,
            incoming_bytes_max: INCOMING_BYTES_MAX,
            packet_ids: SUBSCRIBE_IDS,
            receive_maximum: None,
            receive_buffer_bytes: None,
            will: Some(Will {
                topic: self.will.topic.clone(),
                payload: Bytes::from(self.will.payload.clone()),
                qos: 1,
                retain: true,
            }),
        };
        Connection::open(&peer, Version::V5).await
    }

    async fn tell(&self, connection: Option<u64>, what: Input) {
        // A main loop that has ended says so by closing the other channel.
        let _ = self.inputs.send(inputs::Input { connection, what }).await;
    }
}

impl<'a> Session<'a> {
    fn new(connection: Connection, link: &'a Link, limits: Limits) -> Self {
        Self {
            connection,
            link,
            limits,
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            packet: SUBSCRIBE_IDS,
            too_long: Vec::new(),
            is_ending: false,
        }
    }

    /// Runs until the connection ends, or the main loop has ended and all is sent.
    async fn run(mut self, requests: &mut mpsc::Receiver<ToBroker>) -> Result<Over, Trouble> {
        self.subscribe()?;
        let number = self.link.connection;
        self.link.tell(Some(number), Input::Broker(true)).await;
        loop {
            let takes = self.connection.has_room() && !self.is_ending;
            tokio::select! {
                turn = self.connection.turn_or_written(self.is_ending) => {
                    if let Some(Turn::PingDue) = turn? {
                        self.connection.ping()?;
                    }
                    while let Some(incoming) = self.connection.next_incoming()? {
                        self.take(incoming).await?;
                    }
                }
                request = requests.recv(), if takes => match request {
                    Some(request) if request.connection == number => self.send(request.what)?,
                    Some(_) => {}
                    None => self.is_ending = true,
                },
            }
            self.publish_waiting()?;
            for id in std::mem::take(&mut self.too_long) {
                self.link
                    .tell(None, Input::Acknowledged(id, PACKET_TOO_LARGE))
                    .await;
            }
            if self.is_ending && self.in_flight.is_empty() && self.waiting.is_empty() {
                return self.good_bye().await;
            }
        }
    }

    fn subscribe(&mut self) -> Result<(), Trouble> {
        let filters = topics::filters(&self.link.id);
        let wanted: Vec<Subscription> = filters
            .iter()
            .filter_map(|filter| {
                let filter = TopicFilter::new(filter).ok()?;
                Some(Subscription { id: 1, filter })
            })
            .collect();
        self.connection.subscribe(&wanted, 1, false).map(|_| ())
    }

    async fn good_bye(mut self) -> Result<Over, Trouble> {
        self.connection.disconnect()?;
        while !self.connection.is_flushed() {
            self.connection.turn_or_written(true).await?;
        }
        Ok(Over)
    }

    async fn take(&mut self, incoming: Incoming) -> Result<(), Trouble> {
        match incoming {
            Incoming::Message(received) => self.message(received).await?,
            Incoming::Acknowledged {
                packet,
                code,
                reason,
            } => {
                if code >= 0x80 {
                    let why = reason.unwrap_or_default();
                    warn!(
                        "the broker refused a message with code {code:#04x} {}",
                        tidemill_base::text::printable(why)
                    );
                }
                if let Some(id) = self.in_flight.remove(&packet).flatten() {
                    self.link.tell(None, Input::Acknowledged(id, code)).await;
                }
            }
            Incoming::Subscribed { answers, .. } => {
                let refused = |answer: &Answer| matches!(answer, Answer::Refused(_));
                self.tell_refused(answers.iter().any(refused));
            }
            _ => {}
        }
        Ok(())
    }

    fn tell_refused(&self, is_refused: bool) {
        if is_refused {
            let id = &self.link.id;
            warn!(
                "the broker lets no commands through: its access list has to allow serial/{id}/+/write and serial/{id}/+/command"
            );
        }
    }

    async fn message(&mut self, received: Received) -> Result<(), Trouble> {
        let packet = received.handshake.map(|handshake| handshake.packet);
        let delivery = Delivery {
            connection: self.link.connection,
            packet,
        };
        let topic = String::from_utf8(received.topic.to_vec());
        let Some(topic) = topic
            .ok()
            .filter(|_| received.malformed.is_none() && received.skipped.is_none())
        else {
            warn!(
                "a message was dropped that is malformed or longer than {INCOMING_BYTES_MAX} bytes"
            );
            return self.connection.acknowledge(packet.as_slice());
        };
        let message = Message {
            topic,
            payload: received.payload.to_vec(),
            retained: received.retained,
            response_topic: received.response_topic,
            correlation: received.correlation.map(|data| data.to_vec()),
            properties: received.properties,
            delivery,
        };
        self.link.tell(None, Input::Message(message)).await;
        Ok(())
    }

    fn send(&mut self, what: What) -> Result<(), Trouble> {
        match what {
            What::Settle(delivery) => match delivery.packet {
                Some(packet) if delivery.connection == self.link.connection => {
                    self.connection.acknowledge(&[packet])
                }
                _ => Ok(()),
            },
            What::Publish(publish) if publish.qos == Qos::AtMostOnce => self.put(0, publish),
            What::Publish(publish) => {
                self.waiting.push_back(publish);
                self.publish_waiting()
            }
        }
    }

    fn publish_waiting(&mut self) -> Result<(), Trouble> {
        while self.in_flight.len() < usize::from(self.limits.in_flight)
            && self.connection.has_room()
        {
            let Some(publish) = self.waiting.pop_front() else {
                break;
            };
            let bytes = publish.topic.len() + publish.payload.len() + HEAD_BYTES;
            if bytes > usize::try_from(self.limits.packet_bytes).unwrap_or(usize::MAX) {
                warn!(
                    "a message of {bytes} bytes is longer than the broker takes, and was dropped"
                );
                self.too_long.extend(publish.id);
                continue;
            }
            let packet = self.next_packet();
            self.in_flight.insert(packet, publish.id);
            self.put(packet, publish)?;
        }
        let owed = (!self.in_flight.is_empty()).then_some(Duration::ZERO);
        self.connection.awaits(owed);
        Ok(())
    }

    /// The next identifier that is not in use; far fewer are in use than there are.
    fn next_packet(&mut self) -> u16 {
        loop {
            self.packet = self.packet.checked_add(1).unwrap_or(SUBSCRIBE_IDS + 1);
            if !self.in_flight.contains_key(&self.packet) {
                return self.packet;
            }
        }
    }

    fn put(&mut self, packet: u16, publish: Publish) -> Result<(), Trouble> {
        let mut properties = Vec::new();
        if let Some(eid) = publish.eid {
            properties.push(("eid".to_owned(), eid));
            properties.push(("eid-kind".to_owned(), "number".to_owned()));
        }
        let sending = Sending {
            topic: &publish.topic,
            payload: &Bytes::from(publish.payload),
            qos: u8::from(publish.qos == Qos::AtLeastOnce),
            retain: publish.retain && self.limits.retains,
            properties,
            correlation: publish.correlation.map(Bytes::from),
        };
        self.connection.publish(packet, sending).map(|_| ())
    }
}
