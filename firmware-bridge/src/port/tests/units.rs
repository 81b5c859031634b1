//! A port with Modbus units.

use super::*;
use crate::message::Direction;

const METER: &str = "mode = \"modbus\"\ntopic = \"m/{unit}/{field.id}\"\n[[port.unit]]\nid = 7\nname = \"meter-a\"\nevery = \"1s\"\n\
                     read = [{ reg = \"input:0\", as = \"id\" }, { reg = \"input:1\", as = \"w\" }]\n";

/// A frame with its checksum.
fn frame(body: &[u8]) -> Vec<u8> {
    [body, &crate::frames::Sum::Crc16Modbus.of(body)].concat()
}

fn written(outputs: &[Output]) -> Vec<&[u8]> {
    let found = outputs.iter().filter_map(|output| match output {
        Output::Write { bytes, .. } => Some(&**bytes),
        _ => None,
    });
    found.collect()
}

/// Lets time pass up to the port's next moment.
fn wait(bench: &mut Bench) -> Vec<Output> {
    bench.now = bench.port.due(Mono(bench.now)).unwrap().0.max(bench.now);
    bench.step(Input::Time)
}

/// Lets time pass until something is written.
fn until_written(bench: &mut Bench) -> Vec<Output> {
    loop {
        let outputs = wait(bench);
        if !written(&outputs).is_empty() {
            return outputs;
        }
    }
}

#[test]
fn a_poll_becomes_an_event_and_a_units_state_is_kept_by_the_broker() {
    let mut bench = Bench::connected(METER);
    bench.step(Input::Looked(true));
    let outputs = until_written(&mut bench);
    let request = frame(&[7, 4, 0, 0, 0, 2]);
    assert_eq!(written(&outputs), [request]);
    bench.now += 20;
    let answer = frame(&[7, 4, 4, 0, 5, 1, 0]);
    let mut outputs = bench.step(Input::Bytes(&answer[..4]));
    outputs.extend(bench.step(Input::Bytes(&answer[4..])));
    let event = publishes(&outputs)
        .into_iter()
        .find(|publish| publish.id.is_some())
        .unwrap();
    assert_eq!(event.topic, "m/meter-a/5");
    assert_eq!(event.payload, b"{\"id\":5,\"w\":256}");
    assert_eq!(event.eid.as_deref(), Some("gw/p/0000000000000001:1"));
    let shown: Vec<(Direction, &str, String)> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Show(shown) => {
                let text = String::from_utf8(shown.bytes.clone()).unwrap();
                Some((shown.direction, shown.kind, text))
            }
            _ => None,
        })
        .collect();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        shown,
        [
            (
                Direction::In,
                "answer",
                text("meter-a 07 04 04 00 05 01 00 8C 15")
            ),
            (Direction::In, "event", text("meter-a {\"id\":5,\"w\":256}")),
        ]
    );
    let mut statuses = Vec::new();
    while statuses.is_empty() {
        let outputs = wait(&mut bench);
        let units = publishes(&outputs)
            .into_iter()
            .filter(|publish| publish.topic.contains("/unit/"));
        statuses.extend(units.cloned());
    }
    assert_eq!(
        (&*statuses[0].topic, statuses[0].retain),
        ("serial/gw/p/unit/meter-a", true)
    );
    let status: Value = serde_json::from_slice(&statuses[0].payload).unwrap();
    assert_eq!(
        (&status["state"], &status["id"]),
        (&"well".into(), &7.into())
    );
    let status = bench.status();
    assert_eq!(
        (&status["modbus"]["well"], &status["modbus"]["answered"]),
        (&1.into(), &1.into())
    );
    let counts = bench.counts();
    assert_eq!(
        (counts.bytes, counts.frame_bytes, counts.stray_bytes),
        (9, 9, 0)
    );
}

#[test]
fn what_is_no_answer_is_counted_and_nothing_else_is_written() {
    let mut bench = Bench::connected(METER);
    let outputs = bench.step(Input::Message(Below::Command, message("set 1", false, &[])));
    let answer: Value = serde_json::from_slice(&publishes(&outputs)[0].payload).unwrap();
    assert_eq!(
        answer["answer"],
        "the port has Modbus units, which are only read"
    );
    assert!(written(&outputs).is_empty());
    until_written(&mut bench);
    bench.step(Input::Bytes(b"{\"t\":1}\n"));
    let stray = bench.counts().bytes;
    bench.step(Input::Line(Line::default()));
    let counts = bench.counts();
    assert_eq!((stray, counts.stray_bytes, counts.frame_bytes), (8, 8, 0));
    assert_eq!((counts.plain, counts.noise, counts.undecoded), (0, 0, 0));
    let (health, why, _) = bench.port.units.as_ref().unwrap().unit(0).unwrap();
    assert_eq!(health, crate::modbus::Health::Waiting);
    assert_eq!(why, Some("its port is not open"));
}
