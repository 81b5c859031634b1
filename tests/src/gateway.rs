//! A gateway for one test: its configuration, rules and data in a temporary directory, and the real
//! `tidemill run` on them, which can be stopped, killed and started again.

use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::threads::ThreadTimes;
use crate::{LOOK_EVERY, PATIENCE, Ran, busy_threads, run, signal, tidemill, wait_until};

/// A gateway, running or not. A running agent is killed when this is dropped.
pub struct Gateway {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    agent: Option<Agent>,
}

/// Resident memory of the agent, in MB of a million bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// Now.
    pub now: f64,
    /// At most so far.
    pub peak: f64,
    /// The part of `now` that is pages of files: the program.
    pub program: f64,
}

/// One run of the agent.
struct Agent {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Gateway {
    /// A gateway `gw` that listens to a broker on this port, with further lines for `[broker]` or
    /// tables after it.
    pub fn new(port: u16, lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("rules")).unwrap();
        let config = format!(
            "[gateway]\nid = \"gw\"\ndata_dir = \"data\"\nrules_dir = \"rules\"\n\
             [broker]\nurl = \"mqtt://127.0.0.1:{port}\"\n{lines}\n"
        );
        fs::write(directory.path().join("agent.toml"), config).unwrap();
        Self {
            directory,
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            agent: None,
        }
    }

    /// A path below the gateway's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the rule `rules/<name>.toml`; the line `name = …` is put in front of `text`.
    pub fn rule(&self, name: &str, text: &str) {
        let text = format!("name = \"{name}\"\n{text}");
        fs::write(self.path(&format!("rules/{name}.toml")), text).unwrap();
    }

    /// Writes a module in text format as `rules/<name>.wasm`.
    pub fn module(&self, name: &str, wat: &str) {
        let wasm = wat::parse_str(wat).unwrap();
        fs::write(self.path(&format!("rules/{name}.wasm")), wasm).unwrap();
    }

    /// Takes a rule away.
    pub fn remove_rule(&self, name: &str) {
        fs::remove_file(self.path(&format!("rules/{name}.toml"))).unwrap();
    }

    /// A further argument of `tidemill run`, from the next start on.
    pub fn argument(&mut self, argument: &str) {
        self.arguments.push(argument.to_owned());
    }

    /// A variable of the environment, from the next start on.
    pub fn variable(&mut self, name: &str, value: impl AsRef<Path>) {
        let value = value.as_ref().display().to_string();
        self.environment.push((name.to_owned(), value));
    }

    /// A program, with arguments, that runs the agent from the next start on. It has to leave the
    /// agent the process that was started.
    pub fn wrap(&mut self, command: &[&str]) {
        self.wrapper = command.iter().map(|&word| word.to_owned()).collect();
    }

    /// Adds lines at the end of the configuration, for the next start.
    pub fn configure(&self, lines: &str) {
        let path = self.path("agent.toml");
        let config = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{config}{lines}\n")).unwrap();
    }

    /// Puts one text in place of another throughout the configuration, for the next start.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let path = self.path("agent.toml");
        let config = fs::read_to_string(&path).unwrap();
        fs::write(path, config.replace(from, to)).unwrap();
    }

    /// Starts the agent and waits until the broker holds its subscriptions. The rules have at least
    /// one topic filter.
    pub fn start(&mut self) {
        self.run();
        self.until_logged("connected broker=");
        // A session that was kept holds its subscriptions already.
        self.until(|line| line.contains("session_present=true") || line.contains(" subscribed "));
    }

    /// Starts the agent and waits for nothing.
    pub fn run(&mut self) {
        assert!(self.agent.is_none(), "the agent runs already");
        let mut child = self
            .command()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = std::thread::spawn(move || collect(stderr, &lines));
        self.agent = Some(Agent { child, log, reader });
    }

    /// Runs a second agent on the same files to its end; returns its exit code and its log. One that
    /// does not end by itself is killed, and has no code.
    pub fn run_another(&self) -> (Option<i32>, String) {
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stderr, log) = (child.stderr.take().unwrap(), Mutex::default());
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| collect(stderr, &log));
            let give_up = Instant::now() + PATIENCE;
            // Its log is at its end when the agent is.
            while !reader.is_finished() && Instant::now() < give_up {
                std::thread::sleep(LOOK_EVERY);
            }
            if !reader.is_finished() {
                let _ = child.kill();
            }
        });
        let code = child.wait().unwrap().code();
        (code, log.into_inner().unwrap().join("\n"))
    }

    fn command(&self) -> Command {
        // The shell becomes the agent, with the process id that systemd would have told it.
        let mut command = Command::new("sh");
        command
            .args(["-c", "WATCHDOG_PID=$$ exec \"$0\" \"$@\""])
            .args(&self.wrapper)
            .arg(tidemill())
            .args(["run", "--config"])
            .arg(self.path("agent.toml"))
            .args(&self.arguments)
            .env_remove("TIDEMILL_LOG")
            .env_remove("NOTIFY_SOCKET")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// The agent's log since it was started, line by line.
    pub fn log(&self) -> Vec<String> {
        let agent = self.agent.as_ref().expect("the agent was started");
        agent.log.lock().unwrap().clone()
    }

    /// The memory that the agent holds.
    pub fn memory(&self) -> Memory {
        let agent = self.agent.as_ref().expect("the agent was started");
        let status = fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next());
            kib.unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
        };
        Memory {
            now: of("VmRSS:"),
            peak: of("VmHWM:"),
            program: of("RssFile:"),
        }
    }

    /// Seconds that the agent has used of a core so far.
    pub fn processor_seconds(&self) -> f64 {
        let agent = self.agent.as_ref().expect("the agent was started");
        ThreadTimes::of(agent.child.id()).seconds()
    }

    /// The threads of the agent that use more than `percent` of a core over a time in which nothing
    /// happens.
    pub fn busy_threads(&self, span: Duration, percent: f64) -> Vec<(String, f64)> {
        let agent = self.agent.as_ref().expect("the agent was started");
        busy_threads(agent.child.id(), span, percent)
    }

    /// Returns `true` if the agent that was started still runs.
    pub fn is_running(&mut self) -> bool {
        let agent = self.agent.as_mut().expect("the agent was started");
        agent.child.try_wait().unwrap().is_none()
    }

    /// Calls the program on this gateway's configuration: `inspect ledger --config agent.toml`.
    pub fn tidemill(&self, command: &str) -> Ran {
        let mut words: Vec<_> = command.split(' ').collect();
        words.extend(["--config", "agent.toml"]);
        run(self.directory.path(), &words)
    }

    /// Waits until the agent has logged this.
    pub fn until_logged(&self, text: &str) {
        self.until_logged_times(text, 1);
    }

    /// Waits until so many lines of the agent's log have this in them.
    pub fn until_logged_times(&self, text: &str, count: usize) {
        wait_until(
            || self.count_logged(text) >= count,
            || format!("no {text:?}, {count} times:\n{}", self.log().join("\n")),
        );
    }

    /// Number of lines of the agent's log that contain this.
    pub fn count_logged(&self, text: &str) -> usize {
        let has_it = |line: &&String| line.contains(text);
        self.log().iter().filter(has_it).count()
    }

    fn until(&self, good: impl Fn(&String) -> bool) {
        wait_until(
            || self.log().iter().any(&good),
            || format!("the agent is not ready:\n{}", self.log().join("\n")),
        );
    }

    /// Makes the agent read its rules again, and waits until it has said what came of it.
    pub fn reload(&self) {
        let said = || self.count_logged("deployed anew") + self.count_logged("are not changed");
        let before = said();
        self.signal("HUP");
        wait_until(
            || said() > before,
            || format!("the rules were not read:\n{}", self.log().join("\n")),
        );
    }

    /// Sends a signal to the agent, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let agent = self.agent.as_ref().expect("the agent was started");
        signal(&agent.child, name);
    }

    /// Stops the agent as systemd would, checks that it ended well, and returns its log.
    pub fn stop(&mut self) -> Vec<String> {
        self.signal("TERM");
        let (code, log) = self.ended();
        assert_eq!(code, Some(0), "the agent's end:\n{}", log.join("\n"));
        log
    }

    /// The process of the agent.
    pub fn id(&self) -> u32 {
        let agent = self.agent.as_ref().expect("the agent was started");
        agent.child.id()
    }

    /// Ends the agent as a fault in it would. Returns its log, and whether its memory was written to a file.
    pub fn crash(&mut self) -> (bool, Vec<String>) {
        self.signal("ABRT");
        let (status, log) = self.end();
        (status.core_dumped(), log)
    }

    /// Kills the agent: it has no moment to save anything.
    pub fn kill(&mut self) {
        self.signal("KILL");
        assert_eq!(self.ended().0, None);
    }

    /// Waits until the agent ends; returns its exit code and its log.
    pub fn ended(&mut self) -> (Option<i32>, Vec<String>) {
        let (status, log) = self.end();
        (status.code(), log)
    }

    fn end(&mut self) -> (ExitStatus, Vec<String>) {
        let mut agent = self.agent.take().expect("the agent was started");
        let mut status = None;
        wait_until(
            || {
                status = agent.child.try_wait().unwrap();
                status.is_some()
            },
            || {
                format!(
                    "the agent does not end:\n{}",
                    agent.log.lock().unwrap().join("\n")
                )
            },
        );
        agent.reader.join().unwrap();
        let log = agent.log.lock().unwrap().clone();
        (status.unwrap(), log)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.child.kill();
            let _ = agent.child.wait();
            if std::thread::panicking() {
                tell(agent.log.lock().unwrap().join("\n"));
            }
        }
    }
}

/// Shows what the agent said before its test failed.
#[allow(
    clippy::print_stdout,
    reason = "the test runner shows it with the failure"
)]
fn tell(log: impl Display) {
    println!("the agent's log:\n{log}");
}

fn collect(stderr: ChildStderr, lines: &Mutex<Vec<String>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        lines.lock().unwrap().push(line);
    }
}
