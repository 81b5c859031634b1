//! Numbers from numbers. What is not exact comes from `libm`, so that it has the same bits everywhere.

use super::arguments::{number, text, whole};
use super::table::scalar;
use crate::ops::rest_steps;
use crate::{FnError, Function, Nulls, Price, Purity, Value};

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(
        1,
        "abs",
        "x",
        "`x` without its sign; a whole number stays one",
        |_, args| match args {
            [Value::Int(number)] => Ok(Value::Int(number.wrapping_abs())),
            _ => real(args, f64::abs),
        },
    )
    .price(Price::flat(40)),
    scalar(
        2,
        "acos",
        "x",
        "the arc cosine; `NULL` outside -1 to 1",
        |_, args| real(args, libm::acos),
    )
    .price(Price::flat(200)),
    scalar(
        3,
        "asin",
        "x",
        "the arc sine; `NULL` outside -1 to 1",
        |_, args| real(args, libm::asin),
    )
    .price(Price::flat(200)),
    scalar(4, "atan", "x", "the arc tangent", |_, args| {
        real(args, libm::atan)
    })
    .price(Price::flat(200)),
    scalar(
        5,
        "atan2",
        "y, x",
        "the angle of the point (x, y)",
        |_, args| real2(args, libm::atan2),
    )
    .price(Price::flat(200)),
    scalar(6, "bitand", "a, b", "the bits that both have", |_, args| {
        bits(args, |a, b| a & b)
    })
    .price(Price::flat(40)),
    scalar(7, "bitor", "a, b", "the bits that either has", |_, args| {
        bits(args, |a, b| a | b)
    })
    .price(Price::flat(40)),
    scalar(
        8,
        "bitxor",
        "a, b",
        "the bits that one of them has",
        |_, args| bits(args, |a, b| a ^ b),
    )
    .price(Price::flat(40)),
    scalar(9, "bitnot", "a", "the bits that `a` has not", |_, args| {
        Ok(Value::Int(!whole(args, 0)?))
    })
    .price(Price::flat(40)),
    scalar(
        10,
        "ceiling",
        "x",
        "the next number without fraction from `x` on",
        ceiling,
    )
    .price(Price::flat(40)),
    scalar(11, "ceil", "x", "the same as `ceiling`", ceiling).price(Price::flat(40)),
    scalar(12, "cos", "x", "the cosine", |_, args| {
        real(args, libm::cos)
    })
    .price(Price::flat(200)),
    scalar(13, "cosh", "x", "the hyperbolic cosine", |_, args| {
        real(args, libm::cosh)
    })
    .price(Price::flat(200)),
    scalar(14, "exp", "x", "e to the power of `x`", |_, args| {
        real(args, libm::exp)
    })
    .price(Price::flat(200)),
    scalar(
        15,
        "floor",
        "x",
        "the last number without fraction up to `x`",
        |_, args| real(args, f64::floor),
    )
    .price(Price::flat(40)),
    scalar(
        16,
        "ln",
        "x",
        "the natural logarithm; an error unless `x` is above 0",
        |_, args| Ok(Value::float(libm::log(positive(args, 0)?))),
    )
    .price(Price::flat(200)),
    scalar(
        17,
        "log",
        "x[, y]",
        "the logarithm of `x` to base 10, or of `y` to base `x`",
        log,
    )
    .price(Price::flat(200)),
    scalar(
        18,
        "mod",
        "a, b",
        "the rest of `a / b` as a float, with the sign of `a`; `NULL` if `b` is 0",
        |context, args| {
            let steps = rest_steps(number(args, 0)?, number(args, 1)?);
            context.budget.spend(steps * 2)?;
            real2(args, |a, b| a % b)
        },
    )
    .price(Price::flat(200)),
    scalar(19, "pi", "", "3.141592653589793", |_, _| {
        Ok(Value::Float(std::f64::consts::PI))
    })
    .price(Price::flat(40)),
    scalar(20, "power", "x, y", "`x` to the power of `y`", |_, args| {
        real2(args, libm::pow)
    })
    .price(Price::flat(200)),
    scalar(21, "pow", "x, y", "the same as `power`", |_, args| {
        real2(args, libm::pow)
    })
    .price(Price::flat(200)),
    scalar(
        22,
        "rand",
        "",
        "a random number from 0 on and below 1; a replay draws the same",
        |context, _| {
            // The upper 53 bits: as many as a float holds.
            Ok(Value::Float(
                ((context.random)() >> 11) as f64 / (1_u64 << 53) as f64,
            ))
        },
    )
    .price(Price::flat(200))
    .purity(Purity::Random),
    scalar(
        23,
        "round",
        "x[, digits]",
        "the nearest number of so many decimals, a half away from 0",
        round,
    )
    .price(Price::flat(1_200)),
    scalar(24, "sign", "x", "1, 0 or -1, a whole number", |_, args| {
        let x = number(args, 0)?;
        Ok(Value::Int(i64::from(x > 0.0) - i64::from(x < 0.0)))
    })
    .price(Price::flat(40)),
    scalar(25, "sin", "x", "the sine", |_, args| real(args, libm::sin)).price(Price::flat(200)),
    scalar(26, "sinh", "x", "the hyperbolic sine", |_, args| {
        real(args, libm::sinh)
    })
    .price(Price::flat(200)),
    scalar(
        27,
        "sqrt",
        "x",
        "the square root; an error below 0",
        |_, args| {
            if number(args, 0)? < 0.0 {
                return Err(FnError::argument(args, 0, "a number from 0 on"));
            }
            real(args, f64::sqrt)
        },
    )
    .price(Price::flat(40)),
    scalar(28, "tan", "x", "the tangent", |_, args| {
        real(args, libm::tan)
    })
    .price(Price::flat(200)),
    scalar(29, "tanh", "x", "the hyperbolic tangent", |_, args| {
        real(args, libm::tanh)
    })
    .price(Price::flat(200)),
    scalar(30, "cot", "x", "the cotangent; an error at 0", |_, args| {
        if number(args, 0)? == 0.0 {
            return Err(FnError::argument(args, 0, "a number other than 0"));
        }
        real(args, |x| 1.0 / libm::tan(x))
    })
    .price(Price::flat(200)),
    scalar(31, "radians", "x", "degrees as radians", |_, args| {
        real(args, f64::to_radians)
    })
    .price(Price::flat(40)),
    scalar(32, "degrees", "x", "radians as degrees", |_, args| {
        real(args, f64::to_degrees)
    })
    .price(Price::flat(40)),
    scalar(
        33,
        "conv",
        "text, from_base, to_base",
        "a whole number written to another base, 2 to 36; `NULL` for other bases",
        conv,
    ),
    scalar(
        34,
        "trunc",
        "x, digits",
        "`x` cut to so many decimals, 0 to 34",
        trunc,
    )
    .price(Price::flat(1_200)),
    scalar(
        35,
        "greatest",
        "x, …",
        "the largest of its arguments",
        |_, args| super::aggregates::max(args),
    )
    .price(Price::flat(40).element(16).weight(2))
    .nulls(Nulls::Null),
    scalar(
        36,
        "least",
        "x, …",
        "the smallest of its arguments",
        |_, args| super::aggregates::min(args),
    )
    .price(Price::flat(40).element(16).weight(2))
    .nulls(Nulls::Null),
];

fn real(args: &[Value], of: fn(f64) -> f64) -> Answer {
    Ok(Value::float(of(number(args, 0)?)))
}

fn real2(args: &[Value], of: fn(f64, f64) -> f64) -> Answer {
    Ok(Value::float(of(number(args, 0)?, number(args, 1)?)))
}

fn bits(args: &[Value], of: fn(i64, i64) -> i64) -> Answer {
    Ok(Value::Int(of(whole(args, 0)?, whole(args, 1)?)))
}

fn positive(args: &[Value], place: usize) -> Result<f64, FnError> {
    let x = number(args, place)?;
    if x > 0.0 {
        Ok(x)
    } else {
        Err(FnError::argument(args, place, "a number above 0"))
    }
}

fn ceiling(_: &mut crate::Context<'_>, args: &[Value]) -> Answer {
    real(args, f64::ceil)
}

fn log(_: &mut crate::Context<'_>, args: &[Value]) -> Answer {
    let x = positive(args, 0)?;
    Ok(match args.len() {
        1 => Value::float(libm::log10(x)),
        _ => Value::float(libm::log(positive(args, 1)?) / libm::log(x)),
    })
}

/// More decimals than a float can represent, in either direction.
const DIGITS: i64 = 400;

fn round(_: &mut crate::Context<'_>, args: &[Value]) -> Answer {
    let x = number(args, 0)?;
    let digits = match args.len() {
        1 => 0,
        _ => whole(args, 1)?.clamp(-DIGITS, DIGITS),
    };
    Ok(Value::float(match digits {
        ..0 => round_to(x, digits),
        _ => decimals(x, digits, true),
    }))
}

fn trunc(_: &mut crate::Context<'_>, args: &[Value]) -> Answer {
    let digits = whole(args, 1)?.clamp(0, 34);
    Ok(Value::float(decimals(number(args, 0)?, digits, false)))
}

/// A number with `kept` of the decimals that it is written with: 8.29 has two, though the float is
/// a little less. Further decimals are dropped, or `rounds` the last one up from a half on.
fn decimals(x: f64, kept: i64, rounds: bool) -> f64 {
    let text = format!("{}", x.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    let Some(next) = fraction.as_bytes().get(kept) else {
        return x;
    };
    let digits = whole.bytes().chain(fraction.bytes().take(kept));
    let mut digits: Vec<u8> = digits.collect();
    if rounds && *next >= b'5' {
        let last = digits.iter().rposition(|digit| *digit != b'9');
        let nines = last.map_or(0, |last| last + 1);
        for digit in digits.iter_mut().skip(nines) {
            *digit = b'0';
        }
        match last.and_then(|last| digits.get_mut(last)) {
            Some(digit) => *digit += 1,
            None => digits.insert(0, b'1'),
        }
    }
    digits.insert(digits.len() - kept, b'.');
    let number = std::str::from_utf8(&digits)
        .ok()
        .and_then(|text| text.parse().ok());
    f64::copysign(number.unwrap_or(x), x)
}

/// Rounds to a digit before the point.
fn round_to(x: f64, digits: i64) -> f64 {
    let factor = libm::pow(10.0, digits.unsigned_abs() as f64);
    let rounded = f64::round(x / factor);
    // An infinite factor rounds every number to 0.
    if rounded == 0.0 {
        rounded
    } else {
        rounded * factor
    }
}

/// `CONV` of MySQL: reads the leading digits and ignores the rest; a negative base means that the
/// number has a sign there, otherwise it is an unsigned number of 64 bits.
fn conv(_: &mut crate::Context<'_>, args: &[Value]) -> Answer {
    let (from, to) = (whole(args, 1)?, whole(args, 2)?);
    let base = |base: i64| {
        u32::try_from(base.unsigned_abs())
            .ok()
            .filter(|base| (2..=36).contains(base))
    };
    let (Some(from_base), Some(to_base)) = (base(from), base(to)) else {
        return Ok(Value::Null);
    };
    let text = text(args, 0);
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut number = 0_u64;
    for digit in digits.chars().map_while(|digit| digit.to_digit(from_base)) {
        number = number
            .checked_mul(from_base.into())
            .and_then(|number| number.checked_add(digit.into()))
            .ok_or_else(|| FnError::argument(args, 0, "a number of 64 bits"))?;
    }
    if from < 0 {
        let limit = i64::MAX as u64 + u64::from(negative);
        number = number.min(limit);
    }
    if negative {
        number = number.wrapping_neg();
    }
    let signed = to < 0 && (number as i64) < 0;
    let shown = if signed {
        number.wrapping_neg()
    } else {
        number
    };
    let sign = if signed { "-" } else { "" };
    Ok(Value::text(format!("{sign}{}", in_base(shown, to_base))))
}

fn in_base(mut number: u64, base: u32) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = (number % u64::from(base)) as u32;
        digits.extend(char::from_digit(digit, base).map(|digit| digit.to_ascii_uppercase()));
        number /= u64::from(base);
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}
