//! The thread that serves console and requests.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::Builder;

use trivisor_kvm::{Errand, Errands};

/// Where it comes from.
pub(crate) enum IoThread {
    /// It is started when it is needed: privileges are given up by the thread that starts others.
    Unborn,
    /// It waits, and does errands meanwhile: to come to life takes it as long as a machine takes to be made.
    Waiting(Arc<Queue>),
}

/// Errands for a thread.
pub(crate) struct Queue {
    give: mpsc::Sender<Errand>,
    /// What nobody waits for: the first other errand goes before.
    patient: Mutex<Option<Errand>>,
}

impl Queue {
    fn give(&self, errand: Errand) -> Result<(), Errand> {
        self.give.send(errand).map_err(|error| error.0)?;
        self.give_patient();
        Ok(())
    }

    fn give_patient(&self) {
        let mut patient = self.patient.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(errand) = patient.take() {
            // A thread that has gone cannot do it; whoever dropped it hears of that.
            let _gone = self.give.send(errand);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.give_patient();
    }
}

impl IoThread {
    /// One that somebody is to start: what it does all its life. `patient` is done in any case, the sooner the better.
    pub(crate) fn waiting(patient: Option<Errand>) -> (Self, impl FnOnce() + Send + 'static) {
        let (give, errands) = mpsc::channel::<Errand>();
        let life = move || errands.into_iter().for_each(|errand| errand());
        let patient = Mutex::new(patient);
        (Self::Waiting(Arc::new(Queue { give, patient })), life)
    }

    /// Does what KVM has to wait for.
    pub(super) fn errands(&self) -> Option<Errands> {
        match self {
            Self::Unborn => None,
            Self::Waiting(queue) => {
                let queue = queue.clone();
                Some(Arc::new(move |errand| queue.give(errand)))
            }
        }
    }

    /// Has it do this until the end.
    ///
    /// # Errors
    /// When the host gives no thread.
    pub(super) fn take_over(&self, serve: Errand) -> io::Result<()> {
        match self {
            Self::Unborn => Builder::new().name("io".into()).spawn(serve).map(drop),
            Self::Waiting(queue) => {
                queue.give_patient();
                let gone = |_| io::Error::other("it has ended before its time");
                queue.give(serve).map_err(gone)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errands that say what they are; what was said by the end.
    fn order(give: impl FnOnce(&IoThread, &dyn Fn(&'static str) -> Errand)) -> Vec<&'static str> {
        let (say, said) = mpsc::channel();
        let errand = |name| -> Errand {
            let say = say.clone();
            Box::new(move || say.send(name).unwrap())
        };
        let (io, life) = IoThread::waiting(Some(errand("patient")));
        give(&io, &errand);
        drop(io);
        life();
        said.try_iter().collect()
    }

    #[test]
    fn what_is_patient_comes_second_but_in_any_case() {
        assert_eq!(order(|_, _| ()), ["patient"]);
        let serves = order(|io, errand| io.take_over(errand("serve")).unwrap());
        assert_eq!(serves, ["patient", "serve"]);
        let all = order(|io, errand| {
            let errands = io.errands().unwrap();
            assert!(errands(errand("first")).is_ok() && errands(errand("second")).is_ok());
            drop(errands);
            io.take_over(errand("serve")).unwrap();
        });
        assert_eq!(all, ["first", "patient", "second", "serve"]);
    }
}
