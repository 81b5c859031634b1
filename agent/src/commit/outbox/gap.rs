//! The record of dropped rows: a row of the lane itself, so that a receiver knows of every number
//! that never comes. If a gap record is dropped too, the next one includes its report.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::event::emission::{LaneId, Made, Row};
use tidemill_transport::topic::Topic;

/// Rows that were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) count: u64,
}

/// The record as written.
#[derive(Serialize, Deserialize)]
struct Told<T> {
    gap: Named<T>,
}

#[derive(Serialize, Deserialize)]
struct Named<T> {
    lane: T,
    #[serde(flatten)]
    gap: Gap,
}

/// Last level of the topic of gap records; an earlier build used `tidemill/v1/<gateway>/gap`.
const LEVEL: &str = "/gap";

/// The topic of a gateway's gap records.
pub fn topic(gateway: &str) -> String {
    format!("tidemill/v1/gateway/{gateway}{LEVEL}")
}

impl Gap {
    /// Both together.
    pub(super) fn and(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            count: self.count + other.count,
        })
    }

    /// Returns the gap without `others`, which cover a part of it; `None` if they cover all. Its
    /// ends stay: it is unknown which of its rows they belonged to.
    pub(super) fn without(self, others: Option<Self>) -> Option<Self> {
        let count = others.map_or(0, |others| others.count);
        let count = self.count.checked_sub(count).filter(|left| *left > 0)?;
        Some(Self { count, ..self })
    }

    /// The gaps reported by those of the rows that are gap records.
    pub(super) fn of_all<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<Self> {
        rows.filter_map(Self::of)
            .fold(None, |all, gap| Some(gap.and(all)))
    }

    /// The row that reports the gap; `None` if the gateway's name makes no valid topic.
    pub(super) fn row(self, lane: &LaneId, gateway: &str, made: Made) -> Option<Row> {
        let lane = lane.to_string();
        let told = Told {
            gap: Named { lane, gap: self },
        };
        Some(Row {
            seq: 0,
            rule: "".into(),
            topic: Topic::new(&topic(gateway)).ok()?,
            payload: serde_json::to_vec(&told).ok()?.into(),
            at_ms: made.at_ms,
            made_ms: made.made_ms,
            qos: 1,
            retain: false,
        })
    }

    /// The gap reported by a row, if the row is a gap record.
    pub(super) fn of(row: &Row) -> Option<Self> {
        if !row.rule.is_empty() || !row.topic.as_str().ends_with(LEVEL) {
            return None;
        }
        let told: Told<IgnoredAny> = serde_json::from_slice(&row.payload).ok()?;
        Some(told.gap.gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_read_as_it_is_told() {
        let gap = Gap {
            from: 3,
            to: 9,
            count: 5,
        };
        let lane: LaneId = "cloud/high".parse().unwrap();
        let (at_ms, made_ms) = (7, 8);
        let made = Made { at_ms, made_ms };
        let mut row = gap.row(&lane, "gw", made).unwrap();
        let text = r#"{"gap":{"lane":"cloud/high","from":3,"to":9,"count":5}}"#;
        assert_eq!(
            (&*row.payload, row.topic.as_str()),
            (text.as_bytes(), "tidemill/v1/gateway/gw/gap")
        );
        assert_eq!(Gap::of(&row), Some(gap));
        row.topic = Topic::new("tidemill/v1/gw/gap").unwrap();
        assert_eq!(Gap::of(&row), Some(gap), "written by the build before");
        row.rule = "a-rule".into();
        assert_eq!(Gap::of(&row), None);
    }
}
