mod dispi;
mod hostile;
mod modes;
mod planes;
mod registers;
mod state;
mod text;

use trivisor_buses::PortDevice;
use trivisor_buses::testing::TestHost;

use super::*;

/// A VGA with 1 MiB of display memory.
fn vga() -> (Vga, Arc<TestHost>) {
    with_memory(1 << 20)
}

fn with_memory(size: u64) -> (Vga, Arc<TestHost>) {
    let host = TestHost::new();
    let memory = Arc::new(FileMapping::zeroed(size).unwrap());
    (Vga::new(memory, host.clone(), host.clone()).unwrap(), host)
}

/// The ports by their numbers, for scripts.
struct Ports<'a>(&'a mut Vga);

impl PortDevice for Ports<'_> {
    fn read(&mut self, port: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        *byte = self.0.port_read(port)?;
        Ok(())
    }

    fn write(&mut self, port: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        self.0.port_write(port, *byte)
    }
}

fn out(vga: &mut Vga, port: u16, value: u8) {
    vga.port_write(port, value).unwrap();
}

fn inb(vga: &mut Vga, port: u16) -> u8 {
    vga.port_read(port).unwrap()
}

/// Sets a register behind an index.
fn set(vga: &mut Vga, port: u16, index: u8, value: u8) {
    out(vga, port, index);
    out(vga, port + 1, value);
}

/// Writes from guest-physical `address` in the window on.
fn poke(vga: &mut Vga, address: u64, bytes: &[u8]) {
    for (at, byte) in (address - WINDOW..).zip(bytes) {
        vga.chip.write_memory(at, *byte, &vga.memory);
    }
}

fn peek(vga: &mut Vga, address: u64) -> u8 {
    vga.chip.read_memory(address - WINDOW, &vga.memory)
}

/// A mode, as tables of BIOSes have them: the sequencer's registers from 1 on.
struct Mode {
    misc: u8,
    seq: [u8; 4],
    crtc: [u8; 25],
    attr: [u8; 20],
    gfx: [u8; 9],
}

const TEXT: Mode = Mode {
    misc: 0x67,
    seq: [0x00, 0x03, 0x00, 0x02],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00,
        0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
    ],
    attr: [
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e,
        0x3f, 0x0c, 0x00, 0x0f, 0x08,
    ],
    gfx: [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff],
};

const MODE_4: Mode = Mode {
    misc: 0x63,
    seq: [0x09, 0x03, 0x00, 0x02],
    crtc: [
        0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff,
    ],
    attr: [
        0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
        0x17, 0x01, 0x00, 0x03, 0x00,
    ],
    gfx: [0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x0f, 0xff],
};

const MODE_D: Mode = Mode {
    misc: 0x63,
    seq: [0x09, 0x0f, 0x00, 0x06],
    crtc: [
        0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xe3, 0xff,
    ],
    attr: [
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
        0x17, 0x01, 0x00, 0x0f, 0x00,
    ],
    gfx: [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff],
};

const MODE_12: Mode = Mode {
    misc: 0xe3,
    seq: [0x01, 0x0f, 0x00, 0x06],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff,
    ],
    attr: TEXT_PALETTE,
    gfx: [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff],
};

const TEXT_PALETTE: [u8; 20] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f,
    0x01, 0x00, 0x0f, 0x00,
];

const MODE_13: Mode = Mode {
    misc: 0x63,
    seq: [0x01, 0x0f, 0x00, 0x0e],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff,
    ],
    attr: [
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e,
        0x0f, 0x41, 0x00, 0x0f, 0x00,
    ],
    gfx: [0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff],
};

/// Sets a mode in the order of a BIOS.
fn set_mode(vga: &mut Vga, mode: &Mode) {
    out(vga, 0x3c2, mode.misc);
    inb(vga, 0x3da);
    for (index, value) in (0..).zip(mode.attr) {
        out(vga, 0x3c0, index);
        out(vga, 0x3c0, value);
    }
    out(vga, 0x3c0, 0x14);
    out(vga, 0x3c0, 0x00);
    set(vga, 0x3c4, 0, 3);
    for (index, value) in (1..).zip(mode.seq) {
        set(vga, 0x3c4, index, value);
    }
    for (index, value) in (0..).zip(mode.gfx) {
        set(vga, 0x3ce, index, value);
    }
    set(vga, 0x3d4, 0x11, 0);
    for (index, value) in (0..).zip(mode.crtc) {
        set(vga, 0x3d4, index, value);
    }
    out(vga, 0x3c0, 0x20);
    inb(vga, 0x3da);
    out(vga, 0x3c6, 0xff);
    // Each colour tells its number.
    out(vga, 0x3c8, 0);
    for number in 0..=0xff_u8 {
        for part in [number & 0x3f, number >> 6, 0x3f] {
            out(vga, 0x3c9, part);
        }
    }
}

/// What [`set_mode`] has made of colour `number`.
fn colour(number: u8) -> [u8; 3] {
    let level = |part: u8| part << 2 | part >> 4;
    [level(number & 0x3f), level(number >> 6), 0xff]
}

/// A picture as it was drawn.
#[derive(Default)]
struct Frame {
    width: u32,
    rows: Vec<Vec<u8>>,
}

impl FrameSink for Frame {
    fn set_size(&mut self, width: u32, height: u32) {
        use trivisor_buses::screen::{MAX_HEIGHT, MAX_WIDTH};
        assert!((1..=MAX_WIDTH).contains(&width) && (1..=MAX_HEIGHT).contains(&height));
        self.width = width;
        self.rows = vec![Vec::new(); usize::try_from(height).unwrap()];
    }

    fn row(&mut self, y: u32, rgb: &[u8]) {
        assert_eq!(rgb.len(), usize::try_from(self.width).unwrap() * 3);
        self.rows[usize::try_from(y).unwrap()] = rgb.to_vec();
    }
}

impl Frame {
    fn of(vga: &Vga) -> Self {
        let mut frame = Self::default();
        look(vga, |view| view.render(&mut frame));
        assert!(frame.rows.iter().all(|row| !row.is_empty()));
        frame
    }

    fn size(&self) -> (usize, usize) {
        (usize::try_from(self.width).unwrap(), self.rows.len())
    }

    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.rows[y][x * 3..x * 3 + 3].try_into().unwrap()
    }
}

fn look<R>(vga: &Vga, with: impl FnOnce(View<'_>) -> R) -> R {
    let (chip, memory, frame) = vga.look();
    with(View {
        chip: &chip,
        memory: &memory,
        frame,
    })
}

/// Numbers that look random, the same ones each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 8) % end
    }
}
