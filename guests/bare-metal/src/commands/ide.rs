//! IDE disks, by bus master.

use super::Command;
use super::load::{self, Until};
use crate::cpu;
use crate::ide::{BYTES, Disk, SECTOR, Way};
use crate::say;
use crate::script::{Failure, Words, expect};

pub const COMMANDS: &[Command] = &[Command {
    name: "ide",
    usage: "DISK info | read SECTOR COUNT | write SECTOR COUNT BYTE | flush | verify SECTOR COUNT | \
        load read|write BYTES DEPTH ops|ms NUMBER",
    run: ide,
}];

/// Commands before the measurement.
const WARM_UP: u64 = 4;

fn ide(mut words: Words<'_>) -> Result<(), Failure> {
    let mut disk = Disk::open(&mut words)?;
    match words.word().ok_or(Failure::Usage)? {
        "info" => say!("ok ide sectors={} lba48={}", disk.capacity, disk.is_large),
        "read" => {
            let (sector, count) = range(&mut words)?;
            disk.transfer(Way::Read, sector, count * SECTOR)?;
            let data = disk.data.get(..count * SECTOR).unwrap_or_default();
            let sum: u64 = data.iter().map(|byte| u64::from(*byte)).sum();
            let first = data.first().copied().unwrap_or(0);
            say!("ok ide read={count} at={sector} first={first:#x} sum={sum}");
        }
        "write" => {
            let (sector, count) = range(&mut words)?;
            disk.data.fill(words.number()?);
            disk.transfer(Way::Write, sector, count * SECTOR)?;
            say!("ok ide written={count} at={sector}");
        }
        "flush" => {
            disk.flush()?;
            say!("ok ide flushed");
        }
        "verify" => verify(&mut disk, words)?,
        "load" => load(&mut disk, words)?,
        _ => return Err(Failure::Usage),
    }
    Ok(())
}

fn range(words: &mut Words<'_>) -> Result<(u64, usize), Failure> {
    let (sector, count) = (words.number()?, words.number()?);
    match count {
        1.. if count <= BYTES / SECTOR => Ok((sector, count)),
        _ => Err(Failure::Usage),
    }
}

/// `SECTOR COUNT`: writes sectors whose words count on from sector to sector, and reads them back into memory that held
/// something else.
fn verify(disk: &mut Disk, mut words: Words<'_>) -> Result<(), Failure> {
    let (sector, count) = range(&mut words)?;
    let first = sector * SECTOR as u64 / 8;
    for (word, number) in disk.data.chunks_exact_mut(8).zip(first..) {
        word.copy_from_slice(&number.to_le_bytes());
    }
    disk.transfer(Way::Write, sector, count * SECTOR)?;
    disk.flush()?;
    disk.data.fill(0xff);
    disk.transfer(Way::Read, sector, count * SECTOR)?;
    let data = disk.data.get(..count * SECTOR).unwrap_or_default();
    for (word, number) in data.chunks_exact(8).zip(first..) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        expect("word", number, u64::from_le_bytes(bytes))?;
    }
    // What is behind it has not been touched.
    let behind = disk.data.get(count * SECTOR..).unwrap_or_default();
    let touched = behind.iter().filter(|byte| **byte != 0xff).count();
    expect("bytes behind", 0_u8, touched as u64)?;
    say!("ok ide verified={count} at={sector}");
    Ok(())
}

/// `read|write BYTES DEPTH ops|ms NUMBER`: one command after the other, at random places. The depth is 1: a disk takes
/// one command at a time.
fn load(disk: &mut Disk, mut words: Words<'_>) -> Result<(), Failure> {
    let (name, way) = match words.word() {
        Some("read") => ("read", Way::Read),
        Some("write") => ("write", Way::Write),
        _ => return Err(Failure::Usage),
    };
    let (bytes, depth) = (words.number::<usize>()?, words.number::<usize>()?);
    if !(SECTOR..=BYTES).contains(&bytes) || bytes % SECTOR != 0 || depth != 1 {
        return Err(Failure::Usage);
    }
    let hz = load::hz()?;
    let until = Until::parse(&mut words, hz)?;
    disk.data.fill(0x5a);
    let _warm = run(disk, way, bytes, Until::Operations(WARM_UP))?;
    say!("ide load");
    let (operations, cycles) = run(disk, way, bytes, until)?;
    say!(
        "ok ide load={name} bytes={bytes} depth={depth} operations={operations} cycles={cycles} hz={hz}"
    );
    Ok(())
}

/// Commands and cycles.
fn run(disk: &mut Disk, way: Way, bytes: usize, until: Until) -> Result<(u64, u64), Failure> {
    let sectors = (bytes / SECTOR) as u64;
    let places = (disk.capacity / sectors).max(1);
    let mut random = load::Random::default();
    let start = cpu::tsc();
    let mut ended = 0;
    while until.goes_on(ended, ended, start) {
        disk.transfer(way, random.below(places) * sectors, bytes)?;
        ended += 1;
    }
    Ok((ended, cpu::tsc().wrapping_sub(start)))
}
