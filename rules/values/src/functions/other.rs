//! Functions that fit nowhere else: null, identity, and metadata of event and rule.

use super::arguments::only_text;
use super::table::scalar;
use crate::{Context, FnError, Function, Map, Price, Purity, Value};

/// Fuel of a user property when `meta` asks for one, or for all.
const PROPERTY_FUEL: u64 = 120;

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(
        801,
        "isnull",
        "value",
        "whether it is `NULL` or missing",
        |_, args| Ok(Value::Bool(args.first().is_none_or(Value::is_null))),
    ).price(Price::flat(20))
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
    ).price(Price::flat(20))
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
    ).price(Price::flat(40).weight(6))
    .seen("a value like others"),
    scalar(804, "bypass", "value", "its argument", |_, args| {
        Ok(args.first().cloned().unwrap_or_default())
    }).price(Price::flat(20)),
    scalar(
        805,
        "newuuid",
        "",
        "a new random UUID; a replay gives the same",
        newuuid,
    ).price(Price::flat(900))
    .purity(Purity::Random),
    scalar(
        806,
        "meta",
        "name",
        "`topic` of the message, or a user property by its name, where that is not `topic`; `meta(user.name)` is a user property of any name, `meta(*)` an object of them",
        |context, args| {
            let name = only_text(args, 0)?;
            let looked_at = context.meta.len() as u64 * PROPERTY_FUEL + name.len() as u64;
            context.budget.spend(looked_at)?;
            Ok(meta(context.topic, context.meta, name))
        },
    ).price(Price::flat(150))
    .purity(Purity::Event),
    scalar(
        807,
        "mqtt",
        "name",
        "`topic` of the message",
        |context, args| {
            let name = only_text(args, 0)?;
            if !name.eq_ignore_ascii_case(TOPIC) {
                return Err(FnError::argument(args, 0, "topic"));
            }
            Ok(Value::text(context.topic))
        },
    ).price(Price::flat(150))
    .purity(Purity::Event),
    scalar(808, "rule_id", "", "the rule's name", |context, _| {
        Ok(Value::text(context.rule))
    }).price(Price::flat(150))
    .purity(Purity::Event),
    scalar(
        809,
        "rule_start",
        "",
        "when the rule was started, in milliseconds since 1970",
        |context, _| Ok(Value::Int(context.rule_start_ms)),
    ).price(Price::flat(30))
    .purity(Purity::Event),
];

/// Metadata of a message by name. Names of the packet come before the sender's user properties,
/// which are also in an object of their own, `user`. `*` stands for all user properties except
/// those with a name of the packet's.
pub fn meta(topic: &str, user: &Map, name: &str) -> Value {
    match name {
        _ if name.eq_ignore_ascii_case(TOPIC) => Value::text(topic),
        _ if name.eq_ignore_ascii_case(USER) && user.is_empty() => Value::Null,
        _ if name.eq_ignore_ascii_case(USER) => Value::map(user.clone()),
        "*" => {
            let mut others = Map::new();
            for (name, value) in user.iter().filter(|(name, _)| !is_reserved(name)) {
                others.insert(name.clone(), value.clone());
            }
            Value::map(others)
        }
        _ => user.get_column(name).cloned().unwrap_or_default(),
    }
}

/// Name of the packet's topic.
const TOPIC: &str = "topic";
/// Name of the object of all user properties, whatever their names are.
const USER: &str = "user";

fn is_reserved(name: &str) -> bool {
    [TOPIC, USER]
        .iter()
        .any(|own| own.eq_ignore_ascii_case(name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_packet_says_comes_before_what_its_sender_says() {
        let mut user = Map::new();
        for name in ["topic", "Topic", "user", "site"] {
            user.insert(name, Value::text(format!("claimed {name}")));
        }
        let of = |name: &str| meta("s/d1", &user, name);
        for name in ["topic", "TOPIC", "Topic"] {
            assert_eq!(of(name), Value::text("s/d1"), "{name}");
        }
        assert_eq!(of("site"), Value::text("claimed site"));
        assert_eq!(of("gone"), Value::Null);
        for name in ["user", "USER"] {
            assert_eq!(of(name), Value::map(user.clone()), "{name}");
        }
        assert_eq!(crate::to_json(&of("*")), r#"{"site":"claimed site"}"#);
        assert_eq!(meta("s/d1", &Map::new(), "user"), Value::Null);
    }
}
