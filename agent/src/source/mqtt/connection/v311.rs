//! The source's packets in MQTT 3.1.1.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Login, Packet, PubAck, Subscribe, SubscribeReasonCode, Unsubscribe,
};
use rumqttc::mqttbytes::{self, QoS};

use super::frame::{Frame, Head, part};
use super::{Accepted, Incoming, Received};
use crate::event::SubscriptionIds;
use crate::source::mqtt::link::Peer;
use crate::source::mqtt::trouble::Trouble;
use crate::source::mqtt::v311::{malformed, refused};

pub(super) fn connect(peer: &Peer, out: &mut BytesMut) -> Result<(), Trouble> {
    let mut connect = Connect::new(&peer.client_id);
    connect.keep_alive = u16::try_from(peer.keep_alive.as_secs()).unwrap_or(u16::MAX);
    connect.clean_session = peer.clean;
    if let Some(username) = &peer.username {
        connect.login = Some(Login::new(username, peer.password()));
    }
    write(&Packet::Connect(connect), out)
}

pub(super) fn accepted(packet: BytesMut) -> Result<Accepted, Trouble> {
    match read(packet)? {
        Packet::ConnAck(connack) if connack.code == ConnectReturnCode::Success => Ok(Accepted {
            session_present: connack.session_present,
            identifiers: false,
            keep_alive: None,
        }),
        Packet::ConnAck(connack) => Err(refused(connack.code)),
        other => Err(Trouble::NoMqtt(format!("{other:?}"))),
    }
}

pub(super) fn subscribe(
    packet: u16,
    filter: &str,
    qos: u8,
    out: &mut BytesMut,
) -> Result<(), Trouble> {
    let qos = match qos {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    };
    let mut subscribe = Subscribe::new(filter, qos);
    subscribe.pkid = packet;
    write(&Packet::Subscribe(subscribe), out)
}

pub(super) fn unsubscribe(packet: u16, filter: &str, out: &mut BytesMut) -> Result<(), Trouble> {
    let mut unsubscribe = Unsubscribe::new(filter);
    unsubscribe.pkid = packet;
    write(&Packet::Unsubscribe(unsubscribe), out)
}

pub(super) fn acknowledge(packet: u16, out: &mut BytesMut) -> Result<(), Trouble> {
    write(&Packet::PubAck(PubAck::new(packet)), out)
}

pub(super) fn ping(out: &mut BytesMut) -> Result<(), Trouble> {
    write(&Packet::PingReq, out)
}

pub(super) fn disconnect(out: &mut BytesMut) -> Result<(), Trouble> {
    write(&Packet::Disconnect, out)
}

pub(super) fn incoming(frame: &Frame, packet: BytesMut) -> Result<Option<Incoming>, Trouble> {
    if frame.is_publish() {
        return message(frame, packet.freeze()).map(Some);
    }
    Ok(Some(match read(packet)? {
        Packet::SubAck(suback) => Incoming::Subscribed {
            packet: suback.pkid,
            refused: suback
                .return_codes
                .contains(&SubscribeReasonCode::Failure)
                .then(|| "the broker refused it (may this user read it?)".to_owned()),
        },
        Packet::UnsubAck(unsuback) => Incoming::Unsubscribed(unsuback.pkid),
        Packet::PingResp => Incoming::PingAnswered,
        _ => return Ok(None),
    }))
}

/// Not the library's reading: it gives up the connection for a topic that is no text, and a kept
/// session would send it again for ever.
fn message(frame: &Frame, packet: Bytes) -> Result<Incoming, Trouble> {
    let head = Head::of(&packet, frame)?
        .ok_or_else(|| Trouble::NoMqtt("a message cut short".to_owned()))?;
    Ok(Incoming::Message(Received {
        topic: part(&packet, head.topic),
        payload: part(&packet, head.end..packet.len()),
        retained: frame.retained(),
        subscriptions: SubscriptionIds::Unknown,
        properties: Vec::new(),
        handshake: head.handshake,
        skipped: None,
    }))
}

fn read(mut packet: BytesMut) -> Result<Packet, Trouble> {
    Packet::read(&mut packet, usize::MAX).map_err(malformed)
}

fn write(packet: &Packet, out: &mut BytesMut) -> Result<(), Trouble> {
    let written: Result<usize, mqttbytes::Error> = packet.write(out, usize::MAX);
    written.map(|_| ()).map_err(malformed)
}
