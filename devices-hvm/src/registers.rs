//! Configuration space under test.

use trivisor_buses::Component;
use trivisor_pci::PciFunction;

/// Reads from `at` on.
pub(crate) fn read<const N: usize>(function: &mut impl PciFunction, at: u16) -> [u8; N] {
    let mut data = [0xee; N];
    function.config_read(at, &mut data);
    data
}

/// As the bus would: the access, then its effects.
pub(crate) fn write(function: &mut impl PciFunction, at: u16, data: &[u8]) {
    function.config_write(at, data);
    if let Some(effect) = function.take_effect() {
        effect();
    }
}

/// Of each row: the offset, the value after a reset, and what is left of all ones.
pub(crate) fn check<F: PciFunction + Component>(make: impl Fn() -> F, rows: &[(u16, u8, u8)]) {
    for &(at, reset, ones) in rows {
        let mut function = make();
        assert_eq!(read(&mut function, at), [reset], "{at:#x}");
        write(&mut function, at, &[0xff]);
        assert_eq!(read(&mut function, at), [ones], "{at:#x}");
        function.reset();
        assert_eq!(read(&mut function, at), [reset], "{at:#x}");
        write(&mut function, at, &[0]);
        function.reset();
        assert_eq!(read(&mut function, at), [reset], "{at:#x}");
    }
}
