//! The states of a connection (RFC 9293 section 3.3.2): which may follow which, and which were seen.

use std::collections::BTreeSet;

use sunstar_stack::State;

/// What a connection, or its port, was seen in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// A listener waits for a SYN.
    Listen,
    /// A SYN was sent.
    SynSent,
    /// A SYN was received, and answered.
    SynReceived,
    /// Data flows.
    Established,
    /// Our FIN was sent.
    FinWait1,
    /// Our FIN was acknowledged.
    FinWait2,
    /// The peer's FIN was received.
    CloseWait,
    /// Both FINs were sent, ours is not acknowledged.
    Closing,
    /// The peer's FIN was received, then ours was sent.
    LastAck,
    /// The host remembers it.
    TimeWait,
    /// It is over, and the application has not closed it yet.
    Closed,
}

impl Seen {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Closed,
    ];
}

impl From<State> for Seen {
    fn from(state: State) -> Self {
        match state {
            State::SynSent => Self::SynSent,
            State::SynReceived => Self::SynReceived,
            State::Established => Self::Established,
            State::FinWait1 => Self::FinWait1,
            State::FinWait2 => Self::FinWait2,
            State::CloseWait => Self::CloseWait,
            State::Closing => Self::Closing,
            State::LastAck => Self::LastAck,
            State::Closed => Self::Closed,
        }
    }
}

/// What was seen so far.
pub type Reached = BTreeSet<Seen>;

/// Whether a connection that is not over may be found in `to` when it was last found in `from`; several segments' worth of
/// states may have been passed meanwhile.
pub(super) fn may_follow(from: Option<State>, to: State) -> bool {
    let next: &[State] = match from {
        // One segment, or one call, is not enough to open it.
        None => return matches!(to, State::SynSent | State::SynReceived),
        Some(from) if from == to => return true,
        Some(State::SynSent) => &[State::SynReceived, State::Established],
        Some(State::SynReceived) => &[State::Established],
        Some(State::Established) => &[State::FinWait1, State::CloseWait],
        Some(State::FinWait1) => &[State::FinWait2, State::Closing],
        Some(State::CloseWait) => &[State::LastAck],
        Some(State::FinWait2 | State::Closing | State::LastAck | State::Closed) => &[],
    };
    next.iter().any(|next| may_follow(Some(*next), to))
}

/// RFC 9293 section 3.5.2: whether both ends have agreed on numbers.
pub(super) fn is_synchronized(state: State) -> bool {
    !matches!(state, State::SynSent | State::SynReceived | State::Closed)
}
