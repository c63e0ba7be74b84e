//! `sunstar serve`: HTTP, and two services to measure with, until it is asked to end.

mod accept;
mod measure;
mod report;

use std::rc::Rc;
use std::time::Duration;

use sunstar::{Net, TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::http::{self, Files, Site};
use crate::network;
use crate::options::ServeSettings;
use crate::output::Output;
use crate::signals::Signals;
use accept::{Service, Stop};

/// How long requests under way may take once the server is asked to end.
const DRAIN: Duration = Duration::from_secs(5);

/// How long connections may then take to close in order.
const CLOSE: Duration = Duration::from_secs(2);

/// How often to look whether the device is still there.
const LOOK_AT_DEVICE: Duration = Duration::from_secs(1);

/// Connections of the discard service, and of the character generator, at a time.
const MEASURING_CONNECTIONS: usize = 1_000;

/// Serves until a signal asks it to end.
///
/// # Errors
/// The network cannot be run, or it failed; the directory cannot be read.
pub(crate) fn run(settings: ServeSettings) -> Result<(), Failure> {
    let files = settings.dir.as_deref().map(Files::open).transpose()?;
    network::builder(&settings.network, &settings.publish)
        .config(settings.stack.clone())
        .shutdown_deadline(CLOSE)
        .run(|net| serve(net, settings, files))?
}

async fn serve(net: Net, settings: ServeSettings, files: Option<Files>) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let output = Output::new(settings.json);
    let (stop, stopping) = watch::channel(false);
    let mut services = start(&net, &settings, files, &Stop::new(stopping))?;
    report::ready(output, &net, &settings)?;

    tokio::select! {
        ended = services.join_next() => return ended.map_or(Ok(()), flatten),
        reason = device_failure(&net) => return Err(Failure::Device(reason)),
        () = signals.next() => {}
    }
    // It fails only when every service has ended already.
    let _ = stop.send(true);
    let drained = async { while services.join_next().await.is_some() {} };
    tokio::select! {
        () = drained => {}
        () = tokio::time::sleep(DRAIN) => {}
        () = signals.next() => {}
    }
    report::last(output, &net)?;
    Ok(())
}

/// Binds every port, and then has a task accept on each.
fn start(
    net: &Net,
    settings: &ServeSettings,
    files: Option<Files>,
    stop: &Stop,
) -> Result<JoinSet<Result<(), Failure>>, Failure> {
    let counters = {
        let net = net.clone();
        // Counters are numbers under names, which JSON can always hold.
        move || serde_json::to_vec(&net.stats()).unwrap_or_default()
    };
    let site = Rc::new(Site::new(counters, files));
    let max_connections = settings.max_connections.into();
    let http = Service { name: "HTTP", max_connections, finishes: true };
    let measuring = |name| Service { name, max_connections: MEASURING_CONNECTIONS, finishes: false };
    let (discard, chargen) = (measuring("discard"), measuring("chargen"));
    let on_http = listen(net, http, settings.port)?;
    let on_discard = settings.discard.map(|port| listen(net, discard, port)).transpose()?;
    let on_chargen = settings.chargen.map(|port| listen(net, chargen, port)).transpose()?;

    let mut services = JoinSet::new();
    let answer = {
        let stop = stop.clone();
        move |stream| answer(stream, site.clone(), stop.clone())
    };
    services.spawn_local(http.accept(on_http, stop.clone(), answer));
    if let Some(listener) = on_discard {
        services.spawn_local(discard.accept(listener, stop.clone(), measure::discard));
    }
    if let Some(listener) = on_chargen {
        let pattern = measure::chargen_pattern();
        let generate = move |stream| measure::chargen(stream, pattern.clone());
        services.spawn_local(chargen.accept(listener, stop.clone(), generate));
    }
    Ok(services)
}

fn listen(net: &Net, service: Service, port: u16) -> Result<TcpListener, Failure> {
    net.tcp_bind(([0, 0, 0, 0], port)).map_err(|source| Failure::Listen {
        service: service.name,
        port,
        source,
    })
}

async fn answer(stream: TcpStream, site: Rc<Site>, stop: Stop) {
    // A whole answer is written at once, and its last segment has nothing to wait for.
    let nodelay = stream.set_nodelay(true);
    if nodelay.is_ok() {
        // How one client's connection ended is in the counters; there is nobody to tell.
        let _ = http::serve(stream, site, stop.wait()).await;
    }
}

/// Waits until a shard's device has failed for good; why. Listeners outlive it, but nobody can reach them.
async fn device_failure(net: &Net) -> String {
    let mut interval = tokio::time::interval(LOOK_AT_DEVICE);
    loop {
        interval.tick().await;
        if let Some(reason) = net.stats().shards.into_iter().find_map(|shard| shard.device.failure) {
            return reason;
        }
    }
}

fn flatten(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.unwrap_or_else(|error| Err(Failure::Task(error)))
}
