//! A device that gives back what it reads.

use trivisor_buses::{AccessError, RestoreError, SavedState};

use crate::device::{DeviceType, Io, VirtioDevice, read_config_bytes};
use crate::queue::Chain;

/// The configuration after a reset.
const CONFIG: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

#[derive(Debug)]
pub(super) struct Echo {
    chain: Chain,
    config: [u8; 8],
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            chain: Chain::default(),
            config: CONFIG,
        }
    }
}

impl VirtioDevice for Echo {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }

    fn features(&self) -> u64 {
        1
    }

    fn queue_sizes(&self) -> &[u16] {
        &[64, 64]
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        read_config_bytes(&self.config, offset, data);
    }

    fn write_config(
        &mut self,
        offset: usize,
        data: &[u8],
        _io: &mut Io<'_>,
    ) -> Result<(), AccessError> {
        let end = offset.saturating_add(data.len());
        let part = self.config.get_mut(offset..end);
        part.ok_or(AccessError::ReadOnly)?.copy_from_slice(data);
        Ok(())
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        io.want_notifications(queue, false);
        loop {
            if !io.pop(queue, &mut self.chain) {
                if io.want_notifications(queue, true) {
                    continue;
                }
                break;
            }
            let len = self
                .chain
                .readable_len()
                .min(self.chain.writable_len())
                .min(256);
            let mut data = vec![0; usize::try_from(len).unwrap()];
            let read = self.chain.read(io.ram(), 0, &mut data);
            if let Err(error) = read.and_then(|()| self.chain.write(io.ram(), 0, &data)) {
                return io.fail(queue, error);
            }
            io.push(queue, self.chain.id(), data.len().try_into().unwrap());
        }
        io.publish(queue);
    }

    fn stop(&mut self, _queue: Option<u16>, _io: &mut Io<'_>) {}

    fn reset(&mut self) {
        self.config = CONFIG;
    }

    fn save(&self) -> SavedState {
        SavedState::encode("echo", 1, &self.config)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.config = state.decode("echo", 1)?;
        Ok(())
    }
}
