//! PUBLISH as destinations send it, and the broker's answers.

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{Publish as Publish5, PublishProperties};
use rumqttc::{mqttbytes, v5};

use crate::link::{Refusal, Sending, Version};
use crate::packets::reason_name;
use crate::trouble::Trouble;

/// Writes a message under this packet identifier, which is 0 at QoS 0.
pub(super) fn write(
    version: Version,
    packet: u16,
    sending: Sending<'_>,
    out: &mut BytesMut,
) -> Result<(), Trouble> {
    out.reserve(sending.topic.len() + sending.payload.len() + 16);
    match version {
        Version::V5 => write_v5(packet, sending, out),
        Version::V311 => write_v311(packet, &sending, out),
    }
}

fn write_v5(packet: u16, sending: Sending<'_>, out: &mut BytesMut) -> Result<(), Trouble> {
    let says_more = !sending.properties.is_empty() || sending.correlation.is_some();
    let properties = says_more.then(|| PublishProperties {
        correlation_data: sending.correlation,
        user_properties: sending.properties,
        ..PublishProperties::default()
    });
    let publish = Publish5 {
        dup: false,
        qos: match sending.qos {
            0 => v5::mqttbytes::QoS::AtMostOnce,
            _ => v5::mqttbytes::QoS::AtLeastOnce,
        },
        retain: sending.retain,
        topic: Bytes::copy_from_slice(sending.topic.as_bytes()),
        pkid: packet,
        payload: sending.payload.clone(),
        properties,
    };
    let written = publish.write(out);
    written
        .map(|_| ())
        .map_err(|error| Trouble::Library(error.to_string()))
}

fn write_v311(packet: u16, sending: &Sending<'_>, out: &mut BytesMut) -> Result<(), Trouble> {
    let qos = match sending.qos {
        0 => mqttbytes::QoS::AtMostOnce,
        _ => mqttbytes::QoS::AtLeastOnce,
    };
    let payload = sending.payload.clone();
    let mut publish = mqttbytes::v4::Publish::from_bytes(sending.topic, qos, payload);
    publish.pkid = packet;
    publish.retain = sending.retain;
    let written = publish.write(out);
    written
        .map(|_| ())
        .map_err(|error| Trouble::Library(error.to_string()))
}

/// The reason why the broker refused a message; `None` if it accepted it.
pub(super) fn refusal(code: u8, reason: Option<String>) -> Option<Refusal> {
    if code < 0x80 {
        return None;
    }
    let name = match reason_name(code) {
        Some(name) => name.to_owned(),
        None => format!("reason code {code:#04x}"),
    };
    let text = match reason {
        Some(reason) => format!("{name}: {reason}"),
        None => name,
    };
    Some(match code {
        0x87 => Refusal::NotAuthorized(text),
        // Topic name invalid, packet too large, payload format invalid.
        0x90 | 0x95 | 0x99 => Refusal::Never(text),
        // Packet identifier in use, receive maximum, message rate, quota.
        0x91 | 0x93 | 0x96 | 0x97 => Refusal::NotNow(text),
        _ => Refusal::Unsaid(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sending<'a>(payload: &'a Bytes, qos: u8) -> Sending<'a> {
        Sending {
            topic: "a/b",
            payload,
            qos,
            retain: qos == 0,
            properties: vec![("k".to_owned(), "v".to_owned())],
            correlation: None,
        }
    }

    #[track_caller]
    fn check(version: Version, qos: u8, expected: &[u8]) {
        let payload = Bytes::from_static(b"xy");
        let mut out = BytesMut::new();
        let packet = if qos == 0 { 0 } else { 0x1234 };
        write(version, packet, sending(&payload, qos), &mut out).unwrap();
        assert_eq!(&out[..], expected, "{version} {qos}");
    }

    #[test]
    fn messages_are_written_as_the_standards_have_them() {
        check(Version::V311, 1, b"\x32\x09\0\x03a/b\x12\x34xy");
        check(Version::V311, 0, b"\x31\x07\0\x03a/bxy");
        // With one user property.
        let properties = b"\x07\x26\0\x01k\0\x01v";
        let expected = [&b"\x32\x11\0\x03a/b\x12\x34"[..], properties, b"xy"].concat();
        check(Version::V5, 1, &expected);
        let expected = [&b"\x31\x0f\0\x03a/b"[..], properties, b"xy"].concat();
        check(Version::V5, 0, &expected);
    }

    #[test]
    fn only_codes_about_the_message_are_for_good() {
        for code in [0, 0x10, 0x7f] {
            assert_eq!(refusal(code, None), None);
        }
        let kind = |code| match refusal(code, None) {
            Some(Refusal::Never(_)) => "never",
            Some(Refusal::NotAuthorized(_)) => "not authorized",
            Some(Refusal::NotNow(_)) => "not now",
            Some(Refusal::Unsaid(_)) => "unsaid",
            None => "taken",
        };
        for (code, expected) in [
            (0x80, "unsaid"),
            (0x83, "unsaid"),
            (0x87, "not authorized"),
            (0x90, "never"),
            (0x91, "not now"),
            (0x95, "never"),
            (0x97, "not now"),
            (0x99, "never"),
            (0xff, "unsaid"),
        ] {
            assert_eq!(kind(code), expected, "{code:#04x}");
        }
        let said = refusal(0x97, Some("come again".to_owned()));
        let text = "quota exceeded: come again".to_owned();
        assert_eq!(said, Some(Refusal::NotNow(text)));
    }
}
