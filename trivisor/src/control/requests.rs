//! Requests on their way to the VM process, and their answers on the way back.

use std::collections::VecDeque;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::control::output::Output;
use crate::control::registry::{self, Call, Info, Reply};
use crate::control::vm::Vm;
use crate::protocol::{Answer, Request};

/// Who asked.
#[derive(Debug)]
pub(crate) enum Asker {
    /// Another `trivisor`, by the control socket.
    Client(UnixStream),
    /// The monitor on the terminal.
    Monitor,
    /// The control process itself.
    Nobody,
}

impl Asker {
    fn tell(&self, reply: &Reply) {
        match self {
            // A client that has gone does not care.
            Self::Client(client) => drop(registry::write_reply(client, reply)),
            Self::Monitor => {
                let text = match reply {
                    Reply::Done => "done".into(),
                    Reply::Refused(why) => why.clone(),
                    Reply::Info(info) => crate::verbs::show_info(info).replace('\n', "\r\n"),
                };
                Output::show(&format!("\r{text}\r\n(trivisor) "));
            }
            Self::Nobody => {}
        }
    }
}

/// Requests without an answer yet, oldest first: the VM process answers in order.
#[derive(Debug, Default)]
pub(crate) struct Requests(VecDeque<(Asker, Call)>);

impl Requests {
    /// Takes the calls of clients that have connected.
    pub(crate) fn accept(&mut self, listener: &UnixListener, vm: &Vm) {
        while let Ok((client, _)) = listener.accept() {
            // A client that says nothing sensible is hung up on.
            if let Ok(call) = registry::read_call(&client) {
                self.ask(Asker::Client(client), call, vm);
            }
        }
    }

    /// Passes a call on.
    pub(crate) fn ask(&mut self, asker: Asker, call: Call, vm: &Vm) {
        let request = match call {
            Call::Info => Request::Counters,
            Call::Pause => Request::Pause,
            Call::Resume => Request::Resume,
            Call::PowerButton => Request::PowerButton,
            Call::Stop => Request::Stop,
        };
        match vm.channel().send(&request) {
            Ok(()) => self.0.push_back((asker, call)),
            Err(_) => asker.tell(&Reply::Refused("the VM has ended".into())),
        }
    }

    /// The oldest request is answered; `Some` when the VM is now paused, or goes on.
    pub(crate) fn answered(&mut self, answer: Answer, info: impl FnOnce() -> Info) -> Option<bool> {
        let (asker, call) = self.0.pop_front()?;
        let reply = match answer {
            Answer::Done => Reply::Done,
            Answer::Absent => Reply::Refused("this machine has no power button".into()),
            Answer::Counters(counters) => Reply::Info(Box::new(Info { counters, ..info() })),
        };
        asker.tell(&reply);
        match call {
            Call::Pause => Some(true),
            Call::Resume => Some(false),
            _ => None,
        }
    }

    /// There will be no more answers.
    pub(crate) fn refuse_all(&mut self, why: &str) {
        for (asker, call) in self.0.drain(..) {
            let reply = match call {
                // It has what it wanted.
                Call::Stop => Reply::Done,
                _ => Reply::Refused(why.into()),
            };
            asker.tell(&reply);
        }
    }
}
