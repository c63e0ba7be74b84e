//! The first run: no privilege, no set-up; and what is said when privilege is needed and lacks.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use super::http::{random_file, sha256};
use super::namespace::Namespace;
use super::stage::{SERVER, Stage, TAP};
use crate::failure::{Failure, ensure};
use crate::process;

const DEADLINE: Duration = Duration::from_secs(60);

/// Nobody, without a group, a capability, or a way to any.
const UNPRIVILEGED: [&str; 6] = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--no-new-privs",
];

/// `sunstar` as an unprivileged user, from a copy which that user may run.
fn unprivileged(stage: &Stage, namespace: &Namespace) -> Result<Command, Failure> {
    let copy = stage.file("sunstar");
    let made = std::fs::copy(stage.sunstar(), &copy)
        .and_then(|_| std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)));
    made.map_err(Failure::io(format!("copy {} to {}", stage.sunstar().display(), copy.display())))?;
    let mut command = namespace.command("setpriv");
    command.args(UNPRIVILEGED).arg(copy);
    Ok(command)
}

pub(super) fn an_unprivileged_user_serves_on_the_machine_s_loopback(stage: &Stage) -> Result<(), Failure> {
    // A namespace of its own, so that port 8080 is free.
    let namespace = Namespace::new("embedded")?;
    let _server = stage.start_server(unprivileged(stage, &namespace)?.args(["serve", "--json"]))?;
    let curl = |arguments: &[&str]| {
        let mut curl = namespace.command("curl");
        curl.args(["--silent", "--show-error", "--fail"]).args(arguments);
        process::capture_success(&mut curl, DEADLINE)
    };

    let page = curl(&["http://127.0.0.1:8080/"])?.stdout;
    ensure!(page.contains("</html>"), "that is no whole page:\n{page}");
    let counters = curl(&["http://127.0.0.1:8080/stats.json"])?.stdout;
    ensure!(counters.contains("\"shards\""), "that are no counters:\n{counters}");

    let body = stage.file("body");
    random_file(&body, 3 * 1024 * 1024 + 1)?;
    let sent = body.to_string_lossy();
    let answered =
        curl(&["--request", "POST", "--upload-file", &sent, "http://127.0.0.1:8080/sha256"])?.stdout;
    let expected = sha256(&body)?;
    ensure!(answered.trim() == expected, "the body has SHA-256 {expected}, the server made it {answered:?}");
    Ok(())
}

pub(super) fn a_tap_without_permission_is_refused_with_advice(stage: &Stage) -> Result<(), Failure> {
    let namespace = Namespace::new("refused")?;
    let device = format!("tap:{TAP}");
    let address = format!("{SERVER}/24");
    let mut serve = unprivileged(stage, &namespace)?;
    serve.args(["serve", "--device", &device, "--address", &address]);
    let refused = process::capture(&mut serve, DEADLINE)?;
    let said = refused.output();
    ensure!(!refused.status.success(), "it claims success:\n{said}");
    ensure!(refused.status.code().is_some() && !said.contains("panicked"), "it crashed:\n{said}");
    ensure!(
        said.contains(TAP) && (said.contains("CAP_NET_ADMIN") || said.contains("root")),
        "the message does not say which tap it was, and what would permit it:\n{said}"
    );
    Ok(())
}
