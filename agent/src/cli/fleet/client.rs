//! A connection of the command line to the fleet's broker: reads what is retained, publishes, and sees
//! that it was kept.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;

use super::super::Failure;
use crate::config::Broker;
use tidemill_transport::connection::{Connection, Incoming, Turn, refusal};
use tidemill_transport::link::{Peer, Refusal, Sending};
use tidemill_transport::message::Version;
use tidemill_transport::negotiation::Protocol;
use tidemill_transport::packets::Answer;
use tidemill_transport::topic::{Subscription, TopicFilter};
use tidemill_transport::trouble::Trouble;

/// Longer messages are read past.
const INCOMING_BYTES_MAX: u32 = (512 << 10) + 4_096;

/// Packet identifiers of requests; those of messages lie above.
const PACKET_IDS: u16 = 32;

/// Nothing more is retained when so long nothing came.
const QUIET: Duration = Duration::from_millis(400);

/// The broker answers within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A message.
pub(super) type Message = (String, Bytes);

pub(super) struct Client {
    runtime: Runtime,
    connection: Connection,
    address: String,
    packet: u16,
    /// The longest packet that the broker takes.
    pub(super) packet_bytes: u32,
}

impl Client {
    /// Connects.
    pub(super) fn connect(broker: &Broker) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let peer = peer(broker);
        // No session is at stake here, so an older broker that only hangs up is asked in its version too.
        let versions: &[Version] = match broker.protocol {
            Protocol::Auto => &[Version::V5, Version::V311],
            Protocol::V5 => &[Version::V5],
            Protocol::V311 => &[Version::V311],
        };
        let mut trouble = None;
        for version in versions {
            match runtime.block_on(Connection::open(&peer, *version)) {
                Ok((connection, accepted)) => {
                    return Ok(Self {
                        runtime,
                        connection,
                        address: peer.address(),
                        packet: 0,
                        packet_bytes: accepted.limits.packet_bytes,
                    });
                }
                Err(failed) => {
                    let is_another = failed == Trouble::VersionRefused || failed.may_be_version();
                    trouble.get_or_insert(failed);
                    if !is_another {
                        break;
                    }
                }
            }
        }
        Err(failed(&peer.address(), &trouble.unwrap_or(Trouble::Closed)))
    }

    /// Subscribes, and returns what is retained.
    pub(super) fn listen(&mut self, filters: &[String]) -> Result<Vec<Message>, Failure> {
        let wanted = filters
            .iter()
            .filter_map(|filter| TopicFilter::new(filter).ok());
        let wanted: Vec<Subscription> = wanted
            .map(|filter| Subscription { id: 0, filter })
            .collect();
        self.connection
            .subscribe(&wanted, 1, false)
            .map_err(|it| failed(&self.address, &it))?;
        let mut messages = Vec::new();
        let until = Instant::now() + ANSWER_WITHIN;
        let mut quiet = until;
        while Instant::now() < quiet.min(until) {
            for incoming in self.read(quiet.min(until))? {
                match incoming {
                    Incoming::Subscribed { answers, .. } => {
                        let denied = answers
                            .iter()
                            .zip(filters)
                            .find(|(it, _)| matches!(it, Answer::Refused(_)));
                        if let Some((_, filter)) = denied {
                            return Err(Failure::Failed(anyhow::anyhow!(
                                "{}: the broker refuses to let this login read {filter}: its access list has to",
                                self.address
                            )));
                        }
                    }
                    Incoming::Message(received) if received.skipped.is_none() => {
                        messages.extend(message(&received));
                    }
                    _ => continue,
                }
                quiet = Instant::now() + QUIET;
            }
        }
        Ok(messages)
    }

    /// Messages that come until then; returns with the first ones.
    pub(super) fn receive(&mut self, until: Instant) -> Result<Vec<Message>, Failure> {
        let mut messages = Vec::new();
        for incoming in self.read(until)? {
            if let Incoming::Message(received) = incoming
                && received.skipped.is_none()
            {
                messages.extend(message(&received));
            }
        }
        Ok(messages)
    }

    /// Publishes a retained message and waits for the broker's answer; returns what else came meanwhile.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
    ) -> Result<Vec<Message>, Failure> {
        self.packet = self.packet % PACKET_IDS + 1;
        let packet = PACKET_IDS + self.packet;
        let payload = Bytes::from(payload);
        let sending = Sending {
            topic,
            payload: &payload,
            qos: 1,
            retain: true,
            properties: Vec::new(),
            correlation: None,
        };
        self.connection
            .publish(packet, sending)
            .map_err(|it| failed(&self.address, &it))?;
        let until = Instant::now() + ANSWER_WITHIN;
        let mut messages = Vec::new();
        let mut is_taken = false;
        while Instant::now() < until {
            for incoming in self.read(until)? {
                match incoming {
                    Incoming::Acknowledged {
                        packet: of,
                        code,
                        reason,
                    } if of == packet => {
                        if let Some(why) = refusal(code, reason) {
                            let (Refusal::NotNow(why)
                            | Refusal::Unsaid(why)
                            | Refusal::NotAuthorized(why)
                            | Refusal::Never(why)) = why;
                            let text = format!(
                                "{}: the broker does not take {topic}: {why}",
                                self.address
                            );
                            return Err(Failure::Failed(anyhow::anyhow!(text)));
                        }
                        is_taken = true;
                    }
                    Incoming::Message(received) => messages.extend(message(&received)),
                    _ => {}
                }
            }
            // What came with the answer counts as well.
            if is_taken {
                return Ok(messages);
            }
        }
        let text = format!("{}: the broker does not answer to {topic}", self.address);
        Err(Failure::Failed(anyhow::anyhow!(text)))
    }

    /// Reads packets of the broker until then; returns with the first of it, all acknowledged.
    fn read(&mut self, until: Instant) -> Result<Vec<Incoming>, Failure> {
        let connection = &mut self.connection;
        let turns = async {
            let mut all = Vec::new();
            while all.is_empty() {
                let turn = tokio::time::timeout_at(until.into(), connection.turn(true)).await;
                match turn {
                    Err(_) => break,
                    Ok(turn) => match turn? {
                        Turn::PingDue => connection.ping()?,
                        Turn::Read => {
                            while let Some(incoming) = connection.next_incoming()? {
                                if let Incoming::Message(received) = &incoming
                                    && let Some(handshake) = &received.handshake
                                {
                                    connection.acknowledge(&[handshake.packet])?;
                                }
                                all.push(incoming);
                            }
                        }
                    },
                }
            }
            Ok(all)
        };
        let read: Result<Vec<Incoming>, Trouble> = self.runtime.block_on(turns);
        read.map_err(|trouble| failed(&self.address, &trouble))
    }
}

fn message(received: &tidemill_transport::connection::Received) -> Option<Message> {
    let topic = String::from_utf8(received.topic.to_vec()).ok()?;
    Some((topic, received.payload.clone()))
}

fn failed(address: &str, trouble: &Trouble) -> Failure {
    Failure::Failed(anyhow::anyhow!("broker {address}: {trouble}"))
}

fn peer(broker: &Broker) -> Peer {
    // Two operators, or two commands of one, must not push each other off.
    let client_id = format!("tidemill-cli-{}", std::process::id());
    Peer {
        host: broker.host.clone(),
        port: broker.port,
        client_id,
        username: broker.username.clone(),
        password: broker.password.clone(),
        tls: broker.tls.clone(),
        keep_alive: broker.keep_alive,
        ping_every: broker.keep_alive,
        timeout: broker.timeout,
        clean: true,
        session_expiry: Duration::ZERO,
        incoming_bytes_max: INCOMING_BYTES_MAX,
        packet_ids: PACKET_IDS,
        receive_maximum: None,
        receive_buffer_bytes: None,
        will: None,
    }
}
