//! What fits nowhere else: nothing, identity, and what is known of event and rule.

use super::arguments::only_text;
use super::table::scalar;
use crate::{Context, FnError, Function, Purity, Value};

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(
        801,
        "isnull",
        "value",
        "whether it is `NULL` or missing",
        |_, args| Ok(Value::Bool(args.first().is_none_or(Value::is_null))),
    )
    .seen("true"),
    scalar(
        802,
        "coalesce",
        "value, …",
        "the first of its arguments that is not `NULL`",
        |_, args| {
            Ok(args
                .iter()
                .find(|arg| !arg.is_null())
                .cloned()
                .unwrap_or_default())
        },
    )
    .seen("passed over"),
    scalar(
        803,
        "nullif",
        "value, other",
        "`NULL` if both are the same, else `value`",
        |_, args| {
            let value = args.first().cloned().unwrap_or_default();
            let same = args.get(1).is_some_and(|other| other.same(&value));
            Ok(if same { Value::Null } else { value })
        },
    )
    .seen("a value like others"),
    scalar(804, "bypass", "value", "its argument", |_, args| {
        Ok(args.first().cloned().unwrap_or_default())
    }),
    scalar(
        805,
        "newuuid",
        "",
        "a new random UUID; a replay gives the same",
        newuuid,
    )
    .purity(Purity::Random),
    scalar(
        806,
        "meta",
        "name",
        "what is known of the message under that name: `topic`, and what the trigger adds; `meta(*)` gives all that it adds",
        |context, args| Ok(meta(context, only_text(args, 0)?)),
    )
    .purity(Purity::Event),
    scalar(
        807,
        "mqtt",
        "name",
        "`topic` or `messageid` of the message",
        |context, args| {
            let name = only_text(args, 0)?;
            let known = ["topic", "messageid"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name));
            if !known {
                return Err(FnError::argument(args, 0, "topic or messageid"));
            }
            Ok(meta(context, name))
        },
    )
    .purity(Purity::Event),
    scalar(808, "rule_id", "", "the rule's name", |context, _| {
        Ok(Value::text(context.rule))
    })
    .purity(Purity::Event),
    scalar(
        809,
        "rule_start",
        "",
        "when the rule was started, in milliseconds since 1970",
        |context, _| Ok(Value::Int(context.rule_start_ms)),
    )
    .purity(Purity::Event),
];

/// What the message brought wins over what the agent knows.
fn meta(context: &Context<'_>, name: &str) -> Value {
    match context.meta.get_column(name) {
        Some(value) => value.clone(),
        None if name.eq_ignore_ascii_case("topic") => Value::text(context.topic),
        None => Value::Null,
    }
}

/// Version 4: 122 random bits.
fn newuuid(context: &mut Context<'_>, _: &[Value]) -> Answer {
    let (high, low) = ((context.random)(), (context.random)());
    let bits = (u128::from(high) << 64) | u128::from(low);
    let version = bits & !(0xf << 76) | (4 << 76);
    let variant = version & !(3 << 62) | (2 << 62);
    let digits = format!("{variant:032x}");
    let part = |from, to| digits.get(from..to).unwrap_or_default();
    Ok(Value::text(
        [
            part(0, 8),
            part(8, 12),
            part(12, 16),
            part(16, 20),
            part(20, 32),
        ]
        .join("-"),
    ))
}
