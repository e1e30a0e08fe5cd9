//! A back-end for the tests: polite, but for what a test tells it.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::vhost_user::message::{PROTOCOL_FEATURES, Request, protocol};

/// VIRTIO_F_VERSION_1, and two features of a disk.
pub(super) const FEATURES: u64 = 1 << 32 | 1 << 9 | 1 << 6;

/// A message as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) request: u32,
    pub(super) flags: u32,
    pub(super) payload: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Message {
    /// The number of 4 bytes at `at`.
    pub(super) fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The number of 8 bytes at `at`.
    pub(super) fn long(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.payload[at..at + 8].try_into().unwrap())
    }
}

/// How it answers one request otherwise than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vice {
    /// Closes the connection instead.
    Close,
    /// Half a header, and closes.
    HalfAHeader,
    /// Half a payload, and closes.
    HalfAPayload,
    /// Never.
    Silence,
    /// A payload that is a byte short.
    Short,
    /// A payload of a gigabyte.
    Huge,
    /// The answer to another request.
    Other,
    /// Another version of the protocol.
    Version,
    /// No answer's flag.
    Question,
    /// It could not do it.
    Refusal,
    /// The answer twice.
    Twice,
    /// Without its descriptor.
    NoDescriptor,
}

/// What it is and does.
#[derive(Debug, Clone)]
pub(super) struct Manners {
    pub(super) features: u64,
    pub(super) protocol: u64,
    pub(super) queues: u64,
    pub(super) config: Vec<u8>,
    pub(super) vice: Option<(Request, Vice)>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            features: FEATURES | PROTOCOL_FEATURES,
            protocol: protocol::MQ | protocol::REPLY_ACK | protocol::CONFIG | protocol::INFLIGHT,
            queues: 4,
            config: (0..60).collect(),
            vice: None,
        }
    }
}

/// A back-end at a socket, a thread of its own. It serves one connection after the other.
#[derive(Debug)]
pub(super) struct Peer {
    /// What it was told, in order.
    pub(super) told: Receiver<Message>,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(super) fn listen(path: &Path, manners: Manners) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let (told_to, told) = channel();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let serve = move || {
            loop {
                use rustix::event::{PollFd, PollFlags, poll};
                let mut fds = [&listener as &dyn AsFd, &stopped as &dyn AsFd]
                    .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
                poll(&mut fds, None).unwrap();
                if !fds[1].revents().is_empty() {
                    return;
                }
                let (socket, _) = listener.accept().unwrap();
                serve(&socket, &manners, &told_to, &stopped);
            }
        };
        Self {
            told,
            stop,
            thread: Some(std::thread::spawn(serve)),
        }
    }

    /// Waits for the next message of a kind.
    pub(super) fn wait(&self, request: Request) -> Message {
        loop {
            let message = self.told.recv_timeout(super::LIMIT).expect("no message");
            if message.request == request as u32 {
                return message;
            }
        }
    }

    /// Dies, with its connections.
    pub(super) fn die(mut self, path: &Path) {
        std::fs::remove_file(path).unwrap();
        self.end();
    }

    fn end(&mut self) {
        self.stop.shutdown(std::net::Shutdown::Both).unwrap();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

fn serve(socket: &UnixStream, manners: &Manners, told: &Sender<Message>, stopped: &UnixStream) {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let mut fds = [socket, stopped].map(|fd| PollFd::new(fd, PollFlags::IN));
        poll(&mut fds, None).unwrap();
        if !fds[1].revents().is_empty() {
            return;
        }
        let Some(message) = receive(socket) else {
            return;
        };
        let request = message.request;
        let answered = answer(manners, &message);
        let needed = message.flags & 8 != 0;
        let _nobody_listens = told.send(message);
        let (mut payload, descriptor) = match answered {
            Some(answer) => answer,
            None if needed => (vec![0; 8], None),
            None => continue,
        };
        let vice = manners.vice.filter(|(at, _)| *at as u32 == request);
        let mut header = [request, 1 | 4, u32::try_from(payload.len()).unwrap()];
        let mut descriptor = descriptor;
        match vice.map(|(_, vice)| vice) {
            None => {}
            Some(Vice::Twice) => send(socket, header, &payload, None),
            Some(Vice::Close) => return,
            Some(Vice::Silence) => continue,
            Some(Vice::HalfAHeader) => {
                rustix::io::write(socket, &[1, 0, 0, 0, 5, 0]).unwrap();
                return;
            }
            Some(Vice::HalfAPayload) => {
                payload.pop();
                send(socket, header, &payload, None);
                return;
            }
            Some(Vice::Short) => {
                payload.pop();
                header[2] -= 1;
            }
            Some(Vice::Huge) => header[2] = 1 << 30,
            Some(Vice::Other) => header[0] = 99,
            Some(Vice::Version) => header[1] = 2 | 4,
            Some(Vice::Question) => header[1] = 1,
            Some(Vice::Refusal) if request == Request::GetConfig as u32 => {
                payload.clear();
                header[2] = 0;
            }
            Some(Vice::Refusal) => payload = vec![1, 0, 0, 0, 0, 0, 0, 0],
            Some(Vice::NoDescriptor) => descriptor = None,
        }
        send(socket, header, &payload, descriptor);
    }
}

fn answer(manners: &Manners, message: &Message) -> Option<(Vec<u8>, Option<OwnedFd>)> {
    let number = |number: u64| Some((number.to_le_bytes().to_vec(), None));
    let is = |request: Request| message.request == request as u32;
    if is(Request::GetFeatures) {
        number(manners.features)
    } else if is(Request::GetProtocolFeatures) {
        number(manners.protocol)
    } else if is(Request::GetQueueNum) {
        number(manners.queues)
    } else if is(Request::GetVringBase) {
        Some((message.payload.clone(), None))
    } else if is(Request::GetConfig) {
        let mut payload = message.payload.clone();
        let len = payload.len() - 12;
        payload[12..].copy_from_slice(&manners.config[..len]);
        Some((payload, None))
    } else if is(Request::GetInflightFd) {
        let area = memfd_create("inflight", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&area, 4096).unwrap();
        let mut payload = message.payload.clone();
        payload[..8].copy_from_slice(&4096_u64.to_le_bytes());
        Some((payload, Some(area)))
    } else {
        None
    }
}

fn receive(socket: &UnixStream) -> Option<Message> {
    let mut header = [0; 12];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut header)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    let received = recvmsg(socket, parts, &mut control, flags).ok()?;
    if received.bytes < 12 {
        return None;
    }
    let descriptors = control.drain().flat_map(|part| match part {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let descriptors = descriptors.collect();
    let [request, flags, len] =
        [0, 4, 8].map(|at| u32::from_le_bytes(header[at..at + 4].try_into().unwrap()));
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    (&*socket).read_exact(&mut payload).ok()?;
    Some(Message {
        request,
        flags,
        payload,
        descriptors,
    })
}

fn send(socket: &UnixStream, header: [u32; 3], payload: &[u8], descriptor: Option<OwnedFd>) {
    let header = header.map(u32::to_le_bytes).concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let parts = [IoSlice::new(&header), IoSlice::new(payload)];
    // The other end may have given up.
    let _gone = sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL);
}

/// What makes two descriptors the same file.
pub(super) fn inode(descriptor: &OwnedFd) -> u64 {
    use std::os::unix::fs::MetadataExt;
    File::from(descriptor.try_clone().unwrap())
        .metadata()
        .unwrap()
        .ino()
}
