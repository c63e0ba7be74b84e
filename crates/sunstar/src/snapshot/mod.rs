//! Everything a running stack has, as it is now: read on every shard by a job of its own, and put together.
//!
//! A snapshot has sections. Each is a struct, in a file of its own, that says how it is read on a shard, how the shards'
//! readings become one, and how it is shown as text; a line of the list in this file makes it a part of the whole, of
//! what the control socket answers, and of `sunstar show`.
//!
//! A shard goes on serving meanwhile: it lists so many lines at most, walks nothing that is longer, and the rest is done
//! on a thread that is no shard.

mod conflicts;
mod counters;
mod dhcp;
mod interfaces;
mod neighbors;
mod path_mtus;
mod ports;
mod reassembly;
mod routes;
mod section;
mod seen;
mod shards;
mod sockets;
mod steering;
mod table;
#[cfg(test)]
mod tests;
mod units;

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use conflicts::{Conflict, Conflicts};
pub use counters::{Counter, Counters};
pub use dhcp::Dhcp;
pub use interfaces::{Interface, Interfaces};
pub use neighbors::{Neighbor, Neighbors};
pub use path_mtus::{PathMtu, PathMtus};
pub use ports::{Port, Ports};
pub use reassembly::{Incomplete, Reassembly};
pub use routes::{Route, Routes};
pub use section::Shown;
pub(crate) use section::{Part, View};
pub use seen::Seen;
pub use shards::{Shard, Shards};
pub use sockets::{OnShard, Sockets};
pub use steering::{Steered, Steering};

/// How many lines of a kind a snapshot has at most, all shards together, unless something else is asked for.
pub const DEFAULT_LIMIT: usize = 1_024;

/// How many lines of a kind may be asked for.
pub const MAX_LIMIT: usize = 4_096;

/// What a section is called: as its field, unless it has a name of its own.
macro_rules! called {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $own:literal) => {
        $own
    };
}

macro_rules! sections {
    ($($(#[doc = $doc:literal])+ $name:ident $(($own:literal))?: $section:ident,)+) => {
        /// A part of a snapshot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Section { $($(#[doc = $doc])+ $section,)+ }

        impl Section {
            /// All of them, in the order they are shown in.
            pub const ALL: &'static [Self] = &[$(Self::$section),+];

            /// What it is called.
            pub fn name(self) -> &'static str {
                match self { $(Self::$section => called!($name $($own)?)),+ }
            }

            /// What is in it.
            pub fn about(self) -> &'static str {
                match self { $(Self::$section => concat!($($doc),+).trim_ascii()),+ }
            }
        }

        /// A reading of all shards. Sections that were not asked for are `None`.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct Snapshot {
            /// The shards that answered.
            pub answered: Vec<u16>,
            /// The shards that did not answer within a second, and are missing.
            pub silent: Vec<u16>,
            $(
                $(#[doc = $doc])+
                #[serde(default, skip_serializing_if = "Option::is_none" $(, rename = $own)?)]
                pub $name: Option<$section>,
            )+
        }

        impl Snapshot {
            /// One shard's part.
            pub(crate) fn read(view: &View<'_>, sections: &[Section]) -> Self {
                let wanted = |section| sections.is_empty() || sections.contains(&section);
                Self {
                    answered: vec![view.shard.id().0],
                    silent: Vec::new(),
                    $($name: wanted(Section::$section).then(|| Part::read(view)),)+
                }
            }

            /// All shards' parts, put together.
            pub(crate) fn join(parts: Vec<Self>, silent: Vec<u16>) -> Self {
                let mut whole = Self { silent, ..Self::default() };
                $(let mut $name = Vec::new();)+
                for part in parts {
                    whole.answered.extend(part.answered);
                    $($name.extend(part.$name);)+
                }
                $(whole.$name = (!$name.is_empty()).then(|| Part::join($name));)+
                whole
            }

            /// The sections that it has, in order, to be shown.
            pub fn sections(&self) -> impl Iterator<Item = (Section, &dyn Shown)> {
                [$(self.$name.as_ref().map(|it| (Section::$section, it as &dyn Shown))),+].into_iter().flatten()
            }
        }
    };
}

sections! {
    /// The interfaces, with their addresses.
    interfaces: Interfaces,
    /// Where packets go: the networks of the interfaces, and those behind gateways.
    routes: Routes,
    /// The stations of the neighbours, and which shard asks for each.
    neighbors: Neighbors,
    /// Stations that claim addresses of this host.
    conflicts: Conflicts,
    /// How the DHCP client stands, and the lease it has.
    dhcp: Dhcp,
    /// The paths that take less than their interface does, and who has found that out.
    path_mtus("path-mtus"): PathMtus,
    /// TCP connections and listeners, UDP sockets, echo sockets.
    sockets: Sockets,
    /// The ports that have an owner, which is asked before the hash is.
    ports: Ports,
    /// Datagrams some of whose fragments are missing, and what they hold.
    reassembly: Reassembly,
    /// What places packets on the shards, and how many on which.
    steering: Steering,
    /// The shards: their buffers, queues, rings, and what befell them.
    shards: Shards,
    /// Every counter by its name, by shard and in sum.
    counters: Counters,
}

/// There is no such section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no section `{0}`; there are {names}", names = names())]
pub struct SectionError(String);

fn names() -> String {
    Section::ALL.iter().map(|section| section.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Section {
    type Err = SectionError;

    fn from_str(text: &str) -> Result<Self, SectionError> {
        let found = Self::ALL.iter().find(|section| section.name() == text);
        found.copied().ok_or_else(|| SectionError(text.to_owned()))
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
