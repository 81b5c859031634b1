//! Topics of a fleet, under a prefix that is fixed.

use crate::names::{BundleName, Scope};

/// The prefix of all of them.
pub const PREFIX: &str = "tidemill/v1";

/// Topics by their meaning.
#[derive(Debug, Clone, Copy)]
pub struct Topics;

/// A topic under which a bundle is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DesiredTopic {
    /// The gateways.
    pub scope: Scope,
    /// The bundle.
    pub bundle: BundleName,
}

impl Topics {
    /// The topic of root `n`, kept for ever.
    pub fn root(number: u64) -> String {
        format!("{PREFIX}/root/{number}")
    }

    /// The topic of a gateway's status.
    pub fn status(gateway: &str) -> String {
        format!("{PREFIX}/gateway/{gateway}/status")
    }

    /// The topic of a gateway's report on a bundle.
    pub fn reported(gateway: &str, bundle: &BundleName) -> String {
        format!("{PREFIX}/gateway/{gateway}/reported/{bundle}")
    }

    /// The filter of all bundles of a scope.
    pub fn desired_of(scope: &Scope) -> String {
        format!("{PREFIX}/{}/desired/+", level(scope))
    }

    /// The number of a root, from its topic.
    pub fn root_number(topic: &str) -> Option<u64> {
        let number: u64 = under_prefix(topic)?.strip_prefix("root/")?.parse().ok()?;
        (Self::root(number) == topic).then_some(number)
    }

    /// Gateway and bundle of a report, from its topic; no bundle for a status.
    pub fn report_of(topic: &str) -> Option<(&str, Option<BundleName>)> {
        let (gateway, rest) = under_prefix(topic)?
            .strip_prefix("gateway/")?
            .split_once('/')?;
        Scope::gateway(gateway).ok()?;
        match rest.strip_prefix("reported/") {
            Some(bundle) => Some((gateway, Some(BundleName::parse(bundle).ok()?))),
            None => (rest == "status").then_some((gateway, None)),
        }
    }
}

impl DesiredTopic {
    /// Reads a topic.
    pub fn parse(topic: &str) -> Option<Self> {
        let (scope, bundle) = under_prefix(topic)?.split_once("/desired/")?;
        let scope = match scope.split_once('/') {
            None if scope == "all" => Scope::All,
            Some(("group", name)) => Scope::group(name).ok()?,
            Some(("gateway", id)) => Scope::gateway(id).ok()?,
            _ => return None,
        };
        let bundle = BundleName::parse(bundle).ok()?;
        Some(Self { scope, bundle })
    }

    /// The topic.
    pub fn topic(&self) -> String {
        format!("{PREFIX}/{}/desired/{}", level(&self.scope), self.bundle)
    }
}

fn level(scope: &Scope) -> String {
    match scope {
        Scope::All => "all".to_owned(),
        Scope::Group(name) => format!("group/{name}"),
        Scope::Gateway(id) => format!("gateway/{id}"),
    }
}

fn under_prefix(topic: &str) -> Option<&str> {
    topic.strip_prefix(PREFIX)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_as_they_are_written() {
        for topic in [
            "tidemill/v1/all/desired/main",
            "tidemill/v1/group/plant-a/desired/main",
            "tidemill/v1/gateway/gw-17/desired/a-1",
        ] {
            assert_eq!(DesiredTopic::parse(topic).unwrap().topic(), topic);
        }
        for topic in [
            "tidemill/v1/all/desired/",
            "tidemill/v1/all/desired/a/b",
            "tidemill/v1/alle/desired/a",
            "tidemill/v1/group/A/desired/a",
            "tidemill/v1/gateway/+/desired/a",
            "tidemill/v2/all/desired/a",
            "/tidemill/v1/all/desired/a",
        ] {
            assert_eq!(DesiredTopic::parse(topic), None, "{topic}");
        }
        assert_eq!(Topics::root_number(&Topics::root(7)), Some(7));
        assert_eq!(Topics::root_number("tidemill/v1/root/07"), None);
        let bundle = BundleName::parse("main").unwrap();
        let reported = Topics::reported("gw", &bundle);
        assert_eq!(Topics::report_of(&reported), Some(("gw", Some(bundle))));
        assert_eq!(Topics::report_of(&Topics::status("gw")), Some(("gw", None)));
        assert_eq!(Topics::report_of("tidemill/v1/gateway/gw/gap"), None);
    }
}
