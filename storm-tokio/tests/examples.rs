//! What the examples say about themselves.

/// The same example on tokio, smol and std.
type Three = [&'static str; 3];

const ECHO: Three = [
    include_str!("../examples/echo_tokio.rs"),
    include_str!("../../storm-smol/examples/echo_smol.rs"),
    include_str!("../../storm-std/examples/echo_std.rs"),
];

const TCP_ECHO: Three = [
    include_str!("../examples/tcp_echo_tokio.rs"),
    include_str!("../../storm-smol/examples/tcp_echo_smol.rs"),
    include_str!("../../storm-std/examples/tcp_echo_std.rs"),
];

const TLS_ECHO: Three = [
    include_str!("../examples/tls_echo_tokio.rs"),
    include_str!("../../storm-smol/examples/tls_echo_smol.rs"),
    include_str!("../../storm-std/examples/tls_echo_std.rs"),
];

#[test]
fn an_echo_is_the_same_on_every_runtime_but_for_two_lines() {
    for [tokio, smol, std] in [ECHO, TCP_ECHO, TLS_ECHO] {
        differ_in_the_runtime(tokio, smol, "storm_smol");
        differ_in_the_runtime(tokio, std, "storm_std");
    }
}

/// One line names the runtime, another waits in its way.
fn differ_in_the_runtime(tokio: &str, other: &str, crate_name: &str) {
    assert_eq!(tokio.lines().count(), other.lines().count());
    let lines = tokio.lines().zip(other.lines());
    let different: Vec<_> = lines.filter(|(one, other)| one != other).collect();
    let [(one, other), (wait, _)] = different[..] else { panic!("{different:#?}") };
    assert!(one.contains("storm_tokio") && other.contains(crate_name));
    assert!(wait.contains(".block_on("));
}
