//! The built-in page: one document without any other asset. The first figures stand in it, so that it says
//! something without JavaScript too; with it, they are live.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Response;
use hyper::header::{self, HeaderValue};
use serde_json::Value;

use super::answer::{Counters, set, whole};
use super::body::Body;

const TEMPLATE: &str = include_str!("../../page/index.html");

/// How old the figures in the page may be. A flood of requests does not have it made anew each time.
const KEPT: Duration = Duration::from_secs(1);

/// Nothing but what is in the page may run or be shown, and only this server may be asked.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The page, as it was last made.
#[derive(Debug, Default)]
pub(super) struct Page {
    made: RefCell<Option<(Instant, Bytes)>>,
}

impl Page {
    /// The page with figures that are at most [`KEPT`] old.
    pub(super) async fn answer(&self, counters: &Counters) -> Response<Body> {
        let page = match self.kept() {
            Some(page) => page,
            None => {
                let page = Bytes::from(fill(&counters().await));
                self.made.replace(Some((Instant::now(), page.clone())));
                page
            }
        };
        let mut answer = whole("text/html; charset=utf-8", page);
        set(&mut answer, header::CONTENT_SECURITY_POLICY, POLICY);
        set(&mut answer, header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }
}

impl Page {
    fn kept(&self) -> Option<Bytes> {
        let made = self.made.borrow();
        made.as_ref().filter(|(at, _)| at.elapsed() < KEPT).map(|(_, page)| page.clone())
    }
}

/// The template with its figures.
fn fill(counters: &[u8]) -> String {
    let counters: Value = serde_json::from_slice(counters).unwrap_or_default();
    let shards = counters["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
    let total =
        |pointer: &str| shards.iter().filter_map(|shard| shard.pointer(pointer)?.as_u64()).sum::<u64>();
    let drops = shards.iter().filter_map(|shard| shard.get("drops")?.as_object());
    let dropped: u64 = drops.flat_map(|drops| drops.values()).filter_map(Value::as_u64).sum();
    [
        ("@packets_in@", total("/ip/received").to_string()),
        ("@packets_out@", total("/ip/sent").to_string()),
        ("@bytes_in@", in_bytes(total("/ip/received_bytes"))),
        ("@bytes_out@", in_bytes(total("/ip/sent_bytes"))),
        ("@connections@", total("/connections").to_string()),
        ("@drops@", dropped.to_string()),
        ("@version@", env!("CARGO_PKG_VERSION").to_owned()),
    ]
    .iter()
    .fold(TEMPLATE.to_owned(), |page, (name, figure)| page.replace(name, figure))
}

/// A number of bytes with three digits or so.
fn in_bytes(count: u64) -> String {
    let mut shown = count as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if shown < 1000.0 {
            let decimals = if unit == "B" || shown >= 100.0 { 0 } else { 1 };
            return format!("{shown:.decimals$} {unit}");
        }
        shown /= 1000.0;
    }
    format!("{shown:.0} PB")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTERS: &str = r#"{"shards": [
        {"shard": 0, "ip": {"received": 40, "sent": 7, "received_bytes": 1500000}, "connections": 3,
         "drops": {"martian": 2, "truncated": 1}},
        {"shard": 1, "ip": {"received": 2}, "drops": {}}
    ]}"#;

    #[test]
    fn the_first_figures_are_those_of_all_shards_together() {
        let page = fill(COUNTERS.as_bytes());
        for figure in ["packets in</span><b>42<", "packets out</span><b>7<", "received</span><b>1.5 MB<"] {
            assert!(page.contains(figure), "{figure}");
        }
        assert!(page.contains("connections</span><b>3<") && page.contains("dropped</span><b>3<"));
    }

    #[test]
    fn no_placeholder_is_left() {
        let page = fill(b"{}");
        assert!(page.contains("packets in</span><b>0<"));
        let script = page.find("<script>").unwrap();
        assert!(
            !page[..script]
                .split(['"', '>', ' '])
                .any(|word| word.starts_with('@') && word.ends_with("@</b"))
        );
    }

    #[test]
    fn the_page_refers_to_nothing_outside() {
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!TEMPLATE.contains(outside), "{outside}");
        }
    }

    #[test]
    fn bytes_are_shown_with_their_unit() {
        let shown =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456_789, "123 MB"), (u64::MAX, "18447 PB")];
        for (count, expected) in shown {
            assert_eq!(in_bytes(count), expected);
        }
    }
}
