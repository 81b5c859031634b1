//! Names that stand in topics: scopes, bundles, and patterns of both.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a bundle or group.
    #[error("{0:?} is no name of a {1}: it has 1 to 64 of the characters a-z, 0-9 and -")]
    Name(String, &'static str),
    /// Not a gateway.
    #[error("{0:?} is no id of a gateway: it has 1 to 64 letters, digits, - _ or .")]
    Gateway(String),
    /// Not a scope.
    #[error("{0:?} is no scope; write gateway:ID, group:NAME or all")]
    Scope(String),
    /// Not a pattern.
    #[error("{0:?} is no pattern; * may stand at its end only")]
    Pattern(String),
}

/// `true` for 1 to 64 of the characters a-z, 0-9 and `-`.
pub(crate) fn is_plain(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(good)
}

fn is_gateway(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(good)
}

/// The name of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleName(Box<str>);

impl BundleName {
    /// Reads a name.
    ///
    /// # Errors
    /// When it has other characters, or too many.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_plain(text) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Name(text.to_owned(), "bundle"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The gateways that a bundle is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One gateway.
    Gateway(Box<str>),
    /// Those that name the group in their configuration.
    Group(Box<str>),
    /// Every gateway of the fleet.
    All,
}

impl Scope {
    /// Reads `gateway:ID`, `group:NAME` or `all`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("gateway", id)) => Self::gateway(id),
            Some(("group", name)) => Self::group(name),
            _ => Err(NameError::Scope(text.to_owned())),
        }
    }

    /// The scope of one gateway.
    ///
    /// # Errors
    /// When the id makes no topic.
    pub fn gateway(id: &str) -> Result<Self, NameError> {
        if is_gateway(id) {
            Ok(Self::Gateway(id.into()))
        } else {
            Err(NameError::Gateway(id.to_owned()))
        }
    }

    /// The scope of a group.
    ///
    /// # Errors
    /// When the name has other characters, or too many.
    pub fn group(name: &str) -> Result<Self, NameError> {
        if is_plain(name) {
            Ok(Self::Group(name.into()))
        } else {
            Err(NameError::Name(name.to_owned(), "group"))
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(id) => write!(f, "gateway:{id}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::All => f.write_str("all"),
        }
    }
}

/// A text that may end in `*`, which stands for any rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, has a `*` before its end, or characters that no name has.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        let length = 1..=NAME_BYTES_MAX + "gateway:".len();
        if length.contains(&text.len()) && stem.chars().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Pattern(text.to_owned()))
        }
    }

    /// `true` if the pattern stands for the text.
    pub fn matches(&self, text: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(stem) => text.starts_with(stem),
            None => text == &*self.0,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a type stand as its text in documents.
macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    )*};
}

as_text!(BundleName, Scope, Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_written() {
        for text in ["all", "group:plant-a", "gateway:gw-17", "gateway:Gw_1.a"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "All",
            "group:",
            "group:A",
            "group:a/b",
            "gateway:+",
            "gateway:a b",
            "x:y",
            "group",
        ] {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
        assert!(BundleName::parse(&"a".repeat(64)).is_ok());
        assert!(BundleName::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn a_star_stands_for_any_rest() {
        let pattern = |text| Pattern::parse(text).unwrap();
        assert!(pattern("group:plant-*").matches("group:plant-a"));
        assert!(!pattern("group:plant-*").matches("group:plan"));
        assert!(pattern("*").matches("all"));
        assert!(pattern("all").matches("all") && !pattern("all").matches("alle"));
        for text in ["", "a*b", "**", "a/b", "a b"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
