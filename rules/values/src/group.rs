//! Arithmetic shared by all ways of aggregating a window, so that all give the same result: sums to
//! the last digit, and the values that an aggregate accepts.

use crate::Value;

/// Amount of one step of [`Total::high`]: a float holds every whole number up to four of it.
const UNIT: f64 = 2_251_799_813_685_248.0;

/// A sum that loses no digit of whole numbers, in two floats, so that slots can hold it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Total {
    /// Steps of 2^51.
    pub high: f64,
    /// The rest, of whole numbers at most one step.
    pub rest: f64,
}

impl Total {
    /// Adds a whole number, as long as no float was added.
    #[allow(clippy::cast_precision_loss, reason = "taken only where it is exact")]
    pub fn add_whole(&mut self, number: i64) {
        let rest = self.rest + number as f64;
        if rest.abs() <= UNIT {
            self.rest = rest;
            return;
        }
        let exact = self.rest as i128 + i128::from(number);
        let unit = UNIT as i128;
        self.high += (exact / unit) as f64;
        self.rest = (exact % unit) as f64;
    }

    /// Adds a float, or a number among floats.
    pub fn add_float(&mut self, number: f64) {
        self.rest += number;
    }

    /// The sum of whole numbers. Wraps around, as `+` does.
    #[must_use]
    pub fn whole(&self) -> i64 {
        let high = (self.high as i64).wrapping_mul(UNIT as i64);
        high.wrapping_add(self.rest as i64)
    }

    /// The sum as a float.
    #[must_use]
    pub fn float(&self) -> f64 {
        self.high * UNIT + self.rest
    }
}

/// Checks that an aggregate accepts a value of its first argument.
///
/// # Errors
/// Says what the value is, and what it would have to be.
pub fn fits(function: &str, value: &Value) -> Result<(), String> {
    const OF_NUMBERS: [&str; 9] = [
        "sum",
        "avg",
        "stddev",
        "stddevs",
        "var",
        "vars",
        "percentile_cont",
        "percentile_disc",
        "median",
    ];
    let is_number = value.as_number().is_some();
    let wanted = match function {
        _ if value.is_null() => return Ok(()),
        "min" | "max" if is_number => return Ok(()),
        "min" | "max" => match value {
            Value::Text(_) | Value::Datetime(_) => return Ok(()),
            _ => "neither number nor text",
        },
        _ if OF_NUMBERS.contains(&function) && !is_number => "no number",
        _ => return Ok(()),
    };
    Err(format!("{function}: {} is {wanted}", value.shown()))
}

/// Checks that arithmetic accepts a value that an aggregate returns unchanged.
///
/// # Errors
/// Says what the value is, and what it would have to be.
pub fn fits_arithmetic(function: &str, value: &Value) -> Result<(), String> {
    if value.is_null() || value.as_number().is_some() {
        Ok(())
    } else {
        Err(format!("{function}: {} is no number", value.shown()))
    }
}

/// `true` if [`fits`] may refuse a value for that aggregate.
#[must_use]
pub fn judges(function: &str) -> bool {
    fits(function, &Value::Bool(true)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_keeps_every_digit_of_whole_numbers() {
        let mut numbers = vec![
            i64::MAX,
            -1,
            i64::MIN,
            9_007_199_254_740_993,
            1,
            -7,
            1 << 51,
        ];
        numbers.extend((0..200).map(|n| (n * 0x9e37_79b9_7f4a_7c15_i128) as i64));
        let mut total = Total::default();
        let mut expected = 0_i64;
        for number in numbers {
            total.add_whole(number);
            expected = expected.wrapping_add(number);
            assert_eq!(total.whole(), expected, "after {number}");
            assert!(total.rest.abs() <= UNIT);
        }
    }

    #[test]
    fn aggregates_say_what_they_cannot_use() {
        assert_eq!(
            fits("avg", &Value::text("err")),
            Err("avg: string \"err\" is no number".to_owned())
        );
        assert!(fits("avg", &Value::Null).is_ok() && fits("max", &Value::text("a")).is_ok());
        assert!(fits("max", &Value::Bool(true)).is_err() && !judges("collect"));
    }
}
