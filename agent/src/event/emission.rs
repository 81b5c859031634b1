//! Rows of lanes: messages that leave the gateway once they are committed. A row's lane and
//! sequence number identify it for good; a receiver that keeps the highest number counts each row
//! once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use tidemill_transport::topic::Topic;

/// Send order of a lane relative to the other lanes of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Sent before everything else that waits.
    High,
    /// Sent in turn.
    Normal,
}

/// A destination and a priority: the unit of sequence, order and limits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// Name of the destination in the gateway's configuration.
    pub destination: Arc<str>,
    /// Send order relative to other lanes.
    pub priority: Priority,
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let priority = match self.priority {
            Priority::High => "high",
            Priority::Normal => "normal",
        };
        write!(f, "{}/{priority}", self.destination)
    }
}

/// The text names no lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lane is written destination/high or destination/normal")]
pub struct NoLane;

impl FromStr for LaneId {
    type Err = NoLane;

    fn from_str(text: &str) -> Result<Self, NoLane> {
        let (destination, priority) = text.rsplit_once('/').ok_or(NoLane)?;
        let priority = match priority {
            "high" => Priority::High,
            "normal" => Priority::Normal,
            _ => return Err(NoLane),
        };
        Ok(Self {
            destination: destination.into(),
            priority,
        })
    }
}

/// One message of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Sequence number in the lane, from 1, rising by one.
    pub seq: u64,
    /// Name of the rule that made it; empty for rows of the agent itself.
    pub rule: Arc<str>,
    /// The topic to publish on.
    pub topic: Topic,
    /// The message's payload.
    pub payload: Bytes,
    /// Wall time of the call that made it, in milliseconds since 1970.
    pub at_ms: i64,
    /// Age clock at that time, in milliseconds; the row's waiting time is measured from it.
    pub made_ms: u64,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// MQTT's retain flag.
    pub retain: bool,
}

impl Row {
    /// `true` if the row is a gap record: the agent's own report that rows before it were dropped.
    pub fn is_gap(&self) -> bool {
        self.rule.is_empty()
    }
}

/// Time of a row that the agent itself makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Wall time, in milliseconds since 1970.
    pub at_ms: i64,
    /// Age clock, in milliseconds.
    pub made_ms: u64,
}

/// Report of a destination about rows that were handed to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneReport {
    /// The receiver has these rows, `first` to `last`, both included.
    Acknowledged {
        /// Number of the destination.
        destination: usize,
        /// Priority of the lane.
        priority: Priority,
        /// The first row.
        first: u64,
        /// The last row.
        last: u64,
    },
    /// The receiver will not take these rows, which were sent together, as they are.
    Refused {
        /// Number of the destination.
        destination: usize,
        /// Priority of the lane.
        priority: Priority,
        /// The first row.
        first: u64,
        /// The last row.
        last: u64,
        /// The receiver's reason.
        reason: String,
    },
    /// From now on a request has at most this many bytes of rows: as many as the link carries
    /// within a tolerable time.
    RequestBytes {
        /// Number of the destination.
        destination: usize,
        /// Priority of the lane.
        priority: Priority,
        /// The limit in bytes; a single row may have more.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_read_as_it_is_written() {
        for text in ["cloud/high", "local/normal", "a/b/normal"] {
            assert_eq!(text.parse::<LaneId>().unwrap().to_string(), text);
        }
        assert_eq!("cloud".parse::<LaneId>(), Err(NoLane));
        assert_eq!("cloud/low".parse::<LaneId>(), Err(NoLane));
    }
}
