//! Connecting.

use std::io;

use storm_proto::service::{Address, Ends, SocketOptions};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::transport::Transport;

/// Connects to one address.
pub(crate) async fn dial(
    address: Address,
    options: SocketOptions,
) -> io::Result<(Transport, Ends)> {
    match address {
        Address::Ip(address) => {
            let stream = TcpStream::connect(address).await?;
            storm_socket::apply(&stream, &options)?;
            let ends = Ends { peer: address.into(), local: stream.local_addr()?.into() };
            Ok((stream.into(), ends))
        }
        #[cfg(unix)]
        Address::Unix(Some(path)) => {
            let stream = UnixStream::connect(&*path).await?;
            let ends = Ends { peer: Address::Unix(Some(path)), local: Address::Unix(None) };
            Ok((stream.into(), ends))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
