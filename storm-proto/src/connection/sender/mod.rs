//! Messages in, bytes out: the sending half of an open connection.

pub(crate) mod policy;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::Random;
use crate::connection::assembly::LARGE;
use crate::connection::flow::WaterMarks;
use crate::connection::outbox::{Control, Outbox};
use crate::connection::slow::{Key, Loss, Outgoing, Slow, SlowConsumer};
use crate::contain::catch;
use crate::error::SendError;
use crate::framing::{Framer, FramingError};
use crate::message::{Kind, Message};
use crate::websocket::Role;
use crate::websocket::deflate::{Agreed, Deflater, GROWTH};
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::header::{self, Encoded, OpCode};
use crate::websocket::frame::mask::mask;
use crate::websocket::prepared::Prepared;

/// The sending half of an open connection: encodes messages into an outbox, in
/// order, and never waits.
///
/// Whoever writes to the transport takes the encoded bytes with [`Sender::take`]
/// and says with [`Sender::wrote`] how much of them is left: both together are
/// what the water marks bound.
#[derive(Debug)]
pub struct Sender {
    encoding: Encoding,
    marks: WaterMarks,
    outbox: Outbox,
    /// Pings and pongs, which overtake.
    controls: Outbox,
    /// Bytes that the writer has taken and not written.
    taken: usize,
    /// How many of these belong to the handshake, which takes no space from messages.
    opening: u32,
    /// What others queue while room is lent: behind what the borrower brings back.
    behind: Outbox,
    /// Room of the outbox that is lent.
    lent: usize,
    /// False once a Close is queued or the connection is over.
    open: bool,
    /// The framer panicked.
    framer_failed: bool,
    /// Something was refused, and the low mark was not reached since.
    pressured: bool,
    /// Bytes of answers: sent while a message was handled, and not written. What is written
    /// counts as answers first, so it is never too many.
    answers: usize,
    /// There was no room for another answer, and the low mark was not reached since.
    choked: bool,
    /// A message shorter than this is plain, has a header of two bytes and a key, and is
    /// encoded at once.
    small: u8,
    /// If compression was agreed on.
    deflater: Option<Box<Deflater>>,
    /// Whoever sends now waits if there is no room.
    patient: bool,
    /// Once the policy is another than to wait, a send was refused, or a message with a key waits.
    slow: Option<Box<Slow>>,
}

/// Messages of a WebSocket that have a header of two bytes.
const SMALL: u8 = header::MAX_CONTROL as u8 + 1;

#[derive(Debug)]
enum Encoding {
    Framed(Arc<dyn Framer>),
    /// A client masks with keys from here; a server has none.
    WebSocket(Option<Box<Random>>),
}

impl Sender {
    /// Sends messages as `framer` wraps them.
    #[must_use]
    pub fn framed(framer: Arc<dyn Framer>, marks: WaterMarks) -> Sender {
        Sender::new(Encoding::Framed(framer), marks)
    }

    /// Sends WebSocket messages as a server.
    #[must_use]
    pub fn websocket_server(marks: WaterMarks) -> Sender {
        Sender::new(Encoding::WebSocket(None), marks)
    }

    /// Sends WebSocket messages as a client, masked with fresh keys from `random`.
    #[must_use]
    pub fn websocket_client(random: Random, marks: WaterMarks) -> Sender {
        Sender::new(Encoding::WebSocket(Some(Box::new(random))), marks)
    }

    fn new(encoding: Encoding, marks: WaterMarks) -> Sender {
        let (outbox, controls, behind) = (Outbox::new(), Outbox::new(), Outbox::new());
        Sender {
            encoding,
            marks,
            outbox,
            controls,
            taken: 0,
            opening: 0,
            behind,
            lent: 0,
            open: true,
            framer_failed: false,
            pressured: false,
            answers: 0,
            choked: false,
            small: SMALL,
            deflater: None,
            patient: false,
            slow: None,
        }
    }

    /// Compresses messages from now on, as was agreed on in the opening handshake.
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    pub fn deflate(&mut self, agreed: &Agreed) {
        self.agreed(Some(agreed));
    }

    /// What the opening handshake agreed on.
    pub(crate) fn agreed(&mut self, deflate: Option<&Agreed>) {
        let role = match &self.encoding {
            Encoding::WebSocket(None) => Role::Server,
            Encoding::WebSocket(Some(_)) => Role::Client,
            Encoding::Framed(_) => return,
        };
        if let Some(agreed) = deflate {
            self.deflater = Deflater::new(agreed, role);
        }
        self.shorten();
    }

    /// Queues a message: all of it or nothing.
    ///
    /// # Errors
    /// [`SendError::Closed`] after a Close; [`SendError::Full`] if bytes are queued
    /// and the message would cross the limit, or what the policy makes of that
    /// ([`SlowConsumer`](crate::SlowConsumer)); [`SendError::Framing`] if the framing
    /// cannot carry it.
    #[inline]
    pub fn send<'a>(&mut self, message: impl Into<Message<'a>>) -> Result<(), SendError> {
        let message = message.into();
        if !self.open {
            return Err(SendError::Closed);
        }
        match &self.encoding {
            Encoding::WebSocket(None) if message.len() < usize::from(self.small) => {
                if !self.admit(2 + message.len()) {
                    return self.refused(message.len(), false);
                }
                let header = header::encode_small(data_opcode(message.kind()), message.len());
                self.queue().push(|out| {
                    out.reserve(header.len() + message.len());
                    out.extend_from_slice(&header);
                    out.extend_from_slice(message.as_bytes());
                });
                Ok(())
            }
            _ if self.slow.is_some() => self.send_by_policy(Outgoing::Message(message), None),
            _ => match self.encode(message) {
                Err(SendError::Full) => self.refused(message.len(), false),
                sent => sent,
            },
        }
    }

    /// Queues a message in the place of the one with the same key that waits, or behind all
    /// others; see [`SlowConsumer`](crate::SlowConsumer).
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_latest<'a>(
        &mut self,
        key: impl Into<Key>,
        message: impl Into<Message<'a>>,
    ) -> Result<(), SendError> {
        match self.keyed() {
            true => self.send_by_policy(Outgoing::Message(message.into()), Some(key.into())),
            false => self.send(message),
        }
    }

    /// Readies the sender for a message with a key; false if nothing is queued, so that the
    /// message leaves next whatever its key is.
    fn keyed(&mut self) -> bool {
        if self.slow.is_none() && self.queued() + self.lent > 0 {
            self.slow = Some(Box::default());
        }
        self.slow.is_some()
    }

    /// Queues a message of any size if no more than the low mark is queued, so that nobody
    /// who waited for that is refused: the bound is the limit, or the low mark and one message.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub(crate) fn send_waited(&mut self, message: Message<'_>) -> Result<(), SendError> {
        let marks = self.marks;
        if !self.is_above_low_mark() {
            self.marks = WaterMarks::new(usize::MAX);
        }
        let sent = self.send(message);
        self.marks = marks;
        sent
    }

    /// Queues a message that was encoded before.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        if !self.open {
            return Err(SendError::Closed);
        }
        match self.slow {
            Some(_) => self.send_by_policy(Outgoing::Prepared(prepared), None),
            None => match self.encode_prepared(prepared) {
                Err(SendError::Full) => self.refused(prepared.payload().len(), false),
                sent => sent,
            },
        }
    }

    /// As [`Sender::send_latest`], with a message that was encoded before.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_latest_prepared(
        &mut self,
        key: impl Into<Key>,
        prepared: &Prepared,
    ) -> Result<(), SendError> {
        match self.keyed() {
            true => self.send_by_policy(Outgoing::Prepared(prepared), Some(key.into())),
            false => self.send_prepared(prepared),
        }
    }

    /// Queues a message if it fits.
    fn encode(&mut self, message: Message<'_>) -> Result<(), SendError> {
        match &self.encoding {
            Encoding::WebSocket(_) if self.deflater.is_none() => self.send_plain(message),
            Encoding::WebSocket(_) => self.send_compressed(message),
            Encoding::Framed(_) => self.push_framed(message),
        }
    }

    fn encode_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        let Encoding::WebSocket(None) = &self.encoding else {
            return self.encode(prepared.message(&prepared.shared_payload()));
        };
        if let Some(deflater) = &self.deflater {
            match prepared.compressed(deflater) {
                None => return self.encode(prepared.message(&prepared.shared_payload())),
                Some(Some(payload)) => {
                    let len = prepared.payload().len();
                    return self.push_compressed(prepared.kind(), &payload, len);
                }
                Some(None) => {}
            }
        }
        let frame = prepared.frame();
        if !self.admit(frame.len()) {
            return Err(SendError::Full);
        }
        if frame.len() >= LARGE {
            self.queue().push_whole(frame.clone());
        } else {
            self.queue().push(|out| out.extend_from_slice(frame));
        }
        Ok(())
    }

    /// Queues the one Close frame behind all that is queued, and ends sending. On
    /// framed TCP only ends sending. Later calls do nothing: the first reason wins.
    pub fn close(&mut self, frame: &CloseFrame) {
        if !self.open {
            return;
        }
        self.end();
        if matches!(self.encoding, Encoding::WebSocket(_)) && !self.close_behind(frame) {
            self.push_close(frame);
        }
    }

    fn push_close(&mut self, frame: &CloseFrame) {
        let (code, reason) = frame.body();
        // Answering an empty Close: a code that stands for absence is not sent.
        let code = if frame.code().is_sendable() { &code[..] } else { &[] };
        let Sender { encoding, outbox, behind, lent, .. } = self;
        let queue = if *lent > 0 { behind } else { outbox };
        queue.push(|out| encoding.encode_control(OpCode::Close, code, reason, out));
    }

    /// Ends sending without a word; what is queued is still to be written.
    pub fn end(&mut self) {
        self.open = false;
        self.forget_context();
    }

    /// A context is of no more use once all is compressed, and handles of a session may live
    /// long.
    fn forget_context(&mut self) {
        if !self.open && self.slow.as_ref().is_none_or(|slow| slow.backlog.is_empty()) {
            self.deflater = None;
        }
    }

    /// Ends sending and drops what is queued: the messages in it, and the bytes of their
    /// payloads.
    pub fn abort(&mut self) -> Loss {
        let lost = self.unsent(&Outbox::new());
        self.drop_backlog();
        self.end();
        (self.lent, self.answers) = (0, 0);
        (self.controls, self.outbox, self.behind) = Default::default();
        lost
    }

    /// The connection is over: nothing is queued any more, and nobody waits.
    pub(crate) fn finish(&mut self) {
        let _ = self.abort();
        (self.taken, self.pressured, self.choked) = (0, false, false);
    }

    /// The messages that are not wholly written, and the bytes of their payloads that are not;
    /// `wire` has what the writer took.
    pub(crate) fn unsent(&self, wire: &Outbox) -> Loss {
        let is_framed = matches!(self.encoding, Encoding::Framed(_));
        let mut unsent = self.slow.as_ref().map_or(Loss::default(), |slow| slow.backlog.sum());
        [wire, &self.outbox, &self.behind]
            .iter()
            .for_each(|queue| unsent += queue.unsent(is_framed));
        unsent
    }

    /// True if the writer is yet to take something other than Pings and Pongs.
    pub(crate) fn has_untaken(&self) -> bool {
        let waits = self.slow.as_ref().is_some_and(|slow| slow.bytes() > 0);
        waits || !self.outbox.is_empty() || !self.behind.is_empty()
    }

    /// Queues a Ping; the writer puts it at the next frame border.
    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.control(Control::Ping, OpCode::Ping, payload);
    }

    /// Queues a Pong of the application; it overtakes the messages that are queued. At most 16
    /// wait: one more replaces the latest of them.
    ///
    /// # Errors
    /// [`SendError::Closed`] after a Close; [`SendError::NoControlFrames`] on plain TCP;
    /// [`SendError::ControlTooLong`] if the payload has more than 125 bytes.
    pub fn send_pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        if matches!(self.encoding, Encoding::Framed(_)) {
            return Err(SendError::NoControlFrames);
        }
        if payload.len() > header::MAX_CONTROL {
            return Err(SendError::ControlTooLong);
        }
        if !self.open {
            return Err(SendError::Closed);
        }
        self.pong(payload);
        Ok(())
    }

    /// Queues a Pong; the writer puts it at the next frame border.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.control(Control::Pong, OpCode::Pong, payload);
    }

    /// Nothing may follow our Close.
    fn control(&mut self, kind: Control, opcode: OpCode, payload: &[u8]) {
        let Sender { encoding, controls, open: true, .. } = self else { return };
        if matches!(encoding, Encoding::WebSocket(_)) {
            controls.push_waiting_control(kind, |out| {
                encoding.encode_control(opcode, payload, &[], out)
            });
        }
    }

    /// Lends up to `most` bytes of room to a borrower that encodes messages of its own, if
    /// this is a server's WebSocket that compresses none of them; returns how many. They
    /// count as queued until [`Sender::collect`].
    ///
    /// None where a message that does not fit is dropped or ends the connection: it must not do
    /// so because of room that is lent, and then given back unused.
    pub(crate) fn lend(&mut self, most: usize) -> usize {
        let plain = self.small == SMALL && matches!(self.encoding, Encoding::WebSocket(None));
        if self.open && plain && self.slow_consumer() == SlowConsumer::Wait {
            self.lent = self.marks.limit().saturating_sub(self.queued()).min(most);
        }
        self.lent
    }

    /// True while room is lent: what is sent now queues behind the borrower.
    pub(crate) const fn is_lent(&self) -> bool {
        self.lent > 0
    }

    /// Takes lent room back, with the frames that were made in it; what others queued since
    /// comes behind them. Leaves an empty buffer in `frames`. Returns true if there is room
    /// again for those that were refused.
    pub(crate) fn collect(&mut self, frames: &mut Vec<u8>) -> bool {
        self.lent = 0;
        self.answers += frames.len();
        self.outbox.adopt(frames);
        self.outbox.append(&mut self.behind);
        self.relieve()
    }

    /// Moves everything queued to `wire`, if that is empty; control frames in any case,
    /// to the next frame border.
    pub fn take(&mut self, wire: &mut Outbox) {
        if wire.is_empty() {
            self.encode_waiting();
            if !self.outbox.is_empty() {
                core::mem::swap(wire, &mut self.outbox);
            }
        }
        wire.take_controls(&mut self.controls);
        self.taken = wire.len();
    }

    /// The writer was given `n` bytes of the handshake, ahead of every message.
    pub(crate) fn queue_opening(&mut self, n: usize) {
        self.taken += n;
        self.opening = self.opening.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
    }

    /// Bytes that take space from the next message.
    #[inline]
    fn load(&self) -> usize {
        self.queued().saturating_sub(self.opening as usize) + self.lent
    }

    /// The writer made progress: `left` bytes of what it took are not written.
    ///
    /// Returns true if there is room again for those that were refused.
    pub fn wrote(&mut self, left: usize) -> bool {
        let written = self.taken.saturating_sub(left);
        self.answers = self.answers.saturating_sub(written);
        self.taken = left;
        self.opening = self.opening.saturating_sub(u32::try_from(written).unwrap_or(u32::MAX));
        let unchoked = self.choked && written > 0 && self.answers <= self.marks.low();
        self.relieve() || unchoked
    }

    fn relieve(&mut self) -> bool {
        let relieved = self.pressured && self.queued() <= self.marks.low();
        if relieved {
            self.pressured = false;
            if let Some(slow) = &mut self.slow {
                slow.relieved();
            }
        }
        relieved
    }

    /// `bytes` were queued while a message was handled.
    pub(crate) fn answered(&mut self, bytes: usize) {
        self.answers += bytes;
    }

    /// True if a message may be handed over that is answered with one of `len` bytes: what
    /// its answers add never fills the outbox by itself. After a no it is the low mark that
    /// brings a yes.
    ///
    /// What others have queued does not count. Were a message held back because of it, two
    /// sides that both send much would wait for each other for ever.
    pub(crate) fn has_room_to_answer(&mut self, len: usize) -> bool {
        if self.choked && self.answers > self.marks.low() {
            return false;
        }
        self.choked = !self.marks.fits(self.answers, len.saturating_add(header::MAX_HEADER));
        !self.choked
    }

    /// Bytes accepted and not yet written.
    #[must_use]
    #[inline]
    pub fn queued(&self) -> usize {
        let waiting = self.slow.as_ref().map_or(0, |slow| slow.bytes());
        self.outbox.len() + self.controls.len() + self.taken + self.behind.len() + waiting
    }

    /// True if the writer has something to take.
    #[must_use]
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty()
            || !self.controls.is_empty()
            || self.slow.as_ref().is_some_and(|slow| slow.bytes() > 0)
    }

    /// True while more than the low mark is queued.
    pub(crate) fn is_above_low_mark(&self) -> bool {
        self.queued() > self.marks.low()
    }

    /// True if a message with a payload of `len` bytes would be accepted now, and no other
    /// dropped for it.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        let growth = if self.deflater.is_some() { GROWTH } else { 0 };
        let most = len.saturating_add(header::MAX_HEADER + growth);
        self.marks.fits(self.load(), most)
    }

    /// True from a refusal, or the first of a burst of dropped messages, until the queue has
    /// fallen to the low mark.
    #[must_use]
    pub const fn is_backpressured(&self) -> bool {
        self.pressured
    }

    /// True until a Close is queued or the connection is over.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// The queue of encoded bytes, to offer it memory.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    #[inline]
    fn admit(&mut self, size: usize) -> bool {
        let fits = self.marks.fits(self.load(), size);
        self.pressured |= !fits;
        fits
    }

    /// Where the next frame goes.
    #[inline]
    fn queue(&mut self) -> &mut Outbox {
        if self.lent > 0 { &mut self.behind } else { &mut self.outbox }
    }

    /// Queues a data message as it is.
    #[inline]
    fn send_plain(&mut self, message: Message<'_>) -> Result<(), SendError> {
        let masked = self.is_masked();
        if !self.admit(header::encoded_len(message.len(), masked) + message.len()) {
            return Err(SendError::Full);
        }
        let header = header::encode(data_opcode(message.kind()), message.len(), masked);
        self.push_data_frame(header, message, message.len());
        Ok(())
    }

    /// Queues a data message compressed, unless it is too short, was asked to go plain, or
    /// gains nothing.
    fn send_compressed(&mut self, message: Message<'_>) -> Result<(), SendError> {
        let masked = self.is_masked();
        // Not even a byte would fit: the work is spared.
        if !self.admit(header::encoded_len(1, masked) + 1) {
            return Err(SendError::Full);
        }
        let compressed = match &mut self.deflater {
            Some(deflater)
                if message.len() >= deflater.threshold() && !message.is_uncompressed() =>
            {
                deflater.compress(message.as_bytes())
            }
            _ => None,
        };
        let Some(payload) = compressed else { return self.send_plain(message) };
        let sent = self.push_compressed(message.kind(), &Bytes::from(payload), message.len());
        if let (Err(_), Some(deflater)) = (&sent, &mut self.deflater) {
            deflater.forget();
        }
        sent
    }

    /// Queues a message that is compressed already, and had `len` bytes before.
    fn push_compressed(
        &mut self,
        kind: Kind,
        payload: &Bytes,
        len: usize,
    ) -> Result<(), SendError> {
        let masked = self.is_masked();
        if !self.admit(header::encoded_len(payload.len(), masked) + payload.len()) {
            return Err(SendError::Full);
        }
        let header = header::encode(data_opcode(kind), payload.len(), masked).compressed();
        let message = Message::backed(kind, payload);
        if masked || by_reference(&message).is_none() {
            self.queue().note(len, payload.len());
        }
        self.push_data_frame(header, message, len);
        Ok(())
    }

    const fn is_masked(&self) -> bool {
        matches!(self.encoding, Encoding::WebSocket(Some(_)))
    }

    /// Queues a frame; its payload had `len` bytes before it was compressed.
    #[inline]
    fn push_data_frame(&mut self, header: Encoded, message: Message<'_>, len: usize) {
        if let Encoding::WebSocket(Some(random)) = &mut self.encoding {
            let key = random.key();
            return self.queue().push(|out| {
                out.reserve(header::MAX_HEADER + message.len());
                out.extend_from_slice(header.as_bytes());
                out.extend_from_slice(&key);
                let payload_at = out.len();
                out.extend_from_slice(message.as_bytes());
                mask(&mut out[payload_at..], key);
            });
        }
        if let Some(payload) = by_reference(&message) {
            self.queue().push(|out| out.extend_from_slice(header.as_bytes()));
            return self.queue().push_payload(payload.clone(), len);
        }
        self.queue().push(|out| {
            out.reserve(header::MAX_HEADER + message.len());
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(message.as_bytes());
        });
    }

    /// Queues what the framer makes of a message. The framer writes beside the queue: one that
    /// fails half-way leaves nothing behind.
    fn push_framed(&mut self, message: Message<'_>) -> Result<(), SendError> {
        let Encoding::Framed(framer) = &self.encoding else { return Err(SendError::Closed) };
        let (marks, queued, payload) = (self.marks, self.load(), message.as_bytes());
        let reference = by_reference(&message);
        let mut frame = self.outbox.draft();
        // What stands behind a payload that is queued by reference.
        let mut tail = Vec::new();
        let framed = catch(|| {
            framer.encode_head(payload, &mut frame).map_err(SendError::Framing)?;
            let mut size = frame.len() + payload.len();
            if !marks.fits(queued, size) {
                return Err(SendError::Full);
            }
            if reference.is_some() {
                framer.encode_tail(payload, &mut tail);
                size += tail.len();
            } else {
                frame.extend_from_slice(payload);
                framer.encode_tail(payload, &mut frame);
                if frame.len() < size {
                    let rule = "what it appended behind the payload took bytes away";
                    return Err(SendError::Framing(FramingError::BrokenContract(rule)));
                }
                size = frame.len();
            }
            if marks.fits(queued, size) { Ok(size) } else { Err(SendError::Full) }
        });
        let framed = framed.unwrap_or(Err(SendError::Framing(FramingError::Panicked)));
        if let Ok(size) = framed {
            self.outbox.adopt(&mut frame);
            if let Some(bytes) = reference {
                self.outbox.push_payload(bytes.clone(), bytes.len());
                self.outbox.adopt(&mut tail);
            }
            self.outbox.note(payload.len(), size);
        }
        self.outbox.put_back(frame);
        self.pressured |= framed == Err(SendError::Full);
        self.note_framer(framed.map(drop))
    }

    /// A framer that panicked ends its connection: nothing more is accepted.
    fn note_framer<T>(&mut self, framed: Result<T, SendError>) -> Result<T, SendError> {
        if matches!(framed, Err(SendError::Framing(FramingError::Panicked))) {
            self.framer_failed = true;
            self.end();
        }
        framed
    }

    /// True once the framer has panicked: the connection is to end.
    pub(crate) const fn has_framer_failed(&self) -> bool {
        self.framer_failed
    }
}

impl Encoding {
    /// A control frame with `head` and `body` as its payload.
    fn encode_control(&mut self, opcode: OpCode, head: &[u8], body: &[u8], out: &mut Vec<u8>) {
        let Encoding::WebSocket(keys) = self else { return };
        if keys.is_none() {
            // A server's answer to a Ping, of which a peer may send many.
            out.extend_from_slice(&header::encode_small(opcode, head.len() + body.len()));
            out.extend_from_slice(head);
            return out.extend_from_slice(body);
        }
        let header = header::encode(opcode, head.len() + body.len(), keys.is_some());
        out.extend_from_slice(header.as_bytes());
        let key = keys.as_mut().map(|random| random.key());
        out.extend_from_slice(key.as_ref().map_or(&[], |key| &key[..]));
        let payload_at = out.len();
        out.extend_from_slice(head);
        out.extend_from_slice(body);
        mask(&mut out[payload_at..], key.unwrap_or_default());
    }
}

/// The payload, if it is to be queued by reference instead of copied.
fn by_reference<'a>(message: &Message<'a>) -> Option<&'a Bytes> {
    message.backing().filter(|bytes| bytes.len() >= LARGE)
}

pub(crate) const fn data_opcode(kind: Kind) -> OpCode {
    match kind {
        Kind::Text => OpCode::Text,
        Kind::Binary => OpCode::Binary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{Delimiter, LengthPrefix};
    use crate::websocket::frame::close_code::CloseCode;

    fn server(limit: usize) -> Sender {
        Sender::websocket_server(WaterMarks::new(limit))
    }

    fn written(sender: &mut Sender) -> Vec<u8> {
        let mut wire = Outbox::new();
        sender.take(&mut wire);
        let bytes = wire.chunks().collect::<Vec<_>>().concat();
        sender.wrote(0);
        bytes
    }

    #[test]
    fn a_server_sends_the_bytes_of_rfc_6455_section_5_7() {
        let mut sender = server(1000);
        sender.send("Hello").unwrap();
        assert_eq!(written(&mut sender), b"\x81\x05Hello");
        sender.send(&[7; 256]).unwrap();
        assert_eq!(written(&mut sender)[..4], [0x82, 0x7E, 0x01, 0x00]);
        sender.send(&[7; 65536]).unwrap();
        assert_eq!(written(&mut sender)[..10], [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_client_masks_every_frame_with_a_fresh_key() {
        let mut sender = Sender::websocket_client(Random::from_seed(1), WaterMarks::default());
        let mut keys = Vec::new();
        for _ in 0..100 {
            sender.send("Hello").unwrap();
            let mut bytes = written(&mut sender);
            let key = [bytes[2], bytes[3], bytes[4], bytes[5]];
            assert_eq!(bytes[..2], [0x81, 0x85]);
            mask(&mut bytes[6..], key);
            assert_eq!(&bytes[6..], b"Hello");
            keys.push(key);
        }
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 100);
    }

    #[test]
    fn the_limit_is_strict_and_the_low_mark_ends_the_pressure() {
        let mut sender = server(100);
        let mut wire = Outbox::new();
        for _ in 0..10 {
            sender.send(&[0; 8]).unwrap();
        }
        assert_eq!((sender.queued(), sender.is_backpressured()), (100, false));
        assert_eq!(sender.send(&[]), Err(SendError::Full));
        assert!(sender.is_backpressured());
        sender.take(&mut wire);
        assert_eq!(sender.queued(), 100, "taken is not written");
        assert!(!sender.wrote(60), "above the low mark");
        assert!(sender.send(&[]).is_ok(), "but there is room");
        assert!(sender.wrote(40) && !sender.is_backpressured());
    }

    #[test]
    fn a_lone_message_is_accepted_whatever_its_size() {
        let mut sender = server(10);
        assert!(sender.has_room(1000));
        sender.send(&[0; 1000]).unwrap();
        assert!(!sender.has_room(0));
        assert_eq!(sender.send("x"), Err(SendError::Full));
    }

    #[test]
    fn a_large_backed_payload_is_queued_by_reference_on_every_protocol() {
        let payload = Bytes::from(alloc::vec![7; LARGE]);
        let mut senders = [
            (server(1 << 20), 4),
            (Sender::framed(Arc::new(LengthPrefix::new()), WaterMarks::default()), 4),
            (Sender::framed(Arc::new(Delimiter::lines()), WaterMarks::default()), 0),
        ];
        for (sender, head) in &mut senders {
            sender.send(&payload).unwrap();
            let chunks: Vec<_> = sender.outbox().chunks().collect();
            let shared = chunks.iter().any(|chunk| chunk.as_ptr() == payload.as_ptr());
            assert!(shared, "no copy was made");
            assert_eq!(chunks.concat()[*head..][..LARGE], payload[..]);
        }
    }

    #[test]
    fn a_prepared_message_gives_the_same_bytes_as_a_plain_one() {
        for payload in [&b"small"[..], &[7; LARGE]] {
            let prepared = Prepared::new(payload);
            let make: [fn() -> Sender; 3] = [
                || server(1 << 20),
                || Sender::websocket_client(Random::from_seed(9), WaterMarks::default()),
                || Sender::framed(Arc::new(LengthPrefix::new()), WaterMarks::default()),
            ];
            for make in make {
                let (mut plain, mut shared) = (make(), make());
                plain.send(payload).unwrap();
                shared.send_prepared(&prepared).unwrap();
                assert_eq!(written(&mut plain), written(&mut shared));
            }
        }
    }

    #[test]
    fn exactly_one_close_is_sent_behind_what_is_queued_and_nothing_after_it() {
        let mut sender = server(100);
        sender.send("x").unwrap();
        sender.close(&CloseFrame::new(CloseCode::NORMAL, "bye").unwrap());
        sender.close(&CloseFrame::new(CloseCode::GOING_AWAY, "again").unwrap());
        assert_eq!(sender.send("y"), Err(SendError::Closed));
        sender.pong(b"late");
        assert_eq!(written(&mut sender), b"\x81\x01x\x88\x05\x03\xe8bye");
    }

    #[test]
    fn an_empty_close_is_answered_with_an_empty_close() {
        let mut sender = server(100);
        sender.close(&CloseFrame::of(CloseCode::NO_STATUS, ""));
        assert_eq!(written(&mut sender), b"\x88\x00");
    }

    #[test]
    fn a_message_that_the_framing_refuses_leaves_nothing_behind() {
        let mut sender = Sender::framed(Arc::new(Delimiter::lines()), WaterMarks::new(8));
        let error = Err(SendError::Framing(FramingError::ContainsDelimiter));
        assert_eq!(sender.send("a\nb"), error);
        sender.send("123456").unwrap();
        assert_eq!(sender.send("7"), Err(SendError::Full), "with its newline it is over");
        sender.send("").unwrap();
        assert_eq!(written(&mut sender), b"123456\n\n");
    }
}
