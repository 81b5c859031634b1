//! Small closed sets that cross the ABI as an i32: result codes of imports, results of handlers, levels of a log line.

/// Why an import did not do what it was asked. 0 and above is success or a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// There is no such entry, input or property.
    NotFound = -1,
    /// An index, selector, number or length makes no sense.
    BadArgument = -2,
    /// A key, value or emission is longer than may be.
    TooBig = -3,
    /// The rule does not grant it, for instance a port that it leaves unbound.
    Denied = -4,
    /// The budget of this event, key or rule is used up.
    Quota = -5,
    /// Too often in too short a time.
    Rate = -6,
    /// Not from this handler.
    WrongContext = -7,
}

impl Code {
    /// Every code, from -1 down.
    pub const ALL: [Code; 7] = [
        Code::NotFound,
        Code::BadArgument,
        Code::TooBig,
        Code::Denied,
        Code::Quota,
        Code::Rate,
        Code::WrongContext,
    ];

    /// The code as it crosses the ABI.
    #[must_use]
    pub const fn value(self) -> i32 {
        self as i32
    }

    /// The code of an import's result below 0; `None` for success and for numbers that no host of
    /// this version answers.
    #[must_use]
    pub fn from_value(value: i32) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.value() == value)
    }
}

/// Results of a handler that returns an i32. Below 0 is an error of the rule, any other number a
/// fault. Above [`Outcome::Pass`] the input leaves through a later port: 2 is port 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Outcome {
    /// The event goes no further; what the call asked for is done all the same.
    Handled = 0,
    /// The input leaves unchanged through port 0.
    Pass = 1,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Level {
    /// Somebody should look.
    Error = 0,
    /// Somebody may want to look.
    Warn = 1,
    /// Worth knowing.
    Info = 2,
    /// For the function's author.
    Debug = 3,
}

impl Level {
    /// The level of an argument of `log`; what is below `Error` is an error, what is above `Debug` is debug.
    #[must_use]
    pub const fn from_value(value: i32) -> Level {
        match value {
            ..=0 => Level::Error,
            1 => Level::Warn,
            2 => Level::Info,
            3.. => Level::Debug,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_run_from_minus_one_to_minus_seven() {
        for (value, code) in (1..).zip(Code::ALL) {
            assert_eq!(code.value(), -value);
            assert_eq!(Code::from_value(-value), Some(code));
        }
        for value in [0, 1, -8, i32::MIN] {
            assert_eq!(Code::from_value(value), None);
        }
    }

    #[test]
    fn any_level_is_a_level() {
        for (value, level) in [
            (i32::MIN, Level::Error),
            (0, Level::Error),
            (1, Level::Warn),
            (2, Level::Info),
            (3, Level::Debug),
            (i32::MAX, Level::Debug),
        ] {
            assert_eq!(Level::from_value(value), level);
        }
    }
}
