use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::*;
use crate::PATIENCE;

/// A link, its target, and a connection through it with both ends.
fn connected() -> (Proxy, TcpListener, TcpStream, TcpStream) {
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::to(target.local_addr().unwrap().port());
    let (client, server) = connect(&proxy, &target);
    (proxy, target, client, server)
}

fn connect(proxy: &Proxy, target: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    let (server, _) = target.accept().unwrap();
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

fn read(socket: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_are_carried_both_ways_and_counted() {
    let (proxy, _target, mut client, mut server) = connected();
    let much: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let sent = much.clone();
    let mut sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&sent).unwrap());
    assert!(read(&mut server, much.len()) == much);
    sending.join().unwrap();
    server.write_all(b"thanks").unwrap();
    assert_eq!(read(&mut client, 6), b"thanks");
    // Counted once they are written, so perhaps after they are read.
    let counted = || (proxy.bytes_up(), proxy.bytes_down());
    crate::wait_until(
        || counted() == (3_000_000, 6),
        || format!("{:?} bytes were counted", counted()),
    );
    // An end is carried as well.
    drop(client);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_cut_is_felt_on_both_sides() {
    for (how, expected) in [
        (Cut::Reset, Some(ErrorKind::ConnectionReset)),
        (Cut::Close, None),
    ] {
        let (proxy, _target, mut client, mut server) = connected();
        assert_eq!(proxy.cut(how), 1);
        for socket in [&mut client, &mut server] {
            let felt = socket.read(&mut [0]);
            assert_eq!(felt.err().map(|error| error.kind()), expected, "{how:?}");
        }
        assert_eq!((proxy.cut(how), proxy.cuts()), (0, 1));
    }
}

#[test]
fn a_link_that_refuses_leaves_what_is_there() {
    let (proxy, target, mut client, mut server) = connected();
    proxy.set(Link::Refusing);
    let mut refused = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    let felt = refused.read(&mut [0]).unwrap_err();
    assert_eq!(felt.kind(), ErrorKind::ConnectionReset);
    client.write_all(b"on").unwrap();
    assert_eq!(read(&mut server, 2), b"on");
    proxy.set(Link::Up);
    assert_eq!(proxy.connections(), 2);
    let (mut client, mut server) = connect(&proxy, &target);
    client.write_all(b"again").unwrap();
    assert_eq!(read(&mut server, 5), b"again");
}

#[test]
fn a_black_hole_swallows_nothing_for_ever() {
    let (proxy, _target, mut client, mut server) = connected();
    proxy.set(Link::BlackHole);
    client.write_all(b"held").unwrap();
    // An order is carried out after a look at all sockets.
    proxy.set(Link::BlackHole);
    assert_eq!(proxy.bytes_up(), 0);
    proxy.set(Link::Up);
    assert_eq!(read(&mut server, 4), b"held");
}

#[test]
fn bytes_arrive_late_on_a_slow_link() {
    let (proxy, _target, mut client, mut server) = connected();
    let delay = Duration::from_millis(30);
    proxy.delay(delay);
    let sent = std::time::Instant::now();
    client.write_all(b"late").unwrap();
    assert_eq!(read(&mut server, 4), b"late");
    assert!(sent.elapsed() >= delay);
}

#[test]
fn random_cuts_fall_on_the_same_byte_for_the_same_seed() {
    let carried = |seed| -> Vec<u64> {
        let (proxy, target, client, server) = connected();
        drop((client, server));
        proxy.cut(Cut::Close);
        proxy.cut_at_random(seed, 1..5_000);
        (0..5)
            .map(|_| {
                let before = proxy.bytes_up();
                let (mut client, mut server) = connect(&proxy, &target);
                client.write_all(&[1; 5_000]).unwrap();
                let mut got = Vec::new();
                // It ends by close or by reset; both come after the bytes.
                let _ = server.read_to_end(&mut got);
                assert_eq!(proxy.bytes_up() - before, got.len() as u64);
                got.len() as u64
            })
            .collect()
    };
    let first = carried(5);
    assert!(first.iter().all(|bytes| (1..5_000).contains(bytes)));
    assert_eq!(first, carried(5));
    assert_ne!(first, carried(6));
}

#[test]
fn a_slow_link_takes_its_time() {
    let (proxy, _target, mut client, mut server) = connected();
    proxy.rate(100_000);
    let began = std::time::Instant::now();
    client.write_all(&[7; 50_000]).unwrap();
    assert!(read(&mut server, 50_000).iter().all(|byte| *byte == 7));
    assert!(began.elapsed() >= Duration::from_millis(490));
    proxy.heal();
    client.write_all(b"fast").unwrap();
    assert_eq!(read(&mut server, 4), b"fast");
}
