//! System calls that ask a connected socket itself, whatever a runtime knows of its readiness.

use std::io::{self, IoSlice, Read, Write};

use socket2::SockRef;

/// Reads what has arrived.
///
/// # Errors
/// As the operating system gives them; `WouldBlock` if nothing has, on a socket that does not
/// block.
pub fn read<'s>(socket: impl Into<SockRef<'s>>, buffer: &mut [u8]) -> io::Result<usize> {
    (&mut &*socket.into()).read(buffer)
}

/// Writes what the socket takes.
///
/// # Errors
/// As the operating system gives them; `WouldBlock` if it takes nothing, on a socket that does
/// not block.
pub fn write<'s>(socket: impl Into<SockRef<'s>>, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
    (&mut &*socket.into()).write_vectored(chunks)
}

/// True if bytes have arrived that nobody has read. Does not block, also on a socket that does.
/// Always false on systems other than Unix.
#[cfg_attr(not(unix), allow(clippy::needless_pass_by_value))]
pub fn has_input<'s>(socket: impl Into<SockRef<'s>>) -> bool {
    #[cfg(unix)]
    {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        matches!(socket.into().recv_with_flags(&mut byte, flags), Ok(n) if n > 0)
    }
    #[cfg(not(unix))]
    {
        let _ = socket.into();
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (stream, listener.accept().unwrap().0)
    }

    #[test]
    #[cfg(unix)]
    fn input_is_seen_without_blocking_and_stays_there() {
        let (stream, mut peer) = connected();
        assert!(!has_input(&stream), "the socket blocks, and this does not");
        peer.write_all(b"ab").unwrap();
        while !has_input(&stream) {}
        let mut buffer = [0; 8];
        assert_eq!(read(&stream, &mut buffer).unwrap(), 2);
        assert!(!has_input(&stream));
        drop(peer);
        assert_eq!(read(&stream, &mut buffer).unwrap(), 0);
        assert!(!has_input(&stream), "an end is no bytes");
    }

    #[test]
    fn a_socket_that_takes_nothing_says_so() {
        let (stream, _peer) = connected();
        stream.set_nonblocking(true).unwrap();
        let chunk = [7; 1 << 16];
        let full = loop {
            if let Err(error) = write(&stream, &[IoSlice::new(&chunk)]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
