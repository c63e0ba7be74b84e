//! The options of `sunstar serve`: from the command line, and where that says nothing from a TOML file.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use sunstar::{DhcpConfig, ShardConfig};

use super::{DeviceName, NetworkOptions, OptionsError, PublishedPort, either};

/// Where HTTP is served unless told otherwise, and where the embedded device publishes it.
const HTTP_PORT: NonZeroU16 = NonZeroU16::new(80).expect("80 is not zero");
const PUBLISHED_HTTP: u16 = 8080;

/// The options of `sunstar serve`. Each is an argument and a key of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServeOptions {
    /// The port of the stack that HTTP is served on [default: 80]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<NonZeroU16>,
    /// Serve the files below a directory
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// Receive and throw away on this TCP port (RFC 863)
    #[arg(long, value_name = "PORT")]
    pub(crate) discard: Option<NonZeroU16>,
    /// Send characters without end on this TCP port (RFC 864)
    #[arg(long, value_name = "PORT")]
    pub(crate) chargen: Option<NonZeroU16>,
    /// Send every datagram back on this UDP port, on one shard (RFC 862)
    #[arg(long, value_name = "PORT")]
    pub(crate) udp_echo: Option<NonZeroU16>,
    /// HTTP connections at a time, on each shard; more wait until one has ended [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<NonZeroU16>,
    /// Reach a port of the stack at a port of this machine; embedded device only; may be repeated
    /// [default: 127.0.0.1:8080:80]
    #[arg(long, value_name = "[IP:]HOST_PORT:PORT")]
    pub(crate) publish: Vec<PublishedPort>,
    /// Where `sunstar top` finds this server: a Unix socket, for this user only [default: one that it finds by itself]
    #[arg(long, value_name = "SOCKET")]
    pub(crate) control: Option<PathBuf>,
    /// Open no such socket
    #[arg(long, conflicts_with = "control")]
    pub(crate) no_control: bool,
    /// Print JSON, an object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Read further options from a TOML file: keys like the arguments', the stack's own settings in `[stack]`, and the DHCP client's in `[dhcp_client]`
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// How the stack is connected.
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) network: NetworkOptions,
    /// The stack's own settings; in a file only.
    #[arg(skip)]
    pub(crate) stack: ShardConfig,
    /// The DHCP client's settings; in a file only.
    #[arg(skip)]
    pub(crate) dhcp_client: DhcpConfig,
}

/// What `sunstar serve` is to do: complete, and free of contradictions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServeSettings {
    /// How the stack is connected.
    pub(crate) network: NetworkOptions,
    /// The stack's own settings.
    pub(crate) stack: ShardConfig,
    /// The DHCP client's.
    pub(crate) dhcp_client: DhcpConfig,
    /// Which ports can be reached at the machine.
    pub(crate) publish: Vec<PublishedPort>,
    /// The port HTTP is served on.
    pub(crate) port: u16,
    /// HTTP connections at a time, on each shard.
    pub(crate) max_connections: u16,
    /// The directory whose files are served.
    pub(crate) dir: Option<PathBuf>,
    /// The port of the discard service.
    pub(crate) discard: Option<u16>,
    /// The port of the character generator.
    pub(crate) chargen: Option<u16>,
    /// The UDP port of the echo service.
    pub(crate) udp_echo: Option<u16>,
    /// Where it can be looked at.
    pub(crate) control: Control,
    /// Whether to print JSON.
    pub(crate) json: bool,
}

/// Where a server can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Where `sunstar top` looks by itself, if that is possible.
    Default,
    /// There, and nowhere else.
    At(PathBuf),
    /// Nowhere.
    None,
}

impl ServeOptions {
    /// Reads the configuration file, if one is named, and completes the options.
    ///
    /// # Errors
    /// The file cannot be read or understood, or options contradict each other.
    pub(crate) fn resolve(self) -> Result<ServeSettings, OptionsError> {
        match self.config.clone() {
            Some(path) => self.or(Self::read(&path)?).complete(),
            None => self.complete(),
        }
    }

    fn read(path: &Path) -> Result<Self, OptionsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| OptionsError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| OptionsError::File { path: path.to_owned(), source: Box::new(source) })
    }

    /// These options, and where they say nothing, those of the file.
    fn or(self, file: Self) -> Self {
        Self {
            port: self.port.or(file.port),
            dir: self.dir.or(file.dir),
            discard: self.discard.or(file.discard),
            chargen: self.chargen.or(file.chargen),
            udp_echo: self.udp_echo.or(file.udp_echo),
            max_connections: self.max_connections.or(file.max_connections),
            publish: either(self.publish, file.publish),
            no_control: self.no_control || self.control.is_none() && file.no_control,
            control: if self.no_control { None } else { self.control.or(file.control) },
            json: self.json || file.json,
            config: self.config,
            network: self.network.or(file.network),
            stack: file.stack,
            dhcp_client: file.dhcp_client,
        }
    }

    fn complete(self) -> Result<ServeSettings, OptionsError> {
        self.network.check()?;
        let port = self.port.unwrap_or(HTTP_PORT).get();
        let services = [
            ("HTTP", Some(port)),
            ("discard", self.discard.map(NonZeroU16::get)),
            ("chargen", self.chargen.map(NonZeroU16::get)),
        ];
        let served: Vec<_> =
            services.iter().filter_map(|(name, port)| port.map(|port| (*name, port))).collect();
        for (at, (second, port)) in served.iter().enumerate() {
            if let Some((first, _)) = served[..at].iter().find(|(_, other)| other == port) {
                return Err(OptionsError::PortTwice { port: *port, first, second });
            }
        }
        let publish = self.published(port)?;
        if let Some(idle) = publish.iter().find(|it| served.iter().all(|(_, port)| *port != it.port)) {
            let names: Vec<_> = served.iter().map(|(name, port)| format!("{name} on {port}")).collect();
            return Err(OptionsError::PublishedForNothing(idle.port, names.join(", ")));
        }
        Ok(ServeSettings {
            publish,
            port,
            control: match self.control {
                Some(path) => Control::At(path),
                None if self.no_control => Control::None,
                None => Control::Default,
            },
            max_connections: self.max_connections.map_or(10_000, NonZeroU16::get),
            discard: services[1].1,
            chargen: services[2].1,
            udp_echo: self.udp_echo.map(NonZeroU16::get),
            network: self.network,
            stack: self.stack,
            dhcp_client: self.dhcp_client,
            dir: self.dir,
            json: self.json,
        })
    }

    fn published(&self, port: u16) -> Result<Vec<PublishedPort>, OptionsError> {
        match self.network.device() {
            DeviceName::Embedded if self.publish.is_empty() => {
                Ok(vec![PublishedPort { host: (std::net::Ipv4Addr::LOCALHOST, PUBLISHED_HTTP).into(), port }])
            }
            DeviceName::Tap(_) if self.publish.is_empty() => Ok(Vec::new()),
            device @ DeviceName::Tap(_) => Err(OptionsError::PublishOnTap(device)),
            DeviceName::Embedded => Ok(self.publish.clone()),
        }
    }
}
