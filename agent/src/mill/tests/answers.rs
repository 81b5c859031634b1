//! Requests of local sources: answered once the commit of what they saw and did is durable.

use super::durable::{Gateway, counter};
use super::*;
use crate::event::{Origin, Ticket};
use tidemill_base::number::Lsn;

fn request(ticket: u64, topic: &str, payload: &'static str) -> Event {
    let mut event = Event::new(Topic::new(topic).unwrap(), payload, 0);
    event.origin = Origin::Local(Ticket::new(ticket));
    event
}

#[test]
fn a_request_is_answered_once_its_commit_is_durable() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.sync().expect(&["proceed"]);
    let requests = vec![request(1, "s/a", "x"), request(2, "s/b", "y")];
    // One commit for both, at the end of the step.
    gateway.step(Input::Events(requests)).expect(&["commit 4"]);
    gateway.sync().expect(&[
        "answer request 1 true",
        "answer request 2 true",
        "ship 0 Normal 1=1 2=1",
    ]);
}

#[test]
fn a_request_that_changes_nothing_waits_for_what_it_may_have_seen() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.sync().expect(&["proceed"]);
    gateway
        .step(Input::Events(vec![request(1, "elsewhere", "")]))
        .expect(&["answer request 1 false"]);
    gateway.event(1, false, "s/a", "x").expect(&[]);
    gateway
        .step(Input::Events(vec![request(2, "elsewhere", "")]))
        .expect(&["commit 4"]);
    gateway
        .step(Input::Events(vec![request(3, "elsewhere", "")]))
        .expect(&[]);
    gateway.sync().expect(&[
        "ack [1]",
        "answer request 2 false",
        "answer request 3 false",
        "ship 0 Normal 1=1",
    ]);
}

#[test]
fn a_request_that_a_crash_took_back_was_not_answered() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.sync().expect(&["proceed"]);
    gateway
        .step(Input::Events(vec![request(1, "s/a", "x")]))
        .expect(&["commit 4"]);
    gateway.crash();
    gateway
        .step(Input::Events(vec![request(2, "s/a", "x")]))
        .sync();
    gateway.expect(&["commit 4", "answer request 2 true", "ship 0 Normal 1=1"]);
}

#[test]
fn without_a_journal_a_request_is_answered_at_the_end_of_its_step() {
    let mut mill = Mill::new();
    let mut out = Vec::new();
    let events = Input::Events(vec![request(7, "s/a", "x")]);
    mill.step(Now::default(), events, &mut out);
    assert!(
        matches!(out[..], [Output::Answer { ticket, wanted: false, lsn }] if ticket == Ticket::new(7) && lsn == Lsn::ZERO),
        "{out:?}"
    );
}

fn invoke(gateway: &mut Gateway, ticket: u64, rule: &str, key: Option<&str>) {
    let event = Box::new(request(ticket, "by/hand", "x"));
    let (rule, key) = (rule.into(), key.map(Arc::from));
    gateway.step(Input::Invoke { rule, key, event });
}

#[test]
fn an_invocation_runs_one_rule_under_any_topic_and_tells_what_it_made() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.sync().expect(&["proceed"]);
    invoke(&mut gateway, 1, "count", Some("s7"));
    gateway.expect(&["invoked request 1: emitting 1, made 1", "commit 4"]);
    gateway
        .sync()
        .expect(&["answer request 1 true", "ship 0 Normal 1=1"]);
    // The key of the topic counts apart.
    invoke(&mut gateway, 2, "count", None);
    gateway.sync().expect(&[
        "invoked request 2: emitting 1, made 1",
        "commit 5",
        "answer request 2 true",
        "ship 0 Normal 2=1",
    ]);
    invoke(&mut gateway, 3, "none", None);
    gateway.expect(&["answer request 3 false"]);
}
