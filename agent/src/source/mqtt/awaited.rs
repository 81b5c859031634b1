//! Timeout for the answers to SUBSCRIBE and UNSUBSCRIBE. A broker that answers pings and never
//! these would leave the agent connected and without events. Pure: time is an argument.

use std::time::{Duration, Instant};

/// Changes of subscriptions that wait for their answers. An answer to any of them puts the end off.
#[derive(Debug)]
pub(super) struct Awaited {
    limit: Duration,
    /// Moment since which nothing has moved, where any is on its way.
    since: Option<Instant>,
}

/// The step that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// To ask the broker whether it has read the requests at all: answers may wait behind messages.
    Ping,
    /// To connect anew.
    GiveUp,
}

impl Awaited {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: None }
    }

    /// A request left.
    pub(super) fn asked(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// One was answered; `more`: others wait.
    pub(super) fn answered(&mut self, more: bool, now: Instant) {
        self.since = more.then_some(now);
    }

    /// Restarts the wait: nothing was read because there was no room for it.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.since = self.since.map(|_| now);
    }

    /// Forgets all requests: the connection is gone.
    pub(super) fn forget(&mut self) {
        self.since = None;
    }

    /// The next step, and its time. `answered_ping`: when the last ping left, where it was
    /// answered. A ping that left behind the requests and was answered shows that the broker has
    /// passed them over.
    pub(super) fn due(&self, answered_ping: Option<Instant>) -> Option<(Instant, Step)> {
        let since = self.since?;
        Some(if answered_ping? > since {
            (since + self.limit, Step::GiveUp)
        } else {
            (since + self.limit / 2, Step::Ping)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_request_passed_over_is_given_up_only_after_a_ping_behind_it_was_answered() {
        let start = Instant::now();
        let mut awaited = Awaited::new(10 * SECOND);
        assert_eq!(awaited.due(Some(start)), None);
        awaited.asked(start);
        let ping = Some((start + 5 * SECOND, Step::Ping));
        assert_eq!(awaited.due(Some(start)), ping);
        assert_eq!(awaited.due(None), None, "the ping's answer waits too");
        let give_up = Some((start + 10 * SECOND, Step::GiveUp));
        assert_eq!(awaited.due(Some(start + 5 * SECOND)), give_up);
        awaited.forget();
        assert_eq!(awaited.due(Some(start + 5 * SECOND)), None);
    }

    #[test]
    fn any_answer_and_any_time_without_reading_put_the_end_off() {
        let start = Instant::now();
        let mut awaited = Awaited::new(10 * SECOND);
        awaited.asked(start);
        for second in (9..90_000).step_by(9) {
            let now = start + second * SECOND;
            let (at, _) = awaited.due(Some(now)).unwrap();
            assert!(at > now, "10,000 answers may take as long as they come");
            awaited.answered(true, now);
            awaited.asked(now + SECOND);
        }
        let now = start + 100_000 * SECOND;
        awaited.excuse(now);
        let give_up = Some((now + 10 * SECOND, Step::GiveUp));
        assert_eq!(awaited.due(Some(now + SECOND)), give_up);
        awaited.answered(false, now);
        awaited.excuse(now);
        assert_eq!(awaited.due(Some(now)), None);
    }
}
