//! Names and their addresses (RFC 1034, RFC 1035): a resolver for each shard, with a cache and sockets of its own.

mod provider;

use std::cell::OnceCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};

use hickory_resolver::Resolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use send_wrapper::SendWrapper;

use crate::builder::NameService;
use crate::engine::Engine;
use provider::Provider;

/// The resolver of one shard; made when somebody first asks for a name.
pub(crate) struct Names {
    service: NameService,
    /// The resolver's sockets are the engine's. It is a part of what applications hold, and must not hold the engine itself.
    engine: Weak<Engine>,
    resolver: OnceCell<Resolver<Provider>>,
}

impl Names {
    pub(crate) fn new(service: NameService, engine: &Rc<Engine>) -> Self {
        Self { service, engine: Rc::downgrade(engine), resolver: OnceCell::new() }
    }

    /// The addresses of a name. An address in text is its own.
    pub(crate) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let parsed = Name::from_str_relaxed(name).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no name: {error}"))
        })?;
        let answered = self.resolver()?.lookup_ip(parsed).await;
        Ok(answered.map_err(|error| self.explain(name, &error))?.iter().collect())
    }

    fn resolver(&self) -> io::Result<&Resolver<Provider>> {
        if self.service.servers.is_empty() {
            let message =
                "no name server is known; give one to the stack (Builder::name_server), or write an address";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let made = self.make().map_err(io::Error::other)?;
        Ok(self.resolver.get_or_init(|| made))
    }

    fn make(&self) -> Result<Resolver<Provider>, NetError> {
        let search: Result<Vec<_>, _> = self.service.search.iter().map(Name::from_str_relaxed).collect();
        let servers = self.service.servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, search?, servers);
        let provider = Provider::new(SendWrapper::new(self.engine.clone()));
        let mut builder = Resolver::builder_with_config(config, provider);
        let options: &mut ResolverOpts = builder.options_mut();
        // The machine's file names what its own network reaches, which need not be the stack's.
        options.use_hosts_file = ResolveHosts::Never;
        // There is no IPv6 here yet.
        options.ip_strategy = LookupIpStrategy::Ipv4Only;
        builder.build()
    }

    fn explain(&self, name: &str, error: &NetError) -> io::Error {
        let servers: Vec<_> = self.service.servers.iter().map(SocketAddr::to_string).collect();
        let servers = servers.join(", ");
        let (kind, message) = match error {
            error if error.is_nx_domain() => (io::ErrorKind::NotFound, format!("there is no name `{name}`")),
            error if error.is_no_records_found() => {
                (io::ErrorKind::NotFound, format!("`{name}` has no IPv4 address"))
            }
            NetError::Timeout => {
                (io::ErrorKind::TimedOut, format!("no name server answers for `{name}`: asked {servers}"))
            }
            NetError::Io(error) => {
                (error.kind(), format!("the name servers ({servers}) cannot be asked for `{name}`: {error}"))
            }
            error => (io::ErrorKind::Other, format!("`{name}` cannot be resolved: {error} ({servers})")),
        };
        io::Error::new(kind, message)
    }
}

/// A server that is asked over UDP, and over TCP for what does not fit (RFC 7766).
fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

impl std::fmt::Debug for Names {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Names").field("service", &self.service).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_do_not_answer_or_cannot_be_asked_are_named() {
        let servers = vec!["10.0.0.1:53".parse().unwrap(), "10.0.0.9:5353".parse().unwrap()];
        let service = NameService { servers, search: Vec::new() };
        let names = Names { service, engine: Weak::new(), resolver: OnceCell::new() };
        let unreachable = io::Error::from(io::ErrorKind::NetworkUnreachable);
        for (error, kind) in [
            (NetError::Timeout, io::ErrorKind::TimedOut),
            (NetError::from(unreachable), io::ErrorKind::NetworkUnreachable),
            (NetError::Busy, io::ErrorKind::Other),
        ] {
            let explained = names.explain("one.test", &error);
            assert_eq!(explained.kind(), kind);
            let text = explained.to_string();
            assert!(text.contains("`one.test`") && text.contains("10.0.0.1:53, 10.0.0.9:5353"), "{text}");
        }
    }
}
