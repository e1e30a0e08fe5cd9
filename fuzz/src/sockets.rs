//! What arrives at sockets of the VM process.

/// The answers of a vhost-user back-end, as one stream.
pub mod vhost_user_answers {
    use std::io::{IoSlice, Write};
    use std::mem::MaybeUninit;
    use std::net::Shutdown;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use rustix::net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
        SocketType, sendmsg, socketpair,
    };
    use trivisor_backends::vhost_user::{Asker, BackEndQueues, Offer, Wanted};
    use trivisor_buses::{QueueServer, ServedQueue};
    use trivisor_memory::{Backing, GuestRam, RamLayout, RamOptions};

    use crate::features::note;

    /// Events of one input at most: a few for each answer.
    const MOST_EVENTS: usize = 1 << 16;

    fn give(asked: &OwnedFd, connection: &UnixStream) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let connections = [connection.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&connections)));
        let parts = [IoSlice::new(&[0])];
        let sent = sendmsg(asked, &parts, &mut control, SendFlags::NOSIGNAL);
        assert!(sent.is_ok(), "{sent:?}");
    }

    fn drain(server: &mut BackEndQueues) {
        let mut events = std::iter::from_fn(|| server.next_event());
        let count = events.by_ref().take(MOST_EVENTS).count();
        assert!(count < MOST_EVENTS, "it never comes to rest");
    }

    /// The entry point; its input is what a back-end sends, all at once.
    ///
    /// # Panics
    /// When the front-end is wrong.
    #[expect(
        clippy::expect_used,
        reason = "a target that cannot be set up is wrong itself"
    )]
    pub fn target(data: &[u8]) {
        let options = RamOptions {
            backing: Backing::Memfd,
            ..RamOptions::default()
        };
        let layout = RamLayout::new(1 << 20).expect("a megabyte is enough");
        let ram = GuestRam::new(layout, &options).expect("there is memory");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::SEQPACKET;
        let (asked, asker) = socketpair(AddressFamily::UNIX, kind, flags, None).expect("sockets");
        let (mut theirs, ours) = UnixStream::pair().expect("sockets");
        let wanted = Wanted {
            config: 60,
            inflight: true,
        };
        let asker = Asker::new(asker);
        let server = BackEndQueues::new(wanted, Offer::default(), asker, &ram, (2, 64));
        let (mut server, _watched) = server.expect("there are descriptors");
        // What does not fit into the socket is not sent.
        let unsent = theirs
            .set_nonblocking(true)
            .and_then(|()| theirs.write(data));
        note(unsent.is_ok());
        let _ended = theirs.shutdown(Shutdown::Write);
        give(&asked, &ours);
        drop(ours);
        let queue = |index: u16| ServedQueue {
            index,
            size: 64,
            areas: [0x1000, 0x2000, 0x3000],
            base: 0,
        };
        drain(&mut server);
        note((1, server.is_there()));
        server.start(1 << 32, &[queue(0), queue(1)]);
        drain(&mut server);
        note((2, server.is_there(), server.config().len()));
        server.stop();
        drain(&mut server);
        let failure = server.failure().map(std::mem::discriminant);
        note((3, failure));
    }

    /// A whole greeting, and parts of it.
    #[must_use]
    pub fn seeds() -> Vec<Vec<u8>> {
        let answer = |request: u32, payload: &[u8]| {
            let len = u32::try_from(payload.len()).unwrap_or(0);
            let header = [request, 5, len].map(u32::to_le_bytes).concat();
            [&header, payload].concat()
        };
        let number = |request, number: u64| answer(request, &number.to_le_bytes());
        let greeting = [
            number(1, 1 << 32 | 1 << 30),
            number(15, 1 | 1 << 3 | 1 << 9 | 1 << 12),
            number(17, 2),
            answer(24, &[7; 72]),
        ];
        let starting: Vec<u8> = [2, 5]
            .into_iter()
            .flat_map(|request| number(request, 0))
            .collect();
        let whole = greeting.concat();
        let plain = number(1, 1 << 32);
        vec![
            [&whole[..], &starting].concat(),
            [&whole[..], &starting, &answer(31, &[0; 24])].concat(),
            [whole.clone(), number(2, 1)].concat(),
            plain,
            whole,
        ]
    }
}
