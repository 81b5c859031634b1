//! Options of a command: `--name`, `--name value` and plain words. It knows no command; each says what it takes.

use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::str::FromStr;

/// Wrong use of a command, which ends with exit code 2.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// The words of a command line, sorted by kind.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Args {
    flags: BTreeSet<String>,
    values: BTreeMap<String, Vec<String>>,
    /// Words that are neither options nor their values, in order.
    pub(crate) words: Vec<String>,
}

impl Args {
    /// Sorts `words`; fails on an option that is in neither list, naming it.
    pub(crate) fn parse(
        words: impl IntoIterator<Item = String>,
        flags: &[&str],
        values: &[&str],
    ) -> Result<Self> {
        let mut args = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                args.words.push(word);
                continue;
            };
            if flags.contains(&name) {
                args.flags.insert(name.to_owned());
            } else if values.contains(&name) {
                let value = words
                    .next()
                    .ok_or_else(|| Misuse(format!("--{name} needs a value")))?;
                args.values.entry(name.to_owned()).or_default().push(value);
            } else {
                return Err(Misuse(format!(
                    "unknown option --{name}; `cargo xtask --help` lists them"
                ))
                .into());
            }
        }
        Ok(args)
    }

    /// `true` if `--name` was given.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.flags.contains(name)
    }

    /// The value of `--name`, if given; of several the last.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// The values of `--name`, in order.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of `--name` as a number; fails when it is none.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.text(name)
            .map(|text| {
                text.replace('_', "").parse().map_err(|_| {
                    Misuse(format!("--{name}: {text:?} is no number that fits")).into()
                })
            })
            .transpose()
    }

    /// Fails if there are plain words, for commands that take none.
    pub(crate) fn no_words(&self) -> Result<()> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(Misuse(format!(
                "unexpected word {word:?}; `cargo xtask --help` shows what fits"
            ))
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(
            line.split_whitespace().map(str::to_owned),
            &["json"],
            &["rate"],
        )
    }

    #[test]
    fn words_flags_and_values_may_mix() {
        let args = parse("w1 --rate 5_000 w2 --json").unwrap();
        assert_eq!(args.words, ["w1", "w2"]);
        assert!(args.flag("json"));
        assert_eq!(args.number("rate").unwrap(), Some(5_000_u64));
        let args = parse("--rate 1 --rate 2").unwrap();
        assert_eq!(args.all("rate"), ["1", "2"]);
        assert_eq!(args.text("rate"), Some("2"));
        assert!(args.all("json").is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("--rats 5", "--rats"),
            ("--rate", "--rate needs a value"),
            ("--json=1", "--json=1"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
        let error = parse("--rate fast").unwrap().number::<u64>("rate");
        assert!(error.unwrap_err().to_string().contains("\"fast\""));
        assert!(parse("w1").unwrap().no_words().is_err());
    }
}
