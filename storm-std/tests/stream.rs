//! The second door on plain threads.
#![allow(clippy::unwrap_used)]

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use storm_std::{
    Accept, Cause, Client, Heartbeat, Offer, Options, OwnedMessage, Response, Server, WebSocket,
    WebSocketStream,
};

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn both_sides_talk_over_any_stream_and_close_in_order() {
    let (client, server) = sockets();
    let serving = thread::spawn(move || {
        let mut echo = WebSocketStream::accept_with(server, Options::default(), |request| {
            assert_eq!(request.path(), "/echo");
            Accept::new()
        })
        .unwrap();
        while let Some(message) = echo.next() {
            echo.send(&message.unwrap()).unwrap();
        }
        echo.reason().unwrap().clean
    });
    let (uri, offer) = ("ws://example/echo".parse().unwrap(), Offer::new());
    let mut client = WebSocketStream::connect(client, &uri, &offer, Options::default()).unwrap();
    for len in [0, 1, 125, 126, 65_536, 1 << 20] {
        let message = OwnedMessage::binary(vec![7; len]);
        client.send(&message).unwrap();
        assert_eq!(client.next().unwrap().unwrap(), message);
    }
    client.close().unwrap();
    assert!(client.next().is_none());
    assert!(client.reason().unwrap().clean);
    assert!(serving.join().unwrap());
}

#[test]
fn a_refusal_is_told_to_both_sides() {
    let (client, server) = sockets();
    let serving = thread::spawn(move || {
        let refuse = |_: &_| Response::new(403).body("not you");
        WebSocketStream::accept_with(server, Options::default(), refuse).unwrap_err().to_string()
    });
    let (uri, offer) = ("ws://example/".parse().unwrap(), Offer::new());
    let error = WebSocketStream::connect(client, &uri, &offer, Options::default()).unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
    assert!(serving.join().unwrap().contains("403"));
}

#[test]
fn it_talks_to_servers_and_clients_of_the_first_door() {
    let server = Server::bind("127.0.0.1:0").websocket(WebSocket::new());
    let server = server.on_message(|session, message| session.send(message)).start().unwrap();
    let address = server.address().ip().unwrap();
    let (uri, offer) = ("ws://example/".parse().unwrap(), Offer::new());
    let stream = TcpStream::connect(address).unwrap();
    let mut stream = WebSocketStream::connect(stream, &uri, &offer, Options::default()).unwrap();
    stream.send("hello").unwrap();
    assert_eq!(stream.next().unwrap().unwrap(), OwnedMessage::text("hello"));
    stream.close().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let mut echo = WebSocketStream::accept(stream, Options::default()).unwrap();
        while let Some(Ok(message)) = echo.next() {
            echo.send(&message).unwrap();
        }
    });
    let mut inbox = Client::new(url).open().unwrap();
    inbox.session().send("hello").unwrap();
    assert_eq!(inbox.next().unwrap(), Some(OwnedMessage::text("hello")));
    inbox.session().close();
    assert_eq!(inbox.next().unwrap(), None);
    serving.join().unwrap();
}

#[test]
fn a_read_timeout_of_the_streams_keeps_the_heartbeat_going() {
    let (client, silent) = sockets();
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let heartbeat = Heartbeat::every(Duration::from_millis(50)).missed(1);
    let mut options = Options::default();
    options.websocket = WebSocket::new().heartbeat(heartbeat);
    let role = storm_std::Role::Server;
    let mut socket = WebSocketStream::from_upgraded(client, role, options, b"");
    assert!(socket.next().unwrap().is_err());
    assert_eq!(socket.reason().unwrap().cause, Cause::HeartbeatTimeout);
    drop(silent);
}
