//! The conversation of `docs/lines.md`: each of its lines has the checksum and the meaning that the page says.

use tidemill_lines::{Boot, FromDevice, ToDevice, unseal};

#[test]
fn the_conversation_of_the_page_is_one() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lines.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```lines\n").unwrap();
    let (conversation, _) = rest.split_once("```").unwrap();
    let mut boot: Option<Boot> = None;
    let mut said = Vec::new();
    for line in conversation.lines() {
        let (who, line) = line.split_once(' ').unwrap();
        let line = line.trim_start().as_bytes();
        let content = unseal(line, boot).unwrap_or_else(|| panic!("{who}: damaged: {line:?}"));
        said.push(match who {
            "device" => match FromDevice::read(content).unwrap() {
                FromDevice::Hello(hello) => format!("hello {:?}", hello.first.0),
                FromDevice::Line { number, text } => {
                    format!("{} {}", number.0, String::from_utf8_lossy(text))
                }
                FromDevice::Answer { command, ok, .. } => format!("answer {} {ok}", command.0),
            },
            _ => match ToDevice::read(content).unwrap() {
                ToDevice::New(new) => {
                    boot = Some(new);
                    format!("new {}", new.as_str())
                }
                ToDevice::Ok { next, safe, .. } => {
                    format!("ok {} {:?}", next.0, safe.map(|it| it.0))
                }
                ToDevice::Held(number) => format!("held {}", number.0),
                ToDevice::Missing(number) => format!("missing {}", number.0),
                ToDevice::Safe(number) => format!("safe {}", number.0),
                ToDevice::Command { command, .. } => format!("command {}", command.0),
            },
        });
        // A single flipped bit is a damaged line.
        let mut flipped = line.to_vec();
        flipped[1] ^= 1;
        assert_eq!(unseal(&flipped, boot), None);
    }
    assert_eq!(
        said,
        [
            "hello 1",
            "new 5f3a91c2d07be844",
            "hello 1",
            "ok 1 None",
            "1 {\"t\":21.5}",
            "2 {\"t\":21.6}",
            "3 {\"t\":21.7}",
            "held 1",
            "missing 2",
            "2 {\"t\":21.6}",
            "safe 3",
            "hello 1",
            "ok 4 Some(3)",
            "command 3735928559",
            "answer 3735928559 true",
        ]
    );
}
