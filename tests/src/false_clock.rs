//! A wall clock that can be set without harm to the machine: a small library, built by the C compiler
//! and loaded before all others, adds what a file says to the time of day. Monotonic time goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Adds seconds to the realtime clocks; the file is mapped, so that it is read without a call.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *ahead;
static const long long none = 0;

__attribute__((constructor)) static void look(void) {
  const char *path = getenv("FALSE_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *page = file < 0 ? MAP_FAILED : mmap(0, sizeof none, PROT_READ, MAP_SHARED, file, 0);
  ahead = page == MAP_FAILED ? &none : page;
  if (file >= 0) close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (!failed && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    now->tv_sec += *ahead;
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec exact;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}
"#;

/// A clock that is ahead of the machine's, for the programs that are started with its variables.
pub struct FalseClock {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl FalseClock {
    /// A clock that is right.
    ///
    /// # Errors
    /// When there is no C compiler.
    pub fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let source = folder.path().join("clock.c");
        let library = folder.path().join("clock.so");
        fs::write(&source, SHIM).map_err(|error| error.to_string())?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .output()
            .map_err(|error| format!("cc: {error}"))?;
        if !built.status.success() {
            return Err(String::from_utf8_lossy(&built.stderr).trim().to_owned());
        }
        let clock = Self { folder, library };
        clock.set(0);
        Ok(clock)
    }

    /// Sets the clock so many seconds ahead from now on, or behind.
    pub fn set(&self, seconds: i64) {
        let path = self.file();
        // In place: those who read have it mapped.
        if path.is_file() {
            use std::os::unix::fs::FileExt;
            let file = fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
        } else {
            fs::write(path, seconds.to_ne_bytes()).unwrap();
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }

    /// Environment variables of a program that is to see this clock.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        let library: &Path = &self.library;
        [
            ("LD_PRELOAD", library.to_owned()),
            ("FALSE_CLOCK", self.file()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipped;

    #[test]
    fn a_program_sees_the_clock_it_is_given() {
        let clock = match FalseClock::new() {
            Ok(clock) => clock,
            Err(why) => return skipped(&format!("no clock to set: {why}")),
        };
        let seen = || -> i64 {
            let mut date = Command::new("date");
            date.arg("+%s").envs(clock.variables());
            let output = date.output().unwrap().stdout;
            String::from_utf8(output).unwrap().trim().parse().unwrap()
        };
        let before = seen();
        clock.set(700_000);
        let ahead = seen() - before;
        assert!((700_000..700_100).contains(&ahead), "{ahead}");
    }
}
