//! The table of prices in docs/abi.md says what the code charges.

use crate::function::price::*;

const PAGE: &str = include_str!("../../../../docs/abi.md");

#[test]
fn the_page_says_what_imports_cost() {
    let known = [
        ("BARE_FUEL", BARE_FUEL),
        ("COPY_FUEL", COPY_FUEL),
        ("COPY_BYTES_PER_FUEL", COPY_BYTES_PER_FUEL),
        ("FORMAT_FUEL", FORMAT_FUEL),
        ("EMIT_FUEL", EMIT_FUEL),
        ("LOG_FUEL", LOG_FUEL),
        ("ENTRY_FUEL", ENTRY_FUEL),
        ("ROW_FUEL", ROW_FUEL),
        ("TIMER_FUEL", TIMER_FUEL),
        ("GROW_FUEL", GROW_FUEL),
        ("PAGE_FUEL", PAGE_FUEL),
        ("VALUE_FUEL", VALUE_FUEL),
        ("CALL_FUEL", CALL_FUEL),
        ("REASON_FUEL", REASON_FUEL),
        ("READ_FUEL", READ_FUEL),
        ("DECODED_FUEL", DECODED_FUEL),
        ("NAME_FUEL", NAME_FUEL),
        ("LOOK_FUEL", LOOK_FUEL),
        ("LOAD_FUEL", LOAD_FUEL),
        ("SEND_FUEL", SEND_FUEL),
        ("WRITE_FUEL", WRITE_FUEL),
        ("STEP_FUEL", STEP_FUEL),
    ];
    let said: Vec<(&str, u64)> = PAGE
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            let (number, _) = rest.split_once(" |")?;
            let is_price = name.ends_with("_FUEL");
            Some((name, number.replace(',', "").parse().ok()?)).filter(|_| is_price)
        })
        .collect();
    assert_eq!(said, known);
}
