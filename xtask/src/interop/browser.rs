//! The page in a real browser: what its script makes of the counters.

use std::time::Duration;

use super::stage::{SERVER, Stage, TapServer};
use crate::failure::{Failure, ensure};

const DEADLINE: Duration = Duration::from_secs(60);

/// No window, no sandbox (this is root), and no word to anybody outside.
const QUIETLY: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
];

pub(super) fn a_browser_shows_every_shard_and_the_steering_picture(stage: &Stage) -> Result<(), Failure> {
    let server = TapServer::start(stage, &["--shards", "4", "--queues", "2"])?;
    let profile = format!("--user-data-dir={}", stage.directory("profile")?.display());
    let page = format!("http://{SERVER}/");
    let arguments = [&QUIETLY[..], &[&profile, "--dump-dom", &page]].concat();
    let document = server.client("chromium", &arguments, DEADLINE)?.stdout;
    // The script behind it has the same words in it.
    let shown = document.split("<script>").next().unwrap_or_default();
    for (what, least) in
        [("<section class=\"card shard\"", 4), ("<i style=\"--hue:", 128), ("steered by a program", 1)]
    {
        let found = shown.matches(what).count();
        ensure!(found == least, "the page shows {found} times {what:?}, and should {least} times:\n{shown}");
    }
    ensure!(shown.contains("id=\"state\" class=\"live\""), "the page is not live:\n{shown}");
    server.stop().map(drop)
}
