//! Bytes of a binary by crate, from its symbols as readelf tells them, which knows the files of every target.

use crate::shell::capture;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Code and data of one crate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Share {
    code: u64,
    data: u64,
}

/// Code that no crate of Rust's is named in: C, assembly, start files.
const OTHER: &str = "(C and assembly)";

/// Crates that come with the compiler.
const STANDARD: [&str; 4] = ["std", "core", "alloc", "proc_macro"];

/// Prefixes of symbols that crates give to their C and assembly.
const PREFIXES: [(&str, &str); 2] = [("ring_core", "ring"), ("zeroize", "zeroize")];

/// The table of what the binary is made of, the largest first, and below it what belongs to no crate.
pub(crate) fn table(binary: &Path, rows: usize) -> Result<String> {
    let symbols = readelf(binary, "--symbols")?;
    let sections = readelf(binary, "--sections")?;
    let shares = shares(&symbols);
    let mut sorted: Vec<_> = shares.iter().collect();
    sorted.sort_by_key(|(name, share)| (u64::MAX - share.code - share.data, *name));
    let mut text = format!("{:<28} {:>10} {:>10}\n", "crate", "code", "data");
    let mut line = |name: &str, code: u64, data: u64| {
        text += &format!("{name:<28} {:>10} {:>10}\n", grouped(code), grouped(data));
    };
    for (name, share) in sorted.iter().take(rows) {
        line(name, share.code, share.data);
    }
    let rest = sorted.iter().skip(rows);
    let (code, data) = rest.fold((0, 0), |(code, data), (_, share)| {
        (code + share.code, data + share.data)
    });
    if let Some(more) = sorted.len().checked_sub(rows).filter(|more| *more > 0) {
        line(&format!("({more} more)"), code, data);
    }
    text += &format!("\n{:<28} {:>10}\n", "section", "bytes");
    for (name, bytes) in sections_in_file(&sections) {
        text += &format!("{name:<28} {:>10}\n", grouped(bytes));
    }
    Ok(text)
}

fn readelf(binary: &Path, what: &str) -> Result<String> {
    capture(Command::new("readelf").arg("--wide").arg(what).arg(binary))
}

/// Sums up symbols; one that several names stand for counts once.
fn shares(symbols: &str) -> BTreeMap<String, Share> {
    let mut seen = BTreeSet::new();
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    for line in symbols.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, address, size, kind, _, _, section, name, ..] = *fields else {
            continue;
        };
        let Some(size) = size_of(size).filter(|size| *size > 0 && section != "UND") else {
            continue;
        };
        if !matches!(kind, "FUNC" | "OBJECT") || !seen.insert(address.to_owned()) {
            continue;
        }
        let share = shares.entry(owner(name)).or_default();
        match kind {
            "FUNC" => share.code += size,
            _ => share.data += size,
        }
    }
    shares
}

/// A size in decimal, or in hexadecimal where it is large.
fn size_of(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The crate that a symbol is counted to: the one that wrote the function, whoever fills in its types.
fn owner(symbol: &str) -> String {
    let known = PREFIXES
        .iter()
        .find(|(prefix, _)| symbol.starts_with(prefix));
    let name = match known {
        Some((_, name)) => Some((*name).to_owned()),
        None if symbol.starts_with("_ZN") => of_legacy(symbol),
        None if symbol.starts_with("_R") => of_v0(symbol),
        None => None,
    };
    match name {
        Some(name) if STANDARD.contains(&&*name) => "std".to_owned(),
        Some(name) => name,
        None => OTHER.to_owned(),
    }
}

/// The crate of `_ZN4core3fmt…`, and of an implementation, `_ZN90_$LT$alloc..vec..Vec$LT$T$GT$…`, that of its type.
fn of_legacy(symbol: &str) -> Option<String> {
    let rest = symbol.strip_prefix("_ZN")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let (length, rest) = rest.split_at(digits);
    let first = rest.get(..length.parse().ok()?)?;
    let Some(path) = first.strip_prefix("_$LT$") else {
        return Some(first.to_owned());
    };
    // A crate's name is what stands before the first `..` of a path.
    let (before, _) = path.split_once("..")?;
    let name = before.rsplit(['$', ' ', '(']).next()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
}

/// The crate that is named first in a symbol of the newer kind: `C`, perhaps `s…_`, then a name with its length before it.
fn of_v0(symbol: &str) -> Option<String> {
    let roots = symbol.match_indices('C');
    let names = roots.filter_map(|(at, _)| {
        let rest = symbol.get(at + 1..)?;
        let rest = match rest.strip_prefix('s') {
            Some(disambiguated) => disambiguated.split_once('_')?.1,
            None => rest,
        };
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (length, rest) = rest.split_at(digits);
        let name = rest.get(..length.parse().ok()?)?;
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        begins.then(|| name.to_owned())
    });
    names.into_iter().next()
}

/// Names and bytes of the sections that take room in the file, but for symbols, the largest first.
fn sections_in_file(text: &str) -> Vec<(String, u64)> {
    let lines = text.lines().filter_map(|line| {
        let (_, fields) = line.trim_start().strip_prefix('[')?.split_once(']')?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let [name, kind, _, _, size, ..] = *fields else {
            return None;
        };
        let is_symbols = matches!(kind, "SYMTAB" | "STRTAB" | "NOBITS" | "NULL");
        let left_out = is_symbols || name.starts_with(".debug") || name == ".comment";
        let size = u64::from_str_radix(size, 16).ok()?;
        (!left_out && size > 0).then(|| (name.to_owned(), size))
    });
    let mut sections: Vec<_> = lines.collect();
    sections.sort_by_key(|(name, size)| (u64::MAX - size, name.clone()));
    sections
}

/// A number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_belong_to_the_crate_that_wrote_them() {
        for (symbol, name) in [
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "std"),
            ("_ZN5wasmi6engine4call17h0123456789abcdefE", "wasmi"),
            (
                "_ZN65_$LT$sled..arc..Arc$LT$T$GT$$u20$as$u20$core..ops..drop..Drop$GT$4drop17hE",
                "sled",
            ),
            (
                "_ZN58_$LT$$RF$mut$u20$serde_json..de..X$u20$as$u20$serde..Y$GT$4drop17hE",
                "serde_json",
            ),
            ("_RNvMs_NtCsabc123_4sled3arcNtB4_3Arc3new", "sled"),
            ("_RINvNtC4core3mem4dropNtCs1_5wasmi1XE", "std"),
            ("ring_core_0_17_14__x25519", "ring"),
            ("memcpy", OTHER),
        ] {
            assert_eq!(owner(symbol), name, "{symbol}");
        }
    }

    #[test]
    fn a_function_of_two_names_counts_once_and_what_is_elsewhere_not_at_all() {
        let text = "\
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND
     1: 0000000000001000   100 FUNC    LOCAL  DEFAULT   14 _ZN5wasmi1a17hE
     2: 0000000000001000   100 FUNC    LOCAL  DEFAULT   14 _ZN5wasmi1b17hE
     3: 0000000000002000 0x10000 OBJECT LOCAL DEFAULT   15 _ZN5wasmi1c17hE
     4: 0000000000000000    50 FUNC    GLOBAL DEFAULT  UND _ZN5wasmi1d17hE
";
        let expected = Share {
            code: 100,
            data: 0x10000,
        };
        let found = shares(text);
        assert_eq!(found.get("wasmi"), Some(&expected));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn sections_without_bytes_in_the_file_and_symbols_are_left_out() {
        let text = "\
  [Nr] Name              Type            Address          Off    Size   ES Flg Lk Inf Al
  [ 0]                   NULL            0000000000000000 000000 000000 00      0   0  0
  [ 1] .text             PROGBITS        0000000000001000 001000 000100 00  AX  0   0 16
  [12] .rodata           PROGBITS        0000000000002000 002000 000200 00   A  0   0 16
  [13] .bss              NOBITS          0000000000003000 003000 000300 00  WA  0   0 16
  [14] .symtab           SYMTAB          0000000000000000 003000 000400 18     15 200  8
";
        let found = sections_in_file(text);
        assert_eq!(
            found,
            [(".rodata".to_owned(), 0x200), (".text".to_owned(), 0x100)]
        );
    }
}
