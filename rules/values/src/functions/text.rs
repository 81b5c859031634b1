//! Text from text.

use super::arguments::text;
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
        group: Group::Text,
        kind: Kind::Scalar,
        nulls: Nulls::Null,
        purity: Purity::Pure,
        run: Run::Call(run),
    }
}

const ONE: Arity = Arity::exactly(1);

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        100,
        "lower",
        ONE,
        "text",
        "the text in small letters",
        |_, args| Ok(Value::text(text(args, 0).to_lowercase())),
    ),
    function(
        101,
        "upper",
        ONE,
        "text",
        "the text in capital letters",
        |_, args| Ok(Value::text(text(args, 0).to_uppercase())),
    ),
];
