//! A `trivisor` process with its standard streams in the test's hands.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Hosts are slow and shared; a guest that has not answered by then never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// A running `trivisor`.
#[derive(Debug)]
pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    /// Everything that came on stdout and stderr.
    seen: String,
    /// How much of `seen` earlier expectations have used up.
    used: usize,
}

/// A `trivisor` that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Everything it printed.
    pub output: String,
}

impl Session {
    /// Starts `trivisor` with these arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::spawn(Command::new(crate::trivisor()).args(arguments))
    }

    /// Starts the bare-metal guest with a script; `options` of `trivisor run` come last.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn guest(script: &str, options: &[&str]) -> Self {
        let mut command = Command::new(crate::trivisor());
        command.args(["run", "--timeout", "600", "--kernel"]);
        command.arg(crate::bare_metal()).arg("--cmdline-only");
        Self::spawn(command.arg(format!("-- {script}")).args(options))
    }

    /// Starts any command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, output) = channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as _),
            child.stderr.take().map(|err| Box::new(err) as _),
        ];
        for mut stream in streams.into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(len @ 1..) = stream.read(&mut buffer) {
                    if sender.send(buffer[..len].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        Self {
            child,
            stdin,
            output,
            seen: String::new(),
            used: 0,
        }
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for `text` behind what earlier expectations found, and returns what came before it.
    ///
    /// # Panics
    /// When the process ends or ten minutes pass without it.
    pub fn expect(&mut self, text: &str) -> String {
        self.expect_within(text, PATIENCE)
    }

    /// As [`expect`](Self::expect), with another patience.
    ///
    /// # Panics
    /// When the process ends or this time passes without it.
    pub fn expect_within(&mut self, text: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let fresh = &self.seen[self.used..];
            if let Some(at) = fresh.find(text) {
                let before = fresh[..at].to_owned();
                self.used += at + text.len();
                return before;
            }
            match self
                .output
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no {text:?} in time; the output was:\n{}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without {text:?}; the output was:\n{}", self.seen)
                }
            }
        }
    }

    /// Waits for `text`, as [`expect`](Self::expect) does; false when the process ends without it.
    ///
    /// # Panics
    /// When ten minutes pass without either.
    pub fn says(&mut self, text: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(rest) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?} in time:\n{}", self.seen),
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// Types a line.
    ///
    /// # Panics
    /// When the process does not read any more.
    pub fn type_line(&mut self, line: &str) {
        self.type_bytes(format!("{line}\n").as_bytes());
    }

    /// Types bytes as they are.
    ///
    /// # Panics
    /// When the process does not read any more.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin
            .write_all(bytes)
            .and_then(|()| stdin.flush())
            .expect("trivisor reads its input");
    }

    /// Runs `command` in a shell of the guest and returns what it printed.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn shell(&mut self, command: &str) -> String {
        // The marks are split in what is typed, so the echo of the line does not look like the answer.
        self.type_line(&format!("echo BE''GIN; {command}; echo E''ND"));
        self.expect("BEGIN");
        self.expect("END").trim().to_owned()
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not come within ten minutes.
    pub fn wait(self) -> Ended {
        self.wait_within(PATIENCE)
    }

    /// Waits for the end, with another patience.
    ///
    /// # Panics
    /// When this time passes without it.
    pub fn wait_within(mut self, patience: Duration) -> Ended {
        let deadline = Instant::now() + patience;
        loop {
            match self
                .output
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("not ended in time; the output was:\n{}", self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().expect("the child is ours");
        Ended {
            status,
            output: std::mem::take(&mut self.seen),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A test that failed must not leave a VM behind; one that has ended is an error that does not matter.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
