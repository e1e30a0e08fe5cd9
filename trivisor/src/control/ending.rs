//! An end that the control process wants: when it is patient, and when not any more.

use std::time::{Duration, Instant};

/// How long a VM process may take to end when it was told to.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How long a reader of the output may take nothing when the run was to end.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the control process ends a run, and with which status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) status: u8,
    /// When the VM process is killed; `None`: it was, and its death is all there is to wait for.
    deadline: Option<Instant>,
}

impl Ending {
    /// The VM process was told to end.
    pub(super) fn told(status: u8, now: Instant) -> Self {
        Self {
            status,
            deadline: Some(now + GRACE),
        }
    }

    /// When to kill it.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// It was killed.
    pub(super) const fn set_killed(&mut self) {
        self.deadline = None;
    }

    pub(super) const fn is_killed(&self) -> bool {
        self.deadline.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_waited_for_without_a_deadline() {
        let now = Instant::now();
        let mut ending = Ending::told(130, now);
        assert_eq!(ending.deadline(), Some(now + GRACE));
        assert!(!ending.is_killed());
        ending.set_killed();
        // One that has passed would make every poll return at once.
        assert_eq!(ending.deadline(), None);
        assert!(ending.is_killed());
        assert_eq!(ending.status, 130);
    }
}
