//! One reading as text, for scripts and for whoever has no terminal.

use std::fmt::{self, Display};

use sunstar::control::Introduction;

use super::rates::dropped;
use crate::control::headline;

/// A reading.
pub(super) struct Page<'a>(pub(super) &'a Introduction);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Introduction { instance, stats } = self.0;
        writeln!(f, "{}", headline(instance))?;
        writeln!(f, "{} shards, steered by {}", stats.shards.len(), stats.steering.by)?;
        writeln!(
            f,
            "{:>5} {:>7} {:>12} {:>12} {:>12} {:>8} {:>8} {:>11} {:>11} {:>10} {:>8}",
            "shard",
            "queue",
            "packets in",
            "packets out",
            "forwarded",
            "waiting",
            "deepest",
            "buffers",
            "connections",
            "resent",
            "restarts"
        )?;
        for shard in &stats.shards {
            let queue = if shard.queue.owner == shard.shard {
                "own".to_owned()
            } else {
                format!("of {}", shard.queue.owner)
            };
            writeln!(
                f,
                "{:>5} {:>7} {:>12} {:>12} {:>12} {:>8} {:>8} {:>11} {:>11} {:>10} {:>8}",
                shard.shard,
                queue,
                shard.counters.ip.received,
                shard.counters.ip.sent,
                shard.counters.mesh.forwarded + shard.counters.mesh.group_forwarded,
                shard.rings.waiting,
                shard.rings.deepest,
                format!("{}/{}", shard.pool.small_out, shard.pool.small),
                shard.connections,
                shard.counters.tcp.retransmissions,
                shard.restarts,
            )?;
        }
        let drops = dropped(&stats.shards);
        match drops.is_empty() {
            true => write!(f, "nothing dropped"),
            false => {
                let drops: Vec<_> = drops.iter().map(|(name, count)| format!("{name} {count}")).collect();
                write!(f, "dropped: {}", drops.join(", "))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stack that has not counted anything yet.
    pub(crate) fn reading(shards: u16) -> Introduction {
        let pool = serde_json::json!({
            "small": 4096, "small_out": 12, "small_high_water": 40, "staging": 64, "staging_out": 0,
            "staging_high_water": 1, "lent": 0, "returned": 0, "refused": 0,
        });
        let device = serde_json::json!({
            "up": true, "failure": null, "capture_failure": null, "received": 0, "received_bytes": 0, "sent": 0,
            "sent_bytes": 0, "segmented": 0, "coalesced": 0, "no_buffer": 0, "bad_notes": 0, "refused": 0,
        });
        let shard = |shard: u16| {
            serde_json::json!({
                "shard": shard, "restarts": 0, "connections": 3, "listeners": 1, "pool": pool, "device": device,
                "stalls": 0, "last_stall": null, "queue": { "owner": 0, "shares": [] },
                "rings": { "waiting": 0, "deepest": 7 },
            })
        };
        let table: Vec<u16> = (0..128).map(|entry| entry % shards).collect();
        serde_json::from_value(serde_json::json!({
            "program": "sunstar", "pid": 4711, "version": "0.1.0", "uptime": 61.0,
            "stats": {
                "shards": (0..shards).map(shard).collect::<Vec<_>>(),
                "steering": { "by": "program", "reason": null, "table": table, "heat": vec![0; 128] },
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_page_has_a_line_for_each_shard_and_names_what_was_dropped() {
        let mut it = reading(2);
        it.stats.shards[1].counters.drops.martian = 5;
        let text = Page(&it).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "sunstar, process 4711, sunstar 0.1.0, up 1 min 1 s");
        assert_eq!(lines[1], "2 shards, steered by a program in the kernel");
        assert!(lines[3].starts_with("    0     own") && lines[4].starts_with("    1    of 0"), "{text}");
        assert_eq!(lines[5], "dropped: martian 5");
        assert!(Page(&reading(1)).to_string().ends_with("nothing dropped"));
    }
}
