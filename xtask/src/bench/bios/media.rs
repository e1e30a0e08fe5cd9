//! What the PCs boot.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::{self, command};
use crate::workspace;

/// What both end with, by the debug-exit port that QEMU calls `isa-debug-exit`.
pub(super) const STATUS: i32 = (VALUE as i32) << 1 | 1;
/// What the guest writes there.
const VALUE: u8 = 0x15;

/// mov dx, 0xf4; mov al, VALUE; out dx, al; hlt
const END: [u8; 7] = [0xba, 0xf4, 0x00, 0xb0, VALUE, 0xee, 0xf4];

/// Prints what stands 0x40 bytes behind the code's start to the first serial port, then waits: DS and SI on the text, DX
/// on the port, out until the zero; cli; hlt.
const GREET: [u8; 22] = [
    0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x40, 0x7c, 0xba, 0xf8, 0x03, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x03,
    0xee, 0xeb, 0xf8, 0xfa, 0xf4, 0xf4,
];

/// Where Debian has GRUB's images and modules.
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// Disks, each a raw image.
#[derive(Debug)]
pub(super) struct Media {
    /// Ends the run with its first instructions.
    pub(super) boot_sector: PathBuf,
    /// Greets on the serial port and waits.
    pub(super) waiting: PathBuf,
    /// GRUB, which ends the run where it would show its prompt.
    pub(super) grub: Option<PathBuf>,
}

impl Media {
    pub(super) fn make(grub: bool) -> Result<Self> {
        let folder = workspace::target().join("bench-bios");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let boot_sector = folder.join("boot-sector.img");
        write(&boot_sector, &sector(&END))?;
        let waiting = folder.join("waiting.img");
        let mut code = GREET.to_vec();
        code.resize(0x40, 0);
        code.extend(b"trivisor-guest\r\n\0");
        write(&waiting, &sector(&code))?;
        let grub = grub.then(|| with_grub(&folder)).transpose()?;
        Ok(Self {
            boot_sector,
            waiting,
            grub,
        })
    }
}

/// A disk of 1 MiB with this boot sector.
fn sector(code: &[u8]) -> Vec<u8> {
    let mut bytes = code.to_vec();
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xaa]);
    bytes.resize(1 << 20, 0);
    bytes
}

/// GRUB behind its own boot sector. Its configuration, which normal mode reads before it shows a menu or a prompt, is in
/// its image, and ends the run.
fn with_grub(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("grub");
    fs::create_dir_all(root.join("boot/grub"))?;
    let config = format!("outb 0xf4 {VALUE:#x}\n");
    write(&root.join("boot/grub/grub.cfg"), config.as_bytes())?;
    let archive = folder.join("grub.tar");
    let mut tar = command("tar", &["--format=ustar", "-cf"]);
    process::run(tar.arg(&archive).arg("-C").arg(&root).arg("boot"))?;
    let core = folder.join("core.img");
    let mut make = command("grub-mkimage", &["-O", "i386-pc"]);
    make.args(["-p", "(memdisk)/boot/grub", "-m"]).arg(&archive);
    make.arg("-o").arg(&core);
    process::run(make.args(["memdisk", "tar", "biosdisk", "normal", "iorw"]))?;
    let mut bytes = fs::read(Path::new(GRUB).join("boot.img"))?;
    bytes.extend(fs::read(core)?);
    bytes.resize(4 << 20, 0);
    let disk = folder.join("grub.img");
    write(&disk, &bytes)?;
    Ok(disk)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| path.display().to_string())
}
