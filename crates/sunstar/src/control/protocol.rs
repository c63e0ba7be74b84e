//! What is asked and answered at a control socket: a line of JSON for each.
//!
//! ```json
//! {"version":1,"ask":"stats"}
//! {"version":1,"ask":"show","sections":["sockets"],"limit":100}
//! {"version":1,"ask":"set","change":{"add_address":"10.0.0.3/24"}}
//! ```
//!
//! An answer has `ok`, which is an [`Introduction`], a [`Portrait`] or a [`Done`], or else `error`, which says what would
//! be right.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::configure::Change;
use crate::snapshot::{DEFAULT_LIMIT, MAX_LIMIT, Section, Snapshot};
use crate::stats::Stats;

/// The version of what is spoken at a control socket. Another one is not understood.
pub const VERSION: u32 = 1;

/// Bytes of a request at most, its newline among them.
pub const MAX_REQUEST: usize = 1_024;

/// What a stack is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// What its shards counted and hold: answered with an [`Introduction`].
    Stats,
    /// What it has: answered with a [`Portrait`].
    Show {
        /// Which sections; all of them if none is named.
        #[serde(default)]
        sections: Vec<Section>,
        /// How many lines of a kind at most.
        #[serde(default = "default_limit")]
        limit: usize,
    },
    /// To change something: answered with [`Done`].
    Set {
        /// What.
        change: Change,
    },
}

fn default_limit() -> usize {
    DEFAULT_LIMIT
}

/// Why a request is not understood.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is longer than any.
    #[error("a request is a line of at most {MAX_REQUEST} bytes")]
    TooLong,
    /// It is no object, or has no version.
    #[error(
        "a request is an object with a version, such as {{\"version\":{VERSION},\"ask\":\"stats\"}}: {0}"
    )]
    NoRequest(serde_json::Error),
    /// It is of another time.
    #[error(
        "version {asked} of the control protocol is not spoken here, but version {VERSION}; use the `sunstar` command of version {library}",
        library = env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The version of the request.
        asked: u32,
    },
    /// What it asks is not known.
    #[error(
        "{0}; what can be asked is `stats`, `show` with `sections` and a `limit`, and `set` with a `change`"
    )]
    Question(serde_json::Error),
    /// It asks for too much at once.
    #[error("a limit is a number from 1 to {MAX_LIMIT}, and not {0}")]
    Limit(usize),
}

/// A request as it is written.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

impl Question {
    /// Writes the request that asks it, as a line.
    pub fn to_line(&self) -> String {
        #[derive(Serialize)]
        struct Request<'a> {
            version: u32,
            #[serde(flatten)]
            question: &'a Question,
        }
        // Plain data with names for keys can always be written.
        serde_json::to_string(&Request { version: VERSION, question: self }).unwrap_or_default() + "\n"
    }

    /// Reads a request, which may end with a newline.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn from_line(line: &[u8]) -> Result<Self, RequestError> {
        if line.len() > MAX_REQUEST {
            return Err(RequestError::TooLong);
        }
        let Versioned { version, rest } = serde_json::from_slice(line).map_err(RequestError::NoRequest)?;
        if version != VERSION {
            return Err(RequestError::Version { asked: version });
        }
        match serde_json::from_value(rest.into()).map_err(RequestError::Question)? {
            Self::Show { limit, .. } if !(1..=MAX_LIMIT).contains(&limit) => Err(RequestError::Limit(limit)),
            question => Ok(question),
        }
    }
}

/// An answer, as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome<T> {
    Ok(T),
    Error(String),
}

#[derive(Serialize, Deserialize)]
struct Answer<T> {
    version: u32,
    #[serde(flatten)]
    outcome: Outcome<T>,
}

/// Writes an answer, or why there is none, as a line.
pub(super) fn answer_line<T: Serialize>(answer: Result<T, String>) -> serde_json::Result<Vec<u8>> {
    let outcome = answer.map_or_else(Outcome::Error, Outcome::Ok);
    let mut line = serde_json::to_vec(&Answer { version: VERSION, outcome })?;
    line.push(b'\n');
    Ok(line)
}

/// Why an answer says nothing.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The stack refuses.
    #[error("{0}")]
    Refused(String),
    /// It is of another version, or no answer.
    #[error("it answers something else than this version of the command knows: {0}")]
    NotUnderstood(serde_json::Error),
}

/// Reads an answer.
///
/// # Errors
/// What the stack says instead, or that it is not understood.
pub fn read_answer<T: DeserializeOwned>(line: &str) -> Result<T, AnswerError> {
    let answer: Answer<T> = serde_json::from_str(line).map_err(AnswerError::NotUnderstood)?;
    match answer.outcome {
        Outcome::Ok(answer) => Ok(answer),
        Outcome::Error(message) => Err(AnswerError::Refused(message)),
    }
}

/// Who answers at a control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The program's name.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// The version of this library.
    pub version: String,
    /// Seconds since the stack began.
    pub uptime: f64,
}

/// Who answers, and what its stack counted: the answer to [`Question::Stats`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// Who.
    #[serde(flatten)]
    pub instance: Instance,
    /// What it counted.
    pub stats: Stats,
}

/// Who answers, and what its stack has: the answer to [`Question::Show`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Portrait {
    /// Who.
    #[serde(flatten)]
    pub instance: Instance,
    /// What it has.
    pub snapshot: Snapshot,
}

/// What was changed: the answer to [`Question::Set`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The change.
    pub changed: Change,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for question in [
            Question::Stats,
            Question::Show { sections: vec![Section::Sockets, Section::Counters], limit: 7 },
            Question::Set { change: Change::AddAddress("10.0.0.3/24".parse().unwrap()) },
        ] {
            let line = question.to_line();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(Question::from_line(line.as_bytes()).unwrap(), question);
        }
    }

    #[test]
    fn sections_and_limit_may_be_left_out() {
        let question = Question::from_line(br#"{"ask":"show","version":1}"#).unwrap();
        assert_eq!(question, Question::Show { sections: Vec::new(), limit: DEFAULT_LIMIT });
    }

    #[test]
    fn what_is_not_understood_says_what_would_be() {
        for (line, advice) in [
            ("stats", r#"{"version":1,"ask":"stats"}"#),
            ("[]", r#"{"version":1,"ask":"stats"}"#),
            (r#"{"ask":"stats"}"#, "version"),
            (r#"{"version":2,"ask":"stats"}"#, "version 1"),
            (r#"{"version":1}"#, "`stats`"),
            (r#"{"version":1,"ask":"reboot"}"#, "`show`"),
            (r#"{"version":1,"ask":"show","sections":["socket"]}"#, "interfaces, routes, neighbors"),
            (r#"{"version":1,"ask":"show","sectoins":[]}"#, "sections"),
            (r#"{"version":1,"ask":"show","limit":0}"#, "from 1 to"),
            (r#"{"version":1,"ask":"show","limit":1000000}"#, "from 1 to"),
            (r#"{"version":1,"ask":"set","change":{"add_address":"10.0.0.3/33"}}"#, "10.0.0.2/24"),
            (r#"{"version":1,"ask":"set","change":{"set_port":{"port":"53","owner":"none"}}}"#, "udp/53"),
        ] {
            let error = Question::from_line(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(advice), "{line}: {error}");
        }
        let long = format!("{{\"version\":1,{}", " ".repeat(MAX_REQUEST));
        assert!(matches!(Question::from_line(long.as_bytes()), Err(RequestError::TooLong)));
    }

    #[test]
    fn an_answer_is_read_as_what_was_asked_for_or_as_the_reason_why_not() {
        let changed = Change::RemoveRoute { network: "default".parse().unwrap() };
        let line = answer_line(Ok(Done { changed })).unwrap();
        assert_eq!(read_answer::<Done>(std::str::from_utf8(&line).unwrap()).unwrap(), Done { changed });
        let line = answer_line::<Done>(Err("no".to_owned())).unwrap();
        assert_eq!(line, b"{\"version\":1,\"error\":\"no\"}\n");
        let refused = read_answer::<Done>(std::str::from_utf8(&line).unwrap());
        assert!(matches!(refused, Err(AnswerError::Refused(why)) if why == "no"));
        assert!(matches!(read_answer::<Done>("{}"), Err(AnswerError::NotUnderstood(_))));
    }
}
