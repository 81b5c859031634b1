//! Rows from a broker: a session that the broker keeps, and acknowledgements only after the
//! transaction. A broken connection is thrown away whole: an acknowledgement of the old one, sent on
//! the new one, would be that of another message.

use std::sync::Mutex;
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{Client, ConnectionError, Event, MqttOptions};

use crate::row;
use crate::store::Store;

/// Messages that the broker may send without an acknowledgement.
const IN_FLIGHT: u16 = 100;

/// Requests that may wait for the connection: acknowledgements of all that is in flight, and more.
const REQUESTS: usize = 4 * IN_FLIGHT as usize;

/// Largest message taken; a gateway sends at most 1 MiB unless it is told otherwise.
const PACKET_BYTES_MAX: u32 = 8 << 20;

/// How long a broken connection rests.
const REST: Duration = Duration::from_millis(500);

/// Where to receive.
pub struct Broker {
    pub address: String,
    pub filter: String,
    pub client_id: String,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    #[error("{0:?} is no HOST:PORT")]
    Address(String),
    #[error("the connection failed: {0}")]
    Connection(#[from] Box<ConnectionError>),
    #[error("the connection takes no more requests")]
    Full,
    #[error("the database failed: {0}")]
    Store(#[from] rusqlite::Error),
}

/// Receives until the database fails.
pub fn run(broker: &Broker, store: &Mutex<Store>) -> MqttError {
    loop {
        match connected(broker, store) {
            Err(error @ (MqttError::Store(_) | MqttError::Address(_))) => return error,
            Err(error) => eprintln!("receiver: {}: {error}", broker.address),
            Ok(()) => eprintln!("receiver: {}: the connection ended", broker.address),
        }
        std::thread::sleep(REST);
    }
}

/// One connection, from its beginning to its end.
fn connected(broker: &Broker, store: &Mutex<Store>) -> Result<(), MqttError> {
    let address = || MqttError::Address(broker.address.clone());
    let (host, port) = broker.address.rsplit_once(':').ok_or_else(address)?;
    let port = port.parse().map_err(|_| address())?;
    let mut options = MqttOptions::new(&broker.client_id, host, port);
    options
        .set_clean_start(false)
        .set_session_expiry_interval(Some(u32::MAX))
        .set_receive_maximum(Some(IN_FLIGHT))
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_keep_alive(Duration::from_secs(10))
        .set_manual_acks(true);
    let (client, mut connection) = Client::new(options, REQUESTS);
    for event in connection.iter() {
        match event.map_err(Box::new)? {
            Event::Incoming(Packet::ConnAck(_)) => client
                .try_subscribe(&broker.filter, QoS::AtLeastOnce)
                .map_err(|_| MqttError::Full)?,
            Event::Incoming(Packet::SubAck(_)) => {
                eprintln!("receiver: {}: subscribed {}", broker.address, broker.filter);
            }
            Event::Incoming(Packet::Publish(message)) => {
                take(&message, store)?;
                client.try_ack(&message).map_err(|_| MqttError::Full)?;
            }
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
    }
    Ok(())
}

/// Stores one message; once this returns it may be acknowledged.
fn take(message: &Publish, store: &Mutex<Store>) -> Result<(), MqttError> {
    let topic = String::from_utf8_lossy(&message.topic).into_owned();
    let properties = message.properties.as_ref();
    let properties = properties.map_or(&[][..], |properties| &properties.user_properties);
    match row::from_message(topic, &message.payload, properties) {
        Ok(row) => {
            let applied = crate::lock(store).apply(&[row])?;
            if applied.missing > 0 {
                eprintln!("receiver: {} rows are missing", applied.missing);
            }
        }
        // It will be no better when it comes again.
        Err(error) => eprintln!("receiver: passed over a message: {error}"),
    }
    Ok(())
}
