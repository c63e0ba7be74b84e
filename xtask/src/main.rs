//! The project's chores, as `cargo xtask ...`: the one test command, the interop tests against the kernel
//! and real programs, and the longer acceptance.

mod accept;
mod checks;
mod cleanup;
mod failure;
mod fuzz;
mod interop;
mod peer;
mod process;
mod report;
mod simulator;
mod tools;
mod workspace;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask test [--only NAME]   every step a change must pass, or those whose name contains NAME
cargo xtask interop [NAME]       only the interop cases, or those whose name contains NAME
cargo xtask accept [NAME]        the longer acceptance, or the parts whose name contains NAME

`test`, `interop` and `accept` install the tools they miss (Debian packages as root), need root for
network namespaces, and remove what they made. The last line is the tally; the status is 0 when all passed.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Err(error) = cleanup::on_signal() {
        eprintln!("cannot listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    cleanup::remove_abandoned();
    match *arguments.as_slice() {
        ["test"] => checks::run(|_| true),
        ["test", "--only", part] => checks::run(|name| name.contains(part)),
        ["interop"] => checks::run(|name| name.starts_with(interop::PREFIX)),
        ["interop", part] => checks::run(|name| name.starts_with(interop::PREFIX) && name.contains(part)),
        ["accept"] => accept::run(None),
        ["accept", name] => accept::run(Some(name)),
        ["peer", ref arguments @ ..] => peer::run(arguments),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{HELP}");
            ExitCode::from(2)
        }
    }
}
