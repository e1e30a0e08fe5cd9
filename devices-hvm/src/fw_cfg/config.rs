//! What firmware is told: items and files.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::regs::{NAME, VERSION, key};

/// A file that firmware cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// The directory has no room for the name.
    #[error("the name of file {name:?} is empty, has a zero in it or more than {} bytes", NAME - 1)]
    Name {
        /// The name.
        name: String,
    },
    /// Given twice.
    #[error("file {name:?} is there already")]
    Twice {
        /// The name.
        name: String,
    },
    /// Longer than the directory can say.
    #[error("file {name:?} has {size} bytes: at most 4 GiB are possible")]
    Size {
        /// The name.
        name: String,
        /// Its bytes.
        size: usize,
    },
}

/// Items by their keys, and files by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    items: BTreeMap<u16, Arc<[u8]>>,
    files: BTreeMap<String, Arc<[u8]>>,
}

impl Default for Items {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            files: BTreeMap::new(),
        }
        .with(key::SIGNATURE, b"QEMU")
        .with(key::ID, &VERSION.to_le_bytes())
    }
}

impl Items {
    /// Sets the item of a key.
    #[must_use]
    pub fn with(mut self, key: u16, bytes: &[u8]) -> Self {
        self.items.insert(key, bytes.into());
        self
    }

    /// Adds a file.
    ///
    /// # Errors
    /// When its name or size is not possible, or the name is taken.
    pub fn with_file(mut self, name: &str, bytes: &[u8]) -> Result<Self, FileError> {
        let name = name.to_owned();
        if name.is_empty() || name.len() >= NAME || name.contains('\0') {
            return Err(FileError::Name { name });
        }
        let size = bytes.len();
        if u32::try_from(size).is_err() {
            return Err(FileError::Size { name, size });
        }
        if self.files.contains_key(&name) {
            return Err(FileError::Twice { name });
        }
        self.files.insert(name, bytes.into());
        Ok(self)
    }

    /// All items by their keys, the directory and the files among them.
    pub(super) fn table(&self) -> BTreeMap<u16, Arc<[u8]>> {
        let mut table = self.items.clone();
        let count = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let mut directory = count.to_be_bytes().to_vec();
        for (key, (name, bytes)) in (key::FILE_FIRST..).zip(&self.files) {
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            directory.extend(size.to_be_bytes());
            directory.extend(key.to_be_bytes());
            directory.extend([0, 0]);
            let start = directory.len();
            directory.extend(name.bytes());
            directory.resize(start + NAME, 0);
            table.insert(key, Arc::clone(bytes));
        }
        table.insert(key::FILE_DIR, directory.into());
        table
    }
}
