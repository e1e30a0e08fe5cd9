//! The end of a run: what is left of its output, its metrics, and its exit status.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use crate::control::ending::{GRACE, LAST_WORDS};
use crate::control::screen::Assembly;
use crate::control::vm::{Over, Vm};
use crate::control::{Control, spawn};
use crate::failure::{CRASHED, Failure};
use crate::protocol::{Counters, End, cpu_time};
use crate::vm_process::IoThread;

/// What `--metrics` writes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Metrics {
    /// CPU time of both processes, in nanoseconds.
    pub(crate) cpu_ns: u64,
    pub(crate) counters: Counters,
}

impl Control {
    /// The run is over: the status, or `None` when the guest was started again.
    pub(super) fn conclude(&mut self, over: Over) -> Result<Option<u8>, Failure> {
        self.requests
            .refuse_all("the VM has ended", &mut self.output);
        // It has gone before the rest of its output is moved: then that has an end.
        let autopsy = match over {
            Over::Nonsense => Some(self.vm.autopsy(&self.plan, true)),
            Over::Lost if self.ending.is_none() => Some(self.vm.autopsy(&self.plan, false)),
            _ => {
                self.vm.wait(GRACE, self.signals.as_fd());
                None
            }
        };
        let patience = match self.ending {
            Some(_) => LAST_WORDS,
            None => GRACE,
        };
        self.output.finish(patience, self.signals.as_fd());
        let (end, counters) = match (over, autopsy) {
            (_, Some(failure)) | (Over::Failed(failure), _) => return Err(failure),
            (Over::Lost | Over::Nonsense, None) => (End::Stopped, Counters::default()),
            (Over::Ended(end, counters), None) => (end, counters),
        };
        self.write_metrics(counters);
        self.write_last_picture();
        if end == End::Reset && self.plan.reboot && self.ending.is_none() {
            let (vm, wires, life) = Vm::start(&self.plan)?;
            if let Some(life) = life {
                let (io, serve) = IoThread::waiting(None);
                let refused = || Failure::no_thread("the VM's threads");
                spawn("io", serve).map_err(refused())?;
                spawn("vm", move || life(&io)).map_err(refused())?;
            }
            self.vm = vm;
            self.output.connect(wires.relay);
            if let (Some(keyboard), Some(input)) = (&mut self.keyboard, wires.input) {
                keyboard.connect(input);
            }
            return Ok(None);
        }
        let status = match end {
            // A host's refusal is told even when the run was to end anyway: something may be lost.
            End::HostFailed(failure) => return Err(failure),
            End::Crashed { .. } | End::DebugExit(_) | End::PowerOff | End::Reset | End::Stopped
                if self.ending.is_some() =>
            {
                self.ending.map_or(0, |ending| ending.status)
            }
            End::PowerOff | End::Reset | End::Stopped => 0,
            // The low byte of what isa-debug-exit of QEMU gives.
            End::DebugExit(value) => u8::try_from((value << 1 | 1) & 0xff).unwrap_or(u8::MAX),
            End::Crashed { report, last_lines } => {
                let mut what = format!("the guest crashed\n{report}");
                // On a terminal the user has just seen them.
                let seen = self.plan.has_stdio() && io::stdout().is_terminal();
                if !last_lines.is_empty() && !seen {
                    what += &format!("\nits last lines:\n{last_lines}");
                }
                let advice = "look at the guest's last lines and at rip";
                return Err(Failure {
                    status: CRASHED,
                    what,
                    advice: advice.into(),
                });
            }
        };
        Ok(Some(status))
    }

    /// The screen's last picture, where it was asked for; a machine that starts again will show another.
    fn write_last_picture(&mut self) {
        self.last_screen = Assembly::default();
        let picture = self.last_picture.take();
        let Some(file) = self.plan.last_picture.as_ref() else {
            return;
        };
        let written = match picture {
            Some(picture) => picture.write(file),
            None => Err("the VM process left none".into()),
        };
        if let Err(why) = written {
            eprintln!("trivisor: no picture of the screen: {why}");
        }
    }

    fn write_metrics(&self, counters: Counters) {
        let Some(mut file) = self.plan.metrics.as_ref() else {
            return;
        };
        // On a thread, the VM's time is a part of this process's.
        let vm = if self.plan.jailed { counters.cpu_ns } else { 0 };
        let metrics = Metrics {
            // It says what it likes.
            cpu_ns: cpu_time().saturating_add(vm),
            counters,
        };
        let written = serde_json::to_vec(&metrics).map_err(io::Error::from);
        let written = written.and_then(|mut line| {
            line.push(b'\n');
            file.write_all(&line)
        });
        if let Err(error) = written {
            eprintln!("trivisor: the metrics cannot be written: {error}");
        }
    }
}
