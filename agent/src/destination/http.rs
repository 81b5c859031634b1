//! A destination that takes batches by HTTP: how to reach it. Each lane has a loop of its own
//! (`carrier`), which sends one batch at a time, unchanged, until the answer settles it (`answer`).

mod answer;
mod batches;
mod board;
mod body;
mod carrier;
mod exchange;
mod judged;
mod login;
mod meter;
mod pace;
mod rest;

use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::names::Names;
use super::{Identity, Seat};
use crate::config::{HttpEndpoint, HttpLogin};
use crate::event::emission::Priority;
use tidemill_transport::tls::TlsFiles;

pub use answer::Answer;
use board::Board;
use carrier::{Carrier, LaneBox};
pub use judged::judge;
pub use meter::{Passed, Patience};
pub use pace::Pace;
pub use rest::Vain;

/// Settings of an HTTP endpoint.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The destination's name in the configuration, for lanes and logs.
    pub name: String,
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Certificates, where the connection is encrypted.
    pub tls: Option<TlsFiles>,
    /// Credentials sent with each request.
    pub login: Option<HttpLogin>,
    /// The gateway whose rows these are.
    pub identity: Identity,
    /// Longest time in which no byte goes out or comes in.
    pub timeout: Duration,
    /// Longest time until an answer begins, once the whole request has left.
    pub answer_timeout: Duration,
    /// Most messages that wait, those on their way included; rows are not counted.
    pub queue_messages_max: usize,
    /// Most bytes of topic and payload that wait.
    pub queue_bytes_max: usize,
}

impl HttpSettings {
    /// Settings for an endpoint of the configuration.
    pub fn new(name: &str, endpoint: &HttpEndpoint, identity: Identity) -> Self {
        Self {
            name: name.to_owned(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            path: endpoint.path.clone(),
            tls: endpoint.tls.clone(),
            login: endpoint.login.clone(),
            identity,
            timeout: endpoint.timeout,
            answer_timeout: endpoint.answer_timeout,
            queue_messages_max: 10_000,
            queue_bytes_max: 8 << 20,
        }
    }

    /// Host and port, as a request names them.
    fn authority(&self) -> String {
        let standard = match self.tls {
            None => 80,
            Some(_) => 443,
        };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == standard {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

/// Serves one destination to its end.
pub(super) async fn run(
    settings: HttpSettings,
    seat: Seat,
    stop_seen: watch::Receiver<Option<Instant>>,
) {
    let names = Names::new(settings.identity.clone(), &settings.name);
    // Not the query: some endpoints want a token in it.
    let path = settings.path.split('?').next().unwrap_or_default();
    let address = format!("{}{path}", settings.authority());
    let board = Board::new(seat, names, settings.name.clone(), address);
    let (high, normal) = (LaneBox::default(), LaneBox::default());
    let queue = Notify::new();
    let carrier = |number| Carrier::new(&settings, &board, number, stop_seen.clone());
    let carriers = async {
        tokio::join!(
            carrier(0).carry_lane(Priority::High, &high),
            carrier(1).carry_lane(Priority::Normal, &normal),
            carrier(2).carry_queue(&queue),
        )
    };
    tokio::select! {
        _ = carriers => {}
        () = sort(&board, &high, &normal, &queue) => {}
    }
}

/// Gives arriving batches and messages to the loops that carry them.
async fn sort(board: &Board, high: &LaneBox, normal: &LaneBox, queue: &Notify) {
    let shared = board.seat.shared();
    loop {
        let inbox = shared.take_inbox();
        for (lane, came) in [(high, inbox.high.batches), (normal, inbox.normal.batches)] {
            if !came.is_empty() {
                came.into_iter()
                    .for_each(|batch| lane.batches.borrow_mut().push(batch));
                lane.woken.notify_one();
            }
        }
        queue.notify_one();
        shared.woken.notified().await;
    }
}
