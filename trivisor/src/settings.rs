//! A VM as it is asked for: the keys of `vm.toml`, which have the flags' names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::arguments::{
    BootArgument, CdromArgument, DiskArgument, FirmwareArgument, FloppyArgument, MemoryArgument,
    NetArgument, ShareArgument, VsockArgument,
};

/// Gives a type the same form in TOML as on the command line.
macro_rules! text_form {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_form;

/// All settings of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    pub(crate) vm: VmSettings,
    pub(crate) boot: BootSettings,
    pub(crate) disk: Vec<DiskArgument>,
    pub(crate) net: Vec<NetSetting>,
    pub(crate) share: Vec<ShareArgument>,
    pub(crate) display: DisplaySettings,
}

/// `[display]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct DisplaySettings {
    pub(crate) display: DisplaySetting,
    pub(crate) screenshot_on_exit: Option<PathBuf>,
}

/// `[[net]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NetSetting {
    /// What `--net` takes.
    pub(crate) link: NetArgument,
}

/// `[vm]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct VmSettings {
    pub(crate) name: Option<String>,
    pub(crate) mode: ModeSetting,
    pub(crate) cpus: u32,
    pub(crate) memory: MemoryArgument,
    /// Default: stdio, unless the console is that.
    pub(crate) serial: Option<SerialSetting>,
    /// The virtio console; default: none.
    pub(crate) console: Option<SerialSetting>,
    pub(crate) sandbox: SandboxSetting,
    pub(crate) daemon: bool,
    pub(crate) reboot: bool,
    pub(crate) timeout: Option<u64>,
    pub(crate) debug_exit: Option<u16>,
    pub(crate) debug_console: Option<PathBuf>,
    pub(crate) metrics: Option<PathBuf>,
    pub(crate) transport: TransportSetting,
    pub(crate) packed: bool,
    /// Default: the mode's.
    pub(crate) rng: Option<bool>,
    pub(crate) balloon: bool,
    pub(crate) vsock: Option<VsockArgument>,
}

impl Default for VmSettings {
    fn default() -> Self {
        Self {
            name: None,
            mode: ModeSetting::Auto,
            cpus: 1,
            memory: MemoryArgument::default(),
            serial: None,
            console: None,
            sandbox: SandboxSetting::Default,
            daemon: false,
            reboot: false,
            timeout: None,
            debug_exit: None,
            debug_console: None,
            metrics: None,
            transport: TransportSetting::Pci,
            packed: false,
            rng: None,
            balloon: false,
            vsock: None,
        }
    }
}

/// `[boot]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct BootSettings {
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) cmdline: Option<String>,
    pub(crate) cmdline_only: Option<String>,
    pub(crate) firmware: Option<FirmwareArgument>,
    pub(crate) boot: Option<BootArgument>,
    pub(crate) cdrom: Option<CdromArgument>,
    pub(crate) floppy: Vec<FloppyArgument>,
    pub(crate) serial_screen: bool,
}

/// Which board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModeSetting {
    Auto,
    Basic,
    Pv,
    Hvm,
}

impl FromStr for ModeSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "basic" => Ok(Self::Basic),
            "pv" => Ok(Self::Pv),
            "hvm" => Ok(Self::Hvm),
            _ => Err(format!("{text:?} is no mode: auto, basic, pv or hvm")),
        }
    }
}

impl fmt::Display for ModeSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Basic => "basic",
            Self::Pv => "pv",
            Self::Hvm => "hvm",
        })
    }
}

/// How virtio devices are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportSetting {
    /// As PCI functions.
    Pci,
    /// Each at an address of its own.
    Mmio,
}

impl FromStr for TransportSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pci" => Ok(Self::Pci),
            "mmio" => Ok(Self::Mmio),
            _ => Err(format!("{text:?} is no transport: pci or mmio")),
        }
    }
}

impl fmt::Display for TransportSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pci => "pci",
            Self::Mmio => "mmio",
        })
    }
}

/// Where the first serial port, or the virtio console, leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SerialSetting {
    /// The terminal, or whatever standard input and output are.
    Stdio,
    /// What the guest writes goes to a file; nothing comes in.
    File(PathBuf),
    /// Nowhere.
    None,
}

impl FromStr for SerialSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("stdio", "") => Ok(Self::Stdio),
            ("none", "") => Ok(Self::None),
            ("file", path) if !path.is_empty() => Ok(Self::File(path.into())),
            ("unix" | "pty", _) => Err(format!(
                "{text} is not in this version: stdio, file:PATH or none"
            )),
            _ => Err(format!("{text:?}: stdio, file:PATH or none")),
        }
    }
}

impl fmt::Display for SerialSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio => f.write_str("stdio"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::None => f.write_str("none"),
        }
    }
}

/// Who sees the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DisplaySetting {
    /// Nobody, before `trivisor screenshot` asks.
    #[default]
    None,
}

impl FromStr for DisplaySetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').map_or(text, |(kind, _)| kind) {
            "none" => Ok(Self::None),
            "vnc" => Err("vnc is not in this version: none".into()),
            _ => Err(format!("{text:?} is no display: none")),
        }
    }
}

impl fmt::Display for DisplaySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
        })
    }
}

/// How tight the VM process's jail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SandboxSetting {
    /// The system calls that a VM needs, and no others.
    Default,
    /// None.
    Off,
}

impl FromStr for SandboxSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            "off" => Ok(Self::Off),
            "strict" => Err("strict is not in this version: default or off".into()),
            _ => Err(format!("{text:?} is no jail: default or off")),
        }
    }
}

impl fmt::Display for SandboxSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Off => "off",
        })
    }
}

text_form!(ModeSetting);
text_form!(TransportSetting);
text_form!(SerialSetting);
text_form!(SandboxSetting);
text_form!(DisplaySetting);

/// A file of settings that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    #[error("{} cannot be read", .path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {reason}", .path.display())]
    Parse { path: PathBuf, reason: String },
}

impl Settings {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
            path: path.into(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| SettingsError::Parse {
            path: path.into(),
            reason: explain(&error, &text),
        })
    }

    /// As a file would hold it.
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// The parser's message with its line, and the nearest key to an unknown one.
fn explain(error: &toml::de::Error, text: &str) -> String {
    let message = error.message();
    let line = error.span().map(|span| {
        let before = text.get(..span.start).unwrap_or_default();
        before.matches('\n').count() + 1
    });
    let place = line.map_or_else(String::new, |line| format!("line {line}: "));
    // serde's wording: unknown field `X`, expected one of `A`, `B`
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(unknown)) => {
            let nearest = quoted
                .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
                .min();
            let hint = nearest.map_or_else(String::new, |(_, known)| {
                format!("; the nearest is {known:?}")
            });
            format!("{place}unknown key {unknown:?}{hint}")
        }
        _ => format!("{place}{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error| explain(&error, text))
    }

    #[test]
    fn a_file_comes_back_as_it_was_printed() {
        let text = "[vm]\nname = 'a'\ncpus = 4\nmemory = '1G,backing=memfd,thp'\nserial = 'file:out.log'\n\
                    timeout = 3\n[boot]\nkernel = 'vmlinux'\n[[disk]]\nfile = 'a.img'\nro = true\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.vm.memory.bytes, 1 << 30);
        assert!(settings.disk[0].ro);
        assert_eq!(parse(&settings.to_toml().unwrap()).unwrap(), settings);
        let text = "[vm]\nmode = 'pv'\ntransport = 'mmio'\npacked = true\nrng = false\nballoon = true\n\
                    vsock = '3,/run/a.vsock'\nconsole = 'file:hvc'\n[[disk]]\nfile = 'a.qcow2'\nformat = 'qcow2'\nbus = 'virtio'\n\
                    cache = 'none'\nqueues = 4\nqueue-size = 512\nserial = 'A-1'\nbps = 1048576\niops = 500\n\
                    [[net]]\nlink = 'user,forward=tcp:8080:80'\n[[net]]\nlink = 'tap=tap0,queues=2'\n\
                    [[net]]\nlink = 'vhost-user=/run/net.sock'\n[[disk]]\nvhost-user = '/run/disk.sock'\n\
                    [[share]]\ndir = '/srv'\ntag = 'data'\nro = true\n";
        let settings = parse(text).unwrap();
        let disk = &settings.disk[0];
        assert_eq!(
            (disk.queues, disk.queue_size, disk.bps, disk.iops),
            (Some(4), Some(512), Some(1 << 20), Some(500))
        );
        assert_eq!(settings.net[1].link.queues, 2);
        assert_eq!(settings.vm.rng, Some(false));
        assert_eq!(
            settings.disk[1].vhost_user.as_deref(),
            Some(Path::new("/run/disk.sock"))
        );
        assert!(settings.share[0].ro);
        assert!(settings.vm.packed && settings.vm.balloon);
        assert_eq!(parse(&settings.to_toml().unwrap()).unwrap(), settings);
        let default = Settings::default();
        assert_eq!(parse(&default.to_toml().unwrap()).unwrap(), default);
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest() {
        let error = parse("[vm]\ncpus = 2\n[boot]\nkernal = 'vmlinux'\n").unwrap_err();
        assert_eq!(
            error,
            "line 4: unknown key \"kernal\"; the nearest is \"kernel\""
        );
        let error = parse("[[disk]]\nfile = 'a'\nreadonly = true\n").unwrap_err();
        assert!(error.contains("unknown key \"readonly\""), "{error}");
    }

    #[test]
    fn values_have_the_flags_form() {
        for (text, wanted) in [
            ("[vm]\nmode = 'xen'", "is no mode: auto, basic, pv or hvm"),
            ("[boot]\nboot = 'x'", "is no boot order"),
            ("[vm]\nmemory = '12X'", "is no size"),
            ("[vm]\nmemory = '1G,hugepages=3M'", "2M and 1G"),
            ("[vm]\nserial = 'pty'", "not in this version"),
            ("[vm]\nconsole = 'pty'", "not in this version"),
            ("[vm]\nsandbox = 'strict'", "not in this version"),
            ("[vm]\ntransport = 'isa'", "is no transport: pci or mmio"),
            ("[vm]\nvsock = '2,/run/a'", "the guest's number is 3 to"),
            ("[[net]]\nlink = 'bridge'", "user, tap=NAME"),
            (
                "[[net]]\nlink = 'user'\nmac = '52:54:00:12:34:56'",
                "the nearest is \"link\"",
            ),
            ("[[share]]\ndir = '/srv'\ntag = ''", "1 to 36 bytes"),
            ("[[disk]]\nfile = 'a'\nqueues = 0", "1 to 64"),
            ("[[disk]]\nfile = 'a'\nqueue-size = 3", "a power of two"),
            (
                "[[disk]]\nfile = 'a'\nserial = '123456789012345678901'",
                "1 to 20 letters",
            ),
            (
                "[[disk]]\nfile = 'a'\nformat = 'vdi'",
                "unknown variant `vdi`",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
