//! Values in the order of columns.

use super::object::Object;

const SEPARATORS: [char; 3] = [';', '\t', ','];

/// Returns an object with a value for each column. The line may be separated by semicolons, tabs or commas: by the
/// first of these that gives as many values as there are columns. A line of nothing but the columns' names is none.
pub(super) fn object(text: &str, columns: &[String]) -> Option<String> {
    let fits = |separator: &char| split(text, *separator).filter(|all| all.len() == columns.len());
    let values = SEPARATORS.iter().find_map(fits)?;
    let is_header = values
        .iter()
        .zip(columns)
        .all(|(value, name)| value.trim() == name);
    let mut object = Object::default();
    for (name, value) in columns.iter().zip(&values) {
        object.value(name, value);
    }
    (!is_header).then(|| object.end())
}

/// Splits a line; a value in double quotes may hold separators, and a quote as two. `None` where a quote is open.
fn split(text: &str, separator: char) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, behind) = match rest.trim_start_matches(' ').strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                let (value, behind) = rest.split_at(end);
                (value.to_owned(), behind)
            }
        };
        values.push(value);
        let behind = behind.trim_start_matches(' ');
        match behind.strip_prefix(separator) {
            Some(next) => rest = next,
            None => return behind.is_empty().then_some(values),
        }
    }
}

fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (piece, behind) = rest.split_once('"')?;
        value.push_str(piece);
        match behind.strip_prefix('"') {
            Some(next) => {
                value.push('"');
                rest = next;
            }
            None => return Some((value, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_names_of_their_columns() {
        let check = |text: &str, expected: Option<&str>| {
            let columns = ["t".to_owned(), "h".to_owned()];
            assert_eq!(object(text, &columns).as_deref(), expected, "{text}");
        };
        let two = Some(r#"{"t":21.5,"h":40}"#);
        check("21.5,40", two);
        check(" 21.5 ; 40 ", two);
        check("21.5\t40", two);
        check("21,5;40", Some(r#"{"t":"21,5","h":40}"#));
        check("\"a,\"\"b\" , x", Some(r#"{"t":"a,\"b","h":"x"}"#));
        check("21.5,", Some(r#"{"t":21.5,"h":null}"#));
        for wrong in ["21.5", "1,2,3", "", "\"a,b", "\"a\"b,c", "t,h", "t;h"] {
            check(wrong, None);
        }
    }
}
