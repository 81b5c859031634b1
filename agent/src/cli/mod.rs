//! The command line. Results go to standard output, everything else to standard error. Exit codes:
//! 0 done, 1 it ran and was refused or failed, 2 wrong use or wrong input.

mod check;
mod dead_letters;
mod demo;
mod event_ids;
mod events;
mod fleet;
mod init;
mod inspect;
mod invoke;
mod log;
mod probe_pond;
mod repair;
mod results;
mod rule_build;
#[cfg(feature = "sql")]
mod rule_explain;
mod rule_new;
mod rule_next;
mod rule_run;
mod rule_test;
mod run;
mod seed;
mod state;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::log::LogFormat;
use crate::storage::data_dir::DataDirError;
use tidemill_base::console;
use tidemill_base::secret::keep_out_of_dumps;
use tidemill_base::text::{FileError, FileErrors, is_all_printable, printable};

/// Path of the configuration, unless another one is given.
const CONFIG_PATH: &str = "/etc/tidemill/agent.toml";

/// Serverless functions at the edge: small WebAssembly functions for every sensor event, on the
/// gateway itself.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until it is told to stop (SIGTERM or Ctrl-C)
    #[command(after_help = run::HELP)]
    Run(run::Options),
    /// See it work: a broker, simulated sensors and an agent, in one process that leaves nothing behind
    #[command(after_help = demo::HELP)]
    Demo(demo::Options),
    /// Write a gateway to begin with: configuration, a rule, a unit for systemd
    #[command(after_help = init::HELP)]
    Init(init::Options),
    /// Check the configuration and every rule without starting anything
    #[command(after_help = check::HELP)]
    Check(check::Options),
    /// Look into a gateway's data directory: ledgers, what waits, journal, state
    #[command(after_help = inspect::HELP)]
    Inspect(inspect::Options),
    /// Events that failed and rows that were refused: list them, show one, try it once more
    #[command(after_help = dead_letters::HELP)]
    DeadLetters(dead_letters::Options),
    /// Producers that number their events: list them, let one begin anew
    #[command(after_help = event_ids::HELP)]
    EventIds(event_ids::Options),
    /// Run one rule of the running agent for an event, for real, and tell what became of it
    #[command(after_help = invoke::HELP)]
    Invoke(invoke::Options),
    /// The state that rules keep: list it by key, show it by name, take it away
    #[command(after_help = state::HELP)]
    State(state::Options),
    /// Mend a journal that is damaged beyond what a crash does, and keep what is cut
    #[command(after_help = repair::HELP)]
    Repair(repair::Options),
    /// Look at a state database, for a process that must not end over it
    #[command(hide = true, name = PROBE)]
    ProbePond(probe_pond::Options),
    /// One file on the boot partition that says what a gateway is
    #[command(subcommand)]
    Seed(SeedCommand),
    /// Signing keys of a fleet: make, list, show
    #[command(after_help = fleet::keys::HELP)]
    Keys(fleet::keys::Options),
    /// The root of trust: whose signature counts for what
    #[command(after_help = fleet::root::HELP)]
    Root(fleet::root::Options),
    /// Sign rules as a bundle for gateways, or look into one
    #[command(after_help = fleet::bundle::HELP)]
    Bundle(fleet::bundle::Options),
    /// Hand a signed file to the agent on this machine, as a push is taken
    #[command(after_help = fleet::apply::HELP)]
    Apply(fleet::apply::Options),
    /// Sign rules and publish them for gateways, over the fleet's broker
    #[command(after_help = fleet::push::HELP)]
    Push(Box<fleet::push::Options>),
    /// The fleet at a glance: what runs where, what was refused, trouble first
    #[command(after_help = fleet::status::HELP)]
    Status(fleet::status::Options),
    /// Build and try rules on this machine
    #[command(subcommand)]
    Rule(RuleCommand),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  tidemill completions bash > ~/.local/share/bash-completion/completions/tidemill"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum SeedCommand {
    /// Write a commented seed to a boot partition
    #[command(after_help = seed::NEW_HELP)]
    New(seed::NewOptions),
    /// Read a seed as a gateway would, and say what is wrong with it
    #[command(after_help = seed::CHECK_HELP)]
    Check(seed::CheckOptions),
    /// Take the seed of this gateway over; what its service runs at each boot
    #[command(after_help = seed::APPLY_HELP)]
    Apply(seed::ApplyOptions),
}

#[derive(Debug, Subcommand)]
enum RuleCommand {
    /// Check a rule with its function and say what came out
    #[command(after_help = rule_build::HELP)]
    Build(rule_build::BuildOptions),
    /// Run a rule on events from a file, with a virtual clock
    #[command(after_help = rule_test::HELP)]
    Test(rule_test::Options),
    /// Run a rule on the events that a broker brings now, and publish nothing
    #[command(after_help = rule_run::HELP)]
    Run(Box<rule_run::Options>),
    /// Show the plan and the code of a rule
    #[cfg(feature = "sql")]
    #[command(after_help = rule_explain::HELP)]
    Explain(rule_build::Options),
    /// Write a rule to start with, in SQL or another language, and events for it
    #[command(after_help = rule_new::HELP)]
    New(rule_new::Options),
    /// Say when a schedule is due
    #[command(after_help = rule_next::HELP)]
    Next(rule_next::Options),
}

/// The command by which this program looks at a state database in a process of its own.
const PROBE: &str = "probe-pond";

/// Why a command did not end well.
#[derive(Debug)]
enum Failure {
    /// The command ran and was refused or failed: exit code 1.
    Failed(anyhow::Error),
    /// Wrong use or wrong input: exit code 2.
    Wrong(Vec<String>),
    /// Files are wrong: exit code 2.
    Files(Vec<FileError>),
    /// Time ran out before there was an answer: exit code 3.
    TimedOut(anyhow::Error),
    /// Storage failed; a supervisor should start the agent again: exit code 74.
    Storage(anyhow::Error),
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::Files(vec![error])
    }
}

impl From<FileErrors> for Failure {
    fn from(errors: FileErrors) -> Self {
        Self::Files(errors.into_iter().collect())
    }
}

impl From<Vec<FileError>> for Failure {
    fn from(errors: Vec<FileError>) -> Self {
        Self::Files(errors)
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The command line as a value, for manual pages and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    if let Ok(program) = std::env::current_exe() {
        crate::storage::pond::probe_with(program, vec![PROBE.to_owned()]);
    }
    log::tell_panics();
    // `run` says it where this fails.
    let _ = keep_out_of_dumps();
    let outcome = match arguments().command {
        Command::Run(options) => run::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Init(options) => init::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::DeadLetters(options) => dead_letters::run(&options),
        Command::Invoke(options) => invoke::run(&options),
        Command::EventIds(options) => event_ids::run(&options),
        Command::State(options) => state::run(&options),
        Command::Repair(options) => repair::run(&options),
        Command::ProbePond(options) => probe_pond::run(&options),
        Command::Seed(SeedCommand::New(options)) => seed::new(&options),
        Command::Seed(SeedCommand::Check(options)) => seed::check(&options),
        Command::Seed(SeedCommand::Apply(options)) => seed::apply(&options),
        Command::Keys(options) => fleet::keys::run(&options),
        Command::Root(options) => fleet::root::run(&options),
        Command::Bundle(options) => fleet::bundle::run(&options),
        Command::Apply(options) => fleet::apply::run(&options),
        Command::Push(options) => fleet::push::run(&options),
        Command::Status(options) => fleet::status::run(&options),
        Command::Rule(RuleCommand::Build(options)) => rule_build::run(&options),
        Command::Rule(RuleCommand::Test(options)) => rule_test::run(&options),
        Command::Rule(RuleCommand::Run(options)) => rule_run::run(&options),
        #[cfg(feature = "sql")]
        Command::Rule(RuleCommand::Explain(options)) => rule_explain::run(&options),
        Command::Rule(RuleCommand::New(options)) => rule_new::run(&options),
        Command::Rule(RuleCommand::Next(options)) => rule_next::run(&options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "tidemill", &mut script);
            console::stdout().raw(&script).map_err(Failure::from)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// Reads the arguments. Errors quote them in printable form: a file may be called anything, and a
/// shell puts its name in.
fn arguments() -> Arguments {
    Arguments::try_parse().unwrap_or_else(|error| {
        let given = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let given: Vec<String> = given.collect();
        if !given.iter().all(|word| is_all_printable(word)) {
            let shown = given.iter().map(|word| printable(word).to_string());
            if let Err(error) = Arguments::try_parse_from(shown) {
                error.exit();
            }
            let _ = console::stderr().text(&error.render().to_string());
            std::process::exit(error.exit_code());
        }
        error.exit()
    })
}

fn report(failure: &Failure) -> ExitCode {
    match failure {
        // A reader that has seen enough, such as `head`, is no failure of ours.
        Failure::Failed(error) if is_broken_pipe(error) => return ExitCode::SUCCESS,
        Failure::Failed(error) | Failure::Storage(error) | Failure::TimedOut(error) => {
            log::say_error(format_args!("{error:#}"))
        }
        Failure::Wrong(errors) => errors.iter().for_each(log::say_error),
        Failure::Files(errors) => errors.iter().for_each(log::say_file_error),
    }
    ExitCode::from(match failure {
        Failure::Failed(_) => 1,
        Failure::Wrong(_) | Failure::Files(_) => 2,
        Failure::TimedOut(_) => 3,
        Failure::Storage(_) => 74,
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The configuration file that a command is about.
#[derive(Debug, clap::Args)]
struct ConfigOption {
    /// The gateway's configuration
    #[arg(long, value_name = "FILE", default_value = CONFIG_PATH, env = "TIDEMILL_CONFIG")]
    config: PathBuf,
}
