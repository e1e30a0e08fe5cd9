//! Saved state of a function's PCI side: a part of the function's own.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use crate::config::SIZE;
use crate::endpoint::Endpoint;
use crate::msix::{Entry, Msix};

/// An entry of an MSI-X table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsixEntryV1 {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
    /// Vector control.
    pub control: u32,
}

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStateV1 {
    /// The 256 bytes of configuration space.
    pub registers: Vec<u8>,
    /// The MSI-X table; empty where there is none.
    pub msix_table: Vec<MsixEntryV1>,
    /// MSI-X pending bits, 64 a word.
    pub msix_pending: Vec<u64>,
}

impl Endpoint {
    /// The guest-visible state.
    #[must_use]
    pub fn save(&self) -> EndpointStateV1 {
        let entry = |entry: &Entry| MsixEntryV1 {
            address: entry.address,
            data: entry.data,
            control: entry.masked.into(),
        };
        let msix = self.msix.as_ref();
        EndpointStateV1 {
            registers: self.config.registers().to_vec(),
            msix_table: msix.map_or_else(Vec::new, |msix| msix.table.iter().map(entry).collect()),
            msix_pending: msix.map_or_else(Vec::new, |msix| msix.pending.clone()),
        }
    }

    /// Puts a saved state back, the pin's level without an edge. `kind` is the function's name in saved state.
    ///
    /// A function that has more state than this checks that first, so that nothing changes when one part is refused;
    /// or checks this part first, with [`check`](Self::check).
    ///
    /// # Errors
    /// When the state does not pass its checks; nothing has changed then.
    pub fn restore(
        &mut self,
        kind: &'static str,
        state: &EndpointStateV1,
    ) -> Result<(), RestoreError> {
        let checked = self.checked(kind, state)?;
        self.config.set_registers(checked.registers);
        if let Some(msix) = &mut self.msix {
            msix.table = checked.table;
            msix.pending.clone_from(&state.msix_pending);
        }
        self.line.restore_level(self.pin_level());
        self.set_moved();
        Ok(())
    }

    /// Whether [`restore`](Self::restore) would take this state.
    ///
    /// # Errors
    /// When a register that cannot change has another value, or a message is pending that would have left.
    pub fn check(&self, kind: &'static str, state: &EndpointStateV1) -> Result<(), RestoreError> {
        self.checked(kind, state).map(drop)
    }

    fn checked(
        &self,
        kind: &'static str,
        state: &EndpointStateV1,
    ) -> Result<Checked, RestoreError> {
        let EndpointStateV1 {
            registers,
            msix_table,
            msix_pending,
        } = state;
        let wrong = |field, value| RestoreError::Field { kind, field, value };
        let registers: [u8; SIZE] = registers
            .as_slice()
            .try_into()
            .map_err(|_| wrong("length of registers", count(registers.len())))?;
        if let Some(at) = self.config.first_foreign(&registers) {
            return Err(wrong("register at", count(at)));
        }
        let mut config = self.config.clone();
        config.set_registers(registers);
        if let Some(msi) = &self.msi {
            let due = msi.due(&config);
            RestoreError::check(kind, "msi_pending", due.into(), due == 0)?;
        }
        let (own_table, own_pending) = self
            .msix
            .as_ref()
            .map_or((0, 0), |msix| (msix.table.len(), msix.pending.len()));
        let right = msix_table.len() == own_table;
        RestoreError::check(kind, "length of msix_table", count(msix_table.len()), right)?;
        let len = msix_pending.len();
        RestoreError::check(
            kind,
            "length of msix_pending",
            count(len),
            len == own_pending,
        )?;
        let table = msix_table
            .iter()
            .map(|entry| entry_of(kind, entry))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(msix) = &self.msix {
            check_pending(kind, msix, &config, &table, msix_pending)?;
        }
        Ok(Checked { registers, table })
    }
}

/// A state whose fields were checked.
struct Checked {
    registers: [u8; SIZE],
    table: Vec<Entry>,
}

fn entry_of(kind: &'static str, entry: &MsixEntryV1) -> Result<Entry, RestoreError> {
    let MsixEntryV1 {
        address,
        data,
        control,
    } = *entry;
    RestoreError::check(kind, "msix_table.address", address, address & 3 == 0)?;
    RestoreError::check(kind, "msix_table.control", control.into(), control <= 1)?;
    Ok(Entry {
        address,
        data,
        masked: control == 1,
    })
}

/// A pending bit belongs to a vector that is there and cannot send.
fn check_pending(
    kind: &'static str,
    msix: &Msix,
    config: &crate::ConfigSpace,
    table: &[Entry],
    pending: &[u64],
) -> Result<(), RestoreError> {
    let (enabled, open) = (msix.enabled(config), msix.open(config));
    for (word, bits) in pending.iter().enumerate() {
        for bit in (0..64).filter(|bit| bits >> bit & 1 != 0) {
            let vector = word * 64 + bit;
            let waits = |entry: &Entry| enabled && (!open || entry.masked);
            let right = table.get(vector).is_some_and(waits);
            RestoreError::check(kind, "msix_pending of", count(vector), right)?;
        }
    }
    Ok(())
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
