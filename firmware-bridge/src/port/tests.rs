//! Ports through the lines of real devices, without a device.

use super::*;
use crate::config::Config;
use crate::message::{Delivery, Message};
use crate::topics::Below;
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;
use tidemill_base::text::Source;

/// A port with its clock.
struct Bench {
    port: Port,
    now: u64,
}

impl Bench {
    fn new(lines: &str) -> Self {
        Self::with_room(lines, 1 << 20)
    }

    fn with_room(lines: &str, room_bytes: usize) -> Self {
        let text = format!(
            "[bridge]\nid = \"gw\"\n[broker]\nurl = \"mqtt://h\"\n[[port]]\nname = \"p\"\npath = \"/dev/x\"\n{lines}"
        );
        let path = "bridge.toml".into();
        let mut config = Config::of(&Source { path, text }).unwrap();
        let names = Names {
            bridge: "gw".to_owned(),
            index: PortIndex(0),
        };
        let given = Rc::new(Cell::new(0));
        let fresh = move || {
            given.set(given.get() + 1);
            Boot::from_bits(given.get())
        };
        let port = Port::new(Arc::new(config.ports.remove(0)), names, room_bytes, fresh);
        let mut bench = Self { port, now: 0 };
        bench.step(Input::Line(open()));
        bench
    }

    fn connected(lines: &str) -> Self {
        let mut bench = Self::new(lines);
        bench.step(Input::Broker(true));
        bench
    }

    fn step(&mut self, input: Input<'_>) -> Vec<Output> {
        let mono = Mono(self.now);
        self.port.step(
            Now {
                mono,
                wall_ms: None,
            },
            input,
        )
    }

    /// Gives bytes, and answers each publish.
    fn events(&mut self, bytes: &[u8]) -> Vec<(String, String)> {
        let mut events = Vec::new();
        let mut outputs = VecDeque::from(self.step(Input::Bytes(bytes)));
        loop {
            while let Some(output) = outputs.pop_front() {
                let Output::Publish(publish) = output else {
                    continue;
                };
                if let Some(id) = publish.id {
                    let payload = String::from_utf8(publish.payload).unwrap();
                    events.push((publish.topic, payload));
                    let (lane, ticket) = (id.lane, id.ticket);
                    let input = Input::Acknowledged {
                        lane,
                        ticket,
                        reason: 0,
                    };
                    outputs.extend(self.step(input));
                }
            }
            if self.port.backlog.is_empty() {
                return events;
            }
            outputs.extend(self.step(Input::Time));
        }
    }

    fn payloads(&mut self, bytes: &[u8]) -> Vec<String> {
        self.events(bytes)
            .into_iter()
            .map(|(_, payload)| payload)
            .collect()
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.port.status_json()).unwrap()
    }

    fn counts(&self) -> Counts {
        self.port.counts
    }
}

fn open() -> Line {
    Line {
        state: State::Open,
        tty: Some("/dev/x".to_owned()),
        why: None,
    }
}

fn publishes(outputs: &[Output]) -> Vec<&Publish> {
    let found = outputs.iter().filter_map(|output| match output {
        Output::Publish(publish) => Some(publish),
        _ => None,
    });
    found.collect()
}

/// Lines that came are all in some count.
fn adds_up(counts: &Counts, sealed: u64) -> u64 {
    counts.plain
        + counts.undecoded
        + counts.log
        + counts.log_dropped
        + counts.noise
        + counts.too_long
        + counts.smp_lines
        + sealed
}

#[test]
fn a_boot_log_in_colours_is_log_and_what_follows_is_telemetry() {
    let mut bench = Bench::connected("log = '^[IWE] \\('\ndecode = \"json\"\n");
    let boot = b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET)\r\n\
                 \x1b[0;32mI (27) boot: ESP-IDF v5.1 2nd stage bootloader\x1b[0m\r\n\
                 \x1b[0;33mW (29) boot: unsigned\x1b[0m\r\n{\"t\":21.5}\r\n{\"t\":21";
    let outputs = bench.step(Input::Bytes(boot));
    let log: Vec<_> = publishes(&outputs)
        .into_iter()
        .filter(|publish| publish.topic == "serial/gw/p/log")
        .map(|publish| {
            (
                publish.qos,
                String::from_utf8(publish.payload.clone()).unwrap(),
            )
        })
        .collect();
    let expected = [
        "I (27) boot: ESP-IDF v5.1 2nd stage bootloader",
        "W (29) boot: unsigned",
    ];
    assert_eq!(log, expected.map(|line| (Qos::AtMostOnce, line.to_owned())));
    assert_eq!(bench.payloads(b".6}\r\n"), ["{\"t\":21.6}"]);
    let counts = bench.counts();
    assert_eq!((counts.plain, counts.undecoded, counts.log), (2, 2, 2));
    assert_eq!(adds_up(&counts, 0), 6);
}

#[test]
fn events_have_names_topics_and_an_order() {
    let mut bench = Bench::connected("topic = \"s/{port}/{field.id}\"\n");
    let outputs = bench.step(Input::Bytes(b"id=a t=1\nid=a/b t=2\nhello\n"));
    let found: Vec<_> = publishes(&outputs)
        .into_iter()
        .filter(|publish| publish.id.is_some())
        .map(|publish| (publish.topic.as_str(), publish.eid.as_deref().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("s/p/a", "gw/p/0000000000000001:1"),
            ("serial/gw/p/data", "gw/p/0000000000000001:2"),
            ("serial/gw/p/data", "gw/p/0000000000000001:3"),
        ]
    );
    assert_eq!(bench.counts().default_topic, 2);
}

#[test]
fn all_bytes_there_are_end_in_a_count_and_good_lines_come_through() {
    let mut bench = Bench::connected("line_bytes = 64\n");
    let all: Vec<u8> = (0..=255).collect();
    let mut stream = all.clone();
    stream.extend(b"\nt=1\n");
    stream.extend(all.iter().rev());
    stream.extend(b"\nt=2\n\x06\x09ABAKAAAGAABCAKFhZGJoaZsK\nt=\xff3\n");
    stream.extend([b'x'; 100_000]);
    stream.extend(b"\nt=4\n");
    for size in [1, 7, 4_096, 200_000] {
        let mut bench = Bench::connected("line_bytes = 64\n");
        let payloads: Vec<String> = stream
            .chunks(size)
            .flat_map(|chunk| bench.payloads(chunk))
            .collect();
        assert_eq!(payloads, ["{\"t\":1}", "{\"t\":2}", "{\"t\":4}"], "{size}");
        let counts = bench.counts();
        assert_eq!(
            (counts.noise, counts.too_long, counts.smp_packets),
            (3, 3, 1),
            "{counts:?}"
        );
        assert_eq!((counts.published, counts.bytes), (3, stream.len() as u64));
        assert_eq!(adds_up(&counts, 0), 10);
    }
    assert!(bench.payloads(b"").is_empty());
}

#[test]
fn half_a_line_at_an_unplugging_is_noise_and_never_joined_to_another() {
    let mut bench = Bench::connected("");
    assert!(bench.payloads(b"t=1").is_empty());
    let absent = Line::default();
    let outputs = bench.step(Input::Line(absent));
    assert!(
        publishes(&outputs).is_empty(),
        "a status waits half a second"
    );
    bench.now += 500;
    let outputs = bench.step(Input::Time);
    let status: Value = serde_json::from_slice(&publishes(&outputs)[0].payload).unwrap();
    assert_eq!(status["state"], "absent");
    bench.step(Input::Line(open()));
    assert_eq!(bench.payloads(b"1\nt=2\n"), ["1", "{\"t\":2}"]);
    assert_eq!(bench.counts().noise, 1);
}

#[test]
fn without_a_broker_the_oldest_lines_go_and_are_counted() {
    let mut bench = Bench::with_room("", 10_000);
    for n in 0..1_000 {
        bench.step(Input::Bytes(format!("n={n}\n").as_bytes()));
        assert!(bench.port.plain.queue.bytes() <= 10_000);
    }
    let dropped = bench.counts().dropped;
    let outputs = bench.step(Input::Broker(true));
    let first = publishes(&outputs)
        .into_iter()
        .find(|publish| publish.id.is_some())
        .unwrap();
    assert_eq!(first.payload, format!("{{\"n\":{dropped}}}").into_bytes());
    assert!((850..950).contains(&dropped), "{dropped}");
    let names = publishes(&outputs)
        .into_iter()
        .filter_map(|publish| publish.eid.clone());
    assert!(names.eq((dropped + 1..=dropped + 64).map(|n| format!("gw/p/0000000000000001:{n}"))));
}

#[test]
fn what_a_broker_refuses_goes_again_before_anything_new() {
    let mut bench = Bench::connected("");
    let outputs = bench.step(Input::Bytes(b"n=1\nn=2\n"));
    let ids: Vec<PublishId> = publishes(&outputs)
        .iter()
        .filter_map(|publish| publish.id)
        .collect();
    let answer = |id: PublishId, reason| Input::Acknowledged {
        lane: id.lane,
        ticket: id.ticket,
        reason,
    };
    bench.step(answer(ids[0], 0x97));
    bench.step(answer(ids[1], 0x10));
    let outputs = bench.step(Input::Bytes(b"n=3\n"));
    assert!(
        publishes(&outputs)
            .iter()
            .all(|publish| publish.id.is_none())
    );
    bench.now = bench.port.due(Mono(bench.now)).unwrap().0;
    let outputs = bench.step(Input::Time);
    let again = publishes(&outputs)
        .into_iter()
        .find(|publish| publish.id.is_some())
        .unwrap();
    assert_eq!(again.payload, b"{\"n\":1}");
    let outputs = bench.step(answer(again.id.unwrap(), 0));
    let next = publishes(&outputs)
        .into_iter()
        .find(|publish| publish.id.is_some())
        .unwrap();
    assert_eq!(next.payload, b"{\"n\":3}");
    let counts = bench.counts();
    assert_eq!(
        (counts.refused, counts.unheard, counts.published),
        (1, 1, 2)
    );
}

#[test]
fn a_flood_of_log_lines_is_cut_at_a_hundred_a_second() {
    let mut bench = Bench::connected("plain = \"log\"\n");
    let flood = "boot\n".repeat(250);
    bench.events(flood.as_bytes());
    let counts = bench.counts();
    assert_eq!(
        (counts.log, counts.log_dropped, counts.plain),
        (100, 150, 0)
    );
    bench.now += 1_000;
    bench.events(b"boot\n");
    assert_eq!(bench.counts().log, 101);
}

const SCALE: &str = "frames = \"length\"\nlength = { start = \"aa55\", add = 5, sum = \"crc16-modbus\" }\n\
                     decode = \"cbor\"\ntopic = \"s/{port}/{field.id}\"\nline_bytes = 64\n";

fn scale_packet(content: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xAA, 0x55, content.len() as u8];
    packet.extend(content);
    packet.extend(crate::frames::Sum::Crc16Modbus.of(&packet));
    packet
}

/// Bytes and packets that came are all in some count.
fn frames_add_up(bench: &Bench) {
    let counts = bench.counts();
    let deframer = bench.port.deframer.as_ref().unwrap();
    let found = counts.frame_bytes + counts.stray_bytes;
    let held = deframer.pending_bytes() + bench.port.backlog.len() as u64;
    assert_eq!(found + held, counts.bytes, "{counts:?}");
    assert_eq!((counts.plain, counts.noise, counts.log), (0, 0, 0));
}

#[test]
fn frames_become_events_and_all_else_is_counted() {
    let mut damaged = scale_packet(b"\xA1bid\x05");
    damaged[4] ^= 1;
    let stream = [
        &b"\xFFboot\n"[..],
        &scale_packet(b"\xA2bidasaw\x19\x04\xD2"),
        &damaged,
        &scale_packet(b"\xA2bid"),
        &scale_packet(b"\xA1bid\x07"),
    ]
    .concat();
    let topic = |id: &str| format!("s/p/{id}");
    let expected = [
        (topic("s"), "{\"id\":\"s\",\"w\":1234}".to_owned()),
        (topic("7"), "{\"id\":7}".to_owned()),
    ];
    for size in [1, 5, 4_096] {
        let mut bench = Bench::connected(SCALE);
        let found: Vec<_> = stream
            .chunks(size)
            .flat_map(|piece| bench.events(piece))
            .collect();
        assert_eq!(found, expected, "{size}");
        let counts = bench.counts();
        assert_eq!(
            (counts.frames, counts.undecoded, counts.frames_damaged),
            (2, 1, 2)
        );
        assert_eq!((counts.published, counts.default_topic), (2, 0));
        frames_add_up(&bench);
    }
}

#[test]
fn a_flood_of_frames_gives_other_ports_their_turns() {
    let mut bench = Bench::connected("frames = \"cobs\"\n");
    let flood = b"\x02x\0".repeat(1_000);
    let outputs = bench.step(Input::Bytes(&flood));
    assert_eq!(
        publishes(&outputs)
            .iter()
            .filter(|publish| publish.id.is_some())
            .count(),
        64
    );
    assert_eq!(bench.counts().frames, 64);
    frames_add_up(&bench);
    while bench.port.due(Mono(0)) == Some(Mono(0)) {
        bench.step(Input::Time);
    }
    assert_eq!(bench.counts().frames, 1_000);
    frames_add_up(&bench);
}

#[test]
fn a_pause_ends_a_frame_without_another_byte() {
    let mut bench = Bench::connected("frames = \"gap\"\nsilence = \"5ms\"\ndecode = \"json\"\n");
    bench.now = 100_000;
    assert!(bench.payloads(b"{\"t\":").is_empty());
    bench.now += 4;
    assert!(bench.payloads(b"1}").is_empty());
    assert_eq!(bench.port.due(Mono(bench.now)), Some(Mono(bench.now + 5)));
    bench.now += 5;
    assert_eq!(bench.payloads(b""), ["{\"t\":1}"]);
    assert!(bench.payloads(&[b'1'; 5_000]).is_empty());
    bench.now += 5;
    assert!(bench.payloads(b"").is_empty());
    assert_eq!(bench.counts().too_long, 1);
    frames_add_up(&bench);
}

#[test]
fn half_a_frame_at_an_unplugging_is_damaged_and_never_joined_to_another() {
    for (lines, half, after) in [
        ("frames = \"cobs\"\n", &b"\x05ab"[..], &b"\x02x\0"[..]),
        ("frames = \"slip\"\n", b"ab", b"x\xC0"),
        (SCALE, &scale_packet(b"\x01")[..4], &scale_packet(b"\x01")),
    ] {
        let mut bench = Bench::connected(lines);
        assert!(bench.payloads(half).is_empty());
        bench.step(Input::Line(Line::default()));
        assert_eq!(bench.counts().frames_damaged, 1, "{lines}");
        assert_eq!(bench.counts().stray_bytes, half.len() as u64);
        bench.step(Input::Line(open()));
        assert_eq!(bench.payloads(after).len(), 1, "{lines}");
        frames_add_up(&bench);
    }
}

#[test]
fn frames_without_a_broker_are_dropped_oldest_first_and_counted() {
    let mut bench = Bench::with_room("frames = \"slip\"\ndecode = \"json\"\n", 10_000);
    for n in 0..1_000 {
        bench.step(Input::Bytes(n.to_string().as_bytes()));
        bench.step(Input::Bytes(b"\xC0"));
        assert!(bench.port.plain.queue.bytes() <= 10_000);
    }
    let counts = bench.counts();
    let held = bench.port.plain.queue.len() as u64;
    assert_eq!((counts.frames, counts.dropped + held), (1_000, 1_000));
    let outputs = bench.step(Input::Broker(true));
    let first = publishes(&outputs)
        .into_iter()
        .find(|publish| publish.id.is_some());
    assert_eq!(
        first.unwrap().payload,
        counts.dropped.to_string().into_bytes()
    );
}

#[test]
fn commands_for_a_port_with_frames_are_answered_at_once() {
    let mut bench = Bench::connected("frames = \"slip\"\n");
    let command = message("set 1", false, &[]);
    let outputs = bench.step(Input::Message(Below::Command, command));
    let answer: Value = serde_json::from_slice(&publishes(&outputs)[0].payload).unwrap();
    assert_eq!((&answer["ok"], outputs.len()), (&false.into(), 2));
    assert_eq!(answer["answer"], "the port has frames, which go one way");
}

proptest::proptest! {
    #[test]
    fn whatever_comes_in_frames_adds_up(
        stream in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
        size in 1_usize..300,
        lines in proptest::sample::select(&["frames = \"cobs\"\n", "frames = \"slip\"\n", SCALE][..]),
    ) {
        let mut bench = Bench::connected(lines);
        let mut whole = 0;
        for piece in stream.chunks(size) {
            whole += bench.events(piece).len() as u64;
            frames_add_up(&bench);
        }
        bench.step(Input::Line(Line::default()));
        frames_add_up(&bench);
        proptest::prop_assert_eq!(bench.counts().frames, whole);
    }
}

/// Says hello as a device would, until the bridge has its boot.
fn link(bench: &mut Bench) -> Boot {
    let hello = |boot: &str| sealed(None, &format!("@th-1 boot={boot} first=1 lost=0"));
    bench.step(Input::Bytes(&hello("-")));
    let boot = Boot::from_bits(2);
    bench.step(Input::Bytes(&hello(boot.as_str())));
    assert_eq!(bench.port.state(), State::Linked);
    boot
}

fn sealed(boot: Option<Boot>, content: &str) -> Vec<u8> {
    let seal = tidemill_lines::seal(boot, content.as_bytes());
    [b"\n", content.as_bytes(), &seal].concat()
}

#[test]
fn acknowledged_lines_are_events_and_plain_ones_beside_them_are_log() {
    let mut bench = Bench::connected("topic = \"s/{device}\"\n");
    let boot = link(&mut bench);
    let event = bench.events(&sealed(Some(boot), "#1 {\"t\":21.5}"));
    assert_eq!(event, [("s/th-1".to_owned(), "{\"t\":21.5}".to_owned())]);
    assert!(bench.payloads(b"{\"t\":2").is_empty());
    assert_eq!(bench.payloads(&sealed(Some(boot), "#2 x=1")), ["{\"x\":1}"]);
    let mut damaged = sealed(Some(boot), "#3 x=2");
    damaged[4] = b'3';
    assert!(bench.payloads(&damaged).is_empty());
    let counts = bench.counts();
    assert_eq!((counts.plain, counts.log), (0, 1));
    let status = bench.status();
    assert_eq!(
        (&status["state"], &status["device"]),
        (&"linked".into(), &"th-1".into())
    );
    assert_eq!(
        (&status["lines"]["good"], &status["lines"]["damaged"]),
        (&4.into(), &1.into())
    );
}

#[test]
fn an_acknowledged_line_of_another_form_holds_up_nothing() {
    let mut bench = Bench::connected("decode = \"json\"\n");
    let boot = link(&mut bench);
    let stream = [
        sealed(Some(boot), "#1 no json"),
        sealed(Some(boot), "#2 [1]"),
    ]
    .concat();
    assert_eq!(bench.payloads(&stream), ["[1]"]);
    assert_eq!(
        (bench.counts().undecoded, bench.port.layer1.held_bytes()),
        (1, 0)
    );
}

fn message(payload: &str, retained: bool, properties: &[(&str, &str)]) -> Message {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Message {
        topic: "serial/gw/p/command".to_owned(),
        payload: payload.as_bytes().to_vec(),
        retained,
        response_topic: Some("answers/1".to_owned()),
        correlation: Some(b"c".to_vec()),
        properties: properties.iter().map(owned).collect(),
        delivery: Delivery {
            connection: 1,
            packet: Some(7),
        },
    }
}

#[test]
fn a_command_is_answered_before_the_broker_is() {
    let mut bench = Bench::connected("");
    let boot = link(&mut bench);
    let command = message("set 1", false, &[("eid", "rule:7")]);
    let outputs = bench.step(Input::Message(Below::Command, command.clone()));
    let number = tidemill_lines::crc32(b"rule:7");
    let expected = sealed(Some(boot), &format!(">{number} set 1"));
    let port = PortIndex(0);
    assert!(
        outputs.contains(&Output::Write {
            port,
            bytes: expected
        }),
        "{outputs:?}"
    );
    bench.now += 20;
    let outputs = bench.step(Input::Bytes(&sealed(
        Some(boot),
        &format!("<{number} ok done"),
    )));
    let at = outputs
        .iter()
        .position(|output| *output == Output::Settle(command.delivery))
        .unwrap();
    let Output::Publish(answer) = &outputs[at - 1] else {
        panic!("{outputs:?}");
    };
    assert_eq!(
        (answer.topic.as_str(), answer.correlation.as_deref()),
        ("answers/1", Some(&b"c"[..]))
    );
    let expected = "{\"command\":\"set 1\",\"ok\":true,\"answer\":\"done\",\"took_ms\":20}";
    assert_eq!(String::from_utf8_lossy(&answer.payload), expected);
}

#[test]
fn retained_commands_and_lines_that_nobody_allowed_are_not_written() {
    let mut bench = Bench::connected("");
    link(&mut bench);
    let old = message("set 1", true, &[]);
    assert_eq!(
        bench.step(Input::Message(Below::Command, old.clone())),
        [Output::Settle(old.delivery)]
    );
    let line = message("reset", false, &[]);
    assert_eq!(
        bench.step(Input::Message(Below::Write, line.clone())),
        [Output::Settle(line.delivery)]
    );
    assert_eq!(bench.counts().write_refused, 2);
    let mut bench = Bench::connected("write = true\n");
    let outputs = bench.step(Input::Message(Below::Write, line.clone()));
    let bytes = b"reset\n".to_vec();
    let port = PortIndex(0);
    assert_eq!(
        outputs,
        [Output::Write { port, bytes }, Output::Settle(line.delivery)]
    );
}

#[test]
fn one_who_looks_sees_both_directions() {
    let mut bench = Bench::connected("");
    bench.step(Input::Looked(true));
    let outputs = bench.step(Input::Bytes(&sealed(None, "@th-1 boot=- first=1 lost=0")));
    let shown: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Show(shown) => Some((shown.direction, shown.kind)),
            _ => None,
        })
        .collect();
    use crate::message::Direction;
    assert_eq!(shown, [(Direction::In, "lines"), (Direction::Out, "lines")]);
    bench.step(Input::Looked(false));
    let outputs = bench.step(Input::Bytes(b"t=1\n"));
    assert!(
        !outputs
            .iter()
            .any(|output| matches!(output, Output::Show(_)))
    );
}

mod units;
