//! `tidemill init`: what it writes is good, and its commands work.

use tidemill_tests::run;

#[test]
fn a_gateway_to_begin_with_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["init", "first"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (_, next) = ran.out.split_once("Next:\n").unwrap();
    let commands: Vec<&str> = next.lines().map(str::trim).collect();
    assert_eq!(commands.len(), 4, "{ran:?}");
    assert_eq!(commands[0], "cd first");
    let at = dir.path().join("first");
    let call = |command: &str| {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        run(&at, &words)
    };
    let checked = call(&format!("{} --offline", commands[1]));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.ends_with("all is well\n"), "{checked:?}");
    let tried = call(commands[2]);
    assert_eq!(tried.code, Some(0), "{tried:?}");
    assert_eq!(
        tried.out.lines().count(),
        1,
        "only one is above the limit: {tried:?}"
    );
    assert!(
        commands[3].starts_with("tidemill run --config agent.toml"),
        "{ran:?}"
    );
    let unit = std::fs::read_to_string(at.join("tidemill.service")).unwrap();
    for line in [
        "Type=notify",
        "ExecStart=",
        "first/agent.toml",
        "ExecReload=",
    ] {
        assert!(unit.contains(line), "no {line} in {unit}");
    }
    let again = run(dir.path(), &["init", "first"]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert_eq!(
        again.err.matches(" is there already").count(),
        4,
        "{again:?}"
    );
}
