//! What every shard has a copy of: listed once, with the shards whose copies are like that.

use serde::{Deserialize, Serialize};

/// An entry, and the shards that have it so. Where shards differ, there is an entry for each way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen<T> {
    /// The entry.
    #[serde(flatten)]
    pub what: T,
    /// Those that have it so, in order.
    pub shards: Vec<u16>,
}

impl<T: Ord> Seen<T> {
    /// What one shard has.
    pub(super) fn by(shard: u16, entries: impl Iterator<Item = T>) -> Vec<Self> {
        entries.map(|what| Self { what, shards: vec![shard] }).collect()
    }

    /// What all have, in order.
    pub(super) fn join(parts: impl Iterator<Item = Vec<Self>>) -> Vec<Self> {
        let mut all: Vec<_> = parts.flatten().collect();
        all.sort_by(|one, other| (&one.what, &one.shards).cmp(&(&other.what, &other.shards)));
        all.dedup_by(|next, kept| {
            let same = next.what == kept.what;
            if same {
                kept.shards.append(&mut next.shards);
            }
            same
        });
        all
    }
}

/// Numbers of shards as text: `0-3,7`.
pub(super) fn ranges(shards: &[u16]) -> String {
    let mut text = String::new();
    for run in shards.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        let comma = if text.is_empty() { "" } else { "," };
        text += &match run {
            [first, .., last] => format!("{comma}{first}-{last}"),
            [only] => format!("{comma}{only}"),
            [] => String::new(),
        };
    }
    text
}
