//! The states of a client (RFC 2131 section 4.4 and its figure 5), and what is known in each.

use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::lease::Lease;
use crate::time::Instant;

/// What a client is about, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DhcpState {
    /// Waiting a moment before it asks.
    Init,
    /// Asking who has an address for it.
    Selecting,
    /// Asking for an address that was offered.
    Requesting,
    /// Asking for an address it had before.
    Rebooting,
    /// Having it found out whether the address is in use.
    Probing,
    /// Using an address.
    Bound,
    /// Using an address, and asking its server for more time.
    Renewing,
    /// Using an address, and asking any server for more time.
    Rebinding,
    /// Waiting, because the address was in use.
    Declined,
    /// About to give its address back.
    Releasing,
    /// Done.
    Stopped,
}

/// What was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) address: Ipv4Addr,
    pub(super) server: Ipv4Addr,
}

/// The state with what belongs to it.
#[derive(Debug)]
pub(super) enum State {
    /// Until the first message may be sent.
    Init {
        until: Instant,
    },
    /// The best offer yet, and until when a better one may come.
    Selecting {
        best: Option<(Offer, Instant)>,
    },
    Requesting(Offer),
    Rebooting {
        address: Ipv4Addr,
    },
    /// The lease is granted, not used yet; whether the prober knows of it.
    Probing {
        lease: Lease,
        told: bool,
    },
    Bound(Lease),
    Renewing(Lease),
    Rebinding(Lease),
    Declined(Offer),
    /// The lease is in use until the message that gives it back is built.
    Releasing(Lease),
    Stopped,
}

impl State {
    pub(super) fn name(&self) -> DhcpState {
        match self {
            Self::Init { .. } => DhcpState::Init,
            Self::Selecting { .. } => DhcpState::Selecting,
            Self::Requesting(_) => DhcpState::Requesting,
            Self::Rebooting { .. } => DhcpState::Rebooting,
            Self::Probing { .. } => DhcpState::Probing,
            Self::Bound(_) => DhcpState::Bound,
            Self::Renewing(_) => DhcpState::Renewing,
            Self::Rebinding(_) => DhcpState::Rebinding,
            Self::Declined(_) => DhcpState::Declined,
            Self::Releasing(_) => DhcpState::Releasing,
            Self::Stopped => DhcpState::Stopped,
        }
    }

    /// The lease in use.
    pub(super) fn used(&self) -> Option<&Lease> {
        match self {
            Self::Bound(lease) | Self::Renewing(lease) | Self::Rebinding(lease) | Self::Releasing(lease) => {
                Some(lease)
            }
            _ => None,
        }
    }

    /// The lease that was granted, in use or not.
    pub(super) fn granted(&self) -> Option<&Lease> {
        match self {
            Self::Probing { lease, .. } => Some(lease),
            _ => self.used(),
        }
    }
}
