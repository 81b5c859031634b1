//! NMEA sentences as objects: talker, type and fields as texts, and of RMC and GGA the position in degrees.

use super::object::Object;
use crate::demux::Sentence;

/// Returns the object of a sentence; `None` where its address is empty.
pub(super) fn object(sentence: &Sentence<'_>) -> Option<String> {
    let mut fields = sentence.body.split(',');
    let address = fields.next().filter(|address| !address.is_empty())?;
    let (talker, kind) = talker_and_type(address);
    let fields: Vec<&str> = fields.collect();
    let mut object = Object::default();
    object.text("talker", talker);
    object.text("type", kind);
    object.texts("fields", fields.iter().copied());
    if let Some((lat, lon)) = position(kind, &fields) {
        object.number("lat", lat);
        object.number("lon", lon);
    }
    Some(object.end())
}

/// Splits an address: `P` and all of it for what manufacturers added, else two letters and the rest.
fn talker_and_type(address: &str) -> (&str, &str) {
    match address.split_at_checked(2) {
        _ if address.starts_with('P') => ("P", address),
        Some((talker, kind)) if !kind.is_empty() => (talker, kind),
        _ => ("", address),
    }
}

/// The position of a sentence that has one and says that it is good.
fn position(kind: &str, fields: &[&str]) -> Option<(f64, f64)> {
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    let (first, is_good) = match kind {
        "RMC" => (2, field(1) == "A"),
        "GGA" => (1, !matches!(field(5), "" | "0")),
        _ => return None,
    };
    let lat = degrees(field(first), 2, 90.0)?;
    let lon = degrees(field(first + 2), 3, 180.0)?;
    let sign = |field: &str, plus: &str, minus: &str| match field {
        f if f == plus => Some(1.0),
        f if f == minus => Some(-1.0),
        _ => None,
    };
    let (north, east) = (
        sign(field(first + 1), "N", "S")?,
        sign(field(first + 3), "E", "W")?,
    );
    is_good.then_some((lat * north, lon * east))
}

/// Reads `dddmm.mmmm` with so many digits of degrees, to seven places, which is a centimetre.
fn degrees(text: &str, digits: usize, most: f64) -> Option<f64> {
    let (whole, minutes) = text.split_at_checked(digits)?;
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !is_plain(text) {
        return None;
    }
    let (whole, minutes) = (whole.parse::<f64>().ok()?, minutes.parse::<f64>().ok()?);
    let degrees = ((whole + minutes / 60.0) * 1e7).round() / 1e7;
    (minutes < 60.0 && degrees <= most).then_some(degrees)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Option<String> {
        object(&Sentence { body })
    }

    #[test]
    fn positions_are_degrees_where_the_receiver_has_a_fix() {
        let rmc = of("GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W");
        let expected = r#"{"talker":"GP","type":"RMC","fields":["123519","A","4807.038","N","01131.000","E","022.4","084.4","230394","003.1","W"],"lat":48.1173,"lon":11.5166667}"#;
        assert_eq!(rmc.as_deref(), Some(expected));
        let gga =
            of("GNGGA,001038.00,3334.2313457,S,11211.0576940,W,2,04,5.4,354.682,M,-26.574,M,,")
                .unwrap();
        assert!(
            gga.ends_with(r#","lat":-33.5705224,"lon":-112.1842949}"#),
            "{gga}"
        );
        for none in [
            "GPRMC,123519,V,4807.038,N,01131.000,E",
            "GPRMC,123519,A,,,,",
            "GPGGA,123519,4807.038,N,01131.000,E,0",
            "GPGGA,123519,9907.038,N,01131.000,E,1",
            "GPGGA,123519,4861.000,N,01131.000,E,1",
            "GPGGA,123519,48-7.038,N,01131.000,E,1",
            "GPGGA",
        ] {
            assert!(!of(none).unwrap().contains("lat"), "{none}");
        }
    }

    #[test]
    fn what_manufacturers_added_keeps_its_name() {
        let own = of("PUBX,00,\"").unwrap();
        assert_eq!(own, r#"{"talker":"P","type":"PUBX","fields":["00","\""]}"#);
        assert_eq!(of("").as_deref(), None);
        assert_eq!(
            of("X").as_deref(),
            Some(r#"{"talker":"","type":"X","fields":[]}"#)
        );
    }
}
