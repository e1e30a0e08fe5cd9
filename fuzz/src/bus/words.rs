//! Operations in the encoding of an input: what seeds are made of, and dictionaries hold.

/// A second device, restored from the first, lives on beside it.
pub(crate) const TWIN: [u8; 2] = [15, 1];
/// The device pauses, somebody looks at its screens, and it goes on.
pub(crate) const LOOK: [u8; 2] = [14, 2];
/// The machine is reset.
pub(crate) const RESET: [u8; 2] = [14, 0];
/// Somebody presses the power button.
pub(crate) const PRESS: [u8; 2] = [12, 1];
/// What is behind the device fails from now on.
pub(crate) const FAIL: [u8; 2] = [11, 0];
/// It works again.
pub(crate) const WORK: [u8; 2] = [11, 1];

/// 2^`power` nanoseconds pass, 44 at most.
pub(crate) const fn advance(power: u8) -> [u8; 3] {
    [10, 1, power]
}

/// The line that was added as `number` goes to a level.
pub(crate) const fn line(number: u8, high: bool) -> [u8; 3] {
    [13, number, high as u8]
}

/// Somebody at the machine sends these bytes, fewer than 40: to a console, as keys and as motion.
pub(crate) fn push(bytes: &[u8]) -> Vec<u8> {
    [&[12, 0, bytes.len().to_le_bytes()[0]], bytes].concat()
}

/// A write of 1, 2, 4 or 8 bytes to the fuzzer's register `index`.
pub(crate) fn put(index: u8, data: &[u8]) -> Vec<u8> {
    let width = data.len().ilog2().to_le_bytes()[0];
    [&[0, index, width], data].concat()
}

/// A read of 2^`width` bytes from the fuzzer's register `index`.
pub(crate) const fn get(index: u8, width: u8) -> [u8; 3] {
    [5, index, width]
}

/// A write to the register at the offset `at`, which is among `registers`.
pub(crate) fn write(registers: &[u64], at: u64, data: &[u8]) -> Vec<u8> {
    put(index(registers, at), data)
}

/// A read of 2^`width` bytes from the register at the offset `at`.
pub(crate) fn read(registers: &[u64], at: u64, width: u8) -> Vec<u8> {
    get(index(registers, at), width).to_vec()
}

/// What stands for the width of a string of accesses.
pub(crate) const STRING: u8 = 5;

/// A string of `count` reads of 2^`width` bytes; 0 stands for 256.
pub(crate) fn read_string(registers: &[u64], at: u64, width: u8, count: u8) -> Vec<u8> {
    let count = count.wrapping_sub(1);
    vec![5, index(registers, at), STRING, width, count]
}

/// A string of `count` writes, with four bytes again and again.
pub(crate) fn write_string(
    registers: &[u64],
    at: u64,
    width: u8,
    count: u8,
    pattern: [u8; 4],
) -> Vec<u8> {
    let count = count.wrapping_sub(1);
    let head = [0, index(registers, at), STRING, width, count];
    [&head[..], &pattern].concat()
}

#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn index(registers: &[u64], at: u64) -> u8 {
    let index = registers.iter().position(|register| *register == at);
    let index = index.and_then(|index| u8::try_from(index).ok());
    index.expect("it is among the registers")
}
