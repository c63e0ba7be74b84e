//! Where things are: the workspace's root and what cargo builds in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::process;

/// How long one invocation of cargo may take, from a cold cache on a busy machine.
const BUILD_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// The root of the workspace this command was built from.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo, to be run in the root, with the arguments that the spaces in `line` separate.
pub(crate) fn cargo(line: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` set for us is about this package, and would confuse another.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command.args(line.split_whitespace()).current_dir(root());
    command
}

/// Runs cargo with its output on ours.
pub(crate) fn run_cargo(line: &str) -> Result<(), Failure> {
    run_to_success(&mut cargo(line))
}

/// Runs a command that builds, with its output on ours.
pub(crate) fn run_to_success(command: &mut Command) -> Result<(), Failure> {
    Ok(process::stream(command, BUILD_DEADLINE)?)
}

/// Cargo's target directory: the one this program was built into, whatever configured it.
pub(crate) fn target_directory() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().map_err(Failure::io("find this program's own file"))?;
    let directory = program.parent().and_then(Path::parent);
    directory.map(Path::to_path_buf).ok_or_else(|| {
        Failure::Expectation(format!(
            "{} is not in a cargo target directory: run it by `cargo xtask`",
            program.display()
        ))
    })
}

/// Builds the `sunstar` command with the given profile, and says where it is.
pub(crate) fn build_sunstar(profile: &str) -> Result<PathBuf, Failure> {
    run_cargo(&format!("build --package sunstar-cli --bin sunstar --profile {profile}"))?;
    sunstar(profile)
}

/// Where `cargo build` puts the `sunstar` command of a profile.
pub(crate) fn sunstar(profile: &str) -> Result<PathBuf, Failure> {
    Ok(target_directory()?.join(profile).join("sunstar"))
}
