//! Files that are right and wrong, as owners write them.

use super::*;
use crate::decode::Packed;
use crate::frames::{Framing, Length, Sum};

pub(super) const SMALL: &str = "[bridge]\nid = \"gw-17\"\n[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n\
                     [[port]]\nname = \"boiler\"\npath = \"/dev/ttyAMA0\"\n";

pub(super) fn read(text: &str) -> Result<Config, Vec<FileError>> {
    Config::of(&Source {
        path: "bridge.toml".into(),
        text: text.to_owned(),
    })
}

#[track_caller]
pub(super) fn refused(text: &str, expected: &[&str]) {
    let errors = read(text).unwrap_err();
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (line, expected) in shown.iter().zip(expected) {
        assert!(line.contains(expected), "{line} is not {expected}");
    }
}

#[test]
fn a_small_file_is_enough() {
    let config = read(SMALL).unwrap();
    assert_eq!((config.id.as_str(), config.ports.len()), ("gw-17", 1));
    assert_eq!(config.control, Path::new(CONTROL));
    let port = &config.ports[0];
    assert_eq!(
        (port.line.baud, port.line_bytes, port.write),
        (115_200, 4_096, false)
    );
    let topic = port.topic.topic("", b"x");
    assert_eq!(topic.as_deref(), Some("serial/gw-17/boiler/data"));
    assert!(config.warnings.is_empty());
}

#[test]
fn every_key_of_a_port_is_read() {
    let config = read(&format!(
        "{SMALL}[[port]]\nname = \"b\"\nusb = \"0403:6001/A9M9DV3R\"\nbaud = 9600\nbits = 7\nparity = \"even\"\n\
         stop_bits = 2\nflow = \"rtscts\"\nrs485 = \"kernel\"\nend = \"cr\"\ntopic = \"s/{{port}}/{{field.id}}\"\n\
         decode = \"csv\"\ncolumns = [\"t\", \"h\"]\nlog = '^[IWE] \\('\nplain = \"log\"\nwrite = true\nline_bytes = 65536\n"
    ))
    .unwrap();
    let port = &config.ports[1];
    let id = UsbId {
        vendor: 0x0403,
        product: 0x6001,
    };
    let serial = Some("A9M9DV3R".to_owned());
    assert_eq!(port.finder, Finder::Usb { id, serial });
    assert_eq!(
        (port.line.baud, port.line.bits, port.line.parity),
        (9_600, DataBits::Seven, Parity::Even)
    );
    assert_eq!(
        (port.line.stop_bits, port.line.flow, port.line.rs485),
        (StopBits::Two, Flow::RtsCts, Rs485::Kernel)
    );
    assert!(port.log.as_ref().unwrap().is_match("I (31) boot"));
    assert_eq!(
        (port.plain, port.write, port.line_bytes),
        (PlainIs::Log, true, 65_536)
    );
}

#[test]
fn unknown_keys_are_named_with_the_one_that_was_meant() {
    refused(
        &format!("{SMALL}buad = 9600\n"),
        &["bridge.toml:8:1: unknown key `buad`; did you mean `baud`?"],
    );
    refused(
        &format!("{SMALL}speed = 9600\n"),
        &["8:1: unknown key `speed`; did you mean `baud`?"],
    );
    refused(
        &format!("{SMALL}colour = 1\n"),
        &["8:1: unknown key `colour`; here stand name, usb, at, path"],
    );
    refused(
        &SMALL.replace("[[port]]", "[[prot]]"),
        &["5:3: unknown key `prot`; did you mean `port`?"],
    );
    refused(
        &SMALL.replace("url", "server"),
        &["4:1: unknown key `server`; did you mean `url`?"],
    );
}

#[test]
fn values_of_another_kind_are_told_with_their_key() {
    refused(
        &format!("{SMALL}baud = \"fast\"\n"),
        &["8:8: baud: invalid type: string \"fast\", expected u32"],
    );
    refused(
        &format!("{SMALL}baud = -1\n"),
        &["8:8: baud: invalid value: integer `-1`"],
    );
    refused(
        &SMALL.replace("id = \"gw-17\"\n", ""),
        &["1:1: missing key `id`"],
    );
    refused("[bridge]\nid = \"a\"\n", &["missing table [broker]"]);
    refused("[bridge\n", &["1:8: this is no TOML"]);
}

#[test]
fn everything_else_that_is_wrong_is_said_at_once() {
    let text = "[bridge]\nid = \"GW 17\"\n[broker]\nurl = \"127.0.0.1\"\nca_file = \"x\"\nkeep_alive = \"5\"\n\
                [[port]]\nname = \"\"\npath = \"ttyAMA0\"\nbaud = 0\nbits = 9\nparity = \"evn\"\ndecode = \"jsn\"\n\
                line_bytes = 70000\nlog = '('\n[[port]]\nname = \"b\"\nusb = \"0403\"\n[[port]]\nname = \"c\"\n\
                [[port]]\nname = \"d\"\nat = \"usb1\"\ntopic = \"a/{prot}\"\n";
    refused(
        text,
        &[
            "2:6: id: \"GW 17\" is no name",
            "4:7: url: this is no address of a broker; write mqtt://host:1883",
            "5:11: ca_file: the connection is not encrypted; write mqtts://",
            "6:14: keep_alive: \"5\" is no duration",
            "8:8: name: \"\" is no name",
            "9:8: path: write the whole path",
            "10:8: baud lies between 50 and 12000000",
            "11:8: bits lies between 7 and 8",
            "12:10: parity: \"evn\" is none of \"none\", \"even\", \"odd\"; did you mean \"even\"?",
            "13:10: decode: \"jsn\" is none of",
            "14:14: line_bytes lies between 64 and 65536",
            "15:7: log: \"(\" is no regular expression",
            "18:7: usb: \"0403\" is no USB id",
            "20:8: a port has one of path, usb and at",
            "23:6: at: \"usb1\" is no socket",
            "24:9: topic: there is no {prot}, did you mean {port}?",
        ],
    );
}

#[test]
fn two_ports_have_two_names_and_two_devices() {
    let again = "[[port]]\nname = \"boiler\"\npath = \"/dev/ttyAMA0\"\n";
    refused(
        &format!("{SMALL}{again}"),
        &[
            "8:1: port \"boiler\" is the same device as port \"boiler\"",
            "9:8: name: there are two ports \"boiler\"",
        ],
    );
    refused(
        &SMALL[..SMALL.find("[[port]]").unwrap()],
        &["1:1: there is no port; write [[port]]"],
    );
    let many: String = (0..32)
        .map(|n| format!("[[port]]\nname = \"p{n}\"\npath = \"/dev/p{n}\"\n"))
        .collect();
    refused(
        &format!("{SMALL}{many}"),
        &["101:1: a bridge has at most 32 ports"],
    );
}

#[test]
fn forms_have_what_they_need_and_nothing_else() {
    for (lines, expected) in [
        ("decode = \"csv\"\n", "decode: csv needs columns"),
        (
            "decode = \"csv\"\ncolumns = []\n",
            "columns: write a name for each value",
        ),
        (
            "decode = \"csv\"\ncolumns = [\"t\", \"t\"]\n",
            "columns: \"t\" stands there twice",
        ),
        (
            "columns = [\"t\"]\n",
            "columns: only decode = \"csv\" has them",
        ),
        ("decode = \"regex\"\n", "decode: regex needs pattern"),
        (
            "decode = \"regex\"\npattern = 'a'\n",
            "pattern: name what becomes a field",
        ),
        (
            "pattern = 'a'\n",
            "pattern: only decode = \"regex\" has one",
        ),
    ] {
        refused(&format!("{SMALL}{lines}"), &[expected]);
    }
}

fn frames(lines: &str) -> Frames {
    let config = read(&format!("{SMALL}{lines}")).unwrap();
    config.ports[0].frames.clone().unwrap()
}

#[test]
fn frames_are_read_with_what_they_need() {
    let of = |framing, decode| Frames { framing, decode };
    assert_eq!(
        frames("frames = \"cobs\"\n"),
        of(Framing::Cobs, Packed::Base64)
    );
    assert_eq!(
        frames("frames = \"slip\"\ndecode = \"json\"\nwrite = false\n"),
        of(Framing::Slip, Packed::Json)
    );
    assert_eq!(
        frames("frames = \"gap\"\nsilence = \"5ms\"\ndecode = \"base64\"\n"),
        of(Framing::Gap(5), Packed::Base64)
    );
    let length = |start: &[u8], at, bytes, add, sum| {
        Framing::Length(Length {
            start: start.to_vec(),
            at,
            bytes,
            add,
            sum,
        })
    };
    let all = "length = { start = \"aA55\", at = 3, bytes = 2, add = 4, sum = \"crc16-modbus\" }";
    assert_eq!(
        frames(&format!("frames = \"length\"\n{all}\ndecode = \"cbor\"\n")),
        of(
            length(&[0xAA, 0x55], 3, 2, 4, Sum::Crc16Modbus),
            Packed::Cbor
        )
    );
    assert_eq!(
        frames("frames = \"length\"\nlength = { start = \"7e\" }\n"),
        of(length(&[0x7E], 1, 1, 0, Sum::None), Packed::Base64)
    );
}

#[test]
fn frames_that_are_wrong_are_told_with_line_and_key() {
    for (lines, expected) in [
        (
            "frames = \"cbos\"\n",
            "8:10: frames: \"cbos\" is none of \"cobs\", \"slip\", \"length\", \"gap\"; did you mean \"cobs\"?",
        ),
        (
            "frames = \"gap\"\n",
            "8:10: frames: gap needs silence = \"5ms\"",
        ),
        (
            "frames = \"gap\"\nsilence = \"5\"\n",
            "9:11: silence: \"5\" is no duration",
        ),
        (
            "frames = \"gap\"\nsilence = \"1h\"\n",
            "9:11: silence lies between 1ms and 10s",
        ),
        (
            "frames = \"length\"\n",
            "8:10: frames: length needs length = {",
        ),
        (
            "frames = \"length\"\nlength = { at = 2 }\n",
            "9:10: missing key `start`",
        ),
        (
            "frames = \"length\"\nlength = { start = \"aa5\" }\n",
            "9:20: start: \"aa5\" is no start; write the 1 to 8 bytes",
        ),
        (
            "frames = \"length\"\nlength = { start = \"\" }\n",
            "9:20: start: \"\" is no start",
        ),
        (
            "frames = \"length\"\nlength = { start = \"aa55\", at = 1 }\n",
            "9:33: at lies between 2 and 32",
        ),
        (
            "frames = \"length\"\nlength = { start = \"aa\", bytes = 4 }\n",
            "9:34: bytes lies between 1 and 2",
        ),
        (
            "frames = \"length\"\nlength = { start = \"aa\", add = 9999 }\n",
            "9:32: add lies between 0 and 1024",
        ),
        (
            "frames = \"length\"\nlength = { start = \"aa\", sum = \"crc32\" }\n",
            "9:32: sum: \"crc32\" is none of",
        ),
        (
            "frames = \"length\"\nlength = { start = \"aa\", size = 1 }\n",
            "9:26: unknown key `size`; here stand start, at, bytes, add, sum",
        ),
        (
            "frames = \"cobs\"\ndecode = \"kv\"\n",
            "9:10: decode: \"kv\" is none of \"json\", \"cbor\", \"base64\"",
        ),
        (
            "frames = \"cobs\"\nsilence = \"5ms\"\n",
            "9:11: silence: only frames = \"gap\" has it",
        ),
        (
            "frames = \"cobs\"\nlength = { start = \"aa\" }\n",
            "9:10: length: only frames = \"length\" has it",
        ),
        (
            "frames = \"cobs\"\nwrite = true\n",
            "9:9: write: frames go one way",
        ),
        (
            "frames = \"cobs\"\nlog = 'a'\n",
            "9:7: log: a port with frames has no lines",
        ),
        (
            "frames = \"cobs\"\nbits = 7\n",
            "9:8: bits: frames are made of 8",
        ),
        (
            "silence = \"5ms\"\n",
            "8:11: silence: only a port with frames = \"gap\" has it",
        ),
        (
            "length = { start = \"aa\" }\n",
            "8:10: length: only a port with frames = \"length\" has it",
        ),
        (
            "decode = \"cbor\"\n",
            "8:10: decode: only a port with frames has \"cbor\"",
        ),
    ] {
        refused(&format!("{SMALL}{lines}"), &[expected]);
    }
}

#[test]
fn a_path_with_a_number_is_warned_about() {
    let config = read(&SMALL.replace("ttyAMA0", "ttyUSB0")).unwrap();
    let warning = config.warnings[0].to_string();
    assert!(
        warning.starts_with("bridge.toml:7:8: path: /dev/ttyUSB0 may be another device"),
        "{warning}"
    );
}

#[test]
fn the_files_that_are_shown_are_good() {
    let page = include_str!("../../../docs/bridge.md");
    let shown = page
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let config = read(shown).unwrap();
    assert_eq!((config.ports.len(), config.warnings.len()), (1, 0));
    let frames = page.split("```toml\n").nth(2).unwrap();
    let frames = frames.split("```").next().unwrap();
    let (head, _) = SMALL.split_once("[[port]]").unwrap();
    assert_eq!(read(&format!("{head}{frames}")).unwrap().ports.len(), 2);
    let units = page.split("```toml\n").nth(3).unwrap();
    let units = units.split("```").next().unwrap();
    let config = read(&format!("{head}{units}")).unwrap();
    assert_eq!((config.ports.len(), config.warnings.len()), (1, 0));
    let example = include_str!("../../../examples/bridge/bridge.toml");
    assert_eq!(read(example).unwrap().id, "gw-17");
}

#[test]
fn every_key_stands_in_the_documentation() {
    let page = include_str!("../../../docs/bridge.md");
    for table in ["bridge", "broker", "port", "unit", "read"] {
        let unit = "mode = \"modbus\"\n[[port.unit]]\nid = 1\nname = \"m\"\n";
        let text = match table {
            "port" => format!("{SMALL}nobodys = 1\n"),
            "unit" => format!("{SMALL}{unit}nobodys = 1\n"),
            "read" => format!("{SMALL}{unit}read = [{{ nobodys = 1 }}]\n"),
            table => SMALL.replace(
                &format!("[{table}]\n"),
                &format!("[{table}]\nnobodys = 1\n"),
            ),
        };
        let error = read(&text).unwrap_err()[0].to_string();
        let (_, known) = error.split_once("here stand ").unwrap();
        assert!(known.contains(", "), "{error}");
        for key in known.split(", ") {
            let is_there = page.contains(&format!("`{key}")) || page.contains(&format!(".{key}`"));
            assert!(is_there, "docs/bridge.md does not have {key} of [{table}]");
        }
    }
}
