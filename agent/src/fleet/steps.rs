//! The steps of a deployment by name. With the feature `sabotage` the process can be made to end at
//! each, as a power cut would end it; no release has that.

/// A step, at whose end something is on the disk or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An envelope has come.
    Received,
    /// Its signature holds, and it is for this gateway.
    Verified,
    /// Its mark is on the disk.
    Marked,
    /// Its rules can run.
    Prepared,
    /// The deployment is on the disk.
    Stored,
    /// So is that it is pending.
    Pending,
    /// It runs.
    Switched,
    /// It is on the disk that it runs for good, or went back.
    Confirmed,
    /// Files that no deployment names are removed.
    Cleaned,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Verified,
        Self::Marked,
        Self::Prepared,
        Self::Stored,
        Self::Pending,
        Self::Switched,
        Self::Confirmed,
        Self::Cleaned,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Verified => "verified",
            Self::Marked => "marked",
            Self::Prepared => "prepared",
            Self::Stored => "stored",
            Self::Pending => "pending",
            Self::Switched => "switched",
            Self::Confirmed => "confirmed",
            Self::Cleaned => "cleaned",
        }
    }
}

/// Ends the process where a test wants that.
#[cfg(feature = "sabotage")]
pub fn reached(step: Step) {
    let wanted = std::env::var("TIDEMILL_TEST_DIE_AT");
    if wanted.is_ok_and(|wanted| wanted == step.name()) {
        // As nobody can refuse it: nothing is flushed and nothing is said.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Does nothing.
#[cfg(not(feature = "sabotage"))]
pub fn reached(_: Step) {}
