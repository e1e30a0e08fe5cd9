use trivisor_buses::testing::{check_golden, check_ports};

use super::*;

/// Takes a number of bytes, then none.
struct Narrow(usize);

impl CharOutput for Narrow {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        taken
    }
}

#[test]
fn bytes_go_out_and_what_is_refused_is_counted() {
    let mut console = DebugConsole::new(Box::new(Narrow(2)));
    check_ports(
        &mut console,
        "
        r 0 -> e9
        w 0 41
        w 0 42
        r 0 -> e9
        w 0 43
        r 1 -> error
        w 1 00 -> error
        ",
    );
    assert_eq!(console.lost(), 1);
}

#[test]
fn there_is_no_state() {
    let mut console = DebugConsole::new(Box::new(Narrow(0)));
    check_golden(&mut console, state::KIND, 1, "");
    console.reset();
    check_ports(&mut console, "r 0 -> e9");
    let more = SavedState {
        kind: state::KIND,
        version: state::VERSION,
        data: vec![0],
    };
    assert!(console.restore(&more).is_err());
}
