//! FADT: what is fixed. On a hardware-reduced machine (4.1) that is little.

use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID, Platform, bytes};

/// IA-PC boot architecture flags (5.2.9.3).
pub mod boot_arch {
    /// Devices on an ISA bus that the namespace does not name.
    pub const LEGACY_DEVICES: u16 = 1 << 0;
    /// A keyboard controller.
    pub const KEYBOARD_8042: u16 = 1 << 1;
    /// No VGA: its addresses must not be probed.
    pub const NO_VGA: u16 = 1 << 2;
    /// No message-signalled interrupts of devices.
    pub const NO_MSI: u16 = 1 << 3;
    /// No clock at ports 0x70 and 0x71.
    pub const NO_CMOS_RTC: u16 = 1 << 5;
}

/// Hypervisor Vendor Identity: how a kernel knows that it is a guest.
pub(super) const VENDOR: u64 = u64::from_le_bytes(*b"Trivisor");

/// The fixed ACPI description table.
pub(super) fn fadt(platform: &Platform<'_>, dsdt: u64) -> Vec<u8> {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::Wbinvd)
        // Power and sleep buttons are not fixed hardware: the namespace has what there is.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless)
        .flag(Flags::HwReducedAcpi);
    // Both pointers, for a reader of the first ACPI as well.
    fadt.dsdt = u32::try_from(dsdt).unwrap_or(0).into();
    fadt.x_dsdt = dsdt.into();
    fadt.iapc_boot_arch = platform.boot_arch.into();
    fadt.reset_reg = port(platform.reset);
    fadt.reset_value = platform.reset_value;
    fadt.sleep_control_reg = port(platform.sleep_control);
    fadt.sleep_status_reg = port(platform.sleep_status);
    fadt.hypervisor_vendor_identity = VENDOR.into();
    bytes(&fadt.finalize())
}

/// A register of one byte in port space (5.2.3.2).
pub(super) fn port(address: u16) -> GAS {
    GAS::new(
        AddressSpace::SystemIo,
        8,
        0,
        AccessSize::ByteAccess,
        address.into(),
    )
}
