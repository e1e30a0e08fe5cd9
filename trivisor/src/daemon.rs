//! `--daemon`: the VM goes on in the background when the guest runs.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::control::calls::{self, Call, Reply};
use crate::control::signals::{Caught, Signals};
use crate::failure::Failure;
use crate::settings::{SerialSetting, Settings};

/// How often a VM that starts is asked whether it runs.
const STEP: Duration = Duration::from_millis(10);

/// How long its answer is waited for; so late a signal may be noticed.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it may take to end when this process was told to end: longer than it gives its VM process.
const GRACE: Duration = Duration::from_secs(12);

/// Starts `trivisor` again, in a process group of its own and without a terminal, and waits until its guest
/// runs or it fails. Gives its name.
pub(crate) fn start(mut settings: Settings) -> Result<String, Failure> {
    settings.vm.daemon = false;
    // There is no terminal any more.
    if matches!(settings.vm.serial, None | Some(SerialSetting::Stdio)) {
        settings.vm.serial = Some(SerialSetting::None);
    }
    // The guest keeps the device that it was told of.
    if settings.vm.console == Some(SerialSetting::Stdio) {
        settings.vm.console = Some(SerialSetting::File("/dev/null".into()));
    }
    let name = settings
        .vm
        .name
        .get_or_insert_with(|| format!("vm-{}", std::process::id()))
        .clone();
    let failed = |error: &dyn std::fmt::Display| {
        Failure::host(
            format!("the VM cannot be started in the background: {error}"),
            "try without --daemon",
        )
    };
    // From here on there is something to clear up.
    let mut signals = Signals::catch().map_err(Failure::refused("handlers of signals"))?;
    let text = settings.to_toml().map_err(|error| failed(&error))?;
    let mut file = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile()
        .map_err(|error| failed(&error))?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|error| failed(&error))?;
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut child = Command::new(program)
        .arg("run")
        .arg(file.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(&error))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| failed(&error))? {
            return finished(&mut child, status.code()).map(|()| name);
        }
        if let Ok(Reply::Info(info)) = calls::ask(&name, Call::Info, PATIENCE)
            && info.pid == child.id()
            && info.state != "starting"
        {
            return Ok(name);
        }
        wait(signals.as_fd(), STEP);
        if let Some(caught) = signals.take() {
            let status = match caught {
                Caught::End(status) => status,
                // It is no crash of ours that would need a core.
                Caught::Quit => 131,
                Caught::Resized => continue,
            };
            end(&mut child);
            return Err(Failure {
                status,
                what: format!("VM {name:?} was ended before its guest ran: a signal came"),
                advice: String::new(),
            });
        }
    }
}

/// Waits until this is readable, so long.
fn wait(fd: BorrowedFd<'_>, time: Duration) {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let time = Timespec::try_from(time).unwrap_or_default();
    // The caller looks for itself.
    let _woken = rustix::event::poll(&mut fds, Some(&time));
}

/// Ends it in order if it can, and waits until it has gone.
fn end(child: &mut Child) {
    // Nobody has waited for it, so the number is its own; one that has gone needs nothing.
    if let Ok(process) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
        let _gone = pidfd_send_signal(&process, Signal::TERM);
        wait(process.as_fd(), GRACE);
    }
    let _gone = child.kill();
    let _status = child.wait();
}

/// It has ended already: as it says.
fn finished(child: &mut Child, code: Option<i32>) -> Result<(), Failure> {
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // What cannot be read is not shown.
        let _lost = stderr.read_to_string(&mut text);
    }
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(()),
        status => {
            let what = text
                .trim()
                .strip_prefix("trivisor: ")
                .unwrap_or_else(|| text.trim())
                .to_owned();
            Err(Failure {
                status: status.unwrap_or(crate::failure::HOST),
                what,
                advice: String::new(),
            })
        }
    }
}
