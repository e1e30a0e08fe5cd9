//! Requests for DMA that wait for fw_cfg.

use trivisor_buses::{Dma, DmaError};
use trivisor_devices_hvm::fw_cfg::regs::{DMA_REQUEST, DmaControl, key};

use crate::bus::words::put;
use crate::drives::{RAM, inside};

/// Keys that lead to an item, and those that do not.
pub(super) const KEYS: [u16; 8] = [
    key::SIGNATURE,
    key::ID,
    key::NB_CPUS,
    key::FILE_DIR,
    key::FILE_FIRST,
    key::FILE_FIRST + 1,
    key::FILE_FIRST + 2,
    key::INVALID,
];

const LENGTHS: [u32; 8] = [4, 0, 1, 300, 4096, 0x1_0001, 0x7fff_ffff, u32::MAX];
const ADDRESSES: [u64; 4] = [0x2000, 0, RAM - 2, u64::MAX - 1];

/// RAM that reads as requests for DMA: what it holds at an address never changes, so that a restored device meets the same.
pub(super) struct Requests;

impl Requests {
    /// The request at `number` times its size: the control's bits, then key, length and address.
    fn at(number: u64) -> [u8; DMA_REQUEST] {
        let control = u32::try_from(number % 32).unwrap_or_default();
        let control = DmaControl::from_bits(control).with_key(pick(&KEYS, number >> 5));
        let mut request = [0; DMA_REQUEST];
        let parts = [
            &control.into_bits().to_be_bytes()[..],
            &pick(&LENGTHS, number >> 8).to_be_bytes(),
            &pick(&ADDRESSES, number >> 11).to_be_bytes(),
        ];
        request.copy_from_slice(&parts.concat());
        request
    }

    /// The number of such a request.
    fn number(control: DmaControl, key: u64, length: u64, address: u64) -> u64 {
        u64::from(control.into_bits() % 32) | key << 5 | length << 8 | address << 11
    }
}

fn pick<T: Copy + Default>(from: &[T], number: u64) -> T {
    let at = usize::try_from(number).unwrap_or_default();
    let at = at.checked_rem(from.len()).unwrap_or_default();
    from.get(at).copied().unwrap_or_default()
}

impl Dma for Requests {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        inside(address, data.len())?;
        let size = DMA_REQUEST as u64;
        for (byte, at) in data.iter_mut().zip(address..) {
            let request = Self::at(at / size);
            let inside = usize::try_from(at % size).unwrap_or_default();
            *byte = request.get(inside).copied().unwrap_or_default();
        }
        Ok(())
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        inside(address, data.len())
    }
}

/// Keys are selected; requests of each kind are made.
pub(super) fn words() -> Vec<Vec<u8>> {
    let select = KEYS.map(|key| put(0, &key.to_le_bytes()));
    let control = DmaControl::new();
    let select_too = control.with_select(true);
    let mut numbers = vec![0];
    for control in [
        control.with_read(true),
        control.with_skip(true),
        control.with_write(true),
        select_too,
        select_too.with_read(true),
        select_too.with_skip(true),
    ] {
        for (key, length, address) in [(0, 0, 0), (3, 4, 0), (5, 3, 1), (7, 7, 2), (4, 5, 3)] {
            numbers.push(Requests::number(control, key, length, address));
        }
    }
    // The half that is written last makes the request.
    let make = |number: u64| {
        let address = number * DMA_REQUEST as u64;
        let low = u32::try_from(address).unwrap_or_default();
        put(3, &low.to_be_bytes())
    };
    let high = [0, u32::MAX].map(|high| put(2, &high.to_be_bytes()));
    select
        .into_iter()
        .chain(high)
        .chain(numbers.into_iter().map(make))
        .collect()
}
