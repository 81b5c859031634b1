//! Constructors for the tables of functions. Chapter and arity follow from the content of a row, so
//! that a row cannot contradict itself.

use crate::function::{Run, Scalar, Step};
use crate::{Arity, Function, Group, Kind, Nulls, Price, Purity};

/// Price of a function that says nothing else: one walk through its arguments.
const WALK: Price = Price::flat(60).weight(16).deep(40);

/// A function of one row: pure, and nothing if an argument is nothing.
pub(super) const fn scalar(
    number: u16,
    name: &'static str,
    arguments: &'static str,
    gives: &'static str,
    run: Scalar,
) -> Function {
    Function {
        number,
        name,
        arity: arity(arguments),
        arguments,
        gives,
        group: group(number),
        kind: Kind::Scalar,
        nulls: Nulls::Null,
        purity: Purity::Pure,
        price: WALK,
        run: Run::Call(run),
    }
}

/// A function of many rows; it skips those whose argument is null.
pub(super) const fn aggregate(
    number: u16,
    name: &'static str,
    arguments: &'static str,
    gives: &'static str,
    run: Scalar,
) -> Function {
    let mut function = scalar(number, name, arguments, gives, run);
    function.kind = Kind::Aggregate;
    function.nulls = Nulls::Seen("rows without a value do not count; `NULL` without any row");
    function
}

/// A function that remembers.
pub(super) const fn analytic(
    number: u16,
    name: &'static str,
    arguments: &'static str,
    gives: &'static str,
    nulls: &'static str,
    run: Step,
) -> Function {
    Function {
        number,
        name,
        arity: arity(arguments),
        arguments,
        gives,
        group: group(number),
        kind: Kind::Analytic,
        nulls: Nulls::Seen(nulls),
        purity: Purity::Event,
        price: WALK,
        run: Run::Step(run),
    }
}

/// A function that only the compiler knows how to do.
pub(super) const fn compiled(
    number: u16,
    name: &'static str,
    arguments: &'static str,
    gives: &'static str,
    kind: Kind,
) -> Function {
    Function {
        number,
        name,
        arity: arity(arguments),
        arguments,
        gives,
        group: group(number),
        kind,
        nulls: Nulls::Null,
        purity: Purity::Event,
        price: Price::flat(0),
        run: Run::Compiled,
    }
}

impl Function {
    /// The same with another treatment of nothing.
    pub(super) const fn nulls(mut self, nulls: Nulls) -> Self {
        self.nulls = nulls;
        self
    }

    /// The same, seeing nothing as an argument like others.
    pub(super) const fn seen(self, what: &'static str) -> Self {
        self.nulls(Nulls::Seen(what))
    }

    /// The same for another price.
    pub(super) const fn price(mut self, price: Price) -> Self {
        self.price = price;
        self
    }

    /// The same, depending on more than its arguments.
    pub(super) const fn purity(mut self, purity: Purity) -> Self {
        self.purity = purity;
        self
    }
}

const fn group(number: u16) -> Group {
    match number / 100 {
        0 => Group::Math,
        1 => Group::Text,
        2 => Group::Time,
        3 => Group::Conversion,
        4 => Group::Hashing,
        5 => Group::Json,
        6 => Group::Array,
        7 => Group::Object,
        8 => Group::Other,
        9 => Group::Aggregate,
        10 => Group::Analytic,
        12 => Group::Bytes,
        _ => Group::Window,
    }
}

/// Reads `text, start[, end]` or `first, …`: arguments in brackets are optional, and the one before
/// an ellipsis may be repeated.
const fn arity(arguments: &str) -> Arity {
    /// The first byte of `…` in UTF-8.
    const ELLIPSIS: u8 = 0xe2;
    let mut rest = arguments.as_bytes();
    let (mut min, mut max) = (0, 0);
    let (mut optional, mut inside) = (false, false);
    while let [byte, others @ ..] = rest {
        rest = others;
        match *byte {
            ELLIPSIS => return Arity { min, max: None },
            b'[' => optional = true,
            b',' => inside = false,
            b'a'..=b'z' | b'*' if !inside => {
                inside = true;
                max += 1;
                if !optional {
                    min += 1;
                }
            }
            _ => {}
        }
    }
    Arity::between(min, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arity_follows_from_the_arguments() {
        let check = |arguments, expected| assert_eq!(arity(arguments), expected, "{arguments}");
        check("", Arity::exactly(0));
        check("x", Arity::exactly(1));
        check("from_base, y", Arity::exactly(2));
        check("[digits]", Arity::between(0, 1));
        check("text, start[, end]", Arity::between(2, 3));
        check(
            "value[, count[, default[, ignore_null]]]",
            Arity::between(1, 4),
        );
        check("value, …", Arity::at_least(1));
        check("…", Arity::at_least(0));
    }
}
