//! The MQTT session of pushed rules, a connection of its own: it asks for what this gateway should run,
//! hands it to the thread `fleet`, and publishes what that tells. It decides nothing.

mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::Note;
use crate::config::Broker;
use session::Session;
use tidemill_base::backoff::Backoff;
use tidemill_base::heartbeat::Heartbeats;
use tidemill_transport::connection::Connection;
use tidemill_transport::link::{Peer, Will};
use tidemill_transport::message::Version;
use tidemill_transport::negotiation::Negotiation;
use tidemill_transport::trouble::Trouble;

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// For the last status of an orderly end.
const GOOD_BYE_WITHIN: Duration = Duration::from_millis(300);

/// Longer messages are read past: the largest envelope, and its topic.
const INCOMING_BYTES_MAX: u32 = (512 << 10) + 4_096;

/// Packet identifiers of requests; those of messages lie above.
const PACKET_IDS: u16 = 32;

/// Receive maximum: as many as there may be topics, since each holds one message.
const RECEIVE_MAX: u16 = 16;

/// The connection, for the thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Link(Arc<Shared>);

/// State shared by both threads.
#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Notify,
}

/// Everything that the connection is to have.
#[derive(Debug, Default)]
struct Wanted {
    /// Published by the broker when the connection ends.
    will: Bytes,
    /// Retained documents by topic.
    documents: BTreeMap<String, Bytes>,
    /// Topics whose document the broker does not have yet.
    unsent: BTreeSet<String>,
    filters: Vec<String>,
    is_stopping: bool,
    has_stopped: bool,
}

impl Link {
    /// Starts the thread of the connection; the will is set by then, so that no connection is without.
    pub(super) fn start(
        &self,
        broker: &Broker,
        gateway: &str,
        heartbeats: &Heartbeats,
        notes: SyncSender<Note>,
    ) -> std::io::Result<()> {
        let runner = Runner {
            peer: peer(broker, gateway),
            negotiation: Negotiation::new(broker.protocol, Version::V5),
            will_topic: tidemill_bundle::Topics::status(gateway),
            link: self.clone(),
            notes,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let pulse = heartbeats.pulse("fleet-link");
        std::thread::Builder::new()
            .name("fleet-link".to_owned())
            .spawn(move || {
                pulse.rests();
                let link = runner.link.clone();
                runtime.block_on(runner.run());
                link.wanted().has_stopped = true;
            })?;
        Ok(())
    }

    /// Replaces the document of a topic; one that is the same is not sent again.
    pub(super) fn publish(&self, topic: String, document: Vec<u8>) {
        let document = Bytes::from(document);
        let mut wanted = self.wanted();
        if wanted.documents.get(&topic) == Some(&document) {
            return;
        }
        wanted.unsent.insert(topic.clone());
        wanted.documents.insert(topic, document);
        drop(wanted);
        self.0.changed.notify_one();
    }

    /// Sends a document once more, whatever the broker has.
    pub(super) fn repeat(&self, topic: &str) {
        self.wanted().unsent.insert(topic.to_owned());
        self.0.changed.notify_one();
    }

    /// The last word of the next connection.
    pub(super) fn set_will(&self, will: Vec<u8>) {
        self.wanted().will = will.into();
    }

    /// The filters that are subscribed.
    pub(super) fn listen(&self, filters: Vec<String>) {
        self.wanted().filters = filters;
        self.0.changed.notify_one();
    }

    /// Ends the connection with a good-bye, which takes the will back; waits a moment for that.
    pub(super) fn stop(&self) {
        self.wanted().is_stopping = true;
        self.0.changed.notify_one();
        let until = Instant::now() + GOOD_BYE_WITHIN;
        while !self.wanted().has_stopped && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn peer(broker: &Broker, gateway: &str) -> Peer {
    Peer {
        host: broker.host.clone(),
        port: broker.port,
        client_id: format!("{gateway}::fleet"),
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
        receive_maximum: Some(RECEIVE_MAX),
        receive_buffer_bytes: None,
        will: None,
    }
}

/// Connects again and again.
struct Runner {
    peer: Peer,
    negotiation: Negotiation,
    will_topic: String,
    link: Link,
    notes: SyncSender<Note>,
}

/// The end of an attempt.
enum Ended {
    /// With a good-bye of ours.
    Stopped,
    /// The broker wants another version of MQTT, at once.
    OtherVersion,
    /// With trouble, after so long a time.
    Trouble(Trouble, Duration),
}

impl Runner {
    async fn run(mut self) {
        let mut backoff = Backoff::up_to(PAUSE_MAX);
        let random = RandomState::new();
        let mut said = String::new();
        for attempt in 0_u64.. {
            let (trouble, lasted) = match self.connection(&mut said).await {
                Ended::Stopped => return,
                Ended::OtherVersion => continue,
                Ended::Trouble(trouble, lasted) => (trouble.to_string(), lasted),
            };
            if said != trouble {
                warn!(
                    broker = self.peer.address(),
                    "no rules are pushed for now: {trouble}"
                );
                said = trouble;
            }
            if lasted >= PAUSE_MAX {
                backoff.reset();
            }
            let until = Instant::now() + backoff.after_failure(random.hash_one(attempt));
            while Instant::now() < until && !self.link.wanted().is_stopping {
                let news = self.link.0.changed.notified();
                let _ = tokio::time::timeout_at(until.into(), news).await;
            }
        }
    }

    async fn connection(&mut self, said: &mut String) -> Ended {
        {
            let wanted = self.link.wanted();
            if wanted.is_stopping {
                return Ended::Stopped;
            }
            self.peer.will = (!wanted.will.is_empty()).then(|| Will {
                topic: self.will_topic.clone(),
                payload: wanted.will.clone(),
                qos: 1,
                retain: true,
            });
        }
        let version = self.negotiation.version();
        let (connection, accepted) = match Connection::open(&self.peer, version).await {
            Ok(opened) => opened,
            Err(trouble) if self.negotiation.failed(&trouble) => return Ended::OtherVersion,
            Err(trouble) => return Ended::Trouble(trouble, Duration::ZERO),
        };
        self.negotiation.accepted();
        info!(broker = self.peer.address(), protocol = %version, "rules are pushed from here");
        said.clear();
        {
            // Whatever the broker was told before may be gone.
            let mut wanted = self.link.wanted();
            wanted.unsent = wanted.documents.keys().cloned().collect();
        }
        let began = Instant::now();
        let session = Session::new(connection, &accepted, &self.link, &self.notes);
        let ended = session.run().await;
        self.negotiation.ended();
        match ended {
            Ok(()) => Ended::Stopped,
            Err(trouble) => Ended::Trouble(trouble, began.elapsed()),
        }
    }
}
