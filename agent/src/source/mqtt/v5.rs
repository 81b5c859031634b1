//! The library's MQTT 5 loop behind [`super::link`], for destinations.

use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, DisconnectReasonCode, PubAckReason, PublishProperties,
};
use rumqttc::v5::mqttbytes::{self, QoS};
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, StateError,
};

use super::link::{Limits, Peer, Refusal, Sending, Signal};
use super::trouble::Trouble;
use super::v311::outgoing_signal;

/// MQTT 5's reason code for it.
const PACKET_TOO_LARGE: u8 = 0x95;

/// The library's loop and the event that its last poll returned.
pub(crate) struct Loop {
    inner: EventLoop,
    limits: Limits,
    first: Option<Event>,
    /// Why there can be no connection.
    unusable: Option<Trouble>,
    /// Encryption was the last that the broker said yes to.
    only_encrypted: bool,
}

pub(super) fn open(peer: &Peer, requests_max: usize) -> (AsyncClient, Loop) {
    let mut options = MqttOptions::new(&peer.client_id, &peer.host, peer.port);
    let expiry = u32::try_from(peer.session_expiry.as_secs()).unwrap_or(u32::MAX);
    options
        .set_keep_alive(peer.keep_alive)
        .set_clean_start(peer.clean)
        .set_session_expiry_interval(Some(expiry))
        .set_receive_maximum(peer.receive_maximum)
        .set_max_packet_size(Some(peer.incoming_bytes_max))
        // By default the library makes room for 65,535 messages in flight: 5 MB.
        .set_outgoing_inflight_upper_limit(peer.packet_ids)
        .set_network_options(peer.network());
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
    let (client, inner) = AsyncClient::new(options, requests_max);
    let line = Loop {
        inner,
        limits: Limits::NONE,
        first: None,
        unusable,
        only_encrypted: peer.tls.is_some(),
    };
    (client, line)
}

pub(super) fn publish(client: &AsyncClient, sending: Sending<'_>) -> bool {
    let payload = sending.payload.clone();
    let (topic, qos, retain) = (sending.topic, qos(sending.qos), sending.retain);
    if sending.properties.is_empty() {
        return client.try_publish(topic, qos, retain, payload).is_ok();
    }
    let properties = PublishProperties {
        user_properties: sending.properties,
        ..PublishProperties::default()
    };
    client
        .try_publish_with_properties(topic, qos, retain, payload, properties)
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
            if let Event::Incoming(Incoming::ConnAck(connack)) = &event {
                self.limits = limits(connack);
            }
            if let Some(signal) = signal(event) {
                sink(signal);
            }
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }
}

fn qos(number: u8) -> QoS {
    match number {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
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
            refused: no_ack(puback.reason),
        },
        _ => return None,
    })
}

fn limits(connack: &ConnAck) -> Limits {
    let Some(given) = &connack.properties else {
        return Limits::NONE;
    };
    Limits {
        in_flight: given.receive_max.unwrap_or(Limits::NONE.in_flight),
        packet_bytes: given.max_packet_size.unwrap_or(Limits::NONE.packet_bytes),
        qos: given.max_qos.unwrap_or(Limits::NONE.qos).min(1),
        retains: given.retain_available != Some(0),
    }
}

fn no_ack(reason: PubAckReason) -> Option<Refusal> {
    let text = |why: &str| why.to_owned();
    Some(match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => return None,
        PubAckReason::NotAuthorized => Refusal::NotAuthorized(text("not authorized")),
        PubAckReason::TopicNameInvalid => Refusal::Never(text("topic name invalid")),
        PubAckReason::PayloadFormatInvalid => Refusal::Never(text("payload format invalid")),
        PubAckReason::QuotaExceeded => Refusal::NotNow(text("quota exceeded")),
        PubAckReason::PacketIdentifierInUse => Refusal::NotNow(text("packet identifier in use")),
        PubAckReason::UnspecifiedError => Refusal::NotNow(text("unspecified error")),
        PubAckReason::ImplementationSpecificError => {
            Refusal::NotNow(text("implementation specific error"))
        }
    })
}

fn trouble(error: ConnectionError) -> Trouble {
    match error {
        ConnectionError::MqttState(error) => state_trouble(error),
        ConnectionError::Io(error) => Trouble::from_io(&error),
        ConnectionError::Tls(rumqttc::TlsError::Io(error)) => Trouble::from_handshake(&error),
        ConnectionError::Tls(error) => Trouble::Tls(error.to_string()),
        ConnectionError::Timeout(_) => Trouble::Silent,
        ConnectionError::ConnectionRefused(code) => refused(code),
        ConnectionError::NotConnAck(packet) => Trouble::NoMqtt(format!("{packet:?}")),
        other => Trouble::Library(other.to_string()),
    }
}

pub(super) fn refused(code: ConnectReturnCode) -> Trouble {
    match code {
        ConnectReturnCode::RefusedProtocolVersion
        | ConnectReturnCode::UnsupportedProtocolVersion => Trouble::VersionRefused,
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            Trouble::ClientIdRefused
        }
        ConnectReturnCode::BadUserNamePassword => Trouble::Credentials,
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned => Trouble::NotAuthorized,
        other => Trouble::Refused(format!("{other:?}")),
    }
}

fn state_trouble(error: StateError) -> Trouble {
    match error {
        StateError::Io(error) => Trouble::from_io(&error),
        StateError::AwaitPingResp => Trouble::Silent,
        StateError::ConnectionAborted => Trouble::Closed,
        StateError::ConnFail { reason } => refused(reason),
        StateError::ServerDisconnect { reason_code, .. } => hung_up(reason_code),
        StateError::IncomingPacketTooLarge { pkt_size, .. } => {
            Trouble::Oversized { bytes: pkt_size }
        }
        StateError::OutgoingPacketTooLarge { pkt_size, max } => too_large(pkt_size, max),
        StateError::Deserialization(error) => malformed(error),
        other => Trouble::Library(other.to_string()),
    }
}

pub(super) fn hung_up(reason: DisconnectReasonCode) -> Trouble {
    match reason {
        DisconnectReasonCode::SessionTakenOver => Trouble::TakenOver,
        DisconnectReasonCode::ServerShuttingDown => Trouble::ShuttingDown,
        reason @ (DisconnectReasonCode::TopicNameInvalid
        | DisconnectReasonCode::PacketTooLarge
        | DisconnectReasonCode::PayloadFormatInvalid) => {
            Trouble::MessageRefused(format!("{reason:?}"))
        }
        other => Trouble::Refused(format!("{other:?}")),
    }
}

pub(super) fn malformed(error: mqttbytes::Error) -> Trouble {
    match error {
        mqttbytes::Error::PayloadSizeLimitExceeded { pkt_size, .. } => {
            Trouble::Oversized { bytes: pkt_size }
        }
        mqttbytes::Error::OutgoingPacketTooLarge { pkt_size, max } => too_large(pkt_size, max),
        mqttbytes::Error::Io(error) => Trouble::from_io(&error),
        // mosquitto acknowledges what is too large for it with a reason that no PUBACK has.
        mqttbytes::Error::InvalidConnectReturnCode(PACKET_TOO_LARGE) => {
            Trouble::MessageRefused("packet too large".to_owned())
        }
        mqttbytes::Error::InvalidConnectReturnCode(code @ 0x80..) => {
            Trouble::Refused(format!("code {code:#04x}"))
        }
        // A broker of 3.1.1 answers with a code that MQTT 5 does not know.
        mqttbytes::Error::InvalidConnectReturnCode(_) => Trouble::VersionRefused,
        other => Trouble::NoMqtt(other.to_string()),
    }
}

fn too_large(bytes: u32, max: u32) -> Trouble {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Trouble::OutgoingTooLarge {
        bytes: count(bytes),
        max: count(max),
    }
}
