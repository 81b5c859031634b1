//! `tidemill demo`: a plant to look at. Two embedded brokers, simulated sensors, a real agent
//! between them, and a view of the messages; nothing of it outlives the process.

pub mod broker;
mod cloud;
mod folder;
mod latency;
mod plant;
mod screen;
mod sensors;
mod summary;
mod threads;
mod view;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use crate::agent::{AgentError, Remote};
use crate::event::clock::Clock;
use broker::EmbeddedBroker;
use cloud::Cloud;
use folder::Folder;
use plant::{Phase, Plant};
use screen::Screen;
use summary::Cost;
use tidemill_base::text::FileErrors;
use view::{Rate, Snapshot};

/// Longest time for each step of the start and of the end.
const STEP_MAX: Duration = Duration::from_secs(10);

/// Longest time for the agent to send what waits.
const GRACE: Duration = Duration::from_secs(3);

/// Interval at which a step looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Options of the user.
#[derive(Debug, Clone)]
pub struct Options {
    /// Length of the run; until a signal comes when `None`.
    pub run_for: Option<Duration>,
    /// Port of the local broker; a free one when `None`.
    pub port: Option<u16>,
    /// The root of trust of a fleet that pushes rules over the local broker.
    pub root: Option<std::path::PathBuf>,
    /// `true` if standard output is a terminal that may be redrawn.
    pub live: bool,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The port that the user asked for.
    #[error("port {0} is taken; give another one with --port, or none to use a free one")]
    PortTaken(u16),
    /// One of the brokers.
    #[error("the embedded broker does not start")]
    Broker(#[source] io::Error),
    /// A temporary folder or a thread.
    #[error("the demo cannot be set up")]
    SetUp(#[source] io::Error),
    /// The demo's own configuration was refused.
    #[error("the demo's configuration is refused")]
    Config(#[from] FileErrors),
    /// The view.
    #[error("standard output cannot be written")]
    Output(#[source] io::Error),
    /// The agent failed.
    #[error("the agent failed")]
    Agent(#[from] AgentError),
    /// The agent ended too early.
    #[error("the agent has ended by itself")]
    AgentEnded,
    /// A step took too long.
    #[error("gave up after {seconds} s: {what}", seconds = STEP_MAX.as_secs())]
    TooSlow {
        /// The event that the step waited for.
        what: &'static str,
    },
    /// A signal came before there was anything to sum up.
    #[error("interrupted before the first event")]
    Interrupted,
    /// The demo ran to its end with faults.
    #[error("{}", .0.join("; "))]
    Faults(Vec<String>),
}

/// A message of another thread.
#[derive(Debug)]
enum Input {
    /// Upstream, everything is heard from now on.
    CloudListens,
    /// The agent runs.
    AgentStarted(Remote),
    /// The agent has ended.
    AgentEnded(Result<(), AgentError>),
    /// A signal asked for the end.
    Signal,
}

/// Runs the demo, and writes view and summary to standard output.
///
/// # Errors
/// When something cannot be started, or the agent did not do what it should.
pub fn run(options: &Options) -> Result<(), DemoError> {
    let local = broker::start(options.port).map_err(|error| match options.port {
        Some(port) if error.kind() == io::ErrorKind::AddrInUse => DemoError::PortTaken(port),
        _ => DemoError::Broker(error),
    })?;
    let upstream = broker::start(None).map_err(DemoError::Broker)?;
    let folder = Folder::make().map_err(DemoError::SetUp)?;
    let mut demo = Demo::start(&folder, (&local, &upstream), options.root.as_deref())?;
    let mut screen = Screen::new(options.live);
    // Whatever happens, the agent is stopped before its folder goes.
    let worked = demo.work(options.run_for, &mut screen);
    let stopped = demo.stop_agent();
    worked.and(stopped)?;
    demo.sum_up(&mut screen)
}

/// The running parts of the demo.
struct Demo {
    inbox: Receiver<Input>,
    remote: Option<Remote>,
    cloud_listens: bool,
    signalled: bool,
    stopping: bool,
    ended: bool,
    plant: Plant,
    /// Messages of the plant that the agent may have missed: it had not subscribed yet.
    unheard: u64,
    /// Messages of the plant that have to be in the ledgers at the end.
    sent: u64,
    cloud: Cloud,
    now: Snapshot,
    events: Rate,
    arrived: Rate,
}

impl Demo {
    fn start(
        folder: &Folder,
        (local, upstream): (&EmbeddedBroker, &EmbeddedBroker),
        root: Option<&std::path::Path>,
    ) -> Result<Self, DemoError> {
        let (sender, inbox) = sync_channel(16);
        let (epoch, clock) = (Instant::now(), Clock::new(0));
        threads::start_signals(folder.path().to_owned(), sender.clone())
            .map_err(DemoError::SetUp)?;
        let told = sender.clone();
        let listening = move || {
            let _ = told.try_send(Input::CloudListens);
        };
        let cloud = Cloud::start(upstream.port(), clock.clone(), epoch, listening)
            .map_err(DemoError::SetUp)?;
        let plant = Plant::start(local.port(), clock, epoch).map_err(DemoError::SetUp)?;
        let config = folder.config((local.port(), upstream.port()), root)?;
        threads::start_agent(config, sender).map_err(DemoError::SetUp)?;
        Ok(Self {
            inbox,
            remote: None,
            cloud_listens: false,
            signalled: false,
            stopping: false,
            ended: false,
            plant,
            unheard: 0,
            sent: 0,
            cloud,
            now: Snapshot {
                local_port: local.port(),
                upstream_port: upstream.port(),
                ..Snapshot::default()
            },
            events: Rate::default(),
            arrived: Rate::default(),
        })
    }

    /// From the first event to the last, seen by everybody.
    fn work(&mut self, run_for: Option<Duration>, screen: &mut Screen) -> Result<(), DemoError> {
        self.first_event()?;
        screen.begin(&self.now).map_err(DemoError::Output)?;
        let shown = self.show(run_for, screen);
        screen.end().map_err(DemoError::Output)?;
        shown?;
        self.last_event()
    }

    /// Waits until an event has gone all the way to each rule.
    fn first_event(&mut self) -> Result<(), DemoError> {
        let all_hear = |demo: &mut Self| {
            demo.count();
            demo.signalled || demo.cloud_listens && demo.received() > 0
        };
        if !self.wait(all_hear)? {
            return Err(DemoError::TooSlow {
                what: "no event has reached the rules",
            });
        }
        if self.signalled {
            return Err(DemoError::Interrupted);
        }
        self.unheard = self.published().saturating_sub(self.received());
        Ok(())
    }

    /// Lets the sensors speak and draws the view, until it is time or a signal comes.
    fn show(&mut self, run_for: Option<Duration>, screen: &mut Screen) -> Result<(), DemoError> {
        self.plant.enter(Phase::Readings);
        let begun = Instant::now();
        let end = run_for.map(|run_for| begun + run_for);
        let mut due = begun;
        self.events.enter(Duration::ZERO, self.now.events);
        self.arrived
            .enter(Duration::ZERO, self.now.arrived.messages);
        loop {
            due += screen.every();
            let next = end.map_or(due, |end| end.min(due));
            while !self.signalled && Instant::now() < next {
                self.rest(next.saturating_duration_since(Instant::now()))?;
            }
            let elapsed = begun.elapsed();
            self.count();
            self.now.elapsed = elapsed;
            self.now.events_a_second = self.events.enter(elapsed, self.now.events);
            self.now.arrived_a_second = self.arrived.enter(elapsed, self.now.arrived.messages);
            screen.draw(&self.now).map_err(DemoError::Output)?;
            if self.signalled || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(());
            }
        }
    }

    /// Ends the readings and waits until every one of them is in the ledgers. The summary tells
    /// those that are missing after that.
    fn last_event(&mut self) -> Result<(), DemoError> {
        self.plant.enter(Phase::Quiet);
        self.sent = self.published();
        self.wait(|demo| {
            demo.count();
            demo.received() + demo.unheard >= demo.sent
        })?;
        Ok(())
    }

    fn stop_agent(&mut self) -> Result<(), DemoError> {
        self.stopping = true;
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        remote.stop(GRACE);
        if self.wait(|demo| demo.ended)? {
            Ok(())
        } else {
            Err(DemoError::TooSlow {
                what: "the agent does not stop",
            })
        }
    }

    /// Writes the summary once everything has arrived.
    fn sum_up(mut self, screen: &mut Screen) -> Result<(), DemoError> {
        let made = self
            .now
            .ledgers
            .iter()
            .map(|(_, ledger)| ledger.emissions)
            .sum();
        self.wait(|demo| demo.cloud.arrived().messages >= made)?;
        self.now.arrived = self.cloud.arrived();
        let mut faults = summary::faults(&self.now, self.sent, self.unheard);
        if !self.plant.end() {
            faults.push("the local broker did not take all of the sensors' messages".to_owned());
        }
        self.cloud.end();
        let text = summary::text(&self.now, Cost::now(), faults.is_empty());
        screen.write(&text).map_err(DemoError::Output)?;
        if faults.is_empty() {
            Ok(())
        } else {
            Err(DemoError::Faults(faults))
        }
    }

    /// Brings the counts of the snapshot up to date.
    fn count(&mut self) {
        if let Some(remote) = &self.remote {
            self.now.ledgers = remote.ledgers();
        }
        let received = self.now.ledgers.iter().map(|(_, ledger)| ledger.received);
        self.now.events = received.max().unwrap_or(0);
        self.now.bytes = self.plant.sent.bytes.load(Ordering::Relaxed);
        self.now.arrived = self.cloud.arrived();
    }

    /// Events that all rules have received.
    fn received(&self) -> u64 {
        let ledgers = &self.now.ledgers;
        let received = ledgers.iter().map(|(_, ledger)| ledger.received);
        received.min().unwrap_or(0)
    }

    fn published(&self) -> u64 {
        self.plant.sent.messages.load(Ordering::Relaxed)
    }

    /// Waits until something is so, and tells whether it came to that in time.
    fn wait(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) -> Result<bool, DemoError> {
        let give_up = Instant::now() + STEP_MAX;
        while !is_so(self) {
            if Instant::now() >= give_up {
                return Ok(false);
            }
            self.rest(LOOK_EVERY)?;
        }
        Ok(true)
    }

    /// Waits a while for messages of the threads.
    fn rest(&mut self, a_while: Duration) -> Result<(), DemoError> {
        match self.inbox.recv_timeout(a_while) {
            Ok(Input::CloudListens) => self.cloud_listens = true,
            Ok(Input::AgentStarted(remote)) => self.remote = Some(remote),
            Ok(Input::Signal) => self.signalled = true,
            Ok(Input::AgentEnded(outcome)) => {
                self.ended = true;
                self.remote = None;
                outcome?;
                if !self.stopping {
                    return Err(DemoError::AgentEnded);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(DemoError::AgentEnded),
        }
        Ok(())
    }
}
