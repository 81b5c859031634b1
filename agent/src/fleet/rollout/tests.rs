//! Timelines: bundles come, time goes by, and what has to be done is compared.

use tidemill_bundle::sha256;

use super::*;

const TERMS: Terms = Terms {
    probation_ms: 1_000,
    events: 3,
    within_ms: 5_000,
    dead_share: 0.05,
};

fn candidate(bundle: &str, version: u64) -> Candidate {
    let hash = sha256(format!("{bundle} {version}").as_bytes());
    let entry = Entry {
        scope: Scope::All,
        bundle: BundleName::parse(bundle).unwrap(),
        version,
        sha256: hash,
        envelope: hash,
    };
    Candidate {
        entry,
        terms: TERMS,
    }
}

fn counts(received: u64, dead: u64) -> ByRule {
    ByRule::from([("r".to_owned(), Counts { received, dead })])
}

fn rollout(pause_ms: u64) -> Rollout {
    Rollout::new(Before::default(), pause_ms)
}

fn accept(rollout: &mut Rollout, now: u64, bundle: &str, version: u64) -> Option<Output> {
    rollout.step(now, Input::Accepted(candidate(bundle, version)))
}

/// Takes a bundle as far as its probation.
#[track_caller]
fn to_probation(rollout: &mut Rollout, now: u64, bundle: &str, version: u64) {
    let prepare = accept(rollout, now, bundle, version);
    let Some(Output::Prepare(deployment)) = prepare else {
        panic!("{prepare:?}")
    };
    let number = deployment.number;
    let stored = rollout.step(now, Input::Prepared(Ok(vec!["r".to_owned()])));
    assert_eq!(stored, Some(Output::Store(deployment)));
    let switch = rollout.step(now, Input::Stored(Ok(())));
    assert_eq!(switch, Some(Output::Switch(number)));
    assert_eq!(rollout.step(now, Input::Switched(Ok(counts(100, 0)))), None);
    assert_eq!(rollout.pending(), Some(number));
}

/// Confirms at a moment at which everything has come.
#[track_caller]
fn confirm(rollout: &mut Rollout, now: u64, counts: ByRule) {
    assert_eq!(
        rollout.step(now, Input::Counts(counts)),
        Some(Output::Confirm)
    );
    assert_eq!(rollout.step(now, Input::Confirmed), Some(Output::Settle));
    assert_eq!(rollout.step(now, Input::Settled), None);
}

fn progress(rollout: &Rollout, bundle: &str) -> Progress {
    let found = rollout
        .progress()
        .find(|(entry, _)| entry.bundle.as_str() == bundle);
    found.unwrap().1.clone()
}

#[test]
fn a_bundle_is_confirmed_when_its_time_and_its_events_have_come() {
    let mut it = rollout(0);
    to_probation(&mut it, 0, "main", 1);
    assert_eq!(
        it.step(500, Input::Counts(counts(200, 0))),
        None,
        "its time has not"
    );
    assert_eq!(
        it.step(1_000, Input::Counts(counts(102, 0))),
        None,
        "its events have not"
    );
    assert_eq!(it.active().number, 0);
    confirm(&mut it, 1_100, counts(103, 0));
    assert_eq!(it.active().number, 1);
    assert_eq!(progress(&it, "main"), Progress::Active(true));
    assert_eq!(accept(&mut it, 2_000, "main", 1), None, "it runs already");
    assert_eq!((it.pending(), it.next()), (None, 2));
}

#[test]
fn one_that_goes_back_while_it_is_confirmed_has_gone_back() {
    let mut it = rollout(0);
    to_probation(&mut it, 0, "main", 1);
    assert_eq!(
        it.step(1_000, Input::Counts(counts(103, 0))),
        Some(Output::Confirm)
    );
    let quarantined = Refusal::new(Reason::Quarantined, "rule r");
    assert_eq!(
        it.step(1_000, Input::WentBack(quarantined)),
        Some(Output::Settle)
    );
    assert_eq!(it.step(1_000, Input::Confirmed), None);
    assert_eq!(it.active().number, 0);
}

#[test]
fn events_that_never_come_leave_it_unproven() {
    let mut it = rollout(0);
    to_probation(&mut it, 0, "main", 1);
    assert_eq!(it.step(4_999, Input::Counts(counts(100, 0))), None);
    confirm(&mut it, 5_000, counts(100, 0));
    assert_eq!(progress(&it, "main"), Progress::Active(false));
}

#[test]
fn dead_letters_send_it_back_from_twenty_events_on() {
    let mut it = rollout(0);
    to_probation(&mut it, 0, "main", 1);
    assert_eq!(it.step(10, Input::Counts(counts(119, 19))), None);
    let Some(Output::GoBack(refusal)) = it.step(20, Input::Counts(counts(120, 2))) else {
        panic!("2 of 20 are more than 5 %")
    };
    assert_eq!(refusal.reason, Reason::DeadShare);
    assert_eq!(
        it.step(20, Input::WentBack(refusal.clone())),
        Some(Output::Settle)
    );
    assert_eq!(it.step(20, Input::Settled), None);
    assert_eq!((it.active().number, it.pending()), (0, None));
    assert_eq!(
        accept(&mut it, 30, "main", 1),
        None,
        "it is not tried again"
    );
    assert_eq!(progress(&it, "main"), Progress::RolledBack(refusal));
    let next = accept(&mut it, 40, "main", 2);
    let Some(Output::Prepare(deployment)) = next else {
        panic!("{next:?}")
    };
    assert_eq!(deployment.number, 2, "numbers are used once");
}

#[test]
fn what_was_bad_before_is_no_fault_of_the_new_one() {
    let mut it = rollout(0);
    let Some(Output::Prepare(_)) = accept(&mut it, 0, "main", 1) else {
        panic!()
    };
    it.step(0, Input::Prepared(Ok(vec!["r".to_owned()])));
    it.step(0, Input::Stored(Ok(())));
    it.step(0, Input::Switched(Ok(counts(100, 50))));
    assert_eq!(
        it.step(10, Input::Counts(counts(200, 104))),
        None,
        "54 % after 50 %"
    );
    assert!(matches!(
        it.step(20, Input::Counts(counts(200, 106))),
        Some(Output::GoBack(_))
    ));
}

#[test]
fn a_newer_version_ends_a_probation_first_back_then_forward() {
    let mut it = rollout(0);
    to_probation(&mut it, 0, "main", 1);
    assert_eq!(
        accept(&mut it, 10, "other", 1),
        None,
        "another bundle waits"
    );
    let Some(Output::GoBack(refusal)) = accept(&mut it, 20, "main", 2) else {
        panic!()
    };
    assert_eq!(refusal.reason, Reason::Superseded);
    assert_eq!(it.step(20, Input::WentBack(refusal)), Some(Output::Settle));
    let next = it.step(20, Input::Settled);
    let Some(Output::Prepare(deployment)) = next else {
        panic!("{next:?}")
    };
    assert_eq!(deployment.entries[0].bundle.as_str(), "other");
}

#[test]
fn what_is_refused_changes_nothing_and_lets_the_next_one_try() {
    let mut it = rollout(0);
    let no = || Refusal::new(Reason::Install, "no");
    assert!(matches!(
        accept(&mut it, 0, "a", 1),
        Some(Output::Prepare(_))
    ));
    assert_eq!(accept(&mut it, 0, "b", 1), None);
    let next = it.step(1, Input::Prepared(Err(no())));
    assert!(matches!(next, Some(Output::Prepare(_))), "{next:?}");
    assert_eq!(progress(&it, "a"), Progress::Refused(no()));
    it.step(1, Input::Prepared(Ok(vec![])));
    assert_eq!(it.step(1, Input::Stored(Err(no()))), None);
    assert_eq!(it.active().number, 0);
    // The same beside the same deployment is not tried again; a start forgets that.
    assert_eq!(accept(&mut it, 2, "a", 1), None);
    assert!(matches!(
        accept(&mut it, 2, "a", 2),
        Some(Output::Prepare(_))
    ));
}

#[test]
fn a_switch_that_fails_is_settled() {
    let mut it = rollout(0);
    accept(&mut it, 0, "main", 1);
    it.step(0, Input::Prepared(Ok(vec![])));
    it.step(0, Input::Stored(Ok(())));
    let no = Refusal::new(Reason::Migration, "no");
    assert_eq!(
        it.step(0, Input::Switched(Err(no.clone()))),
        Some(Output::Settle)
    );
    assert_eq!((it.pending(), it.active().number), (None, 0));
    assert_eq!(progress(&it, "main"), Progress::Refused(no));
}

#[test]
fn a_pause_lies_between_two_activations() {
    let mut it = rollout(10_000);
    to_probation(&mut it, 0, "main", 1);
    confirm(&mut it, 1_000, counts(103, 0));
    assert_eq!(accept(&mut it, 2_000, "main", 2), None);
    assert_eq!(progress(&it, "main"), Progress::Waiting);
    assert_eq!(it.next_due_ms(), Some(10_000));
    // The newest waits, older ones are forgotten.
    assert_eq!(accept(&mut it, 3_000, "main", 3), None);
    let Some(Output::Prepare(deployment)) = it.step(10_000, Input::Tick) else {
        panic!()
    };
    assert_eq!(deployment.entries.len(), 1);
    assert_eq!(deployment.entries[0].version, 3);
}

#[test]
fn a_start_in_probation_goes_on_with_it() {
    let mut it = rollout(0);
    let candidate = candidate("main", 1);
    let deployment = Deployment::default().with(1, &candidate.entry);
    it.resume(50, candidate, deployment, vec!["r".to_owned()]);
    assert!(it.is_in_probation());
    assert_eq!(
        it.step(55, Input::Counts(counts(100, 90))),
        None,
        "that was before"
    );
    let quarantined = Refusal::new(Reason::Quarantined, "rule r");
    assert_eq!(
        it.step(60, Input::WentBack(quarantined)),
        Some(Output::Settle)
    );
    assert_eq!(it.rolled_back().len(), 1);
}

#[test]
fn words_that_come_too_late_are_ignored() {
    let mut it = rollout(0);
    let no = || Refusal::new(Reason::Quarantined, "late");
    assert_eq!(it.step(0, Input::WentBack(no())), None);
    assert_eq!(it.step(0, Input::Switched(Ok(counts(0, 0)))), None);
    assert_eq!(it.step(0, Input::Prepared(Ok(vec![]))), None);
    assert_eq!(it.step(0, Input::Stored(Ok(()))), None);
    assert_eq!(it.step(0, Input::Settled), None);
    assert!(it.rolled_back().is_empty());
}
