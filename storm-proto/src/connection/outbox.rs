//! Encoded bytes on their way to the transport.
//!
//! ```text
//!   chunks: [ frames | payload by reference | frames | ... ]   tail: [ frames ...
//!             ^ head_sent bytes of the first are written               ^ grows here
//! ```
//!
//! Small frames join in `tail`; a large payload is chained by reference behind its
//! header. A control frame may overtake what waits, at the next frame border.

mod unsent;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use self::unsent::Lengths;
use crate::connection::assembly::LARGE;
use crate::websocket::frame::header;

/// A tail this long becomes a chunk: one buffer of this size is what the kernel
/// takes at once, and growing further would only copy.
const CHUNK: usize = 64 << 10;

/// A larger buffer for frames beside the queue is not kept.
const MAX_DRAFT: usize = 4 << 10;

/// Where control frames that wait can stand: behind the frame that is being written, which
/// is two chunks at most, and before all else.
const MAX_OVERTAKING: usize = 2 + Control::Ping.limit() + Control::Pong.limit();

/// An ordered list of byte chunks with a position in it. An empty one is a pointer wide and
/// owns no memory: that is what an idle connection has of it.
#[derive(Default, Debug)]
pub struct Outbox {
    queue: Option<Box<Queue>>,
}

/// The memory of an emptied outbox, for reuse by any other.
#[derive(Debug)]
pub struct Spare(Box<Queue>);

#[derive(Default, Debug)]
struct Queue {
    chunks: VecDeque<Chunk>,
    tail: Vec<u8>,
    /// Room for a frame beside `tail`, if there was use for it.
    draft: Vec<u8>,
    /// Bytes of the first chunk (of `tail`, if there is no chunk) already written.
    head_sent: usize,
    /// Bytes not yet written, over all chunks.
    queued: usize,
    /// Of messages whose length nothing that is queued has.
    lengths: Lengths,
}

#[derive(Debug)]
enum Chunk {
    /// Whole frames, and maybe the header of the payload in the next chunk.
    Frames(Vec<u8>),
    /// The payload of the frame whose header ends the chunk before, and its length before it was
    /// compressed.
    Payload(Bytes, usize),
    /// A prepared frame.
    Whole(Bytes),
    /// A part of the handshake.
    Opening(Bytes),
    /// A control frame that overtook others.
    Control(Control, Vec<u8>),
}

/// Control frames that may overtake data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    Ping,
    Pong,
}

impl Control {
    /// How many of a kind may wait; the next replaces the latest of them. RFC 6455 section
    /// 5.5.3 asks for an answer to the latest Ping only; peers that send a few in a row
    /// like to see all of them answered.
    pub(crate) const fn limit(self) -> usize {
        match self {
            Control::Ping => 1,
            Control::Pong => 16,
        }
    }
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Outbox {
        Outbox { queue: None }
    }

    /// Bytes not yet written.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.queued)
    }

    /// True if everything is written.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes to write, in order: for one vectored write.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.queue.iter().flat_map(|queue| queue.unwritten())
    }

    /// The first `n` bytes of [`Outbox::chunks`] are written.
    pub fn advance(&mut self, n: usize) {
        if let Some(queue) = &mut self.queue {
            queue.advance(n);
        }
    }

    /// True if the next frame would have to allocate: see [`Outbox::offer`].
    #[must_use]
    #[inline]
    pub fn wants_spare(&self) -> bool {
        self.queue.is_none()
    }

    /// Takes memory for the frames to come, if there is none.
    pub fn offer(&mut self, spare: Spare) {
        self.queue.get_or_insert(spare.0);
    }

    /// Takes the memory of an emptied outbox; to be offered to another one, or dropped.
    pub fn take_spare(&mut self) -> Option<Spare> {
        if self.is_empty() { self.queue.take().map(Spare) } else { None }
    }

    /// Replaces a roomy buffer that holds little by an exactly sized one and returns
    /// the roomy one: what waits for a slow peer must not pin a large buffer.
    pub fn shrink(&mut self) -> Option<Spare> {
        let queue = self.queue.as_deref_mut()?;
        // The frame that is being written stays whole, so that its end is found.
        let start = border_before(&queue.tail, queue.head_sent);
        let kept = queue.tail.len() - start;
        if !queue.chunks.is_empty() || queue.tail.capacity() < 2 * kept + 64 {
            return None;
        }
        let (tail, head_sent) = (queue.tail[start..].to_vec(), queue.head_sent - start);
        queue.tail.clear();
        let lengths = core::mem::take(&mut queue.lengths);
        let exact = Queue { queued: queue.queued, tail, head_sent, lengths, ..Queue::default() };
        (queue.head_sent, queue.queued) = (0, 0);
        self.queue.replace(Box::new(exact)).map(Spare)
    }

    /// Appends frames that `write` makes; whatever it appends must be whole frames
    /// or end with the header of a payload that follows by reference.
    #[inline]
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue();
        let before = queue.tail.len();
        write(&mut queue.tail);
        queue.queued += queue.tail.len() - before;
        if queue.tail.len() >= CHUNK {
            queue.close_tail();
        }
    }

    /// Lends an empty buffer for a frame that may come to nothing; see [`Outbox::put_back`].
    pub(crate) fn draft(&mut self) -> Vec<u8> {
        let queue = self.queue();
        let unused = if queue.tail.is_empty() { &mut queue.tail } else { &mut queue.draft };
        core::mem::take(unused)
    }

    /// Takes the buffer of [`Outbox::draft`] back, after [`Outbox::adopt`] or without it.
    pub(crate) fn put_back(&mut self, mut draft: Vec<u8>) {
        let queue = self.queue();
        draft.clear();
        if queue.tail.capacity() == 0 {
            queue.tail = draft;
        } else if (1..=MAX_DRAFT).contains(&draft.capacity()) {
            queue.draft = draft;
        }
    }

    /// Appends the payload of the frame whose header was pushed last, by reference; it had `len`
    /// bytes before it was compressed.
    pub(crate) fn push_payload(&mut self, payload: Bytes, len: usize) {
        self.queue().push_chunk(payload, |payload| Chunk::Payload(payload, len));
    }

    /// Appends a frame by reference.
    pub(crate) fn push_whole(&mut self, frame: Bytes) {
        self.queue().push_chunk(frame, Chunk::Whole);
    }

    /// Appends bytes of the handshake by reference.
    pub(crate) fn push_opening(&mut self, bytes: Bytes) {
        self.queue().push_chunk(bytes, Chunk::Opening);
    }

    /// Appends whole frames, and leaves an empty buffer in their place: without a copy if
    /// nothing is queued.
    pub(crate) fn adopt(&mut self, frames: &mut Vec<u8>) {
        if frames.is_empty() {
            return;
        }
        let queue = self.queue();
        queue.queued += frames.len();
        if !queue.tail.is_empty() && frames.len() >= LARGE {
            queue.close_tail();
        }
        if queue.tail.is_empty() {
            core::mem::swap(&mut queue.tail, frames);
        } else {
            queue.tail.extend_from_slice(frames);
            frames.clear();
        }
        if queue.tail.len() >= CHUNK {
            queue.close_tail();
        }
    }

    /// Appends all of `other`, of which nothing was written, leaving it empty.
    pub(crate) fn append(&mut self, other: &mut Outbox) {
        let Some(mut other) = other.queue.take() else { return };
        let queue = self.queue();
        queue.close_tail();
        queue.chunks.append(&mut other.chunks);
        queue.tail = core::mem::take(&mut other.tail);
        queue.queued += other.queued;
        queue.lengths.append(&other.lengths);
    }

    /// Puts a control frame at the next frame border, before all data that waits there.
    /// If the limit of its kind waits already, the latest of them is replaced.
    #[cfg(test)]
    pub(crate) fn push_control(&mut self, kind: Control, write: impl FnOnce(&mut Vec<u8>)) {
        self.queue().push_control(kind, write);
    }

    /// Keeps a control frame for [`Outbox::take_controls`], in an outbox that holds nothing else
    /// and that nothing is written from. If the limit of its kind waits already, the latest of
    /// them is replaced; a Ping stands before all Pongs, so that nobody has to count them.
    pub(crate) fn push_waiting_control(&mut self, kind: Control, write: impl FnOnce(&mut Vec<u8>)) {
        let queue = self.queue();
        let pings = matches!(queue.chunks.front(), Some(Chunk::Control(Control::Ping, _)));
        let latest = match kind {
            Control::Ping if pings => queue.chunks.front_mut(),
            Control::Pong if queue.chunks.len() - usize::from(pings) >= kind.limit() => {
                queue.chunks.back_mut()
            }
            _ => None,
        };
        if let Some(Chunk::Control(_, frame)) = latest {
            queue.queued -= frame.len();
            frame.clear();
            write(frame);
            queue.queued += frame.len();
            return;
        }
        let mut frame = Vec::new();
        write(&mut frame);
        queue.queued += frame.len();
        let chunk = Chunk::Control(kind, frame);
        match kind {
            Control::Ping => queue.chunks.push_front(chunk),
            Control::Pong => queue.chunks.push_back(chunk),
        }
    }

    /// Moves the control frames of `other`, which holds nothing else, to where they overtake.
    pub(crate) fn take_controls(&mut self, other: &mut Outbox) {
        let Some(mut other) = other.queue.take() else { return };
        while let Some(Chunk::Control(kind, frame)) = other.chunks.pop_front() {
            self.queue().push_control(kind, |out| *out = frame);
        }
    }

    #[inline]
    fn queue(&mut self) -> &mut Queue {
        self.queue.get_or_insert_default()
    }
}

impl Spare {
    /// Bytes of memory that it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.tail.capacity()
    }
}

impl Queue {
    fn unwritten(&self) -> impl Iterator<Item = &[u8]> {
        let tail = core::iter::once(&self.tail[..]);
        let all = self.chunks.iter().map(Chunk::bytes).chain(tail);
        let mut skip = self.head_sent;
        all.filter_map(move |bytes| {
            let bytes = &bytes[core::mem::take(&mut skip)..];
            (!bytes.is_empty()).then_some(bytes)
        })
    }

    fn advance(&mut self, n: usize) {
        self.queued -= n.min(self.queued);
        let mut sent = self.head_sent + n;
        while let Some(first) = self.chunks.front() {
            let len = first.bytes().len();
            if sent < len {
                break;
            }
            sent -= len;
            // The last buffer of a batch is kept for reuse, see `take_spare`.
            if let Some(Chunk::Frames(mut buffer)) = self.chunks.pop_front()
                && self.tail.capacity() == 0
            {
                buffer.clear();
                self.tail = buffer;
            }
        }
        self.head_sent = sent;
        if self.chunks.is_empty() && sent >= self.tail.len() {
            self.tail.clear();
            self.head_sent = 0;
            self.lengths.clear();
        }
    }

    fn push_chunk(&mut self, bytes: Bytes, chunk: impl FnOnce(Bytes) -> Chunk) {
        if !bytes.is_empty() {
            self.close_tail();
            self.queued += bytes.len();
            self.chunks.push_back(chunk(bytes));
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(Chunk::Frames(core::mem::take(&mut self.tail)));
        }
    }

    fn push_control(&mut self, kind: Control, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(frame) = self.replaceable(kind) {
            let before = frame.len();
            frame.clear();
            write(frame);
            let after = frame.len();
            self.queued = self.queued - before + after;
            return;
        }
        let mut frame = Vec::new();
        write(&mut frame);
        self.queued += frame.len();
        self.close_tail();
        let mut at = self.cut_at_border();
        while matches!(self.chunks.get(at), Some(Chunk::Control(..))) {
            at += 1;
        }
        self.chunks.insert(at, Chunk::Control(kind, frame));
    }

    /// The latest waiting frame of a kind, if so many wait that it has to give way.
    fn replaceable(&mut self, kind: Control) -> Option<&mut Vec<u8>> {
        let started = usize::from(self.head_sent > 0);
        let mut waiting = 0;
        let mut latest = None;
        // All that overtake stand within the first few chunks.
        for chunk in self.chunks.iter_mut().skip(started).take(MAX_OVERTAKING) {
            if let Chunk::Control(found, frame) = chunk
                && *found == kind
            {
                waiting += 1;
                latest = Some(frame);
            }
        }
        if waiting < kind.limit() { None } else { latest }
    }

    /// Makes the next frame border a chunk border; returns the index of the chunk
    /// behind it. Only called while the tail is closed.
    fn cut_at_border(&mut self) -> usize {
        let sent = self.head_sent;
        let (frames, border) = match self.chunks.front() {
            None => return 0,
            // Never before a handshake, and a frame that is next costs one frame's delay.
            Some(Chunk::Payload(..) | Chunk::Whole(_) | Chunk::Opening(_)) => return 1,
            Some(_) if sent == 0 => return 0,
            Some(Chunk::Control(..)) => return 1,
            Some(Chunk::Frames(frames)) => (frames, border_behind(frames, sent)),
        };
        match border.cmp(&frames.len()) {
            core::cmp::Ordering::Equal => 1,
            // The frame that is being written ends with the payload in the next chunk.
            core::cmp::Ordering::Greater => 2,
            core::cmp::Ordering::Less => {
                let Some(Chunk::Frames(mut head)) = self.chunks.pop_front() else { return 0 };
                let behind = head.split_off(border);
                self.chunks.push_front(Chunk::Frames(behind));
                self.chunks.push_front(Chunk::Frames(head));
                1
            }
        }
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Frames(bytes) | Chunk::Control(_, bytes) => bytes,
            Chunk::Payload(bytes, _) | Chunk::Whole(bytes) | Chunk::Opening(bytes) => bytes,
        }
    }
}

/// Walks our own frames from the first on to the border at or behind `sent`. It lies
/// behind the end of `frames` if the payload of the last one follows by reference.
fn border_behind(frames: &[u8], sent: usize) -> usize {
    let mut border = 0;
    while border < sent {
        let Some((header_len, payload_len)) = header::measure(&frames[border..]) else { break };
        border = border.saturating_add(header_len).saturating_add(payload_len);
    }
    border
}

/// The last border of our own frames at or before `sent`.
fn border_before(frames: &[u8], sent: usize) -> usize {
    let mut border = 0;
    while let Some((header_len, payload_len)) = header::measure(&frames[border..]) {
        let next = border.saturating_add(header_len).saturating_add(payload_len);
        if next > sent {
            break;
        }
        border = next;
    }
    border
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::frame::header::{OpCode, encode};

    /// A server's frame with `payload`.
    fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        [encode(opcode, payload.len(), false).as_bytes(), payload].concat()
    }

    fn push(outbox: &mut Outbox, bytes: &[u8]) {
        outbox.push(|out| out.extend_from_slice(bytes));
    }

    fn pong(outbox: &mut Outbox, payload: &[u8]) {
        outbox.push_control(Control::Pong, |out| out.extend(frame(OpCode::Pong, payload)));
    }

    fn drain(outbox: &mut Outbox) -> Vec<u8> {
        let bytes = outbox.chunks().collect::<Vec<_>>().concat();
        assert_eq!(bytes.len(), outbox.len());
        outbox.advance(bytes.len());
        assert!(outbox.is_empty() && outbox.chunks().next().is_none());
        bytes
    }

    #[test]
    fn bytes_leave_in_order_however_the_writes_are_cut() {
        for step in 1..40 {
            let mut outbox = Outbox::new();
            push(&mut outbox, b"header:");
            outbox.push_payload(Bytes::from_static(b"payload;"), 8);
            outbox.push_whole(Bytes::from_static(b"prepared;"));
            push(&mut outbox, b"tail");
            let mut written = Vec::new();
            while !outbox.is_empty() {
                let all = outbox.chunks().collect::<Vec<_>>().concat();
                let n = step.min(all.len());
                written.extend_from_slice(&all[..n]);
                outbox.advance(n);
            }
            assert_eq!(written, b"header:payload;prepared;tail");
        }
    }

    #[test]
    fn a_control_frame_waits_for_one_frame_at_most() {
        let (a, b, c) = (
            frame(OpCode::Text, b"aaaa"),
            frame(OpCode::Text, b"bbbb"),
            frame(OpCode::Text, b"cc"),
        );
        let p = frame(OpCode::Pong, b"p");
        for sent in 0..a.len() + b.len() + c.len() {
            let mut outbox = Outbox::new();
            push(&mut outbox, &a);
            push(&mut outbox, &[&b[..], &c].concat());
            outbox.advance(sent);
            pong(&mut outbox, b"p");
            let expected = match sent {
                0 => [&p[..], &a, &b, &c],
                1..=6 => [&a[..], &p, &b, &c],
                7..=12 => [&a[..], &b, &p, &c],
                _ => [&a[..], &b, &c, &p],
            };
            assert_eq!(drain(&mut outbox), expected.concat()[sent..], "{sent} bytes were sent");
        }
    }

    #[test]
    fn a_control_frame_does_not_cut_a_payload_that_follows_by_reference() {
        let payload = [7; 200];
        let large = frame(OpCode::Binary, &payload);
        let next = frame(OpCode::Text, b"next");
        let p = frame(OpCode::Pong, b"p");
        for sent in 0..large.len() {
            let mut outbox = Outbox::new();
            push(&mut outbox, &large[..4]);
            outbox.push_payload(Bytes::copy_from_slice(&payload), payload.len());
            push(&mut outbox, &next);
            outbox.advance(sent);
            pong(&mut outbox, b"p");
            let expected = match sent {
                0 => [&p[..], &large, &next],
                _ => [&large[..], &p, &next],
            };
            assert_eq!(drain(&mut outbox), expected.concat()[sent..], "{sent} bytes were sent");
        }
    }

    #[test]
    fn pongs_leave_in_the_order_of_their_pings() {
        let mut outbox = Outbox::new();
        let mut expected = Vec::new();
        for payload in 0..10 {
            pong(&mut outbox, &[payload]);
            expected.extend(frame(OpCode::Pong, &[payload]));
        }
        assert_eq!(drain(&mut outbox), expected);
    }

    #[test]
    fn waiting_pongs_are_bounded_and_nothing_overtakes_a_handshake() {
        let mut outbox = Outbox::new();
        outbox.push_opening(Bytes::from_static(b"HTTP/1.1 101 ..."));
        for payload in 0..100 {
            pong(&mut outbox, &[payload; 125]);
        }
        for payload in [b"1", b"2"] {
            outbox.push_control(Control::Ping, |out| out.extend(frame(OpCode::Ping, payload)));
        }
        let mut expected = b"HTTP/1.1 101 ...".to_vec();
        for payload in (0..15).chain([99]) {
            expected.extend(frame(OpCode::Pong, &[payload; 125]));
        }
        expected.extend(frame(OpCode::Ping, b"2"));
        assert_eq!(drain(&mut outbox), expected);
    }

    #[test]
    fn a_pong_that_is_being_written_is_not_replaced() {
        let mut outbox = Outbox::new();
        push(&mut outbox, &frame(OpCode::Text, b"data"));
        pong(&mut outbox, b"old");
        outbox.advance(3);
        pong(&mut outbox, b"new");
        let rest = drain(&mut outbox);
        let all = [
            frame(OpCode::Pong, b"old"),
            frame(OpCode::Pong, b"new"),
            frame(OpCode::Text, b"data"),
        ];
        assert_eq!(rest, all.concat()[3..]);
    }

    #[test]
    fn a_written_batch_leaves_its_memory_for_reuse_and_a_slow_peer_pins_little() {
        let mut outbox = Outbox::new();
        assert!(outbox.wants_spare() && outbox.take_spare().is_none());
        let roomy = Queue { tail: Vec::with_capacity(1000), ..Queue::default() };
        outbox.offer(Spare(Box::new(roomy)));
        push(&mut outbox, &[1; 100]);
        assert!(outbox.take_spare().is_none(), "bytes are waiting");
        outbox.advance(90);
        assert_eq!(outbox.shrink().unwrap().capacity(), 1000);
        assert_eq!(outbox.chunks().collect::<Vec<_>>().concat(), [1; 10]);
        outbox.advance(10);
        assert!(outbox.take_spare().is_some_and(|small| small.capacity() < 64));
        assert!(outbox.wants_spare());
    }

    #[test]
    fn a_control_frame_does_not_cut_what_is_left_of_a_roomy_buffer() {
        let (a, b) = (frame(OpCode::Text, &[1; 1000]), frame(OpCode::Text, &[2; 1000]));
        let p = frame(OpCode::Pong, b"p");
        for sent in [0, 1, 1003, 1004, 1005, 1200, 2007] {
            let mut outbox = Outbox::new();
            push(&mut outbox, &[&a[..], &b].concat());
            outbox.queue().tail.reserve_exact(10_000);
            outbox.advance(sent);
            assert!(outbox.shrink().is_some() && outbox.shrink().is_none());
            assert!(outbox.queue().tail.capacity() <= 2008);
            pong(&mut outbox, b"p");
            let expected = match sent {
                0 => [&p[..], &a, &b],
                1..1005 => [&a[..], &p, &b],
                _ => [&a[..], &b, &p],
            };
            assert_eq!(drain(&mut outbox), expected.concat()[sent..], "{sent} bytes were sent");
        }
    }

    #[test]
    fn adopted_and_appended_frames_keep_their_order() {
        let mut outbox = Outbox::new();
        let mut frames = b"one,".to_vec();
        outbox.adopt(&mut frames);
        assert!(frames.is_empty());
        outbox.adopt(&mut b"two,".to_vec());
        let mut other = Outbox::new();
        push(&mut other, b"three,");
        other.push_whole(Bytes::from_static(b"four,"));
        push(&mut other, b"five");
        outbox.append(&mut other);
        assert!(other.is_empty());
        assert_eq!(drain(&mut outbox), b"one,two,three,four,five");
    }

    #[test]
    fn a_draft_that_comes_to_nothing_leaves_nothing_behind() {
        let mut outbox = Outbox::new();
        for frame in [&b"one,"[..], b"two,", b"three"] {
            let mut draft = outbox.draft();
            draft.extend_from_slice(b"half");
            outbox.put_back(draft);
            let mut draft = outbox.draft();
            assert!(draft.is_empty());
            draft.extend_from_slice(frame);
            outbox.adopt(&mut draft);
            outbox.put_back(draft);
        }
        assert_eq!(drain(&mut outbox), b"one,two,three");
    }
}
