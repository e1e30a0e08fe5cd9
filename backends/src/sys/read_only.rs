//! A folder that a child process cannot write to, whatever its rights are.

#![expect(
    unsafe_code,
    reason = "code between fork and exec is unsafe by its nature, and the call has no wrapper"
)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountPropagationFlags, mount_bind_recursive, mount_change};

/// Lets the child of `command` see `folder`, and what is mounted below it, as read-only: in a mount namespace of its
/// own. The child needs CAP_SYS_ADMIN for it.
///
/// # Errors
/// The name has a zero in it.
pub(crate) fn read_only(command: &mut Command, folder: &Path) -> io::Result<()> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    let enclose = move || {
        // SAFETY: a mount namespace of the calling process, which has one thread and shares no state of its file
        // system with another.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // What is mounted here is not to be seen outside.
        let slave = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
        mount_change(c"/", slave)?;
        mount_bind_recursive(folder.as_c_str(), folder.as_c_str())?;
        let attributes = libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_RDONLY,
            attr_clr: 0,
            propagation: 0,
            userns_fd: 0,
        };
        // SAFETY: the name ends with a zero, and the attributes are as long as is said.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                libc::AT_FDCWD,
                folder.as_ptr(),
                libc::AT_RECURSIVE,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes system calls on what it owns. It allocates nothing and takes no lock, so it may run
    // between fork and exec.
    unsafe { command.pre_exec(enclose) };
    Ok(())
}
