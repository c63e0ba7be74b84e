//! The options of `sunstar sim`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

/// The options of `sunstar sim`.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct SimOptions {
    /// What happens in the runs; may be repeated [default: every scenario in turn]
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Vec<String>,
    /// How many seeds are run, from 0 on
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) seeds: u64,
    /// Run this seed alone, in each scenario
    #[arg(long, value_name = "K", conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
    /// Run a plan from a file that an earlier run has written
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "seed", "scenario"])]
    pub(crate) plan: Option<PathBuf>,
    /// How many processes run seeds at a time [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Where captures and plans of failed runs are written
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    pub(crate) out: PathBuf,
    /// List the scenarios
    #[arg(long)]
    pub(crate) list: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Run what is asked for on the standard input, and answer on the standard output
    #[arg(long, hide = true)]
    pub(crate) worker: bool,
}
