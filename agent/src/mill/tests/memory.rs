//! Memory that the mill keeps of an event after its step: nothing of the buffer that the event was
//! read into, of which a small payload is a small part.

use super::durable::Gateway;
use bytes::Bytes;

use super::*;

#[test]
fn nothing_that_is_kept_of_an_event_keeps_the_buffer_that_it_was_read_into() {
    let durable = rule("durable", "mqtt = [\"s/+\"]");
    let volatile = rule("volatile", "mqtt = [\"s/+\"]");
    let volatile = volatile.replace("[on]", "durability = \"volatile\"\n[on]");
    let mut gateway = Gateway::new(&[(durable, FRAGILE), (volatile, FRAGILE)]);
    gateway.sync();
    let texts: Vec<String> = (0..80)
        .chain(-20..0)
        .map(|t| format!("{{\"t\":{t}}}"))
        .collect();
    let buffer = Bytes::from(texts.concat());
    let mut place = 0;
    let mut event = |text: &String| {
        let payload = buffer.slice(place..place + text.len());
        place += text.len();
        Event::new(Topic::new("s/a").unwrap(), payload, gateway.now.wall_ms)
    };
    let events = texts.iter().map(&mut event).collect();
    let mut out = Vec::new();
    let now = gateway.now;
    gateway.mill.step(now, Input::Events(events), &mut out);
    // Dead letters and commits leave at once; these wait for a destination.
    out.retain(|output| matches!(output, Output::Emission(_)));
    assert_eq!(out.len(), 80);
    gateway.event(1, false, "s/a", "{\"t\":1}").after(50).sync();
    let outbox = gateway.mill.outbox().unwrap();
    let waiting: u64 = outbox.lanes().map(|lane| lane.waiting()).sum();
    assert_eq!(
        waiting,
        80 + 21,
        "rows, and dead letters of the durable rule"
    );
    assert!(buffer.is_unique());
}
