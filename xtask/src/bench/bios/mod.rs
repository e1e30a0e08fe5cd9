//! `cargo xtask bench bios`: the same SeaBIOS boots the same media under our PC and QEMU's, in turns.

mod measure;
mod media;
mod pcs;
mod places;
mod report;

use std::path::Path;

use anyhow::Result;

use self::measure::{Counts, Start};
use self::media::Media;
use self::pcs::Pc;
use super::start::Options;
use super::{document, memory};
use crate::setup;

const DEFAULT_ROUNDS: usize = 7;

/// What else to measure than the way to the boot sector.
#[derive(Debug, Clone, Copy)]
pub(super) struct More {
    /// The way to GRUB's prompt, minutes where ring 0 is emulated.
    pub(super) grub: bool,
    /// Which instructions and ports the way leads through.
    pub(super) places: bool,
}

/// All that was measured of a PC on its way to one medium.
#[derive(Debug)]
struct Row {
    name: &'static str,
    counts: Counts,
    starts: Vec<Start>,
    /// Milliseconds of CPU time outside of KVM_RUN; one a round.
    outside: Vec<f64>,
    /// Bytes beside guest RAM, at the peak; one a round.
    memory: Vec<u64>,
}

pub(super) fn run(options: &Options, more: More) -> Result<()> {
    setup::run_for_bench_bios()?;
    let rounds = options.rounds.unwrap_or(DEFAULT_ROUNDS);
    let media = Media::make(more.grub)?;
    let pcs = pcs::all()?;
    let mut tables = Vec::new();
    tables.push((
        "a boot sector",
        rows(&pcs, &media, &media.boot_sector, rounds)?,
    ));
    if let Some(grub) = &media.grub {
        // Minutes each, and the counts say it all.
        tables.push(("GRUB", rows(&pcs, &media, grub, 0)?));
    }
    let mut text = report::write(&pcs, &tables, rounds);
    if more.places {
        for pc in pcs.iter().take(2) {
            let places = places::of(pc, &media.boot_sector)?;
            text.push_str(&report::places(pc.name, &places));
        }
    } else {
        text.push_str(&document::behind(
            &options.output,
            report::HEADING,
            report::PLACES,
        ));
    }
    document::put(&options.output, &text)?;
    print!("{text}");
    println!("written to {}", options.output.display());
    Ok(())
}

fn rows(pcs: &[Pc], media: &Media, medium: &Path, rounds: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for pc in pcs {
        println!("{}: {}", pc.name, medium.display());
        // Also warms the page cache, so that no round pays for the first reading of a file.
        let (counts, start) = measure::counts(pc, medium)?;
        rows.push(Row {
            name: pc.name,
            counts,
            starts: if rounds == 0 { vec![start] } else { Vec::new() },
            outside: Vec::new(),
            memory: Vec::new(),
        });
    }
    for round in 0..rounds {
        println!("round {} of {rounds}", round + 1);
        for turn in 0..pcs.len() {
            let index = (round + turn) % pcs.len();
            if let (Some(pc), Some(row)) = (pcs.get(index), rows.get_mut(index)) {
                row.starts.push(measure::start(pc, medium)?);
                row.outside.push(measure::outside(pc, medium)?);
                let waiting = pc.command_with_serial(&media.waiting);
                row.memory.push(memory::peak_beside_ram(waiting)?);
            }
        }
    }
    Ok(rows)
}
