//! The options of builders: zeros, options that cannot apply, and the order of the calls.
#![allow(clippy::unwrap_used)]

mod sim;

use std::fmt::Debug;
use std::time::Duration;

use sim::Sim;
use sim::tools::{poll, start};
use storm_proto::framing::{Delimiter, LengthPrefix};
use storm_proto::service::{
    ConnectError, KeepAlive, RateLimit, Server as AnyServer, SocketOptions,
};
use storm_proto::websocket::Limits;
use storm_proto::websocket::handshake::{Accept, HeadLimits, Response};
use storm_proto::{
    CloseCode, Drain, Heartbeat, OptionError, Origins, Overrides, Rate, Reconnect, SlowConsumer,
    Timeouts, WebSocket,
};

type Server = AnyServer<Sim>;
type Client = storm_proto::service::Client<Sim>;

const ZERO: Duration = Duration::ZERO;

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn server() -> Server {
    Server::bind("127.0.0.1:80").websocket(WebSocket::new())
}

fn client() -> Client {
    Client::new("ws://example")
}

/// The option that the start of a server names; none if it starts.
fn refused<H: storm_proto::service::Handler>(server: AnyServer<Sim, H>) -> Option<&'static str> {
    let error = Sim::block_on(server.start()).err()?;
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    let option: &OptionError = error.get_ref().unwrap().downcast_ref().unwrap();
    assert!(error.to_string().starts_with(option.option()), "{error}");
    Some(option.option())
}

/// The option that the connect of a client names; none if it tries.
fn refused_client<H: storm_proto::service::Handler>(
    client: storm_proto::service::Client<Sim, H>,
) -> Option<&'static str> {
    match poll(&mut Box::pin(client.connect())) {
        None => {
            Sim::dialled();
            None
        }
        Some(Err(error @ ConnectError::Option(option))) => {
            assert!(!error.is_retryable());
            Some(option.option())
        }
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_limit_of_zero_is_an_error_that_names_the_option() {
    let timeouts = |set: fn(&mut Timeouts)| {
        let mut timeouts = Timeouts::new();
        set(&mut timeouts);
        timeouts
    };
    let head = |set: fn(&mut HeadLimits)| {
        let mut head = HeadLimits::new();
        set(&mut head);
        server().websocket(WebSocket::new().head(head))
    };
    let socket = |keep_alive| server().socket(SocketOptions::new().keep_alive(Some(keep_alive)));
    let (probes, second) = (KeepAlive::new(), second(1));
    for (option, server) in [
        ("handshake_timeout", server().handshake_timeout(ZERO)),
        ("handshake_timeout", server().timeouts(timeouts(|t| t.handshake = ZERO))),
        ("stall_timeout", server().stall_timeout(ZERO)),
        ("stall_timeout", server().timeouts(timeouts(|t| t.stall = ZERO))),
        ("close_timeout", server().close_timeout(ZERO)),
        ("close_timeout", server().timeouts(timeouts(|t| t.close = ZERO))),
        ("max_pending_send", server().max_pending_send(0)),
        ("max_frame", server().websocket(WebSocket::new().max_frame(0))),
        ("max_message", server().websocket(WebSocket::new().max_message(0))),
        ("max_fragments", server().websocket(WebSocket::new().max_fragments(0))),
        ("head.bytes", head(|head| head.bytes = 0)),
        ("head.line", head(|head| head.line = 0)),
        ("head.headers", head(|head| head.headers = 0)),
        ("max_groups", server().max_groups(0)),
        ("backlog", server().backlog(0)),
        ("connect_rate", server().connect_rate(Rate::per_second(0))),
        ("connect_rate", server().connect_rate(Rate::per_second(1).burst(0))),
        ("receive_buffer", server().socket(SocketOptions::new().receive_buffer(0))),
        ("send_buffer", server().socket(SocketOptions::new().send_buffer(0))),
        ("keep_alive.idle", socket(probes.idle(ZERO))),
        ("keep_alive.idle", socket(probes.idle(second / 2))),
        ("keep_alive.idle", socket(probes.idle(second * 32_768))),
        ("keep_alive.interval", socket(probes.interval(ZERO))),
        ("keep_alive.count", socket(probes.count(0))),
        ("keep_alive.count", socket(probes.count(128))),
        ("limit", Server::bind("127.0.0.1:80").framed(Delimiter::lines().limit(0))),
        ("limit", Server::bind("127.0.0.1:80").framed(LengthPrefix::new().limit(0))),
        (
            "rate_limit.messages",
            server().middleware(RateLimit::new().messages(Rate::per_second(0))),
        ),
        ("rate_limit.bytes", server().middleware(RateLimit::new().bytes(Rate::per_second(0)))),
        (
            "rate_limit.control_frames",
            server().middleware(RateLimit::new().control_frames(Rate::per_second(0))),
        ),
    ] {
        assert_eq!(refused(server), Some(option));
    }
    for (option, client) in [
        ("connect_timeout", client().connect_timeout(ZERO)),
        ("stall_timeout", client().stall_timeout(ZERO)),
        ("close_timeout", client().close_timeout(ZERO)),
        ("max_pending_send", client().max_pending_send(0)),
        ("max_frame", client().websocket(WebSocket::new().max_frame(0))),
        ("send_buffer", client().socket(SocketOptions::new().send_buffer(0))),
        ("limit", Client::new("tcp://a:1").framed(LengthPrefix::new().limit(0))),
        ("rate_limit.bytes", client().middleware(RateLimit::new().bytes(Rate::per_second(0)))),
    ] {
        assert_eq!(refused_client(client), Some(option));
    }
    for (option, reconnect) in
        [("initial", Reconnect::new().initial(ZERO)), ("cap", Reconnect::new().cap(ZERO))]
    {
        match client().reconnect(reconnect) {
            Err(ConnectError::Option(error)) => assert_eq!(error.option(), option),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_zero_that_means_off_or_unlimited_is_that() {
    let running = start(
        server()
            .max_connections(0)
            .max_connections_per_ip(0)
            .idle_timeout(ZERO)
            .websocket(WebSocket::new().heartbeat(Heartbeat::every(ZERO))),
    );
    let peers: Vec<_> = (0..5).map(|_| Sim::dial()).collect();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for peer in &peers {
        peer.send(request);
        assert!(peer.take().starts_with(b"HTTP/1.1 101"));
    }
    Sim::pass(second(1_000));
    assert_eq!(running.count(), 5, "nobody is idle, or pinged");
    assert!(peers.iter().all(|peer| peer.take().is_empty()));
    // While they are open.
    for session in running.sessions() {
        session.set(
            Overrides::new()
                .max_pending_send(0)
                .idle_timeout(ZERO)
                .stall_timeout(ZERO)
                .heartbeat(Heartbeat::every(ZERO)),
        );
        session.send(&[7; 1_000]).unwrap();
        session.send(&[7; 1_000]).unwrap();
    }
    Sim::pass(second(1_000));
    assert_eq!(running.count(), 5, "they change nothing, or turn it off");
}

#[test]
fn zero_attempts_are_any_number_of_them() {
    Sim::refuse(true);
    let client = client().reconnect(Reconnect::new().max_attempts(0)).unwrap();
    Sim::pass(second(600));
    assert!(client.metrics().retries > 20, "{:?}", client.metrics());
    Sim::refuse(false);
}

#[test]
fn an_option_that_cannot_apply_is_an_error_that_names_it() {
    let tcp = || Server::bind("127.0.0.1:80").framed(Delimiter::lines());
    let unix = || Server::bind("unix:/a");
    for (option, server) in [
        ("framed", tcp().websocket(WebSocket::new())),
        ("framed", server().framed(Delimiter::lines())),
        ("origins", tcp().origins(Origins::same())),
        ("handshake_timeout", tcp().handshake_timeout(second(1))),
        ("dual_stack", server().dual_stack(true)),
        ("dual_stack", Server::bind("localhost:80").dual_stack(true)),
        ("dual_stack", Server::bind(([0, 0, 0, 0], 80)).dual_stack(true)),
        ("dual_stack", unix().dual_stack(true)),
        ("unix_mode", server().unix_mode(0o600)),
        ("unix_mode", unix().unix_mode(0o4000)),
        ("backlog", unix().backlog(5)),
        ("socket", unix().socket(SocketOptions::new())),
        ("max_connections_per_ip", unix().max_connections_per_ip(5)),
        ("connect_rate", unix().connect_rate(Rate::per_second(5))),
        ("subprotocol", server().websocket(WebSocket::new().subprotocol("two words"))),
    ] {
        assert_eq!(refused(server), Some(option));
    }
    assert_eq!(refused(tcp().on_connecting(|_| Accept::new())), Some("on_connecting"));
    let asynchronous = tcp().on_connecting_async(|_| async { Response::new(404) });
    assert_eq!(refused(asynchronous), Some("on_connecting"));
    let lines = Delimiter::lines();
    let proxy = "http://proxy:80".parse::<storm_proto::Proxy>().unwrap();
    for (option, client) in [
        ("framed", client().framed(lines)),
        ("websocket", Client::new("tcp://a:1").websocket(WebSocket::new())),
        ("subprotocol", Client::new("tcp://a:1").subprotocol("chat")),
        ("header", Client::new("unix:/a").header("a", "b")),
        ("proxy", Client::new("unix:/a").proxy(proxy)),
        ("socket", Client::new("ws+unix:/a").socket(SocketOptions::new())),
    ] {
        assert_eq!(refused_client(client), Some(option));
    }
    let hopeful = client().on_reconnecting(|_| ());
    assert_eq!(refused_client(hopeful), Some("on_reconnecting"));
}

#[test]
fn options_that_can_apply_are_no_errors() {
    for server in [
        server().origins(Origins::same()).handshake_timeout(second(1)),
        Server::bind("[::]:80").dual_stack(true),
        Server::bind(":80").dual_stack(true),
        Server::bind("127.0.0.1:80").dual_stack(false).timeouts(Timeouts::new()),
        Server::bind("unix:/a").unix_mode(0o600).max_connections(5).max_groups(1),
        server().websocket(WebSocket::new().max_frame(1).max_message(1).subprotocol("chat")),
        server().socket(SocketOptions::new().keep_alive(Some(
            KeepAlive::new().idle(second(1)).interval(second(32_767)).count(127),
        ))),
    ] {
        assert_eq!(refused(server), None);
    }
    assert_eq!(refused_client(client().proxy_from_env().header("a", "b").subprotocol("c")), None);
}

// The order of the calls.

type Setter<T> = fn(T) -> T;

/// Each setter shows, and two of them make the same in either order.
fn in_any_order<T: Debug>(new: impl Fn() -> T, setters: &[Setter<T>]) {
    let shown = |setters: &[Setter<T>]| {
        format!("{:?}", setters.iter().fold(new(), |built, set| set(built)))
    };
    for (at, first) in setters.iter().enumerate() {
        assert_ne!(shown(&[*first]), shown(&[]), "setter {at} shows nothing");
        for second in &setters[..at] {
            assert_eq!(shown(&[*first, *second]), shown(&[*second, *first]), "{at}");
        }
    }
}

#[test]
fn builders_do_not_depend_on_the_order_of_their_calls() {
    in_any_order::<Server>(
        || Server::bind("[::]:80"),
        &[
            |s| s.websocket(WebSocket::new().subprotocol("a").max_frame(7)),
            |s| s.timeouts(*TIMEOUTS),
            |s| s.handshake_timeout(second(1)),
            |s| s.idle_timeout(second(1)),
            |s| s.stall_timeout(second(1)),
            |s| s.close_timeout(second(1)),
            |s| s.max_pending_send(7),
            |s| s.slow_consumer(SlowConsumer::Drop),
            |s| s.max_connections(7),
            |s| s.max_connections_per_ip(7),
            |s| s.connect_rate(Rate::per_second(7)),
            |s| s.origins(Origins::same()),
            |s| s.max_groups(7),
            |s| s.socket(SocketOptions::new().nodelay(false)),
            |s| s.backlog(7),
            |s| s.dual_stack(true),
            |s| s.unix_mode(0o600),
        ],
    );
    in_any_order::<Client>(
        client,
        &[
            |c| c.websocket(WebSocket::new().subprotocol("a").max_frame(7)),
            |c| c.subprotocol("b"),
            |c| c.framed(Delimiter::lines()),
            |c| c.timeouts(*TIMEOUTS),
            |c| c.idle_timeout(second(1)),
            |c| c.stall_timeout(second(1)),
            |c| c.close_timeout(second(1)),
            |c| c.max_pending_send(7),
            |c| c.slow_consumer(SlowConsumer::Drop),
            |c| c.connect_timeout(second(1)),
            |c| c.proxy("http://proxy:80".parse().unwrap()),
            |c| c.proxy_from_env(),
            |c| c.socket(SocketOptions::new().nodelay(false)),
        ],
    );
    in_any_order::<WebSocket>(
        WebSocket::new,
        &[
            |w| w.max_frame(7),
            |w| w.max_message(7),
            |w| w.max_fragments(7),
            |w| w.head(*HEAD),
            |w| w.heartbeat(Heartbeat::off()),
            #[cfg(feature = "deflate")]
            |w| w.deflate(Default::default()),
            |w| w.subprotocol("a"),
        ],
    );
    in_any_order::<Heartbeat>(|| Heartbeat::every(second(7)), &[|h| h.missed(7)]);
    in_any_order::<Overrides>(
        Overrides::new,
        &[
            |o| o.max_pending_send(7),
            |o| o.slow_consumer(SlowConsumer::Drop),
            |o| o.heartbeat(Heartbeat::off()),
            |o| o.idle_timeout(second(7)),
            |o| o.stall_timeout(second(7)),
        ],
    );
    in_any_order::<Reconnect>(
        Reconnect::new,
        &[
            |r| r.initial(second(60)),
            |r| r.cap(second(7)),
            |r| r.factor(7),
            |r| r.max_attempts(7),
            |r| r.stable_after(second(7)),
        ],
    );
    in_any_order::<Drain>(
        Drain::new,
        &[
            |d| d.within(second(7)),
            |d| d.over(second(60)),
            |d| d.retry_after(second(7)),
            |d| d.code(CloseCode::SERVICE_RESTART),
        ],
    );
    in_any_order::<RateLimit>(
        RateLimit::new,
        &[
            |r| r.messages(Rate::per_second(7)),
            |r| r.bytes(Rate::per_second(7)),
            |r| r.control_frames(Rate::per_second(7)),
            |r| r.per_ip(),
            |r| r.drop_excess(),
            |r| r.throttle(),
        ],
    );
    in_any_order::<Accept>(
        Accept::new,
        &[
            |a| a.subprotocol("a"),
            |a| a.overrides(Overrides::new().max_pending_send(7)),
            |a| a.limits(*LIMITS),
            |a| a.header("a", "b"),
            |a| a.attach(7),
            #[cfg(feature = "deflate")]
            |a| a.deflate(Default::default()),
        ],
    );
    in_any_order::<Response>(
        || Response::new(200),
        &[|r| r.header("Content-Type", "text/css"), |r| r.body("a")],
    );
    in_any_order::<Origins>(
        || Origins::only(["https://a.example"]).unwrap(),
        &[|o| o.or_same(), |o| o.allow_missing(false)],
    );
    in_any_order::<SocketOptions>(
        SocketOptions::new,
        &[
            |s| s.nodelay(false),
            |s| s.keep_alive(None),
            |s| s.receive_buffer(7),
            |s| s.send_buffer(7),
        ],
    );
    in_any_order::<KeepAlive>(
        KeepAlive::new,
        &[|k| k.idle(second(7)), |k| k.interval(second(7)), |k| k.count(7)],
    );
}

static TIMEOUTS: std::sync::LazyLock<Timeouts> = std::sync::LazyLock::new(|| {
    let mut timeouts = Timeouts::new();
    (timeouts.idle, timeouts.stall) = (Some(second(7)), second(8));
    (timeouts.handshake, timeouts.close) = (second(9), second(10));
    timeouts
});

static HEAD: std::sync::LazyLock<HeadLimits> = std::sync::LazyLock::new(|| {
    let mut head = HeadLimits::new();
    head.bytes = 7;
    head
});

static LIMITS: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(|| {
    let mut limits = Limits::new();
    limits.frame = 7;
    limits
});
