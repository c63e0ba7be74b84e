//! `sunstar serve`: HTTP, and two services to measure with, on every shard, until it is asked to end; and a service of
//! datagrams on one of them.

mod accept;
mod echo;
mod measure;
mod report;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use sunstar::{Net, TcpStream};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::http::{self, Files, Site};
use crate::network;
use crate::options::{Control, ServeSettings};
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
    let server = Server {
        control: control(&settings),
        files: settings.dir.as_deref().map(Files::open).transpose()?,
        stop: watch::Sender::new(false),
        started: Barrier::new(settings.network.shards().into()),
        settings,
    };
    let settings = &server.settings;
    let mut builder = network::builder_with(&settings.network, &settings.publish, &settings.dhcp_client)
        .config(settings.stack.clone())
        .shutdown_deadline(CLOSE);
    if let Some(control) = &server.control {
        builder = builder.control(control);
    }
    let ended = builder.run_on_each(|net| server.serve(net))?;
    ended.into_iter().collect()
}

/// Where the server can be looked at. A default place that cannot be had is no reason not to serve.
fn control(settings: &ServeSettings) -> Option<PathBuf> {
    match &settings.control {
        Control::None => None,
        Control::At(path) => Some(path.clone()),
        Control::Default => sunstar::control::default_path()
            .inspect_err(|error| {
                Output::new(settings.json).warn(format_args!("`sunstar top` will not find it: {error}"))
            })
            .ok(),
    }
}

/// What the server's shards have in common.
struct Server {
    settings: ServeSettings,
    files: Option<Files>,
    /// Where it can be looked at.
    control: Option<PathBuf>,
    /// Says that the server is to end.
    stop: watch::Sender<bool>,
    /// Where the shards meet once each of them listens.
    started: Barrier,
}

impl Server {
    /// Serves on one shard. Whatever ends it ends the server.
    async fn serve(&self, net: Net) -> Result<(), Failure> {
        let ended = match net.shard() {
            0 => self.serve_first(&net).await,
            _ => self.serve_other(&net).await,
        };
        self.stop.send_replace(true);
        ended
    }

    /// On the first shard, which hears signals and speaks for all.
    async fn serve_first(&self, net: &Net) -> Result<(), Failure> {
        let mut signals = Signals::listen()?;
        let output = Output::new(self.settings.json);
        let mut services = self.start(net).await?;
        if self.settings.network.dhcp {
            tokio::select! {
                configured = net.configured() => report::leased(output, &configured?)?,
                ended = services.join_next() => return ended.map_or(Ok(()), flatten),
                reason = device_failure(net) => return Err(Failure::Device(reason)),
                () = self.stopping().wait() => return Ok(()),
                () = signals.next() => {
                    self.stop.send_replace(true);
                    return Ok(());
                }
            }
        }
        report::ready(output, net, &self.settings, self.control.as_deref()).await?;
        tokio::select! {
            ended = services.join_next() => return ended.map_or(Ok(()), flatten),
            reason = device_failure(net) => return Err(Failure::Device(reason)),
            () = self.stopping().wait() => {}
            () = signals.next() => {}
        }
        self.stop.send_replace(true);
        tokio::select! {
            () = drain(&mut services) => {}
            () = signals.next() => {}
        }
        report::last(output, net).await?;
        Ok(())
    }

    async fn serve_other(&self, net: &Net) -> Result<(), Failure> {
        let mut services = self.start(net).await?;
        tokio::select! {
            ended = services.join_next() => return ended.map_or(Ok(()), flatten),
            () = self.stopping().wait() => {}
        }
        drain(&mut services).await;
        Ok(())
    }

    fn stopping(&self) -> Stop {
        Stop::new(self.stop.subscribe())
    }

    /// Binds every port, has a task accept on each, and waits until every shard has done so.
    async fn start(&self, net: &Net) -> Result<JoinSet<Result<(), Failure>>, Failure> {
        let settings = &self.settings;
        let counters = {
            let net = net.clone();
            move || {
                let net = net.clone();
                // Counters are numbers under names, which JSON can always hold.
                async move { serde_json::to_vec(&net.stats().await).unwrap_or_default() }
            }
        };
        let site = Rc::new(Site::new(counters, self.files.clone()));
        let http = Service {
            name: "HTTP",
            port: settings.port,
            max_connections: settings.max_connections.into(),
            finishes: true,
        };
        let measuring = |name| {
            move |port| Service { name, port, max_connections: MEASURING_CONNECTIONS, finishes: false }
        };
        let discard = settings.discard.map(measuring("discard"));
        let chargen = settings.chargen.map(measuring("chargen"));

        let mut services = JoinSet::new();
        let stop = self.stopping();
        let answer = {
            let stop = stop.clone();
            move |stream| answer(stream, site.clone(), stop.clone())
        };
        let on_http = http.listen(net).await?;
        services.spawn_local(http.accept(on_http, net.clone(), stop.clone(), answer));
        if let Some(discard) = discard {
            let on_discard = discard.listen(net).await?;
            services.spawn_local(discard.accept(on_discard, net.clone(), stop.clone(), measure::discard));
        }
        if let Some(chargen) = chargen {
            let on_chargen = chargen.listen(net).await?;
            let pattern = measure::chargen_pattern();
            let generate = move |stream| measure::chargen(stream, pattern.clone());
            services.spawn_local(chargen.accept(on_chargen, net.clone(), stop.clone(), generate));
        }
        if let Some(port) = settings.udp_echo.filter(|_| net.shard() == echo::SHARD) {
            let socket = echo::bind(net, port).await?;
            services.spawn_local(echo::answer(socket, net.clone(), port, stop.clone()));
        }
        tokio::select! {
            _ = self.started.wait() => {}
            () = stop.wait() => {}
        }
        Ok(services)
    }
}

/// Waits until what is under way is done, within reason.
async fn drain(services: &mut JoinSet<Result<(), Failure>>) {
    // What is left at the end is dropped.
    let _ = tokio::time::timeout(DRAIN, async { while services.join_next().await.is_some() {} }).await;
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
        if let Some(reason) = net.shard_stats().and_then(|shard| shard.device.failure) {
            return reason;
        }
    }
}

fn flatten(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.unwrap_or_else(|error| Err(Failure::Task(error)))
}
