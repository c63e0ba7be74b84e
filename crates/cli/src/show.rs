//! `sunstar show`: what a running stack has, asked through its control socket.

use std::fmt::{self, Display};

use sunstar::control::{Portrait, Question};

use crate::control::{self, headline};
use crate::failure::Failure;
use crate::options::ShowOptions;
use crate::output::Output;

/// Shows a section of a running stack, or a line of each.
///
/// # Errors
/// None runs, several do, or it does not answer.
pub(crate) fn run(options: &ShowOptions) -> Result<(), Failure> {
    let (path, mut client) = control::connect(options.control.as_deref())?;
    let sections = options.section.into_iter().collect();
    let question = Question::Show { sections, limit: options.limit };
    let portrait = control::ask(&path, &mut client, &question)?;
    let output = Output::new(options.json);
    match options.section {
        Some(_) => output.say(Whole(&portrait), &portrait)?,
        None => output.say(Summary(&portrait), &portrait)?,
    }
    Ok(())
}

/// Who is missing, if anybody.
fn silent(portrait: &Portrait) -> String {
    let shards: Vec<_> = portrait.snapshot.silent.iter().map(u16::to_string).collect();
    match shards.is_empty() {
        true => String::new(),
        false => format!("\nmissing, because they do not answer: shards {}", shards.join(", ")),
    }
}

/// Sections as tables.
struct Whole<'a>(&'a Portrait);

impl Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<_> = self.0.snapshot.sections().map(|(_, section)| section.to_string()).collect();
        write!(f, "{}{}", tables.join("\n\n"), silent(self.0))
    }
}

/// A line of each section.
struct Summary<'a>(&'a Portrait);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", headline(&self.0.instance))?;
        for (section, shown) in self.0.snapshot.sections() {
            write!(f, "\n{:<11} {}", section.name(), shown.summary())?;
        }
        f.write_str(&silent(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack of one shard that has two addresses, and another shard that says nothing.
    fn portrait() -> Portrait {
        serde_json::from_value(serde_json::json!({
            "program": "sunstar", "pid": 4711, "version": "0.1.0", "uptime": 61.0,
            "snapshot": {
                "answered": [0], "silent": [1],
                "routes": { "routes": [
                    { "network": "10.0.0.0/24", "gateway": null, "interface": "device", "shards": [0] },
                    { "network": "default", "gateway": "10.0.0.1", "interface": "device", "shards": [0] },
                ] },
                "ports": { "ports": [], "truncated": false },
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_summary_has_a_line_for_each_section_and_names_shards_that_are_missing() {
        assert_eq!(
            Summary(&portrait()).to_string(),
            "sunstar, process 4711, sunstar 0.1.0, up 1 min 1 s\n\
             routes      1 network of its own, default via 10.0.0.1\n\
             ports       0 ports with an owner\n\
             missing, because they do not answer: shards 1"
        );
    }

    #[test]
    fn a_section_is_a_table_of_aligned_columns() {
        let mut portrait = portrait();
        (portrait.snapshot.ports, portrait.snapshot.silent) = (None, Vec::new());
        assert_eq!(
            Whole(&portrait).to_string(),
            "network      gateway   interface  shards\n\
             10.0.0.0/24  -         device     0\n\
             default      10.0.0.1  device     0"
        );
    }
}
