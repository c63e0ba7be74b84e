//! The fuzz targets: all are built as `cargo fuzz` does it, and each runs for some seconds from its corpus, the same way
//! each time. Whoever looks for bugs runs them for longer (see the README).

use std::fs;
use std::time::Duration;

use crate::failure::{Failure, ensure};
use crate::process;
use crate::workspace::{self, cargo, run_to_success};

/// A target, and how often it is run: some seconds' worth.
const TARGETS: &[(&str, u32)] = &[
    ("dhcp", 12_000),
    ("headers", 400_000),
    ("mesh", 10_000),
    ("options", 1_000_000),
    ("reassembly", 20_000),
    ("shard", 8_000),
    ("tcp", 10_000),
];

/// How long one of them may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10 * 60);

/// Runs the targets' own tests, and then every target; the first that finds something fails the step.
pub(crate) fn run() -> Result<(), Failure> {
    every_target_is_listed()?;
    let target = workspace::target_directory()?;
    let mut tests = cargo("test --quiet --locked --manifest-path fuzz/Cargo.toml --lib --target-dir");
    run_to_success(tests.arg(&target))?;
    let own = target.join("fuzz");
    // Without a sanitizer, so that a stable compiler does.
    run_to_success(cargo("fuzz build --sanitizer none --target-dir").arg(&own))?;
    for (name, runs) in TARGETS {
        // What it finds goes there, and not among what is committed.
        let found = own.join("found").join(name);
        if found.exists() {
            fs::remove_dir_all(&found).map_err(Failure::io(format!("remove {}", found.display())))?;
        }
        fs::create_dir_all(&found).map_err(Failure::io(format!("make {}", found.display())))?;
        let mut fuzz = cargo("fuzz run --sanitizer none --target-dir");
        fuzz.arg(&own).arg(name).arg(&found).arg(workspace::root().join("fuzz/corpus").join(name));
        fuzz.args(["--", "-seed=1", "-timeout=10", "-max_len=1024", &format!("-runs={runs}")]);
        let finished = process::capture_success(&mut fuzz, DEADLINE)?;
        let done = finished.stderr.lines().rfind(|line| line.starts_with("Done "));
        println!("{name}: {}", done.unwrap_or("no word about how many runs"));
        ensure!(done.is_some(), "{name} did not come to its end:\n{}", finished.output());
    }
    Ok(())
}

/// No target is forgotten.
fn every_target_is_listed() -> Result<(), Failure> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let read = fs::read_dir(&directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let files = read.map_err(Failure::io(format!("read {}", directory.display())))?;
    let mut there: Vec<_> =
        files.iter().filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
    there.sort_unstable();
    let listed: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    ensure!(there == listed, "the targets are {there:?}, and {listed:?} are run");
    Ok(())
}
