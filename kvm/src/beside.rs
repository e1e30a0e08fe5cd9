//! Work beside the making of a VM, for what KVM does at its leisure.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};

/// A piece of work that is done beside the calling thread's.
pub type Errand = Box<dyn FnOnce() + Send>;

/// Gives an errand to a thread that waits for some; gives it back when that has gone.
pub type Errands = Arc<dyn Fn(Errand) -> Result<(), Errand> + Send + Sync>;

/// A thread that does errands, one after the other. One of our own has gone when this is dropped.
pub(crate) struct Beside {
    errands: Option<Errands>,
    own: Option<JoinHandle<()>>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.errands = None;
        if let Some(own) = self.own.take() {
            // What panicked in it is missed by who waits for it.
            let _panicked = own.join();
        }
    }
}

impl Beside {
    /// That of `errands`, or a new one; without a thread, nobody takes them.
    pub(crate) fn new(errands: Option<&Errands>) -> Self {
        if let Some(errands) = errands {
            return Self {
                errands: Some(errands.clone()),
                own: None,
            };
        }
        let (give, taken) = mpsc::channel::<Errand>();
        let own = Builder::new().spawn(move || taken.into_iter().for_each(|errand| errand()));
        let give = move |errand| give.send(errand).map_err(|error| error.0);
        Self {
            errands: Some(Arc::new(give)),
            own: own.ok(),
        }
    }

    /// Begins some work; without a thread, does it.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        let (tell, told) = mpsc::channel();
        let errand = Box::new(move || {
            // Who does not listen has given the VM up.
            let _given_up = tell.send(work());
        });
        let refused = match &self.errands {
            Some(give) => give(errand).err(),
            None => Some(errand as Errand),
        };
        if let Some(errand) = refused {
            errand();
        }
        Pending(told)
    }
}

/// What comes of some work.
#[derive(Debug)]
pub(crate) struct Pending<T>(mpsc::Receiver<T>);

impl<T> Pending<T> {
    /// Waits for it; `None`: its thread went away in the middle.
    pub(crate) fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_by_a_thread_of_its_own_or_the_callers() {
        let me = std::thread::current().id();
        let own = Beside::new(None);
        let thread = own.begin(|| std::thread::current().id()).wait().unwrap();
        assert_ne!(thread, me);
        assert_eq!(
            own.begin(|| std::thread::current().id()).wait(),
            Some(thread)
        );

        let (give, taken) = mpsc::channel::<Errand>();
        let errands: Errands = Arc::new(move |errand| give.send(errand).map_err(|error| error.0));
        let theirs = Beside::new(Some(&errands));
        let pending = theirs.begin(|| 7);
        taken.recv().unwrap()();
        assert_eq!(pending.wait(), Some(7));
        let lost = theirs.begin(|| 8);
        drop(taken);
        assert_eq!(lost.wait(), None);
        // Nobody takes it: it is done at once.
        assert_eq!(
            theirs.begin(|| std::thread::current().id()).wait(),
            Some(me)
        );
    }
}
