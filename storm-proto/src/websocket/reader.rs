//! Frames in, messages out (RFC 6455 sections 5 and 6.2).
//!
//! ```text
//!            +-> header -> payload --+-- control frame ----> Ping, Pong, Close
//!            |                       |
//!            +---- not the last -----+-- last of a message -> Message
//! ```
//!
//! A message of one frame that lies in the input as a whole is unmasked there and
//! lent from there. All else comes together in a buffer that grows with what was
//! received; what is compressed is inflated into it. The first fault ends everything: no
//! event follows it, and what the peer still sends is thrown away (section 7.1.7).

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytes::Bytes;

use super::deflate::{Agreed, Inflater};
use super::frame::close;
use super::frame::close_code::CloseCode;
use super::frame::header::{self, Header, MAX_CONTROL, MAX_HEADER, OpCode, Small};
use super::frame::mask::{mask, rotate};
use super::utf8::Utf8;
use super::{Limits, Role};
use crate::connection::assembly::{Assembly, LARGE};
use crate::connection::budget::Budget;
use crate::connection::receiver::Event;
use crate::error::ProtocolError;
use crate::message::{Kind, Message};

#[derive(Debug)]
pub(crate) struct Reader {
    role: Role,
    limits: Limits,
    /// The longest message that needs no other limit checked.
    small_limit: u8,
    /// A header that is not complete: `header[..header_len]`.
    header: [u8; MAX_HEADER],
    header_len: u8,
    /// The frame whose payload is under way.
    frame: Option<Frame>,
    /// The kind of the message under way, from its first fragment.
    kind: Option<Kind>,
    /// It is compressed.
    compressed: bool,
    /// How many fragments it has so far.
    fragments: u32,
    utf8: Utf8,
    message: Assembly,
    /// If compression was agreed on.
    inflater: Option<Box<Inflater>>,
    /// The payload of a control frame that was cut.
    control: Option<Box<CutControl>>,
    /// The message lent last, if it was large and assembled.
    backing: Option<Box<Bytes>>,
    lent: Lent,
    /// Found in text that was read directly, where no event could be returned.
    invalid_text: bool,
    /// A Close or a fault was delivered: nothing counts any more.
    done: bool,
    /// Nothing is under way, lent or done: the next byte begins a message.
    fresh: bool,
}

#[derive(Debug)]
struct Frame {
    fin: bool,
    opcode: OpCode,
    /// Turned so that its first byte belongs to the next byte of the payload.
    key: [u8; 4],
    rest: usize,
}

/// The payload of a control frame as far as it has arrived.
#[derive(Debug)]
struct CutControl {
    bytes: [u8; MAX_CONTROL],
    len: u8,
}

impl Default for CutControl {
    fn default() -> CutControl {
        CutControl { bytes: [0; MAX_CONTROL], len: 0 }
    }
}

impl CutControl {
    /// Appends a piece of a payload whose length was checked.
    fn push(&mut self, piece: &[u8]) {
        let free = &mut self.bytes[usize::from(self.len)..];
        let n = piece.len().min(free.len());
        free[..n].copy_from_slice(&piece[..n]);
        self.len += n as u8;
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Which buffer the last event was lent from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lent {
    Nothing,
    Message(Kind),
    Control,
}

/// What one step found. Slices are the input's, so that they do not borrow the reader.
enum Step<'i> {
    /// Something was consumed, and no event came of it.
    More,
    /// All input is consumed.
    Empty,
    Text(&'i str),
    Binary(&'i [u8]),
    Ping(&'i [u8]),
    Pong(&'i [u8]),
    Close(CloseCode, &'i str),
    AssembledMessage(Kind),
    AssembledControl(OpCode),
}

impl Reader {
    /// Sets what one message may cost; to be called between two messages.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.small_limit = small_limit(limits);
    }

    pub(crate) fn new(role: Role, limits: Limits) -> Reader {
        Reader {
            role,
            limits,
            small_limit: small_limit(limits),
            header: [0; MAX_HEADER],
            header_len: 0,
            frame: None,
            kind: None,
            compressed: false,
            fragments: 0,
            utf8: Utf8::default(),
            message: Assembly::default(),
            inflater: None,
            control: None,
            backing: None,
            lent: Lent::Nothing,
            invalid_text: false,
            done: false,
            fresh: true,
        }
    }

    /// Counts unfinished messages against `budget`.
    pub(crate) fn set_budget(&mut self, budget: Arc<Budget>) {
        self.message.set_budget(budget);
    }

    /// Messages may be compressed from now on.
    pub(crate) fn deflate(&mut self, agreed: &Agreed) {
        self.inflater = Some(Inflater::new(agreed, self.role));
    }

    #[inline(always)]
    pub(crate) fn next<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
        frames: Option<&mut u16>,
    ) -> Option<Event<'s>> {
        if self.fresh
            && let Some(small) = header::decode_small(input, self.role)
            && small.len <= usize::from(self.small_limit)
            && small.start + small.len <= input.len()
        {
            return Some(self.small_message(small, input));
        }
        let step = self.step(input, frames);
        self.event(step)
    }

    /// The short way of what is most common: a message in one small frame that is all there.
    #[inline(always)]
    fn small_message<'i>(&mut self, small: Small, input: &mut &'i mut [u8]) -> Event<'i> {
        let (frame, rest) = core::mem::take(input).split_at_mut(small.start + small.len);
        *input = rest;
        let payload = &mut frame[small.start..];
        mask(payload, small.key);
        if !small.text {
            return Event::Message(Message::binary(payload));
        }
        match simdutf8::basic::from_utf8(payload) {
            Ok(text) => Event::Message(Message::text(text)),
            Err(_) => {
                (self.done, self.fresh) = (true, false);
                *input = &mut [];
                Event::Failed(ProtocolError::InvalidUtf8)
            }
        }
    }

    /// Makes an event of what the long way found. Inlined, so that it is made in registers.
    #[inline(always)]
    fn event<'s, 'i: 's>(&'s mut self, step: Result<Step<'i>, ProtocolError>) -> Option<Event<'s>> {
        match step {
            Ok(Step::More | Step::Empty) => None,
            Ok(Step::Text(text)) => Some(Event::Message(Message::text(text))),
            Ok(Step::Binary(bytes)) => Some(Event::Message(Message::binary(bytes))),
            Ok(Step::AssembledMessage(kind)) => Some(Event::Message(self.lend(kind))),
            Ok(Step::Ping(payload)) => Some(Event::Ping(payload)),
            Ok(Step::Pong(payload)) => Some(Event::Pong(payload)),
            Ok(Step::Close(code, reason)) => Some(Event::Close { code, reason }),
            Ok(Step::AssembledControl(opcode)) => Some(self.lend_control(opcode)),
            Err(fault) => Some(Event::Failed(fault)),
        }
    }

    /// The long way, which knows all the rules. Stops at an event, at the end of the input, or
    /// behind as many frames as `frames` counts down, if it is given.
    #[inline(never)]
    fn step<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        mut frames: Option<&mut u16>,
    ) -> Result<Step<'i>, ProtocolError> {
        if self.fresh
            && let Some((ping, header, start)) = header::decode_ping_or_pong(input, self.role)
            && start + header.len as usize <= input.len()
        {
            // Who sends nothing else shall cost little more than one who sends messages.
            *input = &mut core::mem::take(input)[start..];
            let payload = take_unmasked(header, input);
            return Ok(if ping { Step::Ping(payload) } else { Step::Pong(payload) });
        }
        self.take_back();
        if self.done {
            *input = &mut [];
            return Ok(Step::Empty);
        }
        let step = loop {
            let step = match &self.frame {
                _ if self.invalid_text => Err(ProtocolError::InvalidUtf8),
                None => self.read_header(input),
                Some(_) => self.read_payload(input),
            };
            if !matches!(step, Ok(Step::More)) {
                break step;
            }
            // Between two frames: a fragment is no event.
            if self.frame.is_none()
                && let Some(frames) = &mut frames
            {
                **frames = frames.saturating_sub(1);
                if **frames == 0 {
                    break step;
                }
            }
        };
        if matches!(step, Ok(Step::Close(..)) | Err(_)) {
            self.end();
            *input = &mut [];
        }
        self.fresh =
            !self.done && self.frame.is_none() && self.header_len == 0 && self.kind.is_none();
        step
    }

    pub(crate) fn assembled(&self) -> usize {
        self.message.len()
    }

    /// Room for the rest of a large frame, if one is under way.
    pub(crate) fn direct(&mut self) -> Option<&mut [u8]> {
        match &self.frame {
            Some(frame)
                if self.lent == Lent::Nothing
                    && frame.rest >= LARGE
                    && self.message.len() >= LARGE
                    && !self.compressed
                    && !frame.opcode.is_control() =>
            {
                self.message.room(frame.rest)
            }
            _ => None,
        }
    }

    /// Takes the first `n` bytes of the room as received.
    pub(crate) fn direct_filled(&mut self, n: usize) {
        let Some(frame) = &mut self.frame else { return };
        let received = self.message.commit(n.min(frame.rest));
        mask(received, frame.key);
        frame.key = rotate(frame.key, received.len());
        frame.rest -= received.len();
        if self.kind == Some(Kind::Text) {
            self.invalid_text |= self.utf8.push(received).is_err();
        }
    }

    fn read_header<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Step<'i>, ProtocolError> {
        if self.header_len > 0 {
            return self.read_cut_header(input);
        }
        match header::decode(input, self.role, self.inflater.is_some())? {
            Some((header, size)) => {
                *input = &mut core::mem::take(input)[size..];
                self.begin_frame(header, input)
            }
            None => {
                let start = core::mem::take(input);
                self.header[..start.len()].copy_from_slice(start);
                self.header_len = start.len() as u8;
                Ok(Step::Empty)
            }
        }
    }

    fn read_cut_header<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Step<'i>, ProtocolError> {
        let have = usize::from(self.header_len);
        let more = input.len().min(MAX_HEADER - have);
        self.header[have..have + more].copy_from_slice(&input[..more]);
        let start = &self.header[..have + more];
        match header::decode(start, self.role, self.inflater.is_some())? {
            Some((header, size)) => {
                self.header_len = 0;
                *input = &mut core::mem::take(input)[size - have..];
                self.begin_frame(header, input)
            }
            None => {
                self.header_len = (have + more) as u8;
                *input = &mut core::mem::take(input)[more..];
                Ok(Step::Empty)
            }
        }
    }

    /// Checks a complete header against what came before, and takes the payload if
    /// all of it is there.
    #[inline]
    fn begin_frame<'i>(
        &mut self,
        header: Header,
        input: &mut &'i mut [u8],
    ) -> Result<Step<'i>, ProtocolError> {
        let whole = header.len <= input.len() as u64;
        if header.opcode.is_control() {
            if whole {
                return control_step(header.opcode, take_unmasked(header, input));
            }
        } else {
            self.check_sequence(header.opcode)?;
            self.check_limits(&header)?;
            if whole && header.fin && !header.compressed && self.kind.is_none() {
                let payload = take_unmasked(header, input);
                return match header.opcode {
                    OpCode::Text => simdutf8::basic::from_utf8(payload)
                        .map(Step::Text)
                        .map_err(|_| ProtocolError::InvalidUtf8),
                    _ => Ok(Step::Binary(payload)),
                };
            }
            self.begin_fragment(&header);
        }
        let Header { fin, opcode, key, len, .. } = header;
        self.frame = Some(Frame { fin, opcode, key, rest: len as usize });
        Ok(Step::More)
    }

    /// Section 5.4: fragments follow their first, and messages do not mix.
    fn check_sequence(&self, opcode: OpCode) -> Result<(), ProtocolError> {
        match (opcode, self.kind) {
            (OpCode::Continuation, None) => Err(ProtocolError::UnexpectedContinuation),
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(ProtocolError::InterleavedMessage),
            _ => Ok(()),
        }
    }

    fn check_limits(&self, header: &Header) -> Result<(), ProtocolError> {
        let Limits { frame, message, fragments } = self.limits;
        let len = header.len;
        if len > frame as u64 {
            return Err(ProtocolError::FrameTooLarge { len, limit: frame });
        }
        // What a compressed message comes to is known when it is inflated.
        let compressed = header.compressed || (self.compressed && self.kind.is_some());
        let most = match compressed {
            true => self.limits.compressed_frame(),
            false => message.saturating_sub(self.message.len()),
        };
        if len > most as u64 {
            return Err(ProtocolError::MessageTooLarge { limit: message });
        }
        if self.fragments >= fragments {
            return Err(ProtocolError::TooManyFragments { limit: fragments });
        }
        Ok(())
    }

    fn begin_fragment(&mut self, header: &Header) {
        self.fragments += 1;
        self.kind = match header.opcode {
            OpCode::Text => Some(Kind::Text),
            OpCode::Binary => Some(Kind::Binary),
            _ => return,
        };
        self.compressed = header.compressed;
    }

    fn read_payload<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Step<'i>, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(Step::More) };
        if frame.rest > 0 && input.is_empty() {
            return Ok(Step::Empty);
        }
        let (piece, rest) = split_at_most(core::mem::take(input), frame.rest);
        *input = rest;
        mask(piece, frame.key);
        frame.key = rotate(frame.key, piece.len());
        frame.rest -= piece.len();
        let (fin, opcode, more) = (frame.fin, frame.opcode, frame.rest > 0);
        if opcode.is_control() {
            self.control.get_or_insert_default().push(piece);
        } else if self.compressed {
            self.inflate(|inflater, message, limit| inflater.push(piece, message, limit))?;
        } else {
            self.message.push(piece)?;
            if self.kind == Some(Kind::Text) {
                self.utf8.push(piece)?;
            }
        }
        if more {
            return Ok(Step::Empty);
        }
        self.frame = None;
        self.end_frame(fin, opcode)
    }

    fn end_frame<'i>(&mut self, fin: bool, opcode: OpCode) -> Result<Step<'i>, ProtocolError> {
        if opcode.is_control() {
            return Ok(Step::AssembledControl(opcode));
        }
        match self.kind {
            Some(kind) if fin => {
                if self.compressed {
                    self.inflate(Inflater::finish)?;
                }
                self.kind = None;
                self.fragments = 0;
                self.utf8.finish()?;
                Ok(Step::AssembledMessage(kind))
            }
            _ => Ok(Step::More),
        }
    }

    /// Inflates some more of the message. A fault in its text stands before whatever ended
    /// the inflating, so it comes first, wherever the input was cut.
    fn inflate(
        &mut self,
        run: impl FnOnce(&mut Inflater, &mut Assembly, usize) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        let Some(inflater) = &mut self.inflater else { return Ok(()) };
        let before = self.message.len();
        let inflated = run(inflater, &mut self.message, self.limits.message);
        if self.kind == Some(Kind::Text) {
            self.utf8.push(&self.message.as_slice()[before..])?;
        }
        inflated
    }

    /// Lends the assembled message: a large one with its buffer as backing.
    fn lend(&mut self, kind: Kind) -> Message<'_> {
        (self.fresh, self.lent) = (false, Lent::Message(kind));
        if self.message.len() >= LARGE {
            self.backing = Some(Box::new(self.message.take()));
        }
        self.assembled_message(kind)
    }

    /// The message that was lent last, if it came together in the buffer.
    pub(crate) fn again(&self) -> Option<Message<'_>> {
        match self.lent {
            Lent::Message(kind) => Some(self.assembled_message(kind)),
            _ => None,
        }
    }

    fn assembled_message(&self, kind: Kind) -> Message<'_> {
        match (&self.backing, kind) {
            (Some(backing), _) => Message::backed(kind, backing),
            (None, Kind::Text) => Message::checked_text(self.message.as_slice()),
            (None, Kind::Binary) => Message::binary(self.message.as_slice()),
        }
    }

    /// Lends the payload of a control frame that was cut.
    #[cold]
    fn lend_control(&mut self, opcode: OpCode) -> Event<'_> {
        (self.lent, self.fresh) = (Lent::Control, false);
        if opcode == OpCode::Close {
            self.end();
        }
        let payload = self.control.as_deref().map_or(&[][..], CutControl::as_slice);
        match control_step(opcode, payload) {
            Ok(Step::Ping(payload)) => Event::Ping(payload),
            Ok(Step::Pong(payload)) => Event::Pong(payload),
            Ok(Step::Close(code, reason)) => Event::Close { code, reason },
            Ok(_) => Event::Pong(&[]),
            Err(fault) => Event::Failed(fault),
        }
    }

    /// Nothing counts any more: what was under way is given back.
    #[cold]
    fn end(&mut self) {
        self.done = true;
        self.message.release();
        self.inflater = None;
    }

    /// Takes back what the last event lent: an idle connection holds no buffer.
    #[inline]
    fn take_back(&mut self) {
        match self.lent {
            Lent::Nothing => {}
            Lent::Message(_) => self.message.release(),
            Lent::Control => self.control = None,
        }
        self.lent = Lent::Nothing;
        self.backing = None;
    }
}

/// The longest small message that is within all limits.
fn small_limit(limits: Limits) -> u8 {
    limits.frame.min(limits.message).min(MAX_CONTROL) as u8
}

fn split_at_most(bytes: &mut [u8], at: usize) -> (&mut [u8], &mut [u8]) {
    let at = at.min(bytes.len());
    bytes.split_at_mut(at)
}

/// Cuts the payload off the input and unmasks it in place.
#[inline]
fn take_unmasked<'i>(header: Header, input: &mut &'i mut [u8]) -> &'i [u8] {
    let (payload, rest) = core::mem::take(input).split_at_mut(header.len as usize);
    *input = rest;
    // A server's frames carry no key; its zeros would change nothing, slowly.
    if header.key != [0; 4] {
        mask(payload, header.key);
    }
    payload
}

fn control_step(opcode: OpCode, payload: &[u8]) -> Result<Step<'_>, ProtocolError> {
    match opcode {
        OpCode::Ping => Ok(Step::Ping(payload)),
        OpCode::Pong => Ok(Step::Pong(payload)),
        _ => close::parse(payload).map(|(code, reason)| Step::Close(code, reason)),
    }
}
