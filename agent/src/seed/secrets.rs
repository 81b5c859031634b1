//! The secrets in a seed: where they stand, and what keeps them out of everything that is said.

use std::ops::Range;

use super::TAKEN_OVER;
use tidemill_base::secret::Secret;
use tidemill_base::text::FileError;

/// Keys whose values are secrets.
const KEYS: [&str; 2] = ["password", "token"];

/// The table of users, whose values are passwords.
const USERS: &str = "users";

/// Shortest text that is hidden wherever it stands; a shorter one would hide ordinary words as well.
const HIDDEN_MIN: usize = 3;

/// Texts that nothing may show.
#[derive(Debug, Default)]
pub(super) struct Hidden(Vec<Secret>);

impl Hidden {
    /// Looks for secrets in a text that may be no TOML at all: whatever stands behind a key of a secret, and in
    /// the table of users.
    pub(super) fn of_text(text: &str) -> Self {
        let mut all = Vec::new();
        let mut is_users = false;
        for line in text.lines() {
            let trimmed = line.trim_start();
            if trimmed.starts_with('[') {
                is_users = trimmed.trim_end().trim_end_matches(']').ends_with(USERS);
            }
            // What stands before the table of users on its line is none of them.
            let users = if is_users { Some(0) } else { line.find(USERS) };
            let mut at = 0;
            while let Some(found) = line.get(at..).and_then(|rest| rest.find('=')) {
                let equals = at + found;
                at = equals + 1;
                let key = line.get(..equals).unwrap_or_default().trim_end();
                let key = key.trim_end_matches(['"', '\'']);
                let is_user = users.is_some_and(|users| users < equals);
                if is_user || KEYS.iter().any(|name| key.ends_with(name)) {
                    all.extend(values(line.get(at..).unwrap_or_default()));
                }
            }
        }
        let mut hidden = Self::default();
        all.into_iter()
            .for_each(|text| hidden.add(&text.as_str().into()));
        hidden
    }

    /// Adds a text that nothing may show.
    pub(super) fn add(&mut self, secret: &Secret) {
        let text = secret.expose();
        if text.len() >= HIDDEN_MIN && text != TAKEN_OVER {
            self.0.push(secret.clone());
            // The longest first: one may be a part of another.
            self.0
                .sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        }
    }

    /// A text without any secret in it.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for secret in &self.0 {
            shown = shown.replace(secret.expose(), "…");
        }
        shown
    }

    /// The same error, without any secret in it.
    pub(super) fn hide_in(&self, error: FileError) -> FileError {
        FileError {
            message: self.hide(&error.message),
            excerpt: None,
            ..error
        }
    }

    /// A line of a comment without any secret in it; other lines as they are.
    fn hide_in_comment(&self, line: &str) -> String {
        match line.find('#') {
            Some(at) => {
                let (before, comment) = line.split_at(at);
                format!("{before}{}", self.hide(comment))
            }
            None => line.to_owned(),
        }
    }
}

/// The beginnings that a value without its end may have: of a text in quotes, of a word, of the whole line.
fn values(rest: &str) -> Vec<String> {
    let rest = rest.trim();
    let mut all = Vec::new();
    for quote in ['"', '\''] {
        if let Some(inside) = rest.strip_prefix(quote) {
            let end = inside.find(quote).unwrap_or(inside.len());
            all.push(inside.get(..end).unwrap_or_default().to_owned());
        }
    }
    let word = rest.split([',', '}', '#']).next().unwrap_or_default();
    all.push(word.trim().trim_matches(['"', '\'']).to_owned());
    all.push(rest.trim_matches(['"', '\'']).to_owned());
    all
}

/// The text of a seed with each secret replaced by a note that it was taken over.
/// `secrets` are their places with their quotes.
pub(super) fn blanked(text: &str, secrets: &[Range<usize>], hidden: &Hidden) -> String {
    let mut places: Vec<&Range<usize>> = secrets.iter().collect();
    places.sort_by_key(|place| place.start);
    let (mut blank, mut at) = (String::new(), 0);
    for place in places {
        blank.push_str(text.get(at..place.start).unwrap_or_default());
        blank.push_str(&format!("{TAKEN_OVER:?}"));
        at = place.end;
    }
    blank.push_str(text.get(at..).unwrap_or_default());
    // A password of before may stand in a comment.
    let lines = blank.split_inclusive('\n');
    lines.map(|line| hidden.hide_in_comment(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_texts_that_are_no_toml() {
        for text in [
            "password = \"hush hush\"",
            "password = hush hush",
            "password = \"hush hush",
            "[destinations.cloud]\nurl = \"x\", token = 'hush hush' }",
            "\"password\" = hush hush # mine",
            "[system.sensors.users]\nanna = \"hush hush\"",
            "sensors = { users = { anna = \"hush hush\", bert = \"b\" } }",
        ] {
            let hidden = Hidden::of_text(text);
            let shown = hidden.hide("it says hush hush there");
            assert_eq!(shown, "it says … there", "{text}");
        }
        let hidden = Hidden::of_text("sensors = { port = 1883, users = { a = \"hush\" } }");
        assert_eq!(hidden.hide("1883 hush"), "1883 …");
        let hidden = Hidden::of_text("url = \"mqtt://h\"\nusername = \"gw\"\n");
        assert_eq!(hidden.hide("mqtt://h gw"), "mqtt://h gw");
    }

    #[test]
    fn a_blanked_seed_keeps_everything_else() {
        let text = "# was hush\n[broker]\npassword = \"hush\" # hush\r\nurl = \"mqtt://hush\"\n";
        let at = text.find("\"hush\"").unwrap();
        let place = at..at + 6;
        let mut hidden = Hidden::default();
        hidden.add(&"hush".into());
        let blank = blanked(text, &[place], &hidden);
        let expected =
            "# was …\n[broker]\npassword = \"(taken over)\" # …\r\nurl = \"mqtt://hush\"\n";
        assert_eq!(blank, expected);
    }
}
