//! Addresses of brokers and endpoints at which nobody listens. A connection is made and, where that is
//! asked for and encryption is configured, encrypted; nothing else is sent.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::useless::url_warning;
use crate::config::{Broker, Config, Endpoint, LOCAL};
use tidemill_base::text::FileError;
use tidemill_transport::resolve;
use tidemill_transport::tls::{self, TlsFiles};

/// Longest wait for a name, and for a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest wait for a handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);

/// An address, and the files of its encryption where a handshake is to be tried.
struct Place {
    host: String,
    port: u16,
    tls: Option<TlsFiles>,
}

/// Says of each address why it cannot be reached, where it cannot; with `shakes_hands` also why no
/// encrypted connection comes to be.
pub(super) fn troubles(config: &Config, shakes_hands: bool) -> impl Iterator<Item = FileError> {
    let place = |host: &str, port, tls: &Option<TlsFiles>| Place {
        host: host.to_owned(),
        port,
        tls: tls.clone().filter(|_| shakes_hands),
    };
    let of_broker = |broker: &Broker| place(&broker.host, broker.port, &broker.tls);
    let local = (LOCAL.to_owned(), of_broker(&config.broker));
    let others = config.destinations.iter().map(|(name, it)| {
        let place = match &it.endpoint {
            Endpoint::Mqtt(broker) => of_broker(broker),
            Endpoint::Http(http) => place(&http.host, http.port, &http.tls),
        };
        (name.clone(), place)
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
            for (name, place) in all {
                tries.spawn(async move { (name, trouble(place).await) });
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

async fn trouble(place: Place) -> Option<String> {
    let Place { host, port, tls } = place;
    let nameless = |why: &str| {
        Some(format!(
            "the name {host} cannot be looked up (DNS: {why}): is it spelled right, is there a name server?"
        ))
    };
    let addresses = match timeout(PATIENCE, resolve::addresses(&host, port)).await {
        Err(_) => return nameless("no answer within 2 s"),
        Ok(Err(error)) => return nameless(&error.to_string()),
        Ok(Ok(addresses)) => addresses,
    };
    let mut failed: io::Error = io::ErrorKind::NotFound.into();
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return handshake(tls, &host, port, stream).await,
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::Error::new(io::ErrorKind::TimedOut, "no answer within 2 s"),
        }
    }
    Some(format!(
        "nothing answers at {host}:{port} ({failed}): is it running, are host and port right?"
    ))
}

/// Why no encrypted connection comes to be, where one is to be tried. The other side sees no login.
async fn handshake(
    tls: Option<TlsFiles>,
    host: &str,
    port: u16,
    stream: TcpStream,
) -> Option<String> {
    // A fault in the files is an error of its own.
    let credentials = tls?.read().ok()?;
    match timeout(HANDSHAKE_PATIENCE, tls::connect(credentials, host, stream)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => {
            let why = tls::explain_handshake(&error).unwrap_or_else(|| error.to_string());
            Some(format!(
                "{host}:{port} is there, and no encrypted connection comes to be: {why}"
            ))
        }
        Err(_) => Some(format!(
            "{host}:{port} is there, and says nothing to the beginning of encryption within 5 s: is that port \
             one with TLS?"
        )),
    }
}
