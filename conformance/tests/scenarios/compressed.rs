//! Compression for the other end, as far as the core knows of it: its sender and its receiver.

use std::sync::{Arc, Mutex};

use storm_proto::websocket::handshake::Request;
use storm_proto::websocket::{Agreed, Deflate, Limits, Role};
use storm_proto::{Event, Message, Outbox, Random, Receiver, Sender, WaterMarks};

/// Set on the first frame of a compressed message (RFC 7692 section 6).
pub(crate) const RSV1: u8 = 0x40;

/// What a peer compresses and inflates with. Clones share it, so that its messages must leave
/// in the order in which they were compressed.
#[derive(Clone)]
pub(crate) struct Compressed {
    halves: Arc<Mutex<(Sender, Receiver)>>,
}

impl Compressed {
    /// A client's, if its `request` and these settings of the server lead to that.
    pub(crate) fn client(request: &Request, settings: Option<Deflate>) -> Option<Compressed> {
        let sender = Sender::websocket_client(Random::from_seed(1), WaterMarks::default());
        let agreed = request.deflate(&settings?)?;
        Some(Compressed::new(sender, Role::Client, &agreed))
    }

    /// A server's, if the client's `request` and these settings lead to that.
    pub(crate) fn server(request: &Request, settings: Option<Deflate>) -> Option<Compressed> {
        let sender = Sender::websocket_server(WaterMarks::default());
        let agreed = request.deflate(&settings?)?;
        Some(Compressed::new(sender, Role::Server, &agreed))
    }

    fn new(mut sender: Sender, role: Role, agreed: &Agreed) -> Compressed {
        let mut receiver = Receiver::websocket(role, Limits::new());
        sender.deflate(agreed);
        receiver.deflate(agreed);
        Compressed { halves: Arc::new(Mutex::new((sender, receiver))) }
    }

    /// The frame of a message, compressed if that gains anything.
    pub(crate) fn frame(&self, message: Message<'_>) -> Vec<u8> {
        let (sender, _) = &mut *self.halves.lock().unwrap();
        sender.send(message).unwrap();
        let mut wire = Outbox::new();
        sender.take(&mut wire);
        sender.wrote(0);
        wire.chunks().collect::<Vec<_>>().concat()
    }

    /// The payload of a compressed frame.
    pub(crate) fn inflate(&self, mut frame: Vec<u8>) -> Vec<u8> {
        let (_, receiver) = &mut *self.halves.lock().unwrap();
        let mut input = &mut frame[..];
        match receiver.next(&mut input) {
            Some(Event::Message(message)) => message.as_bytes().to_vec(),
            other => panic!("no message but {other:?}"),
        }
    }
}
