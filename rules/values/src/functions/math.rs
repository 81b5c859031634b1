//! Numbers from numbers. What is not exact comes from `libm`, so that it has the same bits everywhere.

use super::arguments::{number, whole};
use crate::function::Run;
use crate::{Arity, Context, FnError, Function, Group, Kind, Nulls, Purity, Value};

const fn function(
    number: u16,
    name: &'static str,
    arity: Arity,
    arguments: &'static str,
    gives: &'static str,
    run: fn(&mut Context<'_>, &[Value]) -> Result<Value, FnError>,
) -> Function {
    Function {
        number,
        name,
        arity,
        arguments,
        gives,
        group: Group::Math,
        kind: Kind::Scalar,
        nulls: Nulls::Null,
        purity: Purity::Pure,
        run: Run::Call(run),
    }
}

const ONE: Arity = Arity::exactly(1);

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        1,
        "abs",
        ONE,
        "x",
        "`x` without its sign; whole numbers stay whole",
        |_, args| match args {
            [Value::Int(number)] => Ok(Value::Int(number.wrapping_abs())),
            _ => Ok(Value::float(number(args, 0)?.abs())),
        },
    ),
    function(
        2,
        "bitand",
        Arity::exactly(2),
        "a, b",
        "the bits that both have",
        |_, args| Ok(Value::Int(whole(args, 0)? & whole(args, 1)?)),
    ),
    function(3, "sqrt", ONE, "x", "the square root", |_, args| {
        Ok(Value::float(number(args, 0)?.sqrt()))
    }),
];
