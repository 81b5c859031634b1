//! The whole bridge as a state machine: one closed list of what can happen, and one of what is to be done. Tasks
//! around it only translate.

use crate::config::Config;
use crate::message::{Message, Output, PortIndex, Publish, PublishId};
use crate::port::{self, Line, Names, Port};
use crate::time::{Mono, Now};
use crate::topics;
use serde::Serialize;
use std::sync::Arc;
use tidemill_base::text::printable;
use tidemill_lines::Boot;

/// Bytes held for the broker: of one port, and of all.
const PORT_BYTES_MAX: usize = 1 << 20;
const ALL_BYTES_MAX: usize = 8 << 20;

/// One thing that happens to the bridge.
#[derive(Debug)]
pub enum Input {
    /// Only time has passed.
    Time,
    /// The device of a port is there, or it is not.
    Line(PortIndex, Line),
    /// Bytes have come from a device.
    Bytes(PortIndex, Vec<u8>),
    /// The kernel has dropped so many bytes of a port in all.
    Overruns(PortIndex, u64),
    /// The connection to the broker was made or lost.
    Broker(bool),
    /// The broker has answered a publish.
    Acknowledged(PublishId, u8),
    /// The broker has sent a message.
    Message(Message),
    /// Somebody looks at the ports, or nobody does any more.
    Looked(bool),
}

/// The bridge.
pub struct Bridge {
    id: String,
    ports: Vec<Port>,
    is_connected: bool,
}

#[derive(Serialize)]
struct Birth<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ports: &'a [&'a str],
}

impl Bridge {
    /// A bridge that has not begun; `fresh_boot` makes names that nobody ever had.
    pub fn new(config: &Config, fresh_boot: impl FnMut() -> Boot + Clone + 'static) -> Self {
        let room_bytes = PORT_BYTES_MAX.min(ALL_BYTES_MAX / config.ports.len().max(1));
        let ports = config.ports.iter().enumerate().map(|(index, port)| {
            let names = Names {
                bridge: config.id.clone(),
                index: PortIndex(index),
            };
            Port::new(
                Arc::new(port.clone()),
                names,
                room_bytes,
                fresh_boot.clone(),
            )
        });
        Self {
            id: config.id.clone(),
            ports: ports.collect(),
            is_connected: false,
        }
    }

    /// Takes one thing that happened, and returns all that is to be done, in order.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Output> {
        match input {
            Input::Time => self.due_ports(now),
            Input::Line(port, line) => self.port(now, port, port::Input::Line(line)),
            Input::Bytes(port, bytes) => self.port(now, port, port::Input::Bytes(&bytes)),
            Input::Overruns(port, total) => self.port(now, port, port::Input::Overruns(total)),
            Input::Broker(is_there) => self.broker(now, is_there),
            Input::Acknowledged(id, reason) => {
                let (lane, ticket) = (id.lane, id.ticket);
                let input = port::Input::Acknowledged {
                    lane,
                    ticket,
                    reason,
                };
                self.port(now, id.port, input)
            }
            Input::Message(message) => self.message(now, message),
            Input::Looked(is_looked_at) => self.each(now, |_| port::Input::Looked(is_looked_at)),
        }
    }

    /// The next time at which [`Input::Time`] does something.
    pub fn due(&self, now: Mono) -> Option<Mono> {
        self.ports.iter().filter_map(|port| port.due(now)).min()
    }

    /// The ports, in the order of the configuration.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// The last message of a bridge that ends, which the broker sends by itself for one that vanishes.
    pub fn will(&self) -> Publish {
        let birth = Birth {
            state: "offline",
            version: None,
            ports: &[],
        };
        self.status(&birth)
    }

    /// `true` if nothing is held that the broker could still take.
    pub fn is_drained(&self) -> bool {
        !self.is_connected || self.ports.iter().all(Port::is_drained)
    }

    fn status(&self, birth: &Birth<'_>) -> Publish {
        // Texts always can be written.
        let payload = serde_json::to_vec(birth).unwrap_or_default();
        Publish::retained(topics::bridge_status(&self.id), payload)
    }

    fn due_ports(&mut self, now: Now) -> Vec<Output> {
        let mut out = Vec::new();
        for port in &mut self.ports {
            if port.due(now.mono).is_some_and(|at| at <= now.mono) {
                out.extend(port.step(now, port::Input::Time));
            }
        }
        out
    }

    fn port(&mut self, now: Now, port: PortIndex, input: port::Input<'_>) -> Vec<Output> {
        let port = self.ports.get_mut(port.0);
        port.map_or_else(Vec::new, |port| port.step(now, input))
    }

    fn each<'a>(&mut self, now: Now, input: impl Fn(&Port) -> port::Input<'a>) -> Vec<Output> {
        let steps = self.ports.iter_mut().map(|port| {
            let input = input(port);
            port.step(now, input)
        });
        steps.flatten().collect()
    }

    fn broker(&mut self, now: Now, is_there: bool) -> Vec<Output> {
        self.is_connected = is_there;
        let mut out = Vec::new();
        if is_there {
            let names: Vec<&str> = self.ports.iter().map(Port::name).collect();
            let birth = Birth {
                state: "online",
                version: Some(env!("CARGO_PKG_VERSION")),
                ports: &names,
            };
            out.push(Output::Publish(self.status(&birth)));
        }
        out.extend(self.each(now, |_| port::Input::Broker(is_there)));
        out
    }

    fn message(&mut self, now: Now, message: Message) -> Vec<Output> {
        let read = topics::read(&self.id, &message.topic);
        let found = read.and_then(|(name, kind)| {
            let at = self.ports.iter().position(|port| port.name() == name)?;
            Some((PortIndex(at), kind))
        });
        match found {
            Some((port, kind)) => self.port(now, port, port::Input::Message(kind, message)),
            None => {
                tracing::warn!(
                    "a message on {} is for no port of this bridge",
                    printable(&message.topic)
                );
                vec![Output::Settle(message.delivery)]
            }
        }
    }
}
