//! From two readings to what happened in a second.

use std::collections::BTreeMap;

use sunstar::ShardStats;
use sunstar::control::Introduction;

/// What happened in a second, on one shard or on all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flow {
    pub(super) packets_in: f64,
    pub(super) packets_out: f64,
    pub(super) bits_in: f64,
    pub(super) bits_out: f64,
    /// Packets handed to siblings.
    pub(super) forwarded: f64,
    /// Packets dropped, for whatever reason.
    pub(super) dropped: f64,
    /// Segments sent again.
    pub(super) resent: f64,
    /// Connections opened, from either end.
    pub(super) opened: f64,
}

impl Flow {
    fn between(before: Option<&ShardStats>, after: &ShardStats, seconds: f64) -> Self {
        let rate = |read: fn(&ShardStats) -> u64| {
            // A shard that began anew has counted from nothing.
            let before = before.filter(|before| before.restarts == after.restarts).map_or(0, read);
            read(after).saturating_sub(before) as f64 / seconds
        };
        Self {
            packets_in: rate(|shard| shard.counters.ip.received),
            packets_out: rate(|shard| shard.counters.ip.sent),
            bits_in: rate(|shard| shard.counters.ip.received_bytes * 8),
            bits_out: rate(|shard| shard.counters.ip.sent_bytes * 8),
            forwarded: rate(|shard| shard.counters.mesh.forwarded + shard.counters.mesh.group_forwarded),
            dropped: rate(|shard| shard.drops().map(|(_, count)| count).sum()),
            resent: rate(|shard| shard.counters.tcp.retransmissions),
            opened: rate(|shard| shard.counters.tcp.active_opens + shard.counters.tcp.passive_opens),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            packets_in: self.packets_in + other.packets_in,
            packets_out: self.packets_out + other.packets_out,
            bits_in: self.bits_in + other.bits_in,
            bits_out: self.bits_out + other.bits_out,
            forwarded: self.forwarded + other.forwarded,
            dropped: self.dropped + other.dropped,
            resent: self.resent + other.resent,
            opened: self.opened + other.opened,
        }
    }
}

/// The drops of some shards, by name, that are not zero.
pub(super) fn dropped<'a>(shards: impl IntoIterator<Item = &'a ShardStats>) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for (name, count) in shards.into_iter().flat_map(ShardStats::drops).filter(|(_, count)| *count > 0) {
        *sums.entry(name).or_default() += count;
    }
    sums
}

/// What happened between two readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// All shards together.
    pub(super) all: Flow,
    /// One for each shard of the later reading, in its order.
    pub(super) shards: Vec<Flow>,
    /// Of each entry of the indirection table: packets, as a part of the hottest one's.
    pub(super) heat: Vec<f64>,
}

impl Rates {
    /// What happened between two readings of one stack, by its own clock; nothing without time between them.
    pub(super) fn between(before: &Introduction, after: &Introduction) -> Self {
        let seconds = after.instance.uptime - before.instance.uptime;
        if before.instance.pid != after.instance.pid || seconds <= 0.0 {
            return Self { shards: vec![Flow::default(); after.stats.shards.len()], ..Self::default() };
        }
        let earlier = |shard: u16| before.stats.shards.iter().find(move |it| it.shard == shard);
        let flow = |shard: &ShardStats| Flow::between(earlier(shard.shard), shard, seconds);
        let shards: Vec<_> = after.stats.shards.iter().map(flow).collect();
        let counts: Vec<_> = (after.stats.steering.heat.iter().enumerate())
            .map(|(entry, count)| {
                count.saturating_sub(before.stats.steering.heat.get(entry).copied().unwrap_or(0))
            })
            .collect();
        let hottest = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        Self {
            all: shards.iter().copied().fold(Flow::default(), Flow::and),
            shards,
            heat: counts.into_iter().map(|count| count as f64 / hottest).collect(),
        }
    }
}

/// A number with a unit prefix, in six places at most.
pub(super) fn short(number: f64) -> String {
    for (unit, suffix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if number >= 0.9995 * unit {
            let scaled = number / unit;
            let places = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
            return format!("{scaled:.places$}{suffix}");
        }
    }
    if number > 0.0 && number < 9.95 { format!("{number:.1}") } else { format!("{number:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::text::tests::reading;

    #[test]
    fn a_second_is_what_two_readings_differ_by_over_the_time_between_them() {
        let (before, mut after) = (reading(2), reading(2));
        after.instance.uptime += 2.0;
        after.stats.shards[1].counters.ip.received += 100;
        after.stats.shards[1].counters.ip.received_bytes += 1_000;
        after.stats.shards[0].counters.drops.malformed += 6;
        after.stats.shards[0].device.no_buffer += 2;
        after.stats.steering.heat[3] += 10;
        after.stats.steering.heat[4] += 5;
        let rates = Rates::between(&before, &after);
        assert_eq!((rates.shards[1].packets_in, rates.shards[1].bits_in), (50.0, 4_000.0));
        assert_eq!((rates.all.packets_in, rates.all.dropped), (50.0, 4.0));
        assert_eq!(&rates.heat[2..6], [0.0, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn a_shard_that_began_anew_has_counted_from_nothing() {
        let (mut before, mut after) = (reading(1), reading(1));
        before.stats.shards[0].counters.ip.sent = 1_000;
        after.instance.uptime += 1.0;
        after.stats.shards[0].counters.ip.sent = 30;
        after.stats.shards[0].restarts = 1;
        assert_eq!(Rates::between(&before, &after).all.packets_out, 30.0);
    }

    #[test]
    fn without_time_between_them_or_of_two_programs_nothing_has_happened() {
        let (before, mut after) = (reading(1), reading(1));
        after.stats.shards[0].counters.ip.sent += 1_000;
        assert_eq!(Rates::between(&before, &after).all, Flow::default());
        after.instance.uptime += 1.0;
        after.instance.pid += 1;
        assert_eq!(Rates::between(&before, &after).shards, [Flow::default()]);
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (12_345.0, "12.3k"),
            (999_960.0, "1.00M"),
            (123_456_789.0, "123M"),
            (1.5e12, "1500G"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
    }
}
