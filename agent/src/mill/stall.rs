//! Detection of the broker's send window: the number of unacknowledged messages at which it stops
//! sending. A broker need not announce it (mosquitto does not), so it is observed: the broker went
//! quiet with so many open, and resumed as soon as they were acknowledged, twice with the same
//! number. From half of that on, a commit of its own is worth it. A machine that was busy for a
//! moment looks the same once; believed for ever, that would cost a steady stream of events many
//! times the commits that it needs.

/// Fewer are no sign of anything.
const COUNT_MIN: usize = 4;

/// Time within which a broker that waited for acknowledgements resumes.
const RESUMES_WITHIN_MS: u64 = 20;

/// After this time it has to show again: one that waits does so within a commit's interval.
const BELIEVED_MS: u64 = 60_000;

/// Knowledge of the broker's window.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Window that the broker announced, or that we set.
    announced: Option<usize>,
    /// Count at which the broker was seen to stall, and the time until which it is believed.
    seen: Option<(usize, u64)>,
    /// Count at which the broker may have stalled the last time.
    once: Option<usize>,
    last_event_mono_ms: u64,
    /// Open messages when the broker went quiet. Confirmed as its window if it resumes right after
    /// our acknowledgements.
    suspected: Option<(usize, Option<u64>)>,
}

impl Stall {
    /// A connection began.
    pub(super) fn connected(&mut self, announced: Option<u16>) {
        *self = Self {
            announced: announced.map(usize::from),
            seen: self.seen,
            once: self.once,
            ..Self::default()
        };
    }

    /// Notes a message; `open` is the number of unacknowledged ones with it.
    pub(super) fn event(&mut self, now_mono_ms: u64, open: usize) {
        self.last_event_mono_ms = now_mono_ms;
        if let Some((count, Some(released))) = self.suspected.take()
            && now_mono_ms.saturating_sub(released) <= RESUMES_WITHIN_MS
            && self.once.replace(count) == Some(count)
        {
            self.seen = Some((count, now_mono_ms + BELIEVED_MS));
        }
        if let Some((seen, until)) = self.seen
            && (open > seen || now_mono_ms > until)
        {
            self.seen = None;
        }
    }

    /// Notes that a batch with so many open messages is committed because its time is up.
    pub(super) fn timed_out(&mut self, now_mono_ms: u64, open: usize, interval_ms: u64) {
        let silent_ms = now_mono_ms.saturating_sub(self.last_event_mono_ms);
        if open >= COUNT_MIN && silent_ms >= interval_ms / 2 {
            self.suspected = Some((open, None));
        }
    }

    /// Acknowledgements went out.
    pub(super) fn released(&mut self, now_mono_ms: u64) {
        if let Some((_, at @ None)) = &mut self.suspected {
            *at = Some(now_mono_ms);
        }
    }

    /// Returns `true` if so many open messages should not wait any longer.
    pub(super) fn is_near(&self, open: usize) -> bool {
        let seen = self.seen.map(|(seen, _)| seen);
        let window = [self.announced, seen].into_iter().flatten().min();
        window.is_some_and(|window| open * 2 >= window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bursts of `count` messages, each after the last was acknowledged 50 ms later.
    fn bursts(stall: &mut Stall, count: usize, pause_ms: u64) {
        let mut now = 1_000;
        for _ in 0..3 {
            (1..=count).for_each(|open| stall.event(now, open));
            now += 50;
            stall.timed_out(now, count, 50);
            stall.released(now + 5);
            now += 5 + pause_ms;
        }
        stall.event(now, 1);
    }

    #[test]
    fn a_broker_that_goes_on_once_acknowledged_was_waiting_for_it() {
        let mut stall = Stall::default();
        assert!(!stall.is_near(10_000));
        bursts(&mut stall, 20, 1);
        assert!(stall.is_near(10) && !stall.is_near(9));
        (1..=21).for_each(|open| stall.event(9_000, open));
        assert!(!stall.is_near(20), "it sent more than that");
        bursts(&mut stall, 20, 1);
        stall.event(2_000 + BELIEVED_MS, 1);
        assert!(!stall.is_near(20), "that was long ago");
    }

    #[test]
    fn a_machine_that_was_busy_for_a_moment_is_no_stall() {
        let mut stall = Stall::default();
        let mut now = 1_000;
        for count in [30, 17, 42, 23] {
            (1..=count).for_each(|open| stall.event(now, open));
            stall.timed_out(now + 50, count, 50);
            stall.released(now + 55);
            now += 60;
        }
        stall.event(now, 1);
        assert!(!stall.is_near(1_000));
    }

    #[test]
    fn sensors_that_pause_are_no_stall() {
        let mut stall = Stall::default();
        bursts(&mut stall, 20, 900);
        assert!(!stall.is_near(1_000));
        bursts(&mut stall, 2, 1);
        assert!(!stall.is_near(1_000));
    }

    #[test]
    fn what_was_announced_holds() {
        let mut stall = Stall::default();
        stall.connected(Some(100));
        assert!(stall.is_near(50) && !stall.is_near(49));
    }
}
