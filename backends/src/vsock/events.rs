//! From what the epoll set says to what the device hears.

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::net::{SocketFlags, accept_with};
use trivisor_buses::{StreamEvent, StreamId};

use super::handshake::{self, Line};
use super::host::{
    CONNECTOR, Host, LISTENER, MAX_HANDSHAKES, MAX_STREAMS, both_directions, readable,
};
use super::stream::{Stage, Stream};

/// Changes that are fetched at once.
const AT_ONCE: usize = 32;

impl Host {
    /// Asks once what has changed, without waiting. After it there is an event if something has.
    pub(super) fn gather(&mut self) {
        let mut space = [const { std::mem::MaybeUninit::uninit() }; AT_ONCE];
        let found = match epoll::wait(&self.epoll, &mut space, Some(&Timespec::default())) {
            Ok((found, _)) => found,
            // A signal came, or the descriptor is no epoll set, which cannot be.
            Err(_) => return,
        };
        for event in found.iter() {
            let before = self.events.len();
            match event.data.u64() {
                LISTENER => self.take_program(),
                CONNECTOR => self.take_answers(),
                stream => self.stream_changed(stream, event.flags),
            }
            if self.events.len() == before {
                self.events.push_back(StreamEvent::Inside);
            }
        }
    }

    /// One program that has connected.
    fn take_program(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // An error: it has gone again, or the host gives no descriptor. Then it waits until the next one comes,
        // and is not asked for ever.
        let Ok(socket) = accept_with(&self.listener, flags) else {
            return;
        };
        // Says it again if there is one more.
        let data = epoll::EventData::new_u64(LISTENER);
        let _cannot_fail = epoll::modify(&self.epoll, &self.listener, data, readable());
        let is_new = |stream: &Option<Stream>| {
            stream
                .as_ref()
                .is_some_and(|stream| stream.stage == Stage::Handshake)
        };
        let new = self.streams.iter().filter(|(_, stream)| is_new(stream));
        let new: Vec<u64> = new.map(|(number, _)| *number).collect();
        if new.len() >= MAX_HANDSHAKES
            && let Some(oldest) = new.iter().min()
        {
            self.streams.remove(oldest);
        }
        if self.streams.len() >= MAX_STREAMS && !self.drop_closing() {
            // The program sees its end.
            return;
        }
        let number = self.number();
        let flags = readable() | EventFlags::RDHUP;
        if self.watch(&socket, number, flags).is_ok() {
            let stream = Stream::new(socket, Stage::Handshake);
            self.streams.insert(number, Some(stream));
        }
    }

    /// Makes room: of the streams that the device has done with, the oldest is cut off.
    pub(super) fn drop_closing(&mut self) -> bool {
        let is_closing = |stream: &Option<Stream>| {
            stream
                .as_ref()
                .is_some_and(|stream| stream.stage == Stage::Closing)
        };
        let closing = self.streams.iter().filter(|(_, stream)| is_closing(stream));
        let oldest = closing.map(|(number, _)| *number).min();
        oldest.is_some_and(|oldest| self.streams.remove(&oldest).is_some())
    }

    /// What became of the guest's wishes.
    pub(super) fn take_answers(&mut self) {
        for _ in 0..MAX_STREAMS {
            let Some(answer) = self.connector.answer() else {
                return;
            };
            let wish = answer.wish;
            if !matches!(self.streams.get(&wish), Some(None)) {
                // It was given up, and the program sees its end.
                continue;
            }
            let stream = answer.socket.and_then(|socket| {
                self.watch(&socket, wish, both_directions())?;
                Ok(Stream::new(socket, Stage::Open))
            });
            let event = if let Ok(stream) = stream {
                self.streams.insert(wish, Some(stream));
                StreamEvent::Connected(StreamId(wish))
            } else {
                self.streams.remove(&wish);
                StreamEvent::Gone(StreamId(wish))
            };
            self.events.push_back(event);
        }
        // A fair share is done. If there are more answers, the set says it again.
        if let Some(descriptor) = self.connector.descriptor() {
            let data = epoll::EventData::new_u64(CONNECTOR);
            let _cannot_fail = epoll::modify(&self.epoll, descriptor, data, readable());
        }
    }

    fn stream_changed(&mut self, number: u64, flags: EventFlags) {
        let Some(Some(stream)) = self.streams.get_mut(&number) else {
            return;
        };
        let gone = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        match stream.stage {
            Stage::Handshake => match handshake::read(&stream.socket, flags.intersects(gone)) {
                Ok(Line::Unfinished) => {}
                Ok(Line::Port(port)) => {
                    stream.stage = Stage::Asked;
                    let stream = StreamId(number);
                    self.events.push_back(StreamEvent::Asked { stream, port });
                }
                Ok(Line::Wrong) | Err(_) => drop(self.streams.remove(&number)),
            },
            Stage::Asked if flags.intersects(EventFlags::HUP | EventFlags::ERR) => {
                self.streams.remove(&number);
                self.events.push_back(StreamEvent::Gone(StreamId(number)));
            }
            // What it sends before the answer waits in its socket.
            Stage::Asked => {}
            Stage::Open => {
                if flags.intersects(EventFlags::IN | gone) {
                    self.events
                        .push_back(StreamEvent::Readable(StreamId(number)));
                }
                if stream.flush() || flags.intersects(EventFlags::HUP | EventFlags::ERR) {
                    self.events
                        .push_back(StreamEvent::Forwarded(StreamId(number)));
                }
            }
            Stage::Closing => {
                stream.flush();
                if stream.is_flushed() {
                    self.streams.remove(&number);
                }
            }
        }
    }
}
