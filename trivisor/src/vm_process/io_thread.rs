//! The thread that serves console and requests.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::Builder;

use trivisor_kvm::{Errand, Errands};

/// Where it comes from.
pub(crate) enum IoThread {
    /// It is started when it is needed: privileges are given up by the thread that starts others.
    Unborn,
    /// It waits, and does errands meanwhile: to come to life takes it as long as a machine takes to be made.
    Waiting(Arc<mpsc::Sender<Errand>>),
}

impl IoThread {
    /// One that somebody is to start: what it does all its life.
    pub(crate) fn waiting() -> (Self, impl FnOnce() + Send + 'static) {
        let (give, errands) = mpsc::channel::<Errand>();
        let life = move || errands.into_iter().for_each(|errand| errand());
        (Self::Waiting(Arc::new(give)), life)
    }

    /// Does what KVM has to wait for.
    pub(super) fn errands(&self) -> Option<Errands> {
        match self {
            Self::Unborn => None,
            Self::Waiting(give) => {
                let give = give.clone();
                Some(Arc::new(move |errand| give.send(errand).is_ok()))
            }
        }
    }

    /// Has it do this.
    ///
    /// # Errors
    /// When the host gives no thread.
    pub(super) fn take_over(&self, serve: Errand) -> io::Result<()> {
        match self {
            Self::Unborn => Builder::new().name("io".into()).spawn(serve).map(drop),
            Self::Waiting(give) => {
                let gone = |_| io::Error::other("it has ended before its time");
                give.send(serve).map_err(gone)
            }
        }
    }
}
