//! The gate that answers pass through: of all that a line brings, only the frame whose unit, function, length and
//! checksum are those of what was asked.

use super::{Exception, Span, UnitId};

/// Most bytes that are kept while an answer is waited for: more than twice the longest frame.
pub(super) const HELD_BYTES_MAX: usize = 600;

/// A request that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The unit.
    pub unit: UnitId,
    /// What it was asked for.
    pub span: Span,
    /// The request as it was written, which an adapter without echo suppression hears as well.
    pub request: Vec<u8>,
}

impl Asked {
    /// Bytes of a good answer.
    pub fn answer_bytes(&self) -> usize {
        3 + self.span.area.bytes(self.span.count) + 2
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The frame that was asked for.
    Frame(Vec<u8>),
    /// A refusal.
    Exception(Exception),
}

/// Reasons why a whole frame of the unit is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It is of another function.
    Function {
        /// The function.
        got: u8,
    },
    /// It is longer or shorter than what was asked for.
    Length {
        /// Bytes of its content.
        got: usize,
        /// Bytes that were asked for.
        wanted: usize,
    },
    /// There are bytes, and no frame whose checksum fits.
    Checksum,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Function { got } => write!(f, "it answered function {got}, which was not asked"),
            Self::Length { got, wanted } => {
                write!(f, "it answered {got} bytes where {wanted} were asked for")
            }
            Self::Checksum => f.write_str("the checksum of what it answered does not fit"),
        }
    }
}

/// All that a line has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The answer, and the number of bytes up to its end.
    pub answer: Option<(Found, usize)>,
    /// A frame of the unit that is no answer, or bytes that are none.
    pub wrong: Option<Wrong>,
    /// Units of which there are frames that nobody waits for.
    pub others: Vec<UnitId>,
}

/// Looks for the answer, from the front. Whole frames are passed over whole, so that what they carry is not taken for a
/// frame.
pub fn scan(bytes: &[u8], asked: Option<&Asked>) -> Scan {
    let mut scan = Scan::default();
    let mut rest = bytes;
    let mut is_damaged = false;
    while !rest.is_empty() {
        let echo = asked.map(|asked| &*asked.request);
        if let Some(behind) = echo.and_then(|echo| rest.strip_prefix(echo)) {
            rest = behind;
            continue;
        }
        let Some((frame, behind)) = whole(rest) else {
            is_damaged = true;
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        rest = behind;
        let of_unit = asked.filter(|asked| frame.first() == Some(&asked.unit.0));
        match of_unit.map(|asked| judged(frame, asked)) {
            Some(Ok(found)) => {
                scan.answer = Some((found, bytes.len() - behind.len()));
                return scan;
            }
            Some(Err(wrong)) => scan.wrong = Some(wrong),
            None => scan.others.extend(frame.first().copied().map(UnitId)),
        }
    }
    if is_damaged && scan.wrong.is_none() {
        scan.wrong = Some(Wrong::Checksum);
    }
    scan
}

/// The frame at the front, if a whole one with a checksum that fits is there, and what is behind it.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [unit, function, third, ..] = bytes else {
        return None;
    };
    let content = match function {
        1..=4 => 3 + usize::from(*third),
        0x81..=0xFF => 3,
        _ => return None,
    };
    if !UnitId::RANGE.contains(unit) {
        return None;
    }
    let (frame, behind) = bytes.split_at_checked(content + 2)?;
    let (body, sum) = frame.split_at_checked(content)?;
    (*sum == checksum(body)).then_some((frame, behind))
}

/// Compares a frame of the unit with what was asked.
fn judged(frame: &[u8], asked: &Asked) -> Result<Found, Wrong> {
    let [_, function, third, ..] = frame else {
        return Err(Wrong::Checksum);
    };
    let wanted = asked.span.area.function();
    if *function == wanted | 0x80 {
        return Ok(Found::Exception(Exception(*third)));
    }
    if *function != wanted {
        let got = function & 0x7F;
        return Err(Wrong::Function { got });
    }
    if frame.len() != asked.answer_bytes() {
        return Err(Wrong::Length {
            got: frame.len() - 5,
            wanted: asked.answer_bytes() - 5,
        });
    }
    Ok(Found::Frame(frame.to_vec()))
}

/// The checksum of a frame, as it stands on the wire.
pub(super) fn checksum(body: &[u8]) -> [u8; 2] {
    const CRC: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS);
    CRC.checksum(body).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Area};
    use super::*;

    fn sealed(body: &[u8]) -> Vec<u8> {
        [body, &checksum(body)].concat()
    }

    fn asked() -> Asked {
        let span = Span {
            area: Area::Holding,
            at: Address(0x1004),
            count: 2,
        };
        Asked {
            unit: UnitId(7),
            span,
            request: sealed(&[7, 3, 0x10, 4, 0, 2]),
        }
    }

    const ANSWER: [u8; 7] = [7, 3, 4, 0x41, 0xAC, 0, 1];

    #[test]
    fn the_answer_is_found_behind_whatever_comes_before_it() {
        let answer = sealed(&ANSWER);
        let other = sealed(&[8, 3, 4, 1, 2, 3, 4]);
        let before: [&[u8]; 6] = [b"", b"\0", &asked().request, &other, &[7, 3, 4], &[7; 300]];
        for before in before {
            let bytes = [before, &answer, b"\xFF"].concat();
            let scan = scan(&bytes, Some(&asked()));
            let (found, end) = scan.answer.unwrap();
            assert_eq!(found, Found::Frame(answer.clone()));
            assert_eq!(end, bytes.len() - 1);
        }
        for cut in 0..answer.len() {
            assert_eq!(scan(&answer[..cut], Some(&asked())).answer, None);
        }
    }

    #[test]
    fn one_byte_that_differs_makes_no_answer() {
        let answer = sealed(&ANSWER);
        for at in 0..answer.len() {
            for bit in 0..8 {
                let mut damaged = answer.clone();
                damaged[at] ^= 1 << bit;
                let scan = scan(&damaged, Some(&asked()));
                assert_eq!((scan.answer, scan.wrong), (None, Some(Wrong::Checksum)));
            }
        }
    }

    #[test]
    fn a_frame_of_another_unit_function_or_length_is_no_answer() {
        let check = |body: &[u8], wrong: Option<Wrong>, others: &[UnitId]| {
            let scan = scan(&sealed(body), Some(&asked()));
            assert_eq!((scan.answer, scan.wrong), (None, wrong), "{body:?}");
            assert_eq!(scan.others, others);
        };
        check(&[8, 3, 4, 1, 2, 3, 4], None, &[UnitId(8)]);
        let wrong = |got, wanted| Some(Wrong::Length { got, wanted });
        check(&[7, 3, 2, 1, 2], wrong(2, 4), &[]);
        check(&[7, 3, 6, 1, 2, 3, 4, 5, 6], wrong(6, 4), &[]);
        let got = 4;
        check(&[7, 4, 4, 1, 2, 3, 4], Some(Wrong::Function { got }), &[]);
        check(&[7, 0x84, 2], Some(Wrong::Function { got }), &[]);
        let scan = scan(&sealed(&[7, 0x83, 2]), Some(&asked()));
        assert_eq!(scan.answer, Some((Found::Exception(Exception(2)), 5)));
    }

    #[test]
    fn what_a_frame_carries_is_no_frame() {
        // The content of unit 9's answer is an answer of unit 7.
        let inner = sealed(&ANSWER);
        let outer = sealed(&[&[9, 3, 10][..], &inner, &[0]].concat());
        let scan = scan(&outer, Some(&asked()));
        assert_eq!((scan.answer, scan.others), (None, vec![UnitId(9)]));
    }

    #[test]
    fn an_echo_that_looks_like_an_answer_is_none() {
        let request = sealed(&[7, 1, 3, 0, 0, 20]);
        let span = Span {
            area: Area::Coil,
            at: Address(0x300),
            count: 20,
        };
        let asked = Asked {
            unit: UnitId(7),
            span,
            request: request.clone(),
        };
        assert_eq!(scan(&request, Some(&asked)).answer, None);
        let both = [request, sealed(&[7, 1, 3, 1, 0, 0])].concat();
        assert!(scan(&both, Some(&asked)).answer.is_some());
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_no_answer_is_made_up(bytes in proptest::collection::vec(0_u8..9, 0..300)) {
            let asked = asked();
            if let Some((Found::Frame(frame), end)) = scan(&bytes, Some(&asked)).answer {
                proptest::prop_assert_eq!(frame.len(), asked.answer_bytes());
                proptest::prop_assert!(bytes[..end].ends_with(&frame));
            }
        }
    }
}
