//! A TCP echo over TLS, with a certificate that it makes for itself. This file is the same for
//! every runtime, but for the lines that name it.
//!
//!     cargo run --features self-signed -p storm-tokio --example tls_echo_tokio [address]
//!     openssl s_client -connect 127.0.0.1:5001      # warns of the unknown issuer, and goes on

#[path = "../../storm-tokio/examples/sample/mod.rs"]
mod sample;

use std::error::Error;
use std::process::ExitCode;

use storm_proto::framing::Raw;
use storm_proto::service::{Server, Session, Stopped};
use storm_proto::tls::{TlsIdentity, TlsServer};

fn main() -> ExitCode {
    sample::run("An echo server for TCP over TLS.", "127.0.0.1:5001", serve)
}

fn serve(address: &str) -> Result<Stopped, Box<dyn Error>> {
    let identity = TlsIdentity::self_signed(["localhost", "127.0.0.1"])?;
    let echo = Server::bind(address)
        .framed(Raw)
        .tls(TlsServer::new(identity)?)
        .on_connected(|session| println!("[{}] {}", session.id(), agreed(session)))
        .on_message(|session, message| {
            println!("[{}] {} bytes", session.id(), message.len());
            session.send(message)
        })
        .on_disconnected(|session, reason| println!("[{}] {reason}", session.id()))
        .on_error(|context, error| println!("{context}: {error}"));
    let echo = echo.runtime(storm_tokio::Tokio::default());
    let listening = format!("echo over TLS at {address}");
    Ok(tokio::runtime::Runtime::new()?.block_on(sample::serve(echo, listening))?)
}

/// What the handshake of TLS agreed on.
fn agreed(session: &Session) -> String {
    let tls = session.tls();
    tls.map_or_else(String::new, |tls| format!("{} with {}", tls.version, tls.cipher_suite))
}
