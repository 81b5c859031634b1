//! Addresses of brokers and endpoints at which nobody listens. A connection is made, and nothing is
//! sent.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::useless::url_warning;
use crate::config::{Config, Endpoint, LOCAL};
use tidemill_base::text::FileError;
use tidemill_transport::resolve;

/// Longest wait for a name, and for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says of each address why it cannot be reached, where it cannot.
pub(super) fn troubles(config: &Config) -> impl Iterator<Item = FileError> {
    let local = (
        LOCAL.to_owned(),
        config.broker.host.clone(),
        config.broker.port,
    );
    let others = config.destinations.iter().map(|(name, it)| {
        let (host, port) = match &it.endpoint {
            Endpoint::Mqtt(broker) => (&broker.host, broker.port),
            Endpoint::Http(http) => (&http.host, http.port),
        };
        (name.clone(), host.clone(), port)
    });
    let all: Vec<_> = std::iter::once(local).chain(others).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let mut found = Vec::new();
    if let Ok(runtime) = runtime {
        found = runtime.block_on(async {
            let mut tries = JoinSet::new();
            for (name, host, port) in all {
                tries.spawn(async move { (name, trouble(&host, port).await) });
            }
            tries.join_all().await
        });
        // A lookup that hangs cannot be stopped, and nobody waits for it.
        runtime.shutdown_background();
    }
    found.sort();
    found
        .into_iter()
        .filter_map(|(name, why)| Some(url_warning(config, &name, &why?)))
}

async fn trouble(host: &str, port: u16) -> Option<String> {
    let nameless = |why: &str| {
        Some(format!(
            "the name {host} cannot be looked up (DNS: {why}): is it spelled right, is there a name server?"
        ))
    };
    let addresses = match timeout(PATIENCE, resolve::addresses(host, port)).await {
        Err(_) => return nameless("no answer within 2 s"),
        Ok(Err(error)) => return nameless(&error.to_string()),
        Ok(Ok(addresses)) => addresses,
    };
    let mut failed: io::Error = io::ErrorKind::NotFound.into();
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::Error::new(io::ErrorKind::TimedOut, "no answer within 2 s"),
        }
    }
    Some(format!(
        "nothing answers at {host}:{port} ({failed}): is it running, are host and port right?"
    ))
}
