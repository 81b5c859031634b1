//! Requests of a poll: what lies side by side is asked at once, and nothing that nobody wants is.

use super::{Address, Area, Field};

/// Registers or bits that one request reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The table.
    pub area: Area,
    /// The first one.
    pub at: Address,
    /// The number of them.
    pub count: u16,
}

impl Span {
    /// Items between the span's first one and the field's, if all of the field lies in it.
    pub fn skip(&self, field: &Field) -> Option<usize> {
        let skip = usize::from(field.at.0.checked_sub(self.at.0)?);
        let end = skip + usize::from(field.count());
        (field.area == self.area && end <= usize::from(self.count)).then_some(skip)
    }

    fn end(&self) -> u32 {
        u32::from(self.at.0) + u32::from(self.count)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.area, self.at.0)?;
        match self.count {
            1 => Ok(()),
            _ => write!(f, " to {}", self.end() - 1),
        }
    }
}

/// Returns requests that read all fields, each of them whole in one: a value in two halves would be of two moments.
/// Fields that touch or overlap are read together, as far as a request goes.
pub fn plan(fields: &[Field]) -> Vec<Span> {
    let mut wanted: Vec<Span> = fields
        .iter()
        .map(|field| Span {
            area: field.area,
            at: field.at,
            count: field.count(),
        })
        .collect();
    wanted.sort_unstable_by_key(|span| (span.area, span.at, span.count));
    let mut spans: Vec<Span> = Vec::new();
    for span in wanted {
        if let Some(last) = spans.last_mut() {
            let count = span.end().max(last.end()) - u32::from(last.at.0);
            let touches = last.area == span.area && u32::from(span.at.0) <= last.end();
            if touches && count <= u32::from(span.area.count_max()) {
                last.count = u16::try_from(count).unwrap_or(u16::MAX);
                continue;
            }
        }
        spans.push(span);
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::super::{Form, Kind, Order};
    use super::*;

    fn field(area: Area, at: u16, registers: u8) -> Field {
        let form = if area.is_bits() {
            Form::Bit(0)
        } else {
            Form::Text {
                bytes: registers * 2,
                order: Order::highest_first(2),
            }
        };
        Field {
            name: format!("{area}{at}"),
            area,
            at: Address(at),
            form,
        }
    }

    fn planned(fields: &[Field]) -> Vec<(Area, u16, u16)> {
        let spans = plan(fields);
        for field in fields {
            assert!(spans.iter().any(|span| span.skip(field).is_some()));
        }
        spans
            .iter()
            .map(|span| (span.area, span.at.0, span.count))
            .collect()
    }

    #[test]
    fn what_lies_side_by_side_is_read_at_once_and_no_gap_is_read() {
        let h = |at, registers| field(Area::Holding, at, registers);
        assert_eq!(
            planned(&[h(4, 2), h(0, 2), h(2, 1), h(3, 1), h(9, 1)]),
            [(Area::Holding, 0, 6), (Area::Holding, 9, 1)]
        );
        assert_eq!(
            planned(&[h(0, 4), h(1, 1), h(3, 2)]),
            [(Area::Holding, 0, 5)]
        );
        assert_eq!(
            planned(&[h(1, 1), field(Area::Input, 2, 1), field(Area::Coil, 3, 1)]),
            [
                (Area::Coil, 3, 1),
                (Area::Holding, 1, 1),
                (Area::Input, 2, 1)
            ]
        );
        assert_eq!(planned(&[]), []);
    }

    #[test]
    fn no_request_is_longer_than_the_standard_allows_and_no_value_is_cut() {
        let registers: Vec<Field> = (0..64).map(|n| field(Area::Input, n * 2, 2)).collect();
        assert_eq!(
            planned(&registers),
            [(Area::Input, 0, 124), (Area::Input, 124, 4)]
        );
        let bits: Vec<Field> = (0..2_001).map(|n| field(Area::Discrete, n, 1)).collect();
        assert_eq!(
            planned(&bits),
            [(Area::Discrete, 0, 2_000), (Area::Discrete, 2_000, 1)]
        );
        let last = field(Area::Holding, 65_534, 2);
        assert_eq!(planned(&[last]), [(Area::Holding, 65_534, 2)]);
    }

    #[test]
    fn a_number_counts_its_registers() {
        let form = Form::Number {
            kind: Kind::F64,
            order: Order::highest_first(8),
            scale: None,
        };
        let field = Field {
            form,
            ..field(Area::Holding, 7, 1)
        };
        assert_eq!(planned(&[field]), [(Area::Holding, 7, 4)]);
    }
}
