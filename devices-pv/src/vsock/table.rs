//! The connections of a device, and whose turn it is.

use std::collections::{HashMap, VecDeque};

use trivisor_buses::StreamId;

use super::core::{Connection, Key};

/// Connections at most, with those that are being made or ended.
pub const MAX_CONNECTIONS: usize = 1024;

/// A place for a connection.
#[derive(Debug, Default)]
struct Place {
    connection: Option<Connection>,
    /// It stands in `due`, also when its connection has gone.
    queued: bool,
}

/// All of them. Who has a packet for the guest stands in a line, and behind it again after each packet.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<Place>,
    free: Vec<usize>,
    by_key: HashMap<Key, usize>,
    by_stream: HashMap<StreamId, usize>,
    due: VecDeque<usize>,
}

impl Table {
    /// Whether there is no room for one more.
    pub(super) fn is_full(&self) -> bool {
        self.by_key.len() >= MAX_CONNECTIONS
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Adds one whose key is new, and puts it in the line if it has a packet.
    pub(super) fn insert(&mut self, connection: Connection) {
        let at = self.free.pop().unwrap_or(self.places.len());
        self.by_key.insert(connection.key, at);
        if let Some(stream) = connection.stream {
            self.by_stream.insert(stream, at);
        }
        if at == self.places.len() {
            self.places.push(Place::default());
        }
        if let Some(place) = self.places.get_mut(at) {
            place.connection = Some(connection);
        }
        self.mark(at);
    }

    pub(super) fn find(&self, key: Key) -> Option<usize> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn find_stream(&self, stream: StreamId) -> Option<usize> {
        self.by_stream.get(&stream).copied()
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Connection> {
        self.places.get_mut(at)?.connection.as_mut()
    }

    /// Takes the stream out of a connection that stays.
    pub(super) fn take_stream(&mut self, at: usize) -> Option<StreamId> {
        let stream = self.get_mut(at)?.stream.take()?;
        self.by_stream.remove(&stream);
        Some(stream)
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Connection> {
        let connection = self.places.get_mut(at)?.connection.take()?;
        self.by_key.remove(&connection.key);
        if let Some(stream) = connection.stream {
            self.by_stream.remove(&stream);
        }
        self.free.push(at);
        Some(connection)
    }

    /// All of them, taken out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Connection> {
        let all = std::mem::take(self).places;
        all.into_iter().filter_map(|place| place.connection)
    }

    /// Puts a connection in the line, if it has a packet and does not stand there.
    pub(super) fn mark(&mut self, at: usize) {
        if let Some(place) = self.places.get_mut(at)
            && !place.queued
            && place.connection.as_ref().is_some_and(has_packet)
        {
            place.queued = true;
            self.due.push_back(at);
        }
    }

    /// Whether anybody stands in the line.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The first of the line, out of it. What it had may be no more.
    pub(super) fn take_due(&mut self) -> Option<usize> {
        let at = self.due.pop_front()?;
        if let Some(place) = self.places.get_mut(at) {
            place.queued = false;
        }
        Some(at)
    }
}

fn has_packet(connection: &Connection) -> bool {
    connection.next().is_some()
}
