//! Saved state of the DMA controllers.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::core::{Channel, Controller, Pair};
use super::regs::{Command, Mode};

/// Name of the chip in saved state.
pub(super) const KIND: &str = "i8237";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8237StateV1 {
    /// The first controller, and the second.
    pub controllers: Vec<ControllerStateV1>,
    /// The page registers, from port 0x80 on.
    pub pages: [u8; 16],
}

/// A controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerStateV1 {
    /// Of each channel: base address, base count, address, count.
    pub channels: [[u16; 4]; 4],
    /// Mode of each channel; bits 1:0 are its number.
    pub modes: [u8; 4],
    /// Command.
    pub command: u8,
    /// Requests by software, 4 bits.
    pub request: u8,
    /// DREQ, 4 bits.
    pub dreq: u8,
    /// Mask, 4 bits.
    pub mask: u8,
    /// Terminal counts, 4 bits.
    pub terminal: u8,
    /// The next access is to an upper byte.
    pub flip_flop: bool,
}

fn check(field: &'static str, value: impl Into<u64>, right: bool) -> Result<(), RestoreError> {
    RestoreError::check(KIND, field, value.into(), right)
}

impl From<&Controller> for ControllerStateV1 {
    fn from(controller: &Controller) -> Self {
        let Controller {
            channels,
            command,
            request,
            dreq,
            mask,
            terminal,
            flip_flop,
        } = controller;
        Self {
            channels: channels.map(|channel| {
                let Channel {
                    base_address,
                    base_count,
                    address,
                    count,
                    mode: _,
                } = channel;
                [base_address, base_count, address, count]
            }),
            modes: channels.map(|channel| channel.mode.into_bits()),
            command: command.into_bits(),
            request: *request,
            dreq: *dreq,
            mask: *mask,
            terminal: *terminal,
            flip_flop: *flip_flop,
        }
    }
}

impl TryFrom<&ControllerStateV1> for Controller {
    type Error = RestoreError;

    fn try_from(state: &ControllerStateV1) -> Result<Self, RestoreError> {
        let mut channels = [Channel::default(); 4];
        let saved = state.channels.iter().zip(state.modes);
        for (number, (channel, (values, mode))) in channels.iter_mut().zip(saved).enumerate() {
            let mode = Mode::from_bits(mode);
            // Before its first mode is written, a channel has none: 0.
            let right = mode.channel() == number || mode == Mode::new();
            check("mode", mode.into_bits(), right)?;
            let [base_address, base_count, address, count] = *values;
            *channel = Channel {
                base_address,
                base_count,
                address,
                count,
                mode,
            };
        }
        for (field, value) in [
            ("request", state.request),
            ("dreq", state.dreq),
            ("mask", state.mask),
            ("terminal", state.terminal),
        ] {
            check(field, value, value < 16)?;
        }
        Ok(Self {
            channels,
            command: Command::from_bits(state.command),
            request: state.request,
            dreq: state.dreq,
            mask: state.mask,
            terminal: state.terminal,
            flip_flop: state.flip_flop,
        })
    }
}

impl From<&Pair> for I8237StateV1 {
    fn from(pair: &Pair) -> Self {
        let Pair { controllers, pages } = pair;
        Self {
            controllers: controllers.iter().map(Into::into).collect(),
            pages: *pages,
        }
    }
}

impl TryFrom<I8237StateV1> for Pair {
    type Error = RestoreError;

    fn try_from(state: I8237StateV1) -> Result<Self, RestoreError> {
        let count = state.controllers.len() as u64;
        let [first, second] = &state.controllers[..] else {
            return Err(RestoreError::Field {
                kind: KIND,
                field: "controllers",
                value: count,
            });
        };
        Ok(Self {
            controllers: [first.try_into()?, second.try_into()?],
            pages: state.pages,
        })
    }
}
