//! The device's end under test: the crate, or the header in C as a child process that speaks bytes.

use tidemill_lines::{Boot, CommandId, Config, Device, Input, Memory, Millis, Name, Output};

/// Answers of the device's end, owned.
#[derive(Debug)]
pub(crate) enum Out {
    Nothing,
    Send(Vec<u8>),
    Wait(u32),
    Command(CommandId, Vec<u8>),
}

pub(crate) trait End {
    fn step(&mut self, now: u32, input: Input<'_>) -> Out;
    fn held(&mut self) -> u32;
    fn lost(&mut self) -> u32;
    fn boot(&mut self) -> Option<Boot>;
}

impl End for Device<'_> {
    fn step(&mut self, now: u32, input: Input<'_>) -> Out {
        match Device::step(self, Millis(now), input) {
            Output::Nothing => Out::Nothing,
            Output::Send(frame) => Out::Send(frame.pieces().concat()),
            Output::Wait(ms) => Out::Wait(ms),
            Output::Command { command, text } => Out::Command(command, text.to_vec()),
        }
    }

    fn held(&mut self) -> u32 {
        Device::held(self)
    }

    fn lost(&mut self) -> u32 {
        Device::lost(self)
    }

    fn boot(&mut self) -> Option<Boot> {
        Device::boot(self)
    }
}

/// Memory of the crate's end, used again after each reset.
#[derive(Debug)]
pub(crate) struct Buffers {
    ring: Vec<u8>,
    line: [u8; 128],
    answer: [u8; 32],
}

impl Buffers {
    pub(crate) fn new(ring_bytes: usize) -> Self {
        Self {
            ring: vec![0; ring_bytes],
            line: [0; 128],
            answer: [0; 32],
        }
    }

    pub(crate) fn device(&mut self, now: u32, baud: u32, window: u8) -> Device<'_> {
        let config = Config {
            name: Name::read(b"th-1").expect("it is a name"),
            info: "fw=1.4.2 hw=th-board-2",
            baud,
            window,
        };
        let memory = Memory {
            ring: &mut self.ring,
            line: &mut self.line,
            answer: &mut self.answer,
        };
        Device::new(Millis(now), config, memory)
    }
}
