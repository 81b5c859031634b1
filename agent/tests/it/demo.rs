//! `tidemill demo` as a user runs it: the real binary, with its output in a pipe.

use assert_cmd::Command;

fn tidemill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(arguments).env_remove("TIDEMILL_LOG");
    command
}

/// The numbers of a line that begins with this word.
fn numbers(text: &str, word: &str) -> Vec<u64> {
    let line = text
        .lines()
        .rfind(|line| line.trim_start().starts_with(word))
        .unwrap_or_else(|| panic!("no line {word:?} in {text}"));
    line.replace(',', "")
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[test]
fn a_short_demo_brings_results_up_and_its_ledger_balances() {
    let done = tidemill(&["demo", "--for", "3s"]).assert().success();
    let output = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    assert!(!output.contains('\x1b'), "{output}");
    assert!(output.contains("the ledger balances"), "{output}");
    assert!(numbers(&output, "results upstream")[0] >= 50, "{output}");
    for rule in ["average", "humidity", "overheat"] {
        let [received, filtered, absorbed, emitting, dead, _] = numbers(&output, rule)[..] else {
            panic!("the ledger of {rule} has other columns: {output}");
        };
        assert!(received >= 100, "{output}");
        assert_eq!(received, filtered + absorbed + emitting + dead, "{output}");
    }
    assert_eq!(done.get_output().stderr, b"");
}

#[test]
fn a_port_that_is_taken_is_told_with_the_way_out() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let done = tidemill(&["demo", "--for", "1s", "--port", &port]).assert();
    let done = done.code(2);
    let said = String::from_utf8(done.get_output().stderr.clone()).unwrap();
    assert!(
        said.contains(&format!("port {port} is taken; give another one")),
        "{said}"
    );
}
