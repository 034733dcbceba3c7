//! Stands in for permessage-deflate where its feature is off: nothing is ever agreed on.
#![allow(dead_code, reason = "what cannot be made is not used")]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::handshake::HandshakeError;
use super::handshake::extensions::Extension;
use crate::connection::assembly::Assembly;
use crate::error::ProtocolError;

pub(crate) const GROWTH: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deflate {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Agreed {}

#[derive(Debug)]
pub(crate) enum Deflater {}

#[derive(Debug)]
pub(crate) enum Inflater {}

#[derive(Clone, Debug)]
pub(crate) struct Once;

pub(crate) fn offer(settings: &Deflate) -> String {
    match *settings {}
}

pub(crate) fn answer<'a>(
    settings: &Deflate,
    _: impl Iterator<Item = Extension<'a>>,
) -> Option<(Agreed, String)> {
    match *settings {}
}

pub(crate) fn accept(settings: &Deflate, _: &Extension<'_>) -> Result<Agreed, HandshakeError> {
    match *settings {}
}

impl Deflater {
    pub(crate) fn new(agreed: &Agreed, _: super::Role) -> Option<Box<Deflater>> {
        match *agreed {}
    }

    pub(crate) fn threshold(&self) -> usize {
        match *self {}
    }

    pub(crate) fn compress(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn forget(&mut self) {
        match *self {}
    }
}

impl Inflater {
    pub(crate) fn new(agreed: &Agreed, _: super::Role) -> Box<Inflater> {
        match *agreed {}
    }

    pub(crate) fn push(
        &mut self,
        _: &[u8],
        _: &mut Assembly,
        _: usize,
    ) -> Result<(), ProtocolError> {
        match *self {}
    }

    pub(crate) fn finish(&mut self, _: &mut Assembly, _: usize) -> Result<(), ProtocolError> {
        match *self {}
    }
}

impl Once {
    pub(crate) fn new() -> Once {
        Once
    }

    pub(crate) fn payload(&self, deflater: &Deflater, _: &[u8]) -> Option<Option<Bytes>> {
        match *deflater {}
    }
}
