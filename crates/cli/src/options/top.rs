//! The options of `sunstar top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// The options of `sunstar top`.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct TopOptions {
    /// The control socket of a running stack [default: that of the only one of this user that runs]
    #[arg(value_name = "SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Seconds between two readings, 0.2 to 10
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,
    /// Print one reading, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// With --once: print it as JSON
    #[arg(long, requires = "once")]
    pub(crate) json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write seconds, as in 0.5".to_owned())?;
    match (0.2..=10.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("between 0.2 and 10 seconds".to_owned()),
    }
}
