//! Expected results, by the messages that the broker accepted: each once, unless the broker itself
//! lost it or sent it twice without a name; and the values that each rule should give.

use std::collections::BTreeMap;

use tidemill::event::emission::Row;

/// A message of the sensors.
#[derive(Debug, Clone, Copy, Default)]
struct Fact {
    key: u8,
    /// On which of the base filters, where the gateway's session had it.
    base: Option<&'static str>,
    accepted: bool,
    odd: bool,
    /// Least and greatest number of times that it has to be counted.
    at_least: u32,
    at_most: u32,
    /// Number of times that it passed.
    passed: u32,
    /// Its number is an old one: it may be left out, if the gateway says so.
    old: bool,
    /// The broker has lost it.
    gone: bool,
    /// `true` if it may come behind later ones.
    unordered: bool,
}

/// Check of a rule's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Messages pass, each under its number.
    Passes,
    /// The same, and some are dropped.
    SomePass,
    /// 1, 2, 3, … for each key.
    Counts,
    /// The same with gaps, where rows are dropped.
    Rises,
    /// Numbers of events that went by.
    Sums,
    /// A retained message passes once for each of its copies.
    Copies,
    /// Any values.
    Anything,
}

fn values(rule: &str) -> Values {
    match rule {
        "seen" | "buzz" => Values::Passes,
        "odd" => Values::SomePass,
        "lossy" => Values::Rises,
        "timer" | "panes" | "sessions" => Values::Sums,
        "keep" => Values::Copies,
        "few" | "fragile" | "vol" => Values::Anything,
        _ => Values::Counts,
    }
}

/// Rules that count every message of a base filter.
const EXACT: [(&str, &str); 8] = [
    ("count", "s/+"),
    ("total", "s/+"),
    ("entries", "s/+"),
    ("timer", "s/+"),
    ("panes", "s/+"),
    ("sessions", "s/+"),
    ("alarm", "a/+"),
    ("odd", "s/+"),
];

/// The simulation's books.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    facts: Vec<Fact>,
    /// `true` if messages cannot be told apart.
    pub(crate) nameless: bool,
    /// Rows of `seen` and `buzz` by filter and key, where messages cannot be told apart.
    passed: BTreeMap<(&'static str, u8), u64>,
    /// The last value, or the sum, of each rule and key.
    values: BTreeMap<(String, u8), u64>,
    /// The last message that passed, of each rule and key.
    latest: BTreeMap<(String, u8), usize>,
}

impl Truth {
    /// A message is published; returns its number.
    pub(crate) fn published(&mut self, key: u8, base: Option<&'static str>, odd: bool) -> usize {
        self.facts.push(Fact {
            key,
            base,
            odd,
            ..Fact::default()
        });
        self.facts.len() - 1
    }

    /// Number of messages.
    pub(crate) fn messages(&self) -> usize {
        self.facts.len()
    }

    /// The broker took it for the gateway.
    pub(crate) fn accepted(&mut self, uid: usize) {
        let fact = &mut self.facts[uid];
        fact.accepted = true;
        fact.at_least = 1;
        // It may come again, if this is not the first time.
        fact.at_most = fact.at_most.max(1);
    }

    /// `true` if the broker took it for the gateway and has not lost it.
    pub(crate) fn is_held(&self, uid: usize) -> bool {
        let fact = &self.facts[uid];
        fact.accepted && !fact.gone
    }

    /// The broker took it, and it may reach the rules that are checked.
    pub(crate) fn perhaps(&mut self, uid: usize) {
        self.facts[uid].at_most = 1;
    }

    /// A copy of a message that the broker keeps is on its way.
    pub(crate) fn kept_copy(&mut self, uid: usize) {
        let fact = &mut self.facts[uid];
        // Rules that are checked do not want retained copies.
        fact.at_most = fact.at_most.saturating_add(u32::from(fact.base.is_none()));
    }

    /// The broker has lost it; it may have been counted before.
    pub(crate) fn lost(&mut self, uid: usize) {
        let fact = &mut self.facts[uid];
        (fact.at_least, fact.gone) = (0, true);
    }

    /// Its sensor counts anew.
    pub(crate) fn may_be_silenced(&mut self, uid: usize) {
        let fact = &mut self.facts[uid];
        (fact.at_least, fact.old) = (0, true);
    }

    /// The names of a key's messages are forgotten.
    pub(crate) fn forgotten(&mut self, key: u8) {
        let facts = self.facts.iter_mut().filter(|fact| fact.key == key);
        facts.for_each(|fact| (fact.at_most, fact.unordered) = (u32::MAX, true));
    }

    /// Filter and key of messages that were left out because of their numbers.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = (usize, &'static str, u8)> {
        let facts = self.facts.iter().enumerate();
        let left = facts.filter(|(_, fact)| fact.old && fact.accepted && !fact.gone);
        let left = left.filter(|(_, fact)| fact.passed == 0);
        left.filter_map(|(uid, fact)| Some((uid, fact.base?, fact.key)))
    }

    /// The broker sends it again though it was counted.
    pub(crate) fn again(&mut self, uid: usize) {
        self.facts[uid].at_most = u32::MAX;
    }

    /// Notes that a message may come behind messages that were sent after it.
    pub(crate) fn out_of_order(&mut self, uid: usize) {
        self.facts[uid].unordered = true;
    }

    /// The same message was sent another time: it has to be counted once more.
    pub(crate) fn twice(&mut self, uid: usize) {
        let fact = &mut self.facts[uid];
        fact.at_least += 1;
        fact.at_most = fact.at_most.saturating_add(1);
        fact.unordered = true;
    }

    /// A message that was sent another time may be taken for the first one.
    pub(crate) fn may_be_one(&mut self, uid: usize) {
        let fact = &mut self.facts[uid];
        fact.at_least = fact.at_least.min(1);
    }

    /// A live copy of a kept message, on a filter that is not checked otherwise.
    pub(crate) fn kept_live(&mut self, uid: usize) {
        let fact = &mut self.facts[uid];
        fact.at_most = fact.at_most.saturating_add(1);
    }

    /// A receiver took a row.
    ///
    /// # Errors
    /// When it cannot be.
    pub(crate) fn received(&mut self, row: &Row) -> Result<(), String> {
        let rule = &*row.rule;
        let Some(key) = row
            .topic
            .as_str()
            .rsplit_once("/k")
            .and_then(|(_, key)| key.parse::<u8>().ok())
        else {
            return Err(format!("topic {}", row.topic));
        };
        let text = std::str::from_utf8(&row.payload).unwrap_or_default();
        match values(rule) {
            Values::Anything => Ok(()),
            Values::Passes => self.pass(rule, key, text, true),
            Values::SomePass => self.pass_some(rule, key, text),
            Values::Copies => self.pass(rule, key, text, false),
            Values::Counts => self.count(rule, key, number(text)?, false),
            Values::Rises => self.count(rule, key, number(text)?, true),
            Values::Sums => {
                *self.values.entry((rule.to_owned(), key)).or_default() += number(text)?;
                Ok(())
            }
        }
    }

    fn count(&mut self, rule: &str, key: u8, value: u64, gaps: bool) -> Result<(), String> {
        let last = self.values.entry((rule.to_owned(), key)).or_default();
        if value != *last + 1 && !(gaps && value > *last) {
            return Err(format!("{rule} of k{key} counts {value} after {last}"));
        }
        *last = value;
        Ok(())
    }

    fn pass(&mut self, rule: &str, key: u8, text: &str, ordered: bool) -> Result<(), String> {
        let filter = if rule == "buzz" { "a/+" } else { "s/+" };
        *self.passed.entry((filter, key)).or_default() += u64::from(ordered);
        let Some(uid) = uid(text).filter(|_| !self.nameless) else {
            return Ok(());
        };
        let fact = self.facts.get_mut(uid).ok_or("no such message")?;
        fact.passed += 1;
        if fact.passed > fact.at_most {
            let (passed, most) = (fact.passed, fact.at_most);
            return Err(format!(
                "message {uid} passed {passed} times, at most {most} was right"
            ));
        }
        if ordered {
            self.in_order(rule, key, uid)?;
        }
        Ok(())
    }

    fn pass_some(&mut self, rule: &str, key: u8, text: &str) -> Result<(), String> {
        *self.values.entry((rule.to_owned(), key)).or_default() += 1;
        match uid(text).filter(|_| !self.nameless) {
            Some(uid) if !self.facts[uid].odd => Err(format!("message {uid} was to be dropped")),
            Some(uid) => self.in_order(rule, key, uid),
            None => Ok(()),
        }
    }

    fn in_order(&mut self, rule: &str, key: u8, uid: usize) -> Result<(), String> {
        if self.facts[uid].unordered {
            return Ok(());
        }
        let latest = self.latest.entry((rule.to_owned(), key)).or_default();
        if uid < *latest {
            return Err(format!(
                "{rule} of k{key}: message {uid} passed after {latest}"
            ));
        }
        *latest = uid.max(*latest);
        Ok(())
    }

    /// Number of times that messages of a filter and key passed.
    fn total(&self, filter: &'static str, key: u8, odd_only: bool) -> u64 {
        if self.nameless && !odd_only {
            return self.passed.get(&(filter, key)).copied().unwrap_or(0);
        }
        let of_it =
            |fact: &&Fact| fact.base == Some(filter) && fact.key == key && (fact.odd || !odd_only);
        let facts = self.facts.iter().filter(of_it);
        facts.map(|fact| u64::from(fact.passed)).sum()
    }

    /// Number of times that messages of a filter were counted in all.
    pub(crate) fn counted(&self, filter: &'static str) -> u64 {
        (0..=u8::MAX)
            .map(|key| self.total(filter, key, false))
            .sum()
    }

    /// Messages that have not come out, and should.
    pub(crate) fn missing(&self) -> Vec<usize> {
        let facts = self.facts.iter().enumerate();
        let missing = |(_, fact): &(usize, &Fact)| {
            fact.base.is_some() && fact.accepted && fact.passed < fact.at_least
        };
        if self.nameless {
            return Vec::new();
        }
        facts.filter(missing).map(|(uid, _)| uid).collect()
    }

    /// Checks that everything has come out as it should, for the rules of these names.
    ///
    /// # Errors
    /// When something has not.
    pub(crate) fn check(&self, rules: &[&str], keys: u8) -> Result<(), String> {
        if let Some(uid) = self.missing().first() {
            let Fact { key, base, .. } = self.facts[*uid];
            return Err(format!("message {uid} ({base:?}, k{key}) is lost"));
        }
        for key in 0..keys {
            self.check_totals(key)?;
            for (rule, filter) in EXACT {
                if !rules.contains(&rule) || (rule == "odd" && self.nameless) {
                    continue;
                }
                let value = self.values.get(&(rule.to_owned(), key)).copied();
                let (value, total) = (value.unwrap_or(0), self.total(filter, key, rule == "odd"));
                if value != total {
                    return Err(format!(
                        "{rule} of k{key} came to {value}, but {total} messages passed"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks the number of messages, where they cannot be told apart.
    fn check_totals(&self, key: u8) -> Result<(), String> {
        if !self.nameless {
            return Ok(());
        }
        for filter in ["s/+", "a/+"] {
            let of_it = |fact: &&Fact| fact.base == Some(filter) && fact.key == key;
            let facts = || self.facts.iter().filter(of_it);
            let least: u64 = facts().map(|fact| u64::from(fact.at_least)).sum();
            let most: u64 = facts().map(|fact| u64::from(fact.at_most)).sum();
            let total = self.total(filter, key, false);
            if total < least || total > most {
                return Err(format!(
                    "{total} messages of {filter} k{key} passed, {least} to {most} were right"
                ));
            }
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    Ok(number as u64)
}

/// The message's number stands first in its payload, JSON or not.
fn uid(text: &str) -> Option<usize> {
    let rest = text.split_once("\"u\":")?.1;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..digits)?.parse().ok()
}
