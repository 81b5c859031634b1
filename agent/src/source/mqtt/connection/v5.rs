//! The source's packets in MQTT 5.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode, Filter, Login,
    Packet, PingReq, PubAck, Publish, PublishProperties, RetainForwardRule, Subscribe,
    SubscribeProperties, SubscribeReasonCode, Unsubscribe,
};

use super::{Accepted, Handshake, Incoming, Received};
use crate::event::SubscriptionIds;
use crate::source::mqtt::link::Peer;
use crate::source::mqtt::trouble::Trouble;
use crate::source::mqtt::v5::{hung_up, malformed, refused};

pub(super) fn connect(peer: &Peer, out: &mut BytesMut) -> Result<(), Trouble> {
    let expiry = u32::try_from(peer.session_expiry.as_secs()).unwrap_or(u32::MAX);
    let connect = Connect {
        keep_alive: u16::try_from(peer.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: peer.client_id.clone(),
        clean_start: peer.clean,
        properties: Some(ConnectProperties {
            session_expiry_interval: Some(expiry),
            receive_maximum: peer.receive_maximum,
            // Told our limit, mosquitto 2.0 keeps longer messages to itself without a word, and never
            // gives back their places in its window of unacknowledged ones: twenty of them, and
            // nothing comes any more. So they come, and are read past.
            max_packet_size: None,
            ..ConnectProperties::new()
        }),
    };
    let username = peer.username.as_ref();
    let login = username.map(|username| Login::new(username, peer.password()));
    write(&Packet::Connect(connect, None, login), out)
}

pub(super) fn accepted(packet: BytesMut) -> Result<Accepted, Trouble> {
    let connack = match read(packet)? {
        Packet::ConnAck(connack) => connack,
        other => return Err(Trouble::NoMqtt(format!("{other:?}"))),
    };
    if connack.code != ConnectReturnCode::Success {
        return Err(refused(connack.code));
    }
    let given = connack.properties.as_ref();
    let available = given.and_then(|given| given.subscription_identifiers_available);
    let keep_alive = given.and_then(|given| given.server_keep_alive);
    Ok(Accepted {
        session_present: connack.session_present,
        identifiers: available != Some(0),
        keep_alive: keep_alive.map(|seconds| Duration::from_secs(seconds.into())),
    })
}

pub(super) fn subscribe(
    packet: u16,
    filter: &str,
    qos: u8,
    identifier: Option<u32>,
    out: &mut BytesMut,
) -> Result<(), Trouble> {
    let qos = match qos {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    };
    let mut filter = Filter::new(filter, qos);
    filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
    let identifier = identifier.and_then(|id| usize::try_from(id).ok());
    let properties = identifier.map(|id| SubscribeProperties {
        id: Some(id),
        user_properties: Vec::new(),
    });
    let mut subscribe = Subscribe::new(filter, properties);
    subscribe.pkid = packet;
    write(&Packet::Subscribe(subscribe), out)
}

pub(super) fn unsubscribe(packet: u16, filter: &str, out: &mut BytesMut) -> Result<(), Trouble> {
    let mut unsubscribe = Unsubscribe::new(filter, None);
    unsubscribe.pkid = packet;
    write(&Packet::Unsubscribe(unsubscribe), out)
}

pub(super) fn acknowledge(packet: u16, out: &mut BytesMut) -> Result<(), Trouble> {
    write(&Packet::PubAck(PubAck::new(packet, None)), out)
}

pub(super) fn ping(out: &mut BytesMut) -> Result<(), Trouble> {
    write(&Packet::PingReq(PingReq), out)
}

pub(super) fn disconnect(out: &mut BytesMut) -> Result<(), Trouble> {
    let reason = DisconnectReasonCode::NormalDisconnection;
    write(&Packet::Disconnect(Disconnect::new(reason)), out)
}

pub(super) fn incoming(packet: BytesMut) -> Result<Option<Incoming>, Trouble> {
    Ok(Some(match read(packet)? {
        Packet::Publish(publish) => Incoming::Message(message(publish)),
        Packet::SubAck(suback) => Incoming::Subscribed {
            packet: suback.pkid,
            refused: suback.return_codes.iter().find_map(refusal),
        },
        Packet::UnsubAck(unsuback) => Incoming::Unsubscribed(unsuback.pkid),
        Packet::PingResp(_) => Incoming::PingAnswered,
        Packet::Disconnect(disconnect) => return Err(hung_up(disconnect.reason_code)),
        _ => return Ok(None),
    }))
}

fn message(publish: Publish) -> Received {
    let (subscriptions, properties) = match publish.properties {
        Some(properties) => (named(&properties), properties.user_properties),
        None => (SubscriptionIds::Unknown, Vec::new()),
    };
    Received {
        topic: publish.topic,
        payload: publish.payload,
        retained: publish.retain,
        subscriptions,
        properties,
        handshake: (publish.qos != QoS::AtMostOnce).then_some(Handshake {
            packet: publish.pkid,
            dup: publish.dup,
        }),
        skipped: None,
    }
}

fn named(properties: &PublishProperties) -> SubscriptionIds {
    let id = |id: &usize| u32::try_from(*id).unwrap_or_default();
    match properties.subscription_identifiers.as_slice() {
        [] => SubscriptionIds::Unknown,
        [one] => SubscriptionIds::One(id(one)),
        many => SubscriptionIds::Many(many.iter().map(id).collect()),
    }
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

fn read(mut packet: BytesMut) -> Result<Packet, Trouble> {
    Packet::read(&mut packet, None).map_err(malformed)
}

fn write(packet: &Packet, out: &mut BytesMut) -> Result<(), Trouble> {
    packet.write(out, None).map(|_| ()).map_err(malformed)
}
