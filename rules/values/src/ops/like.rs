//! `LIKE`: `%` matches any text, `_` any one character, a backslash quotes the next one.

use super::OpError;
use crate::Value;

/// `value LIKE pattern`, or with `negated` `NOT LIKE`; case counts. With nothing on a side both are
/// false.
///
/// # Errors
///
/// If a side is not text.
pub fn like(value: &Value, pattern: &Value, negated: bool) -> Result<bool, OpError> {
    let not_text = |op, value: &Value| OpError::Type {
        op,
        value: value.shown(),
    };
    match (value, pattern) {
        (Value::Null, _) | (_, Value::Null) => Ok(false),
        (Value::Text(text), Value::Text(pattern)) => Ok(matches(text, pattern) != negated),
        (Value::Text(_), other) => Err(not_text("LIKE with the pattern", other)),
        (other, _) => Err(not_text("LIKE for", other)),
    }
}

/// Steps of a `LIKE` beyond one for each byte of text and pattern: a part with `_` in it that is longer than a machine word is compared at each
/// place of the text.
pub(crate) fn extra_steps(text: &str, pattern: &str) -> u64 {
    if !pattern.contains('_') || pattern.len() <= WORD {
        return 0;
    }
    let longest = parts(pattern).map(|part| part.steps()).max();
    (text.len() as u64).saturating_mul(longest.unwrap_or(0))
}

/// Characters of a part that are looked for at once, each a bit of a word.
const WORD: usize = 64;

/// One character of a pattern.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wanted {
    Any,
    Only(char),
}

impl Wanted {
    fn takes(self, found: char) -> bool {
        tests_count(1);
        match self {
            Self::Any => true,
            Self::Only(wanted) => wanted == found,
        }
    }
}

/// Part of a pattern between two `%`.
#[derive(Debug, Default)]
struct Part {
    wanted: Vec<Wanted>,
    has_any: bool,
}

/// Splits a pattern at its `%`; there is always one part more than there are of these.
fn parts(pattern: &str) -> impl Iterator<Item = Part> + '_ {
    let mut rest = Some(pattern.chars());
    std::iter::from_fn(move || {
        let mut chars = rest.take()?;
        let mut part = Part::default();
        while let Some(next) = chars.next() {
            let wanted = match next {
                '%' => {
                    rest = Some(chars);
                    break;
                }
                '_' => Wanted::Any,
                '\\' => Wanted::Only(chars.next().unwrap_or('\\')),
                other => Wanted::Only(other),
            };
            part.has_any |= wanted == Wanted::Any;
            part.wanted.push(wanted);
        }
        Some(part)
    })
}

impl Part {
    /// Comparisons for each character of a text in which the part is looked for, beyond one.
    fn steps(&self) -> u64 {
        match self.wanted.len() {
            len if self.has_any && len > WORD => len as u64,
            _ => 0,
        }
    }

    /// The rest behind the part, if the text begins with it.
    fn at_start<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut chars = text.chars();
        for wanted in &self.wanted {
            if !wanted.takes(chars.next()?) {
                return None;
            }
        }
        Some(chars.as_str())
    }

    fn at_end(&self, text: &str) -> bool {
        let mut chars = text.chars().rev();
        let mut wanted = self.wanted.iter().rev();
        wanted.all(|wanted| chars.next().is_some_and(|found| wanted.takes(found)))
    }

    /// The rest behind the first place where the part is in the text.
    fn anywhere<'a>(&self, text: &'a str) -> Option<&'a str> {
        if self.wanted.is_empty() {
            return Some(text);
        }
        if !self.has_any {
            let plain: String = self.wanted.iter().filter_map(plain).collect();
            let behind = text.split_once(&*plain).map(|(_, behind)| behind);
            // The search takes a step for each byte of either.
            tests_count(plain.len() + text.len() - behind.map_or(0, str::len));
            return behind;
        }
        if self.wanted.len() <= WORD {
            return self.by_bits(text);
        }
        let mut starts = text.char_indices();
        starts.find_map(|(start, _)| self.at_start(text.get(start..)?))
    }

    /// The same for a part that fits a word: bit n of `here` says that the last n + 1 characters are the first
    /// n + 1 of the part.
    fn by_bits<'a>(&self, text: &'a str) -> Option<&'a str> {
        let numbered = || (0..).zip(&self.wanted);
        let any = numbered().filter(|(_, wanted)| **wanted == Wanted::Any);
        let any: u64 = any.fold(0, |bits, (place, _): (u32, _)| bits | 1 << place);
        let mut known: Vec<(char, u64)> = Vec::new();
        for (place, wanted) in numbered() {
            let Some(letter) = plain(wanted) else {
                continue;
            };
            let bit = 1 << place;
            match known.binary_search_by_key(&letter, |(known, _)| *known) {
                Ok(at) => known
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|known| known.1 |= bit),
                Err(at) => known.insert(at, (letter, bit)),
            }
        }
        let last = 1_u64 << (self.wanted.len() - 1);
        let mut here = 0_u64;
        let mut chars = text.chars();
        while let Some(found) = chars.next() {
            tests_count(1);
            let at = known.binary_search_by_key(&found, |(known, _)| *known).ok();
            let fits = at.and_then(|at| known.get(at)).map_or(0, |(_, bits)| *bits);
            here = (here << 1 | 1) & (fits | any);
            if here & last != 0 {
                return Some(chars.as_str());
            }
        }
        None
    }
}

fn plain(wanted: &Wanted) -> Option<char> {
    match wanted {
        Wanted::Any => None,
        Wanted::Only(letter) => Some(*letter),
    }
}

/// Each part is looked for behind the one before it, once: what is found first leaves most for the others. The last one has
/// to be at the end. So the time is that of one walk through the text.
fn matches(text: &str, pattern: &str) -> bool {
    let mut parts = parts(pattern).peekable();
    let Some(mut rest) = parts.next().and_then(|first| {
        let whole = parts.peek().is_none();
        first
            .at_start(text)
            .filter(|behind| !whole || behind.is_empty())
    }) else {
        return false;
    };
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return part.at_end(rest);
        }
        match part.anywhere(rest) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    true
}

#[cfg(not(test))]
fn tests_count(_: usize) {}

#[cfg(test)]
use tests::tests_count;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::price_of_like;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts what is looked at.
    pub(super) fn tests_count(steps: usize) {
        STEPS.set(STEPS.get() + steps);
    }

    #[test]
    fn nothing_is_looked_at_that_is_not_paid() {
        let texts = ["a".repeat(3_000), "ab".repeat(1_500), "aab".repeat(1_000)];
        let parts = ["a", "b", "ab", "_", "a_", "%", "%a", "%_b", "%aab"];
        let mut patterns = vec![
            format!("%{}b", "a".repeat(1_500)),
            format!("%_{}c%", "a".repeat(1_500)),
        ];
        for part in parts {
            patterns.extend([1, 20, 70, 500].map(|count| part.repeat(count) + "%b"));
        }
        for text in &texts {
            for pattern in &patterns {
                let before = STEPS.get();
                let (text, pattern) = (Value::from(&**text), Value::from(&**pattern));
                like(&text, &pattern, false).unwrap();
                let steps = (STEPS.get() - before) as u64;
                let paid = price_of_like(&text, &pattern);
                assert!(steps <= paid, "{pattern:?}: {steps} for {paid}");
            }
        }
    }
}
