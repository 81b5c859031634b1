//! Results of handlers, and their form in the ABI. The results allowed for a handler are checked where its export is generated.

use crate::port::Port;
use tidemill_abi::{Code, Outcome};

/// The result of a handler.
pub trait Answer {
    /// The Wasm type of it: i32, i64 or f64.
    type Raw;
    /// The answer as it crosses the ABI.
    fn raw(self) -> Self::Raw;
}

/// The result of a handler that has no input to pass on: of timers, of panes, and of events that are folded into one.
#[diagnostic::on_unimplemented(
    message = "a handler of timers or of a window has no input to pass on",
    note = "return nothing or `Result<(), Code>`, and send through a port"
)]
pub trait Quiet: Answer<Raw = i32> {}

impl Quiet for () {}

impl Quiet for Result<(), Code> {}

/// Nothing more to do; what was asked for happens.
impl Answer for () {
    type Raw = i32;
    #[inline]
    fn raw(self) -> i32 {
        Outcome::Handled as i32
    }
}

/// `true` passes the input on through the first port.
impl Answer for bool {
    type Raw = i32;
    #[inline]
    fn raw(self) -> i32 {
        i32::from(self)
    }
}

/// The input is passed on through that port.
impl Answer for Option<Port> {
    type Raw = i32;
    #[inline]
    fn raw(self) -> i32 {
        self.map_or(Outcome::Handled as i32, |port| {
            Outcome::Pass as i32 + port.number()
        })
    }
}

/// `Err` is an error of the rule: what was asked for is discarded, the event becomes a dead letter.
impl<T: Answer<Raw = i32>> Answer for Result<T, Code> {
    type Raw = i32;
    #[inline]
    fn raw(self) -> i32 {
        match self {
            Ok(answer) => answer.raw(),
            Err(code) => code.value(),
        }
    }
}

/// The number is sent through the first port; NaN sends nothing.
impl Answer for f64 {
    type Raw = f64;
    #[inline]
    fn raw(self) -> f64 {
        self
    }
}

/// The number is sent through the first port; `None` sends nothing.
impl Answer for Option<f64> {
    type Raw = f64;
    #[inline]
    fn raw(self) -> f64 {
        self.unwrap_or(f64::NAN)
    }
}

/// The number is sent through the first port.
impl Answer for i64 {
    type Raw = i64;
    #[inline]
    fn raw(self) -> i64 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_cross_as_the_contract_says() {
        assert_eq!([().raw(), true.raw(), false.raw()], [0, 1, 0]);
        assert_eq!(Ok::<_, Code>(true).raw(), 1);
        assert_eq!(Err::<bool, _>(Code::TooBig).raw(), -3);
        assert!(None::<f64>.raw().is_nan());
        assert_eq!(
            [None, Some(Port::new(0)), Some(Port::new(2))].map(Answer::raw),
            [0, 1, 3]
        );
        assert_eq!(Some(2.5).raw(), 2.5);
        assert_eq!((-7_i64).raw(), -7);
    }
}
