//! The judgement of a deployment on probation: back, confirmed, or on.

use tidemill_bundle::{Reason, Refusal};

use super::{ByRule, Counts, Output, Phase, Rollout};

/// From so many events on the share of dead letters says something.
const JUDGED_FROM: u64 = 20;

impl Rollout {
    /// Looks at a probation: back, confirmed, or on.
    pub(super) fn judge(&mut self, now_ms: u64, counts: &ByRule) -> Option<Output> {
        let Phase::Probation { since_ms, before } = &mut self.phase else {
            return self.proceed(now_ms);
        };
        let before = before.get_or_insert_with(|| counts.clone());
        let attempt = self.attempt.as_ref()?;
        let terms = attempt.candidate.terms;
        let since = |rule: &String| {
            let (now, then) = (counts.get(rule), before.get(rule));
            let (now, then) = (
                now.copied().unwrap_or_default(),
                then.copied().unwrap_or_default(),
            );
            let new = Counts {
                received: now.received.saturating_sub(then.received),
                dead: now.dead.saturating_sub(then.dead),
            };
            (new, share(then))
        };
        for rule in &attempt.changed {
            let (new, share_before) = since(rule);
            let now = share(new);
            if new.received >= JUDGED_FROM && now > share_before + terms.dead_share {
                let text = format!(
                    "rule {rule}: {} of {} events became dead letters, above {:.0} % before by more than {:.0} %",
                    new.dead,
                    new.received,
                    share_before * 100.0,
                    terms.dead_share * 100.0
                );
                return self.go_back(Refusal::new(Reason::DeadShare, text));
            }
        }
        let lasted_ms = now_ms.saturating_sub(*since_ms);
        let is_proven = attempt
            .changed
            .iter()
            .all(|rule| since(rule).0.received >= terms.events);
        let is_over =
            lasted_ms >= terms.probation_ms && (is_proven || lasted_ms >= terms.within_ms);
        if !is_over {
            return self.proceed(now_ms);
        }
        self.phase = Phase::Confirming(is_proven);
        Some(Output::Confirm)
    }
}

fn share(counts: Counts) -> f64 {
    if counts.received == 0 {
        return 0.0;
    }
    // Counts of events are far below the integers that a double holds.
    counts.dead as f64 / counts.received as f64
}
