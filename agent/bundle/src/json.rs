//! JSON from others, bounded before it is parsed.

use serde::de::DeserializeOwned;

/// Brackets that may be open at once.
const DEPTH_MAX: usize = 16;

/// Reads a value whose types refuse unknown fields and duplicate keys by themselves.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if !is_object(bytes) {
        return Err("it is no JSON object".to_owned());
    }
    if is_deep(bytes) {
        return Err(format!("it is nested deeper than {DEPTH_MAX}"));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Structs could stand as arrays of their fields; only the outermost is looked at, because what is
/// inside was signed by then.
fn is_object(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    first == Some(&b'{')
}

fn is_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in bytes {
        if in_text {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_bounded_and_brackets_in_texts_do_not_count() {
        let nested =
            |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_deep(nested(DEPTH_MAX - 1).as_bytes()));
        assert!(is_deep(nested(DEPTH_MAX).as_bytes()));
        assert!(is_deep(nested(1_000_000).as_bytes()));
        assert!(!is_deep(
            format!("{{\"{}\\\"[\":1}}", "[".repeat(99)).as_bytes()
        ));
    }
}
