//! Each packet of a CD-ROM drive.

use std::io::ErrorKind;

use super::*;

const NONE: (u8, [u8; 3]) = (0x50, [0, 0, 0]);

pub(super) fn check(key: u8, asc: u8, ascq: u8) -> (u8, [u8; 3]) {
    (0x41, [key, asc, ascq])
}

/// The answer to a packet that has to succeed.
pub(super) fn answer(rig: &mut Rig, packet: &[u8]) -> Vec<u8> {
    let data = rig.packet(packet, 0xfffe);
    assert_eq!((rig.get(0x1f2) & 3, rig.status()), (3, 0x50), "{packet:x?}");
    data
}

/// How a packet fails that has to.
pub(super) fn failure(rig: &mut Rig, packet: &[u8]) -> (u8, [u8; 3]) {
    assert_eq!(rig.packet(packet, 0xfffe), [], "{packet:x?}");
    assert_eq!(rig.get(0x1f2) & 3, 3);
    let error = rig.get(0x1f1);
    let sense = rig.sense();
    assert_eq!(error >> 4, sense.1[0]);
    sense
}

pub(super) fn request_sense(rig: &mut Rig) -> [u8; 3] {
    rig.sense().1
}

#[test]
fn it_is_a_packet_device() {
    let mut rig = Rig::new();
    rig.put(0x1f6, 0xb0);
    for code in [0xec, 0x20] {
        rig.command([9, 9, 9, 9, 0xb0], code);
        assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4));
        let signature = [0x1f2, 0x1f3, 0x1f4, 0x1f5].map(|port| rig.get(port));
        assert_eq!(signature, [1, 1, 0x14, 0xeb]);
    }
    rig.command([0, 0, 0, 0, 0xb0], 0xa1);
    let data = rig.read_words(256);
    let word = |at: usize| u16::from_le_bytes([data[at * 2], data[at * 2 + 1]]);
    assert_eq!(
        (word(0), word(49), word(82), word(88)),
        (0x85c0, 0x0b00, 0x0210, 0x203f)
    );
    assert_eq!(
        (
            rig.status(),
            data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte))
        ),
        (0x50, 0)
    );
    rig.put(0x1f1, 3);
    rig.command([0x21, 0, 0, 0, 0xb0], 0xef);
    assert_eq!(rig.status(), 0x50);
    rig.put(0x1f1, 2);
    rig.command([0x21, 0, 0, 0, 0xb0], 0xef);
    assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4));
    for code in [0xe0, 0xe1, 0xe2, 0xe3, 0xe5, 0xe6] {
        rig.command([0, 0, 0, 0, 0xb0], code);
        assert_eq!(rig.status(), 0x50);
    }
    for code in [0x00, 0x25, 0xb0, 0xca, 0xe7] {
        rig.command([0, 0, 0, 0, 0xb0], code);
        assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4), "{code:x}");
    }
    // Overlap is not there; DEVICE RESET is, also in mid-command.
    rig.send_packet(&[0], 0, 2);
    assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4));
    rig.put(0x1f1, 0);
    rig.command([0, 0, 0, 0, 0xb0], 0xa0);
    assert_eq!((rig.status(), rig.get(0x1f2) & 3), (0x58, 1));
    rig.put(0x1f7, 0x08);
    assert_eq!(
        (rig.status(), rig.get(0x1f5), rig.read_words(1)),
        (0, 0xeb, vec![0; 2])
    );
}

#[test]
fn answers_are_cut_to_what_was_asked_for() {
    let mut rig = Rig::new();
    let inquiry = answer(&mut rig, &[0x12, 0, 0, 0, 96]);
    assert_eq!(
        (inquiry.len(), &inquiry[..5]),
        (36, &[5, 0x80, 0, 0x21, 31][..])
    );
    assert_eq!(answer(&mut rig, &[0x12, 0, 0, 0, 5]), inquiry[..5]);
    assert_eq!(answer(&mut rig, &[0x12]), []);
    assert_eq!(failure(&mut rig, &[0x12, 1, 0, 0, 96]), check(5, 0x24, 0));
    assert_eq!(
        rig.packet(&[0x12, 0, 0, 0, 36], 11),
        inquiry,
        "in blocks of 10"
    );
    assert_eq!(rig.status(), 0x50);
    for limit in [0, 1] {
        rig.send_packet(&[0x12, 0, 0, 0, 36], limit, 0);
        assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4), "no room");
    }
    assert_eq!(answer(&mut rig, &[0x25]), [0, 0, 0, 255, 0, 0, 8, 0]);
    assert_eq!(
        answer(&mut rig, &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8]),
        [0, 0, 0, 0, 0, 1, 0, 0]
    );
    assert_eq!(
        answer(&mut rig, &[0x51, 0, 0, 0, 0, 0, 0, 0, 4]),
        [0, 32, 0x0e, 1]
    );
    let track = answer(&mut rig, &[0x52, 1, 0, 0, 0, 1, 0, 0, 28]);
    assert_eq!(
        (&track[..6], &track[24..]),
        (&[0, 26, 1, 1, 0, 4][..], &[0, 0, 1, 0][..])
    );
    assert_eq!(
        failure(&mut rig, &[0x52, 1, 0, 0, 0, 2, 0, 0, 28]),
        check(5, 0x24, 0)
    );
    assert_eq!(
        failure(&mut rig, &[0x52, 0, 0, 0, 1, 0, 0, 0, 28]),
        check(5, 0x21, 0)
    );
    assert_eq!(
        answer(&mut rig, &[0x42, 0, 0, 0, 0, 0, 0, 0, 16]),
        [0, 0x15, 0, 0]
    );
    let position = answer(&mut rig, &[0x42, 2, 0x40, 1, 0, 0, 0, 0, 16]);
    assert_eq!(
        (position.len(), position[10]),
        (16, 2),
        "block 0 is at second 2"
    );
    assert_eq!(
        answer(&mut rig, &[0x42, 2, 0x40, 2, 0, 0, 0, 0, 99]).len(),
        24
    );
    assert_eq!(
        failure(&mut rig, &[0x42, 2, 0x40, 9, 0, 0, 0, 0, 99]),
        check(5, 0x24, 0)
    );
    assert_eq!(answer(&mut rig, &[0xbb, 0, 0xff, 0xff]), []);
}

#[test]
fn blocks_are_read_by_the_port_and_by_dma() {
    let mut rig = Rig::new();
    let all = rig.packet(&[0x28, 0, 0, 0, 0, 0, 0, 1, 0], 0xffff);
    assert_eq!((all, rig.status()), (sectors(0, 1024), 0x50));
    let seen: Vec<_> = rig.disc.take_seen().iter().map(|seen| seen.2).collect();
    assert_eq!(seen, [131_072; 4]);
    for packet in [
        &[0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 2][..],
        &[0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0x10],
        &[0xbe, 0x08, 0, 0, 0, 7, 0, 0, 2, 0x10],
    ] {
        assert_eq!(rig.packet(packet, 2048), sectors(28, 8));
        assert_eq!(rig.status(), 0x50);
    }
    assert_eq!(answer(&mut rig, &[0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0]), []);
    assert_eq!(answer(&mut rig, &[0x28, 0, 0, 0, 0, 7]), []);
    assert_eq!(answer(&mut rig, &[0x2b, 0, 0, 0, 0, 255]), []);
    for packet in [
        &[0xbe, 0x04, 0, 0, 0, 7, 0, 0, 2, 0x10][..], // audio
        &[0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0xf8],
        &[0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0x10, 1],
    ] {
        assert_eq!(failure(&mut rig, packet), check(5, 0x24, 0), "{packet:x?}");
    }
    for packet in [
        &[0x28, 0, 0, 0, 0, 255, 0, 0, 2][..],
        &[0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x2b, 0, 0, 0, 1, 0],
    ] {
        assert_eq!(failure(&mut rig, packet), check(5, 0x21, 0), "{packet:x?}");
    }
    rig.table(&[(0x8000, 0x800), (0x4000, 0x800)]);
    rig.edges();
    rig.send_packet(&[0x28, 0, 0, 0, 0, 9, 0, 0, 2], 0, 1);
    assert_eq!((rig.edges(), rig.get(0x3f6)), (vec![], 0x58));
    rig.disc.hold(true);
    rig.put(BMIBA_AT, 9);
    assert_eq!((rig.get(BMIBA_AT + 2), rig.get(0x3f6)), (1, 0xc0));
    rig.disc.end(0);
    rig.wake();
    assert_eq!((rig.get(BMIBA_AT + 2), rig.edges()), (4, vec![true]));
    assert_eq!((rig.get(0x1f2) & 3, rig.status()), (3, 0x50));
    let data = [rig.memory(0x8000, 0x800), rig.memory(0x4000, 0x800)].concat();
    assert_eq!(data, sectors(36, 8));
    rig.disc.hold(false);
    rig.put(BMIBA_AT, 0);
    rig.table(&[(0x8000, 0x900)]);
    rig.send_packet(&[0x28, 0, 0, 0, 0, 9, 0, 0, 2], 0, 1);
    rig.put(BMIBA_AT, 9);
    assert_eq!(
        (rig.get(BMIBA_AT + 2), rig.status()),
        (0, 0x50),
        "less memory than blocks"
    );
    rig.put(BMIBA_AT, 0);
    rig.table(&[(0x8000, 8)]);
    rig.send_packet(&[0x25], 0, 1);
    rig.put(BMIBA_AT, 9);
    assert_eq!(
        (rig.get(BMIBA_AT + 2), rig.memory(0x8000, 8)),
        (4, vec![0, 0, 0, 255, 0, 0, 8, 0])
    );
}

#[test]
fn the_table_of_contents_has_three_formats() {
    let mut rig = Rig::new();
    let toc = |rig: &mut Rig, time, format, track, control| {
        answer(rig, &[0x43, time, format, 0, 0, 0, track, 0, 99, control])
    };
    let first = [
        0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x16, 0xaa, 0, 0, 0, 1, 0,
    ];
    assert_eq!(toc(&mut rig, 0, 0, 0, 0), first);
    assert_eq!(
        toc(&mut rig, 2, 0, 0xaa, 0),
        [0, 10, 1, 1, 0, 0x16, 0xaa, 0, 0, 0, 5, 31]
    );
    let sessions = [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0];
    assert_eq!(toc(&mut rig, 0, 1, 0, 0), sessions);
    assert_eq!(
        toc(&mut rig, 0, 0, 0, 0x40),
        sessions,
        "the format as SFF-8020i has it"
    );
    let raw = toc(&mut rig, 0, 2, 0, 0);
    assert_eq!(
        (raw.len(), &raw[..4], &raw[26..37]),
        (
            48,
            &[0, 46, 1, 1][..],
            &[1, 0x14, 0, 0xa2, 0, 0, 0, 0, 0, 5, 31][..]
        )
    );
    for (format, track) in [(0, 2), (3, 0), (5, 0)] {
        assert_eq!(
            failure(&mut rig, &[0x43, 0, format, 0, 0, 0, track, 0, 99]),
            check(5, 0x24, 0)
        );
    }
}

#[test]
fn mode_pages_are_told_and_cannot_be_changed() {
    let mut rig = Rig::new();
    let recovery = answer(&mut rig, &[0x5a, 0, 0x01, 0, 0, 0, 0, 0, 99]);
    assert_eq!(recovery, [0, 14, 1, 0, 0, 0, 0, 0, 1, 6, 0, 5, 0, 0, 0, 0]);
    assert_eq!(
        answer(&mut rig, &[0x1a, 0, 0x01, 0, 99]),
        [11, 1, 0, 0, 1, 6, 0, 5, 0, 0, 0, 0]
    );
    assert_eq!(
        answer(&mut rig, &[0x5a, 0, 0x41, 0, 0, 0, 0, 0, 99])[8..],
        [1, 6, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        answer(&mut rig, &[0x5a, 0, 0x0e, 0, 0, 0, 0, 0, 99]).len(),
        24
    );
    let capabilities = answer(&mut rig, &[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 99]);
    assert_eq!(
        (capabilities.len(), &capabilities[8..16]),
        (30, &[0x2a, 20, 7, 0, 0x70, 0, 0x29, 0][..])
    );
    assert_eq!(
        answer(&mut rig, &[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 99]).len(),
        8 + 8 + 16 + 22
    );
    assert_eq!(
        failure(&mut rig, &[0x5a, 0, 0x11, 0, 0, 0, 0, 0, 99]),
        check(5, 0x24, 0)
    );
    assert_eq!(
        failure(&mut rig, &[0x5a, 0, 0xc1, 0, 0, 0, 0, 0, 99]),
        check(5, 0x39, 0)
    );
    for (packet, data, wanted) in [
        (
            &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 16][..],
            recovery.clone(),
            NONE,
        ),
        (
            &[0x15, 0x10, 0, 0, 12],
            [&[0; 4], &recovery[8..]].concat(),
            NONE,
        ),
        (&[0x55, 0, 0, 0, 0, 0, 0, 0, 8], vec![0; 8], NONE),
        (
            &[0x55, 0, 0, 0, 0, 0, 0, 0, 16],
            [&recovery[..11], &[6, 0, 0, 0, 0][..]].concat(),
            check(5, 0x26, 0),
        ),
        (
            &[0x55, 0, 0, 0, 0, 0, 0, 0, 12],
            recovery[..12].to_vec(),
            check(5, 0x26, 0),
        ),
        (
            &[0x55, 0, 0, 0, 0, 0, 0, 0, 10],
            [&[0; 8][..], &[0x3f, 0]].concat(),
            check(5, 0x26, 0),
        ),
        (
            &[0x55, 0, 0, 0, 0, 0, 0, 0, 8],
            vec![0, 0, 0, 0, 0, 0, 0, 8],
            check(5, 0x26, 0),
        ),
        (
            &[0x55, 0, 0, 0, 0, 0, 0, 0, 2],
            vec![0, 0],
            check(5, 0x26, 0),
        ),
    ] {
        rig.send_packet(packet, 0x800, 0);
        assert_eq!(
            (rig.get(0x3f6), rig.get(0x1f2) & 3),
            (0x58, 0),
            "{packet:x?}"
        );
        rig.write_words(&data);
        assert_eq!(rig.sense(), wanted, "{packet:x?} {data:x?}");
    }
    assert_eq!(answer(&mut rig, &[0x55, 0, 0, 0, 0, 0, 0, 0, 0]), []);
    assert_eq!(
        failure(&mut rig, &[0x55, 1, 0, 0, 0, 0, 0, 0, 8]),
        check(5, 0x24, 0)
    );
    assert_eq!(
        failure(&mut rig, &[0x55, 0, 0, 0, 0, 0, 0, 0xff, 8]),
        check(5, 0x24, 0)
    );
    // By DMA.
    rig.host.memory.write(0x8000, &recovery).unwrap();
    rig.table(&[(0x8000, 16)]);
    rig.send_packet(&[0x55, 0, 0, 0, 0, 0, 0, 0, 16], 0, 1);
    rig.put(BMIBA_AT, 1);
    assert_eq!(rig.sense(), NONE);
}

#[test]
fn the_configuration_tells_the_profile() {
    let mut rig = Rig::new();
    let configuration =
        |rig: &mut Rig, kind, first| answer(rig, &[0x46, kind, 0, first, 0, 0, 0, 0, 99]);
    let all = configuration(&mut rig, 0, 0);
    assert_eq!((all.len(), &all[..8]), (36, &[0, 0, 0, 32, 0, 0, 0, 8][..]));
    assert_eq!(all[8..20], [0, 0, 3, 8, 0, 0x10, 0, 0, 0, 8, 1, 0]);
    assert_eq!(
        configuration(&mut rig, 2, 3)[8..],
        [0, 3, 3, 4, 0x29, 0, 0, 0]
    );
    assert_eq!(configuration(&mut rig, 1, 9).len(), 8);
    assert_eq!(
        failure(&mut rig, &[0x46, 3, 0, 0, 0, 0, 0, 0, 99]),
        check(5, 0x24, 0)
    );
    rig.disc.change(|geometry| geometry.capacity = 4 << 30);
    assert_eq!(configuration(&mut rig, 0, 0)[6..8], [0, 0x10]);
}

#[test]
fn what_is_no_packet_or_cannot_be_read_is_told() {
    let mut rig = Rig::new();
    for code in [0x0a, 0x2a, 0x35, 0xa1, 0xff] {
        assert_eq!(failure(&mut rig, &[code]), check(5, 0x20, 0), "{code:x}");
    }
    assert_eq!(request_sense(&mut rig), [0, 0, 0], "it is told once");
    rig.disc.fail(Some(ErrorKind::UnexpectedEof));
    assert_eq!(
        failure(&mut rig, &[0x28, 0, 0, 0, 0, 9, 0, 0, 1]),
        check(3, 0x11, 0)
    );
    rig.table(&[(0x8000, 0x800)]);
    rig.send_packet(&[0x28, 0, 0, 0, 0, 9, 0, 0, 1], 0, 1);
    rig.put(BMIBA_AT, 9);
    assert_eq!((rig.get(BMIBA_AT + 2), rig.sense()), (4, check(3, 0x11, 0)));
    rig.disc.fail(None);
    rig.put(BMIBA_AT, 0);
    rig.table(&[(0xfff0_0000, 0x800)]);
    rig.send_packet(&[0x28, 0, 0, 0, 0, 9, 0, 0, 1], 0, 1);
    rig.put(BMIBA_AT, 9);
    assert_eq!((rig.get(BMIBA_AT + 2), rig.sense()), (6, check(0xb, 0, 0)));
}
