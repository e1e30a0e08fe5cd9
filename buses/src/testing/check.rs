//! Register tests as scripts: a line an access, `w OFFSET VALUE` or `r OFFSET -> VALUE`, in hexadecimal.
//!
//! The number of digits of the value is the width: two a byte. Offset and width are as the device's
//! shell would hand them over.

use crate::access::{AccessError, MmioDevice, PortDevice};

/// Runs `script` on a device in port space.
///
/// # Panics
/// When a value read is another than the script says, when an access is refused without `-> error`
/// behind it, or when a line cannot be read.
pub fn check_ports(device: &mut impl PortDevice, script: &str) {
    run(script, device, |device, offset, access| {
        let offset = u16::try_from(offset).expect("ports end at ffff");
        match access {
            Access::Read(data) => device.read(offset, data),
            Access::Write(data) => device.write(offset, data),
        }
    });
}

/// Runs `script` on a device in memory space.
///
/// # Panics
/// As [`check_ports`] does.
pub fn check_mmio(device: &mut impl MmioDevice, script: &str) {
    run(script, device, |device, offset, access| match access {
        Access::Read(data) => device.read(offset, data),
        Access::Write(data) => device.write(offset, data),
    });
}

enum Access<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

fn run<D>(
    script: &str,
    device: &mut D,
    mut access: impl FnMut(&mut D, u64, Access<'_>) -> Result<(), AccessError>,
) {
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words {
            ["w", offset, value] => {
                let result = access(device, number(offset), Access::Write(&bytes(value)));
                assert_eq!(result, Ok(()), "{line}");
            }
            ["w", offset, value, "->", "error"] => {
                let result = access(device, number(offset), Access::Write(&bytes(value)));
                assert!(result.is_err(), "{line}: was taken");
            }
            ["r", offset, "->", "error"] => {
                let result = access(device, number(offset), Access::Read(&mut [0]));
                assert!(result.is_err(), "{line}: was taken");
            }
            ["r", offset, "->", value] => {
                let wanted = bytes(value);
                let mut found = vec![0xee; wanted.len()];
                let result = access(device, number(offset), Access::Read(&mut found));
                assert_eq!(result, Ok(()), "{line}");
                assert_eq!(found, wanted, "{line}");
            }
            _ => panic!("not a line of a register script: {line}"),
        }
    }
}

fn number(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap_or_else(|error| panic!("{digits}: {error}"))
}

/// A little-endian value of half as many bytes as digits.
fn bytes(digits: &str) -> Vec<u8> {
    let mut bytes = number(digits).to_le_bytes().to_vec();
    bytes.truncate(digits.len().div_ceil(2));
    bytes
}
