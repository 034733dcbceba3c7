//! WebSockets over streams of the caller's: in memory, over sockets, and with the servers and
//! clients of this crate at the other end.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use storm_tokio::{
    Accept, CloseCode, Heartbeat, Offer, OpenError, Options, OwnedMessage, Response, Role, Server,
    StreamError, Uri, WebSocket, WebSocketStream,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufStream, duplex};
use tokio::net::{TcpListener, TcpStream};

fn uri() -> Uri {
    "ws://server.example/chat".parse().unwrap()
}

fn payloads() -> Vec<OwnedMessage> {
    vec![
        OwnedMessage::text("hello"),
        OwnedMessage::binary(vec![]),
        OwnedMessage::binary(vec![7; 1_000_000]),
        OwnedMessage::text("the last"),
    ]
}

async fn echo<S>(mut stream: WebSocketStream<S>) -> WebSocketStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    while let Some(message) = stream.next().await {
        stream.send(&message.unwrap()).await.unwrap();
    }
    stream
}

/// Sends each message, waits for its echo, and closes.
async fn ask<S>(mut stream: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    for message in payloads() {
        stream.send(&message).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), message);
    }
    stream.close().await.unwrap();
    assert!(stream.reason().unwrap().clean);
}

/// Shakes hands over both ends of a stream and lets them talk.
async fn talk<S>(near: S, far: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let serving = tokio::spawn(async move {
        let stream = WebSocketStream::accept(far, Options::default()).await.unwrap();
        echo(stream).await.reason().unwrap().clean
    });
    let offer = Offer::new();
    ask(WebSocketStream::connect(near, &uri(), &offer, Options::default()).await.unwrap()).await;
    assert!(serving.await.unwrap());
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn two_ends_of_any_stream_talk() {
    for room in [1 << 10, 1 << 20] {
        let (near, far) = duplex(room);
        talk(near, far).await;
        let (near, far) = duplex(room);
        talk(BufStream::new(near), BufStream::new(far)).await;
    }
    let (near, far) = sockets().await;
    talk(near, far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn halves_in_two_tasks_carry_everything_both_ways() {
    const COUNT: usize = 2_000;
    let (near, far) = duplex(512);
    let mut tasks = Vec::new();
    for (stream, role) in [(near, Role::Client), (far, Role::Server)] {
        let stream = WebSocketStream::from_upgraded(stream, role, Options::default(), b"");
        let (mut sink, mut stream) = stream.split();
        let message = |at: usize| OwnedMessage::binary(vec![at as u8; at % 700]);
        tasks.push(tokio::spawn(async move {
            for at in 0..COUNT {
                sink.feed(message(at)).await.unwrap();
            }
            sink.flush().await.unwrap();
        }));
        tasks.push(tokio::spawn(async move {
            for at in 0..COUNT {
                assert_eq!(stream.next().await.unwrap().unwrap(), message(at));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_talks_to_a_server_of_this_crate() {
    let server = Server::bind("127.0.0.1:0").websocket(WebSocket::new());
    let server = server.on_message(|session, message| session.send(message));
    let server = server.start().await.unwrap();
    let uri: Uri = format!("ws://{}/", server.address()).parse().unwrap();
    let stream = TcpStream::connect(uri.authority()).await.unwrap();
    ask(WebSocketStream::connect(stream, &uri, &Offer::new(), Options::default()).await.unwrap())
        .await;
}

#[tokio::test]
async fn a_client_of_this_crate_talks_to_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/room", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (stream, peer) = listener.accept().await.unwrap();
        let choose = |request: &storm_tokio::Request| match request.path() {
            "/room" => Ok(Accept::new().subprotocol("b").attach(7u32)),
            _ => Err(Response::new(404)),
        };
        let stream = WebSocketStream::accept_with(stream, Options::default(), choose).await;
        let stream = stream.unwrap();
        assert_eq!((stream.subprotocol(), stream.get()), (Some("b"), Some(&7u32)));
        assert_eq!(stream.get_ref().unwrap().peer_addr().unwrap(), peer);
        echo(stream).await.reason().unwrap().clone()
    });
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let client = storm_tokio::Client::new(url).subprotocol("a").subprotocol("b");
    let client = client.on_message(move |_, message| drop(send.send(message.to_owned())));
    let session = client.connect().await.unwrap();
    assert_eq!(session.subprotocol(), Some("b"));
    for message in payloads() {
        session.send(&message).unwrap();
        assert_eq!(receive.recv().await.unwrap(), message);
    }
    session.close_with(CloseCode::new(4000).unwrap(), "done").unwrap();
    assert!(session.closed().await.clean);
    let reason = serving.await.unwrap();
    assert_eq!((reason.clean, reason.code().get()), (true, 4000));
}

#[tokio::test]
async fn a_refusal_reaches_the_client() {
    let (near, far) = duplex(1 << 10);
    let refuse = |_: &_| Response::new(403);
    let serving = tokio::spawn(WebSocketStream::accept_with(far, Options::default(), refuse));
    let connected = WebSocketStream::connect(near, &uri(), &Offer::new(), Options::default()).await;
    assert_eq!(connected.unwrap_err().status(), Some(403));
    assert!(matches!(serving.await.unwrap(), Err(OpenError::Refused(403))));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_given_up() {
    let (near, mut far) = duplex(1 << 10);
    let mut options = Options::default();
    options.websocket.heartbeat = Heartbeat::every(Duration::from_secs(10)).missed(2);
    let mut stream = WebSocketStream::from_upgraded(near, Role::Server, Arc::new(options), b"");
    let start = tokio::time::Instant::now();
    let Some(Err(StreamError::Ended(reason))) = stream.next().await else { panic!("no error") };
    assert_eq!(reason.to_string(), "the heartbeat deadline passed");
    assert_eq!(start.elapsed().as_secs(), 30);
    let mut pings = Vec::new();
    far.read_to_end(&mut pings).await.unwrap();
    assert_eq!(pings, b"\x89\x04\0\0\0\x01\x89\x04\0\0\0\x02");
}
