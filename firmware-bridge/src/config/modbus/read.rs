//! One value of a unit, as `read` has it.

use super::super::Check;
use super::super::file::ReadTable;
use super::super::words::one_of;
use crate::modbus::{Address, Area, Field, Form, Kind, Order, Scale};
use toml::Spanned;

const NAME_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: u8 = 250;

/// Types as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Type {
    /// A word that is none.
    #[default]
    Unknown,
    Bit,
    Text,
    Number(Kind),
}

const TYPES: [(&str, Type); 10] = [
    ("u16", Type::Number(Kind::U16)),
    ("i16", Type::Number(Kind::I16)),
    ("u32", Type::Number(Kind::U32)),
    ("i32", Type::Number(Kind::I32)),
    ("u64", Type::Number(Kind::U64)),
    ("i64", Type::Number(Kind::I64)),
    ("f32", Type::Number(Kind::F32)),
    ("f64", Type::Number(Kind::F64)),
    ("bit", Type::Bit),
    ("string", Type::Text),
];

const AREAS: [Area; 4] = [Area::Holding, Area::Input, Area::Coil, Area::Discrete];

/// Checks one value; `None` where it is wrong.
pub(super) fn field(given: &Spanned<ReadTable>, check: &mut Check<'_>) -> Option<Field> {
    let table = given.get_ref();
    let name = table.name.get_ref();
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
        let why =
            format!("as: {name:?} is no name of a field; write 1 to {NAME_BYTES_MAX} characters");
        check.error(table.name.span(), why);
    }
    let Some((area, at)) = register(table.reg.get_ref()) else {
        let why = format!(
            "reg: {:?} is no register; write \"holding:100\", \"input:…\", \"coil:…\" or \"discrete:…\" with the address on the wire, \
             0 to 65535: what manuals call 40101 is holding:100",
            table.reg.get_ref()
        );
        check.error(table.reg.span(), why);
        return None;
    };
    let form = form(table, area, check)?;
    let field = Field {
        name: name.clone(),
        area,
        at,
        form,
    };
    if u32::from(at.0) + u32::from(field.count()) > 1 << 16 {
        check.error(
            table.reg.span(),
            "reg: the value ends behind the last register, 65535",
        );
    }
    Some(field)
}

fn register(text: &str) -> Option<(Area, Address)> {
    let (area, at) = text.split_once(':')?;
    let area = AREAS.into_iter().find(|known| known.to_string() == area)?;
    Some((area, Address(at.parse().ok()?)))
}

fn form(table: &ReadTable, area: Area, check: &mut Check<'_>) -> Option<Form> {
    let default = if area.is_bits() {
        Type::Bit
    } else {
        Type::Number(Kind::U16)
    };
    let kind = match &table.kind {
        None => default,
        Some(word) => match one_of(Some(word), "type", &TYPES, check) {
            Type::Unknown => return None,
            kind if area.is_bits() && kind != Type::Bit => {
                let why = format!("type: {area} is one bit; take this key away");
                check.error(word.span(), why);
                return None;
            }
            kind => kind,
        },
    };
    refuse_what_is_of_another(table, area, kind, check);
    match kind {
        Type::Number(kind) => Some(Form::Number {
            kind,
            order: order(table, kind.bytes(), check)?,
            scale: scale(table, check),
        }),
        Type::Text => Some(Form::Text {
            bytes: text_bytes(table, check)?,
            order: order(table, 2, check)?,
        }),
        Type::Bit | Type::Unknown => Some(Form::Bit(bit(table, check))),
    }
}

fn refuse_what_is_of_another(table: &ReadTable, area: Area, kind: Type, check: &mut Check<'_>) {
    let is_number = matches!(kind, Type::Number(_));
    let wrong = [
        (
            "order",
            table.order.as_ref().map(Spanned::span),
            kind != Type::Bit,
            "numbers and strings have one",
        ),
        (
            "scale",
            table.scale.as_ref().map(Spanned::span),
            is_number,
            "numbers have one",
        ),
        (
            "offset",
            table.offset.as_ref().map(Spanned::span),
            is_number,
            "numbers have one",
        ),
        (
            "length",
            table.length.as_ref().map(Spanned::span),
            kind == Type::Text,
            "type = \"string\" has one",
        ),
        (
            "bit",
            table.bit.as_ref().map(Spanned::span),
            kind == Type::Bit && !area.is_bits(),
            "type = \"bit\" of a register has one",
        ),
    ];
    for (key, span, is_right, whose) in wrong {
        if let Some(span) = span.filter(|_| !is_right) {
            check.error(span, format!("{key}: only {whose}"));
        }
    }
}

fn order(table: &ReadTable, bytes: u8, check: &mut Check<'_>) -> Option<Order> {
    let Some(given) = &table.order else {
        return Some(Order::highest_first(bytes));
    };
    let order = Order::read(given.get_ref(), bytes);
    if order.is_none() {
        let known = match bytes {
            2 => "\"AB\" or \"BA\"",
            4 => "\"ABCD\", \"CDAB\", \"BADC\" or \"DCBA\"",
            _ => "\"ABCDEFGH\", \"GHEFCDAB\", \"BADCFEHG\" or \"HGFEDCBA\"",
        };
        let why = format!("order: {:?} does not fit; write {known}", given.get_ref());
        check.error(given.span(), why);
    }
    order
}

fn scale(table: &ReadTable, check: &mut Check<'_>) -> Option<Scale> {
    let value = |given: &Option<Spanned<f64>>| given.as_ref().map(|given| *given.get_ref());
    let (factor, offset) = (value(&table.scale), value(&table.offset));
    for (key, given) in [("scale", &table.scale), ("offset", &table.offset)] {
        let is_good = |number: f64| number.is_finite() && (key == "offset" || number != 0.0);
        if let Some(given) = given.as_ref().filter(|given| !is_good(*given.get_ref())) {
            check.error(given.span(), format!("{key}: write a number such as 0.1"));
        }
    }
    (factor.is_some() || offset.is_some()).then(|| Scale {
        factor: factor.unwrap_or(1.0),
        offset: offset.unwrap_or(0.0),
    })
}

fn text_bytes(table: &ReadTable, check: &mut Check<'_>) -> Option<u8> {
    let Some(given) = &table.length else {
        let span = table.kind.as_ref().map_or(0..0, Spanned::span);
        check.error(span, "type: string needs length = 16, its characters");
        return None;
    };
    Some(super::number(
        Some(given),
        "length",
        1,
        1..=TEXT_BYTES_MAX,
        check,
    ))
}

fn bit(table: &ReadTable, check: &mut Check<'_>) -> u8 {
    super::number(table.bit.as_ref(), "bit", 0, 0..=15, check)
}
