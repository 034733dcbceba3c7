//! What the tools and the tests of this package share.
#![forbid(unsafe_code)]

pub mod adapter;
