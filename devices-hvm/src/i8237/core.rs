//! The controllers as values.

use trivisor_buses::{AccessError, Dma, DmaMoved};

use super::regs::{Command, Mode, PAGE_OF_CHANNEL, SingleBit, offset};

/// A channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Channel {
    pub(super) base_address: u16,
    pub(super) base_count: u16,
    pub(super) address: u16,
    pub(super) count: u16,
    pub(super) mode: Mode,
}

/// A controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Controller {
    pub(super) channels: [Channel; 4],
    pub(super) command: Command,
    /// Requests by software, a bit a channel.
    pub(super) request: u8,
    /// DREQ of each channel.
    pub(super) dreq: u8,
    pub(super) mask: u8,
    /// Channels whose count ran out.
    pub(super) terminal: u8,
    /// The next access to an address or count is to its upper byte.
    pub(super) flip_flop: bool,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            channels: Default::default(),
            command: Command::new(),
            request: 0,
            dreq: 0,
            mask: 0x0f,
            terminal: 0,
            flip_flop: false,
        }
    }
}

/// What goes through a channel.
pub(super) enum Data<'a> {
    ToMemory(&'a [u8]),
    FromMemory(&'a mut [u8]),
}

impl Data<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::ToMemory(data) => data.len(),
            Self::FromMemory(data) => data.len(),
        }
    }

    /// Bytes from `from` on go to memory at `address`, or come from there. Where there is no RAM nothing takes them,
    /// and ones are read.
    fn move_part(&mut self, dma: &dyn Dma, address: u64, from: usize, len: usize) {
        match self {
            Self::ToMemory(data) => {
                let part = data.get(from..from + len).unwrap_or_default();
                if dma.write(address, part).is_err() {
                    for (byte, at) in part.iter().zip(address..) {
                        let _nobody_there = dma.write(at, &[*byte]);
                    }
                }
            }
            Self::FromMemory(data) => {
                let part = data.get_mut(from..from + len).unwrap_or_default();
                if dma.read(address, part).is_err() {
                    for (byte, at) in part.iter_mut().zip(address..) {
                        let mut one = [0xff];
                        *byte = dma.read(at, &mut one).map_or(0xff, |()| one[0]);
                    }
                }
            }
        }
    }
}

impl Controller {
    pub(super) fn read(&mut self, register: u16) -> Result<u8, AccessError> {
        Ok(match register {
            offset::CHANNELS..offset::STATUS_COMMAND => {
                let upper = self.toggle();
                let channel = self.channel(register)?;
                let value = if register & 1 == 0 {
                    channel.address
                } else {
                    channel.count
                };
                let [low, high] = value.to_le_bytes();
                if upper { high } else { low }
            }
            offset::STATUS_COMMAND => {
                let requests = self.dreq | self.request;
                requests << 4 | std::mem::take(&mut self.terminal)
            }
            offset::TEMPORARY_MASTER_CLEAR => 0,
            offset::ALL_MASK => self.mask,
            _ => return Err(AccessError::WriteOnly),
        })
    }

    pub(super) fn write(&mut self, register: u16, value: u8) -> Result<(), AccessError> {
        match register {
            offset::CHANNELS..offset::STATUS_COMMAND => {
                let upper = self.toggle();
                let channel = self.channel(register)?;
                let (base, now) = if register & 1 == 0 {
                    (&mut channel.base_address, &mut channel.address)
                } else {
                    (&mut channel.base_count, &mut channel.count)
                };
                // The same byte of both: the other one of each stays.
                for place in [base, now] {
                    let [low, high] = place.to_le_bytes();
                    let bytes = if upper { [low, value] } else { [value, high] };
                    *place = u16::from_le_bytes(bytes);
                }
            }
            offset::STATUS_COMMAND => self.command = Command::from_bits(value),
            offset::REQUEST => self.request = SingleBit::from_bits(value).applied(self.request),
            offset::SINGLE_MASK => self.mask = SingleBit::from_bits(value).applied(self.mask),
            offset::MODE => {
                let mode = Mode::from_bits(value);
                if let Some(channel) = self.channels.get_mut(mode.channel()) {
                    channel.mode = mode;
                }
            }
            offset::CLEAR_FLIP_FLOP => self.flip_flop = false,
            offset::TEMPORARY_MASTER_CLEAR => self.clear(),
            offset::CLEAR_MASK => self.mask = 0,
            offset::ALL_MASK => self.mask = value & 0x0f,
            _ => return Err(AccessError::NoRegister),
        }
        Ok(())
    }

    /// Master clear: as a reset, but that addresses, counts and modes stay.
    fn clear(&mut self) {
        *self = Self {
            channels: self.channels,
            dreq: self.dreq,
            ..Self::default()
        };
    }

    fn toggle(&mut self) -> bool {
        let upper = self.flip_flop;
        self.flip_flop = !upper;
        upper
    }

    fn channel(&mut self, register: u16) -> Result<&mut Channel, AccessError> {
        let channel = self.channels.get_mut(usize::from(register / 2));
        channel.ok_or(AccessError::NoRegister)
    }

    /// Whether the channel's DREQ reaches the bus.
    pub(super) fn serves(&self, number: usize) -> bool {
        let bit = 1_u8.checked_shl(u32::try_from(number).unwrap_or(u32::MAX));
        let open = bit.is_some_and(|bit| self.dreq & !self.mask & bit != 0);
        open && !self.command.disable()
    }

    /// Moves as much as channel `number` lets. `page` is what the address has in front, 16 bits of it are the
    /// channel's, `shift` its distance from bytes.
    pub(super) fn transfer(
        &mut self,
        number: usize,
        (page, shift): (u8, u32),
        mut data: Data<'_>,
        dma: &dyn Dma,
    ) -> DmaMoved {
        let serves = self.serves(number);
        let Some(channel) = self.channels.get_mut(number).filter(|_| serves) else {
            return DmaMoved::default();
        };
        let fits = match data {
            Data::ToMemory(_) => Mode::WRITE,
            Data::FromMemory(_) => Mode::READ,
        };
        let verifies = channel.mode.transfer() == Mode::VERIFY;
        if channel.mode.kind() == Mode::CASCADE || !verifies && channel.mode.transfer() != fits {
            return DmaMoved::default();
        }
        if let (true, Data::FromMemory(data)) = (verifies, &mut data) {
            // Nobody drives the bus.
            data.fill(0xff);
        }
        let all = usize::from(channel.count) + 1;
        let units = all.min(data.len() >> shift);
        let page = u64::from(page) << 16;
        let mut done = 0;
        while done < units {
            let at = page | u64::from(channel.address) << shift;
            let run = if channel.mode.decrement() {
                1
            } else {
                (units - done).min(0x1_0000 - usize::from(channel.address))
            };
            if !verifies {
                data.move_part(dma, at, done << shift, run << shift);
            }
            done += run;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the address has 16 bits, and wraps within its page"
            )]
            let step = run as u16;
            channel.address = if channel.mode.decrement() {
                channel.address.wrapping_sub(step)
            } else {
                channel.address.wrapping_add(step)
            };
            channel.count = channel.count.wrapping_sub(step);
        }
        let terminal_count = units == all;
        if terminal_count {
            self.end(number);
        }
        DmaMoved {
            bytes: units << shift,
            terminal_count,
        }
    }

    /// The count of a channel has run out.
    fn end(&mut self, number: usize) {
        let Some(channel) = self.channels.get_mut(number) else {
            return;
        };
        let bit = 1 << (number & 3);
        self.terminal |= bit;
        self.request &= !bit;
        if channel.mode.autoinit() {
            channel.address = channel.base_address;
            channel.count = channel.base_count;
        } else {
            self.mask |= bit;
        }
    }
}

/// Both controllers, the first behind channel 4 of the second, and the page registers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pair {
    pub(super) controllers: [Controller; 2],
    pub(super) pages: [u8; 16],
}

impl Pair {
    /// The first controller's requests go through.
    pub(super) fn cascade(&mut self) {
        let [_, second] = &mut self.controllers;
        second.mask &= !1;
        if let Some(first) = second.channels.first_mut() {
            first.mode = Mode::new().with_kind(Mode::CASCADE);
        }
    }

    fn is_cascaded(&self) -> bool {
        let [_, second] = &self.controllers;
        let cascades = |channel: &Channel| channel.mode.kind() == Mode::CASCADE;
        !second.command.disable()
            && second.mask & 1 == 0
            && second.channels.first().is_some_and(cascades)
    }

    /// The controller of channel `number` from 0 to 7, and its channel there.
    pub(super) fn place(&mut self, number: usize) -> (&mut Controller, usize) {
        let [first, second] = &mut self.controllers;
        if number < 4 {
            (first, number)
        } else {
            (second, number & 3)
        }
    }

    /// Which channels would move something now, a bit each.
    pub(super) fn open(&self) -> u8 {
        let [first, second] = &self.controllers;
        let first_open = self.is_cascaded();
        (0..8_usize)
            .filter(|number| match number {
                0..4 => first_open && first.serves(*number),
                _ => second.serves(*number & 3),
            })
            .fold(0, |open, number| open | 1 << number)
    }

    pub(super) fn transfer(&mut self, number: usize, data: Data<'_>, dma: &dyn Dma) -> DmaMoved {
        if number < 4 && !self.is_cascaded() {
            return DmaMoved::default();
        }
        let page = PAGE_OF_CHANNEL.get(number).copied();
        let page = page.and_then(|page| self.pages.get(page)).copied();
        let page = page.unwrap_or_default();
        // The second controller moves words: its addresses are one bit further up, over the page's lowest.
        let place = if number < 4 {
            (page, 0)
        } else {
            (page & !1, 1)
        };
        let (controller, channel) = self.place(number);
        controller.transfer(channel, place, data, dma)
    }
}
