//! What the pages say of sections and counters, how shards' parts are put together, and how tables look.

use std::collections::BTreeSet;

use super::seen::ranges;
use super::table::Table;
use super::units::{bytes, micros};
use super::*;

/// The page that says what every counter counts.
const PAGE: &str = include_str!("../../../../docs/show.md");

#[test]
fn the_page_says_of_every_counter_what_it_counts_and_of_nothing_else() {
    let expected: String =
        Counters::meanings().map(|(name, meaning)| format!("| `{name}` | {meaning} |\n")).collect();
    let (_, rest) =
        PAGE.split_once("| counter | what it counts |\n| --- | --- |\n").expect("a table of counters");
    let rows: String =
        rest.lines().take_while(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    assert!(rows == expected, "docs/show.md should have these rows:\n{expected}");
}

#[test]
fn the_page_names_every_section() {
    for section in Section::ALL {
        let row = format!("| `{}` | {} |", section.name(), section.about());
        assert!(PAGE.lines().any(|line| line == row), "docs/show.md should have: {row}");
    }
}

#[test]
fn no_two_counters_have_one_name() {
    let names: Vec<_> = Counters::meanings().map(|(name, _)| name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert!(names.contains(&"turns".to_owned()) && names.contains(&"device.no_buffer".to_owned()));
}

#[test]
fn a_section_is_found_by_its_name_only() {
    for section in Section::ALL {
        assert_eq!(section.name().parse(), Ok(*section));
    }
    let error = "socket".parse::<Section>().unwrap_err().to_string();
    assert!(error.contains("interfaces, routes, neighbors"), "{error}");
}

#[test]
fn what_shards_have_alike_is_listed_once_and_what_they_do_not_is_listed_each_way() {
    let parts = [(0, vec!["b", "a"]), (1, vec!["a", "c"]), (2, vec!["a", "b"])];
    let all = Seen::join(parts.into_iter().map(|(shard, has)| Seen::by(shard, has.into_iter())));
    let listed: Vec<_> = all.iter().map(|it| (it.what, ranges(&it.shards))).collect();
    assert_eq!(listed, [("a", "0-2".to_owned()), ("b", "0,2".to_owned()), ("c", "1".to_owned())]);
}

#[test]
fn shards_are_named_in_ranges() {
    for (shards, text) in [(&[][..], ""), (&[3], "3"), (&[0, 1], "0-1"), (&[0, 1, 2, 5, 7, 8], "0-2,5,7-8")] {
        assert_eq!(ranges(shards), text);
    }
}

#[test]
fn columns_are_as_wide_as_what_is_in_them_and_numbers_stand_to_the_right() {
    let mut table = Table::new(["name", ">count", "rest"]);
    table.row(["a", "1", "-"].map(str::to_owned));
    table.row_with(["longer", "1000000", "x"].map(str::to_owned), "more of it".to_owned());
    let expected = "name      count  rest\na             1  -\nlonger  1000000  x\n      more of it";
    assert_eq!(table.to_string(), expected);
}

#[test]
fn units_are_those_of_people() {
    for (number, text) in [
        (0, "0B"),
        (999, "999B"),
        (1_000, "0.98KiB"),
        (1_023, "1.00KiB"),
        (65_536, "64.0KiB"),
        (1_022_976, "999KiB"),
        (1_048_576, "1.00MiB"),
        (u64::MAX, "16.0EiB"),
    ] {
        assert_eq!(bytes(number), text, "{number}");
    }
    for (number, text) in [
        (0, "0us"),
        (999, "999us"),
        (1_234, "1.23ms"),
        (201_000, "201ms"),
        (1_500_000, "1.50s"),
        (u64::MAX, "18446744073710s"),
    ] {
        assert_eq!(micros(number), text, "{number}");
    }
}

#[test]
fn counters_of_several_shards_are_summed_by_name() {
    let one = |shard, count| Counters {
        shards: vec![shard],
        counters: vec![Counter { name: "drops.martian".to_owned(), total: count, by_shard: vec![count] }],
    };
    let all = Counters::join(vec![one(0, 2), one(3, 5)]);
    assert_eq!((all.total("drops.martian"), all.total("drops.nothing")), (7, 0));
    assert_eq!(all.to_string(), "counter        all  shard 0  shard 3\ndrops.martian    7        2        5");
    assert!(all.summary().ends_with("dropped: martian 7"), "{}", all.summary());
    let quiet = Counters::join(vec![one(0, 0)]);
    assert_eq!(quiet.to_string(), "counter        all\ndrops.martian    0");
    assert!(quiet.summary().ends_with("dropped: nothing"));
}

#[test]
fn a_neighbour_that_shards_know_differently_is_counted_as_its_owner_knows_it() {
    let seen = |owner, state: &str, shards: &[u16]| {
        serde_json::from_value::<Seen<Neighbor>>(serde_json::json!({
            "address": "10.0.0.1", "interface": "device", "owner": owner, "mac": "02:00:00:00:00:01",
            "state": state, "shards": shards,
        }))
        .unwrap()
    };
    for neighbors in [
        vec![seen(1, "stale", &[0, 2]), seen(1, "reachable", &[1])],
        vec![seen(1, "reachable", &[1]), seen(1, "stale", &[0, 2])],
    ] {
        let neighbors = Neighbors { neighbors, truncated: false };
        assert_eq!(neighbors.summary(), "1 neighbour, 1 reachable");
        assert_eq!(neighbors.to_string().lines().count(), 3);
    }
}

#[test]
fn a_path_that_shards_know_alike_is_listed_once_with_the_time_that_is_left() {
    let part = |shard, now_us, mtu| PathMtus {
        path_mtus: vec![Seen {
            what: PathMtu {
                destination: "192.0.2.7".parse().unwrap(),
                interface: "device".to_owned(),
                mtu,
                source: sunstar_stack::PathMtuSource::Icmp,
                expires_us: 601_000_000,
            },
            shards: vec![shard],
        }],
        truncated: false,
        now_us,
    };
    let all = PathMtus::join(vec![part(0, 999_990, 1_300), part(1, 1_000_000, 1_300)]);
    assert_eq!(
        all.to_string(),
        "destination   MTU  by    expires in  interface  shards\n\
         192.0.2.7    1300  icmp        600s  device     0-1"
    );
    assert_eq!(all.summary(), "1 narrow path, the least MTU 1300");
    let differing = PathMtus::join(vec![part(0, 0, 1_400), part(1, 0, 1_300)]);
    assert_eq!((differing.path_mtus.len(), differing.summary()), (2, all.summary()));
    assert_eq!(PathMtus::join(vec![PathMtus { path_mtus: Vec::new(), ..all }]).summary(), "0 narrow paths");
}

#[test]
fn what_incomplete_datagrams_hold_is_told_by_shard_and_in_sum() {
    let part = |shard, datagrams, held| Reassembly { shards: vec![Incomplete { shard, datagrams, held }] };
    let all = Reassembly::join(vec![part(0, 1, 2_048), part(1, 0, 0)]);
    assert_eq!(
        all.to_string(),
        "shard  datagrams     held\n    0          1  2.00KiB\n    1          0       0B"
    );
    assert_eq!(all.summary(), "1 incomplete datagram, 2.00KiB held");
}
