//! Verbs that talk to running VMs.

use std::fmt::Write;
use std::path::Path;

use crate::arguments::show_size;
use crate::control::calls::{self, Call, Info, Reply};
use crate::control::registry;
use crate::failure::Failure;

/// Calls that are answered by yes or no.
pub(crate) fn simple(name: &str, call: Call) -> Result<(), Failure> {
    match calls::call(name, call)? {
        Reply::Done | Reply::Info(_) | Reply::Text(_) => Ok(()),
        Reply::Refused(why) => Err(refused(name, &why)),
    }
}

/// `trivisor screenshot NAME FILE`, and without a file the characters.
pub(crate) fn screenshot(name: &str, file: Option<&Path>) -> Result<String, Failure> {
    let call = match file {
        None => Call::Text,
        Some(file) => {
            let kind = file.extension();
            if kind.is_none_or(|kind| !kind.eq_ignore_ascii_case("png")) {
                return Err(Failure::usage(
                    format!("{}: pictures are PNG files", file.display()),
                    "name a file that ends in .png, or give --text",
                ));
            }
            let file = std::path::absolute(file).map_err(Failure::refused("the current folder"))?;
            Call::Picture { file }
        }
    };
    match calls::call(name, call)? {
        Reply::Text(text) => Ok(text),
        Reply::Done | Reply::Info(_) => Ok(String::new()),
        Reply::Refused(why) => Err(refused(name, &why)),
    }
}

fn refused(name: &str, why: &str) -> Failure {
    Failure::host(format!("VM {name:?}: {why}"), "see `trivisor info`")
}

fn ask_info(name: &str) -> Result<Info, Failure> {
    match calls::call(name, Call::Info)? {
        Reply::Info(info) => Ok(*info),
        Reply::Refused(why) => Err(Failure::host(
            format!("VM {name:?}: {why}"),
            "see `trivisor ps`",
        )),
        Reply::Done | Reply::Text(_) => Err(Failure::host(
            format!("VM {name:?} gave no answer"),
            "see `trivisor ps`",
        )),
    }
}

/// `trivisor info NAME`.
pub(crate) fn info(name: &str, json: bool) -> Result<String, Failure> {
    let info = ask_info(name)?;
    Ok(if json {
        to_json(&info)
    } else {
        show_info(&info)
    })
}

/// `trivisor ps`.
pub(crate) fn ps(json: bool) -> String {
    // One that ends while it is asked is no VM any more.
    let all: Vec<Info> = registry::running()
        .iter()
        .filter_map(|name| ask_info(name).ok())
        .collect();
    if json {
        return to_json(&all);
    }
    let mut table = String::from("NAME              PID      STATE     MODE   CPUS  MEMORY  UP\n");
    for vm in all {
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "{:<16}  {:<7}  {:<8}  {:<5}  {:<4}  {:<6}  {} s",
            vm.name,
            vm.pid,
            vm.state,
            vm.mode,
            vm.cpus,
            show_size(vm.memory_bytes),
            vm.seconds
        );
    }
    table
}

fn to_json(value: &impl serde::Serialize) -> String {
    // Strings, numbers and lists of them always have a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// For people.
pub(crate) fn show_info(info: &Info) -> String {
    let counters = &info.counters;
    let rows: [(&str, String); 16] = [
        ("name", info.name.clone()),
        ("state", info.state.clone()),
        ("mode", info.mode.clone()),
        ("processors", info.cpus.to_string()),
        ("memory", show_size(info.memory_bytes)),
        ("kernel", info.kernel.clone()),
        ("up", format!("{} s", info.seconds)),
        (
            "process",
            format!("{} (VM process {})", info.pid, info.vm_pid),
        ),
        ("exits", counters.exits.to_string()),
        ("of these to the VMM", counters.user_exits.to_string()),
        ("of these ports", counters.io_exits.to_string()),
        ("of these memory", counters.mmio_exits.to_string()),
        ("halts", counters.halt_exits.to_string()),
        ("interrupts", counters.interrupts.to_string()),
        (
            "emulated instructions",
            counters.emulated_instructions.to_string(),
        ),
        (
            "unclaimed accesses",
            format!(
                "{} ports, {} memory",
                counters.unclaimed_ports, counters.unclaimed_mmio
            ),
        ),
    ];
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<22} {value}");
        text
    })
}
