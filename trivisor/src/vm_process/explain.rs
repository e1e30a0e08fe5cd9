//! What the user can do about a VM that does not start, or does not go on.

use std::error::Error;
use std::io;

use trivisor_backends::disk::DiskError;
use trivisor_buses::FitError;
use trivisor_kvm::Kvm;
use trivisor_vmm_core::{HostFailure, MachineError};

use super::virtio::Unfit;
use crate::failure::{Failure, chain};
use crate::plan::Plan;

pub(super) fn jail_failure(error: &dyn Error) -> Failure {
    Failure::host(
        format!("the VM process cannot be jailed: {}", chain(error)),
        "see `trivisor check`; --sandbox off runs without a jail",
    )
}

/// What the user can do about a machine that cannot be made.
pub(super) fn explain_machine(error: &MachineError, plan: &Plan, kvm: &Kvm) -> Failure {
    let what = chain(error);
    match error {
        MachineError::Cpus { .. } => Failure::usage(what, "choose another number with --cpus"),
        MachineError::Ram(
            trivisor_memory::RamError::TooSmall { .. }
            | trivisor_memory::RamError::Unaligned { .. },
        ) => Failure::usage(what, "choose another size with --memory"),
        MachineError::Ram(trivisor_memory::RamError::Map { .. })
            if plan.ram.huge_pages.is_some() =>
        {
            Failure::host(
                format!("no huge pages: {what}"),
                "set some aside (sysctl vm.nr_hugepages=N for pages of 2 MiB), or leave hugepages= out",
            )
        }
        MachineError::Ram(_) => Failure::host(
            what,
            "choose a smaller --memory, or free some of the host's",
        ),
        MachineError::Load(_) => Failure::usage(
            format!("{}: {what}", plan.boots().display()),
            "--kernel takes an ELF vmlinux, a bzImage, a PVH or a multiboot image for x86, with --memory to hold it",
        ),
        MachineError::Board(FitError::Chip { chip, .. }) if *chip == "firmware" => Failure::usage(
            format!("{}: {what}", plan.boots().display()),
            "--firmware takes a PC's BIOS, such as SeaBIOS's bios-256k.bin",
        ),
        MachineError::Board(FitError::Chip { reason, .. }) => explain_chip(&**reason, what),
        MachineError::Board(_) | MachineError::Table { .. } => {
            Failure::usage(what, "give the machine more memory or fewer disks")
        }
        MachineError::Vm(_) | MachineError::Started | MachineError::Thread { .. } => {
            // Asked late: a start that succeeds does not pay for the questions.
            let missing = kvm.check_capabilities().err();
            let what = missing.map_or(what, |missing| missing.to_string());
            Failure::host(what, "see `trivisor check`")
        }
    }
}

/// What the user can do about a device that cannot be made.
fn explain_chip(reason: &(dyn Error + 'static), what: String) -> Failure {
    let reason = reason.downcast_ref::<io::Error>();
    let reason = reason.and_then(io::Error::get_ref);
    let Some(unfit) = reason.and_then(|reason| reason.downcast_ref::<Unfit>()) else {
        return Failure::usage(what, "give the machine more memory or fewer disks");
    };
    let what = chain(unfit);
    match &unfit.source {
        DiskError::Size { size: 0 } => Failure::usage(
            what,
            "make one that is not empty: trivisor disk create FILE 1G",
        ),
        DiskError::Size { .. } => {
            Failure::usage(what, "make it longer, for example: truncate -s %512 FILE")
        }
        DiskError::Direct { .. } => Failure::usage(
            what,
            "leave out cache=none, or put the image on another file system",
        ),
        DiskError::Image { .. } => Failure::usage(what, "look at it with `qemu-img check`"),
        DiskError::Metadata(_) | DiskError::Host(_) => Failure::host(
            what,
            "see `trivisor check` and the host's kernel log (dmesg)",
        ),
    }
}

pub(super) fn explain_host(failure: &HostFailure, plan: &Plan) -> Failure {
    match failure {
        HostFailure::ImageTruncated { index } => truncated(plan, Some(*index)),
        HostFailure::Flush { index } => {
            let name = disk_name(plan, Some(*index));
            Failure::host(
                format!("{name} cannot be written to its storage"),
                "look at the storage behind it; the guest's last writes may be lost",
            )
        }
        HostFailure::Vcpu { .. } => {
            Failure::host(chain(failure), "see the host's kernel log (dmesg)")
        }
        HostFailure::Jail { .. } => Failure::host(
            chain(failure),
            "see `trivisor check`; --sandbox off runs without a jail",
        ),
    }
}

/// The last act of a process that is a control process, too, when an image became shorter: in a signal handler.
pub(crate) fn image_gone() {
    trivisor_backends::terminal::restore_all();
    let text = b"trivisor: a disk image was truncated while the guest was using it\n  \
        restore it from a copy; nothing else may change an image while a VM has it\n";
    // Nobody is left to hear of an error.
    let _lost = rustix::io::write(rustix::stdio::stderr(), text);
}

/// An image became shorter while the guest had it.
pub(crate) fn truncated(plan: &Plan, index: Option<usize>) -> Failure {
    let name = disk_name(plan, index);
    Failure::host(
        format!("{name} was truncated while the guest was using it"),
        "restore it from a copy; nothing else may change an image while a VM has it",
    )
}

/// What the user calls the file behind a piece of guest memory; `None`: nobody knows which.
fn disk_name(plan: &Plan, index: Option<usize>) -> String {
    let mut nvdimms = plan.pmem.iter().filter(|disk| !plan.is_virtio_pmem(disk));
    match index.and_then(|index| nvdimms.nth(index)) {
        Some(disk) => disk.path.display().to_string(),
        None if plan.pmem.is_empty() => "the file behind the guest's memory".into(),
        None => "a disk image".into(),
    }
}
