//! What a console is made of.

use thiserror::Error;
use trivisor_buses::CharOutput;

use super::regs::{Features, Size, config};

/// Ports at most: their queues and those for control are 64.
pub const MAX_PORTS: usize = 31;
/// Bytes of a port's name at most.
pub const MAX_NAME: usize = 128;

/// A port and what stands behind it.
pub struct PortConfig {
    /// What the guest finds it by; empty for none.
    pub name: String,
    /// For people rather than programs: the guest's terminal.
    pub console: bool,
    /// Where the guest's output goes; without one, nowhere.
    pub output: Option<Box<dyn CharOutput>>,
}

impl std::fmt::Debug for PortConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortConfig")
            .field("name", &self.name)
            .field("console", &self.console)
            .finish_non_exhaustive()
    }
}

/// Ports that a console cannot have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsoleError {
    /// None, or more than there are queues for.
    #[error("{count} ports are not within 1 to {MAX_PORTS}")]
    Ports {
        /// Their number.
        count: usize,
    },
    /// A name that cannot be sent.
    #[error("the port's name {name:?} is longer than {MAX_NAME} bytes or has control characters")]
    Name {
        /// The name.
        name: String,
    },
}

pub(super) fn check(ports: &[PortConfig]) -> Result<(), ConsoleError> {
    let count = ports.len();
    if !(1..=MAX_PORTS).contains(&count) {
        return Err(ConsoleError::Ports { count });
    }
    for PortConfig { name, .. } in ports {
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(ConsoleError::Name { name: name.clone() });
        }
    }
    Ok(())
}

/// One console without a name needs no control queues.
pub(super) fn features(ports: &[PortConfig]) -> Features {
    let plain = matches!(ports, [only] if only.console && only.name.is_empty());
    Features::new()
        .with_size(true)
        .with_multiport(!plain)
        .with_emerg_write(true)
}

/// The configuration space.
pub(super) fn space(size: Size, ports: u32) -> [u8; config::LEN] {
    let mut space = [0; config::LEN];
    for (at, field) in [
        (config::COLS, size.to_bytes()),
        (config::MAX_NR_PORTS, ports.to_le_bytes()),
    ] {
        if let Some(place) = space.get_mut(at..at + field.len()) {
            place.copy_from_slice(&field);
        }
    }
    space
}
