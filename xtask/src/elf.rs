//! As much of ELF64 as the guests' checks and a fuzzer's table of edges need.

use anyhow::{Context, Result, ensure};

/// A section of an ELF file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Where it stands in memory.
    pub(crate) address: u64,
    /// What it holds; empty when the file has nothing of it.
    pub(crate) contents: &'a [u8],
}

const SHT_NOBITS: u64 = 8;
const PT_INTERP: u64 = 3;

/// The little-endian number of `size` bytes at an offset.
fn number(file: &[u8], at: usize, size: usize) -> Result<u64> {
    let bytes = file.get(at..).and_then(|rest| rest.get(..size));
    let bytes = bytes.with_context(|| format!("ends before offset {at:#x}"))?;
    let digits = bytes.iter().rev();
    Ok(digits.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn offset(file: &[u8], at: usize, size: usize) -> Result<usize> {
    usize::try_from(number(file, at, size)?).context("offset")
}

fn check(file: &[u8]) -> Result<()> {
    ensure!(
        file.starts_with(b"\x7fELF\x02\x01"),
        "no little-endian ELF of 64 bits"
    );
    Ok(())
}

/// The file's sections.
///
/// # Errors
/// When it is no ELF64 or ends too early.
pub(crate) fn sections(file: &[u8]) -> Result<Vec<Section<'_>>> {
    check(file)?;
    let (table, size) = (offset(file, 0x28, 8)?, offset(file, 0x3a, 2)?);
    let (count, names) = (offset(file, 0x3c, 2)?, offset(file, 0x3e, 2)?);
    let contents = |index: usize| -> Result<&[u8]> {
        let header = table + index * size;
        if number(file, header + 4, 4)? == SHT_NOBITS {
            return Ok(&[]);
        }
        let (from, len) = (
            offset(file, header + 0x18, 8)?,
            offset(file, header + 0x20, 8)?,
        );
        let bytes = file.get(from..).and_then(|rest| rest.get(..len));
        bytes.with_context(|| format!("section {index} reaches beyond the end"))
    };
    let all_names = contents(names)?;
    (0..count)
        .map(|index| {
            let header = table + index * size;
            let name = all_names
                .get(offset(file, header, 4)?..)
                .unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            Ok(Section {
                name: std::str::from_utf8(name)?,
                address: number(file, header + 0x10, 8)?,
                contents: contents(index)?,
            })
        })
        .collect()
}

/// Whether it runs without a loader and libraries.
///
/// # Errors
/// When it is no ELF64 or ends too early.
pub(crate) fn is_static(file: &[u8]) -> Result<bool> {
    check(file)?;
    let (table, size) = (offset(file, 0x20, 8)?, offset(file, 0x36, 2)?);
    for index in 0..offset(file, 0x38, 2)? {
        if number(file, table + index * size, 4)? == PT_INTERP {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_itself_has_sections_and_a_loader() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let sections = sections(&file).unwrap();
        let text = sections.iter().find(|section| section.name == ".text");
        assert!(text.is_some_and(|text| !text.contents.is_empty() && text.address != 0));
        let bss = sections.iter().find(|section| section.name == ".bss");
        assert!(bss.is_some_and(|bss| bss.contents.is_empty()));
        assert!(!is_static(&file).unwrap());
    }

    #[test]
    fn half_a_file_is_an_error() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(sections(&file[..file.len() / 2]).is_err());
        assert!(sections(&file[..0x20]).is_err());
        assert!(sections(b"#!/bin/sh").is_err());
    }
}
