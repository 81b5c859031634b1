//! `[limits]` of a rule's manifest: the gateway's ceilings, lowered.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::config::limits::FunctionLimits;
use tidemill_base::text::{Errors, Size, Source};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    module_bytes: Option<Spanned<Size>>,
    memory_pages: Option<Spanned<u64>>,
    fuel: Option<Spanned<u64>>,
    fuel_per_second: Option<Spanned<u64>>,
    emissions: Option<Spanned<u64>>,
    emission_bytes: Option<Spanned<Size>>,
    value_bytes: Option<Spanned<Size>>,
    state_bytes: Option<Spanned<Size>>,
    keys: Option<Spanned<u64>>,
}

/// The gateway's limits, lowered if the rule says so.
pub(super) fn check(
    source: &Source,
    wanted: &Limits,
    ceilings: &FunctionLimits,
    errors: &Errors,
) -> FunctionLimits {
    let lower = |name: &str, wanted: Option<(u64, Range<usize>)>, ceiling: u64| match wanted {
        Some((wanted, span)) if wanted > ceiling => {
            let message = format!(
                "limits.{name}: a rule may only lower the gateway's limit, which is {ceiling}; write less, or \
                 raise limits.{name} in agent.toml"
            );
            errors.push(source.error_at(&span, message));
            ceiling
        }
        Some((wanted, _)) => wanted,
        None => ceiling,
    };
    // None is larger than its ceiling, which is one.
    let size = |name, wanted: &Option<Spanned<Size>>, ceiling: usize| {
        let wanted = wanted.as_ref().map(|size| (size.get_ref().0, size.span()));
        usize::try_from(lower(name, wanted, ceiling as u64)).unwrap_or(ceiling)
    };
    let number = |name, wanted: &Option<Spanned<u64>>, ceiling: u64| {
        let wanted = wanted
            .as_ref()
            .map(|number| (*number.get_ref(), number.span()));
        lower(name, wanted, ceiling)
    };
    let count = |name, wanted: &Option<Spanned<u64>>, ceiling: usize| {
        usize::try_from(number(name, wanted, ceiling as u64)).unwrap_or(ceiling)
    };
    if let Some(none) = wanted
        .fuel_per_second
        .as_ref()
        .filter(|it| *it.get_ref() == 0)
    {
        let message = "limits.fuel_per_second: without fuel the rule never runs; write 1 or more, or remove \
                       the rule";
        errors.push(source.error_at(&none.span(), message));
    }
    let pages = number(
        "memory_pages",
        &wanted.memory_pages,
        ceilings.memory_pages.into(),
    );
    FunctionLimits {
        module_bytes: size("module_bytes", &wanted.module_bytes, ceilings.module_bytes),
        memory_pages: u32::try_from(pages).unwrap_or(ceilings.memory_pages),
        fuel: number("fuel", &wanted.fuel, ceilings.fuel),
        fuel_per_second: number(
            "fuel_per_second",
            &wanted.fuel_per_second,
            ceilings.fuel_per_second,
        ),
        emissions: count("emissions", &wanted.emissions, ceilings.emissions),
        emission_bytes: size(
            "emission_bytes",
            &wanted.emission_bytes,
            ceilings.emission_bytes,
        ),
        value_bytes: size("value_bytes", &wanted.value_bytes, ceilings.value_bytes),
        state_bytes: size("state_bytes", &wanted.state_bytes, ceilings.state_bytes),
        keys: count("keys", &wanted.keys, ceilings.keys),
        ..*ceilings
    }
}
