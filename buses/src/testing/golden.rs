//! Golden states: what a released version of a device saved, as hexadecimal digits.

use crate::component::{Component, SavedState};

/// Restores `device` from a state that an earlier release saved. Where the version is still the newest,
/// saving it again must give the same bytes: the layout of a released version never changes.
///
/// # Panics
/// When the state is refused, or comes back as other bytes.
pub fn check_golden(device: &mut impl Component, kind: &'static str, version: u16, hex: &str) {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
    };
    let golden = SavedState {
        kind,
        version,
        data: digits.chunks(2).map(byte).collect(),
    };
    let newest = device.save();
    if let Err(error) = device.restore(&golden) {
        let fresh: String = newest
            .data
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        panic!("the golden state of {kind} is refused: {error}; a fresh one is {fresh}");
    }
    if newest.version == version {
        let again: String = device
            .save()
            .data
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let golden: String = golden
            .data
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            again, golden,
            "the layout of {kind} version {version} has changed"
        );
    }
}
