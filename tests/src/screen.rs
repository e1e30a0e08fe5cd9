//! What a VM's screen shows.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::session::PATIENCE;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The characters on the screen of the VM with this name, now.
///
/// # Panics
/// When `trivisor screenshot` prints no text.
#[must_use]
pub fn screen(name: &str) -> String {
    look(name).0
}

/// The characters on its screen, and whether there is no such VM.
fn look(name: &str) -> (String, bool) {
    let mut screenshot = Command::new(crate::trivisor());
    let said = screenshot.args(["screenshot", name, "--text"]).output();
    let said = said.unwrap_or_else(|error| panic!("{screenshot:?}: {error}"));
    let gone = String::from_utf8_lossy(&said.stderr).contains("no VM with the name");
    let text = String::from_utf8(said.stdout);
    let text = text.unwrap_or_else(|error| panic!("{screenshot:?}: {error}"));
    (text, gone)
}

/// The same as soon as it shows `text`.
///
/// # Panics
/// When ten minutes pass without it.
#[must_use]
pub fn screen_with(name: &str, text: &str) -> String {
    screen_within(name, text, PATIENCE)
}

/// As [`screen_with`], with another patience.
///
/// # Panics
/// When this time passes without it.
#[must_use]
pub fn screen_within(name: &str, text: &str, patience: Duration) -> String {
    let deadline = Instant::now() + patience;
    let mut shown = String::new();
    loop {
        let (now, gone) = look(name);
        if now.contains(text) {
            return now;
        }
        // A VM that is not there yet has shown nothing.
        assert!(
            !gone || shown.is_empty(),
            "the VM has ended without {text:?} on its screen:\n{shown}"
        );
        assert!(
            Instant::now() < deadline,
            "no {text:?} on the screen:\n{now}"
        );
        if !now.is_empty() {
            shown = now;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a screen tells nobody that it has changed"
        )]
        std::thread::sleep(PAUSE);
    }
}
