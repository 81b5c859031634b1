//! A source and a destination on one broker: what one sends, the other takes in.

use tidemill::source::mqtt::Protocol;

use crate::mqtt_destinations::{Destinations, numbered, upstream};
use crate::mqtt_source::{PATIENCE, Source, payloads};

#[test]
fn source_and_destination_meet_at_the_embedded_broker() {
    let port = tidemill::demo::broker::start(None).unwrap().port();
    // It speaks 3.1.1 only, and does not say so.
    let source = Source::start(port, Protocol::V311, &[], &[(1, "out")]);
    source.until_held(1);
    let destinations = Destinations::start(vec![upstream(port, Protocol::V311)]);
    destinations.handle.send(numbered(0..500, 1));
    let events = source.events_until("499");
    let expected: Vec<_> = (0..499).map(|number: u32| number.to_string()).collect();
    assert_eq!(payloads(&events), expected);
    assert_eq!(destinations.handle.stop(PATIENCE).unsent, [0]);
    source.stop();
    assert!(
        tidemill::demo::broker::start(Some(port)).is_err(),
        "the port is taken"
    );
}
