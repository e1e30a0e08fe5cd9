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

/// Of each row: the offset of a double word, its value after a reset, and what is left of all ones. What no row names
/// reads zero, whatever is written to it.
pub(crate) fn check<F: PciFunction + Component>(make: impl Fn() -> F, rows: &[(u16, u32, u32)]) {
    let all = (0..0x100).step_by(4);
    assert!(
        rows.iter()
            .all(|(at, ..)| all.clone().any(|place| place == *at))
    );
    for at in all {
        let row = rows.iter().find(|(place, ..)| *place == at);
        let (reset, ones) = row.map_or((0, 0), |(_, reset, ones)| (*reset, *ones));
        let is = |function: &mut F, wanted: u32| {
            let found = u32::from_le_bytes(read(function, at));
            assert_eq!(found, wanted, "{at:#x}: {found:#x}, not {wanted:#x}");
        };
        let mut function = make();
        is(&mut function, reset);
        write(&mut function, at, &[0xff; 4]);
        is(&mut function, ones);
        function.reset();
        is(&mut function, reset);
        write(&mut function, at, &[0; 4]);
        function.reset();
        is(&mut function, reset);
    }
}
