//! `tidemill rule new`: each starting point is built and tried with the very commands that it names.

use std::path::Path;
use std::process::{Command, Output};

use tidemill_tests::{run, skipped, tidemill};

/// Variables of this test's own cargo that would lead the generated crate's astray.
const NOT_INHERITED: [&str; 5] = [
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
];

/// Results of a function that passes the events on.
const PASSED: [&str; 2] = [
    r#"{"at":1700000001000,"port":"out","key":"d2","payload":{"device": "d2", "temperature": 61}}"#,
    r#"{"at":1700000002000,"port":"out","key":"d1","payload":{"device": "d1", "temperature": 72.25}}"#,
];

fn installed(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    let found = command.arg(argument).output();
    found.is_ok_and(|output| output.status.success())
}

fn shell(directory: &Path, script: &str) -> Output {
    let mut path = tidemill().parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(directory);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    command
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

/// Makes a starting point in a folder whose name asks for quotes, does as it says, and deploys it.
#[track_caller]
fn works(language: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("it's mine")).unwrap();
    let new = [
        "rule",
        "new",
        "7-hot",
        "--dir",
        "it's mine",
        "--language",
        language,
    ];
    let ran = run(at, &new);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let (_, next) = ran.out.split_once("\nNext:\n").unwrap();
    let lines: Vec<_> = next.lines().collect();
    let (last, build) = lines.split_last().unwrap();
    let built = shell(at, &build.join("\n"));
    assert!(built.status.success(), "{ran:?}\n{built:?}");
    let tried = shell(at, &format!("{}\n{last}", build[0]));
    let out = String::from_utf8(tried.stdout.clone()).unwrap();
    assert!(tried.status.success(), "{tried:?}");
    assert_eq!(out.lines().collect::<Vec<_>>(), expected, "{tried:?}");

    let rules = at.join("rules");
    std::fs::create_dir(&rules).unwrap();
    let made = match language {
        "sql" => at.join("it's mine"),
        _ => at.join("it's mine/7-hot"),
    };
    for file in ["7-hot.toml", "7-hot.wasm"] {
        if made.join(file).exists() {
            std::fs::copy(made.join(file), rules.join(file)).unwrap();
        }
    }
    let config = "[gateway]\nid = \"gw\"\nrules_dir = \"rules\"\ndata_dir = \"data\"\n\
                  [broker]\nurl = \"mqtt://127.0.0.1\"\n";
    std::fs::write(at.join("agent.toml"), config).unwrap();
    let ran = run(at, &["check", "--config", "agent.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.out.contains("7-hot"), "{ran:?}");
}

#[test]
fn a_start_in_sql_works_as_it_says() {
    works(
        "sql",
        &[
            r#"{"at":1700000001000,"port":"out","key":"all","payload":{"device":"d2","temperature":61,"fahrenheit":141.8}}"#,
            r#"{"at":1700000002000,"port":"out","key":"all","payload":{"device":"d1","temperature":72.25,"fahrenheit":162.1}}"#,
        ],
    );
}

#[test]
fn a_start_in_rust_works_as_it_says() {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let has_target = sysroot.is_ok_and(|output| {
        let root = String::from_utf8(output.stdout).unwrap();
        let target = "lib/rustlib/wasm32-unknown-unknown/lib";
        Path::new(root.trim()).join(target).is_dir()
    });
    if !has_target {
        return skipped("rule new --language rust: `cargo xtask setup` installs the wasm32 target");
    }
    works("rust", &PASSED);
}

#[test]
fn a_start_in_c_works_as_it_says() {
    if !installed("clang", "--version") || !installed("wasm-ld", "--version") {
        return skipped("rule new --language c: `cargo xtask setup --all` installs clang and lld");
    }
    works("c", &PASSED);
}

#[test]
fn a_start_in_assemblyscript_works_as_it_says() {
    // The compiler takes nothing older.
    let recent = "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)";
    let node = Command::new("node").args(["-e", recent]).status();
    if !node.is_ok_and(|status| status.success()) || !installed("npm", "--version") {
        return skipped("rule new --language assemblyscript: install node 20 or later, with npm");
    }
    works("as", &PASSED);
}

#[test]
fn what_is_there_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let new = |language: &str| run(at, &["rule", "new", "hot", "--language", language]);
    assert_eq!(new("sql").code, Some(0));
    std::fs::write(at.join("hot.jsonl"), "mine").unwrap();
    std::fs::remove_file(at.join("hot.toml")).unwrap();
    let ran = new("sql");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(2), "", "error: ./hot.jsonl is there already\n")
    );
    assert!(!at.join("hot.toml").exists());

    // An empty folder is in nobody's way.
    std::fs::create_dir(at.join("hot")).unwrap();
    assert_eq!(new("c").code, Some(0));
    std::fs::write(at.join("hot/hot.c"), "mine").unwrap();
    for language in ["rust", "c", "assemblyscript"] {
        let ran = new(language);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(
            ran.err.contains("error: ./hot/hot.c is there already\n"),
            "{ran:?}"
        );
    }
    assert!(!at.join("hot/Cargo.toml").exists());
    for (file, text) in [("hot.jsonl", "mine"), ("hot/hot.c", "mine")] {
        assert_eq!(std::fs::read_to_string(at.join(file)).unwrap(), text);
    }
    std::fs::write(at.join("file"), "").unwrap();
    let ran = run(at, &["rule", "new", "file", "--language", "c"]);
    assert_eq!(ran.err, "error: ./file is there already\n", "{ran:?}");
}

#[test]
fn wrong_names_languages_and_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["Hot"][..], "error: name \"Hot\": 1 to 64 of"),
        (&["--", "-hot"], "the first of which is no -"),
        (
            &["hot", "--language", "cobol"],
            "[possible values: sql, rust, c, assemblyscript]",
        ),
        (
            &["hot", "--dir", "gone"],
            "error: gone: there is no such folder",
        ),
    ] {
        let ran = run(folder.path(), &[&["rule", "new"], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains(expected), "{ran:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
