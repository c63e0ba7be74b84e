//! The `sunstar` command: a server, a ping, a traceroute, a yardstick, a dashboard and a switchboard for a TCP/IP stack in
//! this process, and simulated networks to try it in.

mod answers;
mod control;
mod dhcp;
mod failure;
mod http;
mod network;
mod options;
mod output;
mod perf;
mod ping;
mod serve;
mod set;
mod show;
mod signals;
mod sim;
mod top;
mod traceroute;

use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;

use options::{Command, CommandLine};
use output::Output;

/// The exit code for wrong options; clap has the same.
const WRONG_OPTIONS: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    // The options themselves may be what is wrong, and that is to be said in JSON, too.
    let json = arguments.iter().any(|argument| argument == "--json");
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) if json && error.use_stderr() => {
            Output::new(true).complain(error.render(), WRONG_OPTIONS);
            return WRONG_OPTIONS.into();
        }
        Err(error) => error.exit(),
    };
    match line.command {
        Command::Serve(options) => match options.resolve() {
            Ok(settings) => {
                let json = settings.json;
                serve::run(settings).map_or_else(|failure| fail(json, &failure, 1), |()| ExitCode::SUCCESS)
            }
            Err(error) => fail(json, &error, WRONG_OPTIONS),
        },
        Command::Perf(options) => match options.check() {
            Ok(()) => {
                perf::run(&options).map_or_else(|failure| fail(json, &failure, 1), |()| ExitCode::SUCCESS)
            }
            Err(error) => fail(json, &error, WRONG_OPTIONS),
        },
        Command::Top(options) => {
            top::run(&options).map_or_else(|failure| fail(json, &failure, 1), |()| ExitCode::SUCCESS)
        }
        Command::Show(options) => {
            show::run(&options).map_or_else(|failure| fail(options.json, &failure, 1), |()| ExitCode::SUCCESS)
        }
        Command::Set(options) => match options.change() {
            Ok(change) => set::run(&options, change)
                .map_or_else(|failure| fail(options.json, &failure, 1), |()| ExitCode::SUCCESS),
            Err(error) => fail(options.json, &error, WRONG_OPTIONS),
        },
        Command::Dhcp(options) => match dhcp::run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => 1.into(),
            Err(failure) => fail(options.json, &failure, 2),
        },
        Command::Ping(options) => match options.check() {
            Ok(()) => match ping::run(options) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => 1.into(),
                Err(failure) => fail(json, &failure, 2),
            },
            Err(error) => fail(json, &error, WRONG_OPTIONS),
        },
        Command::Sim(options) => match sim::run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => 1.into(),
            Err(failure) => fail(options.json, &failure, 1),
        },
        Command::Traceroute(options) => match options.check() {
            Ok(()) => match traceroute::run(options) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => 1.into(),
                Err(failure) => fail(json, &failure, 2),
            },
            Err(error) => fail(json, &error, WRONG_OPTIONS),
        },
    }
}

fn fail(json: bool, failure: &dyn Display, exit_code: u8) -> ExitCode {
    Output::new(json).complain(failure, exit_code);
    exit_code.into()
}
