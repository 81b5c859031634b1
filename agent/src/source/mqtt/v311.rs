//! The library's MQTT 3.1.1 loop behind [`super::link`], for destinations. Only this version lets us at its network,
//! so only here can many messages be written with one flush.

use std::future::Future;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions,
    Outgoing, Packet, Publish, QoS, Request, StateError, mqttbytes,
};

use super::link::{Peer, Sending, Signal};
use super::trouble::Trouble;

/// A broker that takes nothing for this long is taken for dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The library's loop and the event that its last poll returned.
pub(crate) struct Loop {
    inner: EventLoop,
    first: Option<Event>,
    /// Why there can be no connection.
    unusable: Option<Trouble>,
    /// Encryption was the last that the broker said yes to.
    only_encrypted: bool,
}

pub(super) fn open(peer: &Peer, requests_max: usize) -> (AsyncClient, Loop) {
    let mut options = MqttOptions::new(&peer.client_id, &peer.host, peer.port);
    options
        .set_keep_alive(peer.keep_alive)
        .set_clean_session(peer.clean)
        .set_max_packet_size(
            bytes(peer.incoming_bytes_max),
            bytes(peer.outgoing_bytes_max),
        )
        .set_inflight(peer.packet_ids);
    let unusable = match peer.transport() {
        Ok(transport) => {
            options.set_transport(transport);
            None
        }
        Err(trouble) => Some(trouble),
    };
    if let Some(username) = &peer.username {
        options.set_credentials(username, peer.password());
    }
    let (client, mut inner) = AsyncClient::new(options, requests_max);
    inner.set_network_options(peer.network());
    let line = Loop {
        inner,
        first: None,
        unusable,
        only_encrypted: peer.tls.is_some(),
    };
    (client, line)
}

fn qos(number: u8) -> QoS {
    match number {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    }
}

pub(super) fn publish(client: &AsyncClient, sending: &Sending<'_>) -> bool {
    let payload = sending.payload.to_vec();
    let (qos, retain) = (qos(sending.qos), sending.retain);
    client
        .try_publish(sending.topic, qos, retain, payload)
        .is_ok()
}

impl Loop {
    pub(super) async fn poll(&mut self) -> Result<(), Trouble> {
        if let Some(trouble) = &self.unusable {
            return Err(trouble.clone());
        }
        match self.inner.poll().await.map_err(trouble) {
            Ok(event) => self.first = Some(event),
            Err(Trouble::Closed) if self.only_encrypted => return Err(Trouble::Shunned),
            Err(trouble) => return Err(trouble),
        }
        self.only_encrypted = false;
        Ok(())
    }

    pub(super) fn drain(&mut self, sink: &mut impl FnMut(Signal)) {
        let first = self.first.take().into_iter();
        for event in first.chain(self.inner.state.events.drain(..)) {
            if let Some(signal) = signal(event) {
                sink(signal);
            }
        }
    }

    /// Writes messages with one flush for all. Their `PublishSent` signals wait in the line.
    pub(crate) async fn publish_all<'a>(
        &mut self,
        sendings: impl Iterator<Item = Sending<'a>>,
    ) -> Result<(), Trouble> {
        in_time(self.write(sendings)).await
    }

    async fn write<'a>(
        &mut self,
        sendings: impl Iterator<Item = Sending<'a>>,
    ) -> Result<(), StateError> {
        let EventLoop { state, network, .. } = &mut self.inner;
        let Some(network) = network else {
            return Err(StateError::ConnectionAborted);
        };
        for sending in sendings {
            let (qos, payload) = (qos(sending.qos), sending.payload.clone());
            let mut publish = Publish::from_bytes(sending.topic, qos, payload);
            publish.retain = sending.retain;
            if let Some(packet) = state.handle_outgoing_packet(Request::Publish(publish))? {
                network.write(packet).await?;
            }
        }
        network.flush().await
    }
}

async fn in_time(written: impl Future<Output = Result<(), StateError>>) -> Result<(), Trouble> {
    match tokio::time::timeout(WRITE_TIMEOUT, written).await {
        Ok(written) => written.map_err(state_trouble),
        Err(_) => Err(Trouble::Silent),
    }
}

fn signal(event: Event) -> Option<Signal> {
    let incoming = match event {
        Event::Incoming(incoming) => incoming,
        Event::Outgoing(outgoing) => return outgoing_signal(outgoing),
    };
    Some(match incoming {
        Incoming::ConnAck(_) => Signal::Connected,
        Incoming::PubAck(puback) => Signal::Acknowledged {
            id: puback.pkid,
            refused: None,
        },
        _ => return None,
    })
}

pub(super) fn outgoing_signal(outgoing: Outgoing) -> Option<Signal> {
    match outgoing {
        Outgoing::Publish(id) => Some(Signal::PublishSent(id)),
        Outgoing::AwaitAck(_) => Some(Signal::PublishStuck),
        Outgoing::Disconnect => Some(Signal::DisconnectSent),
        _ => None,
    }
}

fn trouble(error: ConnectionError) -> Trouble {
    match error {
        ConnectionError::MqttState(error) => state_trouble(error),
        ConnectionError::Io(error) => Trouble::from_io(&error),
        ConnectionError::Tls(rumqttc::TlsError::Io(error)) => Trouble::from_handshake(&error),
        ConnectionError::Tls(error) => Trouble::Tls(error.to_string()),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Trouble::Silent,
        ConnectionError::ConnectionRefused(code) => refused(code),
        ConnectionError::NotConnAck(packet) => Trouble::NoMqtt(match packet {
            Packet::Publish(_) => "a message before its answer to the connection".to_owned(),
            other => format!("{other:?}"),
        }),
        other => Trouble::Library(other.to_string()),
    }
}

fn state_trouble(error: StateError) -> Trouble {
    match error {
        StateError::Io(error) => Trouble::from_io(&error),
        StateError::AwaitPingResp => Trouble::Silent,
        StateError::ConnectionAborted => Trouble::Closed,
        StateError::Deserialization(error) => malformed(error),
        other => Trouble::Library(other.to_string()),
    }
}

pub(super) fn refused(code: ConnectReturnCode) -> Trouble {
    match code {
        ConnectReturnCode::RefusedProtocolVersion => Trouble::VersionRefused,
        ConnectReturnCode::BadClientId => Trouble::ClientIdRefused,
        ConnectReturnCode::BadUserNamePassword => Trouble::Credentials,
        ConnectReturnCode::NotAuthorized => Trouble::NotAuthorized,
        other => Trouble::Refused(format!("{other:?}")),
    }
}

pub(super) fn malformed(error: mqttbytes::Error) -> Trouble {
    match error {
        mqttbytes::Error::PayloadSizeLimitExceeded(bytes) => Trouble::Oversized { bytes },
        mqttbytes::Error::OutgoingPacketTooLarge { pkt_size, max } => Trouble::OutgoingTooLarge {
            bytes: pkt_size,
            max,
        },
        mqttbytes::Error::Io(error) => Trouble::from_io(&error),
        other => Trouble::NoMqtt(other.to_string()),
    }
}

fn bytes(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
