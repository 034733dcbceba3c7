//! A TCP echo over TLS, with a certificate that it makes for itself. This file is the same for
//! every runtime, but for the line that names it.
//!
//!     cargo run --features self-signed -p storm-tokio --example tls_echo_tokio [address]
//!     openssl s_client -connect 127.0.0.1:5001      # says that it knows no such issuer, and goes on

use storm_proto::framing::Raw;
use storm_proto::service::Server;
use storm_proto::tls::{TlsIdentity, TlsServer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5001".into());
    println!("echo over TLS at {address}");
    let identity = TlsIdentity::self_signed(["localhost", "127.0.0.1"])?;
    let echo = Server::bind(address)
        .framed(Raw)
        .tls(TlsServer::new(identity)?)
        .on_connected(|session| println!("[{}] {:?}", session.id(), session.tls()))
        .on_message(|session, message| {
            println!("[{}] {} bytes", session.id(), message.len());
            session.send(message)
        })
        .on_disconnected(|session, reason| println!("[{}] {reason}", session.id()))
        .on_error(|session, error| println!("{session:?}: {error}"));
    tokio::runtime::Runtime::new()?.block_on(echo.runtime(storm_tokio::Tokio).serve())?;
    Ok(())
}
