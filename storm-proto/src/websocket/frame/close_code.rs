//! Status codes of the Close frame (RFC 6455 section 7.4 and the IANA registry).

use core::fmt;

/// Why an endpoint closes: the number in a Close frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the server goes down, or the browser leaves the page.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1003: a kind of message that this endpoint does not take.
    pub const UNSUPPORTED_DATA: CloseCode = CloseCode(1003);
    /// 1005: the Close frame carried no code. Never on the wire.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// 1006: the connection ended without a Close frame. Never on the wire.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// 1007: data that does not fit its kind, such as text that is not UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// 1008: a message that breaks a policy of this endpoint.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// 1009: a message over the size limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: the client wanted an extension that the server did not grant.
    pub const EXTENSION_REQUIRED: CloseCode = CloseCode(1010);
    /// 1011: an unexpected condition in this endpoint.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// 1012: the service restarts; reconnect after a random time.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// 1013: the service is overloaded; try again later.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// 1014: a gateway got an invalid answer from the server behind it.
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);

    /// The code with this number; `None` if it may not stand in a Close frame.
    ///
    /// Allowed are 1000 to 1003 and 1007 to 1014 (registered) and 3000 to 4999
    /// (libraries, frameworks and applications, RFC 6455 section 7.4.2). 1004,
    /// 1005, 1006 and 1015 are reserved and all others are undefined.
    #[must_use]
    pub const fn new(code: u16) -> Option<CloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// True for a code that may be sent: not for [`CloseCode::NO_STATUS`] and
    /// [`CloseCode::ABNORMAL`], which only stand for the absence of one.
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        CloseCode::new(self.0).is_some()
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 7.4 read as a list, for all 65,536 numbers.
    #[test]
    fn all_numbers_are_classified_as_the_rfc_and_the_registry_say() {
        for number in 0..=u16::MAX {
            let registered =
                [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
            let expected = registered.contains(&number) || (3000..5000).contains(&number);
            assert_eq!(CloseCode::new(number).is_some(), expected, "{number}");
            assert_eq!(CloseCode::new(number).map(CloseCode::get), expected.then_some(number));
        }
    }

    #[test]
    fn codes_that_stand_for_absence_cannot_be_sent() {
        assert!(!CloseCode::NO_STATUS.is_sendable());
        assert!(!CloseCode::ABNORMAL.is_sendable());
        assert!(CloseCode::NORMAL.is_sendable());
    }
}
