//! A host on smoltcp: an interface, servers at our servers' port, and clients that open connections to us.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::{EthernetAddress, IpCidr};
use sunstar_sim::{Breach, Dialogue, Errand, Foreign, PORT};
use sunstar_stack::time::Instant;

use crate::session::{Ending, Progress, Session};

/// Where the ports of its clients begin.
const FIRST_PORT: u16 = 50_000;

/// What of the host's TCP is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes of each socket's two buffers. Windows are scaled from 64 KiB on.
    pub(crate) buffers: usize,
    /// How long it may keep an acknowledgement back.
    pub(crate) ack_delay: Option<Duration>,
    /// Whether it has congestion control: Reno's. Else it sends as much as our window takes.
    pub(crate) reno: bool,
    /// Whether it has timestamps.
    pub(crate) timestamps: bool,
    /// Whether it ends its stream as soon as it has said everything, though the other's goes on.
    pub(crate) eager: bool,
    /// Connections that may be opened to it before it has turned to them.
    pub(crate) listeners: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            buffers: 256 << 10,
            ack_delay: Some(Duration::from_millis(10)),
            reno: false,
            timestamps: false,
            eager: false,
            listeners: 4,
        }
    }
}

/// A host on smoltcp, of which the world has one hand and the test the other.
#[derive(Clone)]
pub(crate) struct Smoltcp(Rc<RefCell<Host>>);

struct Host {
    settings: Settings,
    interface: Interface,
    wire: Wire,
    /// None is ever removed. A segment goes to the first that wants it, and a SYN that is sent again has to find the socket that
    /// has answered before one that listens.
    sockets: SocketSet<'static>,
    listening: Vec<SocketHandle>,
    /// With the number of the errand, if it is one of its own.
    sessions: Vec<(SocketHandle, Option<usize>, Session)>,
    /// Errands that are still to be begun, in the order of their times.
    waiting: VecDeque<(Instant, Ipv4Addr, Errand)>,
    endings: Vec<Option<Ending>>,
    served: Vec<Ending>,
    /// Sessions that were over when the ends of both streams had crossed.
    crossed: usize,
    breach: Option<Breach>,
}

impl Smoltcp {
    /// A host with this number behind the machines.
    pub(crate) fn new(number: usize, settings: Settings) -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(EthernetAddress([0x02, 0, 0, 0, 3, number as u8 + 1]).into());
        config.random_seed = 0x5eed + number as u64;
        let mut interface = Interface::new(config, &mut wire, smoltcp::time::Instant::ZERO);
        let address = Ipv4Addr::new(10, 0, 0, number as u8 + 1);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(address.into(), 24)).unwrap();
        });
        let host = Host {
            settings,
            interface,
            wire,
            sockets: SocketSet::new(Vec::new()),
            listening: Vec::new(),
            sessions: Vec::new(),
            waiting: VecDeque::new(),
            endings: Vec::new(),
            served: Vec::new(),
            crossed: 0,
            breach: None,
        };
        Self(Rc::new(RefCell::new(host)))
    }

    /// Opens a connection at a time that is not before that of the errand before, and does this over it.
    pub(crate) fn begin(&self, at: Instant, to: Ipv4Addr, errand: Errand) {
        let mut host = self.0.borrow_mut();
        host.waiting.push_back((at, to, errand));
        host.endings.push(None);
    }

    /// Whether all errands of its own have ended, or something has gone wrong.
    pub(crate) fn is_done(&self) -> bool {
        let host = self.0.borrow();
        host.breach.is_some() || host.endings.iter().all(Option::is_some)
    }

    /// How its own errands have ended.
    pub(crate) fn endings(&self) -> Vec<Option<Ending>> {
        self.0.borrow().endings.clone()
    }

    /// How those of others have ended that it has served; the good ones first.
    pub(crate) fn served(&self) -> Vec<Ending> {
        let mut served = self.0.borrow().served.clone();
        served.sort();
        served
    }

    /// How many sessions were over when the ends of both streams had crossed.
    pub(crate) fn crossed(&self) -> usize {
        self.0.borrow().crossed
    }

    /// What it has received and should not have.
    pub(crate) fn breach(&self) -> Option<Breach> {
        self.0.borrow().breach.clone()
    }
}

impl Foreign for Smoltcp {
    fn receive(&mut self, _: Instant, frame: &[u8]) {
        self.0.borrow_mut().wire.inbox.push_back(frame.to_vec());
    }

    fn turn(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let host = &mut *self.0.borrow_mut();
        loop {
            host.interface.poll(time(now), &mut host.wire, &mut host.sockets);
            if !host.act(now) {
                return std::mem::take(&mut host.wire.outbox);
            }
        }
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let host = &mut *self.0.borrow_mut();
        let protocols = host.interface.poll_at(time(now), &host.sockets);
        let protocols = protocols.map(|at| Instant::from_micros(at.total_micros() as u64));
        let waiting = host.waiting.front().map(|(at, ..)| *at);
        let sessions = host.sessions.iter().filter_map(|(_, _, session)| session.deadline());
        sessions.chain(waiting).chain(protocols).min()
    }
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}

impl Host {
    /// Has everybody do what can be done; whether anybody has.
    fn act(&mut self, now: Instant) -> bool {
        let mut acted = self.begin_waiting(now);
        acted |= self.accept();
        for (handle, number, mut session) in std::mem::take(&mut self.sessions) {
            match session.act(self.sockets.get_mut(handle), now) {
                Ok(progress @ (Progress::None | Progress::Some)) => {
                    acted |= matches!(progress, Progress::Some);
                    self.sessions.push((handle, number, session));
                }
                Ok(Progress::Ended(ending)) => {
                    acted = true;
                    self.crossed += usize::from(self.sockets.get::<Socket>(handle).state() == State::Closing);
                    match number {
                        Some(number) => self.endings[number] = Some(ending),
                        None => self.served.push(ending),
                    }
                }
                Err(breach) => {
                    self.breach.get_or_insert(breach);
                }
            }
        }
        acted
    }

    fn begin_waiting(&mut self, now: Instant) -> bool {
        let mut begun = false;
        while let Some((_, to, errand)) = self.waiting.pop_front_if(|(at, ..)| *at <= now) {
            let number = self.endings.len() - self.waiting.len() - 1;
            let mut socket = self.socket();
            let remote = (smoltcp::wire::IpAddress::from(to), PORT);
            socket.connect(self.interface.context(), remote, FIRST_PORT + number as u16).unwrap();
            let handle = self.sockets.add(socket);
            self.sessions.push((
                handle,
                Some(number),
                Session::new(Dialogue::client(errand), self.settings.eager),
            ));
            begun = true;
        }
        begun
    }

    /// Has as many sockets listen as there should be; one that has met a client has a session from then on.
    fn accept(&mut self) -> bool {
        let mut accepted = false;
        for handle in std::mem::take(&mut self.listening) {
            match self.sockets.get::<Socket>(handle).state() {
                State::Listen | State::SynReceived => self.listening.push(handle),
                _ => {
                    self.sessions.push((handle, None, Session::new(Dialogue::server(), self.settings.eager)));
                    accepted = true;
                }
            }
        }
        while self.listening.len() < self.settings.listeners {
            let mut socket = self.socket();
            socket.listen(PORT).unwrap();
            self.listening.push(self.sockets.add(socket));
        }
        accepted
    }

    fn socket(&self) -> Socket<'static> {
        let buffer = || SocketBuffer::new(vec![0; self.settings.buffers]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_congestion_control(match self.settings.reno {
            true => CongestionControl::Reno,
            false => CongestionControl::None,
        });
        socket.set_ack_delay(self.settings.ack_delay.map(Into::into));
        if self.settings.timestamps {
            // A clock that need not be right: it only has to be echoed.
            socket.set_tsval_generator(Some(|| 0x5eed));
        }
        socket
    }
}

/// What joins the interface to the world: frames that came, and frames that go.
#[derive(Debug, Default)]
struct Wire {
    inbox: VecDeque<Vec<u8>>,
    outbox: Vec<Vec<u8>>,
}

impl Device for Wire {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(RxToken, TxToken<'_>)> {
        let frame = self.inbox.pop_front()?;
        Some((RxToken(frame), TxToken(&mut self.outbox)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1_514;
        capabilities
    }
}

struct RxToken(Vec<u8>);

impl smoltcp::phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

struct TxToken<'a>(&'a mut Vec<Vec<u8>>);

impl smoltcp::phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        self.0.push(frame);
        result
    }
}
