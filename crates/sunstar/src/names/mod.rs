//! Names and their addresses (RFC 1034, RFC 1035): a resolver for each shard, with a cache and sockets of its own.

mod provider;

use std::cell::RefCell;
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
use tokio::sync::watch;

use crate::builder::NameService;
use crate::dhcp::{DhcpStatus, Told};
use crate::engine::Engine;
use provider::Provider;

/// The resolver of one shard; made when somebody first asks for a name.
pub(crate) struct Names {
    /// What the stack was given.
    given: NameService,
    /// What it was granted by DHCP: its servers come behind those given.
    granted: watch::Receiver<Option<DhcpStatus>>,
    /// The resolver's sockets are the engine's. It is a part of what applications hold, and must not hold the engine itself.
    engine: Weak<Engine>,
    /// And what it was made for.
    resolver: RefCell<Option<(NameService, Rc<Resolver<Provider>>)>>,
}

impl Names {
    pub(crate) fn new(given: NameService, granted: &Told, engine: &Rc<Engine>) -> Self {
        let (engine, resolver) = (Rc::downgrade(engine), RefCell::default());
        Self { given, granted: granted.subscribe(), engine, resolver }
    }

    /// Whom to ask at this moment.
    fn service(&self) -> NameService {
        let NameService { mut servers, mut search } = self.given.clone();
        if let Some(lease) = self.granted.borrow().as_ref().and_then(|status| status.lease.as_ref()) {
            servers.extend(lease.dns_servers.iter().map(|server| SocketAddr::new((*server).into(), 53)));
            // RFC 3397 section 3: the search list comes before the domain.
            search.extend(lease.search.iter().chain(&lease.domain).cloned());
        }
        NameService { servers, search }
    }

    /// The addresses of a name. An address in text is its own.
    pub(crate) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let parsed = Name::from_str_relaxed(name).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no name: {error}"))
        })?;
        let service = self.service();
        let answered = self.resolver(&service)?.lookup_ip(parsed).await;
        Ok(answered.map_err(|error| explain(&service, name, &error))?.iter().collect())
    }

    fn resolver(&self, service: &NameService) -> io::Result<Rc<Resolver<Provider>>> {
        if service.servers.is_empty() {
            let message = "no name server is known; give one to the stack (Builder::name_server), have it configured by DHCP, or write an address";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        if let Some((of, resolver)) = &*self.resolver.borrow()
            && of == service
        {
            return Ok(Rc::clone(resolver));
        }
        let made = Rc::new(self.make(service).map_err(io::Error::other)?);
        self.resolver.replace(Some((service.clone(), Rc::clone(&made))));
        Ok(made)
    }

    fn make(&self, service: &NameService) -> Result<Resolver<Provider>, NetError> {
        let search: Result<Vec<_>, _> = service.search.iter().map(Name::from_str_relaxed).collect();
        let servers = service.servers.iter().map(name_server).collect();
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
}

fn explain(service: &NameService, name: &str, error: &NetError) -> io::Error {
    let servers: Vec<_> = service.servers.iter().map(SocketAddr::to_string).collect();
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
        formatter.debug_struct("Names").field("given", &self.given).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_do_not_answer_or_cannot_be_asked_are_named() {
        let servers = vec!["10.0.0.1:53".parse().unwrap(), "10.0.0.9:5353".parse().unwrap()];
        let service = NameService { servers, search: Vec::new() };
        let unreachable = io::Error::from(io::ErrorKind::NetworkUnreachable);
        for (error, kind) in [
            (NetError::Timeout, io::ErrorKind::TimedOut),
            (NetError::from(unreachable), io::ErrorKind::NetworkUnreachable),
            (NetError::Busy, io::ErrorKind::Other),
        ] {
            let explained = explain(&service, "one.test", &error);
            assert_eq!(explained.kind(), kind);
            let text = explained.to_string();
            assert!(text.contains("`one.test`") && text.contains("10.0.0.1:53, 10.0.0.9:5353"), "{text}");
        }
    }
}
