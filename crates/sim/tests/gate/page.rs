//! The page that says what the stack withstands names tests, and those are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The page.
const PAGE: &str = include_str!("../../../../docs/reliability.md");

/// All of the Rust that the workspace's crates are made of, tests included.
fn sources(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).expect("a directory of the workspace").flatten() {
        let path = entry.path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("target") => {}
            _ if path.is_dir() => sources(&path, found),
            Some(name) if name.ends_with(".rs") => found.push(path),
            _ => {}
        }
    }
}

/// The functions of a source text.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let name = line.trim_start().strip_prefix("fn ")?;
        name.split(['(', '<']).next()
    })
}

/// What the page has between backticks and is the name of a test: a sentence.
fn named() -> BTreeSet<&'static str> {
    let is_sentence = |it: &&str| {
        it.matches('_').count() >= 3 && it.chars().all(|it| it == '_' || it.is_ascii_alphanumeric())
    };
    PAGE.split('`').skip(1).step_by(2).filter(is_sentence).collect()
}

#[test]
fn every_test_that_the_page_names_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crates' directory");
    let mut files = Vec::new();
    sources(crates, &mut files);
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).expect("a source file")).collect();
    let existing: BTreeSet<_> = texts.iter().flat_map(|text| functions(text)).collect();
    let missing: Vec<_> = named().into_iter().filter(|name| !existing.contains(name)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names tests that are not there: {missing:#?}");
    assert!(named().len() > 100, "it names many: {}", named().len());
}

#[test]
fn the_page_names_every_test_of_the_gate() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gate");
    let mut files = Vec::new();
    sources(&here, &mut files);
    for file in files.iter().filter(|file| !file.ends_with("page.rs")) {
        let text = fs::read_to_string(file).expect("a source file");
        for test in text.split("#[test]\n").skip(1).filter_map(|rest| functions(rest).next()) {
            assert!(named().contains(test), "docs/reliability.md says nothing of {test}");
        }
    }
}

#[test]
fn every_class_has_a_test_or_says_what_it_waits_for() {
    let of_three = |line: &'static str| {
        let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        <[&str; 3]>::try_from(cells).ok()
    };
    let rows: Vec<_> = PAGE.lines().filter_map(of_three).filter(|row| row[1] != "tests").collect();
    for [class, tests, passed] in rows.iter().filter(|row| row[0] != "---") {
        assert!(tests.contains('`'), "nothing tests {class}");
        assert!(!passed.trim().is_empty(), "nothing is said of what {class} came to");
    }
    assert!(rows.len() > 30, "{} rows", rows.len());
}
