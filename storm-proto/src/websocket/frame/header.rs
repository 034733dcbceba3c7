//! The frame header (RFC 6455 section 5.2).
//!
//! ```text
//!  byte 0            byte 1             then
//! +-+-+-+-+-------+ +-+-------------+ +----------------------+ +-----------+
//! |F|R|R|R| opcode| |M|  length (7) | | 0, 2 or 8 bytes more | | mask key  |
//! |I|S|S|S|       | |A|             | | of length, the       | | (4 bytes, |
//! |N|V|V|V|       | |S| 126: 2 more | | shortest form that   | | if MASK)  |
//! | |1|2|3|       | |K| 127: 8 more | | holds it             | |           |
//! +-+-+-+-+-------+ +-+-------------+ +----------------------+ +-----------+
//! ```
//!
//! Decoding checks byte after byte in this order, so that the first fault found
//! is the same wherever the input was cut. RSV1 marks the first frame of a compressed
//! message (RFC 7692 section 6), the others have no meaning.

use crate::error::ProtocolError;
use crate::websocket::Role;

/// The longest header: two bytes, eight of length, four of mask key.
pub(crate) const MAX_HEADER: usize = 14;

const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;

/// The longest payload of a control frame (section 5.5).
pub(crate) const MAX_CONTROL: usize = 125;

/// What a frame is (section 11.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum OpCode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl OpCode {
    fn decode(nibble: u8) -> Result<OpCode, ProtocolError> {
        match nibble {
            0x0 => Ok(OpCode::Continuation),
            0x1 => Ok(OpCode::Text),
            0x2 => Ok(OpCode::Binary),
            0x8 => Ok(OpCode::Close),
            0x9 => Ok(OpCode::Ping),
            0xA => Ok(OpCode::Pong),
            reserved => Err(ProtocolError::ReservedOpcode(reserved)),
        }
    }

    pub(crate) const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A decoded header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    /// The first frame of a compressed message.
    pub(crate) compressed: bool,
    pub(crate) opcode: OpCode,
    /// The mask key; `[0; 4]` for an unmasked frame, which unmasks to itself.
    pub(crate) key: [u8; 4],
    /// Payload length in bytes.
    pub(crate) len: u64,
}

/// Reads the header at the start of `bytes`, as `role` may receive it; `deflate` if
/// compression was agreed on.
///
/// Returns it with its own length, or `None` if more bytes are needed.
#[inline]
pub(crate) fn decode(
    bytes: &[u8],
    role: Role,
    deflate: bool,
) -> Result<Option<(Header, usize)>, ProtocolError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let compressed = first & RSV1 != 0;
    if first & RSV2_AND_3 != 0 || (compressed && !deflate) {
        return Err(ProtocolError::ReservedBits);
    }
    let fin = first & 0x80 != 0;
    let opcode = OpCode::decode(first & 0x0F)?;
    if compressed && !matches!(opcode, OpCode::Text | OpCode::Binary) {
        return Err(ProtocolError::ReservedBits);
    }
    if opcode.is_control() && !fin {
        return Err(ProtocolError::FragmentedControl);
    }

    let Some(&second) = bytes.get(1) else { return Ok(None) };
    // Section 5.1: a client masks every frame, a server none.
    let masked = second & 0x80 != 0;
    match (role, masked) {
        (Role::Server, false) => return Err(ProtocolError::Unmasked),
        (Role::Client, true) => return Err(ProtocolError::Masked),
        _ => {}
    }
    let short = second & 0x7F;
    if opcode.is_control() && usize::from(short) > MAX_CONTROL {
        return Err(ProtocolError::ControlTooLong);
    }
    let Some((len, at)) = decode_len(short, bytes)? else { return Ok(None) };
    if !masked {
        return Ok(Some((Header { fin, compressed, opcode, key: [0; 4], len }, at)));
    }
    let Some(&key) = bytes[at..].first_chunk::<4>() else { return Ok(None) };
    Ok(Some((Header { fin, compressed, opcode, key, len }, at + 4)))
}

/// The length and where the header goes on behind it. The shortest form is a
/// must (section 5.2), and the top bit of the long form is zero.
#[inline]
fn decode_len(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    match short {
        126 => {
            let Some(&raw) = bytes[2..].first_chunk::<2>() else { return Ok(None) };
            let len = u64::from(u16::from_be_bytes(raw));
            if len < 126 { Err(ProtocolError::LengthNotMinimal) } else { Ok(Some((len, 4))) }
        }
        127 => {
            // The first byte alone can already be wrong: do not wait for the others.
            if bytes.get(2).is_some_and(|top| top & 0x80 != 0) {
                return Err(ProtocolError::LengthOverflow);
            }
            let Some(&raw) = bytes[2..].first_chunk::<8>() else { return Ok(None) };
            let len = u64::from_be_bytes(raw);
            if len < 0x1_0000 { Err(ProtocolError::LengthNotMinimal) } else { Ok(Some((len, 10))) }
        }
        len => Ok(Some((u64::from(len), 2))),
    }
}

/// The header of a data frame that is a message by itself and has a 7-bit length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Small {
    pub(crate) text: bool,
    pub(crate) key: [u8; 4],
    /// Where the payload starts.
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Reads what is most common; `None` leaves all else, also what is wrong, to [`decode`].
#[inline(always)]
pub(crate) fn decode_small(bytes: &[u8], role: Role) -> Option<Small> {
    small::<0x81>(bytes, role).map(|(text, key, start, len)| Small { text, key, start, len })
}

/// The same for a Ping or a Pong; true if it is a Ping.
#[inline(always)]
pub(crate) fn decode_ping_or_pong(bytes: &[u8], role: Role) -> Option<(bool, Header, usize)> {
    let (ping, key, start, len) = small::<0x89>(bytes, role)?;
    let opcode = if ping { OpCode::Ping } else { OpCode::Pong };
    Some((ping, Header { fin: true, compressed: false, opcode, key, len: len as u64 }, start))
}

/// A final frame that begins with `A` or the byte after it and has a header of the shortest form:
/// if that is `A`, its key, where its payload starts and how long that is.
#[inline(always)]
fn small<const A: u8>(bytes: &[u8], role: Role) -> Option<(bool, [u8; 4], usize, usize)> {
    let (first, second, key, start) = match (role, bytes) {
        (Role::Server, [first, second @ 0x80..=0xFD, a, b, c, d, ..]) => {
            (*first, *second, [*a, *b, *c, *d], 6)
        }
        (Role::Client, [first, second @ 0x00..=0x7D, ..]) => (*first, *second, [0; 4], 2),
        _ => return None,
    };
    // One comparison: which of the two it is matters later.
    let known = first.wrapping_sub(A) <= 1;
    known.then_some((first == A, key, start, usize::from(second & 0x7F)))
}

/// An encoded header on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Encoded {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl Encoded {
    /// The same for the first frame of a compressed message.
    pub(crate) fn compressed(mut self) -> Encoded {
        self.bytes[0] |= RSV1;
        self
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Encodes the header of a final frame, in the shortest form, without a mask key.
#[inline]
pub(crate) fn encode(opcode: OpCode, len: usize, masked: bool) -> Encoded {
    let mut bytes = [0; MAX_HEADER];
    bytes[0] = 0x80 | opcode as u8;
    let mask = if masked { 0x80 } else { 0 };
    let len_of_header = match len {
        0..=125 => {
            bytes[1] = mask | len as u8;
            2
        }
        126..=0xFFFF => {
            bytes[1] = mask | 126;
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = mask | 127;
            bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    Encoded { bytes, len: len_of_header }
}

/// As [`encode`], for a frame without a mask whose length is at most [`MAX_CONTROL`].
#[inline]
pub(crate) const fn encode_small(opcode: OpCode, len: usize) -> [u8; 2] {
    debug_assert!(len <= MAX_CONTROL);
    [0x80 | opcode as u8, len as u8]
}

/// Bytes that the header of a frame of our own takes, mask key included.
#[inline]
pub(crate) const fn encoded_len(len: usize, masked: bool) -> usize {
    let key = if masked { 4 } else { 0 };
    key + match len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Header and payload length of a frame that was encoded here; `None` if `frame` is empty.
pub(crate) fn measure(frame: &[u8]) -> Option<(usize, usize)> {
    let (header, size) = decode_own(frame)?;
    Some((size, header.len as usize))
}

/// The header of a frame that was encoded here, and its size; `None` if `frame` is empty.
pub(crate) fn decode_own(frame: &[u8]) -> Option<(Header, usize)> {
    let masked = *frame.get(1)? & 0x80 != 0;
    let role = if masked { Role::Server } else { Role::Client };
    decode(frame, role, true).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// What section 5 says of the first two bytes, written down a second time as
    /// a table of conditions in reading order.
    fn expected(first: u8, second: u8, role: Role, deflate: bool) -> Result<(), ProtocolError> {
        let opcode = first & 0x0F;
        let bits = first & 0b0111_0000;
        let compressed = bits == 0b0100_0000 && deflate;
        let rules = [
            (bits != 0 && !compressed, ProtocolError::ReservedBits),
            (matches!(opcode, 3..=7 | 11..=15), ProtocolError::ReservedOpcode(opcode)),
            (compressed && !matches!(opcode, 1 | 2), ProtocolError::ReservedBits),
            (opcode >= 8 && first < 0x80, ProtocolError::FragmentedControl),
            (role == Role::Server && second < 0x80, ProtocolError::Unmasked),
            (role == Role::Client && second >= 0x80, ProtocolError::Masked),
            (opcode >= 8 && second & 0x7F > 125, ProtocolError::ControlTooLong),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    #[test]
    fn all_pairs_of_first_bytes_decode_as_the_table_says() {
        for (first, second) in (0..=255u8).flat_map(|a| (0..=255u8).map(move |b| (a, b))) {
            let ends = [Role::Server, Role::Client].map(|role| [(role, false), (role, true)]);
            for (role, deflate) in ends.into_iter().flatten() {
                // A length that the form allows, then a mask key.
                let mut bytes = alloc::vec![first, second];
                let len: u64 = match second & 0x7F {
                    126 => 0x1234,
                    127 => 0x1_0001,
                    short => short.into(),
                };
                match second & 0x7F {
                    126 => bytes.extend_from_slice(&(len as u16).to_be_bytes()),
                    127 => bytes.extend_from_slice(&len.to_be_bytes()),
                    _ => {}
                }
                let key = if second & 0x80 != 0 { [9, 8, 7, 6] } else { [0; 4] };
                if second & 0x80 != 0 {
                    bytes.extend_from_slice(&key);
                }
                let decoded = decode(&bytes, role, deflate);
                match expected(first, second, role, deflate) {
                    Err(error) => assert_eq!(decoded, Err(error)),
                    Ok(()) => {
                        let (header, size) = decoded.unwrap().unwrap();
                        assert_eq!(size, bytes.len());
                        assert_eq!((header.fin, header.len), (first >= 0x80, len));
                        assert_eq!((header.opcode as u8, header.key), (first & 0x0F, key));
                        assert_eq!(header.compressed, first & 0x40 != 0);
                    }
                }
                // Fewer bytes never give another verdict than "more" or the same fault.
                for cut in 0..bytes.len() {
                    match decode(&bytes[..cut], role, deflate) {
                        Ok(found) => assert_eq!(found, None),
                        Err(error) => assert_eq!(decode(&bytes, role, deflate), Err(error)),
                    }
                }
            }
        }
    }

    #[test]
    fn the_short_way_reads_nothing_that_the_long_way_reads_otherwise() {
        for (first, second) in (0..=255u8).flat_map(|a| (0..=255u8).map(move |b| (a, b))) {
            for role in [Role::Server, Role::Client] {
                let bytes = [first, second, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
                let Some(small) = decode_small(&bytes, role) else { continue };
                let (header, size) = decode(&bytes, role, true).unwrap().unwrap();
                let opcode = if small.text { OpCode::Text } else { OpCode::Binary };
                let Small { key, start, len, .. } = small;
                let expected =
                    Header { fin: true, compressed: false, opcode, key, len: len as u64 };
                assert_eq!((header, size), (expected, start));
            }
            for role in [Role::Server, Role::Client] {
                let bytes = [first, second, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
                let Some((ping, header, start)) = decode_ping_or_pong(&bytes, role) else {
                    continue;
                };
                assert_eq!(decode(&bytes, role, true), Ok(Some((header, start))));
                assert_eq!(header.opcode == OpCode::Ping, ping);
            }
        }
    }

    #[test]
    fn lengths_must_take_the_shortest_form() {
        let decode = |bytes: &[u8]| {
            decode(bytes, Role::Client, false).map(|found| found.map(|(h, _)| h.len))
        };
        assert_eq!(decode(&[0x82, 126, 0, 125]), Err(ProtocolError::LengthNotMinimal));
        assert_eq!(decode(&[0x82, 126, 0, 126]), Ok(Some(126)));
        let long = |len: u64| [&[0x82, 127][..], &len.to_be_bytes()].concat();
        assert_eq!(decode(&long(0xFFFF)), Err(ProtocolError::LengthNotMinimal));
        assert_eq!(decode(&long(0x1_0000)), Ok(Some(0x1_0000)));
        assert_eq!(decode(&long(i64::MAX as u64)), Ok(Some(i64::MAX as u64)));
        assert_eq!(decode(&long(1 << 63)), Err(ProtocolError::LengthOverflow));
    }

    #[test]
    fn encoded_headers_decode_to_themselves_in_the_shortest_form() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 24] {
            for masked in [false, true] {
                let mut bytes: Vec<u8> = encode(OpCode::Text, len, masked).as_bytes().into();
                if masked {
                    bytes.extend_from_slice(&[1, 2, 3, 4]);
                }
                assert_eq!(bytes.len(), encoded_len(len, masked));
                let role = if masked { Role::Server } else { Role::Client };
                let (header, size) = decode(&bytes, role, false).unwrap().unwrap();
                assert_eq!((header.len, size), (len as u64, bytes.len()));
                assert!(header.fin && header.opcode == OpCode::Text);
            }
        }
    }
}
