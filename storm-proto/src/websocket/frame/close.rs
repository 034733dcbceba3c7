//! The body of a Close frame (RFC 6455 section 5.5.1): two bytes of code, then a reason.

use alloc::boxed::Box;

use super::close_code::CloseCode;
use crate::error::{CloseError, ProtocolError};

/// The longest reason: a control frame less its code.
const MAX_REASON: usize = super::header::MAX_CONTROL - 2;

/// A code and a reason: what an endpoint says when it closes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloseFrame {
    code: CloseCode,
    reason: Box<str>,
}

impl CloseFrame {
    /// A Close frame to be sent.
    ///
    /// # Errors
    /// If the code may not be sent or the reason has more than 123 bytes.
    pub fn new(code: CloseCode, reason: &str) -> Result<CloseFrame, CloseError> {
        if !code.is_sendable() {
            return Err(CloseError::InvalidCode(code.get()));
        }
        if reason.len() > MAX_REASON {
            return Err(CloseError::ReasonTooLong);
        }
        Ok(CloseFrame { code, reason: reason.into() })
    }

    /// A frame whose parts were checked before, or are constants.
    pub(crate) fn of(code: CloseCode, reason: &str) -> CloseFrame {
        CloseFrame { code, reason: reason.into() }
    }

    /// The code; [`CloseCode::NO_STATUS`] if the frame had none.
    #[must_use]
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The reason, which may be empty. It comes from the peer: not for end users' eyes.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The body as it stands in the frame: empty for a frame without a code.
    pub(crate) fn body(&self) -> ([u8; 2], &[u8]) {
        (self.code.get().to_be_bytes(), self.reason.as_bytes())
    }
}

/// Reads the body of a received frame. An empty body reads as 1005 (section 7.1.5).
pub(crate) fn parse(body: &[u8]) -> Result<(CloseCode, &str), ProtocolError> {
    let Some((&code, reason)) = body.split_first_chunk::<2>() else {
        return match body {
            [] => Ok((CloseCode::NO_STATUS, "")),
            _ => Err(ProtocolError::TruncatedClose),
        };
    };
    let code = u16::from_be_bytes(code);
    let code = CloseCode::new(code).ok_or(ProtocolError::InvalidCloseCode(code))?;
    match core::str::from_utf8(reason) {
        Ok(reason) => Ok((code, reason)),
        Err(_) => Err(ProtocolError::InvalidCloseReason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_read_as_section_7_says() {
        assert_eq!(parse(b""), Ok((CloseCode::NO_STATUS, "")));
        assert_eq!(parse(b"\x03"), Err(ProtocolError::TruncatedClose));
        assert_eq!(parse(b"\x03\xe8bye"), Ok((CloseCode::NORMAL, "bye")));
        assert_eq!(parse(b"\x03\xee"), Err(ProtocolError::InvalidCloseCode(1006)));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(ProtocolError::InvalidCloseReason));
    }

    #[test]
    fn frames_that_may_not_be_sent_cannot_be_made() {
        let long = "x".repeat(124);
        assert!(CloseFrame::new(CloseCode::NORMAL, &long[..123]).is_ok());
        assert_eq!(CloseFrame::new(CloseCode::NORMAL, &long), Err(CloseError::ReasonTooLong));
        assert_eq!(
            CloseFrame::new(CloseCode::NO_STATUS, ""),
            Err(CloseError::InvalidCode(1005)),
            "1005 stands for the absence of a code"
        );
    }
}
