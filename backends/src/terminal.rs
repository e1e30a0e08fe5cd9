//! A terminal in raw mode, put back on every way out.
//!
//! On the usual way out [`RawTerminal`] is dropped; a panic goes through a hook, for a release build
//! aborts without dropping anything; a handler of a fatal signal calls [`restore_all`].

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};

use rustix::io::Errno;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios,
    tcgetattr, tcsetattr,
};

/// How a terminal was before. Such a value never moves and never goes away, so that a signal handler
/// can walk the list of them without a lock.
#[derive(Debug)]
struct Saved {
    terminal: BorrowedFd<'static>,
    modes: Termios,
    raw: AtomicBool,
    next: OnceLock<&'static Self>,
}

static FIRST: OnceLock<&'static Saved> = OnceLock::new();

static PANIC_HOOK: Once = Once::new();

/// A terminal in raw mode until this is dropped.
#[derive(Debug)]
pub struct RawTerminal(&'static Saved);

impl RawTerminal {
    /// Puts `terminal`, for example `rustix::stdio::stdin()`, into raw mode; `None` when it is none.
    /// A few hundred bytes stay allocated.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn enter(terminal: BorrowedFd<'static>) -> io::Result<Option<Self>> {
        let modes = match tcgetattr(terminal) {
            Ok(modes) => modes,
            Err(Errno::NOTTY | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        PANIC_HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore_all();
                previous(panic);
            }));
        });
        // A terminal that is raw already is put back to how it was before that.
        let modes = Saved::all()
            .find(|saved| saved.is_raw() && saved.terminal.as_raw_fd() == terminal.as_raw_fd())
            .map_or(modes, |saved| saved.modes.clone());
        let raw = raw_modes(modes.clone());
        let saved: &Saved = Box::leak(Box::new(Saved {
            terminal,
            modes,
            raw: AtomicBool::new(true),
            next: OnceLock::new(),
        }));
        // Known before the modes change: a signal in between finds it.
        saved.remember();
        let entered = Self(saved);
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Some(entered))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.0.restore();
    }
}

/// Puts every terminal back that is in raw mode; a second call does nothing. It may be called from a
/// signal handler: it takes no lock, allocates nothing, and each terminal costs one ioctl.
pub fn restore_all() {
    Saved::all().for_each(Saved::restore);
}

impl Saved {
    fn all() -> impl Iterator<Item = &'static Self> {
        std::iter::successors(FIRST.get().copied(), |saved| saved.next.get().copied())
    }

    fn is_raw(&self) -> bool {
        self.raw.load(Ordering::SeqCst)
    }

    fn remember(&'static self) {
        let mut end = &FIRST;
        while end.set(self).is_err() {
            let Some(taken) = end.get() else { return };
            end = &taken.next;
        }
    }

    fn restore(&self) {
        if self.is_raw() {
            // A terminal that has gone needs nothing. Now, and not after its output has left: that can take
            // for ever when somebody holds it.
            let _gone = tcsetattr(self.terminal, OptionalActions::Now, &self.modes);
            self.raw.store(false, Ordering::SeqCst);
        }
    }
}

/// Bytes come one by one, as typed, without echo and without signals. Output is still processed, so
/// that our own messages look right; a guest's carriage returns are not harmed by it.
fn raw_modes(mut modes: Termios) -> Termios {
    modes.input_modes -= InputModes::IGNBRK
        | InputModes::BRKINT
        | InputModes::PARMRK
        | InputModes::ISTRIP
        | InputModes::INLCR
        | InputModes::IGNCR
        | InputModes::ICRNL
        | InputModes::IXON;
    modes.output_modes |= OutputModes::OPOST;
    modes.local_modes -= LocalModes::ECHO
        | LocalModes::ECHONL
        | LocalModes::ICANON
        | LocalModes::IEXTEN
        | LocalModes::ISIG;
    modes.control_modes -= ControlModes::CSIZE | ControlModes::PARENB;
    modes.control_modes |= ControlModes::CS8;
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}
