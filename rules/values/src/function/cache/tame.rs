//! Patterns whose matches are known not to look far beyond their ends, so that replacing every match of a long text is one walk
//! through it.

/// `true` if a pattern repeats without end only a single character or class, and that at the end of
/// the pattern or of one of its alternatives. What such a pattern looks at behind a match is no longer than the pattern: the repetition at its end
/// is part of the match as far as it goes. Reads the text of a valid pattern; in doubt the answer is `false`.
pub(super) fn is_tame(pattern: &str) -> bool {
    let mut chars = pattern.chars().peekable();
    // A repetition without end was seen, so that nothing may follow in this alternative.
    let mut ended = false;
    let mut after_group = false;
    // One was seen in a group, behind which nothing may follow at all.
    let (mut depth, mut inside) = (0_u32, false);
    while let Some(next) = chars.next() {
        match next {
            '|' => {
                ended = false;
                after_group = false;
                continue;
            }
            // Flags may change what white space and letters mean.
            '(' if chars.peek() == Some(&'?') => return false,
            '(' if ended => return false,
            '(' => {
                depth += 1;
                after_group = false;
                continue;
            }
            // An alternative ends with its group only if the pattern does, too.
            ')' => {
                if inside && chars.clone().any(|rest| rest != ')') {
                    return false;
                }
                depth = depth.saturating_sub(1);
                after_group = true;
                continue;
            }
            '*' | '+' => {
                if after_group || ended {
                    return false;
                }
                ended = true;
                inside |= depth > 0;
                if chars.peek() == Some(&'?') {
                    chars.next();
                }
                continue;
            }
            '?' => continue,
            // With counts a pattern may be as long as it likes; its size says so.
            '{' => {
                let count: String = chars.by_ref().take_while(|c| *c != '}').collect();
                if count.ends_with(',') {
                    return false;
                }
                continue;
            }
            _ if ended => return false,
            '\\' => {
                // One character, or a class; what has braces behind it names one character.
                match chars.next() {
                    Some('x' | 'u' | 'U' | 'p' | 'P') | None => return false,
                    Some(_) => {}
                }
            }
            '[' if !skip_class(&mut chars) => return false,
            _ => {}
        }
        after_group = false;
    }
    true
}

/// Goes past a class; `false` if it is not one of the plain kind.
fn skip_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    if chars.peek() == Some(&'^') {
        chars.next();
    }
    let mut is_first = true;
    while let Some(next) = chars.next() {
        match next {
            ']' if !is_first => return true,
            '\\' => {
                chars.next();
            }
            '[' => return false,
            _ => {}
        }
        is_first = false;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_where_it_repeats_is_tame() {
        for pattern in [
            r"\s+", "a", "ab?c", "[^a-z]+", "x{3}y", r"(\d+)", "a+|b*", r"^\w+", "(a|b)c+", "a+?",
            "[]x]+", r"\.+",
        ] {
            assert!(is_tame(pattern), "{pattern}");
        }
        for pattern in [
            ".*b",
            "a+b",
            "(ab)+",
            "(a+)+",
            "a{2,}",
            r"\d+-\d+",
            "(a+)b",
            "(?i)a+",
            ".*[^A-Z]|[A-Z]",
            "a+$",
            "(a|b+)c",
            "(b+|a)c",
            "[[:alpha:]]+x",
        ] {
            assert!(!is_tame(pattern), "{pattern}");
        }
    }
}
