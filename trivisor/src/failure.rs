//! What ends `trivisor` with a status that is not 0: a line that says what failed, a line that says what to do.

use std::error::Error;
use std::fmt::Write;
use std::io;

use serde::{Deserialize, Serialize};

/// Bad usage or configuration; nothing was created.
pub(crate) const USAGE: u8 = 2;
/// The guest crashed.
pub(crate) const CRASHED: u8 = 3;
/// The host refused something.
pub(crate) const HOST: u8 = 4;
/// `--timeout`.
pub(crate) const TIMEOUT: u8 = 124;

/// A failure for the user's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The exit status.
    pub(crate) status: u8,
    /// What failed, with the value.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) advice: String,
}

impl Failure {
    /// The user asked for something impossible.
    pub(crate) fn usage(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: USAGE,
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// The host refused something.
    pub(crate) fn host(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: HOST,
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// The host refused `what`, for the reason that it gives.
    pub(crate) fn refused(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            Self::host(
                format!("the host refused {what}: {error}"),
                "see `trivisor check`",
            )
        }
    }

    /// The host refused to start a thread.
    pub(crate) fn no_thread(which: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            Self::host(
                format!("{which} cannot be started: {error}"),
                "free some memory, or raise the limit of processes (ulimit -u, pids.max of the control group)",
            )
        }
    }

    /// For the terminal. The text may stem from a VM process that its guest has taken over, so control
    /// characters do not pass.
    pub(crate) fn report(&self) -> String {
        let clean = |text: &str| -> String {
            let printable = |letter: char| letter == '\n' || !letter.is_control();
            text.chars()
                .map(|letter| if printable(letter) { letter } else { '?' })
                .collect()
        };
        let mut report = format!("trivisor: {}\n", clean(&self.what));
        if !self.advice.is_empty() {
            report += &format!("  {}\n", clean(&self.advice));
        }
        report
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_without_control_characters() {
        let failure = Failure::usage("a\u{1b}[31mred", "do\tthis");
        assert_eq!(failure.report(), "trivisor: a?[31mred\n  do?this\n");
        assert_eq!(Failure::host("b", "").report(), "trivisor: b\n");
    }
}
