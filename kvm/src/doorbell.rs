//! Bells: writes of the guest that KVM turns into events (KVM_IOEVENTFD).

#![expect(unsafe_code, reason = "an eventfd's owner changes its type")]

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use trivisor_buses::{Doorbell, DoorbellAddress, Doorbells};
use vmm_sys_util::errno;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// The bells of a VM.
#[derive(Debug)]
pub struct VmDoorbells(pub(crate) Arc<VmFd>);

impl Doorbells for VmDoorbells {
    fn make(&self) -> io::Result<(Arc<dyn Doorbell>, OwnedFd)> {
        let event = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        let heard = event.try_clone()?.into_raw_fd();
        // SAFETY: the descriptor is open, and nobody else's from here on.
        let heard = unsafe { OwnedFd::from_raw_fd(heard) };
        let bell = VmDoorbell {
            vm: Arc::clone(&self.0),
            event,
            marked: Mutex::default(),
        };
        Ok((Arc::new(bell), heard))
    }
}

struct VmDoorbell {
    vm: Arc<VmFd>,
    event: EventFd,
    /// To be removed.
    marked: Mutex<Vec<DoorbellAddress>>,
}

impl VmDoorbell {
    fn ioeventfd(&self, at: DoorbellAddress, hang: bool) -> io::Result<()> {
        let address = if at.port {
            IoEventAddress::Pio(at.address)
        } else {
            IoEventAddress::Mmio(at.address)
        };
        let answer = match (at.width, at.value) {
            (0, None) => self.ask(&address, NoDatamatch, hang),
            (1, Some(value)) => self.ask(&address, narrow::<u8>(value)?, hang),
            (2, Some(value)) => self.ask(&address, narrow::<u16>(value)?, hang),
            (4, Some(value)) => self.ask(&address, narrow::<u32>(value)?, hang),
            (8, Some(value)) => self.ask(&address, value, hang),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(answer?)
    }

    fn ask<T: Into<u64>>(
        &self,
        at: &IoEventAddress,
        value: T,
        hang: bool,
    ) -> Result<(), errno::Error> {
        if hang {
            self.vm.register_ioevent(&self.event, at, value)
        } else {
            self.vm.unregister_ioevent(&self.event, at, value)
        }
    }
}

/// A value as wide as the write.
fn narrow<T: TryFrom<u64>>(value: u64) -> io::Result<T> {
    T::try_from(value).map_err(|_too_wide| io::ErrorKind::InvalidInput.into())
}

impl Doorbell for VmDoorbell {
    fn arm(&self, at: DoorbellAddress) -> io::Result<()> {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = marked.iter().position(|other| *other == at) {
            // It hangs still.
            marked.swap_remove(index);
            return Ok(());
        }
        drop(marked);
        self.ioeventfd(at, true)
    }

    fn disarm(&self, at: DoorbellAddress) {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        if !marked.contains(&at) {
            marked.push(at);
        }
    }

    fn commit_removals(&self) {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        for at in std::mem::take(&mut *marked) {
            // One that did not hang need not be removed.
            let _absent = self.ioeventfd(at, false);
        }
    }
}
