//! The packets that a source sends in MQTT 3.1.1; those that it reads are in [`super::packets`].

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    Connect, LastWill, Login, Packet, PubAck, Subscribe, SubscribeFilter, Unsubscribe,
};
use rumqttc::mqttbytes::{self, QoS};

use crate::link::Peer;
use crate::topic::{Subscription, TopicFilter};
use crate::trouble::Trouble;

pub(super) fn connect(peer: &Peer, out: &mut BytesMut) -> Result<(), Trouble> {
    let mut connect = Connect::new(&peer.client_id);
    connect.keep_alive = u16::try_from(peer.keep_alive.as_secs()).unwrap_or(u16::MAX);
    connect.clean_session = peer.clean;
    if let Some(username) = &peer.username {
        connect.login = Some(Login::new(username, peer.password()));
    }
    connect.last_will = peer.will.as_ref().map(|will| LastWill {
        topic: will.topic.clone(),
        message: will.payload.clone(),
        qos: match will.qos {
            0 => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        },
        retain: will.retain,
    });
    write(&Packet::Connect(connect), out)
}

/// Why the broker does not take the connection.
pub(super) fn refused(code: u8) -> Trouble {
    match code {
        1 => Trouble::VersionRefused,
        2 => Trouble::ClientIdRefused,
        3 => Trouble::Refused("server unavailable".to_owned()),
        4 => Trouble::Credentials,
        5 => Trouble::NotAuthorized,
        other => Trouble::Refused(format!("return code {other:#04x}")),
    }
}

pub(super) fn subscribe(
    packet: u16,
    wanted: &[Subscription],
    qos: u8,
    out: &mut BytesMut,
) -> Result<(), Trouble> {
    let qos = match qos {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    };
    let filter = |wanted: &Subscription| SubscribeFilter {
        path: wanted.filter.as_str().to_owned(),
        qos,
    };
    let subscribe = Subscribe {
        pkid: packet,
        filters: wanted.iter().map(filter).collect(),
    };
    write(&Packet::Subscribe(subscribe), out)
}

pub(super) fn unsubscribe(
    packet: u16,
    filters: &[TopicFilter],
    out: &mut BytesMut,
) -> Result<(), Trouble> {
    let unsubscribe = Unsubscribe {
        pkid: packet,
        topics: filters.iter().map(TopicFilter::to_string).collect(),
    };
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

fn write(packet: &Packet, out: &mut BytesMut) -> Result<(), Trouble> {
    let written: Result<usize, mqttbytes::Error> = packet.write(out, usize::MAX);
    written
        .map(|_| ())
        .map_err(|error| Trouble::Library(error.to_string()))
}
