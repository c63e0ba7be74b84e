//! The options of `sunstar show`.

use std::path::PathBuf;

use clap::Args;
use sunstar::snapshot::{DEFAULT_LIMIT, MAX_LIMIT, Section};

/// The options of `sunstar show`.
#[derive(Clone, Debug, PartialEq, Args)]
#[command(after_help = about_sections())]
pub(crate) struct ShowOptions {
    /// What to list; a line about each section if none is named
    #[arg(value_name = "SECTION")]
    pub(crate) section: Option<Section>,
    /// The control socket of a running stack [default: that of the only one of this user that runs]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// List about so many sockets, neighbours or ports of a kind at most, all shards together
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = limit)]
    pub(crate) limit: usize,
    /// Print JSON; every section whole if none is named
    #[arg(long)]
    pub(crate) json: bool,
}

fn about_sections() -> String {
    let line = |section: &Section| format!("\n  {:<11} {}", section.name(), section.about());
    let lines: String = Section::ALL.iter().map(line).collect();
    format!("Sections:{lines}\n\ndocs/show.md says what every counter counts.")
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("a number from 1 to {MAX_LIMIT}"))
}
