//! Any bytes as what a Modbus line brings while an answer is waited for, and while none is: what is taken for an answer is
//! the frame that was asked for, whole and where it is said to end, and every byte is counted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use tidemill_bridge::Mono;
use tidemill_bridge::modbus::{
    Address, Area, Asked, Bus, Event, Field, Form, Found, Input, Poller, Span, Unit, UnitId, scan,
};
use tidemill_bridge::topics::Pattern;

const AREAS: [Area; 4] = [Area::Coil, Area::Discrete, Area::Holding, Area::Input];

fn bus(area: Area) -> Bus {
    let field = Field {
        name: "x".to_owned(),
        area,
        at: Address(3),
        form: Form::Bit(0),
    };
    let unit = Unit {
        id: UnitId(1),
        name: "u".to_owned(),
        every_ms: 100,
        fields: vec![field],
        topic: Pattern::read("t", "g", "p").expect("it is one"),
    };
    Bus {
        timeout_ms: 50,
        gap_ms: 5,
        late_ms: 100,
        character_us: 100,
        units: vec![unit],
    }
}

fuzz_target!(|data: (u8, u8, &[u8])| {
    let (choice, pace, bytes) = data;
    let area = AREAS[usize::from(choice) % 4];
    let span = Span {
        area,
        at: Address(3),
        count: 1 + u16::from(choice >> 2),
    };
    let asked = Asked {
        unit: UnitId(1),
        span,
        request: vec![1, area.function(), 0, 3, 0, 1, 0, 0],
    };
    if let Some((found, end)) = scan(bytes, Some(&asked)).answer {
        let before = &bytes[..end];
        match found {
            Found::Frame(frame) => {
                assert_eq!(frame.len(), asked.answer_bytes());
                assert!(before.ends_with(&frame) && frame[..2] == [1, area.function()]);
            }
            Found::Exception(_) => {
                assert_eq!(before[end - 5..end - 3], [1, area.function() | 0x80])
            }
        }
    }
    let mut poller = Poller::new(Arc::new(bus(area)));
    let mut now = 0;
    poller.step(Mono(now), Input::Open(true));
    let mut came = 0;
    for piece in bytes.chunks(1 + usize::from(pace >> 4)) {
        now += u64::from(pace & 15);
        came += piece.len() as u64;
        for event in poller.step(Mono(now), Input::Bytes(piece)) {
            if let Event::Polled(_, payload) = event {
                assert!(payload == b"{\"x\":true}" || payload == b"{\"x\":false}");
            }
        }
        let (answers, stray, held) = poller.bytes();
        assert_eq!(answers + stray + held, came);
    }
});
