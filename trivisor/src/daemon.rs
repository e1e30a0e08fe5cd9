//! `--daemon`: the VM goes on in the background when the guest runs.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::control::registry::{self, Call, Reply};
use crate::failure::Failure;
use crate::settings::{SerialSetting, Settings};

/// How often a VM that starts is asked whether it runs.
const STEP: Duration = Duration::from_millis(10);

/// Starts `trivisor` again, in a process group of its own and without a terminal, and waits until its guest
/// runs or it fails. Gives its name.
pub(crate) fn start(mut settings: Settings) -> Result<String, Failure> {
    settings.vm.daemon = false;
    if settings.vm.serial == SerialSetting::Stdio {
        // There is no terminal any more.
        settings.vm.serial = SerialSetting::None;
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
        if let Ok(Reply::Info(info)) = registry::call(&name, Call::Info)
            && info.pid == child.id()
            && info.state != "starting"
        {
            return Ok(name);
        }
        let (_sender, nothing) = std::sync::mpsc::channel::<()>();
        // Nothing ever comes; the time passes.
        let _elapsed = nothing.recv_timeout(STEP);
    }
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
