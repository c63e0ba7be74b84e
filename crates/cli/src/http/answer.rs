//! Which answer a request gets.

use std::pin::Pin;

use bytes::Bytes;
use hyper::body::Body as Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::body::{Body, Pattern};
use super::digest::{NoDigest, sha256};
use super::files::{Content, Files, Found, NotServed, Source, Wish};
use super::page::Page;
use super::read::FilePart;

/// The longest body that `/bytes/N` sends, in bytes: 1 TiB.
const MAX_PATTERN: u64 = 1 << 40;

/// Reads the counters, as JSON: every shard has to be asked.
pub(super) type Counters = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<u8>>>>>;

/// What is served: the built-in page, the counters, two endpoints to measure with, and perhaps files.
pub(crate) struct Site {
    counters: Counters,
    page: Page,
    files: Option<Files>,
    pattern: Bytes,
}

/// The resource that a path names.
enum Resource<'a> {
    Root,
    Counters,
    Sha256,
    Bytes(u64),
    Other(&'a str),
}

impl<'a> Resource<'a> {
    fn of(path: &'a str) -> Self {
        match path {
            "/" => Self::Root,
            "/stats.json" => Self::Counters,
            "/sha256" => Self::Sha256,
            _ => match path.strip_prefix("/bytes/").map(str::parse) {
                Some(Ok(count)) => Self::Bytes(count),
                _ => Self::Other(path),
            },
        }
    }
}

impl Site {
    /// A site that shows what `counters` returns: JSON, an object with an array `shards`.
    pub(crate) fn new<F>(counters: impl Fn() -> F + 'static, files: Option<Files>) -> Self
    where
        F: Future<Output = Vec<u8>> + 'static,
    {
        let counters: Counters = Box::new(move || Box::pin(counters()));
        Self { counters, page: Page::default(), files, pattern: Pattern::block() }
    }

    /// Answers one request.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: Incoming<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        match Resource::of(head.uri.path()) {
            Resource::Sha256 if head.method == Method::POST => digest(body).await,
            Resource::Sha256 => not_allowed("POST"),
            _ if !is_read => not_allowed("GET, HEAD"),
            Resource::Root => match self.file("/", &head.method, &head.headers).await {
                Some(index) if index.status() != StatusCode::NOT_FOUND => index,
                _ => self.page.answer(&self.counters).await,
            },
            Resource::Counters => {
                let mut answer = whole("application/json", (self.counters)().await.into());
                set(&mut answer, header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                answer
            }
            Resource::Bytes(count) if count > MAX_PATTERN => {
                plain(StatusCode::BAD_REQUEST, "at most 1099511627776 bytes at a time\n")
            }
            Resource::Bytes(count) => {
                let body = Body::Pattern(Pattern::new(&self.pattern, count));
                with_type(StatusCode::OK, "application/octet-stream", body)
            }
            Resource::Other(path) => {
                self.file(path, &head.method, &head.headers).await.unwrap_or_else(not_found)
            }
        }
    }

    /// The answer to a request for a file; `None` when no files are served.
    async fn file(&self, path: &str, method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
        let files = self.files.as_ref()?;
        let mut wish = Wish::of(headers);
        if *method != Method::GET {
            // RFC 9110 section 14.2: ranges are defined for GET only.
            wish.ignore_range();
        }
        let found = match files.find_cached(path, &wish) {
            Some(found) => Ok(found),
            None => {
                let (files, path) = (files.clone(), path.to_owned());
                tokio::task::spawn_blocking(move || files.find(&path, &wish)).await
            }
        };
        Some(match found {
            Ok(Ok(found)) => send(found),
            Ok(Err(NotServed::NotFound)) => not_found(),
            Ok(Err(NotServed::Directory)) => moved(path),
            Ok(Err(NotServed::Failed(error))) => failed(&error),
            Err(error) => failed(&error),
        })
    }
}

/// Sends a file, a part of it, or why not.
fn send(found: Found) -> Response<Body> {
    let Found { len, modified, content_type, content } = found;
    let mut answer = match content {
        Content::NotModified => status(StatusCode::NOT_MODIFIED, Body::empty()),
        Content::Unsatisfiable => {
            let mut answer =
                plain(StatusCode::RANGE_NOT_SATISFIABLE, "the file has no bytes in that range\n");
            set_text(&mut answer, header::CONTENT_RANGE, format!("bytes */{len}"));
            return answer;
        }
        Content::Bytes { first, len: part, is_part, source } => {
            let code = if is_part { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
            let body = match source {
                Source::Read(bytes) => Body::Whole(bytes),
                Source::Open(file) => Body::File(FilePart::new(file, first, part)),
            };
            let mut answer = with_type(code, content_type, body);
            if is_part {
                let range = format!("bytes {first}-{}/{len}", first + part - 1);
                set_text(&mut answer, header::CONTENT_RANGE, range);
            }
            answer
        }
    };
    set(&mut answer, header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set_text(&mut answer, header::LAST_MODIFIED, httpdate::fmt_http_date(modified));
    answer
}

async fn digest<B>(body: B) -> Response<Body>
where
    B: Incoming<Data = Bytes> + Unpin,
{
    match sha256(body).await {
        Ok(text) => whole("text/plain; charset=utf-8", text),
        Err(NoDigest::TimedOut) => plain(StatusCode::REQUEST_TIMEOUT, "the body stopped coming\n"),
        Err(NoDigest::Broken) => {
            plain(StatusCode::BAD_REQUEST, "the body ended early, or its framing is wrong\n")
        }
    }
}

/// A directory's index lies behind a slash, so that the links in it work.
fn moved(path: &str) -> Response<Body> {
    let mut answer =
        plain(StatusCode::MOVED_PERMANENTLY, "that is a directory; its path ends with a slash\n");
    // One slash in front, or the path would name another host (RFC 3986 section 4.2).
    set_text(&mut answer, header::LOCATION, format!("/{}/", path.trim_start_matches('/')));
    answer
}

fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "there is nothing of that name\n")
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "that method is not for this resource\n");
    set(&mut answer, header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn failed(error: &dyn std::error::Error) -> Response<Body> {
    whole_with(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", format!("{error}\n").into())
}

fn plain(code: StatusCode, text: &'static str) -> Response<Body> {
    whole_with(code, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

/// An answer whose body is there.
pub(super) fn whole(content_type: &'static str, body: Bytes) -> Response<Body> {
    whole_with(StatusCode::OK, content_type, body)
}

fn whole_with(code: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    with_type(code, content_type, Body::Whole(body))
}

fn with_type(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut answer = status(code, body);
    set(&mut answer, header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // The type given is the type meant: a browser is not to guess another.
    set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn status(code: StatusCode, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer
}

/// Sets a header of an answer.
pub(super) fn set(answer: &mut Response<Body>, name: header::HeaderName, value: HeaderValue) {
    answer.headers_mut().insert(name, value);
}

fn set_text(answer: &mut Response<Body>, name: header::HeaderName, text: String) {
    // A request's path and our own numbers and dates are header values already.
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        set(answer, name, value);
    }
}
