//! Whose turn it is. Units that answer keep their times; those that do not are tried where that disturbs nobody, or, where
//! there is no such time, where it moves the others by less than one timeout.

use crate::time::Mono;

/// A unit that is due for so long comes before all others: a line with more to do than it can must not forget it.
const FORGOTTEN_MS: u64 = 5_000;

/// A unit's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The time of its next poll.
    pub(super) due: Mono,
    /// Milliseconds from poll to poll.
    pub(super) every_ms: u64,
    /// `true` if it answered the last time.
    pub(super) answers: bool,
    /// Milliseconds that a try takes if nothing comes.
    pub(super) try_ms: u64,
}

impl Turn {
    pub(super) fn new(every_ms: u64) -> Self {
        Self {
            due: Mono(0),
            every_ms,
            answers: false,
            try_ms: 0,
        }
    }

    /// Sets the next poll after one that was answered; returns how many are left out. Times keep their distance from
    /// the first one that was answered, so that no delay adds up.
    pub(super) fn answered(&mut self, began: Mono, now: Mono) -> u64 {
        let first = if self.answers { self.due } else { began };
        self.answers = true;
        let passed = now.since(first) / self.every_ms.max(1);
        self.due = first.after((passed + 1).saturating_mul(self.every_ms));
        passed
    }

    /// Sets the next try of one that was not answered.
    pub(super) fn failed(&mut self, due: Mono) {
        self.answers = false;
        self.due = due;
    }
}

/// The next thing to do on a line that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this unit.
    Ask(usize),
    /// Look again then.
    Wait(Mono),
    /// There is nobody.
    Nobody,
}

/// Chooses who is asked.
pub(super) fn next<'a>(
    turns: impl Iterator<Item = &'a Turn> + Clone,
    timeout_ms: u64,
    now: Mono,
) -> Next {
    let first = |answers: bool| {
        let turns = turns.clone().enumerate();
        turns
            .filter(|(_, turn)| turn.answers == answers)
            .min_by_key(|(index, turn)| (turn.due, *index))
    };
    let (well, ill) = (first(true), first(false));
    let ill_is_due = ill.filter(|(_, turn)| turn.due <= now);
    let due = |found: Option<(usize, &Turn)>| found.map(|(_, turn)| turn.due);
    let Some((index, turn)) = ill_is_due else {
        return match well {
            Some((index, turn)) if turn.due <= now => Next::Ask(index),
            _ => {
                let at = due(well).into_iter().chain(due(ill)).min();
                at.map_or(Next::Nobody, Next::Wait)
            }
        };
    };
    let waited = now.since(turn.due);
    if waited >= FORGOTTEN_MS {
        return Next::Ask(index);
    }
    let Some((first_well, well)) = well else {
        return Next::Ask(index);
    };
    if well.due <= now {
        return Next::Ask(first_well);
    }
    let free_ms = well.due.since(now);
    let disturbs_nobody = free_ms >= turn.try_ms;
    // A quarter is left for those behind, and for the time that a busy gateway takes itself.
    let moves_little = free_ms + timeout_ms * 3 / 4 >= turn.try_ms;
    if disturbs_nobody || (waited >= turn.every_ms && moves_little) {
        return Next::Ask(index);
    }
    let enough = turn.due.after(turn.every_ms);
    let at = if enough > now { enough } else { well.due };
    Next::Wait(at.min(well.due))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(due: u64, answers: bool) -> Turn {
        Turn {
            due: Mono(due),
            answers,
            try_ms: 330,
            ..Turn::new(1_000)
        }
    }

    fn next_of(turns: &[Turn], now: u64) -> Next {
        next(turns.iter(), 300, Mono(now))
    }

    #[test]
    fn units_that_answer_go_first_and_in_the_order_of_their_times() {
        let turns = [turn(900, false), turn(990, true), turn(980, true)];
        assert_eq!(next_of(&turns, 1_000), Next::Ask(2));
        assert_eq!(next_of(&turns[..2], 985), Next::Wait(Mono(990)));
        assert_eq!(next_of(&turns[1..], 970), Next::Wait(Mono(980)));
        assert_eq!(next_of(&[], 970), Next::Nobody);
    }

    #[test]
    fn one_that_does_not_answer_is_tried_where_nobody_waits_for_it() {
        let ill = turn(1_000, false);
        assert_eq!(next_of(&[ill], 1_000), Next::Ask(0));
        assert_eq!(next_of(&[ill, turn(1_330, true)], 1_000), Next::Ask(0));
        assert_eq!(
            next_of(&[ill, turn(1_329, true)], 1_000),
            Next::Wait(Mono(1_329))
        );
    }

    #[test]
    fn where_there_is_no_such_time_it_moves_others_by_less_than_a_timeout() {
        let ill = turn(1_000, false);
        // 330 ms for the try; the other one is due in 105, so that it moves by 225 of 300.
        assert_eq!(next_of(&[ill, turn(2_105, true)], 2_000), Next::Ask(0));
        assert_eq!(
            next_of(&[ill, turn(2_104, true)], 2_000),
            Next::Wait(Mono(2_104))
        );
        assert_eq!(
            next_of(&[ill, turn(2_104, true)], 1_990),
            Next::Wait(Mono(2_000))
        );
        // A line without a pause: it comes at last all the same.
        assert_eq!(next_of(&[ill, turn(5_000, true)], 5_999), Next::Ask(1));
        assert_eq!(next_of(&[ill, turn(5_000, true)], 6_000), Next::Ask(0));
    }

    #[test]
    fn delays_do_not_add_up() {
        let mut turn = turn(1_000, false);
        assert_eq!(turn.answered(Mono(1_200), Mono(1_250)), 0);
        assert_eq!(turn.due, Mono(2_200));
        assert_eq!(turn.answered(Mono(2_450), Mono(2_500)), 0);
        assert_eq!(turn.due, Mono(3_200));
        assert_eq!(turn.answered(Mono(3_200), Mono(5_250)), 2);
        assert_eq!(turn.due, Mono(6_200));
    }
}
