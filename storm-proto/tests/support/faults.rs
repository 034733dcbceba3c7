//! One example of every fault that RFC 6455 knows of frames.

use storm_proto::websocket::{Limits, Role};
use storm_proto::{Options, ProtocolError};

use super::endpoint::quiet;
use super::wire::{Frame, header_to, wire};

/// Bytes that break a rule.
pub(crate) struct Fault {
    pub(crate) error: ProtocolError,
    /// The code of the Close frame that it deserves.
    pub(crate) code: u16,
    pub(crate) wire: Vec<u8>,
}

/// Limits that are passed with little.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::new();
    (limits.frame, limits.message, limits.fragments) = (1000, 1500, 4);
    limits
}

/// Options with those limits.
pub(crate) fn options() -> Options {
    let mut options = quiet();
    options.websocket.limits = limits();
    options
}

/// Every fault, as an endpoint with this role meets it under [`limits`].
pub(crate) fn all(role: Role) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |error, code, wire| faults.push(Fault { error, code, wire });
    let one = |frame: Frame| frame.to(role);

    add(ProtocolError::ReservedBits, 1002, one(Frame::text("x").rsv(4)));
    add(ProtocolError::ReservedOpcode(3), 1002, one(Frame::new(3, "x")));
    add(ProtocolError::ReservedOpcode(11), 1002, one(Frame::new(11, "x")));
    add(ProtocolError::FragmentedControl, 1002, one(Frame::ping("x").more()));
    add(ProtocolError::ControlTooLong, 1002, one(Frame::ping([0; 126])));
    let (mask_fault, bytes) = match role {
        Role::Server => (ProtocolError::Unmasked, Frame::text("x").plain()),
        Role::Client => (ProtocolError::Masked, Frame::text("x").masked([1, 2, 3, 4])),
    };
    add(mask_fault, 1002, bytes);
    add(ProtocolError::LengthNotMinimal, 1002, header_to(role, 0x82, 125, 2));
    add(ProtocolError::LengthNotMinimal, 1002, header_to(role, 0x82, 0xFFFF, 8));
    add(ProtocolError::LengthOverflow, 1002, header_to(role, 0x82, 1 << 63, 8));
    add(ProtocolError::UnexpectedContinuation, 1002, one(Frame::continuation("x")));
    add(
        ProtocolError::InterleavedMessage,
        1002,
        wire(role, &[Frame::text("x").more(), Frame::binary("y")]),
    );
    add(ProtocolError::InvalidUtf8, 1007, one(Frame::text(b"\xff")));
    add(ProtocolError::TruncatedClose, 1002, one(Frame::new(8, b"\x03")));
    add(ProtocolError::InvalidCloseCode(1005), 1002, one(Frame::close(1005, "")));
    add(ProtocolError::InvalidCloseReason, 1007, one(Frame::close(1000, b"\xc0\x80")));
    let limit = limits().frame;
    add(ProtocolError::FrameTooLarge { len: 1001, limit }, 1009, one(Frame::binary([0; 1001])));
    let limit = limits().message;
    let parts = [Frame::binary([0; 1000]).more(), Frame::continuation([0; 501])];
    add(ProtocolError::MessageTooLarge { limit }, 1009, wire(role, &parts));
    let limit = limits().fragments;
    let parts = [&[Frame::text("").more()][..], &vec![Frame::continuation("").more(); 4]].concat();
    add(ProtocolError::TooManyFragments { limit }, 1008, wire(role, &parts));
    faults
}
