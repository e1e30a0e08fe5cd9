//! A type-2 hypervisor for Linux/KVM: one VMM, three modes.

#![forbid(unsafe_code)]

mod arguments;
mod control;
mod daemon;
mod failure;
mod plan;
mod protocol;
mod settings;
mod verbs;
mod vm_process;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, RunArguments, Verb};
use crate::control::calls::Call;
use crate::failure::{Failure, HOST, chain};
use crate::plan::Plan;
use crate::settings::Settings;

fn main() -> ExitCode {
    // clap's own errors end the process with status 2.
    let arguments = Arguments::parse();
    if arguments.version {
        return print(verbs::version(arguments.verbose).as_bytes());
    }
    let Some(verb) = arguments.verb else {
        return ExitCode::SUCCESS;
    };
    carry_out(verb).unwrap_or_else(|failure| {
        // Where nobody reads it, the status has to do.
        let _closed = write!(std::io::stderr(), "{}", failure.report());
        ExitCode::from(failure.status)
    })
}

fn carry_out(verb: Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Run(arguments) => return run(*arguments),
        Verb::Demo { rounds } => return verbs::demo(rounds).map(|table| print(table.as_bytes())),
        Verb::Check => {
            let (report, usable) = verbs::check();
            print(report.as_bytes());
            return Ok(if usable {
                ExitCode::SUCCESS
            } else {
                HOST.into()
            });
        }
        Verb::Ps { json } => return Ok(print(verbs::ps(json).as_bytes())),
        Verb::Info { name, json } => return Ok(print(verbs::info(&name, json)?.as_bytes())),
        Verb::Stop { name, force: false } => verbs::simple(&name, Call::PowerButton)?,
        Verb::Stop { name, force: true } => verbs::simple(&name, Call::Stop)?,
        Verb::Disk(verb) => return verbs::disk(verb).map(|text| print(text.as_bytes())),
        Verb::Balloon { name, size } => verbs::simple(&name, Call::Balloon { bytes: size })?,
        Verb::Pause { name } => verbs::simple(&name, Call::Pause)?,
        Verb::Resume { name } => verbs::simple(&name, Call::Resume)?,
        Verb::Screenshot { name, file, .. } => {
            return verbs::screenshot(&name, file.as_deref()).map(|text| print(text.as_bytes()));
        }
        Verb::Type { name, text, enter } => verbs::type_text(&name, &text, enter)?,
        Verb::SendKey { name, keys } => verbs::send_keys(&name, &keys)?,
        Verb::Cdrom {
            name, file, force, ..
        } => verbs::change_disc(&name, file.as_deref(), force)?,
        Verb::Completions { shell } => return Ok(print(&verbs::completions(shell))),
        Verb::Man => {
            let page = verbs::man();
            let page =
                page.map_err(|error| Failure::host(format!("no manual page: {error}"), ""))?;
            return Ok(print(&page));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// To standard output; a reader that has gone has read enough.
fn print(bytes: &[u8]) -> ExitCode {
    let mut stdout = std::io::stdout();
    let _closed = stdout.write_all(bytes).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

fn run(mut arguments: RunArguments) -> Result<ExitCode, Failure> {
    let image = arguments.image.take();
    let is_settings = |file: &Path| {
        file.extension()
            .is_some_and(|extension| extension == "toml")
    };
    let (file, medium) = match image {
        Some(file) if is_settings(&file) => (Some(file), None),
        other => (None, other),
    };
    let mut settings = file.map_or_else(|| Ok(Settings::default()), |file| read_settings(&file))?;
    let print_config = arguments.print_config;
    arguments.apply(&mut settings);
    if let Some(medium) = medium {
        plan::pc::insert(&mut settings, medium)?;
    }
    if print_config {
        plan::resolve(&mut settings)?;
        let text = settings.to_toml();
        let text = text.map_err(|error| Failure::usage(format!("settings: {error}"), ""))?;
        return Ok(print(text.as_bytes()));
    }
    if settings.vm.daemon {
        return daemon::start(settings).map(|name| print(format!("{name}\n").as_bytes()));
    }
    control::run(Plan::new(settings)?).map(ExitCode::from)
}

fn read_settings(file: &Path) -> Result<Settings, Failure> {
    Settings::read(file).map_err(|error| {
        Failure::usage(
            chain(&error),
            "`trivisor run --print-config` shows all keys",
        )
    })
}
