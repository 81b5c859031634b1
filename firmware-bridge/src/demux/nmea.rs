//! NMEA 0183 sentences: `$` or `!`, an address, fields, `*` and a checksum of two hex digits.

/// A sentence whose checksum fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sentence<'a> {
    /// Address and fields: all between the mark and the star.
    pub(crate) body: &'a str,
}

impl<'a> Sentence<'a> {
    /// Reads a line; `None` unless it is a sentence of visible ASCII with a checksum that fits.
    pub(crate) fn read(line: &'a str) -> Option<Self> {
        let inner = line.strip_prefix(['$', '!'])?;
        let (body, sum) = inner.rsplit_once('*')?;
        let is_hex = sum.len() == 2 && sum.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_text = !body.is_empty() && body.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !is_hex || !is_text {
            return None;
        }
        let sum = u8::from_str_radix(sum, 16).ok()?;
        let fits = body.bytes().fold(0, |sum, byte| sum ^ byte) == sum;
        fits.then_some(Self { body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_checksum_that_fits_makes_a_sentence() {
        let good = "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A";
        assert!(Sentence::read(good).is_some());
        assert!(Sentence::read(&good.replace("*6A", "*6a")).is_some());
        assert!(Sentence::read("!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C").is_some());
        for wrong in [
            "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6B",
            "$GPRMC,123519",
            "$*00",
            "GPRMC,1*6A",
            "$A*4",
            "$A*+1",
            "",
        ] {
            assert_eq!(Sentence::read(wrong), None, "{wrong}");
        }
    }
}
