//! The command line, as it is typed: parsed without a look at the host.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "what `--help` prints has brackets that are no links"
)]

mod boot;
mod disk;
mod memory;
mod net;
mod run;
mod share;
mod vsock;

pub(crate) use boot::{BootArgument, CdromArgument, FirmwareArgument, FloppyArgument};
pub(crate) use disk::{DiskArgument, DiskBus, DiskCache, DiskFormat};
pub(crate) use memory::{BackingArgument, MemoryArgument, parse_size, show_size};
pub(crate) use net::{NetArgument, NetLink};
pub(crate) use run::RunArguments;
pub(crate) use share::ShareArgument;
pub(crate) use vsock::VsockArgument;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::verbs::DiskVerb;

/// A type-2 hypervisor for Linux/KVM: one VMM, three modes.
#[derive(Debug, Parser)]
#[command(
    name = "trivisor",
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// Show the version
    #[arg(short = 'V', long)]
    pub(crate) version: bool,
    /// With --version: also what the binary holds
    #[arg(long, requires = "version")]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

// Deferred: only the arguments of the verb that was typed are built, which a start would otherwise wait for.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Verb {
    /// Run a VM
    Run(Box<RunArguments>),
    /// Boot the bundled guest in every mode and print what it cost
    Demo {
        /// Starts of each mode; the medians are printed
        #[arg(long, value_name = "N", default_value_t = 11)]
        rounds: u32,
    },
    /// Tell what this host can do, with a fix for each gap
    Check,
    /// List the running VMs
    Ps {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask a VM's guest to give up memory, or let it have it back with a smaller size
    Balloon {
        /// The VM
        name: String,
        /// What it is to give up in all, such as 64M
        #[arg(value_name = "SIZE", value_parser = parse_size)]
        size: u64,
    },
    /// Make, describe and convert disk images
    #[command(subcommand)]
    Disk(DiskVerb),
    /// Press a VM's power button
    Stop {
        /// The VM
        name: String,
        /// End it at once, as pulling the plug would
        #[arg(long)]
        force: bool,
    },
    /// Let a VM stand still
    Pause {
        /// The VM
        name: String,
    },
    /// Let a paused VM go on
    Resume {
        /// The VM
        name: String,
    },
    /// Make a picture of a VM's screen, or print the characters on it
    Screenshot {
        /// The VM
        name: String,
        /// Where the picture goes
        #[arg(value_name = "FILE.png", required_unless_present = "text")]
        file: Option<PathBuf>,
        /// Print what a text screen shows
        #[arg(long, conflicts_with = "file")]
        text: bool,
    },
    /// Type a text on a VM's keyboard, which has the US layout
    Type {
        /// The VM
        name: String,
        /// The text; a line's end is the enter key
        #[arg(allow_hyphen_values = true)]
        text: String,
        /// Press the enter key behind it
        #[arg(long)]
        enter: bool,
    },
    /// Press keys on a VM's keyboard
    #[command(name = "sendkey")]
    SendKey {
        /// The VM
        name: String,
        /// Keys that go down together, such as ctrl-alt-del, f12 or ret; one after the other
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Change the disc in a VM's CD drive
    Cdrom {
        /// The VM
        name: String,
        /// The ISO image of the disc that is laid in
        #[arg(value_name = "FILE", required_unless_present = "eject")]
        file: Option<PathBuf>,
        /// Take the disc out
        #[arg(long, conflicts_with = "file")]
        eject: bool,
        /// Also when the guest has locked the tray
        #[arg(long)]
        force: bool,
    },
    /// Show what a VM is doing
    Info {
        /// The VM
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// The shells that completion scripts exist for.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}
