//! Poll tables that are right and wrong, as owners write them.

use super::super::tests::{SMALL, read, refused};
use super::*;
use crate::modbus::{Address, Area, Form, Kind, Order, Scale};

const PORT: &str = "mode = \"modbus\"\nbaud = 9600\n";

fn table(lines: &str) -> String {
    format!("{SMALL}{PORT}[[port.unit]]\nid = 7\nname = \"meter-a\"\n{lines}")
}

fn bus_of(text: &str) -> std::sync::Arc<Bus> {
    let config = read(text).unwrap();
    config.ports[0].modbus.clone().unwrap()
}

#[test]
fn a_poll_table_is_read_with_all_it_says() {
    let bus = bus_of(&format!(
        "{SMALL}{PORT}parity = \"even\"\ntopic = \"meters/{{unit}}\"\ntimeout = \"1s\"\ngap = \"20ms\"\nlate = \"3s\"\n\
         [[port.unit]]\nid = 7\nname = \"meter-a\"\nevery = \"5s\"\nread = [\n\
         {{ reg = \"holding:4100\", type = \"f32\", order = \"CDAB\", as = \"watts\" }},\n\
         {{ reg = \"input:0\", as = \"volts\", scale = 0.1, offset = -40 }},\n\
         {{ reg = \"coil:17\", as = \"on\" }},\n\
         {{ reg = \"holding:9\", type = \"bit\", bit = 3, as = \"alarm\" }},\n\
         {{ reg = \"input:100\", type = \"string\", length = 16, as = \"model\" }},\n]\n"
    ));
    assert_eq!(
        (bus.timeout_ms, bus.gap_ms, bus.late_ms),
        (1_000, 20, 3_000)
    );
    assert_eq!(bus.character_us, 1_146);
    let unit = &bus.units[0];
    assert_eq!(
        (unit.id, &*unit.name, unit.every_ms),
        (UnitId(7), "meter-a", 5_000)
    );
    assert_eq!(unit.topic.topic("", b"").as_deref(), Some("meters/meter-a"));
    let found: Vec<_> = unit
        .fields
        .iter()
        .map(|field| (&*field.name, field.area, field.at, field.form.clone()))
        .collect();
    let number = |kind: Kind, order: Order, scale| Form::Number { kind, order, scale };
    let scale = Scale {
        factor: 0.1,
        offset: -40.0,
    };
    let two = Order::highest_first(2);
    let swapped = Order::read("CDAB", 4).unwrap();
    assert_eq!(
        found,
        [
            (
                "watts",
                Area::Holding,
                Address(4_100),
                number(Kind::F32, swapped, None)
            ),
            (
                "volts",
                Area::Input,
                Address(0),
                number(Kind::U16, two.clone(), Some(scale))
            ),
            ("on", Area::Coil, Address(17), Form::Bit(0)),
            ("alarm", Area::Holding, Address(9), Form::Bit(3)),
            (
                "model",
                Area::Input,
                Address(100),
                Form::Text {
                    bytes: 16,
                    order: two
                }
            ),
        ]
    );
}

#[test]
fn a_small_table_has_the_times_of_the_standard() {
    let read = "read = [{ reg = \"input:0\", as = \"volts\" }]\n";
    let bus = bus_of(&table(read));
    assert_eq!((bus.timeout_ms, bus.gap_ms, bus.late_ms), (300, 5, 2_000));
    assert_eq!(bus.units[0].every_ms, 10_000);
    let topic = bus.units[0].topic.topic("", b"");
    assert_eq!(topic.as_deref(), Some("serial/gw-17/boiler/data"));
    // Three and a half characters of 10 bits at 1200 baud take 29.2 ms.
    let slow = table(read).replace("9600", "1200");
    assert_eq!(bus_of(&slow).gap_ms, 30);
}

#[test]
fn what_is_wrong_in_a_table_is_told_with_line_and_key() {
    let value = |value: &str| table(&format!("read = [{{ {value} }}]\n"));
    for (text, expected) in [
        (
            value("reg = \"40101\", as = \"x\""),
            "13:17: reg: \"40101\" is no register; write \"holding:100\"",
        ),
        (
            value("reg = \"holding:70000\", as = \"x\""),
            "13:17: reg: \"holding:70000\" is no register",
        ),
        (
            value("reg = \"holdings:1\", as = \"x\""),
            "13:17: reg: \"holdings:1\" is no register",
        ),
        (
            value("reg = \"holding:65535\", type = \"u32\", as = \"x\""),
            "13:17: reg: the value ends behind the last register",
        ),
        (value("reg = \"input:1\""), "13:9: missing key `as`"),
        (
            value("reg = \"input:1\", as = \"\""),
            "13:33: as: \"\" is no name of a field",
        ),
        (
            value("reg = \"input:1\", type = \"float\", as = \"x\""),
            "13:35: type: \"float\" is none of \"u16\"",
        ),
        (
            value("reg = \"input:1\", type = \"f33\", as = \"x\""),
            "did you mean \"f32\"?",
        ),
        (
            value("reg = \"coil:1\", type = \"u16\", as = \"x\""),
            "13:34: type: coil is one bit; take this key away",
        ),
        (
            value("reg = \"input:1\", type = \"f32\", order = \"AB\", as = \"x\""),
            "13:50: order: \"AB\" does not fit; write \"ABCD\", \"CDAB\"",
        ),
        (
            value("reg = \"input:1\", order = \"ABCD\", as = \"x\""),
            "order: \"ABCD\" does not fit; write \"AB\" or \"BA\"",
        ),
        (
            value("reg = \"input:1\", scale = 0, as = \"x\""),
            "scale: write a number such as 0.1",
        ),
        (
            value("reg = \"input:1\", offset = nan, as = \"x\""),
            "offset: write a number",
        ),
        (
            value("reg = \"coil:1\", scale = 2, as = \"x\""),
            "scale: only numbers have one",
        ),
        (
            value("reg = \"coil:1\", bit = 2, as = \"x\""),
            "bit: only type = \"bit\" of a register has one",
        ),
        (
            value("reg = \"input:1\", bit = 2, as = \"x\""),
            "bit: only type = \"bit\"",
        ),
        (
            value("reg = \"input:1\", type = \"bit\", bit = 16, as = \"x\""),
            "bit lies between 0 and 15",
        ),
        (
            value("reg = \"input:1\", type = \"string\", as = \"x\""),
            "13:35: type: string needs length = 16",
        ),
        (
            value("reg = \"input:1\", type = \"string\", length = 251, as = \"x\""),
            "length lies between 1 and 250",
        ),
        (
            value("reg = \"input:1\", length = 2, as = \"x\""),
            "length: only type = \"string\" has one",
        ),
        (
            value("address = 1, as = \"x\""),
            "13:11: unknown key `address`; did you mean `reg`?",
        ),
        (table("read = []\n"), "13:8: read: write 1 to 256 values"),
        (table(""), "10:1: missing key `read`"),
        (
            table("every = \"1ms\"\nread = [{ reg = \"input:1\", as = \"x\" }]\n"),
            "13:9: every lies between 10ms and 24h",
        ),
        (
            table(
                "read = [{ reg = \"input:1\", as = \"x\" }, { reg = \"input:2\", as = \"x\" }]\n",
            ),
            "as: \"x\" stands there twice",
        ),
    ] {
        refused(&text, &[expected]);
    }
}

#[test]
fn ports_with_units_have_nothing_else_and_others_have_no_units() {
    let good = "read = [{ reg = \"input:1\", as = \"x\" }]\n";
    let port = |lines: &str| table(good).replace(PORT, &format!("{PORT}{lines}\n"));
    for (text, expected) in [
        (
            port("decode = \"json\""),
            "10:10: decode: a port with mode = \"modbus\" has no lines",
        ),
        (
            port("write = true"),
            "10:9: write: a port with mode = \"modbus\" has no lines",
        ),
        (port("frames = \"cobs\""), "10:10: frames: a port with mode"),
        (port("bits = 7"), "10:8: bits: Modbus RTU has 8"),
        (
            port("timeout = \"1m\""),
            "10:11: timeout lies between 10ms and 10s",
        ),
        (port("gap = \"2s\""), "10:7: gap lies between 1ms and 1s"),
        (port("late = \"5\""), "10:8: late: \"5\" is no duration"),
        (
            port("topic = \"a/{device}\""),
            "10:9: topic: a port with mode = \"modbus\" has no {device}",
        ),
        (
            format!("{SMALL}{PORT}"),
            "6:8: there is no unit; write [[port.unit]]",
        ),
        (
            format!("{SMALL}mode = \"modbsu\"\n"),
            "8:8: mode: \"modbsu\" is none of \"lines\", \"modbus\"; did you mean \"modbus\"?",
        ),
        (
            format!("{SMALL}timeout = \"1s\"\n"),
            "8:11: timeout: only a port with mode = \"modbus\" has it",
        ),
        (
            format!("{SMALL}topic = \"a/{{unit}}\"\n"),
            "8:9: topic: only a port with mode = \"modbus\" has {unit}",
        ),
        (
            table(&format!(
                "{good}[[port.unit]]\nid = 7\nname = \"meter-b\"\n{good}"
            )),
            "15:6: id: unit \"meter-a\" has this number already",
        ),
        (
            table(&format!(
                "{good}[[port.unit]]\nid = 8\nname = \"meter-a\"\n{good}"
            )),
            "16:8: name: there are two units \"meter-a\"",
        ),
        (
            table(good).replace("id = 7", "id = 0"),
            "11:6: id lies between 1 and 247",
        ),
        (
            table(good).replace("id = 7", "id = 256"),
            "11:6: id: invalid value",
        ),
    ] {
        refused(&text, &[expected]);
    }
}

#[test]
fn a_topic_for_all_and_a_line_too_slow_are_warned_about() {
    let good = "every = \"1s\"\nread = [{ reg = \"input:1\", as = \"x\" }]\n";
    let two = table(&format!(
        "{good}[[port.unit]]\nid = 8\nname = \"meter-b\"\n{good}"
    ));
    let warnings = |text: &str| {
        let config = read(text).unwrap();
        config
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let found = warnings(&two);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("6:8: topic: the events of all units go to one topic"),
        "{found:?}"
    );
    let named = two.replace(PORT, &format!("{PORT}topic = \"m/{{unit}}\"\n"));
    assert_eq!(warnings(&named), Vec::<String>::new());
    let long = "every = \"100ms\"\nread = [{ reg = \"input:1\", type = \"string\", length = 200, as = \"x\" }]\n";
    let found = warnings(&table(long));
    assert!(
        found[0].contains("take 2.3 s of each second on the wire"),
        "{found:?}"
    );
}
