//! The section that names rules whose state is forgotten because they went away.

use super::codec::{Reader, RecordError, put_len, put_text};
use super::section::{FORGOTTEN, Section};

impl Section {
    /// Names rules whose state is forgotten; `None` if there are none.
    pub fn forgotten(rules: &[String]) -> Option<Self> {
        if rules.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        put_len(&mut bytes, rules.len());
        for rule in rules {
            put_text(&mut bytes, rule.as_bytes());
        }
        Some(Self {
            kind: FORGOTTEN,
            bytes: bytes.into(),
        })
    }

    /// The rules that it names, if it is of that kind.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn forgotten_rules(&self) -> Result<Vec<String>, RecordError> {
        if self.kind != FORGOTTEN {
            return Ok(Vec::new());
        }
        let mut reader = Reader::new(&self.bytes);
        let mut rules = Vec::new();
        for _ in 0..reader.count()? {
            rules.push(reader.short_text()?.to_string());
        }
        reader.end()?;
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_on_disk_are_stable_and_damage_is_found() {
        let rules = ["hot".to_owned(), "cold".to_owned()];
        let section = Section::forgotten(&rules).unwrap();
        let expected = b"\x02\x03hot\x04cold";
        assert_eq!((section.kind.number(), &*section.bytes), (2, &expected[..]));
        assert_eq!(section.forgotten_rules(), Ok(rules.to_vec()));
        let cut = Section {
            bytes: section.bytes[..5].into(),
            ..section
        };
        assert_eq!(cut.forgotten_rules(), Err(RecordError::Damaged));
        assert_eq!(Section::forgotten(&[]), None);
    }
}
