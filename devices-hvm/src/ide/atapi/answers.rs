//! What a CD-ROM drive says of itself and of its disc, as functions of what it is.

use super::packet::{Packet, address, msf};
use super::sense::Sense;

const VENDOR: &[u8; 8] = b"TRIVISOR";
const PRODUCT: &[u8; 16] = b"CD-ROM          ";
const REVISION: &[u8; 4] = b"1.0 ";

/// Profiles (MMC-2, table 78): a CD-ROM, and a DVD-ROM where the image is larger than a CD can be.
const PROFILE_CD: u16 = 0x0008;
const PROFILE_DVD: u16 = 0x0010;
/// Blocks of the largest CD.
const CD_BLOCKS: u32 = 80 * 60 * 75;

/// What an answer depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Blocks of the disc; 0: none.
    pub(super) blocks: u32,
    pub(super) tray_open: bool,
    pub(super) locked: bool,
}

/// INQUIRY (SFF-8020i, 10.8.1).
pub(super) fn inquiry(packet: Packet) -> Result<Vec<u8>, Sense> {
    // No page of vital product data.
    if packet.byte(1) & 1 != 0 || packet.byte(2) != 0 {
        return Err(Sense::INVALID_FIELD);
    }
    // A CD-ROM; removable; no version of the SCSI standard; ATAPI version 2, format 1; 31 bytes follow.
    let head = [0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0];
    Ok([&head[..], VENDOR, PRODUCT, REVISION].concat())
}

/// READ TOC/PMA/ATIP (MMC-2, 6.1.22): one session with one track of data.
pub(super) fn toc(packet: Packet, blocks: u32) -> Result<Vec<u8>, Sense> {
    let time = packet.byte(1) & 2 != 0;
    // SFF-8020i has the format in the upper bits of the control byte.
    let format = match packet.byte(2) & 0xf {
        0 => packet.byte(9) >> 6,
        format => format,
    };
    let track = packet.byte(6);
    let mut data = Vec::new();
    match format {
        0 => {
            if track > 1 && track != 0xaa {
                return Err(Sense::INVALID_FIELD);
            }
            data.extend([1, 1]);
            if track <= 1 {
                data.extend([0, 0x14, 1, 0]);
                data.extend(address(0, time));
            }
            data.extend([0, 0x16, 0xaa, 0]);
            data.extend(address(blocks, time));
        }
        1 => {
            data.extend([1, 1, 0, 0x14, 1, 0]);
            data.extend(address(0, time));
        }
        2 => {
            data.extend([1, 1]);
            let mut point = |control: u8, point: u8, place: [u8; 3]| {
                data.extend([1, control, 0, point, 0, 0, 0, 0]);
                data.extend(place);
            };
            point(0x14, 0xa0, [1, 0, 0]); // the first track
            point(0x14, 0xa1, [1, 0, 0]); // the last
            point(0x14, 0xa2, msf(blocks)); // the lead-out
            point(0x14, 0x01, msf(0));
        }
        _ => return Err(Sense::INVALID_FIELD),
    }
    Ok(with_length(&data))
}

/// A length of two bytes, and what it counts.
fn with_length(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], data].concat()
}

/// The mode pages that `page` names, `0x3f` for all; `None`: there is none such (MMC-2, 5.5).
pub(super) fn mode_pages(page: u8, changeable: bool, view: View) -> Option<Vec<u8>> {
    let recovery = [0x01, 6, 0, 5, 0, 0, 0, 0]; // five retries
    let audio = [0x0e, 14, 4, 0, 0, 0, 0, 75, 0, 0, 0, 0, 0, 0, 0, 0];
    let [high, low] = SPEED.to_be_bytes();
    // It reads CD-R, CD-RW and method 2, in mode 2 and in several sessions; a tray, locked or not, that opens by
    // command; its speed, its volume levels, its buffer of 512 KiB.
    let locks = 0x29 | u8::from(view.locked) << 1;
    let capabilities = [
        0x2a, 20, 0x07, 0, 0x70, 0, locks, 0, high, low, 0, 0, 2, 0, high, low, 0, 0, 0, 0, 0, 0,
    ];
    let mut pages = Vec::new();
    let all: [&[u8]; 3] = [&recovery, &audio, &capabilities];
    for data in all {
        let [code, len, rest @ ..] = data else {
            continue;
        };
        if page == *code || page == 0x3f {
            pages.extend([*code, *len]);
            if changeable {
                pages.extend(rest.iter().map(|_| 0));
            } else {
                pages.extend(rest);
            }
        }
    }
    (!pages.is_empty()).then_some(pages)
}

/// KB a second: 176 are simple speed.
const SPEED: u16 = 706;

/// MODE SENSE(6) and (10).
pub(super) fn mode_sense(packet: Packet, ten: bool, view: View) -> Result<Vec<u8>, Sense> {
    let (page, control) = (packet.byte(2) & 0x3f, packet.byte(2) >> 6);
    if control == 3 {
        return Err(Sense::NO_SAVED_PAGES);
    }
    let pages = mode_pages(page, control == 1, view).ok_or(Sense::INVALID_FIELD)?;
    // The medium's type: a disc of data, no disc, an open door.
    let medium = match view {
        View {
            tray_open: true, ..
        } => 0x71,
        View { blocks: 0, .. } => 0x70,
        View { .. } => 0x01,
    };
    if ten {
        let len = u16::try_from(pages.len() + 6).unwrap_or(u16::MAX);
        let [high, low] = len.to_be_bytes();
        Ok([&[high, low, medium, 0, 0, 0, 0, 0][..], &pages].concat())
    } else {
        let len = u8::try_from(pages.len() + 3).unwrap_or(u8::MAX);
        Ok([&[len, medium, 0, 0][..], &pages].concat())
    }
}

/// GET CONFIGURATION (MMC-2, 6.1.4).
pub(super) fn configuration(packet: Packet, view: View) -> Result<Vec<u8>, Sense> {
    let (kind, first) = (packet.byte(1) & 3, packet.u16(2));
    if kind == 3 {
        return Err(Sense::INVALID_FIELD);
    }
    let profile = match view.blocks {
        0 => 0,
        blocks if blocks > CD_BLOCKS => PROFILE_DVD,
        _ => PROFILE_CD,
    };
    let current = |own| u8::from(profile == own);
    let [dvd, cd] = [PROFILE_DVD, PROFILE_CD].map(u16::to_be_bytes);
    let features: [(u16, Vec<u8>); 3] = [
        (
            0x0000, // profiles
            vec![
                0x03,
                8,
                dvd[0],
                dvd[1],
                current(PROFILE_DVD),
                0,
                cd[0],
                cd[1],
                current(PROFILE_CD),
                0,
            ],
        ),
        (0x0001, vec![0x03, 4, 0, 0, 0, 2]),    // core: ATAPI
        (0x0003, vec![0x03, 4, 0x29, 0, 0, 0]), // a tray that locks and opens
    ];
    let mut data = vec![0, 0];
    data.extend(profile.to_be_bytes());
    for (number, feature) in features {
        let wanted = match kind {
            0 | 1 => number >= first,
            _ => number == first,
        };
        if wanted {
            data.extend(number.to_be_bytes());
            data.extend(feature);
        }
    }
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    Ok([&len.to_be_bytes()[..], &data].concat())
}

/// GET EVENT STATUS NOTIFICATION (MMC-2, 6.1.5), asked for a medium's events or for none that there are.
pub(super) fn event_status(packet: Packet, event: u8, view: View) -> Result<Vec<u8>, Sense> {
    const MEDIA: u8 = 4;
    if packet.byte(1) & 1 == 0 {
        return Err(Sense::INVALID_FIELD); // it answers at once, or not at all
    }
    if packet.byte(4) & 1 << MEDIA == 0 {
        return Ok(vec![0, 0, 0x80, 1 << MEDIA]);
    }
    let status = u8::from(view.tray_open) | u8::from(view.blocks > 0) << 1;
    Ok(vec![0, 4, MEDIA, 1 << MEDIA, event, status, 0, 0])
}

/// MECHANISM STATUS (SFF-8020i, 10.8.5).
pub(super) fn mechanism_status(view: View) -> Vec<u8> {
    vec![0, u8::from(view.tray_open) << 4, 0, 0, 0, 1, 0, 0]
}

/// READ DISC INFORMATION (MMC-2, 6.1.16): a disc that is complete.
pub(super) fn disc_information() -> Vec<u8> {
    [&[0, 32, 0x0e, 1, 1, 1, 1, 0x20][..], &[0; 26]].concat()
}

/// READ TRACK INFORMATION (MMC-2, 6.1.23), of a track's number, or of a block.
pub(super) fn track_information(packet: Packet, blocks: u32) -> Result<Vec<u8>, Sense> {
    let place = packet.u32(2);
    match packet.byte(1) & 3 {
        0 if place < blocks => {}
        1 if place == 1 => {}
        2 if place == 1 => {} // a session has its first track
        0 => return Err(Sense::NO_SUCH_BLOCK),
        _ => return Err(Sense::INVALID_FIELD),
    }
    let head = [0, 26, 1, 1, 0, 0x04, 0x01, 0];
    Ok([&head[..], &[0; 16], &blocks.to_be_bytes()].concat())
}

/// READ SUBCHANNEL (SFF-8020i, 10.8.17): no audio plays.
pub(super) fn subchannel(packet: Packet) -> Result<Vec<u8>, Sense> {
    let time = packet.byte(1) & 2 != 0;
    if packet.byte(2) & 0x40 == 0 {
        return Ok(vec![0, 0x15, 0, 0]);
    }
    match packet.byte(3) {
        1 => {
            let mut data = vec![0, 0x15, 0, 12, 1, 0x14, 1, 1];
            data.extend(address(0, time));
            data.extend(address(0, time));
            Ok(data)
        }
        format @ 2..=3 => {
            let head = [0, 0x15, 0, 20, format, 0x14];
            Ok([&head[..], &[0; 18]].concat())
        }
        _ => Err(Sense::INVALID_FIELD),
    }
}
