//! How much a peer may send: a middleware.

use core::fmt;
use core::net::IpAddr;
use std::boxed::Box;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use super::middleware::{ControlFrame, Middleware, Outcome};
use super::session::Session;
use crate::connection::reason::DisconnectReason;
use crate::error::OptionError;
use crate::message::Message;
use crate::server::admission::RESTING;
use crate::server::rate::Rate;
use crate::server::rate_limit::{Allowance, Used, Verdict};
use crate::server::roster::{Roster, one_of_many};

/// So many parts has the table of all sessions, each with a lock of its own: the threads of a
/// server rarely meet.
const PARTS: usize = 16;

/// A limit on what peers send: messages, bytes, control frames, each a token bucket, so that no
/// edge of a window lets twice as much in.
///
/// ```
/// use storm_proto::Rate;
/// use storm_proto::service::RateLimit;
///
/// let limit = RateLimit::new()
///     .messages(Rate::per_second(20).burst(50))
///     .bytes(Rate::per_second(64 << 10))
///     .per_ip()
///     .throttle();
/// # drop(limit);
/// ```
///
/// Without options it allows each session 100 messages a second and 10 control frames a second,
/// 100 at once, and ends those that send more. Several may stand in one chain, such as one for
/// sessions and one for addresses. It counts messages as they reach it: whole, inflated, and as
/// middleware before it has left them.
#[must_use = "it is to be added to a server or a client"]
pub struct RateLimit {
    allowed: Allowance,
    per_ip: bool,
    excess: Excess,
    hooks: Vec<Hook>,
    parts: [Mutex<Roster<Who, Used>>; PARTS],
    random: RandomState,
}

/// What happens to messages for which there is no token; of two that are asked for, the later one
/// in this list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Excess {
    Disconnect,
    Drop,
    Throttle,
}

/// A closure of the application that is called when a session exceeds the limit.
struct Hook {
    /// For each message over the limit, not only for the first of a burst.
    each: bool,
    call: Box<dyn Fn(&Session) + Send + Sync>,
}

/// Whose buckets they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Who {
    Session(usize),
    Ip(IpAddr),
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit {
            allowed: Allowance::default(),
            per_ip: false,
            excess: Excess::Disconnect,
            hooks: Vec::new(),
            parts: Default::default(),
            random: RandomState::new(),
        }
    }
}

impl RateLimit {
    /// The defaults; see [`RateLimit`].
    pub fn new() -> RateLimit {
        RateLimit::default()
    }

    /// Sets how many messages may come; 100 a second. `None` for any number.
    pub fn messages(mut self, rate: impl Into<Option<Rate>>) -> RateLimit {
        self.allowed.messages = rate.into();
        self
    }

    /// Sets how many bytes of messages may come; any number. A message that is larger than the
    /// burst never passes, but with [`RateLimit::throttle`], where the next ones wait for it.
    pub fn bytes(mut self, rate: impl Into<Option<Rate>>) -> RateLimit {
        self.allowed.bytes = rate.into();
        self
    }

    /// Sets how many Pings and Pongs may come; 10 a second, 100 at once. More end the session,
    /// whatever is said of messages: they cost no bucket of messages, and each Ping is answered.
    pub fn control_frames(mut self, rate: impl Into<Option<Rate>>) -> RateLimit {
        self.allowed.control_frames = rate.into();
        self
    }

    /// Counts the sessions of an IP address together, of a /64 with IPv6. To leave and come
    /// back wins nothing: beside those connected, 65,536 addresses are remembered until their
    /// buckets are full; past that those that are fullest are forgotten.
    ///
    /// Behind a proxy all sessions have its address; on a Unix socket each is counted alone.
    pub fn per_ip(mut self) -> RateLimit {
        self.per_ip = true;
        self
    }

    /// Drops the messages that are too many, instead of ending the session. Has no effect beside
    /// [`RateLimit::throttle`].
    pub fn drop_excess(mut self) -> RateLimit {
        self.excess = self.excess.max(Excess::Drop);
        self
    }

    /// Loses nothing and ends nobody: reading stops until there is a token, and the peer is held
    /// up by the network; see [`Session::pause_reading`]. A message is handed over when there is
    /// a token, even if it costs more: it is paid for before the next one.
    pub fn throttle(mut self) -> RateLimit {
        self.excess = Excess::Throttle;
        self
    }

    /// Calls `hook` when a session exceeds the limit, before the limit acts.
    ///
    /// Once for a burst: the hook is called again only after all buckets of the session were
    /// full in between, so that a flood is reported once. Further hooks add to those before.
    ///
    /// # Panics
    /// A panic of the hook ends the session as a panic of its handler does.
    pub fn on_exceeded(self, hook: impl Fn(&Session) + Send + Sync + 'static) -> RateLimit {
        self.hook(false, hook)
    }

    /// Calls `hook` for each message and control frame over the limit, before the limit acts.
    ///
    /// A peer decides how often that is: keep the hook short. With [`RateLimit::throttle`] it is
    /// called for each message that makes its peer wait.
    ///
    /// # Panics
    /// A panic of the hook ends the session as a panic of its handler does.
    pub fn on_each_exceeded(self, hook: impl Fn(&Session) + Send + Sync + 'static) -> RateLimit {
        self.hook(true, hook)
    }

    fn hook(mut self, each: bool, call: impl Fn(&Session) + Send + Sync + 'static) -> RateLimit {
        self.hooks.push(Hook { each, call: Box::new(call) });
        self
    }

    fn who(&self, session: &Session) -> Who {
        match session.peer().ip() {
            Some(peer) if self.per_ip => Who::Ip(one_of_many(peer.ip())),
            _ => Who::Session(session.shared().owner()),
        }
    }

    fn part(&self, who: Who) -> MutexGuard<'_, Roster<Who, Used>> {
        let part = &self.parts[self.random.hash_one(who) as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the buckets of a session say; `None` if it has none.
    fn ask<T>(&self, session: &Session, ask: impl FnOnce(&mut Used) -> T) -> Option<T> {
        let who = self.who(session);
        self.part(who).of_present(who).map(ask)
    }

    /// Tells the application. True if it was too much.
    fn is_exceeded(&self, session: &Session, verdict: Option<Verdict>) -> bool {
        let Some(Verdict::Exceeded { first }) = verdict else { return false };
        for hook in self.hooks.iter().filter(|hook| first || hook.each) {
            (hook.call)(session);
        }
        true
    }
}

impl Middleware for RateLimit {
    fn check_options(&self) -> Result<(), OptionError> {
        let Allowance { messages, bytes, control_frames } = self.allowed;
        let rates = [
            ("rate_limit.messages", messages),
            ("rate_limit.bytes", bytes),
            ("rate_limit.control_frames", control_frames),
        ];
        match rates.iter().find(|(_, rate)| rate.is_some_and(|rate| !rate.is_valid())) {
            Some((option, _)) => Err(OptionError::new(option, "allows nothing")),
            None => Ok(()),
        }
    }

    fn on_connect(&self, session: &Session) {
        let who = self.who(session);
        let mut part = self.part(who);
        part.forget(session.shared().clock()());
        part.come(who);
    }

    fn inbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        let (len, now) = (message.len(), session.shared().clock()());
        if self.excess == Excess::Throttle {
            let owed = self.ask(session, |used| used.owe(&self.allowed, len, now));
            if let Some((verdict, wait)) = owed
                && self.is_exceeded(session, Some(verdict))
            {
                session.pause_reading(wait);
            }
            return Outcome::Pass;
        }
        let verdict = self.ask(session, |used| used.take(&self.allowed, len, now));
        if !self.is_exceeded(session, verdict) {
            return Outcome::Pass;
        }
        if self.excess == Excess::Disconnect {
            session.shared().rate_limited();
        }
        Outcome::Drop
    }

    fn control(&self, session: &Session, _: ControlFrame<'_>) {
        let now = session.shared().clock()();
        let verdict = self.ask(session, |used| used.control_frame(&self.allowed, now));
        if self.is_exceeded(session, verdict) {
            session.shared().rate_limited();
        }
    }

    fn on_disconnect(&self, session: &Session, _: &DisconnectReason) {
        let who = self.who(session);
        let mut part = self.part(who);
        match who {
            Who::Session(_) => part.strike(who),
            Who::Ip(_) => part.leave(who),
        }
        if part.resting() > RESTING / PARTS {
            part.forget_next();
        }
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("allowed", &self.allowed)
            .field("per_ip", &self.per_ip)
            .field("excess", &self.excess)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::connection::reason::{Cause, Side};
    use crate::service::session::tests::undriven;

    fn session_from(ip: u32) -> Session {
        undriven(ip.to_be_bytes(), None)
    }

    /// Comes, sends so many messages, and leaves; returns how many pass.
    fn come_and_go(limit: &RateLimit, session: &Session, messages: usize) -> usize {
        limit.on_connect(session);
        let sent = (0..messages).map(|_| limit.inbound(session, Message::text("x")));
        let passed = sent.filter(|outcome| *outcome == Outcome::Pass).count();
        let reason = DisconnectReason::new(Side::Remote, Cause::Closed);
        limit.on_disconnect(session, &reason);
        passed
    }

    fn counts(limit: &RateLimit) -> (usize, usize) {
        let counts = limit.parts.iter().map(|part| part.lock().unwrap().counts());
        counts.fold((0, 0), |(known, resting), (k, r)| (known + k, resting + r))
    }

    #[test]
    fn addresses_beyond_number_take_bounded_memory_and_do_not_wash_the_worst_away() {
        let limit = RateLimit::new().per_ip().drop_excess();
        let worst = session_from(7);
        assert_eq!(come_and_go(&limit, &worst, 200), 100);
        for ip in 0..100_000 {
            assert_eq!(come_and_go(&limit, &session_from(0x0B00_0000 + ip), 1), 1);
        }
        let (known, resting) = counts(&limit);
        assert!(known == resting && resting <= RESTING && resting > RESTING * 9 / 10);
        assert_eq!(come_and_go(&limit, &worst, 1), 0);
    }

    #[test]
    fn a_session_that_is_over_leaves_nothing_behind() {
        let limit = RateLimit::new().drop_excess();
        let session = session_from(7);
        assert_eq!(come_and_go(&limit, &session, 200), 100);
        assert_eq!(counts(&limit), (0, 0));
        assert_eq!(come_and_go(&limit, &session, 200), 100, "another one at the same place");
        let unknown = limit.inbound(&session, Message::text("x"));
        assert_eq!(unknown, Outcome::Pass, "one that never came is not limited");
    }
}
