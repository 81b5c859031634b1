//! Names to addresses, in bounded time. The system's resolver blocks for as long as it likes, and cannot
//! be stopped: so it runs on threads that nobody waits for at the end. However many ask for a name, few
//! lookups of it run, and an answer that comes after its askers gave up is there for the next one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// An answer that nobody waited for is good for so long.
const ANSWER_HOLDS: Duration = Duration::from_secs(20);

/// After this time without an answer one more lookup is begun: the network may have changed.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Lookups of one name at once. Each is a thread.
const AT_ONCE_MAX: usize = 3;

/// The resolver's answer; an error as kind and text, because several callers may receive it.
type Answer = Result<Vec<IpAddr>, (io::ErrorKind, String)>;

/// Lookups of one name.
#[derive(Debug)]
struct Name {
    running: usize,
    /// When the latest lookup began.
    began: Instant,
    askers: Vec<oneshot::Sender<Answer>>,
    /// Found when nobody waited any more.
    unheard: Option<(Instant, Vec<IpAddr>)>,
}

/// Names that are looked up, or were and nobody heard the answer: no more than a configuration has.
static NAMES: LazyLock<Mutex<HashMap<String, Name>>> = LazyLock::new(Mutex::default);

fn names() -> MutexGuard<'static, HashMap<String, Name>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The addresses of a host. May be dropped at any time.
///
/// # Errors
/// When the name has no address, or the system cannot tell.
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match ask(host, system).await? {
        Ok(found) if found.is_empty() => {
            let what = "that name has no address";
            Err(io::Error::new(io::ErrorKind::NotFound, what))
        }
        Ok(found) => Ok(found
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect()),
        Err((kind, text)) => Err(io::Error::new(kind, text)),
    }
}

/// Asks the system, which takes its time.
fn system(host: &str) -> Answer {
    match (host, 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        Err(error) => Err((error.kind(), error.to_string())),
    }
}

async fn ask(host: &str, look_up: impl Fn(&str) -> Answer + Send + 'static) -> io::Result<Answer> {
    let answered = {
        let mut names = names();
        let now = Instant::now();
        let name = names.entry(host.to_owned()).or_insert_with(|| Name {
            running: 0,
            began: now,
            askers: Vec::new(),
            unheard: None,
        });
        if let Some((at, found)) = name.unheard.take()
            && at.elapsed() < ANSWER_HOLDS
        {
            return Ok(Ok(found));
        }
        if begins(name.running, now - name.began) {
            let host = host.to_owned();
            let lookup = move || finish(&host, look_up(&host));
            let named = std::thread::Builder::new().name("resolve".to_owned());
            // The thread ends by itself, and nobody waits for it.
            drop(named.spawn(lookup)?);
            name.running += 1;
            name.began = now;
        }
        let (asker, answered) = oneshot::channel();
        name.askers.retain(|asker| !asker.is_closed());
        name.askers.push(asker);
        answered
    };
    answered.await.map_err(io::Error::other)
}

/// `true` if one more lookup begins, given the number that are running and the age of the latest.
fn begins(running: usize, ago: Duration) -> bool {
    running == 0 || running < AT_ONCE_MAX && ago >= ASK_AGAIN_AFTER
}

/// A lookup ended.
fn finish(host: &str, answer: Answer) {
    let mut names = names();
    let Some(name) = names.get_mut(host) else {
        return;
    };
    name.running -= 1;
    if answer.is_err() && name.running > 0 {
        // A later lookup may know better.
        return;
    }
    let askers = std::mem::take(&mut name.askers).into_iter();
    let told = askers.map(|asker| asker.send(answer.clone()));
    if told.filter(Result::is_ok).count() == 0 {
        name.unheard = answer.ok().map(|found| (Instant::now(), found));
    }
    if name.running == 0 && name.unheard.is_none() {
        names.remove(host);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc::sync_channel;

    use super::*;

    const FOUND: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let patience = Duration::from_secs(20);
        let all = async { tokio::time::timeout(patience, future).await.unwrap() };
        runtime.block_on(all)
    }

    #[test]
    fn an_address_needs_no_lookup_and_a_wrong_name_has_none() {
        assert_eq!(
            run(addresses("::1", 7)).unwrap(),
            ["[::1]:7".parse().unwrap()]
        );
        assert_eq!(
            run(addresses("127.0.0.1", 7)).unwrap(),
            ["127.0.0.1:7".parse().unwrap()]
        );
        assert!(run(addresses("no name at all", 7)).is_err());
    }

    #[test]
    fn an_answer_that_comes_too_late_is_there_for_the_next_who_asks() {
        let (release, released) = sync_channel::<()>(0);
        let slow = move |_: &str| {
            let _ = released.recv();
            Ok(vec![FOUND])
        };
        let given_up =
            async { tokio::time::timeout(Duration::from_millis(1), ask("late.test", slow)).await };
        assert!(run(given_up).is_err());
        // It is told no earlier than it is there.
        let again = |_: &str| panic!("the first lookup has the answer");
        let asked = async {
            let release = async { drop(release) };
            let (answer, ()) = tokio::join!(ask("late.test", again), release);
            answer
        };
        assert_eq!(run(asked).unwrap(), Ok(vec![FOUND]));
        assert!(!names().contains_key("late.test"));
    }

    #[test]
    fn an_answer_that_nobody_waited_for_is_kept() {
        let (release, released) = sync_channel::<()>(0);
        let slow = move |_: &str| {
            let _ = released.recv();
            Ok(vec![FOUND])
        };
        let given_up =
            async { tokio::time::timeout(Duration::from_millis(1), ask("kept.test", slow)).await };
        assert!(run(given_up).is_err());
        drop(release);
        while names().get("kept.test").unwrap().running > 0 {
            std::thread::yield_now();
        }
        let again = |_: &str| panic!("the answer is there");
        assert_eq!(run(ask("kept.test", again)).unwrap(), Ok(vec![FOUND]));
    }

    #[test]
    fn lookups_that_hang_do_not_pile_up() {
        let (soon, later) = (ASK_AGAIN_AFTER - Duration::from_millis(1), ASK_AGAIN_AFTER);
        assert!(begins(0, Duration::ZERO));
        assert!(!begins(1, soon) && begins(1, later));
        assert!(begins(2, later) && !begins(AT_ONCE_MAX, later * 100));
    }
}
