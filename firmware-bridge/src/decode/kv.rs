//! Words of the form `key=value`.

use super::object::Object;

/// Returns an object of all words, if each has the form `key=value` and no key comes twice. Words are set off
/// by blanks, and by commas or semicolons where each of the pieces is of that form.
pub(super) fn object(text: &str) -> Option<String> {
    let blanks = [' ', '\t'];
    let all = [' ', '\t', ',', ';'];
    of_words(text.split(all)).or_else(|| of_words(text.split(blanks)))
}

fn of_words<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut object = Object::default();
    let mut keys: Vec<&str> = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=')?;
        if !is_key(key) || keys.contains(&key) {
            return None;
        }
        keys.push(key);
        object.value(key, value);
    }
    (!keys.is_empty()).then(|| object.end())
}

fn is_key(key: &str) -> bool {
    let is_of_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '%');
    !key.is_empty() && key.chars().all(is_of_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_keys_become_fields() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(object(text).as_deref(), expected, "{text}");
        };
        let two = Some(r#"{"t":21.5,"h":40}"#);
        check("t=21.5 h=40", two);
        check("  t=21.5,\th=40 ", two);
        check("t=21.5,h=40", two);
        check("t=21.5;h=40", two);
        check("p=1,5 q=2", Some(r#"{"p":"1,5","q":2}"#));
        check("state= name=a=b", Some(r#"{"state":null,"name":"a=b"}"#));
        for wrong in [
            "", "   ", "t", "t=1 h", "=1", "t=1 t=2", "a b=1", "x==>y =1",
        ] {
            check(wrong, None);
        }
    }
}
