//! Verbs that press keys.

use std::time::{Duration, Instant};

use trivisor_devices_hvm::i8042::ps2::layout::{self, LEFT_SHIFT, LayoutError};

use super::running::refused;
use crate::control::calls::{self, Call, Reply};
use crate::failure::Failure;
use crate::protocol::Chord;

/// A guest that reads no key for so long reads none.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two keys: a BIOS keeps 15 of them for who asks it, and loses the next.
const PACE: Duration = Duration::from_millis(40);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// `trivisor type NAME TEXT`.
pub(crate) fn type_text(name: &str, text: &str, enter: bool) -> Result<(), Failure> {
    let chords = text.chars().chain(enter.then_some('\n')).map(|character| {
        let (code, shift) = layout::character(character).map_err(|error| {
            Failure::usage(error.to_string(), "nothing was typed; leave it out")
        })?;
        Ok(if shift {
            chord(&[LEFT_SHIFT, code])
        } else {
            chord(&[code])
        })
    });
    press(name, &chords.collect::<Result<Vec<_>, Failure>>()?)
}

/// `trivisor sendkey NAME KEYS`.
pub(crate) fn send_keys(name: &str, keys: &[String]) -> Result<(), Failure> {
    let chords = keys.iter().map(|keys| {
        let codes = layout::chord(keys);
        codes.map(|codes| chord(&codes)).map_err(unknown)
    });
    press(name, &chords.collect::<Result<Vec<_>, Failure>>()?)
}

/// Names the nearest key.
fn unknown(error: LayoutError) -> Failure {
    let advice = match &error {
        LayoutError::Name(name) => {
            let near = |known: &str| strsim::damerau_levenshtein(&name.to_ascii_lowercase(), known);
            let nearest = layout::names().min_by_key(|known| near(known));
            format!(
                "nothing was pressed; the nearest is {:?}, and letters and digits are keys",
                nearest.unwrap_or_default()
            )
        }
        _ => "nothing was pressed".into(),
    };
    Failure::usage(error.to_string(), advice)
}

fn chord(codes: &[u16]) -> Chord {
    let mut chord = Chord::default();
    for (place, code) in chord.iter_mut().zip(codes) {
        *place = *code;
    }
    chord
}

/// Presses one after the other, no faster than the guest reads them; returns when the keyboard has them all.
fn press(name: &str, chords: &[Chord]) -> Result<(), Failure> {
    for (done, chord) in chords.iter().enumerate() {
        // What a guest does not read was not typed, whatever the keyboard's buffer holds.
        offer(name, *chord, || {
            format!("{done} of {} keys were pressed", chords.len())
        })?;
        wait(PACE);
    }
    offer(name, Chord::default(), || {
        "the last keys wait for it".into()
    })
}

/// Offers a chord until it is taken.
fn offer(name: &str, chord: Chord, taken: impl Fn() -> String) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match calls::call(name, Call::Press(chord))? {
            Reply::Busy if Instant::now() < deadline => wait(PAUSE),
            Reply::Busy => {
                return Err(Failure::host(
                    format!(
                        "VM {name:?}: its guest does not read its keyboard: {}",
                        taken()
                    ),
                    "look at its screen: `trivisor screenshot`",
                ));
            }
            Reply::Failed(failure) => return Err(failure),
            Reply::Refused(why) => return Err(refused(name, &why)),
            Reply::Done | Reply::Info(_) | Reply::Text(_) => return Ok(()),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a keyboard tells nobody that it has room"
)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
