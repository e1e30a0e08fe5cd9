//! Formats of images, and how one is settled that the user did not name.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;

/// How an image holds a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Byte by byte.
    Raw,
    /// QEMU's, which grows as it is written, perhaps on top of another image.
    Qcow2,
    /// VMware's, as a descriptor with flat files; only to be read.
    Vmdk,
}

impl Format {
    const ALL: [Self; 3] = [Self::Raw, Self::Qcow2, Self::Vmdk];

    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
        }
    }

    /// By the ending of a file's name; raw where it says nothing.
    #[must_use]
    pub fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("qcow2" | "qcow") => Self::Qcow2,
            Some("vmdk") => Self::Vmdk,
            _ => Self::Raw,
        }
    }

    /// By the first bytes; raw where they say nothing. A guest can write them, so alone they settle nothing.
    pub(crate) fn of_content(file: &File) -> io::Result<Self> {
        let mut start = [0; 512];
        let mut len = 0;
        while let Some(rest) = start.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, len as u64)? {
                0 => break,
                read => len += read,
            }
        }
        Ok(if start.starts_with(b"QFI\xfb") {
            Self::Qcow2
        } else if start.starts_with(b"KDMV")
            || start.starts_with(b"COWD")
            || start.starts_with(b"# Disk DescriptorFile")
        {
            Self::Vmdk
        } else {
            Self::Raw
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No format has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no image format: raw, qcow2 and vmdk are")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let mut formats = Self::ALL.into_iter();
        formats
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}
