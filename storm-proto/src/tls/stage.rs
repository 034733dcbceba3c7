//! The machine: records on one side, plaintext on the other, no IO.
//!
//! ```text
//!   from the socket --> handshake, open --> plaintext --> protocol
//!   to the socket   <-- seal, answers   <-- chunks    <-- protocol
//! ```

use alloc::vec::Vec;
use core::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::string::ToString;

use rustls::{ClientConnection, Connection, ServerConnection};

use super::client::TlsClient;
use super::error::{TlsError, TlsErrorKind};
use super::facts::TlsFacts;
use super::server::TlsServer;

/// The types of records, from `change_cipher_spec` to `application_data` (RFC 8446 section 5.1).
const RECORDS: core::ops::RangeInclusive<u8> = 20..=23;

/// One side of a TLS connection, for those who move the bytes themselves.
///
/// What came from the socket goes to [`TlsStage::handshake`], then to [`TlsStage::open`]; what
/// is to go there comes from [`TlsStage::seal`], [`TlsStage::close`] and, after every call,
/// also after one that failed, from [`TlsStage::answers`]. The first failure is final.
///
/// Between records it owns what rustls does: keys, and 4 KiB to read into.
pub struct TlsStage {
    connection: Connection,
    /// Nothing has come yet.
    fresh: bool,
    /// The peer's `close_notify` has come.
    ended: bool,
    failed: Option<TlsError>,
}

impl TlsStage {
    /// The server's side. `websocket` chooses what ALPN agrees on by default.
    ///
    /// # Errors
    /// If rustls cannot use the configuration.
    pub fn server(tls: &TlsServer, websocket: bool) -> Result<TlsStage, TlsError> {
        let mut server = ServerConnection::new(tls.config(websocket)).map_err(TlsError::config)?;
        server.reject_early_data();
        Ok(TlsStage::new(server.into()))
    }

    /// A client's side; `host` is the host of the address, where the options name no other.
    ///
    /// # Errors
    /// If the host is no name that a certificate can have.
    pub fn client(tls: &TlsClient, host: &str, websocket: bool) -> Result<TlsStage, TlsError> {
        let name = tls.server_name(host)?;
        let client =
            ClientConnection::new(tls.config(websocket), name).map_err(TlsError::config)?;
        Ok(TlsStage::new(client.into()))
    }

    fn new(connection: Connection) -> TlsStage {
        TlsStage { connection, fresh: true, ended: false, failed: None }
    }

    /// Takes records of the handshake; true once it is over. What is left in `cipher` then
    /// belongs to [`TlsStage::open`], which may have something even without.
    ///
    /// # Errors
    /// If it failed. The peer is told why by [`TlsStage::answers`].
    pub fn handshake(&mut self, cipher: &mut &[u8]) -> Result<bool, TlsError> {
        while self.connection.is_handshaking() && !cipher.is_empty() {
            self.feed(cipher)?;
        }
        Ok(!self.connection.is_handshaking())
    }

    /// True until the handshake is over.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// True until the peer has sent a byte.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// What the handshake agreed on; `None` before.
    #[must_use]
    pub fn facts(&self) -> Option<TlsFacts> {
        if self.is_handshaking() { None } else { TlsFacts::of(&self.connection) }
    }

    /// Takes records from `cipher` and puts their plaintext into `plain`, until one is empty
    /// or the other full; returns how much plaintext that was. 0 with room left means that
    /// more records are needed, or that the peer [has ended](TlsStage::is_ended).
    ///
    /// # Errors
    /// If a record is wrong, once all plaintext before it was given out.
    pub fn open(&mut self, cipher: &mut &[u8], plain: &mut [u8]) -> Result<usize, TlsError> {
        let mut filled = 0;
        loop {
            filled += self.read(&mut plain[filled..]);
            if filled == plain.len() || cipher.is_empty() || self.feed(cipher).is_err() {
                break;
            }
        }
        // What came before a bad record is given out first.
        filled += self.read(&mut plain[filled..]);
        match &self.failed {
            Some(error) if filled == 0 => Err(error.clone()),
            _ => {
                self.shrink();
                Ok(filled)
            }
        }
    }

    /// True once the peer has said `close_notify`: nothing comes behind it.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The stream below has ended.
    ///
    /// # Errors
    /// [`TlsErrorKind::Truncated`] if the peer did not say `close_notify` before.
    pub fn end_of_stream(&self) -> Result<(), TlsError> {
        if self.ended { Ok(()) } else { Err(TlsError::truncated()) }
    }

    /// Seals plaintext, chunks together, in as few records as it fits into, and appends them
    /// to `out`. Returns how much it took: at most 64 KiB.
    ///
    /// # Errors
    /// If the connection has failed, or its keys have sealed as much as they may.
    pub fn seal(&mut self, chunks: &[IoSlice<'_>], out: &mut Vec<u8>) -> Result<usize, TlsError> {
        self.answers(out);
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let sealed = self.connection.writer().write_vectored(chunks).map_err(TlsError::config)?;
        self.answers(out);
        Ok(sealed)
    }

    /// Says `close_notify`: no plaintext comes behind it.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.answers(out);
    }

    /// Appends what TLS itself has to say: the handshake, alerts, key updates.
    pub fn answers(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // A vector takes everything.
            if !matches!(self.connection.write_tls(out), Ok(1..)) {
                break;
            }
        }
    }

    /// True if [`TlsStage::answers`] has something.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        self.connection.wants_write()
    }

    /// Takes some bytes of records, and whatever is whole in them.
    fn feed(&mut self, cipher: &mut &[u8]) -> Result<(), TlsError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.ended {
            // RFC 8446 section 6.1: what comes behind the end is not looked at.
            *cipher = &[];
            return Ok(());
        }
        if let (true, Some(&first)) = (core::mem::take(&mut self.fresh), cipher.first()) {
            self.check_first(first)?;
        }
        let before = cipher.len();
        if let Err(error) = self.connection.read_tls(cipher) {
            let text = error.to_string();
            return Err(self.fail(TlsError::new(TlsErrorKind::Protocol, text)));
        }
        match self.connection.process_new_packets() {
            Ok(state) => self.ended = state.peer_has_closed(),
            Err(error) => return Err(self.fail(error.into())),
        }
        if cipher.len() == before && !self.ended {
            let text = "rustls takes no more records";
            return Err(self.fail(TlsError::new(TlsErrorKind::Protocol, text)));
        }
        Ok(())
    }

    /// Tells at once what a whole record header would be needed for otherwise.
    fn check_first(&mut self, byte: u8) -> Result<(), TlsError> {
        let server = matches!(self.connection, Connection::Server(_));
        if RECORDS.contains(&byte) {
            return Ok(());
        }
        let error = match (server, byte.is_ascii_uppercase()) {
            (true, true) => TlsError::new(
                TlsErrorKind::PlainHttp,
                "the peer speaks plain http; this port is for tls",
            ),
            (true, false) => TlsError::new(TlsErrorKind::NotTls, "the peer does not speak tls"),
            (false, _) => TlsError::not_tls(),
        };
        Err(self.fail(error))
    }

    fn fail(&mut self, error: TlsError) -> TlsError {
        self.failed = Some(error.clone());
        error
    }

    /// Plaintext that is there already.
    fn read(&mut self, plain: &mut [u8]) -> usize {
        self.connection.reader().read(plain).unwrap_or(0)
    }

    /// rustls keeps the room of the largest record that it has put together; asked to read
    /// when there is nothing to read, it goes back to 4 KiB.
    fn shrink(&mut self) {
        if !self.ended && self.failed.is_none() {
            let _ = self.connection.read_tls(&mut Dry);
        }
    }
}

impl fmt::Debug for TlsStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStage")
            .field("handshaking", &self.is_handshaking())
            .field("ended", &self.ended)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// A stream that has nothing for now.
struct Dry;

impl Read for Dry {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}
