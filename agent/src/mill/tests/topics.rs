//! Topics that a stranger chooses: long ones, and more of them than can be remembered.

use super::*;

#[test]
fn a_key_from_a_topic_is_no_longer_than_one_from_a_payload() {
    let level = rule("level", "mqtt = [\"s/+\"]");
    let whole = rule("whole", "mqtt = [\"s/+\"]").replace("key = \"{topic.1}\"\n", "");
    let mut bench = Bench::new(&[(level, COUNTER), (whole, COUNTER)]);
    let device = "d".repeat(256);
    bench.event(&format!("s/{device}"), "");
    bench.event(&format!("s/{device}e"), "");
    let way_out = "a key has at most 256; take levels of it, as key = \"{topic.1}\" does";
    bench.expect(&[
        &format!("0 out/level/{device} 1"),
        &format!("0 whole dead: topic makes a key of 258 bytes, and {way_out}"),
        &format!("0 level dead: topic makes a key of 257 bytes, and {way_out}"),
        &format!("0 whole dead: topic makes a key of 259 bytes, and {way_out}"),
    ]);
    assert_eq!(bench.mill.rules[0].keys.len(), 1);
    assert_eq!(bench.mill.rules[1].keys.len(), 0);
}
