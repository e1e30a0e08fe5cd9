use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use trivisor_buses::testing::{check_golden, check_mmio};

use super::*;

/// Hints whose flushes end as the script says, then well.
fn scripted(results: Vec<io::Result<()>>) -> PmemFlush {
    let results = Mutex::new(results.into_iter());
    PmemFlush::with_flush(move || results.lock().unwrap().next().unwrap_or(Ok(())))
}

#[test]
fn every_address_and_width_is_a_flush() {
    let mut hints = scripted(vec![]);
    check_mmio(
        &mut hints,
        "w 0 00\n w 8 0001\n w 10 00000001\n w fc0 0000000000000001\n w fff 01",
    );
    assert_eq!((hints.counts().done, hints.counts().failed), (5, 0));
}

#[test]
fn reads_are_zero_and_flush_nothing() {
    let mut hints = scripted(vec![]);
    check_mmio(&mut hints, "r 0 -> 00\n r ff8 -> 0000000000000000");
    assert_eq!(hints.counts(), FlushCounts::default());
}

#[test]
fn behind_the_page_is_nothing() {
    let mut hints = scripted(vec![]);
    check_mmio(&mut hints, "r 1000 -> error\n w 1000 01 -> error");
    assert_eq!(hints.counts(), FlushCounts::default());
}

#[test]
fn a_failed_flush_stays_visible() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let mut hints = scripted(vec![Ok(()), Err(full()), Ok(())]);
    check_mmio(&mut hints, "w 0 01\n w 0 01\n w 0 01");
    let counts = FlushCounts {
        done: 2,
        failed: 1,
        last_failure: Some(io::ErrorKind::StorageFull),
    };
    assert_eq!(hints.counts(), counts);
    hints.reset();
    assert_eq!(hints.counts(), counts, "a reset repairs no disk");
}

#[test]
fn a_flush_reaches_the_file() {
    let path = std::env::temp_dir().join(format!("trivisor-pmem-{}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.set_len(0x2000).unwrap();
    let mapping = Arc::new(FileMapping::new(file, false).unwrap());
    let mut hints = PmemFlush::new(Arc::clone(&mapping));
    assert!(mapping.write(0x1ffe, b"ok"));
    check_mmio(&mut hints, "w 0 0000000000000001");
    let (found, size) = (
        fs::read(&path).unwrap(),
        fs::metadata(&path).unwrap().size(),
    );
    fs::remove_file(&path).unwrap();
    assert_eq!((&found[0x1ffe..], size), (&b"ok"[..], 0x2000));
    assert_eq!((hints.counts().done, hints.counts().failed), (1, 0));
}

#[test]
fn its_state_is_empty() {
    let mut hints = scripted(vec![]);
    check_golden(&mut hints, state::KIND, 1, "");
    let longer = SavedState {
        kind: state::KIND,
        version: 1,
        data: vec![0],
    };
    assert!(hints.restore(&longer).is_err());
}
