//! The program that runs: tasks around the state machine, each of which only translates. One thread does it all.

mod broker;
mod control;
mod inputs;
mod notify;
mod ports;
mod reload;
mod single;
mod watch;

use crate::bridge::{Bridge, Input};
use crate::config::Config;
use crate::devices::Roots;
use crate::message::{Output, PortIndex, Qos};
use crate::time::{Mono, Now};
use broker::ToBroker;
use control::Control;
use inputs::Clock;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidemill_lines::Boot;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

pub(crate) use control::{Greeting, Question, Seen};
pub use single::OtherBridge;

/// Inputs that may wait for their turn; whoever has one more waits itself.
const INPUTS_MAX: usize = 64;

/// Bytes for a device, in pieces, that may wait to be written.
const WRITES_MAX: usize = 256;

/// Messages that may wait for the connection: more than twice what all ports may have under way. Log lines are the first
/// to go.
const TO_BROKER_MAX: usize = 16_384;

/// Time that a stop may take to bring to the broker what is held.
const DRAIN: Duration = Duration::from_secs(2);

/// Reasons for a bridge not to run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another bridge has this id.
    #[error(transparent)]
    Other(#[from] OtherBridge),
    /// The system does not give what is needed.
    #[error("{what}: {error}")]
    System {
        /// The thing that is needed.
        what: String,
        /// The system's reason.
        error: io::Error,
    },
}

impl RunError {
    fn of(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::System { what, error }
    }
}

/// Runs a bridge until a signal ends it. Whenever one says that the file at `path` has changed, it begins anew with what
/// stands there, unless that is wrong.
///
/// # Errors
/// When it cannot begin.
pub fn run(config: Config, path: &Path, roots: Roots) -> Result<(), RunError> {
    let mut _claim = single::claim(&config.id)?;
    let mut config = config;
    let roots = Arc::new(roots);
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(RunError::of("the runtime"))?;
        let outcome = runtime.block_on(main_loop(&config, path, &roots));
        // The tasks end with it, and let their ports go. A lookup of a name may hang, and nobody waits for it.
        runtime.shutdown_background();
        match outcome? {
            Ended::Stopped => return Ok(()),
            Ended::Reload(reload) => {
                config = reload.config;
                _claim = reload.claim.unwrap_or(_claim);
            }
        }
    }
}

/// Ends of the main loop.
enum Ended {
    /// A signal has asked for it.
    Stopped,
    /// There is another configuration.
    Reload(Box<reload::Reload>),
}

/// A boot that nobody ever had: 64 bits of the system's randomness.
fn fresh_boot() -> Boot {
    // The keys of each are random; the process and the moment make two of one thread differ.
    let moment = std::time::SystemTime::now();
    Boot::from_bits(RandomState::new().hash_one((std::process::id(), moment)))
}

async fn main_loop(config: &Config, path: &Path, roots: &Arc<Roots>) -> Result<Ended, RunError> {
    let signals = |kind| signal(kind).map_err(RunError::of("signals"));
    let (mut terminate, mut interrupt, mut hang_up) = (
        signals(SignalKind::terminate())?,
        signals(SignalKind::interrupt())?,
        signals(SignalKind::hangup())?,
    );
    let mut bridge = Bridge::new(config, fresh_boot);
    let (inputs, mut incoming) = mpsc::channel(INPUTS_MAX);
    let control = Control::listen(config, inputs.clone());
    let plugged = watch::watch(roots, config);
    let writers = config.ports.iter().enumerate().map(|(index, port)| {
        let (writer, writes) = mpsc::channel(WRITES_MAX);
        let task = ports::PortTask {
            index: PortIndex(index),
            config: Arc::new(port.clone()),
            roots: Arc::clone(roots),
            inputs: inputs.clone(),
            plugged: plugged.clone(),
        };
        tokio::spawn(task.run(writes));
        writer
    });
    let writers: Vec<_> = writers.collect();
    let (to_broker, requests) = mpsc::channel(TO_BROKER_MAX);
    let link = broker::Link::new(config, bridge.will(), inputs);
    let link = tokio::spawn(link.run(requests));
    let mut out = Out {
        writers,
        to_broker,
        control,
        connection: 0,
    };
    let clock = Clock::new();
    notify::ready(config);
    let ended = loop {
        let due = bridge.due(clock.now().mono);
        tokio::select! {
            _ = terminate.recv() => break Ended::Stopped,
            _ = interrupt.recv() => break Ended::Stopped,
            _ = hang_up.recv() => if let Some(reload) = reload::reload(path, config) {
                break Ended::Reload(Box::new(reload));
            },
            input = incoming.recv() => match input {
                Some(input) => out.turn(&mut bridge, clock.now(), input),
                None => break Ended::Stopped,
            },
            () = clock.until(due) => out.turn(&mut bridge, clock.now(), inputs::Input::of(Input::Time)),
        }
    };
    match ended {
        Ended::Stopped => {
            info!("stopping");
            notify::stopping();
        }
        Ended::Reload(_) => {
            info!("the configuration has changed: beginning anew with it");
            notify::reloading();
        }
    }
    stop(&mut bridge, &mut incoming, &mut out, &clock).await;
    drop(out);
    incoming.close();
    let _ = tokio::time::timeout(DRAIN, link).await;
    Ok(ended)
}

/// Brings to the broker what is held, says good-bye, and lets the ports go.
async fn stop(
    bridge: &mut Bridge,
    incoming: &mut mpsc::Receiver<inputs::Input>,
    out: &mut Out,
    clock: &Clock,
) {
    let end = tokio::time::Instant::now() + DRAIN;
    while !bridge.is_drained() {
        let due = bridge.due(clock.now().mono);
        let input = tokio::select! {
            input = incoming.recv() => input,
            () = clock.until(due) => Some(inputs::Input::of(Input::Time)),
            () = tokio::time::sleep_until(end) => None,
        };
        let Some(input) = input else { break };
        // Nothing new is taken.
        if !matches!(input.what, Input::Bytes(..)) {
            out.turn(bridge, clock.now(), input);
        }
    }
    out.dispatch(vec![Output::Publish(bridge.will())]);
}

/// Ways out of the state machine.
struct Out {
    writers: Vec<mpsc::Sender<Vec<u8>>>,
    to_broker: mpsc::Sender<ToBroker>,
    control: Control,
    /// The connection that the state machine knows of: what it says is void on a later one.
    connection: u64,
}

impl Out {
    fn turn(&mut self, bridge: &mut Bridge, now: Now, input: inputs::Input) {
        if let Some(connection) = input.connection {
            self.connection = connection;
        }
        self.dispatch(bridge.step(now, input.what));
    }

    fn dispatch(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Write { port, bytes } => self.write(port, bytes),
                // With half of the room gone the connection stands still, and log lines are not worth the rest.
                Output::Publish(publish) if publish.qos == Qos::AtMostOnce && self.is_crowded() => {
                }
                Output::Publish(publish) => self.send(broker::What::Publish(publish)),
                Output::Settle(delivery) => self.send(broker::What::Settle(delivery)),
                Output::Show(shown) => self.control.show(&shown),
            }
        }
    }

    fn send(&self, what: broker::What) {
        let connection = self.connection;
        // The task ends with this loop, and there is room for all that may be under way.
        let _ = self.to_broker.try_send(ToBroker { connection, what });
    }

    fn is_crowded(&self) -> bool {
        self.to_broker.capacity() < TO_BROKER_MAX / 2
    }

    fn write(&self, port: PortIndex, bytes: Vec<u8>) {
        let full = self
            .writers
            .get(port.0)
            .map(|writer| writer.try_send(bytes));
        if let Some(Err(mpsc::error::TrySendError::Full(_))) = full {
            warn!(
                port = port.0,
                "the device takes nothing: bytes for it are dropped"
            );
        }
    }
}

/// Milliseconds of the monotonic clock, from an arbitrary start above 0.
fn mono(since: std::time::Duration) -> Mono {
    Mono(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
