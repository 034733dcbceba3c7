//! What every adapter shows its users, beside a runtime and the types that it is part of.

pub use crate::client::proxy::{Proxy, ProxyError};
pub use crate::client::reconnect::Reconnect;
pub use crate::client::uri::Uri;
pub use crate::connection::flow::WaterMarks;
pub use crate::connection::options::{Heartbeat, Options, Overrides, Timeouts};
pub use crate::connection::reason::{Cause, DisconnectReason, Side};
pub use crate::connection::slow::{Key, Lag, Loss, SlowConsumer};
pub use crate::error::{Error, HandlerError, OptionError, SendError};
pub use crate::framing::{Delimiter, Framer, FramingError, LengthPrefix, Raw};
pub use crate::histogram::Histogram;
pub use crate::message::{Kind, Message, OwnedMessage};
pub use crate::server::drain::Drain;
pub use crate::server::origins::{OriginError, Origins};
pub use crate::server::rate::Rate;
pub use crate::service::{
    Address, Audience, BindAddress, Callbacks, ClientMetrics, ClientState, ConnectError,
    ControlFrame, Delivering, Delivery, ErrorContext, Failure, GroupChange, Handler, HandlerResult,
    Hub, JoinError, KeepAlive, MessageStream, Metrics, Middleware, OpenError, Outcome, RateLimit,
    Refused, Retry, SendWait, ServerMetrics, Session, SocketOptions, State, Stopped, StreamError,
    Totals, Unopened, middleware,
};
#[cfg(feature = "tls")]
pub use crate::tls::{
    self, TlsClient, TlsError, TlsErrorKind, TlsFacts, TlsIdentity, TlsRoots, TlsServer, TlsVersion,
};
#[cfg(feature = "deflate")]
#[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
pub use crate::websocket::Deflate;
pub use crate::websocket::frame::close::CloseFrame;
pub use crate::websocket::frame::close_code::CloseCode;
pub use crate::websocket::handshake::{
    Accept, Decision, HeadLimit, HeadLimits, IntoDecision, Offer, Request, Response,
};
pub use crate::websocket::prepared::Prepared;
pub use crate::websocket::{Limits, Role, WebSocket};
