//! Dead letters that are worked on once more.

use super::durable::Gateway;
use super::*;
use crate::event::emission::{LaneReport, Row};
use crate::rule::Priority;

fn last_row(gateway: &Gateway) -> Row {
    let mut lanes = gateway.mill.outbox().unwrap().lanes();
    let lane = lanes.find(|lane| lane.id().to_string() == "local/normal");
    lane.unwrap().rows().last().unwrap().clone()
}

#[test]
fn a_row_that_is_sent_again_is_what_it_was() {
    for retain in [false, true] {
        let text = rule("count", "mqtt = [\"s/+\"]") + &format!("retain = {retain}\n");
        let mut gateway = Gateway::new(&[(text, COUNTER)]);
        gateway.event(1, false, "s/a", "x").after(50).sync().sync();
        let made = last_row(&gateway);
        assert_eq!(made.retain, retain);
        let refused = LaneReport::Refused {
            destination: 0,
            priority: Priority::Normal,
            first: 1,
            last: 1,
            reason: "no".into(),
        };
        // Reports alone are committed after a while.
        gateway.step(Input::Lane(refused)).after(20_000).sync();
        let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
        assert_eq!(shelf.waiting(), 1);
        gateway.crash().sync();
        // An edit of the rule's destination changes nothing in it.
        gateway.step(Input::Redrive(1)).after(50).sync();
        let again = last_row(&gateway);
        assert_eq!(again.seq, 2);
        let told = |row: &Row| {
            (
                row.rule.clone(),
                row.topic.clone(),
                row.payload.clone(),
                row.at_ms,
                row.qos,
                row.retain,
            )
        };
        assert_eq!(told(&again), told(&made));
    }
}
