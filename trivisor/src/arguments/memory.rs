//! `256M[,backing=anon|memfd|file=PATH][,hugepages=2M|1G][,thp]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::settings::text_form;

/// Where RAM comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackingArgument {
    Anonymous,
    Memfd,
    File(PathBuf),
}

/// Guest RAM as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryArgument {
    pub(crate) bytes: u64,
    pub(crate) backing: BackingArgument,
    /// Bytes of a page of hugetlbfs.
    pub(crate) huge_pages: Option<u64>,
    pub(crate) transparent_huge_pages: bool,
}

impl Default for MemoryArgument {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            backing: BackingArgument::Anonymous,
            huge_pages: None,
            transparent_huge_pages: false,
        }
    }
}

const SUFFIXES: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Bytes, with an optional K, M, G or T for powers of 1,024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no size: write a number with K, M, G or T, such as 256M");
    let suffix = SUFFIXES
        .iter()
        .find_map(|&(letter, shift)| Some((text.strip_suffix(letter)?, shift)));
    let (digits, shift) = suffix.unwrap_or((text, 0));
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

/// With the largest suffix that leaves a whole number.
pub(crate) fn show_size(bytes: u64) -> String {
    let fitting = |&&(_, shift): &&(char, u32)| bytes != 0 && bytes.is_multiple_of(1 << shift);
    match SUFFIXES.iter().rev().find(fitting) {
        Some((letter, shift)) => format!("{}{letter}", bytes >> shift),
        None => bytes.to_string(),
    }
}

impl FromStr for MemoryArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let mut memory = Self {
            bytes: parse_size(parts.next().unwrap_or_default())?,
            ..Self::default()
        };
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("thp", "") => memory.transparent_huge_pages = true,
                ("hugepages", size) => match parse_size(size)? {
                    size @ (0x20_0000 | 0x4000_0000) => memory.huge_pages = Some(size),
                    _ => return Err(format!("hugepages={size}: this processor has 2M and 1G")),
                },
                ("backing", "anon") => memory.backing = BackingArgument::Anonymous,
                ("backing", "memfd") => memory.backing = BackingArgument::Memfd,
                ("backing", backing) => match backing.strip_prefix("file=") {
                    Some(path) if !path.is_empty() => {
                        memory.backing = BackingArgument::File(path.into());
                    }
                    _ => return Err(format!("backing={backing}: anon, memfd or file=PATH")),
                },
                _ => return Err(format!("{part:?}: backing=.., hugepages=.. or thp")),
            }
        }
        Ok(memory)
    }
}

impl fmt::Display for MemoryArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_size(self.bytes))?;
        match &self.backing {
            BackingArgument::Anonymous => {}
            BackingArgument::Memfd => f.write_str(",backing=memfd")?,
            BackingArgument::File(path) => write!(f, ",backing=file={}", path.display())?,
        }
        if let Some(size) = self.huge_pages {
            write!(f, ",hugepages={}", show_size(size))?;
        }
        if self.transparent_huge_pages {
            f.write_str(",thp")?;
        }
        Ok(())
    }
}

text_form!(MemoryArgument);
