//! What the examples say about themselves.

const TOKIO: &str = include_str!("../examples/echo_tokio.rs");
const SMOL: &str = include_str!("../../storm-smol/examples/echo_smol.rs");
const STD: &str = include_str!("../../storm-std/examples/echo_std.rs");

#[test]
fn an_echo_is_the_same_on_every_runtime_but_for_one_line() {
    for (other, crate_name) in [(SMOL, "storm_smol"), (STD, "storm_std")] {
        assert_eq!(TOKIO.lines().count(), other.lines().count());
        let lines = TOKIO.lines().zip(other.lines());
        let different: Vec<_> = lines.filter(|(one, other)| one != other).collect();
        let [(one, other)] = different[..] else { panic!("{different:#?}") };
        assert!(one.contains("storm_tokio") && other.contains(crate_name));
    }
}
