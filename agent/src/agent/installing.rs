//! Rules that are read again, compiled and proved on a thread of their own, `install`: the loop only
//! switches. What comes while that goes on makes it begin anew once it is done.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::wake::Waker;
use crate::config::Config;
use crate::install::install_all;
use crate::mill::BoundRule;
use tidemill_base::heartbeat::{Heartbeats, Pulse};
use tidemill_base::text::FileError;

/// Longest time to read, compile and prove all rules: thousands take minutes on a small board.
const INSTALL_WITHIN: Duration = Duration::from_secs(600);

/// Rules, or everything that is wrong with them.
type Installed = Result<Vec<BoundRule>, Vec<FileError>>;

/// The thread, while there is one.
#[derive(Default)]
pub(super) struct Installing {
    thread: Option<JoinHandle<Installed>>,
    pulse: Option<Arc<Pulse>>,
    /// Another word to read the rules came meanwhile.
    again: bool,
}

/// Outcome of a look at the thread.
pub(super) enum Progress {
    /// There is nothing new.
    Nothing,
    /// The rules are there, or why they are not.
    Done(Installed),
    /// It has ended, and what it found may be out of date: it has to begin again.
    Again,
    /// It has failed.
    Failed,
}

impl Installing {
    /// Reads the rules on a thread. Returns `false` where one does so already: it begins again once it
    /// is done.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn begin(
        &mut self,
        config: &Config,
        heartbeats: &Heartbeats,
        waker: &Waker,
    ) -> io::Result<bool> {
        if self.thread.is_some() {
            self.again = true;
            return Ok(false);
        }
        let new_pulse = || Arc::new(heartbeats.pulse("install"));
        let pulse = Arc::clone(self.pulse.get_or_insert_with(new_pulse));
        let (config, waker) = (config.clone(), WakeAtEnd(waker.clone()));
        let work = move || {
            let _waker = waker;
            pulse.works(INSTALL_WITHIN);
            let rules = install_all(&config);
            pulse.rests();
            rules
        };
        self.thread = Some(Builder::new().name("install".to_owned()).spawn(work)?);
        Ok(true)
    }

    /// Looks if the thread has ended.
    pub(super) fn look(&mut self) -> Progress {
        let has_ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        let Some(thread) = self.thread.take_if(|_| has_ended) else {
            return Progress::Nothing;
        };
        let outcome = thread.join();
        if let (Err(_), Some(pulse)) = (&outcome, &self.pulse) {
            pulse.rests();
        }
        if std::mem::take(&mut self.again) {
            return Progress::Again;
        }
        outcome.map_or(Progress::Failed, Progress::Done)
    }
}

/// Wakes the loop when the thread ends, however it does.
struct WakeAtEnd(Waker);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Waits for the thread, as the loop does: until it has ended there is nothing new.
    fn wait(installing: &mut Installing) -> Progress {
        loop {
            match installing.look() {
                Progress::Nothing => std::thread::yield_now(),
                progress => return progress,
            }
        }
    }

    #[test]
    fn a_word_that_comes_meanwhile_makes_it_begin_again_and_only_the_last_outcome_counts() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("rules");
        std::fs::create_dir(&folder).unwrap();
        let file = dir.path().join("agent.toml");
        let text = "[gateway]\nid = \"gw\"\nrules_dir = \"rules\"\n[broker]\nurl = \"mqtt://127.0.0.1:1\"\n";
        std::fs::write(&file, text).unwrap();
        let config = Config::read(&file).unwrap();
        let (inbox, _kept) = sync_channel(1);
        let (waker, heartbeats) = (Waker::new(inbox), Heartbeats::default());
        let mut installing = Installing::default();
        assert!(matches!(installing.look(), Progress::Nothing));
        assert!(installing.begin(&config, &heartbeats, &waker).unwrap());
        assert!(!installing.begin(&config, &heartbeats, &waker).unwrap());
        assert!(!installing.begin(&config, &heartbeats, &waker).unwrap());
        // Whatever the thread found is not told: the files may be others by now.
        assert!(matches!(wait(&mut installing), Progress::Again));
        std::fs::write(folder.join("bad.toml"), "name = 1").unwrap();
        assert!(installing.begin(&config, &heartbeats, &waker).unwrap());
        let Progress::Done(Err(errors)) = wait(&mut installing) else {
            panic!("a file that is no rule is refused");
        };
        assert!(errors[0].to_string().contains("bad.toml"), "{errors:?}");
        assert!(matches!(installing.look(), Progress::Nothing));
    }
}
