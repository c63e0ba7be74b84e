//! Requests as a client writes them, over a pipe in memory.

use std::rc::Rc;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

const COUNTERS: &[u8] = br#"{"shards":[{"shard":0}]}"#;

/// Runs a test against a site, on one thread.
fn with<F: Future>(files: Option<&TempDir>, test: impl FnOnce(Client) -> F) -> F::Output {
    let files = files.map(|directory| Files::open(directory.path()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        test(Client { site: Rc::new(Site::new(|| async { COUNTERS.to_vec() }, files)) }).await
    })
}

struct Client {
    site: Rc<Site>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    fn open(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        tokio::task::spawn_local(serve(theirs, self.site.clone(), std::future::pending()));
        ours
    }

    /// Sends these bytes on a connection of their own, and reads until it ends.
    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut read, mut write) = tokio::io::split(self.open());
        let mut answered = Vec::new();
        let (sent, received) = tokio::join!(write.write_all(bytes), read.read_to_end(&mut answered));
        sent.unwrap();
        received.unwrap();
        answered
    }

    async fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        parse(&self.raw(request.as_bytes()).await)
    }

    async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "").await
    }
}

fn parse(answered: &[u8]) -> Answer {
    let end = answered
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(answered)));
    let head = String::from_utf8(answered[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answered[end + 4..].to_vec() }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[test]
fn the_page_and_the_counters_are_there() {
    with(None, async |client| {
        let page = client.get("/").await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(page.text().ends_with("</html>\n"));
        let counters = client.get("/stats.json").await;
        assert_eq!((counters.status, &*counters.body), (200, COUNTERS));
        assert_eq!(counters.header("content-type"), Some("application/json"));
    });
}

#[test]
fn a_head_request_is_answered_with_the_length_and_no_body() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("long"), pattern(1 << 20)).unwrap();
    with(Some(&directory), async |client| {
        for (path, len) in
            [("/stats.json", COUNTERS.len()), ("/bytes/1000000", 1_000_000), ("/long", 1 << 20)]
        {
            let answer = client.request("HEAD", path, "").await;
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
            assert_eq!(answer.header("content-length"), Some(&*len.to_string()), "{path}");
        }
    });
}

#[test]
fn what_is_not_there_is_not_found_and_other_methods_are_refused() {
    with(None, async |client| {
        for path in ["/nothing", "/bytes/", "/bytes/x", "/bytes/-1", "/stats.json/", "//"] {
            assert_eq!(client.get(path).await.status, 404, "{path}");
        }
        for (method, path, allowed) in
            [("POST", "/", "GET, HEAD"), ("DELETE", "/stats.json", "GET, HEAD"), ("GET", "/sha256", "POST")]
        {
            let answer = client.request(method, path, "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        }
    });
}

#[test]
fn a_pattern_of_any_length_is_sent() {
    with(None, async |client| {
        for len in [0, 1, 251 * 512, 251 * 512 + 1, 1_000_003] {
            let answer = client.get(&format!("/bytes/{len}")).await;
            assert_eq!(answer.header("content-length"), Some(&*len.to_string()));
            assert!(answer.body == pattern(len), "{len}");
        }
        assert_eq!(client.get(&format!("/bytes/{}", 1u64 << 41)).await.status, 400);
    });
}

#[test]
fn a_body_is_answered_with_its_digest() {
    with(None, async |client| {
        // FIPS 180-4's example, and the empty message.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
        let head = "POST /sha256 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        for (rest, digest) in [
            ("Content-Length: 3\r\n\r\nabc", abc),
            ("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nTrailer: x\r\n\r\n", abc),
            ("Content-Length: 0\r\n\r\n", nothing),
        ] {
            let answer = parse(&client.raw(format!("{head}{rest}").as_bytes()).await);
            assert_eq!((answer.status, answer.text()), (200, digest), "{rest}");
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    with(None, async |client| {
        let requests = "GET /bytes/3 HTTP/1.1\r\nHost: x\r\n\r\nPOST /sha256 HTTP/1.1\r\nHost: x\r\n\
                        Content-Length: 3\r\n\r\nabcGET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answered = client.raw(requests.as_bytes()).await;
        let text = String::from_utf8_lossy(&answered);
        let codes: Vec<_> = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
        assert_eq!(codes, ["200", "200", "404"]);
    });
}

#[test]
fn what_is_no_http_is_refused() {
    with(None, async |client| {
        assert_eq!(parse(&client.raw(b"\x16\x03\x01 hello\r\n\r\n").await).status, 400);
    });
}

#[test]
fn files_are_sent_whole_and_in_part() {
    let directory = tempfile::tempdir().unwrap();
    let content = pattern(1_000_003);
    std::fs::write(directory.path().join("file.txt"), &content).unwrap();
    with(Some(&directory), async |client| {
        let whole = client.get("/file.txt?version=2").await;
        assert_eq!((whole.status, whole.header("accept-ranges")), (200, Some("bytes")));
        assert_eq!(whole.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(whole.body == content);

        let part = client.request("GET", "/file.txt", "Range: bytes=7-900006\r\n").await;
        assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 7-900006/1000003")));
        assert!(part.body == content[7..=900_006]);

        let behind = client.request("GET", "/file.txt", "Range: bytes=1000003-\r\n").await;
        assert_eq!((behind.status, behind.header("content-range")), (416, Some("bytes */1000003")));

        let head = client.request("HEAD", "/file.txt", "Range: bytes=0-0\r\n").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("1000003")));

        let date = whole.header("last-modified").unwrap();
        let known = client.request("GET", "/file.txt", &format!("If-Modified-Since: {date}\r\n")).await;
        assert_eq!((known.status, known.body.len()), (304, 0));
    });
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection_early() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shrinking");
    std::fs::write(&path, pattern(4 << 20)).unwrap();
    with(Some(&directory), async |client| {
        let mut stream = client.open();
        stream.write_all(b"GET /shrinking HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap();
        std::fs::write(&path, "short").unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() < 4 << 20);
    });
}

#[test]
fn a_directory_without_an_index_still_has_the_page() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    with(Some(&directory), async |client| {
        assert!(client.get("/").await.text().contains("sunstar"));
        assert_eq!(client.get("/sub/").await.status, 404);
        let moved = client.get("/sub").await;
        assert_eq!((moved.status, moved.header("location")), (301, Some("/sub/")));
        std::fs::write(directory.path().join("index.html"), "own index").unwrap();
        assert_eq!(client.get("/").await.text(), "own index");
        assert_eq!(client.get("/stats.json").await.body, COUNTERS);
    });
}

#[test]
fn a_redirect_never_names_another_host() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    with(Some(&directory), async |client| {
        assert_eq!(client.get("//sub").await.header("location"), Some("/sub/"));
    });
}

#[test]
fn the_request_under_way_is_answered_when_the_server_stops_and_no_other() {
    with(None, async |client| {
        let (mut ours, theirs) = tokio::io::duplex(64 << 10);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        tokio::task::spawn_local(serve(theirs, client.site.clone(), stopped));
        let head = "POST /sha256 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
        ours.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body: the request is under way.
        let mut asked = *b"HTTP/1.1 100 Continue\r\n\r\n";
        ours.read_exact(&mut asked).await.unwrap();
        stop.send(()).unwrap();
        ours.write_all(b"abcGET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answered = Vec::new();
        ours.read_to_end(&mut answered).await.unwrap();
        let answer = parse(&answered);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");
    });
}

#[test]
fn an_idle_connection_ends_when_the_server_stops() {
    with(None, async |client| {
        let (mut ours, theirs) = tokio::io::duplex(1024);
        serve(theirs, client.site.clone(), std::future::ready(())).await.unwrap();
        assert_eq!(ours.read(&mut [0; 9]).await.unwrap(), 0);
    });
}

#[test]
fn a_client_that_never_ends_its_head_is_sent_away() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let client = Client { site: Rc::new(Site::new(|| async { Vec::new() }, None)) };
        let started = tokio::time::Instant::now();
        let mut stream = client.open();
        stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        let mut answered = Vec::new();
        stream.read_to_end(&mut answered).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), HEAD_DEADLINE.as_secs());
    });
}

#[test]
fn a_body_that_stops_coming_is_given_up() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let client = Client { site: Rc::new(Site::new(|| async { Vec::new() }, None)) };
        let started = tokio::time::Instant::now();
        let mut stream = client.open();
        stream.write_all(b"POST /sha256 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
        let mut answered = Vec::new();
        stream.read_to_end(&mut answered).await.unwrap();
        assert_eq!(parse(&answered).status, 408);
        assert!(started.elapsed().as_secs() >= 60);
    });
}
