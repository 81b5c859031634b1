//! The packets that a source sends in MQTT 5; those that it reads are in [`super::packets`].

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, DisconnectReasonCode, Filter, LastWill, Login, Packet, PingReq,
    PubAck, RetainForwardRule, Subscribe, SubscribeProperties, Unsubscribe,
};

use super::v311;
use crate::link::Peer;
use crate::packets::{Disconnect, reason_name};
use crate::topic::{Subscription, TopicFilter};
use crate::trouble::Trouble;

pub(super) fn connect(peer: &Peer, out: &mut BytesMut) -> Result<(), Trouble> {
    let expiry = u32::try_from(peer.session_expiry.as_secs()).unwrap_or(u32::MAX);
    let connect = Connect {
        keep_alive: u16::try_from(peer.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: peer.client_id.clone(),
        clean_start: peer.clean,
        properties: Some(ConnectProperties {
            session_expiry_interval: Some(expiry),
            receive_maximum: peer.receive_maximum,
            // If we announce our limit, mosquitto 2.0 silently withholds longer messages, and never
            // gives back their places in its window of unacknowledged ones: after twenty of them
            // nothing comes any more. So they are sent to us, and skipped.
            max_packet_size: None,
            ..ConnectProperties::new()
        }),
    };
    let username = peer.username.as_ref();
    let login = username.map(|username| Login::new(username, peer.password()));
    let will = peer.will.as_ref().map(|will| {
        let qos = match will.qos {
            0 => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        };
        let payload = will.payload.to_vec();
        LastWill::new(will.topic.as_str(), payload, qos, will.retain, None)
    });
    write(&Packet::Connect(connect, will, login), out)
}

/// Why the broker does not take the connection.
pub(super) fn refused(code: u8, reason: Option<String>) -> Trouble {
    match code {
        0x84 => Trouble::VersionRefused,
        0x85 => Trouble::ClientIdRefused,
        0x86 => Trouble::Credentials,
        0x87 | 0x8a => Trouble::NotAuthorized,
        // A broker of 3.1.1 answers as it can.
        0x00..0x80 => v311::refused(code),
        other => Trouble::Refused(named(other, reason)),
    }
}

/// Why the broker hangs up.
pub(super) fn hung_up(disconnect: Disconnect) -> Trouble {
    let Disconnect { code, reason } = disconnect;
    match code {
        0x8e => Trouble::TakenOver,
        0x8b => Trouble::ShuttingDown,
        0x87 => Trouble::Denied(named(code, reason)),
        0x90 | 0x95 | 0x99 => Trouble::MessageRefused(named(code, reason)),
        _ => Trouble::Refused(named(code, reason)),
    }
}

/// Name of a reason code, with the broker's reason string.
fn named(code: u8, reason: Option<String>) -> String {
    let name = match reason_name(code) {
        Some(name) => name.to_owned(),
        None => format!("reason code {code:#04x}"),
    };
    match reason {
        Some(reason) => format!("{name}: {reason}"),
        None => name,
    }
}

pub(super) fn subscribe(
    packet: u16,
    wanted: &[Subscription],
    qos: u8,
    identified: bool,
    out: &mut BytesMut,
) -> Result<(), Trouble> {
    let qos = match qos {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    };
    let filter = |wanted: &Subscription| {
        let mut filter = Filter::new(wanted.filter.as_str(), qos);
        filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
        filter
    };
    let id = wanted
        .first()
        .filter(|_| identified)
        .map(|wanted| wanted.id);
    let subscribe = Subscribe {
        pkid: packet,
        filters: wanted.iter().map(filter).collect(),
        properties: id.map(|id| SubscribeProperties {
            id: usize::try_from(id).ok(),
            user_properties: Vec::new(),
        }),
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
        filters: filters.iter().map(TopicFilter::to_string).collect(),
        properties: None,
    };
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
    let disconnect = rumqttc::v5::mqttbytes::v5::Disconnect::new(reason);
    write(&Packet::Disconnect(disconnect), out)
}

fn write(packet: &Packet, out: &mut BytesMut) -> Result<(), Trouble> {
    packet
        .write(out, None)
        .map(|_| ())
        .map_err(|error| Trouble::Library(error.to_string()))
}
