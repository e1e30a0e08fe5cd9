//! Requests on their way to the VM process, and their answers on the way back.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::control::calls::{self, Call, Info, Reply};
use crate::control::monitor::PROMPT;
use crate::control::output::Output;
use crate::control::screen::{Assembly, NoScreen, Shown};
use crate::plan::pc::open_cd;
use crate::plan::virtio::Image;
use crate::protocol::{Answer, Channel, Request};

/// Requests that others may have without an answer; the channel has room for more, for one of our own.
const MAX_UNANSWERED: usize = 64;

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
    fn tell(&self, reply: &Reply, output: &mut Output) {
        match self {
            Self::Client(client) => calls::reply(client, reply),
            Self::Monitor => {
                let text = match reply {
                    Reply::Done => "done".into(),
                    Reply::Busy => "not now".into(),
                    Reply::Refused(why) => why.clone(),
                    Reply::Failed(failure) => failure.what.clone(),
                    Reply::Info(info) => crate::verbs::show_info(info).replace('\n', "\r\n"),
                    Reply::Text(text) => text.replace('\n', "\r\n"),
                };
                output.show(&format!("\r{text}\r\n{PROMPT}"));
            }
            Self::Nobody => {}
        }
    }
}

/// An answer to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unasked;

/// What is so now.
#[derive(Debug)]
pub(crate) enum News {
    /// The VM stands still, or goes on.
    Paused(bool),
    /// This disc is in the CD drive.
    Disc(Option<Arc<Image>>),
}

/// A request without an answer.
#[derive(Debug)]
struct Asked {
    asker: Asker,
    call: Call,
    /// The disc that is to be laid in.
    disc: Option<Arc<Image>>,
}

/// Requests without an answer yet.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Oldest first: the VM process answers in order.
    unanswered: VecDeque<Asked>,
    /// What the oldest has got of a screen.
    screen: Assembly,
    /// Clients that wait for the end of the VM. They are told when this is dropped.
    until_end: Vec<UnixStream>,
}

impl Requests {
    /// Passes a call on, and does not wait for a VM process that has stopped to read.
    pub(crate) fn ask(&mut self, asker: Asker, call: Call, channel: &Channel, output: &mut Output) {
        let disc = match &call {
            Call::Disc {
                file: Some(file), ..
            } => match open_cd(file) {
                Ok(image) => Some(Arc::new(image)),
                Err(failure) => return asker.tell(&Reply::Failed(failure), output),
            },
            _ => None,
        };
        let request = match &call {
            Call::Info => Request::Counters,
            Call::Pause => Request::Pause,
            Call::Resume => Request::Resume,
            Call::PowerButton => Request::PowerButton,
            Call::Stop => Request::Stop,
            Call::Balloon { bytes } => Request::Balloon { bytes: *bytes },
            Call::Picture { .. } => Request::Screen { text: false },
            Call::Text => Request::Screen { text: true },
            Call::Press(chord) => Request::Press(*chord),
            Call::TerminalSize { columns, rows } => Request::TerminalSize {
                columns: *columns,
                rows: *rows,
            },
            Call::Disc { force, .. } => Request::Disc {
                size: disc.as_ref().map(|disc| disc.size()),
                force: *force,
            },
        };
        let full = self.unanswered.len() >= MAX_UNANSWERED && !matches!(asker, Asker::Nobody);
        let image = disc
            .as_ref()
            .and_then(|disc| disc.image.descriptors().next());
        let sent = match (full, image) {
            (true, _) => Err(ErrorKind::WouldBlock.into()),
            (false, Some(image)) => channel.send_now_with(&request, image),
            (false, None) => channel.send_now(&request),
        };
        let why = match sent {
            Ok(()) => return self.unanswered.push_back(Asked { asker, call, disc }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                "the VM process does not answer; `trivisor stop --force` ends it"
            }
            Err(_) => "the VM has ended",
        };
        asker.tell(&Reply::Refused(why.into()), output);
    }

    /// The oldest request is answered; `Some` when that changed something.
    pub(crate) fn answered(
        &mut self,
        answer: Answer,
        info: impl FnOnce() -> Info,
        output: &mut Output,
    ) -> Result<Option<News>, Unasked> {
        let asked = self.unanswered.front().map(|asked| &asked.call);
        let of_screen = matches!(asked, Some(Call::Picture { .. } | Call::Text));
        let answer = match answer {
            Answer::Screen(piece) if of_screen => match self.screen.take(piece) {
                Ok(Some(shown)) => Ok(shown),
                Ok(None) => return Ok(None),
                Err(NoScreen) => return Err(Unasked),
            },
            answer => Err(answer),
        };
        if self.screen.has_begun() {
            return Err(Unasked);
        }
        let Asked { asker, call, disc } = self.unanswered.pop_front().ok_or(Unasked)?;
        let answer = match answer {
            Ok(shown) => {
                asker.tell(&show(&call, shown)?, output);
                return Ok(None);
            }
            Err(answer) => answer,
        };
        let reply = match answer {
            Answer::Screen(_) => return Err(Unasked),
            Answer::Graphics => Reply::Refused(
                "its screen shows graphics: name a file for the picture, such as screen.png".into(),
            ),
            Answer::Done => Reply::Done,
            Answer::Busy => Reply::Busy,
            Answer::Locked => Reply::Refused(
                "the guest has locked the tray, and was asked to let the disc go; --force does not wait for it".into(),
            ),
            Answer::Absent => Reply::Refused(
                match call {
                    Call::Balloon { .. } => "this machine has no balloon: start it with --balloon",
                    Call::Picture { .. } | Call::Text => {
                        "this machine has no screen: mode hvm has one"
                    }
                    Call::Disc { .. } => "this machine has no CD drive: start it with --cdrom",
                    Call::Press(_) => "this machine has no keyboard: mode hvm has one",
                    _ => "this machine has no power button",
                }
                .into(),
            ),
            Answer::Counters(counters) => Reply::Info(Box::new(Info { counters, ..info() })),
        };
        asker.tell(&reply, output);
        Ok(match (call, reply) {
            (Call::Pause, _) => Some(News::Paused(true)),
            (Call::Resume, _) => Some(News::Paused(false)),
            (Call::Disc { .. }, Reply::Done) => Some(News::Disc(disc)),
            _ => None,
        })
    }

    /// There will be no more answers.
    pub(crate) fn refuse_all(&mut self, why: &str, output: &mut Output) {
        for asked in self.unanswered.drain(..) {
            asked.asker.tell(&Reply::Refused(why.into()), output);
        }
    }

    /// This client waits for the end of the VM.
    pub(crate) fn wait_for_end(&mut self, client: UnixStream) {
        self.until_end.push(client);
    }
}

/// What came of a look at the screen.
fn show(call: &Call, shown: Shown) -> Result<Reply, Unasked> {
    match (call, shown) {
        (Call::Text, Shown::Text(text)) => Ok(Reply::Text(text)),
        (Call::Picture { file }, Shown::Picture(picture)) => Ok(match picture.save(file) {
            Ok(()) => Reply::Done,
            Err(why) => Reply::Refused(why),
        }),
        _ => Err(Unasked),
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        for client in &self.until_end {
            calls::reply(client, &Reply::Done);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn refusal(asker: &mut UnixStream) -> String {
        let mut reply = String::new();
        asker.read_to_string(&mut reply).unwrap();
        match serde_json::from_str(&reply).unwrap() {
            Reply::Refused(why) => why,
            reply => panic!("{reply:?}"),
        }
    }

    #[test]
    fn a_vm_process_that_does_not_read_holds_up_nobody() {
        let (done, finished) = channel();
        std::thread::spawn(move || {
            let (ours, theirs) = Channel::pair().unwrap();
            let (mut requests, mut output) = (Requests::default(), Output::new(None));
            let mut clients = Vec::new();
            // More than the channel holds: of each kind, and then of our own.
            for _ in 0..2 * MAX_UNANSWERED {
                let (client, stream) = UnixStream::pair().unwrap();
                requests.ask(Asker::Client(stream), Call::Info, &ours, &mut output);
                clients.push(client);
            }
            assert_eq!(requests.unanswered.len(), MAX_UNANSWERED);
            assert!(refusal(clients.last_mut().unwrap()).contains("does not answer"));
            for _ in 0..10_000 {
                requests.ask(Asker::Nobody, Call::Stop, &ours, &mut output);
            }
            // What was sent arrives, each whole and in order.
            let sent = requests.unanswered.len();
            assert!(sent > MAX_UNANSWERED && sent < 10_000, "{sent}");
            for number in 0..sent {
                let wanted = if number < MAX_UNANSWERED {
                    Request::Counters
                } else {
                    Request::Stop
                };
                assert_eq!(theirs.receive::<Request>().unwrap(), Some(wanted));
            }
            let (mut patient, stream) = UnixStream::pair().unwrap();
            requests.wait_for_end(stream);
            requests.refuse_all("over", &mut output);
            assert_eq!(refusal(clients.first_mut().unwrap()), "over");
            drop(theirs);
            let (mut client, stream) = UnixStream::pair().unwrap();
            requests.ask(Asker::Client(stream), Call::Pause, &ours, &mut output);
            assert_eq!(refusal(&mut client), "the VM has ended");
            drop(requests);
            let mut reply = String::new();
            patient.read_to_string(&mut reply).unwrap();
            assert_eq!(reply, "\"done\"\n");
            done.send(()).unwrap();
        });
        finished
            .recv_timeout(Duration::from_secs(60))
            .expect("it does not wait");
    }

    #[test]
    fn an_answer_to_nothing_is_told() {
        let mut requests = Requests::default();
        let info = || panic!("nobody asked");
        let told = requests.answered(Answer::Done, info, &mut Output::new(None));
        assert_eq!(told.unwrap_err(), Unasked);
    }
}
