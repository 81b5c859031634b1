use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::*;

const INTAKE: &str = "4<TCP:[127.0.0.1:5000->127.0.0.1:1883]>";
const UPSTREAM: &str = "5<TCP:[127.0.0.1:5001->127.0.0.1:1884]>";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// A line of a trace.
fn line(thread: u32, call: &str, file: &str, bytes: &[u8]) -> String {
    let count = bytes.len();
    format!(
        "{thread} 15:31:26.215012 {call}({file}, \"{}\", {count}) = {count}",
        hex(bytes)
    )
}

fn journal() -> String {
    format!("9<{}>", hex(b"/data/journal/1"))
}

fn publish(id: u16, payload: &str) -> Vec<u8> {
    let mut packet = vec![0x32, (5 + payload.len()) as u8, 0, 1, b't'];
    packet.extend(id.to_be_bytes());
    packet.extend(payload.as_bytes());
    packet
}

/// A run in good order: two messages come, are journalled and synced, acknowledged and sent on.
fn good() -> Vec<String> {
    let come = [publish(1, "wit-000001"), publish(2, "wit-000002")].concat();
    let acks = [[0x40, 2, 0, 1], [0x40, 2, 0, 2]].concat();
    vec![
        line(1, "recvfrom", INTAKE, &come[..20]),
        line(1, "recvfrom", INTAKE, &come[20..]),
        line(2, "pwrite64", &journal(), b"..wit-000001..wit-000002.."),
        format!("2 15:31:26.3 fdatasync({} <unfinished ...>", journal()),
        "2 15:31:26.4 <... fdatasync resumed>) = 0".to_owned(),
        line(1, "sendto", INTAKE, &acks),
        line(3, "write", UPSTREAM, &publish(7, "wit-000001")),
        line(3, "write", UPSTREAM, &publish(8, "wit-000002")),
        "1 15:31:26.5 +++ exited with 0 +++".to_owned(),
    ]
}

fn witness(lines: &[String]) -> Witnessed {
    Trace::read(&lines.join("\n")).witness(1883, "wit-")
}

#[test]
fn a_run_in_good_order_has_nothing_against_it() {
    let expected = Witnessed {
        acknowledged: 2,
        sent: 2,
        syncs: 1,
        violations: Vec::new(),
    };
    assert_eq!(witness(&good()), expected);
}

#[test]
fn doctored_traces_are_found_out() {
    let moved = |from: usize, to: usize| {
        let mut lines = good();
        let line = lines.remove(from);
        lines.insert(to, line);
        lines
    };
    let without = |lines: &[usize]| {
        let mut number = 0;
        let mut all = good();
        all.retain(|_| {
            number += 1;
            !lines.contains(&(number - 1))
        });
        all
    };
    let mut failed_sync = good();
    failed_sync[4] = failed_sync[4].replace("= 0", "= -1 EIO (Input/output error)");
    let acks = [[0x40, 2, 0, 2], [0x40, 2, 0, 1]].concat();
    let mut swapped = good();
    swapped[5] = line(1, "sendto", INTAKE, &acks);
    for (lines, expected, count) in [
        // Before the sync was asked for, and while it was under way.
        (
            moved(5, 3),
            "acknowledgement of wit-000001 left at line 3",
            2,
        ),
        (
            moved(5, 4),
            "acknowledgement of wit-000002 left at line 4",
            2,
        ),
        (moved(6, 4), "emission wit-000001 left at line 4", 1),
        // A sync that began before the write does not cover it.
        (moved(2, 3), "no sync of the journal ever covered it", 4),
        (
            without(&[3, 4]),
            "no sync of the journal ever covered it",
            4,
        ),
        (failed_sync, "no sync of the journal ever covered it", 4),
        (swapped, "packet 2 was acknowledged before wit-000001", 1),
    ] {
        let witnessed = witness(&lines);
        let found = &witnessed.violations;
        assert!(
            found.iter().any(|violation| violation.contains(expected)),
            "no {expected:?} in {found:?}"
        );
        assert_eq!(found.len(), count, "{found:?}");
    }
}

/// Run by the next test under strace: one that syncs too late.
#[test]
fn a_process_that_sends_before_it_syncs() {
    use std::os::unix::fs::FileExt;
    let Ok(port) = std::env::var("TIDEMILL_TRACED_PORT") else {
        return;
    };
    let journal = std::env::var("TIDEMILL_TRACED_FILE").unwrap();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse().unwrap())).unwrap();
    let journal = fs::File::create(journal).unwrap();
    journal.write_all_at(b"wit-1 wit-2", 0).unwrap();
    socket.write_all(&publish(1, "wit-1")).unwrap();
    let sync = std::thread::spawn(move || journal.sync_data().unwrap());
    sync.join().unwrap();
    socket.write_all(&publish(2, "wit-2")).unwrap();
}

#[test]
fn a_real_trace_is_read() {
    let [strace, arguments @ ..] = Trace::STRACE;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("trace");
    let traced = std::process::Command::new(strace)
        .args(arguments)
        .arg("-o")
        .arg(&output)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "trace::tests::a_process_that_sends_before_it_syncs",
        ])
        .env("TIDEMILL_TRACED_PORT", port.to_string())
        .env("TIDEMILL_TRACED_FILE", folder.path().join("journal"))
        .output();
    let Ok(traced) = traced else {
        return crate::skipped("strace is not there; `cargo xtask setup` installs it");
    };
    assert!(traced.status.success(), "{traced:?}");
    crate::wait_until(
        || fs::read_to_string(&output).is_ok_and(|text| text.ends_with("exited with 0 +++\n")),
        || format!("strace has not ended: {traced:?}"),
    );
    let text = fs::read_to_string(&output).unwrap();
    let witnessed = Trace::read(&text).witness(1883, "wit-");
    assert_eq!((witnessed.sent, witnessed.syncs), (2, 1), "{witnessed:?}");
    assert_eq!(witnessed.violations.len(), 1, "{witnessed:?}");
    assert!(witnessed.violations[0].starts_with("emission wit-1 left"));
}

/// A disk on which a file was written and renamed, and another one removed.
fn renamed(synced: &[&str]) -> String {
    let path = |name: &str| hex(format!("/d/{name}").as_bytes());
    let sync = |name: &str| {
        let path = hex(format!("/d{name}").as_bytes());
        format!("1 15:31:26.5 fsync(5<{path}>) = 0")
    };
    let mut lines = vec![
        format!(
            "1 15:31:26.1 openat(AT_FDCWD<{}>, \"{}\", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 4<{}>",
            hex(b"/"),
            path("new"),
            path("new")
        ),
        line(1, "write", &format!("4<{}>", path("new")), b"con"),
        line(1, "write", &format!("4<{}>", path("new")), b"tents"),
    ];
    lines.extend(
        synced
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| sync(name)),
    );
    lines.push(format!(
        "1 15:31:26.6 rename(\"{}\", \"{}\") = 0",
        path("new"),
        path("file")
    ));
    lines.push(format!("1 15:31:26.7 unlink(\"{}\") = 0", path("old")));
    lines.extend(
        synced
            .iter()
            .filter(|name| name.is_empty())
            .map(|name| sync(name)),
    );
    lines.join("\n")
}

fn folder(files: &[(&str, &[u8])]) -> Tree {
    let files = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), Tree::File(bytes.to_vec())));
    Tree::Folder(files.collect())
}

#[test]
fn a_power_cut_takes_contents_and_names_that_were_not_synced() {
    let begins = folder(&[("old", b"1"), ("file", b"before")]);
    let left = |synced: &[&str], loss| {
        let text = renamed(synced);
        let trace = FileTrace::read(&text, Path::new("/d"), &begins);
        trace.after_power_cut(trace.len(), loss, &mut Random::new(1))
    };
    let after = folder(&[("file", b"contents")]);
    let emptied = folder(&[("file", &[0; 8])]);
    assert_eq!(left(&["/new", ""], Loss::Everything), after);
    assert_eq!(left(&["/new"], Loss::Everything), begins);
    assert_eq!(left(&[""], Loss::Everything), folder(&[("file", b"")]));
    assert_eq!(left(&[""], Loss::Contents), emptied);
    assert_eq!(left(&[], Loss::Contents), emptied);
    assert_eq!(left(&[], Loss::Names), begins);
}

#[test]
fn any_part_of_what_was_not_synced_may_survive() {
    let begins = folder(&[("old", b"1"), ("file", b"before")]);
    let text = renamed(&["/new"]);
    let trace = FileTrace::read(&text, Path::new("/d"), &begins);
    let mut random = Random::new(1);
    let mut seen = Vec::new();
    for _ in 0..100 {
        let left = trace.after_power_cut(trace.len(), Loss::Any, &mut random);
        if !seen.contains(&left) {
            seen.push(left);
        }
    }
    // The old file goes or stays, and beside it the new one is not there, not renamed or renamed.
    let old: [&[(&str, &[u8])]; 2] = [&[], &[("old", b"1")]];
    for old in old {
        let files: [&[(&str, &[u8])]; 3] = [
            &[("file", b"before")],
            &[("file", b"before"), ("new", b"contents")],
            &[("file", b"contents")],
        ];
        for files in files {
            let one = folder(&[old, files].concat());
            assert!(seen.contains(&one), "never seen: {one:?}");
        }
    }
    assert_eq!(seen.len(), 6);
    let unsynced = trace.unsynced_before(trace.len() - 1, "");
    assert_eq!(unsynced, ["names in /d/"]);
}
