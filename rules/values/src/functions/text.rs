//! Text from text. Characters are counted, not bytes; what is no text is taken as its text.

mod format;

use super::arguments::{bounded, count, text, whole};
use super::table::scalar;
use crate::{Context, FnError, Function, Nulls, Price, Value};

type Answer = Result<Value, FnError>;

/// Fuel of a part that `replace` replaces.
const REPLACE_FUEL: u64 = 10;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(
        101,
        "concat",
        "text, …",
        "all its arguments as one text",
        concat,
    )
    .seen("left out"),
    scalar(
        102,
        "endswith",
        "text, end",
        "whether the text ends with `end`",
        |_, args| Ok(Value::Bool(text(args, 0).ends_with(&*text(args, 1)))),
    )
    .nulls(Nulls::False),
    scalar(
        103,
        "format",
        "x, digits[, locale]",
        "a number with so many decimals, and with the separators of a locale such as `en_US`",
        format::format,
    ).price(Price::flat(1_500)),
    scalar(
        104,
        "indexof",
        "text, part",
        "where `part` begins in the text, from 0; -1 if nowhere",
        indexof,
    )
    .nulls(Nulls::MinusOne),
    scalar(
        105,
        "length",
        "value",
        "how many characters a text has, or how many elements an array or object, or how many bytes bytes",
        length,
    )
    .nulls(Nulls::Zero),
    scalar(
        106,
        "lower",
        "text",
        "the text in small letters",
        |_, args| bounded(text(args, 0).to_lowercase().into()),
    ),
    scalar(
        107,
        "lpad",
        "text, count",
        "the text with so many blanks in front",
        |context, args| {
            let blanks = blanks(context, args)?;
            bounded(format!("{blanks}{}", text(args, 0)).into())
        },
    ),
    scalar(
        108,
        "ltrim",
        "text",
        "the text without white space in front",
        |_, args| Ok(Value::text(text(args, 0).trim_start())),
    ),
    scalar(
        109,
        "numbytes",
        "text",
        "how many bytes the text has in UTF-8; of bytes how many there are",
        |_, args| match args.first() {
            Some(Value::Bytes(bytes)) => Ok(Value::Int(bytes.len() as i64)),
            _ => Ok(Value::Int(text(args, 0).len() as i64)),
        },
    )
    .nulls(Nulls::Zero),
    scalar(
        110,
        "regexp_matches",
        "text, pattern",
        "whether the pattern matches somewhere in the text",
        |context, args| {
            let Context { cache, budget, .. } = context;
            let pattern = cache.pattern(&text(args, 1), budget)?;
            let whole = text(args, 0);
            Ok(Value::Bool(pattern.over(&whole, budget)?.is_match(&whole)))
        },
    )
    .nulls(Nulls::False),
    scalar(
        111,
        "regexp_replace",
        "text, pattern, by",
        "the text with each match replaced; `$1` in `by` is the first group",
        regexp_replace,
    ),
    scalar(
        112,
        "regexp_substr",
        "text, pattern",
        "the first match, or an empty text",
        regexp_substr,
    ),
    scalar(
        113,
        "regexp_substring",
        "text, pattern",
        "the same as `regexp_substr`",
        regexp_substr,
    ),
    scalar(
        114,
        "reverse",
        "text",
        "the text, or bytes, from back to front",
        |_, args| match args.first() {
            Some(Value::Bytes(bytes)) => {
                let reversed = bytes.iter().rev().copied();
                Ok(Value::bytes(reversed.collect::<Vec<u8>>()))
            }
            _ => Ok(Value::text(text(args, 0).chars().rev().collect::<String>())),
        },
    ),
    scalar(
        115,
        "rpad",
        "text, count",
        "the text with so many blanks behind",
        |context, args| {
            let blanks = blanks(context, args)?;
            bounded(format!("{}{blanks}", text(args, 0)).into())
        },
    ),
    scalar(
        116,
        "rtrim",
        "text",
        "the text without white space behind",
        |_, args| Ok(Value::text(text(args, 0).trim_end())),
    ),
    scalar(
        117,
        "split_value",
        "text, separator, place",
        "the part at `place` between separators, from 0, or below 0 from the end; an error if there is none",
        split_value,
    ),
    scalar(
        118,
        "startswith",
        "text, start",
        "whether the text starts with `start`",
        |_, args| Ok(Value::Bool(text(args, 0).starts_with(&*text(args, 1)))),
    )
    .nulls(Nulls::False),
    scalar(
        119,
        "substring",
        "text, start[, end]",
        "the characters, or of bytes the bytes, from `start` on, from 0, up to but without the one at `end`",
        substring,
    ),
    scalar(
        120,
        "trim",
        "text",
        "the text without white space around it",
        |_, args| Ok(Value::text(text(args, 0).trim())),
    ),
    scalar(
        121,
        "upper",
        "text",
        "the text in capital letters",
        |_, args| bounded(text(args, 0).to_uppercase().into()),
    ),
    scalar(
        122,
        "replace",
        "text, part, by",
        "the text with each `part` replaced",
        |context, args| {
            let (whole, part) = (text(args, 0), text(args, 1));
            if part.is_empty() {
                return Ok(Value::Text(whole));
            }
            let by = text(args, 2);
            let count = whole.matches(&*part).count();
            let len = whole.len().saturating_add(count.saturating_mul(by.len()));
            super::arguments::room(len)?;
            context.budget.spend(len as u64 / 4 + count as u64 * REPLACE_FUEL)?;
            context.budget.hold(len.saturating_mul(3))?;
            Ok(Value::text(whole.replace(&*part, &by)))
        },
    ),
];

fn concat(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let mut out = String::new();
    for place in 0..args.len() {
        out.push_str(&text(args, place));
        super::arguments::room(out.len())?;
    }
    Ok(Value::text(out))
}

fn indexof(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let whole = text(args, 0);
    Ok(Value::Int(match whole.split_once(&*text(args, 1)) {
        Some((before, _)) => before.chars().count() as i64,
        None => -1,
    }))
}

fn length(_: &mut Context<'_>, args: &[Value]) -> Answer {
    Ok(Value::Int(match args {
        [Value::List(values)] => values.len(),
        [Value::Map(map)] => map.len(),
        [Value::Bytes(bytes)] => bytes.len(),
        _ => text(args, 0).chars().count(),
    } as i64))
}

fn blanks(context: &mut Context<'_>, args: &[Value]) -> Result<String, FnError> {
    let count = count(args, 1)?;
    super::arguments::room(count)?;
    context.budget.spend(count as u64 / 8)?;
    context.budget.hold(count.saturating_mul(3))?;
    Ok(" ".repeat(count))
}

/// Fuel of a match beside what it looks at.
const MATCH_FUEL: u64 = 200;

fn regexp_replace(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let Context { cache, budget, .. } = context;
    let pattern = cache.pattern(&text(args, 1), budget)?;
    let (whole, by) = (text(args, 0), text(args, 2));
    let regex = pattern.again_and_again();
    let groups = regex.captures_len();
    pattern.hold(groups, budget)?;
    let mut out = String::new();
    let mut done = 0;
    budget.spend(pattern.price(whole.len(), groups))?;
    for found in regex.captures_iter(&whole) {
        let Some(all) = found.get(0) else { continue };
        let before = out.len();
        out.push_str(whole.get(done..all.start()).unwrap_or_default());
        budget.spend(MATCH_FUEL + by.len() as u64)?;
        expand(&found, &by, &mut out)?;
        budget.spend((out.len() - before) as u64)?;
        done = all.end();
        pattern.next(whole.len() - done, groups, budget)?;
    }
    out.push_str(whole.get(done..).unwrap_or_default());
    bounded(out.into())
}

/// Writes what a match is replaced by, one group at a time: each may be as long as the text, and be
/// named again and again.
fn expand(found: &regex_lite::Captures<'_>, by: &str, out: &mut String) -> Result<(), FnError> {
    let mut rest = by;
    while let Some(start) = rest.find('$') {
        let (plain, named) = rest.split_at(start);
        out.push_str(plain);
        let braced = named.starts_with("${").then(|| named.find('}')).flatten();
        let end = match braced {
            Some(brace) => brace + 1,
            None if named.starts_with("$$") => 2,
            None => named
                .match_indices('$')
                .nth(1)
                .map_or(named.len(), |(next, _)| next),
        };
        let (one, behind) = named.split_at(end);
        found.expand(one, out);
        super::arguments::room(out.len())?;
        rest = behind;
    }
    out.push_str(rest);
    super::arguments::room(out.len())
}

fn regexp_substr(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let Context { cache, budget, .. } = context;
    let pattern = cache.pattern(&text(args, 1), budget)?;
    let whole = text(args, 0);
    let found = pattern.over(&whole, budget)?.find(&whole);
    Ok(Value::text(found.map_or("", |found| found.as_str())))
}

fn split_value(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let (whole_text, separator) = (text(args, 0), text(args, 1));
    let index = whole(args, 2)?;
    // Without a separator between any two characters.
    let count = if separator.is_empty() {
        whole_text.chars().count().max(1)
    } else {
        whole_text.split(&*separator).count()
    };
    let place = if index < 0 {
        index.saturating_add(count as i64)
    } else {
        index
    };
    let place = usize::try_from(place).ok().filter(|place| *place < count);
    let part = place.and_then(|place| {
        if separator.is_empty() {
            let mut starts = whole_text
                .char_indices()
                .map(|(start, _)| start)
                .skip(place);
            let start = starts.next().unwrap_or(0);
            whole_text.get(start..starts.next().unwrap_or(whole_text.len()))
        } else {
            whole_text.split(&*separator).nth(place)
        }
    });
    part.map(Value::text)
        .ok_or_else(|| FnError::Failed(format!("no part {index}: there are {count}")))
}

fn substring(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let start = count(args, 1)?;
    if let Some(Value::Bytes(bytes)) = args.first() {
        let end = end_of(args, start)?.unwrap_or(bytes.len());
        let end = end.min(bytes.len());
        return Ok(Value::bytes(
            bytes.get(start.min(end)..end).unwrap_or_default(),
        ));
    }
    let whole = text(args, 0);
    let rest = whole.chars().skip(start);
    Ok(Value::text(match end_of(args, start)? {
        None => rest.collect::<String>(),
        Some(end) => rest.take(end - start).collect(),
    }))
}

/// The third argument, if there is one: not before `start`.
fn end_of(args: &[Value], start: usize) -> Result<Option<usize>, FnError> {
    if args.len() < 3 {
        return Ok(None);
    }
    let end = count(args, 2)?;
    let wanted = "a whole number from `start` on";
    (end >= start)
        .then_some(Some(end))
        .ok_or_else(|| FnError::argument(args, 2, wanted))
}
