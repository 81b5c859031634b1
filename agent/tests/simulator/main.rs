//! The seeded simulator: the real mill, outbox, records, recovery and journal between a model broker,
//! a model disk, model ponds and model receivers. A seed decides what happens; the same seed does the
//! same. `TIDEMILL_SIM_SEEDS`, `TIDEMILL_SIM_FROM` and `TIDEMILL_SIM_SABOTAGE` say what to run; a
//! seed that fails says how to run it again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is what it is for"
)]

mod acts;
mod adapter;
mod broker;
mod clock;
mod coverage;
mod crash;
mod ending;
mod exchange;
mod gateway;
mod invariants;
mod journal;
mod link;
mod local;
mod plan;
mod pond;
mod receiver;
mod rules;
mod run;
mod sensor;
mod source;
mod truth;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tidemill_base::sabotage::{self, Sabotage};

use coverage::Coverage;
use rules::Workshop;
use run::{Failure, Outcome};

/// Seeds that are run without being told how many: those that have been. 2,000 are the aim.
const SEEDS: u64 = if cfg!(debug_assertions) { 120 } else { 350 };

/// Seeds within which a broken variant has to be noticed.
const SABOTAGE_SEEDS: u64 = 1_000;

/// Faults, and a seed that is known to notice each, which is tried first.
#[rustfmt::skip]
const SABOTAGES: [(Sabotage, u64); 32] = [
    (Sabotage::AckBeforeSync, 0), (Sabotage::SendBeforeSync, 0), (Sabotage::AckAcrossEpochs, 0),
    (Sabotage::StaleEventsKept, 0), (Sabotage::NoReceipt, 0), (Sabotage::ReceiptWithoutHash, 0),
    (Sabotage::ReceiptDroppedById, 0), (Sabotage::CursorAhead, 0), (Sabotage::RecyclingOnVolatileCursor, 0),
    (Sabotage::CheckpointAheadOfDurable, 0), (Sabotage::OneSequenceOverLanes, 0), (Sabotage::BatchCutAnew, 0),
    (Sabotage::TailNotRewritten, 0), (Sabotage::SyncErrorIgnored, 0), (Sabotage::HalfBatch, 0),
    // The code as it was before its repair.
    (Sabotage::MalformedHangsUp, 0), (Sabotage::IdentifiersMiscounted, 0), (Sabotage::CommitNotCut, 0),
    (Sabotage::AgeByWallClock, 0), (Sabotage::OneHash, 28), (Sabotage::AnyNumberMoves, 0),
    (Sabotage::ConfirmedByNumber, 0), (Sabotage::UnreadableForEver, 7), (Sabotage::RefusalIsVerdict, 6),
    (Sabotage::AskOnlyInFloods, 2), (Sabotage::NothingInReserve, 441), (Sabotage::ExchangeInOneGo, 7),
    (Sabotage::MovedLazily, 83), (Sabotage::AnswerBeforeSync, 9),
    (Sabotage::PaneCursorAhead, 84), (Sabotage::PaneCursorNotJournalled, 84), (Sabotage::PaneFiredTwice, 89),
];

/// Faults of which no seed is known that notices them; other tests do.
const NOT_SEEN: [Sabotage; 2] = [
    Sabotage::RepeatedWithoutReceiptLast,
    Sabotage::MovedUncounted,
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().unwrap()
}

/// Runs one seed; a panic is a failure of it.
fn seed(workshop: &Workshop, seed: u64, echo: bool) -> Outcome {
    let run = AssertUnwindSafe(|| run::run(workshop, seed, echo));
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            hash: 0,
            failure: Some(Failure {
                invariant: "8: no panic",
                what: text.unwrap_or_default(),
            }),
            coverage: Coverage::default(),
            lines: Vec::new(),
        }
    })
}

fn tell(at: u64, outcome: &Outcome, failure: &Failure) -> String {
    let lines = outcome.lines.join("\n");
    let Failure { invariant, what } = failure;
    format!(
        "seed {at}: invariant {invariant}\n{what}\n--- the last lines\n{lines}\n--- again with\n\
         TIDEMILL_SIM_FROM={at} TIDEMILL_SIM_SEEDS=1 TIDEMILL_SIM_TRACE=1 cargo test -p tidemill \
         --features sabotage --test simulator a_few_thousand -- --nocapture"
    )
}

#[test]
fn a_few_thousand_seeds_hold_every_invariant() {
    let workshop = Workshop::new();
    let from = number("TIDEMILL_SIM_FROM").unwrap_or(0);
    let asked = number("TIDEMILL_SIM_SEEDS");
    let seeds = asked.unwrap_or(SEEDS);
    let echo = std::env::var_os("TIDEMILL_SIM_TRACE").is_some();
    let only = std::env::var("TIDEMILL_SIM_SABOTAGE").ok();
    let only = only.map(|name| {
        let named = |s: &&Sabotage| format!("{s:?}") == name;
        let known = SABOTAGES.iter().map(|(fault, _)| fault);
        let found = known.chain(&NOT_SEEN).find(named);
        *found.unwrap_or_else(|| panic!("there is no fault {name}"))
    });
    let began = cpu_time();
    let mut ran = 0;
    let mut coverage = Coverage::default();
    let mut failures = Vec::new();
    sabotage::set(only);
    for at in from..from + seeds {
        let outcome = seed(&workshop, at, echo);
        ran += 1;
        coverage.add(&outcome.coverage);
        if let Some(failure) = &outcome.failure {
            failures.push(tell(at, &outcome, failure));
            if failures.len() >= number("TIDEMILL_SIM_FAILURES").unwrap_or(1) as usize {
                break;
            }
        }
    }
    sabotage::set(None);
    let each = (cpu_time() - began) / ran.max(1);
    eprintln!("{ran} seeds from {from}, {each:?} of CPU each\n{coverage}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let gaps = coverage.gaps();
    assert!(seeds < SEEDS || gaps.is_empty(), "no seed met {gaps:?}");
}

#[test]
fn the_same_seed_does_the_same() {
    let workshop = Workshop::new();
    for at in 0..20 {
        let (one, other) = (seed(&workshop, at, false), seed(&workshop, at, false));
        assert_eq!(one.hash, other.hash, "seed {at}");
    }
}

#[test]
fn every_sabotage_is_caught() {
    let workshop = Workshop::new();
    let mut missed = Vec::new();
    for (fault, known) in SABOTAGES {
        sabotage::set(Some(fault));
        // If the known seed has come to mean something else, another one has to notice the fault.
        let mut seeds = std::iter::once(known).chain(0..SABOTAGE_SEEDS);
        let caught = seeds.find_map(|at| Some((at, seed(&workshop, at, false).failure?)));
        sabotage::set(None);
        let Some((at, Failure { invariant, what })) = caught else {
            missed.push(fault);
            continue;
        };
        let what = what.lines().next().unwrap_or_default();
        eprintln!("{fault:?}: seed {at}, invariant {invariant}: {what}");
        let unbroken = seed(&workshop, at, false).failure;
        assert!(
            unbroken.is_none(),
            "seed {at} fails without it: {unbroken:?}"
        );
    }
    assert!(missed.is_empty(), "nobody notices {missed:?}");
}
