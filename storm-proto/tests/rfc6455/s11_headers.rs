//! Section 11.3: how often each header may appear.

use storm_proto::websocket::handshake::{HandshakeError, Offer};

use super::s04_1_client::{client, verdict};
use super::s04_2_server::{request, status};
use crate::support::endpoint::{Endpoint, quiet};
use crate::support::http::{KEY, Text};
use crate::support::proof::accept_of;

#[test]
fn w11_3_1_01_a_key_appears_once_in_a_request() {
    let twice = Text::request().add("Sec-WebSocket-Key", KEY);
    assert_eq!(status(&twice), 400);
    assert_eq!(status(&Text::request().add("sec-websocket-key", "x")), 400);
}

#[test]
fn w11_3_2_01_extensions_may_appear_several_times_in_a_request() {
    let text = Text::request()
        .add("Sec-WebSocket-Extensions", "a;b")
        .add("sec-websocket-extensions", "c, d");
    assert_eq!(status(&text), 101);
    let values: Vec<_> =
        request(&text).headers().all("Sec-WebSocket-Extensions").map(<[u8]>::to_vec).collect();
    assert_eq!(values, [&b"a;b"[..], b"c, d"], "in their order");
}

#[test]
fn w11_3_2_02_extensions_appear_once_in_an_answer() {
    let twice = verdict(|text| {
        text.add("Sec-WebSocket-Extensions", "a").add("Sec-WebSocket-Extensions", "b")
    });
    // Already the first was not offered.
    assert!(matches!(twice, Some(HandshakeError::UnofferedExtension)));
}

#[test]
fn w11_3_3_01_an_accept_value_appears_once_in_an_answer() {
    let key = crate::support::http::read(&client().written).only("Sec-WebSocket-Key").to_string();
    let twice = verdict(|text| text.add("Sec-WebSocket-Accept", accept_of(&key)));
    assert!(matches!(twice, Some(HandshakeError::AcceptKey)), "even twice the same");
    let twice = verdict(|text| text.add("sec-websocket-accept", "other"));
    assert!(matches!(twice, Some(HandshakeError::AcceptKey)));
}

#[test]
fn w11_3_4_01_subprotocols_may_appear_several_times_in_a_request() {
    let text = Text::request()
        .add("Sec-WebSocket-Protocol", "a, b")
        .add("sec-websocket-protocol", "c")
        .add("Sec-WebSocket-Protocol", "d,e");
    let request = request(&text);
    assert!(request.subprotocols().eq(["a", "b", "c", "d", "e"]), "in order of preference");
    assert_eq!(request.choose_subprotocol(&["e", "c"]), Some("c"));
}

#[test]
fn w11_3_4_02_a_subprotocol_appears_once_in_an_answer() {
    let twice = verdict(|text| {
        text.add("Sec-WebSocket-Protocol", "chat").add("Sec-WebSocket-Protocol", "chat")
    });
    assert!(matches!(twice, Some(HandshakeError::UnofferedSubprotocol)));
}

#[test]
fn w11_3_5_01_a_version_appears_once_in_a_request() {
    for second in ["13", "8", ""] {
        let twice = Text::request().add("Sec-WebSocket-Version", second);
        assert_eq!(status(&twice), 400, "{second:?}");
    }
}

#[test]
fn w11_3_5_02_a_client_reads_all_the_versions_of_a_refusal() {
    let mut client = Endpoint::client(quiet(), &Offer::new());
    client.give(
        b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 15\r\n\
          sec-websocket-version: 14, 13\r\nContent-Length: 0\r\n\r\n",
    );
    let Some(HandshakeError::Refused(refusal)) = client.connection.handshake_error() else {
        panic!("refused");
    };
    let versions: Vec<_> = refusal.headers.all("Sec-WebSocket-Version").collect();
    assert_eq!(versions, [&b"15"[..], b"14, 13"]);
}
