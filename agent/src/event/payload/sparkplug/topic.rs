//! Topics of Sparkplug B: `spBv1.0/group/TYPE/node[/device]`, behind whatever levels a bridge has put in
//! front.

/// The topic level that identifies Sparkplug B.
const NAMESPACE: &str = "spBv1.0";

/// A node or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    text: String,
    /// End of the node's name in `text`.
    node: usize,
}

/// Kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A node or a device announces its metrics.
    Birth,
    /// Anything else.
    Other,
}

impl Place {
    /// The node or device that a topic is about, and what its messages are; `None` for other topics.
    pub fn of_topic(topic: &str) -> Option<(Self, Kind)> {
        let levels: Vec<&str> = topic.split('/').collect();
        let at = levels.iter().position(|level| *level == NAMESPACE)?;
        let (group, kind, node, device) = match levels.get(at + 1..)? {
            [group, kind, node] => (group, *kind, node, None),
            [group, kind, node, device] => (group, *kind, node, Some(device)),
            _ => return None,
        };
        let of_device = kind.starts_with('D');
        let known = ["BIRTH", "DATA", "DEATH", "CMD"];
        let name = kind.strip_prefix(['N', 'D'])?;
        if !known.contains(&name) || of_device != device.is_some() {
            return None;
        }
        let before = levels.get(..at)?.iter().chain([group, node]);
        let mut text = before.copied().collect::<Vec<_>>().join("/");
        let node = text.len();
        if let Some(device) = device {
            text = format!("{text}/{device}");
        }
        let kind = match name {
            "BIRTH" => Kind::Birth,
            _ => Kind::Other,
        };
        Some((Self { text, node }, kind))
    }

    /// Group, node and device, with a stroke between them.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Group and node, whatever the place is.
    pub fn node(&self) -> &str {
        self.text.get(..self.node).unwrap_or_default()
    }

    /// `true` for a device, `false` for a node.
    pub fn is_device(&self) -> bool {
        self.node < self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_tells_group_node_and_device() {
        let check = |topic: &str, expected: Option<(&str, &str, Kind)>| {
            let found = Place::of_topic(topic);
            let found = found
                .as_ref()
                .map(|(place, kind)| (place.as_str(), place.node(), *kind));
            assert_eq!(found, expected, "{topic}");
        };
        check("spBv1.0/G/NBIRTH/N", Some(("G/N", "G/N", Kind::Birth)));
        check("spBv1.0/G/DBIRTH/N/D", Some(("G/N/D", "G/N", Kind::Birth)));
        check("spBv1.0/G/DDATA/N/D", Some(("G/N/D", "G/N", Kind::Other)));
        check("spBv1.0/G/NDEATH/N", Some(("G/N", "G/N", Kind::Other)));
        check(
            "site/1/spBv1.0/G/NCMD/N",
            Some(("site/1/G/N", "site/1/G/N", Kind::Other)),
        );
        for other in [
            "spBv1.0/STATE/host",
            "spBv1.0/G/NDATA",
            "spBv1.0/G/NDATA/N/D",
            "spBv1.0/G/DDATA/N",
            "spBv1.0/G/DATA/N",
            "spBv1.0/G/NBIRTHDAY/N",
            "spAv1.0/G/NDATA/N",
            "a/b",
        ] {
            check(other, None);
        }
    }
}
