//! What a PC has beside other machines: its firmware.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trivisor_backends::disk::{self, Format};
use trivisor_backends::image;
use trivisor_devices_hvm::board::BootDevice;
use trivisor_devices_hvm::i82077;

use super::create;
use super::virtio::{Image, open_image};
use crate::arguments::{CdromArgument, DiskArgument, DiskFormat, FirmwareArgument, FloppyArgument};
use crate::failure::{Failure, chain};
use crate::settings::{BootSettings, Settings};

/// Where packages put SeaBIOS: Debian, Ubuntu and Fedora; Arch and QEMU itself.
const SEABIOS: [&str; 3] = [
    "/usr/share/seabios/bios-256k.bin",
    "/usr/share/qemu/bios-256k.bin",
    "/usr/share/qemu-kvm/bios-256k.bin",
];

/// Where packages put the option ROM of the VGA.
const VGA_ROM: [&str; 5] = [
    "/usr/share/seabios/vgabios-stdvga.bin",
    "/usr/share/seavgabios/vgabios-stdvga.bin",
    "/usr/share/qemu/vgabios-stdvga.bin",
    "/usr/share/qemu-kvm/vgabios-stdvga.bin",
    "/usr/lib/qemu/vgabios-stdvga.bin",
];

/// Bytes of an option ROM at most: what its length byte can say.
const ROM_MAX: u64 = 255 * 512;

/// An open file with the name that the user knows it by.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

/// A PC's parts.
#[derive(Debug, Default)]
pub(crate) struct Pc {
    pub(crate) firmware: Option<Named>,
    pub(crate) boot_order: Vec<BootDevice>,
    pub(crate) debug_console: Option<File>,
    /// The firmware's screen is on the first serial port, too.
    pub(crate) serial_screen: bool,
    /// Disks on the IDE cables, by channel, the master first.
    pub(crate) disks: [[Option<Image>; 2]; 2],
    /// The CD drive, which is the second cable's master.
    pub(crate) tray: Option<Tray>,
    /// Disks in the floppy drives.
    pub(crate) floppies: [Option<Image>; 2],
    /// The VGA's option ROM; without firmware nobody would run it.
    pub(crate) vga_rom: Option<Vec<u8>>,
}

/// The tray of a CD drive, with the disc that lies in it: the next start finds that.
#[derive(Debug, Default)]
pub(crate) struct Tray(Mutex<Option<Arc<Image>>>);

impl Tray {
    fn new(disc: Image) -> Self {
        Self(Mutex::new(Some(Arc::new(disc))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Image>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn disc(&self) -> Option<Arc<Image>> {
        self.lock().clone()
    }
}

impl Pc {
    /// Opens them; where a kernel is named, there is no firmware.
    pub(super) fn new(boot: &BootSettings, console: Option<&PathBuf>) -> Result<Self, Failure> {
        let firmware = match (&boot.firmware, &boot.kernel) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "--kernel is started without firmware",
                    "leave out --kernel or --firmware",
                ));
            }
            (None, Some(_)) => None,
            (None | Some(FirmwareArgument::SeaBios), None) => Some(sea_bios()?),
            (Some(FirmwareArgument::File(path)), None) => Some(firmware(path)?),
        };
        let vga_rom = firmware.as_ref().map(|_| vga_rom()).transpose()?;
        let boot_order = boot.boot.as_ref().map(|order| order.0.clone());
        Ok(Self {
            firmware,
            vga_rom,
            boot_order: boot_order.unwrap_or_default(),
            debug_console: console.map(|path| create(path)).transpose()?,
            tray: match &boot.cdrom {
                Some(CdromArgument::Disc(path)) => Some(Tray::new(open_cd(path)?)),
                Some(CdromArgument::Empty) => Some(Tray::default()),
                None => None,
            },
            floppies: open_floppies(&boot.floppy)?,
            disks: Default::default(),
            serial_screen: boot.serial_screen,
        })
    }

    /// Connects disks in the order in which they were named; the CD drive has its place.
    pub(super) fn connect(&mut self, disks: Vec<Image>) -> Result<(), Failure> {
        let [[first, second], [third, fourth]] = &mut self.disks;
        let mut places = vec![first, second, fourth];
        if self.tray.is_none() {
            places.insert(2, third);
        }
        let (count, room) = (disks.len(), places.len());
        if count > room {
            return Err(Failure::usage(
                format!("{count} disks on IDE: there is room for {room}"),
                "give further ones bus=virtio",
            ));
        }
        for (place, disk) in places.into_iter().zip(disks) {
            *place = Some(disk);
        }
        Ok(())
    }

    /// All disks, the hard and the floppy ones.
    fn disks(&self) -> impl Iterator<Item = &Image> {
        let hard = self.disks.iter().flatten().flatten();
        hard.chain(self.floppies.iter().flatten())
    }

    /// The disc in the CD drive.
    pub(crate) fn disc(&self) -> Option<Arc<Image>> {
        self.tray.as_ref().and_then(Tray::disc)
    }

    /// This is the disc in the CD drive from now on; others may have the one before.
    pub(crate) fn change_disc(&self, disc: Option<Arc<Image>>) {
        let Some(tray) = &self.tray else { return };
        let before = std::mem::replace(&mut *tray.lock(), disc);
        before.iter().for_each(|disc| disc.unlock());
    }

    /// Others may have the images from now on.
    pub(crate) fn unlock_disks(&self) {
        self.disks().for_each(Image::unlock);
        self.disc().iter().for_each(|disc| disc.unlock());
    }

    /// The descriptors that the VM process keeps, but the disc's.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let images = self.disks().flat_map(|disk| disk.image.descriptors());
        let files = self.debug_console.iter().map(AsFd::as_fd);
        let firmware = self.firmware.iter().map(|firmware| firmware.file.as_fd());
        images.chain(files).chain(firmware)
    }
}

fn open_floppies(disks: &[FloppyArgument]) -> Result<[Option<Image>; 2], Failure> {
    let mut floppies = [None, None];
    if disks.len() > floppies.len() {
        return Err(Failure::usage(
            format!("{} floppy disks: there are two drives", disks.len()),
            "leave out --floppy for the others",
        ));
    }
    for (drive, disk) in floppies.iter_mut().zip(disks) {
        *drive = Some(open_floppy(disk)?);
    }
    Ok(floppies)
}

/// Opens the image of a floppy disk: raw, and as large as a disk.
fn open_floppy(floppy: &FloppyArgument) -> Result<Image, Failure> {
    let wrong = |what: String| {
        Failure::usage(
            format!("floppy {}: {what}", floppy.file.display()),
            "--floppy takes a raw image of a whole disk, such as `truncate -s 1440K FILE` makes an empty one",
        )
    };
    let disk = DiskArgument {
        ro: floppy.ro,
        format: Some(DiskFormat::Raw),
        ..DiskArgument::of(&floppy.file)
    };
    // What is no floppy disk is told to be none, whoever has it open.
    let file = image::open_plain(&floppy.file).map_err(|error| wrong(chain(&error)))?;
    let size = file
        .metadata()
        .map_err(|error| wrong(error.to_string()))?
        .len();
    i82077::Format::of(size).map_err(|error| wrong(error.to_string()))?;
    open_image(disk)
}

/// Bytes of a CD's sector.
const CD_SECTOR: u64 = 2048;

/// Whether SeaBIOS has something that it could boot from. Its own word that there is nothing is on the screen alone.
pub(super) fn finds_nothing(boot: &BootSettings, disks: &[DiskArgument]) -> bool {
    let sea_bios = matches!(boot.firmware, None | Some(FirmwareArgument::SeaBios));
    let disc = matches!(boot.cdrom, Some(CdromArgument::Disc(_)));
    let boots = disc || !boot.floppy.is_empty() || disks.iter().any(has_boot_sector);
    sea_bios && boot.kernel.is_none() && !boots
}

/// Opens the image of a CD: raw, and nobody writes to it.
pub(crate) fn open_cd(path: &Path) -> Result<Image, Failure> {
    let wrong = |what: String| {
        Failure::usage(
            format!("CD {}: {what}", path.display()),
            "--cdrom takes an ISO image; other images are --disk FILE",
        )
    };
    let disk = DiskArgument {
        ro: true,
        format: Some(DiskFormat::Raw),
        ..DiskArgument::of(path)
    };
    let image = open_image(disk)?;
    let file = image::open_plain(path).map_err(|error| wrong(chain(&error)))?;
    let size = file
        .metadata()
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if size == 0 || !size.is_multiple_of(CD_SECTOR) {
        return Err(wrong(format!(
            "its {size} bytes are no whole sectors of {CD_SECTOR}"
        )));
    }
    let mut systems = [ISO_9660, UDF].iter();
    if !systems.any(|(at, identifier)| holds(&file, *at, identifier)) {
        return Err(wrong(
            "it is no ISO image: sector 16 has no volume descriptor".into(),
        ));
    }
    Ok(image)
}

/// The host's SeaBIOS.
pub(crate) fn sea_bios() -> Result<Named, Failure> {
    let found = SEABIOS.iter().map(Path::new).find(|path| path.exists());
    match found {
        Some(path) => firmware(path),
        None => Err(Failure::usage(
            "this host has no SeaBIOS",
            "install it (apt install seabios, dnf install seabios-bin), or name a file with --firmware FILE",
        )),
    }
}

fn vga_rom() -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let found = VGA_ROM.iter().map(Path::new).find(|path| path.exists());
    let path = found.ok_or_else(|| {
        Failure::usage(
            "this host has no option ROM for the VGA",
            "install it (apt install seabios, dnf install seavgabios-bin)",
        )
    })?;
    let wrong = |what: String| {
        let advice = "install the package that has it again (seabios, seavgabios-bin)";
        Failure::usage(format!("option ROM {what}"), advice)
    };
    let file = image::open_plain(path).map_err(|error| wrong(chain(&error)))?;
    let mut rom = Vec::new();
    let read = file.take(ROM_MAX + 1).read_to_end(&mut rom);
    read.map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    let fits = u64::try_from(rom.len()).is_ok_and(|len| len <= ROM_MAX);
    if !(fits && rom.starts_with(&[0x55, 0xaa])) {
        return Err(wrong(format!("{} is none", path.display())));
    }
    Ok(rom)
}

fn firmware(path: &Path) -> Result<Named, Failure> {
    let file = image::open_plain(path).map_err(|error| {
        Failure::usage(
            format!("firmware {}", chain(&error)),
            "name a readable file with --firmware",
        )
    })?;
    Ok(Named {
        path: path.into(),
        file,
    })
}

/// A medium that is named without a flag: a CD for the drive, or a disk that boots.
pub(crate) fn insert(settings: &mut Settings, medium: PathBuf) -> Result<(), Failure> {
    let file = image::open_plain(&medium).map_err(|error| {
        Failure::usage(
            chain(&error),
            "name settings (a file that ends in .toml), an ISO image, or a disk that boots",
        )
    })?;
    let disk = DiskArgument::of(&medium);
    if holds(&file, ISO_9660.0, &ISO_9660.1) {
        settings.boot.cdrom = Some(CdromArgument::Disc(medium));
    } else if has_boot_sector(&disk) {
        settings.disk.insert(0, disk);
    } else {
        return Err(Failure::usage(
            format!(
                "{} is neither an ISO image nor a disk that boots",
                medium.display()
            ),
            "name settings by a file that ends in .toml, a kernel with --kernel, other disks with --disk",
        ));
    }
    Ok(())
}

/// Identifier of a CD's volume descriptor: in sector 16, behind its type (ECMA-119, 8.1).
const ISO_9660: (u64, [u8; 5]) = (16 * CD_SECTOR + 1, *b"CD001");
/// The same of a CD that has UDF alone (ECMA-167, 2/9.2).
const UDF: (u64, [u8; 5]) = (16 * CD_SECTOR + 1, *b"BEA01");
/// Signature of a boot sector.
const BOOT_SECTOR: (u64, [u8; 2]) = (510, [0x55, 0xaa]);

/// Whether a file has these bytes there.
fn holds<const N: usize>(file: &File, at: u64, wanted: &[u8; N]) -> bool {
    use std::os::unix::fs::FileExt;
    let mut found = [0; N];
    file.read_exact_at(&mut found, at).is_ok() && found == *wanted
}

/// Whether a disk begins with a sector that a PC would boot. A file that cannot be opened has none; one whose format
/// is broken may have: what is wrong with it is told when it is opened for good.
pub(super) fn has_boot_sector(disk: &DiskArgument) -> bool {
    if disk.vhost_user.is_some() {
        return false;
    }
    let Ok(file) = image::open_plain(&disk.file) else {
        return false;
    };
    let format = disk
        .format
        .map_or_else(|| Format::of_name(&disk.file), Format::from);
    if format == Format::Raw {
        return holds(&file, BOOT_SECTOR.0, &BOOT_SECTOR.1);
    }
    let (at, signature) = BOOT_SECTOR;
    let mut found = [0; BOOT_SECTOR.1.len()];
    match disk::peek(&disk.file, format, at, &mut found) {
        Ok(()) => found == signature,
        Err(_) => true,
    }
}
