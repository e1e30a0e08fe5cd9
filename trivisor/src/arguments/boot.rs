//! What a PC boots: `--firmware`, `--boot`, `--cdrom` and `--floppy`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use trivisor_devices_hvm::board::BootDevice;

use crate::settings::text_form;

/// `--firmware`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FirmwareArgument {
    /// The host's SeaBIOS, wherever its package puts it.
    SeaBios,
    /// A file.
    File(PathBuf),
}

impl FromStr for FirmwareArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "seabios" => Ok(Self::SeaBios),
            "" => Err("no firmware is named: seabios, or a file".into()),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl fmt::Display for FirmwareArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeaBios => f.write_str("seabios"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// `--cdrom`: what lies in a PC's CD drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CdromArgument {
    /// Nothing yet.
    Empty,
    /// A disc: this ISO image.
    Disc(PathBuf),
}

impl FromStr for CdromArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Empty),
            "" => Err("no file is named: an ISO image, or none for an empty drive".into()),
            path => Ok(Self::Disc(path.into())),
        }
    }
}

impl fmt::Display for CdromArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("none"),
            Self::Disc(path) => write!(f, "{}", path.display()),
        }
    }
}

/// `--floppy`: a disk in a floppy drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FloppyArgument {
    pub(crate) file: PathBuf,
    /// Its tab is open: nobody writes to it.
    pub(crate) ro: bool,
}

impl FromStr for FloppyArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (file, ro) = match text.strip_suffix(",ro") {
            Some(file) => (file, true),
            None => (text, false),
        };
        if file.is_empty() {
            return Err("no file is named: FILE[,ro]".into());
        }
        let file = file.into();
        Ok(Self { file, ro })
    }
}

impl fmt::Display for FloppyArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ro = if self.ro { ",ro" } else { "" };
        write!(f, "{}{ro}", self.file.display())
    }
}

/// `--boot`: drives in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootArgument(pub(crate) Vec<BootDevice>);

/// Drives by their letters.
const LETTERS: [(char, BootDevice); 4] = [
    ('a', BootDevice::Floppy),
    ('c', BootDevice::Disk),
    ('d', BootDevice::Cdrom),
    ('n', BootDevice::Network),
];

/// Drives that the order has room for.
const MAX_ORDER: usize = 3;

impl FromStr for BootArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no boot order: up to three of a (floppy), c (disk), d (CD), n (network)"
            )
        };
        let mut order = Vec::new();
        for letter in text.chars() {
            let found = LETTERS.iter().find(|(known, _)| *known == letter);
            let (_, device) = found.ok_or_else(wrong)?;
            if order.contains(device) {
                return Err(wrong());
            }
            order.push(*device);
        }
        if (1..=MAX_ORDER).contains(&order.len()) {
            Ok(Self(order))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for BootArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = self.0.iter().filter_map(|device| {
            let found = LETTERS.iter().find(|(_, known)| known == device);
            found.map(|(letter, _)| letter)
        });
        letters.try_for_each(|letter| write!(f, "{letter}"))
    }
}

text_form!(FirmwareArgument);
text_form!(BootArgument);
text_form!(CdromArgument);
text_form!(FloppyArgument);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_order_comes_back_as_it_was_written() {
        for text in ["c", "dc", "acd"] {
            assert_eq!(text.parse::<BootArgument>().unwrap().to_string(), text);
        }
        for text in ["", "x", "cc", "acdn"] {
            let error = text.parse::<BootArgument>().unwrap_err();
            assert!(error.contains("no boot order"), "{text}: {error}");
        }
    }

    #[test]
    fn a_floppy_disk_may_be_protected() {
        for (text, file, ro) in [("a.img", "a.img", false), ("b,1.img,ro", "b,1.img", true)] {
            let floppy = text.parse::<FloppyArgument>().unwrap();
            assert_eq!((floppy.file.to_str().unwrap(), floppy.ro), (file, ro));
            assert_eq!(floppy.to_string(), text);
        }
        for text in ["", ",ro"] {
            let error = text.parse::<FloppyArgument>().unwrap_err();
            assert!(error.contains("no file is named"), "{text}: {error}");
        }
    }

    #[test]
    fn a_cd_drive_may_be_empty() {
        let disc = |path: &str| CdromArgument::Disc(path.into());
        for (text, wanted) in [
            ("none", CdromArgument::Empty),
            ("a.iso", disc("a.iso")),
            ("./none", disc("./none")),
        ] {
            let cdrom = text.parse::<CdromArgument>().unwrap();
            assert_eq!((cdrom.to_string().as_str(), &cdrom), (text, &wanted));
        }
        let error = "".parse::<CdromArgument>().unwrap_err();
        assert!(error.contains("no file is named"), "{error}");
    }

    #[test]
    fn firmware_has_a_name_or_a_file() {
        let parse = |text: &str| text.parse::<FirmwareArgument>();
        assert_eq!(parse("seabios"), Ok(FirmwareArgument::SeaBios));
        let file = FirmwareArgument::File("bios.bin".into());
        assert_eq!(parse("bios.bin"), Ok(file));
        assert!(parse("").is_err());
    }
}
