//! What is said on one connection to a back-end, and in which order: answers in, messages out. It knows no socket.
//!
//! | stage | messages | ends with |
//! |---|---|---|
//! | greeting | features, protocol's features, queues, configuration | the answer to the last one |
//! | ready | none | the driver's queues |
//! | starting | features, memory, what was in flight, each queue | the answer to the last one |
//! | serving | none | GET_VRING_BASE for each queue, after which it is ready |

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use trivisor_buses::ServedQueue;

use super::message::{
    Answer, Attached, Field, Header, MAX_CONFIG, MessageError, Outgoing, PROTOCOL_FEATURES,
    Request, protocol,
};

/// What a device wants of its back-end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Bytes of configuration that the back-end is to tell, 256 at most; 0: it has none.
    pub config: usize,
    /// Requests that were under way when a back-end died are done by the next one, if it can.
    pub inflight: bool,
}

/// What a back-end has to offer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// Features of the device type and of chapter 6.
    pub features: u64,
    /// Queues at most; 0: it does not say.
    pub queues: u64,
    /// Its configuration.
    pub config: Vec<u8>,
    /// Of the protocol's features those that are used.
    pub(super) protocol: u64,
    /// It has protocol features at all.
    pub(super) has_protocol: bool,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Greeting,
    Ready,
    Starting,
    Serving,
    Stopping,
}

/// A run of guest RAM, as the back-end is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) offset: u64,
}

/// Where the back-end keeps what is in flight. It outlives the back-end; we look at nothing of it.
#[derive(Debug)]
pub(super) struct Inflight {
    pub(super) area: OwnedFd,
    size: u64,
    offset: u64,
}

#[derive(Debug)]
pub(super) struct Session {
    wanted: Wanted,
    /// Queues of the device, and descriptors of the largest: what is in flight has room for these.
    queues: u16,
    queue_size: u16,
    outgoing: VecDeque<Outgoing>,
    awaited: Option<Request>,
    stage: Stage,
    offer: Offer,
    started: Vec<ServedQueue>,
    pub(super) inflight: Option<Inflight>,
}

impl Session {
    /// On a new connection. `owns`: for good, and not for a look at what there is.
    pub(super) fn new(wanted: Wanted, owns: bool, inflight: Option<Inflight>) -> Self {
        let mut session = Self {
            wanted: Wanted {
                config: wanted.config.min(MAX_CONFIG),
                ..wanted
            },
            queues: 0,
            queue_size: 0,
            outgoing: VecDeque::new(),
            awaited: None,
            stage: Stage::Greeting,
            offer: Offer::default(),
            started: Vec::new(),
            inflight,
        };
        session.push(Request::GetFeatures, &[], Attached::Nothing);
        if owns {
            session.push(Request::SetOwner, &[], Attached::Nothing);
        }
        session
    }

    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    /// What it offers; whole once the greeting is over.
    pub(super) const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Whether an answer is due.
    pub(super) const fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    fn push(&mut self, request: Request, fields: &[Field], attached: Attached) {
        self.outgoing
            .push_back(Outgoing::new(request, fields, attached));
    }

    /// The next message, with whether it wants an answer though it has none of its own; none while an answer is due.
    pub(super) fn next(&mut self) -> Option<(Outgoing, bool)> {
        if self.awaited.is_some() {
            return None;
        }
        let Some(message) = self.outgoing.pop_front() else {
            self.stage = match self.stage {
                Stage::Greeting | Stage::Stopping => Stage::Ready,
                Stage::Starting => Stage::Serving,
                Stage::Ready | Stage::Serving => self.stage,
            };
            return None;
        };
        let answered = message.request.is_answered();
        let acknowledge = !answered
            && self.stage == Stage::Starting
            && self.offer.protocol & protocol::REPLY_ACK != 0;
        self.awaited = (answered || acknowledge).then_some(message.request);
        Some((message, acknowledge))
    }

    /// Takes an answer.
    pub(super) fn take(
        &mut self,
        header: Header,
        payload: &[u8],
        descriptor: Option<OwnedFd>,
    ) -> Result<(), MessageError> {
        let asked = self.awaited.take();
        let request = asked.ok_or(MessageError::Unasked {
            request: header.request,
        })?;
        let answer = Answer::parse(request, header, payload, self.wanted.config)?;
        match (request, answer) {
            (Request::GetFeatures, Answer::Number(features)) => self.take_features(features),
            (Request::GetProtocolFeatures, Answer::Number(features)) => {
                self.take_protocol(features);
            }
            (Request::GetQueueNum, Answer::Number(queues)) => self.offer.queues = queues,
            (Request::GetConfig, Answer::Config(config)) => self.offer.config = config,
            (Request::GetVringBase, Answer::Base { queue }) => {
                let at = self
                    .started
                    .iter()
                    .position(|one| u32::from(one.index) == queue);
                let at = at.ok_or(MessageError::Queue { queue })?;
                self.started.remove(at);
            }
            // One of no bytes: it has nothing to keep.
            (
                Request::GetInflightFd,
                Answer::Inflight {
                    size: size @ 1..,
                    offset,
                },
            ) => {
                let request = request as u32;
                let area = descriptor.ok_or(MessageError::NoDescriptor { request })?;
                self.inflight = Some(Inflight { area, size, offset });
                self.give_inflight();
            }
            // Nothing else can come of these requests.
            _ => {}
        }
        Ok(())
    }

    fn take_features(&mut self, features: u64) {
        self.offer.features = features & !PROTOCOL_FEATURES;
        self.offer.has_protocol = features & PROTOCOL_FEATURES != 0;
        if self.offer.has_protocol {
            self.push(Request::GetProtocolFeatures, &[], Attached::Nothing);
        }
    }

    fn take_protocol(&mut self, features: u64) {
        let mut known = protocol::MQ | protocol::REPLY_ACK;
        if self.wanted.config > 0 {
            known |= protocol::CONFIG;
        }
        if self.wanted.inflight {
            known |= protocol::INFLIGHT;
        }
        let used = features & known;
        self.offer.protocol = used;
        let fields = [Field::U64(used)];
        self.push(Request::SetProtocolFeatures, &fields, Attached::Nothing);
        if used & protocol::MQ != 0 {
            self.push(Request::GetQueueNum, &[], Attached::Nothing);
        }
        if used & protocol::CONFIG != 0 {
            let config = self.wanted.config;
            let bytes = Field::U32(u32::try_from(config).unwrap_or(0));
            let fields = [Field::U32(0), bytes, Field::U32(0), Field::Room(config)];
            self.push(Request::GetConfig, &fields, Attached::Nothing);
        }
    }

    /// Has it serve these queues of a device that has `queues` of at most `queue_size`. Only when it is ready.
    pub(super) fn start(
        &mut self,
        features: u64,
        regions: &[Region],
        started: &[ServedQueue],
        (queues, queue_size): (u16, u16),
    ) {
        (self.queues, self.queue_size) = (queues, queue_size);
        self.started = started.to_vec();
        let protocol = if self.offer.has_protocol {
            PROTOCOL_FEATURES
        } else {
            0
        };
        let fields = [Field::U64(features | protocol)];
        self.push(Request::SetFeatures, &fields, Attached::Nothing);
        let count = u32::try_from(regions.len()).unwrap_or(u32::MAX);
        let mut fields = vec![Field::U32(count), Field::U32(0)];
        for region in regions {
            // The front-end's addresses are those of the guest: where it has its RAM is nobody's business.
            let [start, size, offset] = [region.start, region.size, region.offset].map(Field::U64);
            fields.extend([start, size, start, offset]);
        }
        self.push(Request::SetMemTable, &fields, Attached::Memory);
        if self.offer.protocol & protocol::INFLIGHT != 0 {
            if self.inflight.is_some() {
                self.give_inflight();
            } else {
                let fields = self.inflight_fields(0, 0);
                self.push(Request::GetInflightFd, &fields, Attached::Nothing);
            }
        }
        for queue in started {
            self.start_queue(queue);
        }
        self.stage = Stage::Starting;
    }

    fn start_queue(&mut self, queue: &ServedQueue) {
        let ServedQueue {
            index,
            size,
            areas: [descriptors, available, used],
            base,
        } = *queue;
        let number = Field::U32(index.into());
        let nothing = Attached::Nothing;
        let fields = [number, Field::U32(size.into())];
        self.push(Request::SetVringNum, &fields, nothing);
        let fields = [
            number,
            Field::U32(0),
            Field::U64(descriptors),
            Field::U64(used),
            Field::U64(available),
            Field::U64(0),
        ];
        self.push(Request::SetVringAddr, &fields, nothing);
        let fields = [number, Field::U32(base.into())];
        self.push(Request::SetVringBase, &fields, nothing);
        let fields = [Field::U64(index.into())];
        self.push(Request::SetVringCall, &fields, Attached::Call(index));
        self.push(Request::SetVringKick, &fields, Attached::Kick(index));
        if self.offer.has_protocol {
            let fields = [number, Field::U32(1)];
            self.push(Request::SetVringEnable, &fields, nothing);
        }
    }

    const fn inflight_fields(&self, size: u64, offset: u64) -> [Field; 5] {
        [
            Field::U64(size),
            Field::U64(offset),
            Field::U16(self.queues),
            Field::U16(self.queue_size),
            Field::U32(0),
        ]
    }

    /// Gives back the area for what is in flight, before anything that waits.
    fn give_inflight(&mut self) {
        let Some(Inflight { size, offset, .. }) = self.inflight else {
            return;
        };
        let fields = self.inflight_fields(size, offset);
        let message = Outgoing::new(Request::SetInflightFd, &fields, Attached::Inflight);
        match self.stage {
            // The answer that the other messages wait for.
            Stage::Starting => self.outgoing.push_front(message),
            _ => self.outgoing.push_back(message),
        }
    }

    /// Has it let go of all queues. Only when it serves.
    pub(super) fn stop(&mut self) {
        let queues: Vec<u16> = self.started.iter().map(|queue| queue.index).collect();
        for index in queues {
            let fields = [Field::U32(index.into()), Field::U32(0)];
            self.push(Request::GetVringBase, &fields, Attached::Nothing);
        }
        self.stage = Stage::Stopping;
    }

    /// The queues that were started and not stopped.
    pub(super) fn started(&self) -> impl Iterator<Item = u16> {
        self.started.iter().map(|queue| queue.index)
    }
}
