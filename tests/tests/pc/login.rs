//! Somebody before a PC: reads its screen and types on its keyboard.

use std::process::Command;
use std::time::Duration;

use trivisor_tests::{screen_with, screen_within, trivisor};

use crate::userland::PASSWORD;

/// A shell on the screen of the VM with this name.
#[derive(Debug)]
pub(crate) struct Login {
    name: String,
    asked: u32,
}

impl Login {
    /// Waits for the question this long, and logs in.
    ///
    /// # Panics
    /// When the VM's Linux does not let us in.
    pub(crate) fn new(name: &str, patience: Duration) -> Self {
        let _question = screen_within(name, "pc login:", patience);
        let login = Self {
            name: name.to_owned(),
            asked: 0,
        };
        login.type_line("root");
        let screen = screen_with(name, "Password:");
        assert!(screen.contains("pc login: root"), "{screen}");
        login.type_line(PASSWORD);
        let screen = screen_with(name, "~ #");
        assert!(!screen.contains(PASSWORD), "{screen}");
        login
    }

    /// Types a line on its keyboard.
    pub(crate) fn type_line(&self, line: &str) {
        verb(&["type", &self.name, line, "--enter"]);
    }

    /// Has a command done, and reads from the screen what it said.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.asked += 1;
        let end = format!("END{}", self.asked);
        // In what is typed the mark is split, so that it does not look like the answer's end.
        self.type_line(&format!("clear; {command}; echo E''ND{}", self.asked));
        let screen = screen_with(&self.name, &end);
        let (answer, _) = screen.split_once(&end).unwrap();
        answer.trim().to_owned()
    }

    /// Presses the power button, from outside.
    pub(crate) fn press_power_button(&self) {
        verb(&["stop", &self.name]);
    }

    /// The screen, as soon as it shows `text`.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        screen_with(&self.name, text)
    }
}

fn verb(words: &[&str]) {
    let output = Command::new(trivisor()).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}
