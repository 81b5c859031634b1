//! Processor time of each thread of a process, as the kernel counts it: a thread that spins is found by
//! name, whatever it believes of itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Ticks of the kernel's clock in a second, as it tells them to programs.
const TICKS_EACH_SECOND: f64 = 100.0;

/// Processor time of all threads at some moment.
#[derive(Debug)]
pub struct ThreadTimes {
    at: Instant,
    /// Seconds, by number and name of the thread.
    used: BTreeMap<(u32, String), f64>,
}

impl ThreadTimes {
    /// The threads of a process.
    pub fn of(process: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let used = tasks
            .filter_map(|task| thread(&task.ok()?.path()))
            .collect();
        let at = Instant::now();
        Self { at, used }
    }

    /// CPU seconds of all threads together.
    pub fn seconds(&self) -> f64 {
        self.used.values().sum()
    }

    /// Share of a core that each thread used between the two, in percent, by its name.
    pub fn shares_since(&self, earlier: &Self) -> Vec<(String, f64)> {
        let seconds = (self.at - earlier.at).as_secs_f64();
        let share = |(thread, used): (&(u32, String), &f64)| {
            let before = earlier.used.get(thread).copied().unwrap_or(0.0);
            (thread.1.clone(), (used - before) / seconds * 100.0)
        };
        self.used.iter().map(share).collect()
    }
}

/// A thread that has ended in the meantime is none.
fn thread(path: &Path) -> Option<((u32, String), f64)> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    // The name stands in brackets and may have any others in it.
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let used = (ticks()? + ticks()?) / TICKS_EACH_SECOND;
    Some(((number, name.to_owned()), used))
}

/// Watches a process for a while in which nothing happens, and returns the threads that used more than
/// `percent` of a core.
pub fn busy_threads(process: u32, span: Duration, percent: f64) -> Vec<(String, f64)> {
    let before = ThreadTimes::of(process);
    std::thread::sleep(span);
    let mut shares = ThreadTimes::of(process).shares_since(&before);
    shares.retain(|(_, share)| *share > percent);
    shares
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_thread_that_spins_is_found_by_its_name_and_one_that_waits_is_not() {
        static ENOUGH: AtomicBool = AtomicBool::new(false);
        let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let waits = named("waits")
            .spawn(move || released.recv().is_err())
            .unwrap();
        let spins = named("spins (fast)")
            .spawn(|| {
                while !ENOUGH.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
            .unwrap();
        let busy = busy_threads(std::process::id(), Duration::from_secs(1), 2.0);
        ENOUGH.store(true, Ordering::Relaxed);
        drop(release);
        assert!(waits.join().unwrap());
        spins.join().unwrap();
        let names: Vec<&str> = busy.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"spins (fast)"), "{busy:?}");
        assert!(!names.contains(&"waits"), "{busy:?}");
    }
}
