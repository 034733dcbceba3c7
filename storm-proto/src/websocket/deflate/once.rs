//! A message for many sessions is compressed once for all that agreed on the same.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::compress::compress_alone;
use super::{Deflater, MAX_BITS, MIN_BITS};

const WINDOWS: usize = (MAX_BITS - MIN_BITS + 1) as usize;

/// The payloads of one message, one for each size of window, made when they are first
/// asked for. Clones share them.
#[derive(Clone, Default, Debug)]
pub(crate) struct Once {
    payloads: Arc<[OnceLock<Option<Bytes>>; WINDOWS]>,
}

impl Once {
    /// Nothing compressed yet.
    pub(crate) fn new() -> Once {
        Once::default()
    }

    /// The payload of `message` for the sessions that `deflater` is one of: `None` if they
    /// have contexts of their own, `Some(None)` if the message had better go plain.
    ///
    /// Where sessions differ in their level, the first one's is good for all.
    pub(crate) fn payload(&self, deflater: &Deflater, message: &[u8]) -> Option<Option<Bytes>> {
        let (window_bits, level) = deflater.shared()?;
        let slot = self.payloads.get(usize::from(window_bits - MIN_BITS))?;
        let compress = || compress_alone(message, window_bits, level).map(Bytes::from);
        Some(slot.get_or_init(compress).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::compress::COMPRESSED;
    use crate::websocket::Deflate;
    use crate::websocket::handshake::ServerHandshake;
    use crate::websocket::prepared::Prepared;
    use crate::{Message, Sender, WaterMarks};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

    /// The sending half of a session that has agreed on this.
    fn sender(deflate: Deflate) -> Sender {
        let request = ServerHandshake::new(Default::default()).receive(&mut &REQUEST[..]);
        let mut sender = Sender::websocket_server(WaterMarks::default());
        sender.deflate(&request.unwrap().unwrap().deflate(&deflate).unwrap());
        sender
    }

    /// How many times a message is compressed that goes to all of these.
    fn compressions(prepared: &Prepared, senders: &mut [Sender]) -> usize {
        let before = COMPRESSED.get();
        senders.iter_mut().for_each(|sender| sender.send_prepared(prepared).unwrap());
        COMPRESSED.get() - before
    }

    #[test]
    fn a_broadcast_is_compressed_once_for_each_agreement_and_each_context() {
        let alone = Deflate::new();
        let narrow = Deflate::new().server_max_window_bits(10);
        let context = Deflate::new().server_no_context_takeover(false);
        let kinds = [(alone, 100), (narrow, 100), (context, 3)];
        let many = |(deflate, count)| (0..count).map(move |_| sender(deflate));
        let mut senders = kinds.into_iter().flat_map(many).collect::<Vec<_>>();
        let prepared = Prepared::new(&[7; 10_000]);
        assert_eq!(compressions(&prepared, &mut senders), 2 + 3);
        // A context goes on with every message; what is alone is there already.
        assert_eq!(compressions(&prepared, &mut senders), 3);
        assert!(senders.iter().all(|sender| sender.queued() < 500), "it went out compressed");
    }

    #[test]
    fn what_gains_nothing_is_tried_once_and_what_is_short_or_asked_for_plain_never() {
        let mut senders = [Deflate::new(), Deflate::new()].map(sender);
        let mut random = crate::Random::from_seed(1);
        let noise = (0..500).flat_map(|_| random.key()).collect::<Vec<_>>();
        assert_eq!(compressions(&Prepared::new(&noise), &mut senders), 1);
        assert!(senders.iter().all(|sender| sender.queued() == 4 + noise.len()));
        assert_eq!(compressions(&Prepared::new("short"), &mut senders), 0);
        let plain = Message::binary(&[7; 10_000]).uncompressed();
        assert_eq!(compressions(&Prepared::new(plain), &mut senders), 0);
    }
}
