//! Frames (RFC 6455 section 5): pure codecs, no state.

pub(crate) mod close;
pub(crate) mod close_code;
pub(crate) mod header;
pub(crate) mod mask;
