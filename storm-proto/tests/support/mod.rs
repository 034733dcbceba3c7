//! What these tests share: an endpoint that records what it does, and readers of frames,
//! heads and proofs that are written here a second time, so that no codec checks itself.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod endpoint;
pub(crate) mod faults;
pub(crate) mod http;
pub(crate) mod inflate;
pub(crate) mod proof;
pub(crate) mod wire;
