//! What the host tells, and what it is told.

use trivisor_buses::{StreamEvent, StreamId};

use super::Vsock;
use super::core::{Connection, Key, Stage};

impl Vsock {
    /// Takes `most` events at most; true when there may be more.
    pub(super) fn take_events(&mut self, most: u32) -> bool {
        for _ in 0..most {
            let Some(event) = self.host.next_event() else {
                return false;
            };
            self.take_event(event);
        }
        true
    }

    fn take_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Asked { stream, port } => self.ask_guest(stream, port),
            StreamEvent::Connected(stream) => self.with_stream(stream, |connection| {
                if connection.stage == Stage::Connecting {
                    connection.stage = Stage::Open;
                    connection.owed.set_response(true);
                }
            }),
            StreamEvent::Gone(stream) => {
                if let Some(at) = self.table.find_stream(stream) {
                    self.stream_gone(at);
                }
            }
            StreamEvent::Readable(stream) => self.with_stream(stream, |connection| {
                connection.readable = true;
            }),
            StreamEvent::Forwarded(stream) => self.forwarded(stream),
            StreamEvent::Inside => {}
        }
    }

    fn with_stream(&mut self, stream: StreamId, change: impl FnOnce(&mut Connection)) {
        if let Some(at) = self.table.find_stream(stream)
            && let Some(connection) = self.table.get_mut(at)
        {
            change(connection);
            self.table.mark(at);
        }
    }

    /// A program wants a connection.
    fn ask_guest(&mut self, stream: StreamId, port: u32) {
        if self.table.is_full() {
            self.host.close(stream);
            return;
        }
        let key = |host| Key { guest: port, host };
        let table = &self.table;
        let host_port = self.ports.allocate(|host| table.find(key(host)).is_some());
        let window = self.host.window();
        let connection = Connection::new(key(host_port), stream, Stage::Asked, window);
        self.table.insert(connection);
    }

    /// A connection that is not made will not be.
    fn stream_gone(&mut self, at: usize) {
        let unknown = |connection: &mut Connection| connection.owed.request();
        if self.table.get_mut(at).is_some_and(unknown) {
            self.close_stream(at);
            self.table.remove(at);
        } else {
            self.abort(at);
        }
    }

    fn forwarded(&mut self, stream: StreamId) {
        let Some(at) = self.table.find_stream(stream) else {
            return;
        };
        // Of no bytes: it tells whether the program reads.
        let is_open = self.host.write(stream, &[]).is_ok();
        let forwarded = self.host.forwarded(stream);
        self.with_stream(stream, |connection| connection.set_forwarded(forwarded));
        if !is_open {
            self.program_reads_no_more(at);
            self.table.mark(at);
        }
    }

    /// Ends the stream of a connection that stays.
    pub(super) fn close_stream(&mut self, at: usize) {
        if let Some(stream) = self.table.take_stream(at) {
            self.host.close(stream);
        }
    }

    /// Ends a connection: its stream at once, the rest when the guest has heard of it.
    pub(super) fn abort(&mut self, at: usize) {
        self.close_stream(at);
        if let Some(connection) = self.table.get_mut(at) {
            connection.stage = Stage::Over;
        }
        self.table.mark(at);
    }

    /// Ends all connections, of which the guest hears in another way.
    pub(super) fn forget_all(&mut self) {
        for connection in self.table.drain() {
            if let Some(stream) = connection.stream {
                self.host.close(stream);
            }
        }
        self.refusals.clear();
        self.blocked = false;
        self.asked_host = false;
    }
}
