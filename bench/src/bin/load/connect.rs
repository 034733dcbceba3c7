//! Opening a connection, the same for every scenario.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::Result;
use crate::cli::Protocol;
use crate::websocket;

/// A server that says nothing for so long has failed.
pub const SILENCE: Duration = Duration::from_secs(5);

/// Set by a signal; checked often enough that servers are ended, never left behind.
pub static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Connections per source address: far fewer than there are ports, whatever else holds some.
const PER_SOURCE: usize = 2000;

/// Opens the connection of that number, ready for messages. It blocks, and gives up after `SILENCE`.
pub fn open(address: SocketAddr, protocol: Protocol, number: usize) -> Result<TcpStream> {
    continue_or_stop()?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Linux owns all of 127.0.0.0/8, so ten thousand connections need not share one address's ports.
    if let (IpAddr::V4(_), Ok(source)) = (address.ip(), u8::try_from(number / PER_SOURCE + 1)) {
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0)).into())?;
    }
    socket.connect_timeout(&address.into(), SILENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    if protocol == Protocol::WebSocket {
        websocket::handshake(&mut stream)?;
    }
    Ok(stream)
}

/// Fails once the user wants the run to end.
pub fn continue_or_stop() -> Result<()> {
    if STOP.load(Ordering::Relaxed) { Err("interrupted".into()) } else { Ok(()) }
}
