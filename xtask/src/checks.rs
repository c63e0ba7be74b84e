//! `cargo xtask test`: every step a change must pass, and the choice of some of them.

use std::collections::BTreeSet;
use std::process::ExitCode;

use crate::failure::{Failure, ensure};
use crate::fuzz;
use crate::interop;
use crate::report::Report;
use crate::simulator;
use crate::tools::{self, Tool};
use crate::workspace::{self, cargo, run_cargo, run_to_success};

/// One step that looks at the workspace.
struct Check {
    name: &'static str,
    tools: &'static [Tool],
    run: fn() -> Result<(), Failure>,
}

/// The step the interop cases stand on.
const INTEROP_BUILD: &str = "interop build";

/// The steps ahead of the interop cases, the quick ones first.
const CHECKS: &[Check] = &[
    Check { name: "format", tools: &[], run: format },
    Check {
        name: "spelling",
        tools: &[tools::TYPOS],
        run: || run_to_success(tools::TYPOS.command().current_dir(workspace::root())),
    },
    Check { name: "unused dependencies", tools: &[tools::MACHETE], run: || run_cargo("machete") },
    Check {
        name: "licences and sources",
        tools: &[tools::DENY],
        run: || run_cargo("deny --log-level error --workspace check licenses bans sources"),
    },
    Check { name: "clippy", tools: &[tools::CXX], run: clippy },
    Check {
        name: "documentation",
        tools: &[],
        run: || run_to_success(cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings")),
    },
    Check { name: "tests", tools: &[tools::NEXTEST], run: || run_cargo("nextest run --workspace") },
    Check { name: "documentation's tests", tools: &[], run: || run_cargo("test --workspace --doc") },
    Check { name: "models", tools: &[], run: models },
    Check { name: "simulator", tools: &[], run: simulator::seeds_of_every_scenario },
    Check { name: "fuzz targets", tools: &[tools::FUZZ, tools::CXX], run: fuzz::run },
];

fn format() -> Result<(), Failure> {
    run_cargo("fmt --all --check")?;
    run_cargo("fmt --manifest-path fuzz/Cargo.toml --check")
}

/// The fuzz targets are a workspace of their own, built beside this one.
fn clippy() -> Result<(), Failure> {
    run_cargo("clippy --workspace --all-targets -- --deny warnings")?;
    let mut fuzz = cargo("clippy --locked --manifest-path fuzz/Cargo.toml --all-targets --target-dir");
    run_to_success(fuzz.arg(workspace::target_directory()?).args(["--", "--deny", "warnings"]))
}

/// The interleavings of our own atomics, and of what stands on them, explored by loom, in the crates that have models. The
/// flag changes every crate, so the build has a directory of its own: the other steps' would be thrown away by it.
/// Optimising across crates would take longer than the models run.
fn models() -> Result<(), Failure> {
    let crates = "--package sunstar-packet --package sunstar-device --package sunstar";
    let mut test = cargo(&format!("test {crates} --release --test loom* --target-dir"));
    test.arg(workspace::target_directory()?.join("loom"));
    run_to_success(test.env("RUSTFLAGS", "--cfg loom").env("CARGO_PROFILE_RELEASE_LTO", "off"))
}

/// Runs the steps and interop cases whose names are wanted. A case is called `interop::its_name`.
pub(crate) fn run(is_wanted: impl Fn(&str) -> bool) -> ExitCode {
    let checks: Vec<&Check> = CHECKS.iter().filter(|check| is_wanted(check.name)).collect();
    let cases: Vec<_> = interop::cases().filter(|case| is_wanted(&case.full_name())).collect();
    if checks.is_empty() && cases.is_empty() {
        let checks = CHECKS.iter().map(|check| check.name.to_owned());
        let names: Vec<_> = checks.chain(interop::cases().map(|case| case.full_name())).collect();
        eprintln!("nothing has such a name; there are:\n  {}", names.join("\n  "));
        return ExitCode::FAILURE;
    }

    let mut report = Report::default();
    let mut needed: BTreeSet<Tool> = checks.iter().flat_map(|check| check.tools).copied().collect();
    if !cases.is_empty() {
        needed.extend(tools::INTEROP);
    }
    report.step("tools", || tools::ensure_installed(&needed));
    for check in checks {
        report.step(check.name, check.run);
    }
    if !cases.is_empty() {
        let built = report.step(INTEROP_BUILD, || workspace::build_sunstar(interop::PROFILE).map(drop));
        for case in cases {
            report.step(&case.full_name(), || {
                ensure!(built, "there is no command to test: `{INTEROP_BUILD}` failed");
                case.run()
            });
        }
    }
    report.close()
}
