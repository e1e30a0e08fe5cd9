//! What stands behind a network card: a cable for Ethernet frames.

use std::io;

use crate::segment::Segment;

/// Work that the other end of the cable does for the guest: virtio 1.3, 5.1.3 and 5.1.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offloads {
    /// Partial checksums are taken and given.
    pub checksum: bool,
    /// Segments of TCP over IPv4 larger than the MTU.
    pub tso4: bool,
    /// Segments of TCP over IPv6 larger than the MTU.
    pub tso6: bool,
    /// With the congestion bit.
    pub ecn: bool,
    /// Segments of UDP larger than the MTU.
    pub uso: bool,
}

/// A cable. No method waits: [`io::ErrorKind::WouldBlock`] says that it is full, or empty.
pub trait Packets: Send {
    /// Whether each frame has a virtio-net header of 12 bytes in front (virtio 1.3, 5.1.6). Without it a frame
    /// goes bare, and none of the offloads can be had.
    fn has_header(&self) -> bool;

    /// What the other end can take from the guest and give to it.
    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    /// What the guest takes from now on.
    ///
    /// # Errors
    /// What the host refused.
    fn accept_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        let _none_to_accept = offloads;
        Ok(())
    }

    /// From now on the header has so many bytes: 10 in front of a driver older than version 1, without the last field.
    ///
    /// # Errors
    /// What the host refused.
    fn set_header(&mut self, bytes: u8) -> io::Result<()> {
        if bytes == 12 {
            Ok(())
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Whether the other end is there. The device asks again when it was woken, and after an error.
    fn link_is_up(&self) -> bool {
        true
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: later. Others: the frame is lost, as on a cable.
    fn send(&mut self, frame: &[Segment]) -> io::Result<()>;

    /// Sends each of the frames as [`send`](Self::send) does, in their order, up to the first for which the cable is full;
    /// `results` gets what became of each of them, that one included.
    fn send_all(
        &mut self,
        frames: &mut dyn Iterator<Item = &[Segment]>,
        results: &mut Vec<io::Result<()>>,
    ) {
        for frame in frames {
            let result = self.send(frame);
            let full = matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            results.push(result);
            if full {
                break;
            }
        }
    }

    /// Receives one frame: into the segments, and what they have no room for into `rest`. The bytes that came, 0 for an
    /// empty frame; what does not fit into both is cut off.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: there is none now. Others: the cable is broken for now.
    fn receive(&mut self, into: &[Segment], rest: &mut [u8]) -> io::Result<usize>;
}
