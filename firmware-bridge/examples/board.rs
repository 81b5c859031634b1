//! A board on a pseudo-terminal: it says its temperature in acknowledged lines and carries a command out. What a
//! microcontroller does in its main loop stands here with a terminal in the place of the UART.
//!
//! `board PTY [LINES_A_SECOND]`

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tidemill_lines::{Config, Device, Input, Memory, Millis, Name, Output};

/// `O_NOCTTY`: the terminal is no console of ours.
const NO_CONTROLLING_TERMINAL: i32 = 0o400;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let path = arguments
        .next()
        .ok_or_else(|| wrong("board PTY [LINES_A_SECOND]"))?;
    let rate = arguments.next().map_or(Ok(1), |rate| rate.parse::<u64>());
    let every = 1_000 / rate.map_err(|_| wrong("a number of lines"))?.max(1);
    let open = || {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .custom_flags(NO_CONTROLLING_TERMINAL)
            .open(&path)
    };
    let bytes = receive(open()?);
    live(open()?, &bytes, every)
}

/// The receive interrupt: bytes come by themselves.
fn receive(mut uart: File) -> Receiver<u8> {
    let (sender, bytes) = sync_channel(1_024);
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(count) = uart.read(&mut buffer) {
            let came = buffer.get(..count).unwrap_or_default();
            if came.is_empty() || came.iter().any(|byte| sender.send(*byte).is_err()) {
                return;
            }
        }
    });
    bytes
}

/// The main loop.
fn live(mut uart: File, bytes: &Receiver<u8>, every_ms: u64) -> io::Result<()> {
    let (mut ring, mut line, mut answer) = ([0; 4_096], [0; 128], [0; 32]);
    let memory = Memory {
        ring: &mut ring,
        line: &mut line,
        answer: &mut answer,
    };
    let name = Name::read(b"th-1").ok_or(io::ErrorKind::InvalidInput)?;
    let config = Config {
        name,
        info: "fw=1.0.0 hw=pty",
        baud: 115_200,
        window: 8,
    };
    let began = Instant::now();
    let now = || Millis(u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX));
    let mut device = Device::new(now(), config, memory);
    let (mut is_led_on, mut said) = (false, 0_u64);
    loop {
        if u64::from(now().0) >= said * every_ms {
            said += 1;
            // A warm room: 20 to 26 degrees and back within a minute.
            let degrees = 23.0 + 3.0 * (f64::from(now().0) / 9_549.0).sin();
            let text = format!("{{\"n\":{said},\"t\":{degrees:.2},\"led\":{is_led_on}}}");
            device.step(now(), Input::Line(text.as_bytes()));
        }
        while let Ok(byte) = bytes.try_recv() {
            if let Output::Command { command, text } = device.step(now(), Input::Byte(byte)) {
                let ok = matches!(text, b"led on" | b"led off");
                is_led_on = if ok { text == b"led on" } else { is_led_on };
                let text = if ok {
                    &b"done"[..]
                } else {
                    b"led on or led off"
                };
                device.step(now(), Input::Answer { command, ok, text });
            }
        }
        while let Output::Send(frame) = device.step(now(), Input::Room) {
            for piece in frame.pieces() {
                uart.write_all(piece)?;
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
