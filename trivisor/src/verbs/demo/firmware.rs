//! From the start to a boot sector, by SeaBIOS.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Writes a byte to the first serial port, and switches the power off: SLP_EN and SLP_TYP of S5 in PMCNTRL.
const CODE: [u8; 14] = [
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xb0, 0x21, // mov al, '!'
    0xee, // out dx, al
    0xba, 0x04, 0x06, // mov dx, 0x604
    0xb8, 0x00, 0x20, // mov ax, 0x2000
    0xef, // out dx, ax
    0xf4, // hlt
];

/// Bytes of the disk.
const DISK: u64 = 1 << 20;

/// How long it takes until a boot sector on the first IDE disk runs.
pub(super) fn to_boot_sector(folder: &Path) -> Result<Duration, Failure> {
    let measure = || -> io::Result<Option<Duration>> {
        let disk = folder.join("boot-sector.img");
        let mut sector = [0; 512];
        sector
            .iter_mut()
            .zip(CODE)
            .for_each(|(byte, code)| *byte = code);
        [sector[510], sector[511]] = [0x55, 0xaa];
        std::fs::write(&disk, sector)?;
        std::fs::File::options()
            .write(true)
            .open(&disk)?
            .set_len(DISK)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["run", "--mode", "hvm", "--timeout", "600", "--disk"]);
        command
            .arg(&disk)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let begin = Instant::now();
        let mut child = command.spawn()?;
        let mut output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut first = [0];
        let length = output.read(&mut first)?;
        let time = begin.elapsed();
        let ended = child.wait()?;
        Ok((length == 1 && ended.success()).then_some(time))
    };
    let failed = |what: String| {
        let what = format!("mode hvm: no boot sector was reached{what}");
        Failure::host(what, "see the lines above and `trivisor check`")
    };
    match measure() {
        Ok(Some(time)) => Ok(time),
        Ok(None) => Err(failed(String::new())),
        Err(error) => Err(failed(format!(": {error}"))),
    }
}
