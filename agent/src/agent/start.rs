//! The agent's start: the data directory becomes the mill, then the adapters are started.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing::{info, warn};

use super::answers::Promises;
use super::invoke::Invocations;
use super::outputs::Outputs;
use super::pushed::Pushed;
use super::room::Lobby;
use super::storage::Storage;
use super::wake::Waker;
use super::{Agent, AgentError, Link, REPORTS_WAITING_MAX};
use crate::agent::recorder::Recorder;
use crate::commit::image::Image;
use crate::commit::outbox::{Destination, Outlet};
use crate::config::{Config, Endpoint, OutboxLimits};
use crate::event::clock::{Clock, EARLIEST_WALL_MS, boot_id};
use crate::event::emission::LaneId;
use crate::fleet;
use crate::install::{destination_names, subscriptions};
use crate::mill::{BoundRule, Deployment, Keeping, Mill, Output};
use crate::source::mqtt as source;
use crate::storage::pond::Ponds;
use crate::storage::recovery::{self, Recovered};
use tidemill_journal::{DirectoryDisk, Journal, reserve_of};
use tidemill_transport::topic::{Subscription, TopicFilter};

/// Journal between two checkpoints, in segments.
const CHECKPOINT_SEGMENTS: u64 = 2;

/// The state from disk with the rules deployed on it; nothing has left the process yet, and nothing was
/// written.
pub(super) struct Deployed {
    mill: Mill,
    journal: Journal<DirectoryDisk>,
    ponds: Ponds,
    /// Rows that waited and cannot be read any more.
    lost: Vec<(LaneId, u64)>,
    clock: Clock,
    incarnation: String,
    held: Vec<Subscription>,
    wanted: Vec<Subscription>,
    asked: Vec<Output>,
    fingerprints: BTreeMap<Arc<str>, u128>,
}

impl Deployed {
    /// Deploys the rules on what a data directory holds.
    ///
    /// # Errors
    /// When rows wait for a destination that is not there, or a rule cannot take its state over.
    pub(super) fn new(
        config: &Config,
        rules: Vec<BoundRule>,
        recovered: Recovered,
    ) -> Result<Self, AgentError> {
        let Recovered {
            mut image,
            journal,
            ponds,
            first_pond,
            newest_pond,
            lost,
        } = recovered;
        let incarnation = crate::agent::books::hex(&journal.identity().incarnation);
        info!(commit = image.lsn.get(), incarnation, "recovered");
        check_destinations(&mut image, config)?;
        if let Some(warning) = room_warning(config) {
            warn!("{warning}");
        }
        let clock = Clock::new(image.agent.wall_ms.max(EARLIEST_WALL_MS));
        let now = clock.now();
        let keeping = Keeping {
            session: session_name(config),
            commit_interval_ms: millis(config.intake.commit_interval),
            commit_events: config.intake.commit_events,
            event_id: config.intake.event_id.clone(),
            event_id_numbers: config.intake.event_id_numbers,
            event_ids_remembered: config.intake.event_ids_remembered,
            checkpoint_bytes: config.segment_bytes * CHECKPOINT_SEGMENTS,
            boot_id: boot_id(),
            journal: (journal.first_lsn(), journal.bytes()),
            first_pond,
            newest_pond,
            record_bytes_max: journal.record_bytes_max(),
        };
        let mut mill = Mill::keeping(image, keeping, now);
        let held = held_by(&mill, config);
        let wanted = subscriptions(&rules, &held);
        info!(rules = rules.len(), gateway = config.gateway_id, "deployed");
        let fingerprints = super::reload::fingerprints(&rules);
        let deployment = Deployment {
            rules,
            subscriptions: wanted.clone(),
        };
        let mut asked = Vec::new();
        let edits = mill.deploy(now, deployment, &mut asked)?;
        edits.iter().for_each(|edit| info!("{edit}"));
        Ok(Self {
            mill,
            journal,
            ponds,
            lost,
            clock,
            incarnation,
            held,
            wanted,
            asked,
            fingerprints,
        })
    }
}

impl Agent {
    /// Lets the adapters loose.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn start(
        config: Config,
        (deployed, boot): (Deployed, Option<fleet::Boot>),
        mut lobby: Lobby,
    ) -> Result<Self, AgentError> {
        let Deployed {
            mill,
            journal,
            ponds,
            lost,
            clock,
            incarnation,
            held,
            wanted,
            asked,
            fingerprints,
        } = deployed;
        let now = clock.now();
        let (heartbeats, waker) = (&lobby.heartbeats, &lobby.waker);
        let storage = Storage::start(journal, ponds, heartbeats, &config.data_dir, waker)?;
        let invocations = Invocations::new(&config, &incarnation);
        let outputs = Outputs::start(&config, &incarnation, heartbeats, waker)?;
        let (reports_sender, reports) = sync_channel(REPORTS_WAITING_MAX);
        let mut settings = source_settings(&config, &clock);
        settings.heartbeats = heartbeats.clone();
        let source = start_source(
            settings,
            held.clone(),
            wanted.clone(),
            reports_sender,
            waker,
        )?;
        let pushed = Pushed::start(boot, &config, &clock, heartbeats, waker)?;
        lobby.listen(&config);
        Lobby::is_ready();
        let Lobby {
            inbox,
            waker,
            remote,
            heartbeats,
            pulse,
            watchdog,
            ..
        } = lobby;
        let mut agent = Self {
            recorder: Recorder::new(
                config.recorder.bytes,
                config.recorder.disk,
                &config.data_dir,
            ),
            config,
            mill,
            clock,
            inbox,
            reports,
            taken: VecDeque::new(),
            waker,
            remote,
            source,
            outputs,
            storage,
            asked,
            held,
            wanted,
            broker: Link::default(),
            heartbeats,
            pulse,
            said_stuck: Vec::new(),
            backed_up_rest: super::BACKED_UP_REST.0,
            watchdog,
            fed_watchdog_mono_ms: 0,
            told_ledgers_mono_ms: 0,
            checked_mono_ms: 0,
            said_stalled_mono_ms: None,
            said_floors_lowered: 0,
            said_quality: None,
            unbalanced: 0,
            lost_rows: 0,
            unusable: super::unusable::Unusable::default(),
            losses: super::losses::Losses::default(),
            sinces: super::health::Sinces::default(),
            refused: super::refused::Refused::default(),
            held_back_since_mono_ms: None,
            fingerprints,
            promised: Promises::default(),
            invocations,
            pushed,
            installing: super::installing::Installing::default(),
        };
        agent.losses.look(&agent.mill, now);
        for (lane, count) in lost {
            agent.lose(&lane, count);
        }
        agent.carry_out(now);
        Ok(agent)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells the outbox of the destinations. Rows that wait for one that is gone refuse the start, unless
/// the owner gives them up.
///
/// # Errors
/// When rows wait for a destination that is not configured.
pub fn check_destinations(image: &mut Image, config: &Config) -> Result<(), AgentError> {
    let discarded: Vec<String> = config.discard.iter().cloned().collect();
    let homeless =
        image
            .outbox
            .set_destinations(&config.gateway_id, destinations(config), &discarded);
    let Some((lane, _)) = homeless.first() else {
        return Ok(());
    };
    let of_it =
        |(other, _): &&(crate::event::emission::LaneId, u64)| other.destination == lane.destination;
    Err(AgentError::Homeless {
        name: lane.destination.to_string(),
        rows: homeless.iter().filter(of_it).map(|(_, rows)| rows).sum(),
    })
}

/// A warning if the rows that may wait for destinations are more than the disk has room for.
pub fn room_warning(config: &Config) -> Option<String> {
    let lanes = |limits: &OutboxLimits| limits.bytes.saturating_mul(2);
    let others = config.destinations.values().map(|it| lanes(&it.outbox));
    let outboxes = others.fold(lanes(&config.local_outbox), u64::saturating_add);
    let segments = reserve_of(config.segment_bytes) as u64 + 3;
    let kept = segments.saturating_mul(config.segment_bytes);
    let room = recovery::room_for(&config.data_dir).ok()?;
    let wanted = outboxes.saturating_add(kept);
    (wanted > room).then(|| {
        format!(
            "up to {} MiB may wait for destinations, and {} has room for {} MiB besides what the journal \
             keeps in reserve: once that is full, nothing is taken in until rows have left",
            outboxes >> 20,
            config.data_dir.display(),
            room.saturating_sub(kept) >> 20,
        )
    })
}

/// The destinations of rows, in the order of [`destination_names`].
fn destinations(config: &Config) -> Vec<Destination> {
    let local = (Outlet::Messages, config.local_outbox);
    let others = config.destinations.values().map(|destination| {
        let outlet = match destination.endpoint {
            Endpoint::Mqtt(_) => Outlet::Messages,
            Endpoint::Http(_) => Outlet::Requests,
        };
        (outlet, destination.outbox)
    });
    destination_names(config)
        .into_iter()
        .zip(std::iter::once(local).chain(others))
        .map(|(name, (outlet, limits))| Destination {
            name: name.into(),
            outlet,
            limits,
        })
        .collect()
}

/// The name of this gateway's session with the broker: `host:port client-id`.
pub(super) fn session_name(config: &Config) -> String {
    format!(
        "{}:{} {}",
        config.broker.host, config.broker.port, config.gateway_id
    )
}

/// The subscriptions that the broker's session is known to hold.
fn held_by(mill: &Mill, config: &Config) -> Vec<Subscription> {
    let known = mill.subscriptions_of(&session_name(config)).into_iter();
    known
        .filter_map(|(id, filter)| {
            Some(Subscription {
                id,
                filter: TopicFilter::new(&filter).ok()?,
            })
        })
        .collect()
}

fn source_settings(config: &Config, clock: &Clock) -> source::SourceSettings {
    let (broker, client_id) = (&config.broker, &config.gateway_id);
    let mut settings = source::SourceSettings::of(broker, client_id, clock.clone());
    settings.qos = config.intake.qos;
    settings.coalesce = config.intake.coalesce;
    settings.session_expiry = config.intake.session_expiry;
    settings
}

fn start_source(
    settings: source::SourceSettings,
    held: Vec<Subscription>,
    wanted: Vec<Subscription>,
    sender: SyncSender<source::SourceReport>,
    waker: &Waker,
) -> Result<source::SourceHandle, std::io::Error> {
    let end = SayEnd(waker.clone());
    source::spawn(settings, held, wanted, move |report| {
        let SayEnd(waker) = &end;
        match sender.try_send(report) {
            Ok(()) => {
                waker.wake();
                source::Flow::Taken
            }
            Err(TrySendError::Full(report)) => source::Flow::Full(report),
            Err(TrySendError::Disconnected(_)) => source::Flow::Gone,
        }
    })
}

/// Wakes the loop when the thread that held this has ended: its channel says so.
struct SayEnd(Waker);

impl Drop for SayEnd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            warn!("the source has failed");
        }
        self.0.wake();
    }
}
