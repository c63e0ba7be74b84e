//! DHCP on a host of many shards: replies come by any queue, and a filter on every shard brings them to the one that asked;
//! what it is granted, all have.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sunstar_sim::craft::Envelope;
use sunstar_sim::decode::{Body, Transport};
use sunstar_sim::{Cluster, Nic, ms, secs};
use sunstar_stack::{Applied, DhcpConfig, DhcpFilter, DhcpState, InterfaceId, SocketError, UdpTransmit};

const LEASED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// What a DHCP server hears.
struct Request {
    xid: [u8; 4],
    chaddr: [u8; 16],
    kind: u8,
    from: IpAddr,
    to: IpAddr,
}

/// A DHCP server made by hand: an address for whoever asks, with a router, an MTU, and a time of 100 seconds.
struct Server {
    mtu: u16,
    mask: Ipv4Addr,
    /// By which queue its next answer comes.
    queue: usize,
    /// Whether its answers go to all.
    broadcasts: bool,
    heard: Vec<u8>,
}

impl Server {
    fn new(queue: usize) -> Self {
        Self {
            mtu: 1_400,
            mask: Ipv4Addr::new(255, 255, 255, 0),
            queue,
            broadcasts: false,
            heard: Vec::new(),
        }
    }

    fn requests(cluster: &mut Cluster) -> Vec<Request> {
        let request = |heard: sunstar_sim::HeardFromCluster| {
            let Body::Ip(ip, Transport::Udp { source, destination, payload }) = heard.frame.body else {
                return None;
            };
            (source.port() == 68 && destination.port() == 67).then(|| Request {
                xid: payload[4..8].try_into().unwrap(),
                chaddr: payload[28..44].try_into().unwrap(),
                kind: payload[242],
                from: ip.source.into(),
                to: ip.destination.into(),
            })
        };
        cluster.heard().into_iter().filter_map(request).collect()
    }

    /// The answer of a kind to a request, as a frame to the client's station and the address it is to have.
    fn answer(&self, cluster: &Cluster, request: &Request, kind: u8) -> Vec<u8> {
        let mut message = vec![2, 1, 6, 0];
        message.extend(request.xid);
        message.extend([0; 8]);
        message.extend(if kind == 6 { [0; 4] } else { LEASED.octets() });
        message.extend([0; 8]);
        message.extend(request.chaddr);
        message.extend([0; 192]);
        message.extend([99, 130, 83, 99, 53, 1, kind, 54, 4]);
        message.extend(SERVER.octets());
        if kind != 6 {
            message.extend([51, 4, 0, 0, 0, 100, 1, 4]);
            message.extend(self.mask.octets());
            message.extend([3, 4]);
            message.extend(SERVER.octets());
            message.extend([26, 2]);
            message.extend(self.mtu.to_be_bytes());
        }
        message.push(255);
        let envelope = match kind == 6 || self.broadcasts {
            true => cluster.envelope().to_everyone().to_address(Ipv4Addr::BROADCAST),
            false => cluster.envelope().to_address(LEASED),
        };
        envelope.udp(67, 68, &message)
    }

    /// Answers whatever was asked; whether anything was.
    fn serve(&mut self, cluster: &mut Cluster) -> bool {
        let requests = Self::requests(cluster);
        for request in &requests {
            self.heard.push(request.kind);
            let kind = match request.kind {
                1 => 2,
                3 => 5,
                _ => continue,
            };
            let answer = self.answer(cluster, request, kind);
            cluster.inject(self.queue, &answer);
        }
        !requests.is_empty()
    }

    fn serve_for(&mut self, cluster: &mut Cluster, seconds: u64) {
        for _ in 0..seconds * 10 {
            cluster.drive_for(ms(100));
            self.serve(cluster);
        }
    }
}

/// A cluster without an address, and filters on these shards.
fn unconfigured(filters: &[usize], seed: u64) -> Cluster {
    let mut cluster = Cluster::builder(4).seed(seed).nic(Nic::Steering).build();
    let own = cluster.at(0).ip();
    cluster.shard_mut(0).remove_address(InterfaceId::DEVICE, own);
    for shard in filters {
        cluster.shard_mut(*shard).install_filter(Box::new(DhcpFilter));
    }
    cluster.drive_for(ms(1));
    cluster
}

fn start(cluster: &mut Cluster) {
    cluster.shard_mut(0).dhcp_start(&DhcpConfig::default(), None, Applied::default()).unwrap();
}

fn state(cluster: &Cluster) -> DhcpState {
    cluster.shard(0).dhcp().unwrap().state()
}

/// The addresses of each shard.
fn addresses(cluster: &Cluster) -> Vec<Vec<IpAddr>> {
    let of = |shard: usize| {
        let mut device = cluster.shard(shard).interfaces().filter(|it| it.id == InterfaceId::DEVICE);
        device.next().unwrap().addresses().iter().map(|own| own.address).collect()
    };
    (0..4).map(of).collect()
}

#[test]
fn a_lease_is_obtained_whichever_queue_the_replies_come_by_and_every_shard_has_it() {
    for (queue, broadcasts) in (0..4).flat_map(|queue| [(queue, false), (queue, true)]) {
        let mut cluster = unconfigured(&[0, 1, 2, 3], queue as u64);
        start(&mut cluster);
        let mut server = Server { broadcasts, ..Server::new(queue) };
        server.serve_for(&mut cluster, 12);
        assert_eq!((state(&cluster), server.heard.as_slice()), (DhcpState::Bound, &[1, 3][..]), "{queue}");
        assert_eq!(addresses(&cluster), vec![vec![IpAddr::V4(LEASED)]; 4]);
        for shard in 0..4 {
            let shard = cluster.shard(shard);
            assert_eq!(shard.routes().next().unwrap().gateway, IpAddr::V4(SERVER));
            let far = shard.path([192, 0, 2, 1].into()).unwrap();
            assert_eq!((far.mtu, far.source), (1_400, IpAddr::V4(LEASED)));
        }
        let handed = cluster.total(|counters| counters.mesh.handed_over);
        assert!(
            !broadcasts || handed == if queue == 0 { 0 } else { 2 },
            "what is to all stays where it arrives"
        );
    }
}

#[test]
fn a_filter_on_the_first_shard_alone_misses_what_arrives_at_another() {
    for (queue, bound) in [(0, true), (1, false)] {
        let mut cluster = unconfigured(&[0], 7);
        start(&mut cluster);
        let mut server = Server { broadcasts: true, ..Server::new(queue) };
        server.serve_for(&mut cluster, 12);
        assert_eq!(state(&cluster) == DhcpState::Bound, bound, "queue {queue}");
    }
}

#[test]
fn a_refused_renewal_takes_the_address_from_every_shard_and_fails_its_sockets() {
    let mut cluster = unconfigured(&[0, 1, 2, 3], 3);
    start(&mut cluster);
    let mut server = Server::new(2);
    server.serve_for(&mut cluster, 12);
    let socket = cluster.udp_bind(3, 0, false);
    let peer = cluster.peer.at(9);
    cluster.shard_mut(3).udp_connect(socket, peer).unwrap();
    // T1 is at 50 seconds.
    let refused = cluster.drive_until(
        |it| {
            let request = Server::requests(it).pop();
            if let Some(request) = &request {
                assert_eq!((request.from, request.to), (IpAddr::V4(LEASED), IpAddr::V4(SERVER)));
                let nak = server.answer(it, request, 6);
                it.inject(1, &nak);
            }
            request.is_some()
        },
        secs(60),
    );
    assert!(refused);
    cluster.drive_for(ms(50));
    assert_eq!(addresses(&cluster), vec![Vec::<IpAddr>::new(); 4]);
    let told = cluster.shard_mut(3).udp_recv(socket).map(drop);
    assert_eq!(told, Err(SocketError::AddressLost { address: LEASED.into() }));
    assert!(cluster.shard(3).path([192, 0, 2, 1].into()).is_none(), "its routes are gone, too");
}

#[test]
fn an_address_that_somebody_has_is_declined() {
    // The claim comes by a queue of another shard.
    for queue in 0..4 {
        let mut cluster = unconfigured(&[0, 1, 2, 3], 5);
        start(&mut cluster);
        let mut server = Server::new(0);
        assert!(cluster.drive_until(
            |it| {
                server.serve(it);
                state(it) == DhcpState::Probing
            },
            secs(5)
        ));
        cluster.drive_for(ms(10));
        let squatter = Envelope { source_mac: [2, 0, 0, 0, 0, 9], ..cluster.envelope() };
        cluster.inject(queue, &squatter.to_everyone().arp(true, LEASED, LEASED));
        cluster.drive_for(ms(10));
        server.serve(&mut cluster);
        assert_eq!((state(&cluster), server.heard.last()), (DhcpState::Declined, Some(&4)), "queue {queue}");
        assert_eq!(cluster.shard(0).conflicts().next().unwrap().address, IpAddr::V4(LEASED));
        assert_eq!(addresses(&cluster), vec![Vec::<IpAddr>::new(); 4]);
    }
}

#[test]
fn a_lease_given_back_is_told_to_its_server_first() {
    let mut cluster = unconfigured(&[0, 1, 2, 3], 9);
    start(&mut cluster);
    let mut server = Server::new(3);
    server.serve_for(&mut cluster, 12);
    cluster.shard_mut(0).dhcp_release();
    cluster.drive_for(secs(1));
    server.serve(&mut cluster);
    assert_eq!((state(&cluster), server.heard.last()), (DhcpState::Stopped, Some(&7)));
    assert_eq!(addresses(&cluster), vec![Vec::<IpAddr>::new(); 4]);
}

#[test]
fn a_shard_that_begins_anew_has_the_addresses_of_the_host() {
    let mut cluster = Cluster::builder(4).build();
    let own = cluster.at(0).ip();
    let more = sunstar_stack::InterfaceAddress { address: [10, 0, 0, 50].into(), prefix: 24 };
    cluster.shard_mut(0).add_address(InterfaceId::DEVICE, more);
    cluster.drive_for(ms(5));
    for shard in [2, 0, 1] {
        cluster.replace(shard);
        cluster.drive_for(ms(5));
        assert_eq!(addresses(&cluster), vec![vec![own, more.address]; 4], "after {shard}");
    }
    cluster.shard_mut(0).remove_address(InterfaceId::DEVICE, own);
    cluster.drive_for(ms(5));
    assert_eq!(addresses(&cluster), vec![vec![more.address]; 4]);
    cluster.shard_mut(1).add_address(InterfaceId::DEVICE, more);
    cluster.shard_mut(1).remove_address(InterfaceId::DEVICE, more.address);
    assert_eq!(addresses(&cluster), vec![vec![more.address]; 4], "only the first shard configures");
}

#[test]
fn a_renewal_with_another_mask_changes_that_and_resets_nothing() {
    let mut cluster = unconfigured(&[0, 1, 2, 3], 13);
    start(&mut cluster);
    let mut server = Server::new(1);
    server.serve_for(&mut cluster, 12);
    let socket = cluster.udp_bind(2, 0, false);
    let peer = cluster.peer.at(9);
    cluster.shard_mut(2).udp_connect(socket, peer).unwrap();
    server.mask = Ipv4Addr::new(255, 255, 0, 0);
    server.serve_for(&mut cluster, 60);
    assert_eq!(state(&cluster), DhcpState::Bound);
    for shard in 0..4 {
        let mut device = cluster.shard(shard).interfaces().filter(|it| it.id == InterfaceId::DEVICE);
        assert_eq!(device.next().unwrap().addresses()[0].prefix, 16, "shard {shard}");
    }
    assert!(cluster.shard_mut(2).udp_send(socket, &UdpTransmit::default(), b"still here").is_ok());
}

#[test]
fn what_servers_say_to_others_stays_where_it_arrives() {
    let mut cluster = unconfigured(&[0, 1, 2, 3], 17);
    start(&mut cluster);
    cluster.drive_for(secs(2));
    let mut request = Server::requests(&mut cluster).remove(0);
    request.chaddr[5] ^= 1;
    let server = Server { broadcasts: true, ..Server::new(2) };
    let answer = server.answer(&cluster, &request, 2);
    for _ in 0..100 {
        cluster.inject(2, &answer);
    }
    cluster.drive_for(ms(10));
    assert_eq!(cluster.total(|counters| counters.mesh.handed_over), 0);
    assert_eq!(cluster.counters(2).drops.filtered, 100);
}

#[test]
fn a_first_shard_that_begins_anew_asks_for_its_lease_and_nobody_loses_the_address_meanwhile() {
    let mut cluster = unconfigured(&[0, 1, 2, 3], 19);
    start(&mut cluster);
    let mut server = Server::new(1);
    server.serve_for(&mut cluster, 12);
    for _ in 0..2 {
        // Twice, and the second time before the client has heard of anybody.
        let applied = cluster.shard(0).dhcp_applied();
        cluster.replace(0);
        cluster.shard_mut(0).install_filter(Box::new(DhcpFilter));
        cluster.shard_mut(0).dhcp_start(&DhcpConfig::default(), None, applied).unwrap();
        cluster.drive_for(ms(5));
        assert_eq!(state(&cluster), DhcpState::Rebooting);
        assert_eq!(addresses(&cluster), vec![vec![IpAddr::V4(LEASED)]; 4]);
    }
    server.serve_for(&mut cluster, 12);
    assert_eq!((state(&cluster), server.heard.last()), (DhcpState::Bound, Some(&3)));
    assert_eq!(addresses(&cluster), vec![vec![IpAddr::V4(LEASED)]; 4]);
}

#[test]
fn every_shard_sends_from_what_one_was_granted() {
    let mut cluster = unconfigured(&[0, 1, 2, 3], 11);
    start(&mut cluster);
    Server::new(1).serve_for(&mut cluster, 12);
    let server = cluster.peer.udp_bind(53);
    let to = cluster.peer.at(53);
    for shard in 0..4 {
        let socket = cluster.udp_bind(shard, 0, false);
        let transmit = UdpTransmit { destination: Some(to), ..UdpTransmit::default() };
        cluster.shard_mut(shard).udp_send(socket, &transmit, b"here").unwrap();
        assert!(cluster.drive_until(|it| it.peer.counters().udp.received == shard as u64 + 1, secs(1)));
    }
    let from = cluster.peer.udp_recv_all(server);
    assert!(from.iter().all(|(from, _): &(SocketAddr, _)| from.ip() == IpAddr::V4(LEASED)));
}
