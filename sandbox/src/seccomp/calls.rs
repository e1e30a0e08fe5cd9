//! The allow-lists.

use std::collections::BTreeMap;

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::ioctls;
use super::{Devices, Role};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Without conditions, for every thread, with what makes them.
const EVERY: &[i64] = &[
    // Output pipes, the eventfds that wake the event loop, the last words of a panic.
    libc::SYS_write,
    libc::SYS_writev,
    // malloc. mmap and mprotect are below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Locks, and going on after a stop.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Signals: kicks, and an abort that is to be seen as one.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // Clocks where the vDSO has none; HashMap's seeds.
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    // A guest's flush of persistent memory, and the size of the file under it.
    libc::SYS_msync,
    libc::SYS_fstat,
    // The end of a thread and of the process.
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Without conditions, for the event loop.
const IO: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_clock_nanosleep,
    // KVM's counters.
    libc::SYS_pread64,
    // The control process. Descriptors come by recvmsg; the socket is connected, so nothing leaves it for
    // elsewhere.
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
];

/// Without conditions, for every thread that runs virtio devices. None of these opens anything by name.
const VIRTIO: &[i64] = &[
    // Disks: a ring that takes four operations on one file; it was made before.
    libc::SYS_io_uring_enter,
    // Taps, sockets, completions.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    // Streams of a socket device. A connection of the guest's comes as a descriptor, from the control process.
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    // A rate limiter's timer, and that of a board's chips.
    libc::SYS_timerfd_settime,
];

/// Without conditions, for the event loop of virtio devices.
const IO_VIRTIO: &[i64] = &[
    // Disks: writes that the ring would leave to a thread of the kernel's.
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
];

/// Without conditions, for a disk's workers.
const WORKER: &[i64] = &[
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_lseek,
];

/// What threads of `role` may call.
pub(super) fn allowed(role: Role, devices: Devices) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let mut always = |calls: &[i64]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    always(EVERY);
    match role {
        Role::Vcpu => {}
        Role::Io => always(IO),
        Role::Worker => always(WORKER),
    }
    let virtio = devices != Devices::Basic;
    if virtio {
        always(VIRTIO);
        if role == Role::Io {
            always(IO_VIRTIO);
        }
    }

    let no_code = |argument| when(argument, Dword, MaskedEq(PROT_EXEC), 0);
    rules.insert(libc::SYS_mmap, vec![no_code(2)?]);
    rules.insert(libc::SYS_mprotect, vec![no_code(2)?]);
    // Kicks, and abort: to threads of this process only.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![when(0, Dword, Eq, own)?]);
    // Standard library, in debug builds: is what is closed open?
    rules.insert(libc::SYS_fcntl, vec![when(1, Dword, Eq, F_GETFD)?]);
    if role == Role::Io || virtio {
        // send: no address.
        rules.insert(libc::SYS_sendto, vec![when(4, Qword, Eq, 0)?]);
    }
    rules.insert(libc::SYS_ioctl, ioctl_rules(role, devices)?);
    Ok(rules)
}

/// `PROT_EXEC`: memory that the CPU may run.
const PROT_EXEC: u64 = libc::PROT_EXEC.cast_unsigned() as u64;

/// `F_GETFD`: asks only.
const F_GETFD: u64 = libc::F_GETFD.cast_unsigned() as u64;

fn ioctl_rules(role: Role, devices: Devices) -> Result<Vec<SeccompRule>, BackendError> {
    let (virtio, pc): (&[_], &[_]) = match devices {
        Devices::Basic => (&[], &[]),
        Devices::Virtio => (ioctls::VIRTIO, &[]),
        Devices::Pc => (ioctls::VIRTIO, ioctls::PC),
    };
    let bells = if devices != Devices::Basic && role != Role::Worker {
        ioctls::BELLS
    } else {
        &[]
    };
    let (vcpu, chipset): (&[_], &[_]) = match (role, devices) {
        (Role::Vcpu, Devices::Pc) => (ioctls::VCPU, ioctls::CHIPSET),
        (Role::Vcpu, _) => (ioctls::VCPU, &[]),
        _ => (&[], &[]),
    };
    // The kernel looks at the low half of the request.
    vcpu.iter()
        .chain(ioctls::DEVICE)
        .chain(bells)
        .chain(virtio)
        .chain(pc)
        .chain(chipset)
        .map(|(request, _name)| when(1, Dword, Eq, u64::from(*request)))
        .collect()
}

fn when(
    argument: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument, length, operator, value,
    )?])
}
