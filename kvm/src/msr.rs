//! Model-specific registers.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;
use vmm_sys_util::errno::Error;

/// Reads one register; `None` when KVM does not know it.
///
/// # Errors
/// What KVM answered.
pub(crate) fn read(vcpu: &VcpuFd, index: u32) -> Result<Option<u64>, Error> {
    let mut msrs = list(&[(index, 0)])?;
    let read = vcpu.get_msrs(&mut msrs)?;
    Ok((read == 1).then(|| msrs.as_slice().first().map_or(0, |msr| msr.data)))
}

/// Writes registers; those that KVM refuses are left out.
///
/// # Errors
/// What KVM answered.
pub(crate) fn write(vcpu: &VcpuFd, values: &[(u32, u64)]) -> Result<(), Error> {
    let mut rest = values;
    while !rest.is_empty() {
        // KVM stops at the first one that it does not take, and says how many it took.
        let written = vcpu.set_msrs(&list(rest)?)?;
        rest = rest.get(written + 1..).unwrap_or_default();
    }
    Ok(())
}

fn list(values: &[(u32, u64)]) -> Result<Msrs, Error> {
    let entries: Vec<_> = values
        .iter()
        .map(|&(index, data)| kvm_msr_entry {
            index,
            data,
            ..kvm_msr_entry::default()
        })
        .collect();
    Msrs::from_entries(&entries).map_err(|_| Error::new(libc::E2BIG))
}
