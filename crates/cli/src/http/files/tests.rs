//! What is found, what is not, and what of it is sent.

use std::fs;
use std::os::unix::fs::symlink;

use hyper::header::HeaderName;
use tempfile::TempDir;

use super::*;

/// A directory with a secret beside it.
struct Place {
    _directory: TempDir,
    files: Files,
    root: PathBuf,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("public");
    fs::create_dir_all(root.join("sub dir")).unwrap();
    fs::write(directory.path().join("secret"), "secret").unwrap();
    fs::write(root.join("ten.txt"), "0123456789").unwrap();
    fs::write(root.join("sub dir/ü.html"), "deep").unwrap();
    let files = Files::open(&root).unwrap();
    Place { _directory: directory, files, root }
}

fn wish(headers: &[(HeaderName, &str)]) -> Wish {
    Wish::of(&headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
}

fn text(found: &Found) -> (String, bool) {
    match &found.content {
        Content::Bytes { source: Source::Read(bytes), is_part, .. } => {
            (String::from_utf8(bytes.to_vec()).unwrap(), *is_part)
        }
        other => panic!("no bytes but {other:?}"),
    }
}

impl Place {
    fn find(&self, path: &str) -> Result<Found, NotServed> {
        self.files.find(path, &Wish::default())
    }

    fn asked(&self, path: &str, headers: &[(HeaderName, &str)]) -> Found {
        self.files.find(path, &wish(headers)).unwrap()
    }
}

#[test]
fn a_file_is_found_by_its_decoded_name() {
    let place = place();
    let found = place.find("/sub%20dir/%C3%BC.html").unwrap();
    assert_eq!((found.len, found.content_type), (4, "text/html; charset=utf-8"));
    assert_eq!(text(&found), ("deep".into(), false));
    assert_eq!(text(&place.find("//./ten.txt").unwrap()).0, "0123456789");
}

#[test]
fn no_path_leads_out_of_the_directory() {
    let place = place();
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/sub%20dir/../../secret",
        "/sub%20dir/../ten.txt",
        "/ten.txt%00.html",
        "/%ff",
        "/etc/passwd",
    ] {
        assert!(matches!(place.find(path), Err(NotServed::NotFound)), "{path}");
    }
}

#[test]
fn a_symbolic_link_counts_only_inside_the_directory() {
    let place = place();
    symlink("../secret", place.root.join("relative")).unwrap();
    symlink(place.root.parent().unwrap().join("secret"), place.root.join("absolute")).unwrap();
    symlink("..", place.root.join("parent")).unwrap();
    symlink("circle", place.root.join("circle")).unwrap();
    symlink("../ten.txt", place.root.join("sub dir/inside")).unwrap();
    for path in ["/relative", "/absolute", "/parent/secret", "/circle"] {
        assert!(matches!(place.find(path), Err(NotServed::NotFound)), "{path}");
    }
    assert_eq!(text(&place.find("/sub%20dir/inside").unwrap()).0, "0123456789");
}

#[test]
fn what_is_no_file_is_not_found_and_never_waited_for() {
    let place = place();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, place.root.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for path in ["/pipe", "/nothing", "/ten.txt/", "/ten.txt/x", "/"] {
        assert!(matches!(place.find(path), Err(NotServed::NotFound)), "{path}");
    }
    let too_long = format!("/{}", "x".repeat(300));
    assert!(matches!(place.find(&too_long), Err(NotServed::NotFound)));
}

#[test]
fn a_directory_is_its_index_behind_a_slash() {
    let place = place();
    fs::write(place.root.join("sub dir/index.html"), "index").unwrap();
    assert!(matches!(place.find("/sub%20dir"), Err(NotServed::Directory)));
    assert_eq!(text(&place.find("/sub%20dir/").unwrap()).0, "index");
}

#[test]
fn a_range_selects_bytes() {
    let place = place();
    let found = place.asked("/ten.txt", &[(header::RANGE, "bytes=2-4")]);
    assert_eq!(text(&found), ("234".into(), true));
    let found = place.asked("/ten.txt", &[(header::RANGE, "bytes=10-")]);
    assert!(matches!(found.content, Content::Unsatisfiable));
}

#[test]
fn a_range_counts_only_while_the_file_is_the_one_it_is_meant_for() {
    let place = place();
    let modified = place.find("/ten.txt").unwrap().modified;
    let range = (header::RANGE, "bytes=2-4");
    for (validator, is_part) in [
        (httpdate::fmt_http_date(modified), true),
        (httpdate::fmt_http_date(modified + Duration::from_secs(1)), false),
        ("\"a tag\"".to_owned(), false),
    ] {
        let found = place.asked("/ten.txt", &[range.clone(), (header::IF_RANGE, &validator)]);
        assert_eq!(text(&found).1, is_part, "{validator}");
    }
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let place = place();
    let modified = place.find("/ten.txt").unwrap().modified;
    let date = |offset: i64| match u64::try_from(offset) {
        Ok(later) => httpdate::fmt_http_date(modified + Duration::from_secs(later)),
        Err(_) => httpdate::fmt_http_date(modified - Duration::from_secs(offset.unsigned_abs())),
    };
    for (date, sent) in [(date(0), false), (date(9), false), (date(-1), true), ("yesterday".into(), true)] {
        let found = place.asked("/ten.txt", &[(header::IF_MODIFIED_SINCE, &date)]);
        assert_eq!(!matches!(found.content, Content::NotModified), sent, "{date}");
    }
    let tagged = [(header::IF_MODIFIED_SINCE, &*date(0)), (header::IF_NONE_MATCH, "\"a tag\"")];
    assert_eq!(text(&place.asked("/ten.txt", &tagged)).0, "0123456789");
}

#[test]
fn a_long_file_is_left_to_be_read_as_it_is_sent() {
    let place = place();
    fs::write(place.root.join("long"), vec![7; MAX_AT_ONCE as usize + 1]).unwrap();
    let found = place.find("/long").unwrap();
    assert!(matches!(found.content, Content::Bytes { source: Source::Open(_), .. }));
    let found = place.asked("/long", &[(header::RANGE, "bytes=5-6")]);
    assert!(matches!(found.content, Content::Bytes { first: 5, len: 2, source: Source::Read(_), .. }));
}

#[test]
fn a_file_that_was_just_read_needs_no_waiting() {
    let place = place();
    place.find("/ten.txt").unwrap();
    let wish = Wish::default();
    // What the caches hold is the kernel's choice, but an answer from them is the same answer.
    if let Some(found) = place.files.find_cached("/ten.txt", &wish) {
        assert_eq!(text(&found.unwrap()).0, "0123456789");
    }
    if let Some(found) = place.files.find_cached("/../secret", &wish) {
        assert!(matches!(found, Err(NotServed::NotFound)));
    }
}

#[test]
fn a_directory_that_is_not_there_is_refused_at_the_start() {
    let place = place();
    for path in ["nothing", "ten.txt"] {
        let error = Files::open(&place.root.join(path)).unwrap_err().to_string();
        assert!(error.contains(path) && error.contains("name a directory"), "{error}");
    }
}
