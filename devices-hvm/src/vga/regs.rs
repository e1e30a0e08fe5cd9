//! Registers of the VGA (FreeVGA: VGA/SVGA Video Programming Information Guide) and of the Bochs display interface.

use bitfield_struct::bitfield;

/// I/O ports.
pub mod port {
    /// CRTC index, monochrome.
    pub const CRTC_INDEX_MONO: u16 = 0x3b4;
    /// CRTC data, monochrome.
    pub const CRTC_DATA_MONO: u16 = 0x3b5;
    /// Input status 1 (read) and feature control (write), monochrome.
    pub const STATUS1_MONO: u16 = 0x3ba;
    /// Attribute index, and data by turns.
    pub const ATTRIBUTE: u16 = 0x3c0;
    /// Attribute data (read).
    pub const ATTRIBUTE_DATA: u16 = 0x3c1;
    /// Input status 0 (read) and miscellaneous output (write).
    pub const STATUS0_MISC: u16 = 0x3c2;
    /// Sequencer index.
    pub const SEQUENCER_INDEX: u16 = 0x3c4;
    /// Sequencer data.
    pub const SEQUENCER_DATA: u16 = 0x3c5;
    /// DAC mask.
    pub const DAC_MASK: u16 = 0x3c6;
    /// DAC state (read) and read address (write).
    pub const DAC_READ: u16 = 0x3c7;
    /// DAC write address.
    pub const DAC_WRITE: u16 = 0x3c8;
    /// DAC data.
    pub const DAC_DATA: u16 = 0x3c9;
    /// Feature control (read).
    pub const FEATURE: u16 = 0x3ca;
    /// Miscellaneous output (read).
    pub const MISC: u16 = 0x3cc;
    /// Graphics index.
    pub const GRAPHICS_INDEX: u16 = 0x3ce;
    /// Graphics data.
    pub const GRAPHICS_DATA: u16 = 0x3cf;
    /// CRTC index, colour.
    pub const CRTC_INDEX: u16 = 0x3d4;
    /// CRTC data, colour.
    pub const CRTC_DATA: u16 = 0x3d5;
    /// Input status 1 (read) and feature control (write), colour.
    pub const STATUS1: u16 = 0x3da;
    /// Index of the Bochs display interface.
    pub const DISPI_INDEX: u16 = 0x1ce;
    /// Its data.
    pub const DISPI_DATA: u16 = 0x1cf;
    /// Its data, aligned.
    pub const DISPI_DATA_ALIGNED: u16 = 0x1d0;
}

/// Sequencer registers.
pub mod seq {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// Reset.
    pub const RESET: usize = 0;
    /// Clocking mode.
    pub const CLOCKING: usize = 1;
    /// Map mask.
    pub const MAP_MASK: usize = 2;
    /// Character map select.
    pub const FONTS: usize = 3;
    /// Memory mode.
    pub const MEMORY: usize = 4;
    /// The bits that exist.
    pub const MASKS: [u8; COUNT] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
}

/// Graphics controller registers.
pub mod gfx {
    /// How many there are.
    pub const COUNT: usize = 9;
    /// Set/reset.
    pub const SET_RESET: usize = 0;
    /// Enable set/reset.
    pub const ENABLE_SET_RESET: usize = 1;
    /// Colour compare.
    pub const COMPARE: usize = 2;
    /// Data rotate: count in bits 2:0, operation in bits 4:3.
    pub const ROTATE: usize = 3;
    /// Read map select.
    pub const READ_MAP: usize = 4;
    /// Mode.
    pub const MODE: usize = 5;
    /// Miscellaneous.
    pub const MISC: usize = 6;
    /// Colour don't care; a set bit cares.
    pub const CARE: usize = 7;
    /// Bit mask.
    pub const BIT_MASK: usize = 8;
    /// The bits that exist.
    pub const MASKS: [u8; COUNT] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
}

/// Attribute controller registers; the first 16 are the palette.
pub mod attr {
    /// How many there are.
    pub const COUNT: usize = 21;
    /// Attribute mode control.
    pub const MODE: usize = 0x10;
    /// Overscan colour.
    pub const OVERSCAN: usize = 0x11;
    /// Colour plane enable.
    pub const PLANES: usize = 0x12;
    /// Horizontal pixel panning.
    pub const PANNING: usize = 0x13;
    /// Colour select.
    pub const COLOUR: usize = 0x14;

    /// The bits that exist.
    #[must_use]
    pub const fn mask(index: usize) -> u8 {
        match index {
            0..=0x0f | PLANES => 0x3f,
            MODE => 0xef,
            OVERSCAN => 0xff,
            _ => 0x0f,
        }
    }
}

/// CRTC registers.
pub mod crtc {
    /// How many there are.
    pub const COUNT: usize = 25;
    /// Horizontal display end: characters of a row, less 1.
    pub const H_DISPLAY: usize = 0x01;
    /// Vertical total, bits 7:0.
    pub const V_TOTAL: usize = 0x06;
    /// Overflow.
    pub const OVERFLOW: usize = 0x07;
    /// Preset row scan.
    pub const PRESET: usize = 0x08;
    /// Maximum scan line.
    pub const MAX_SCAN: usize = 0x09;
    /// Cursor start; bit 5: off.
    pub const CURSOR_START: usize = 0x0a;
    /// Cursor end.
    pub const CURSOR_END: usize = 0x0b;
    /// Start address, bits 15:8.
    pub const START_HIGH: usize = 0x0c;
    /// Start address, bits 7:0.
    pub const START_LOW: usize = 0x0d;
    /// Cursor location, bits 15:8.
    pub const CURSOR_HIGH: usize = 0x0e;
    /// Cursor location, bits 7:0.
    pub const CURSOR_LOW: usize = 0x0f;
    /// Vertical retrace start, bits 7:0.
    pub const V_RETRACE: usize = 0x10;
    /// Vertical retrace end; bit 7 protects registers 0 to 7.
    pub const V_RETRACE_END: usize = 0x11;
    /// Vertical display end, bits 7:0.
    pub const V_DISPLAY: usize = 0x12;
    /// Offset: half the characters of a row.
    pub const OFFSET: usize = 0x13;
    /// Underline location.
    pub const UNDERLINE: usize = 0x14;
    /// Mode control.
    pub const MODE: usize = 0x17;
    /// Line compare, bits 7:0.
    pub const LINE_COMPARE: usize = 0x18;
}

/// Miscellaneous output: 0x3c2 (write), 0x3cc (read), reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Misc {
    /// I/OAS: the CRTC answers at 0x3d4, not at 0x3b4.
    pub colour: bool,
    /// RAM En.: the processor reaches display memory.
    pub ram_enable: bool,
    #[bits(2)]
    pub clock: u8,
    __: bool,
    /// O/E Page: 1 is the low 64 KiB in odd/even modes.
    pub low_page: bool,
    #[bits(2)]
    pub polarity: u8,
}

/// Sequencer memory mode: index 4.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct MemoryMode {
    __: bool,
    /// Ext. Mem: kept, there always are 256 KiB.
    pub extended: bool,
    /// O/E Dis.: addresses go to all planes.
    pub sequential: bool,
    /// Chain 4: the low two bits of an address select the plane.
    pub chain4: bool,
    #[bits(4)]
    __: u8,
}

/// Graphics mode: index 5.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct GraphicsMode {
    /// Write mode.
    #[bits(2)]
    pub write_mode: u8,
    __: bool,
    /// Read mode 1: colour compare.
    pub compare: bool,
    /// Host O/E: reads are odd/even.
    pub odd_even: bool,
    /// Shift Reg.: two bits a pixel.
    pub interleave: bool,
    /// Shift256: eight bits a pixel.
    pub shift256: bool,
    __: bool,
}

/// Graphics miscellaneous: index 6.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct GraphicsMisc {
    /// Alpha Dis.: graphics, not text.
    pub graphics: bool,
    /// Chain O/E: bit 0 of an address selects the plane alone.
    pub chain_odd_even: bool,
    /// Which addresses answer.
    #[bits(2)]
    pub map: u8,
    #[bits(4)]
    __: u8,
}

/// Attribute mode control: index 0x10.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct AttributeMode {
    /// ATGE: graphics.
    pub graphics: bool,
    /// MONO.
    pub mono: bool,
    /// LGE: the ninth dot of line graphics is the eighth.
    pub line_graphics: bool,
    /// BLINK: bit 7 of an attribute blinks.
    pub blink: bool,
    __: bool,
    /// PPM: what is below the line compare does not pan.
    pub split_stands: bool,
    /// 8BIT: eight bits a pixel.
    pub wide: bool,
    /// P54S: palette bits 5:4 come from the colour select register.
    pub select_54: bool,
}

/// CRTC overflow: index 7.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Overflow {
    pub v_total_8: bool,
    pub v_display_8: bool,
    pub v_retrace_8: bool,
    pub v_blank_8: bool,
    pub line_compare_8: bool,
    pub v_total_9: bool,
    pub v_display_9: bool,
    pub v_retrace_9: bool,
}

/// CRTC maximum scan line: index 9.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct MaxScan {
    /// Scan lines of a character row, less 1.
    #[bits(5)]
    pub lines: u8,
    pub v_blank_9: bool,
    pub line_compare_9: bool,
    /// SD: each line twice.
    pub double: bool,
}

/// CRTC mode control: index 0x17.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct CrtcMode {
    /// MAP13: 0 takes address bit 13 from the row scan counter.
    pub map13: bool,
    /// MAP14: 0 takes address bit 14 from the row scan counter.
    pub map14: bool,
    pub half_lines: bool,
    pub half_address: bool,
    __: bool,
    /// AW: which counter bit becomes address bit 0 in word mode.
    pub wrap: bool,
    /// Word/Byte: 1 is byte mode.
    pub byte: bool,
    /// SE: retrace runs.
    pub enable: bool,
}

/// CRTC underline location: index 0x14.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Underline {
    /// Row scan of the underline.
    #[bits(5)]
    pub row: u8,
    pub count_by_4: bool,
    /// DW: double word addresses.
    pub double_word: bool,
    __: bool,
}

/// Input status 1: reading it also resets the attribute controller's flip-flop.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Status1 {
    /// DD: horizontal or vertical retrace.
    pub display_disabled: bool,
    #[bits(2)]
    __: u8,
    /// VRetrace.
    pub v_retrace: bool,
    #[bits(4)]
    __: u8,
}

/// Registers of the Bochs display interface (VBE DISPI), 16 bits each.
pub mod dispi {
    /// Identification.
    pub const ID: u16 = 0;
    /// Width in pixels.
    pub const XRES: u16 = 1;
    /// Height in pixels.
    pub const YRES: u16 = 2;
    /// Bits a pixel.
    pub const BPP: u16 = 3;
    /// Enable.
    pub const ENABLE: u16 = 4;
    /// 64 KiB bank that shows at 0xa0000.
    pub const BANK: u16 = 5;
    /// Width of the virtual screen.
    pub const VIRT_WIDTH: u16 = 6;
    /// Height of the virtual screen (read).
    pub const VIRT_HEIGHT: u16 = 7;
    /// First pixel that shows.
    pub const X_OFFSET: u16 = 8;
    /// First line that shows.
    pub const Y_OFFSET: u16 = 9;
    /// Display memory in 64 KiB (read).
    pub const MEMORY: u16 = 10;
    /// The interface's version, with 32 bits a pixel and the register [`MEMORY`].
    pub const ID5: u16 = 0xb0c5;
    /// The first version.
    pub const ID0: u16 = 0xb0c0;
}

/// DISPI enable: index 4.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct DispiEnable {
    /// The mode of XRES, YRES and BPP is on.
    pub enabled: bool,
    /// GETCAPS: XRES, YRES and BPP read as the most that there is.
    pub capabilities: bool,
    #[bits(3)]
    __: u8,
    /// 8BIT_DAC.
    pub wide_dac: bool,
    /// LFB_ENABLED: kept, the linear frame buffer always answers.
    pub linear: bool,
    /// NOCLEARMEM.
    pub keep_memory: bool,
    __: u8,
}
