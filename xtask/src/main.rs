//! `cargo xtask`: sets up, builds, runs, tests and measures the project with one word each. Reads the
//! command line and picks the module; what a command does stands there.

mod args;
mod bench;
mod bridge;
mod ci;
mod demo;
mod dist;
mod examples;
mod fuzz;
mod image;
mod lint;
mod nab;
mod packages;
mod setup;
mod shell;
mod simulate;
mod simulate_lines;
mod size;
mod soak;
mod stock;
mod test;

use anyhow::Result;
use args::{Args, Misuse};
use shell::Workspace;
use std::env;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND [OPTIONS]

  demo [ARGS…]         build the agent and run its demo; ARGS go to `tidemill demo`
                         cargo xtask demo --for 20s
  test                 install what the tests need, then run all of them
         --quick         only the workspace's own tests, nothing compiled for wasm32
         --all           install the C compiler as well, so that fewer examples are skipped, and
                         build and test examples/receiver
         --bridge        only the serial bridge's, at full length
         --target T      unit tests and simulator of the agent in the code of a board, by qemu-user; with
                         --quick only those of functions, journal and records
  ci                   what has to pass before a change lands: formatting, lints, tests, docs, licences
  lint                 what the compiler does not look at: bare integers side by side, long functions and
                       files, long trains of parameters; xtask/src/lint/list.txt says what may stay
  stock [--check]      build the functions that ship with the agent into rules/stock/wasm;
                         with --check compare instead, byte for byte
  examples [--check]   build the examples whose compilers are installed, and the receiver;
                         --check fails if one is skipped
  nab                  the example on NAB's machine temperature: alarms, score, picture
                         cargo xtask nab --help
  dist [TARGET…]       binaries and archives for every board
                         cargo xtask dist --help
  packages             Debian packages of what dist has built; --test tries them in roots of Debian
                         cargo xtask packages --help
  size [TARGET]        what the release binary is made of, crate by crate; fails above the rows of
                       docs/performance.md
                         cargo xtask size --help
  image                a card for a gateway, of Debian and the agent; and what QEMU shows of it
                         cargo xtask image --help
  setup [TARGET…]      install what `test` needs (with --all: as above) and the standard library of
                         TARGETs; the other commands do this by themselves
  bench [WORKLOAD…]    measure the release build against a private mosquitto
                         cargo xtask bench --help
  journal              bytes that the agent writes to its disk per event, at the block layer
                         cargo xtask journal --help
  bridge               a board, the serial bridge, an agent and two brokers, live
                         cargo xtask bridge --for 30s
  simulate             the seeded simulator, over as many seeds as you like
                         cargo xtask simulate --help
  simulate-lines       both ends of the bridge's acknowledged lines over a line that fails
                         cargo xtask simulate-lines --help
  soak                 the agent between two brokers while everything around it fails
                         cargo xtask soak --help
  fuzz TARGET          the SQL compiler, or what brokers send, on inputs that cargo-fuzz makes
                         cargo xtask fuzz --help
";

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            if error.is::<Misuse>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn dispatch() -> Result<()> {
    let mut words = env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    let asks_help = |words: &[String]| words.iter().any(|word| word == "--help" || word == "-h");
    match command.as_str() {
        "" | "help" | "-h" | "--help" => return print(USAGE),
        "demo" => return demo::demo(&Workspace::find()?, &rest),
        "bench" if asks_help(&rest) => return print(bench::USAGE),
        "bench" => return bench::bench(&Workspace::find()?, &rest),
        "bridge" if asks_help(&rest) => return print(bridge::USAGE),
        "bridge" => return bridge::bridge(&Workspace::find()?, &rest),
        "journal" if asks_help(&rest) => return print(bench::journal::USAGE),
        "journal" => return bench::journal::journal(&Workspace::find()?, &rest),
        "nab" if asks_help(&rest) => return print(nab::USAGE),
        "nab" => return nab::nab(&Workspace::find()?, &rest),
        "simulate" if asks_help(&rest) => return print(simulate::USAGE),
        "simulate" => return simulate::simulate(&Workspace::find()?, &rest),
        "simulate-lines" if asks_help(&rest) => return print(simulate_lines::USAGE),
        "simulate-lines" => return simulate_lines::simulate_lines(&Workspace::find()?, &rest),
        "soak" if asks_help(&rest) => return print(soak::USAGE),
        "soak" => return soak::soak(&Workspace::find()?, &rest),
        "dist" if asks_help(&rest) => return print(dist::USAGE),
        "dist" => return dist::dist(&Workspace::find()?, &rest),
        "packages" if asks_help(&rest) => return print(packages::USAGE),
        "packages" => return packages::packages(&Workspace::find()?, &rest),
        "size" if asks_help(&rest) => return print(size::USAGE),
        "size" => return size::size(&Workspace::find()?, &rest),
        "image" if asks_help(&rest) => return print(image::USAGE),
        "image" => return image::image(&Workspace::find()?, &rest),
        "fuzz" if asks_help(&rest) => return print(fuzz::USAGE),
        "fuzz" => return fuzz::fuzz(&Workspace::find()?, &rest),
        _ if asks_help(&rest) => return print(USAGE),
        _ => {}
    }
    let flags = |known: &[&str]| Args::parse(rest.clone(), known, &[]);
    match command.as_str() {
        "setup" => {
            let args = flags(&["all"])?;
            setup::everything(&Workspace::find()?, args.flag("all"), &args.words)
        }
        "test" => {
            let args = Args::parse(rest.clone(), &["quick", "all", "bridge"], &["target"])?;
            args.no_words()?;
            let workspace = Workspace::find()?;
            match args.text("target") {
                Some(target) => test::of_target(&workspace, target, args.flag("quick")),
                None if args.flag("bridge") => test::bridge(&workspace),
                None => test::test(&workspace, args.flag("quick"), args.flag("all")),
            }
        }
        "lint" => {
            flags(&[])?.no_words()?;
            lint::lint(&Workspace::find()?)
        }
        "stock" => {
            let args = flags(&["check"])?;
            args.no_words()?;
            stock::stock(&Workspace::find()?, args.flag("check"))
        }
        "examples" => {
            let args = flags(&["check"])?;
            args.no_words()?;
            examples::all(&Workspace::find()?, args.flag("check"))
        }
        "ci" => {
            flags(&[])?.no_words()?;
            ci::ci(&Workspace::find()?)
        }
        unknown => Err(Misuse(format!(
            "there is no command {unknown:?}; `cargo xtask --help` lists them"
        ))
        .into()),
    }
}

fn print(text: &str) -> Result<()> {
    use std::io::Write;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
