//! Decides whether a broker is alive: anything that moves is a sign of it, a byte read as well as a
//! byte that a full socket accepts. Silence counts against the broker only while it owes an answer.
//! Pure: time is an argument.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Liveness {
    /// A broker that owes an answer may be silent for so long.
    timeout: Duration,
    ping_every: Duration,
    pinged: Instant,
    /// Pings without an answer.
    pings: u32,
    /// Something was read.
    heard: Instant,
    /// The last time that nothing was read because we did not listen.
    excused: Instant,
    /// The broker owes acknowledgements, since when, and how much longer it may be silent for that.
    owes: Option<(Instant, Duration)>,
    /// Time since which the broker owes an answer, if it owes one.
    owing: Instant,
}

/// The action due when nothing moves until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// The broker is taken for dead.
    Silence,
}

impl Liveness {
    pub(super) fn new(timeout: Duration, ping_every: Duration, now: Instant) -> Self {
        Self {
            timeout,
            ping_every,
            pinged: now,
            pings: 0,
            heard: now,
            excused: now,
            owes: None,
            owing: now,
        }
    }

    fn is_owing(&self) -> bool {
        self.pings > 0 || self.owes.is_some()
    }

    /// The broker took the connection, and says how often it wants to hear of its client; zero: it does
    /// not mind, and we go on looking after it as we do.
    pub(super) fn accepted(&mut self, server_keep_alive: Option<Duration>, now: Instant) {
        let wanted = server_keep_alive.filter(|wanted| !wanted.is_zero());
        self.ping_every = self.ping_every.min(wanted.unwrap_or(self.ping_every));
        self.pinged = now;
    }

    /// Something was read.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Notes that nothing was read for lack of room: silence is then no sign of a dead broker.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.excused = now;
    }

    /// A ping was asked for.
    pub(super) fn pinged(&mut self, now: Instant) {
        if !self.is_owing() {
            self.owing = now;
        }
        self.pings += 1;
        self.pinged = now;
    }

    /// Time of the last ping, if it was answered.
    pub(super) fn answered_ping(&self) -> Option<Instant> {
        (self.pings == 0).then_some(self.pinged)
    }

    /// The ping that is due is somebody else's to send, or not to.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.pinged = now;
    }

    /// A ping was answered.
    pub(super) fn answered(&mut self) {
        self.pings = self.pings.saturating_sub(1);
    }

    /// `true` if the broker owes acknowledgements, and how much longer it may be silent for that.
    pub(super) fn owes(&mut self, patience: Option<Duration>, now: Instant) {
        if !self.is_owing() {
            self.owing = now;
        }
        let since = self.owes.map_or(now, |(since, _)| since);
        self.owes = patience.map(|patience| (since, patience));
    }

    /// The next action and its time, given that bytes last moved at `moved`.
    pub(super) fn due(&self, moved: Instant) -> (Instant, Due) {
        // Pings go on while answers wait behind something large: the broker counts what it gets.
        let mut ping = self.pinged + self.ping_every;
        let mut patience = (self.pings > 0).then_some(self.timeout);
        if let Some((since, more)) = self.owes {
            // A broker that does not acknowledge is asked early whether it is there.
            let early = self.heard.max(since).max(self.pinged) + self.timeout / 2;
            if self.pings == 0 {
                ping = ping.min(early);
            }
            patience = Some(self.timeout + more);
        }
        let sign = moved.max(self.excused).max(self.owing);
        let dead = patience.map(|patience| sign + patience);
        match dead {
            Some(dead) if dead <= ping => (dead, Due::Silence),
            _ => (ping, Due::Ping),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn liveness(now: Instant) -> Liveness {
        Liveness::new(10 * SECOND, 60 * SECOND, now)
    }

    #[test]
    fn a_quiet_line_is_pinged_and_an_answer_is_waited_for() {
        let now = Instant::now();
        let mut liveness = liveness(now);
        assert_eq!(liveness.due(now), (now + 60 * SECOND, Due::Ping));
        let pinged = now + 60 * SECOND;
        liveness.pinged(pinged);
        let dead = (pinged + 10 * SECOND, Due::Silence);
        assert_eq!(liveness.due(pinged), dead);
        liveness.answered();
        let next = (pinged + 60 * SECOND, Due::Ping);
        assert_eq!(liveness.due(pinged), next);
    }

    #[test]
    fn whatever_moves_puts_the_end_off() {
        let now = Instant::now();
        let mut liveness = liveness(now);
        for second in 0..100 {
            let moved = now + second * SECOND;
            liveness.pinged(moved);
            let end = (moved + 10 * SECOND, Due::Silence);
            assert_eq!(liveness.due(moved), end);
        }
        let held_back = now + 110 * SECOND;
        liveness.excuse(held_back);
        let end = (held_back + 10 * SECOND, Due::Silence);
        assert_eq!(liveness.due(now), end);
    }

    #[test]
    fn pings_into_silence_are_no_sign_of_life() {
        let now = Instant::now();
        let mut liveness = Liveness::new(10 * SECOND, 3 * SECOND, now);
        let pinged = [3, 6, 9, 12].map(|second| now + second * SECOND);
        for at in pinged {
            assert_eq!(liveness.due(now), (at, Due::Ping));
            liveness.pinged(at);
        }
        assert_eq!(liveness.due(now), (now + 13 * SECOND, Due::Silence));
    }

    #[test]
    fn what_is_on_its_way_is_waited_for_and_asked_after() {
        let now = Instant::now();
        let mut liveness = liveness(now);
        liveness.owes(Some(75 * SECOND), now);
        assert_eq!(liveness.due(now), (now + 5 * SECOND, Due::Ping));
        let pinged = now + 5 * SECOND;
        liveness.pinged(pinged);
        assert_eq!(liveness.due(now), (pinged + 60 * SECOND, Due::Ping));
        liveness.owes(Some(5 * SECOND), pinged);
        assert_eq!(liveness.due(now), (now + 15 * SECOND, Due::Silence));
        let moved = now + 3 * SECOND;
        assert_eq!(liveness.due(moved), (moved + 15 * SECOND, Due::Silence));
        liveness.answered();
        liveness.heard(now + 7 * SECOND);
        let next = (now + 12 * SECOND, Due::Ping);
        assert_eq!(liveness.due(now + 7 * SECOND), next);
        liveness.owes(None, now);
        assert_eq!(liveness.due(pinged), (pinged + 60 * SECOND, Due::Ping));
    }

    #[test]
    fn a_server_that_wants_no_keep_alive_gets_no_more_pings_for_it() {
        let now = Instant::now();
        for (wanted, expected) in [(None, 60), (Some(0), 60), (Some(20), 20), (Some(600), 60)] {
            let mut liveness = liveness(now);
            liveness.accepted(wanted.map(Duration::from_secs), now);
            let (at, due) = liveness.due(now);
            assert_eq!(
                (at, due),
                (now + expected * SECOND, Due::Ping),
                "{wanted:?}"
            );
        }
    }
}
