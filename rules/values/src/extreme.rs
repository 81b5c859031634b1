//! The smallest or largest of numbers in two floats, so that slots can hold it: the number, and a
//! mark of its type and the digits that a float does not hold.

use std::cmp::Ordering;

use crate::Value;

/// The mark while no value was seen.
pub const NO_VALUE: f64 = 0.0;
/// The mark of a float.
pub const FLOAT_MARK: f64 = 0.5;
/// The mark of a whole number that a float holds; what a float does not hold of others is added to it.
pub const WHOLE_MARK: f64 = 4_096.0;

/// An extreme in the making.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Extreme {
    /// The number, as near as a float comes to it.
    pub value: f64,
    /// [`NO_VALUE`], [`FLOAT_MARK`], or [`WHOLE_MARK`] and the digits that `value` lacks.
    pub mark: f64,
}

impl Extreme {
    /// A number by itself; `None` for what is no number.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) | Value::Datetime(number) => Some(Self::whole((*number).into())),
            Value::Wide(number) => Some(Self::whole((*number).into())),
            Value::Float(number) => Some(Self {
                value: *number,
                mark: FLOAT_MARK,
            }),
            _ => None,
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "the mark has the digits that are lost, of which there are few"
    )]
    fn whole(number: i128) -> Self {
        let value = number as f64;
        let lost = number - value as i128;
        Self {
            value,
            mark: WHOLE_MARK + lost as f64,
        }
    }

    /// The digits that the float lacks.
    fn lost(self) -> f64 {
        if self.mark > 1.0 {
            self.mark - WHOLE_MARK
        } else {
            0.0
        }
    }

    /// Takes another number if it comes before or behind this one; of equal ones the first stays.
    pub fn take(&mut self, other: Self, wanted: Ordering) {
        let order = other.value.partial_cmp(&self.value);
        let order = order.map(|order| order.then(other.lost().total_cmp(&self.lost())));
        if self.mark <= NO_VALUE || order == Some(wanted) {
            *self = other;
        }
    }

    /// The number as a value of its type.
    #[must_use]
    pub fn value(self) -> Value {
        if self.mark <= NO_VALUE {
            return Value::Null;
        }
        if self.mark < 1.0 {
            return Value::float(self.value);
        }
        let number = self.value as i128 + self.lost() as i128;
        match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => Value::Int(number),
            (_, Ok(number)) => Value::whole(number),
            _ => Value::float(self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order;

    #[test]
    fn extremes_are_those_of_the_values_to_the_last_digit() {
        let mut values = vec![
            Value::Int(3),
            Value::Float(3.0),
            Value::Float(-0.0),
            Value::Int(0),
            Value::Float(1e300),
            Value::Float(-1e300),
            Value::Float(9_007_199_254_740_992.0),
            Value::Float(9_223_372_036_854_775_808.0),
            Value::whole(u64::MAX),
            Value::whole(u64::MAX - 1),
        ];
        for near in [0, 1 << 53, 1 << 62, i64::MAX - 600] {
            let around = [-513, -2, -1, 0, 1, 2, 3, 511, 512, 513, 600];
            values.extend(around.map(|by| Value::Int(near + by)));
            values.extend(around.map(|by| Value::Int(-(near + by))));
        }
        for value in &values {
            assert_eq!(Extreme::of(value).unwrap().value(), *value);
        }
        for wanted in [Ordering::Less, Ordering::Greater] {
            for first in &values {
                for second in &values {
                    let mut extreme = Extreme::default();
                    extreme.take(Extreme::of(first).unwrap(), wanted);
                    extreme.take(Extreme::of(second).unwrap(), wanted);
                    let expected = if order(second, first).unwrap() == wanted {
                        second
                    } else {
                        first
                    };
                    assert_eq!(extreme.value(), *expected, "{first:?} {second:?}");
                }
            }
        }
        assert_eq!(Extreme::default().value(), Value::Null);
    }
}
