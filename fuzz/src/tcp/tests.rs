//! The committed corpus reaches every state of RFC 9293 section 3.3.2.

use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};

use super::*;

#[test]
fn the_corpus_reaches_every_state() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/tcp");
    let mut reached = Reached::new();
    for entry in fs::read_dir(corpus).expect("a corpus") {
        let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        let scenario = Scenario::arbitrary_take_rest(Unstructured::new(&bytes)).expect("a scenario");
        reached.extend(check(&scenario));
    }
    let missing: Vec<_> = Seen::ALL.iter().filter(|state| !reached.contains(state)).collect();
    assert!(missing.is_empty(), "the corpus does not reach {missing:?}");
}
