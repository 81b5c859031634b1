//! The library's MQTT 5 loop behind [`super::link`].

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, Filter, PubAckReason, PublishProperties,
    RetainForwardRule, SubscribeProperties, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{self, QoS};
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, StateError,
};

use super::link::{Peer, Received, Sending, Signal, TopicName};
use super::trouble::Trouble;
use super::v311::outgoing_signal;
use crate::event::SubscriptionIds;

/// The library's loop and the event that its last poll returned.
pub(crate) struct Loop {
    inner: EventLoop,
    first: Option<Event>,
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
    if let Some(username) = &peer.username {
        options.set_credentials(username, peer.password.as_deref().unwrap_or_default());
    }
    let (client, inner) = AsyncClient::new(options, requests_max);
    (client, Loop { inner, first: None })
}

pub(super) fn subscribe(
    client: &AsyncClient,
    filter: &str,
    qos_number: u8,
    identifier: Option<u32>,
) -> bool {
    let mut filter = Filter::new(filter, qos(qos_number));
    filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
    match identifier.and_then(|id| usize::try_from(id).ok()) {
        None => client.try_subscribe_many([filter]).is_ok(),
        id => {
            let properties = SubscribeProperties {
                id,
                user_properties: Vec::new(),
            };
            client
                .try_subscribe_many_with_properties([filter], properties)
                .is_ok()
        }
    }
}

pub(super) fn publish(client: &AsyncClient, sending: &Sending<'_>) -> bool {
    let payload = sending.payload.clone();
    let (qos, retain) = (qos(sending.qos), sending.retain);
    client
        .try_publish(sending.topic, qos, retain, payload)
        .is_ok()
}

impl Loop {
    pub(super) async fn poll(&mut self) -> Result<(), Trouble> {
        self.first = Some(self.inner.poll().await.map_err(trouble)?);
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

    pub(super) fn excuse_ping(&mut self) {
        self.inner.state.await_pingresp = false;
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
        Incoming::Publish(publish) => {
            let (subscriptions, properties) = match publish.properties {
                Some(properties) => unpack(properties),
                None => (SubscriptionIds::Unknown, Bytes::new()),
            };
            Signal::Message(Received {
                topic: TopicName::Unchecked(publish.topic),
                payload: publish.payload,
                retained: publish.retain,
                subscriptions,
                properties,
            })
        }
        Incoming::ConnAck(connack) => {
            let properties = connack.properties.as_ref();
            let available = properties.and_then(|p| p.subscription_identifiers_available);
            Signal::Connected {
                session_present: connack.session_present,
                identifiers: available != Some(0),
            }
        }
        Incoming::SubAck(suback) => Signal::Subscribed {
            id: suback.pkid,
            refused: suback.return_codes.iter().find_map(refusal),
        },
        Incoming::UnsubAck(unsuback) => Signal::Unsubscribed(unsuback.pkid),
        Incoming::PubAck(puback) => Signal::Acknowledged {
            id: puback.pkid,
            refused: match puback.reason {
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
                other => Some(format!("{other:?}")),
            },
        },
        _ => return None,
    })
}

fn refusal(code: &SubscribeReasonCode) -> Option<String> {
    match code {
        SubscribeReasonCode::Success(_) => None,
        SubscribeReasonCode::NotAuthorized => {
            Some("not authorized (may this user read it?)".to_owned())
        }
        other => Some(format!("{other:?}")),
    }
}

fn unpack(properties: PublishProperties) -> (SubscriptionIds, Bytes) {
    let id = |id: &usize| u32::try_from(*id).unwrap_or_default();
    let subscriptions = match properties.subscription_identifiers.as_slice() {
        [] => SubscriptionIds::Unknown,
        [one] => SubscriptionIds::One(id(one)),
        many => SubscriptionIds::Many(many.iter().map(id).collect()),
    };
    if properties.user_properties.is_empty() {
        return (subscriptions, Bytes::new());
    }
    let object: serde_json::Map<_, _> = properties
        .user_properties
        .into_iter()
        .map(|(name, value)| (name, serde_json::Value::String(value)))
        .collect();
    let text = serde_json::to_vec(&object).expect("a map of strings is valid JSON");
    (subscriptions, text.into())
}

fn trouble(error: ConnectionError) -> Trouble {
    match error {
        ConnectionError::MqttState(error) => state_trouble(error),
        ConnectionError::Io(error) => Trouble::from_io(&error),
        ConnectionError::Timeout(_) => Trouble::Silent,
        ConnectionError::ConnectionRefused(code) => refused(code),
        ConnectionError::NotConnAck(packet) => Trouble::NoMqtt(format!("{packet:?}")),
        other => Trouble::Library(other.to_string()),
    }
}

fn refused(code: ConnectReturnCode) -> Trouble {
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
        StateError::ServerDisconnect { reason_code, .. } => match reason_code {
            DisconnectReasonCode::SessionTakenOver => Trouble::TakenOver,
            DisconnectReasonCode::ServerShuttingDown => Trouble::ShuttingDown,
            other => Trouble::Refused(format!("{other:?}")),
        },
        StateError::IncomingPacketTooLarge { pkt_size, .. } => {
            Trouble::Oversized { bytes: pkt_size }
        }
        StateError::OutgoingPacketTooLarge { pkt_size, max } => too_large(pkt_size, max),
        StateError::Deserialization(error) => match error {
            mqttbytes::Error::PayloadSizeLimitExceeded { pkt_size, .. } => {
                Trouble::Oversized { bytes: pkt_size }
            }
            mqttbytes::Error::OutgoingPacketTooLarge { pkt_size, max } => too_large(pkt_size, max),
            mqttbytes::Error::Io(error) => Trouble::from_io(&error),
            // A broker of 3.1.1 answers with a code that MQTT 5 does not know.
            mqttbytes::Error::InvalidConnectReturnCode(_) => Trouble::VersionRefused,
            other => Trouble::NoMqtt(other.to_string()),
        },
        other => Trouble::Library(other.to_string()),
    }
}

fn too_large(bytes: u32, max: u32) -> Trouble {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Trouble::OutgoingTooLarge {
        bytes: count(bytes),
        max: count(max),
    }
}
