//! The device's end in C, compiled by the machine's compiler and run as a child process in the same worlds.

use super::ends::{End, Out};
use super::world::{Ended, Violation, World};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tidemill_lines::{Boot, CommandId, Input};

/// The baud rate that the child is compiled for.
const BAUD: u32 = 115_200;

/// Milliseconds between two polls of a device that has nothing to say.
const POLL_MS: u32 = 20;

/// Compiles the child; `None` without a compiler.
fn compiled(folder: &Path, more: &[&str]) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join("end");
    let done = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1"])
        .args(more)
        .arg("-I")
        .arg(root.join("lines/include"))
        .arg(root.join("tests/lines/end.c"))
        .arg("-o")
        .arg(&program)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    Some(program)
}

struct Header {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Header {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    fn ask(&mut self, op: u8, now: u32, number: u32, ok: bool, text: &[u8]) -> (u8, u32, Vec<u8>) {
        let mut request = vec![op];
        request.extend(now.to_ne_bytes());
        request.extend(number.to_ne_bytes());
        request.push(ok.into());
        request.extend((text.len() as u16).to_ne_bytes());
        request.extend(text);
        self.input.write_all(&request).unwrap();
        let mut head = [0; 7];
        self.output.read_exact(&mut head).unwrap();
        let [kind, a, b, c, d, e, f] = head;
        let mut bytes = vec![0; u16::from_ne_bytes([e, f]).into()];
        self.output.read_exact(&mut bytes).unwrap();
        (kind, u32::from_ne_bytes([a, b, c, d]), bytes)
    }

    fn state(&mut self) -> (u32, u32, Option<Boot>) {
        let (_, held, bytes) = self.ask(b'Q', 0, 0, false, &[]);
        let (lost, boot) = bytes.split_first_chunk().unwrap();
        (held, u32::from_le_bytes(*lost), Boot::read(boot))
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End for Header {
    fn step(&mut self, now: u32, input: Input<'_>) -> Out {
        let (kind, number, bytes) = match input {
            Input::Byte(byte) => self.ask(b'B', now, 0, false, &[byte]),
            Input::Room => self.ask(b'R', now, 0, false, &[]),
            Input::Line(text) => self.ask(b'L', now, 0, false, text),
            Input::Answer { command, ok, text } => self.ask(b'A', now, command.0, ok, text),
        };
        match kind {
            b'S' => Out::Send(bytes),
            b'W' => Out::Wait(POLL_MS),
            b'C' => Out::Command(CommandId(number), bytes),
            _ => Out::Nothing,
        }
    }

    fn held(&mut self) -> u32 {
        self.state().0
    }

    fn lost(&mut self) -> u32 {
        self.state().1
    }

    fn boot(&mut self) -> Option<Boot> {
        self.state().2
    }
}

#[test]
fn the_header_in_c_keeps_the_promise_too() {
    let folder = std::env::temp_dir().join(format!("tidemill-lines-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let Some(program) = compiled(&folder, &[]) else {
        println!("SKIPPED: there is no C compiler");
        return;
    };
    let seeds = tidemill_tests::setting("TIDEMILL_SIM_C_SEEDS", 150);
    let mut ran = 0;
    for seed in 0..seeds {
        let mut world = World::new(seed, None, false);
        if world.scenario.baud != BAUD {
            continue;
        }
        ran += 1;
        loop {
            let mut device = Header::start(&program);
            match world.live(&mut device) {
                Ok(Ended::Over) => break,
                Ok(Ended::Reset) => {}
                Err(Violation(why)) => panic!("seed {seed}: violated: {why}"),
            }
        }
    }
    println!("{ran} of {seeds} seeds ran");
    assert!(ran * 4 > seeds, "{ran} of {seeds}");
    std::fs::remove_dir_all(&folder).unwrap();
}
