use std::io::Write;

use trivisor_buses::testing::{MemoryStorage, TestHost};
use trivisor_buses::{Dma, Fitted, MachineEvent, Responder};
use trivisor_memory::GuestRam;

use super::*;

fn firmware(size: usize) -> Arc<FileMapping> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![0xf4; size]).unwrap();
    Arc::new(FileMapping::new(file, true).unwrap())
}

fn board(firmware: Option<Arc<FileMapping>>) -> HvmBoard {
    HvmBoard {
        cpus: 2,
        ram: RamLayout::new(64 << 20).unwrap(),
        firmware,
        boot: vec![BootDevice::Disk],
        files: vec![("etc/x".into(), b"y".to_vec())],
        serial: None,
        debug_console: None,
        debug_exit: Some(0xf4),
        drives: Default::default(),
        floppies: Default::default(),
        cards: Vec::new(),
    }
}

fn fit(board: HvmBoard) -> (Arc<TestHost>, Fitted) {
    let host = TestHost::new();
    let mut slots = Slots::new(host.as_host());
    board.fit(&mut slots).unwrap();
    (host, slots.finish())
}

fn config_write(fitted: &Fitted, address: u32, data: &[u8]) {
    let mut ports = fitted.ports.view();
    ports.write(0xcf8, &(0x8000_0000 | address & !3).to_le_bytes());
    ports.write(u64::from(0xcfc + (address & 3)), data);
}

fn config_read(fitted: &Fitted, address: u32) -> u32 {
    let mut ports = fitted.ports.view();
    ports.write(0xcf8, &(0x8000_0000 | address).to_le_bytes());
    let mut data = [0; 4];
    ports.read(0xcfc, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn ports_are_those_of_the_map() {
    let (_, fitted) = fit(board(Some(firmware(0x2_0000))));
    let ports: Vec<_> = fitted.ports.list();
    let expected = [
        (0x00, 0x0f, "dma"),
        (0x60, 0x64, "i8042"),
        (0x70, 0x71, "rtc"),
        (0x80, 0x8f, "dma"),
        (0xb2, 0xb3, "apm"),
        (0xc0, 0xdf, "dma"),
        (0xf4, 0xf7, "debug-exit"),
        (0x170, 0x177, "ide-command"),
        (0x1f0, 0x1f7, "ide-command"),
        (0x376, 0x376, "ide-control"),
        (0x3f6, 0x3f6, "ide-control"),
        (0x3f8, 0x3ff, "uart"),
        (0x505, 0x505, "pvpanic"),
        (0x510, 0x51b, "fw-cfg"),
        (0xcf8, 0xcff, "pci-config"),
        (0xafe0, 0xafe3, "gpe0"),
    ];
    assert_eq!(ports, expected);
    assert_eq!(fitted.mmio.list(), [(0xc_0000, 0xf_ffff, "i440fx-shadow")]);
    assert_eq!(config_read(&fitted, 0x0000), 0x1237_8086);
    assert_eq!(config_read(&fitted, 0x002c), 0x1100_1af4);
    assert_eq!(config_read(&fitted, 0x0800), 0x7000_8086);
    assert_eq!(config_read(&fitted, 0x0b00), 0x7113_8086);
    assert_eq!(config_read(&fitted, 0x1000), u32::MAX);
}

struct Nowhere;

impl CharOutput for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

#[test]
fn writes_are_posted_where_no_chip_acts_at_once() {
    let index = Posted::Ports {
        first: map::RTC,
        count: 1,
    };
    let mut board = board(Some(firmware(0x2_0000)));
    let memory = Arc::new(FileMapping::zeroed(crate::vga::MEMORY_SIZE).unwrap());
    board.cards = vec![Box::new(crate::vga::VgaCard(memory))];
    board.debug_console = Some(Box::new(Nowhere));
    let (_, fitted) = fit(board);
    let window = Posted::Memory {
        address: 0xa_0000,
        size: 0x2_0000,
    };
    assert!(fitted.posted.contains(&window) && fitted.posted.contains(&index));
    // A reset, a screen's mode that clears memory, and words of a console that is there come at once.
    for port in [0xcf8, 0xcf9, 0x1ce, 0x1cf, 0x402, 0x3f8, 0x71] {
        let posted = fitted.posted.iter().any(|posted| match *posted {
            Posted::Ports { first, count } => (first..first + count).contains(&port),
            Posted::Memory { .. } => false,
        });
        assert!(!posted, "{port:#x}");
    }
}

#[test]
fn firmware_shows_at_both_ends() {
    for (size, low, offset, shown) in [
        (0x1_0000, 0xf_0000, 0, 0x1_0000),
        (0x2_0000, 0xe_0000, 0, 0x2_0000),
        (0x4_0000, 0xe_0000, 0x2_0000, 0x2_0000),
    ] {
        let (_, fitted) = fit(board(Some(firmware(size))));
        let end = fitted.mapped[0].address + fitted.mapped[0].mapping.size();
        assert_eq!(end, 1 << 32);
        let alias = &fitted.aliases[0];
        assert_eq!(
            (alias.address, alias.offset, alias.size),
            (low, offset, shown)
        );
    }
    for size in [0x1000, 0x1_1000, (16 << 20) + 0x1_0000] {
        let host = TestHost::new();
        let refused = board(Some(firmware(size))).fit(&mut Slots::new(host.as_host()));
        let Err(FitError::Chip { chip, reason }) = refused else {
            panic!("{size:#x} bytes were taken");
        };
        assert_eq!(chip, "firmware");
        assert!(
            reason.to_string().contains("no firmware of a PC"),
            "{reason}"
        );
    }
}

#[test]
fn firmware_moves_power_management_and_switches_memory() {
    let (host, fitted) = fit(board(Some(firmware(0x2_0000))));
    host.shadows.take();
    config_write(&fitted, 0x0b40, &[0x01, 0x06]);
    config_write(&fitted, 0x0b80, &[1]);
    let answers = |fitted: &Fitted| {
        fitted
            .ports
            .list()
            .contains(&(0x600, 0x63f, "piix4-pm-block"))
    };
    assert!(answers(&fitted));
    fitted.ports.view().write(0x605, &[0x20]);
    assert_eq!(host.events.take(), [MachineEvent::PowerOff]);
    // Onto the serial port: they answer nowhere, and come back.
    config_write(&fitted, 0x0b40, &[0xc1, 0x03]);
    assert!(!answers(&fitted));
    config_write(&fitted, 0x0b40, &[0x01, 0x06]);
    assert!(answers(&fitted));

    config_write(&fitted, 0x005a, &[0x33]);
    let runs = host.shadows.take().pop().unwrap();
    assert_eq!((runs[0].start, runs[0].size), (0xc_0000, 0x8000));
    assert_eq!(
        (runs[0].read, runs[0].write),
        (Responder::Ram, Responder::Ram)
    );

    // The reset control stands within the ports of PCI's configuration space.
    fitted.ports.view().write(0xcf9, &[0x06]);
    assert_eq!(host.events.take(), [MachineEvent::Reset]);
}

#[test]
fn without_firmware_the_board_does_its_work() {
    let (host, fitted) = fit(board(None));
    let runs = host.shadows.take().pop().unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(
        (runs[0].read, runs[0].write),
        (Responder::Ram, Responder::Ram)
    );
    assert!(
        fitted
            .ports
            .list()
            .contains(&(0x600, 0x63f, "piix4-pm-block"))
    );
    assert_eq!(config_read(&fitted, 0x0860), 0x0b0b_0a0a);
}

#[test]
fn hands_raise_the_interrupts_of_keyboard_and_mouse() {
    let (host, fitted) = fit(board(None));
    let mut ports = fitted.ports.view();
    for (port, value) in [(0x64, 0x60), (0x60, 0x43), (0x64, 0xd4), (0x60, 0xf4)] {
        ports.write(port, &[value]);
    }
    ports.read(0x60, &mut [0]);
    host.pins.take();
    assert!(fitted.keyboard.as_ref().unwrap().key(30, true));
    assert_eq!(host.pins.take(), [(1, true)]);
    let mut byte = [0];
    ports.read(0x60, &mut byte);
    assert_eq!((byte, host.pins.take()), ([0x1e], vec![(1, false)]));
    let motion = trivisor_buses::Motion {
        x: 1,
        ..Default::default()
    };
    assert!(fitted.pointer.as_ref().unwrap().report(motion));
    assert_eq!(host.pins.take(), [(12, true)]);
}

/// A disk of the host's memory, on a cable or in a drive.
struct Plug(u32);

impl DrivePlug for Plug {
    fn name(&self) -> &'static str {
        "test-disk"
    }

    fn make(self: Box<Self>, ram: &GuestRam) -> std::io::Result<MadeDrive> {
        let disk = Box::new(MemoryStorage::new(ram.clone(), self.0));
        Ok(MadeDrive {
            drive: DriveConfig::Disk(DiskConfig::default(), disk),
            sources: Vec::new(),
        })
    }
}

impl FloppyPlug for Plug {
    fn make(self: Box<Self>, ram: &GuestRam) -> std::io::Result<MadeFloppy> {
        let disk = MemoryStorage::new(ram.clone(), self.0);
        disk.put(512, &[0xa5; 512]);
        Ok(MadeFloppy {
            disk: Box::new(disk),
            sources: Vec::new(),
        })
    }
}

/// A board with a disk on each cable and in drive A.
fn full() -> HvmBoard {
    let disk = || Some(Box::new(Plug(16)) as Box<dyn DrivePlug>);
    HvmBoard {
        drives: [[disk(), None], [None, disk()]],
        floppies: [Some(Box::new(Plug(2880))), None],
        ..board(None)
    }
}

#[test]
fn each_chip_interrupts_on_the_line_of_the_map() {
    let (host, fitted) = fit(full());
    let mut ports = fitted.ports.view();
    let mut raised = |writes: &[(u64, u8)]| {
        for (port, value) in writes {
            ports.write(*port, &[*value]);
        }
        let pins = host.pins.take();
        pins.iter()
            .filter(|(_, high)| *high)
            .map(|(pin, _)| *pin)
            .collect::<Vec<_>>()
    };
    // A transmitter that is empty; a reset that has ended; CHECK POWER MODE on both cables.
    assert_eq!(raised(&[(0x3fc, 0x08), (0x3f9, 0x02)]), [4]);
    assert_eq!(raised(&[(0x3f2, 0x0c)]), [6]);
    config_write(&fitted, 0x0904, &[5]);
    assert_eq!(raised(&[(0x1f6, 0xe0), (0x1f7, 0xe5)]), [14]);
    assert_eq!(raised(&[(0x176, 0xf0), (0x177, 0xe5)]), [15]);
    // The button; a second that has ended.
    assert_eq!(raised(&[(0xb2, 0xf1), (0x603, 0x01)]), []);
    fitted.power_button.as_ref().unwrap().press();
    assert_eq!(raised(&[]), [9]);
    assert_eq!(raised(&[(0x70, 0x0b), (0x71, 0x12)]), []);
    host.advance(std::time::Duration::from_secs(1));
    assert_eq!(raised(&[]), [8]);
}

#[test]
fn the_floppy_controller_has_its_channel_of_dma() {
    let (host, fitted) = fit(full());
    let mut ports = fitted.ports.view();
    // 512 bytes to 0x12000: channel 2, its page, a single transfer to memory.
    for (port, value) in [
        (0x0c, 0),
        (0x04, 0x00),
        (0x04, 0x20),
        (0x05, 0xff),
        (0x05, 0x01),
        (0x81, 1),
        (0x0b, 0x46),
        (0x0a, 2),
        (0x3f2, 0x1c),
        (0x3f7, 0),
    ] {
        ports.write(port, &[value]);
    }
    for byte in [0xe6, 0, 0, 0, 2, 2, 18, 0x1b, 0xff] {
        ports.write(0x3f5, &[byte]);
    }
    let mut data = [0; 513];
    host.memory.read(0x1_2000, &mut data).unwrap();
    assert_eq!(data[..512], [0xa5; 512]);
    assert_eq!(data[512], 0);
}

#[test]
fn firmware_is_told_by_key() {
    let (_, fitted) = fit(board(None));
    let mut ports = fitted.ports.view();
    for (key, wanted) in [
        (0x0003_u16, &(64_u64 << 20).to_le_bytes()[..]),
        (0x0004, &[0, 0]),
        (0x0005, &[2, 0]),
        (0x000e, &[0, 0]),
        (0x000f, &[2, 0]),
        (0x8002, &[1]),
        // Six files that each board has, and the caller's one.
        (0x0019, &[0, 0, 0, 7]),
    ] {
        ports.write(0x510, &key.to_le_bytes());
        let found: Vec<u8> = wanted
            .iter()
            .map(|_| {
                let mut byte = [0];
                ports.read(0x511, &mut byte);
                byte[0]
            })
            .collect();
        assert_eq!(found, wanted, "{key:#x}");
    }
}

#[test]
fn a_host_without_interrupt_controllers_is_refused() {
    let host = trivisor_buses::Host {
        pins: None,
        ..TestHost::new().as_host()
    };
    let refused = board(None).fit(&mut Slots::new(host)).unwrap_err();
    assert!(
        matches!(
            refused,
            FitError::Chip {
                chip: "interrupts",
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn firmware_learns_of_ram_and_files() {
    assert_eq!(tables::e820(RamLayout::new(64 << 20).unwrap()).len(), 20);
    let table = tables::e820(RamLayout::new(4 << 30).unwrap());
    assert_eq!(&table[20..28], &(1_u64 << 32).to_le_bytes());
    assert_eq!(&table[28..36], &(1_u64 << 30).to_le_bytes());
    let taken = [("etc/e820".into(), Vec::new())];
    let ram = RamLayout::new(64 << 20).unwrap();
    let tables = acpi::pc::build(&tables::platform(1, &dsdt::aml(ram, [None; 2])));
    let items = tables::items(ram, 1, &taken, &tables);
    assert!(matches!(items, Err(fw_cfg::FileError::Twice { .. })));
}
