//! A peer that speaks enough TCP to reach every state, and is wrong by a little wherever it likes: numbers beside the right
//! ones, flags that contradict each other, options of any kind, at any time of the application's calls.
//!
//! The simulator looks at everything the host says, and that nothing is left behind. Here is looked at what only both ends
//! together know: that the streams are the ones that were written, that states follow each other as RFC 9293 has it, that
//! a RST ends a connection where it has to and nowhere else (RFC 5961), and that whatever waits has a timer that ends it.

mod action;
mod flow;
mod states;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use sunstar_sim::decode::{Body, Transport};
use sunstar_sim::{Script, Tcp, ms, secs, tcp};
use sunstar_stack::{Keepalive, ListenOptions, ListenerKey, Shutdown, State, TcpInfo};
use sunstar_wire::tcp::TcpFlags;

pub use action::{Action, Options, Place, Right, Said, Scenario, Wait};
use flow::{Flow, byte_at};
pub use states::{Reached, Seen};
use states::{is_synchronized, may_follow};

/// Where the host listens.
const PORT: u16 = 80;
/// Connections from the peer's side; those from the host's come behind them.
const STRANGERS: u16 = 3;
/// What is done at most.
const MAX_ACTIONS: usize = 128;
/// Connections at most, from either side.
const MAX_FLOWS: usize = 8;

/// Plays a scenario; which states were seen.
///
/// # Panics
/// When the host does something wrong.
pub fn check(scenario: &Scenario) -> Reached {
    let mut play = Play::new(scenario);
    for action in scenario.actions.iter().take(MAX_ACTIONS) {
        play.act(action);
    }
    play.script.finish();
    play.reached
}

struct Play {
    script: Script,
    listener: Option<ListenerKey>,
    flows: Vec<Flow>,
    /// The states of the flows that have a connection which is not over.
    states: Vec<Option<State>>,
    /// Whose turn it is.
    at: usize,
    stalled: bool,
    reached: Reached,
}

impl Play {
    fn new(scenario: &Scenario) -> Self {
        let mut script = Script::builder()
            .host(|host| {
                (host.pool.small_count, host.pool.staging_count, host.pool.max_loans) = (2_048, 16, 4_096)
            })
            .tcp(|tcp| {
                (tcp.timestamps, tcp.sack, tcp.window_scaling) =
                    (scenario.timestamps, scenario.sack, scenario.scaling);
                (tcp.max_time_wait, tcp.syn_backlog, tcp.max_orphans) = (2, 2, 2);
                if scenario.small {
                    (tcp.send_buffer, tcp.receive_buffer) = (4_096, 4_096);
                }
            })
            .build();
        let listener = script.host.listen_with(PORT, ListenOptions { backlog: 2, shared: false });
        let flows = (0..STRANGERS).map(|number| Flow::new((4_000 + number, PORT), scenario.isn)).collect();
        Self {
            script,
            listener: Some(listener),
            flows,
            states: vec![None; STRANGERS.into()],
            at: 0,
            stalled: false,
            reached: Reached::from([Seen::Listen]),
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Right(right) => return self.say(&self.in_turn(*right)),
            Action::Say(said) => return self.say(said),
            Action::Turn(to) => self.at = usize::from(*to) % self.flows.len(),
            Action::Wait(wait) => {
                self.script.drive_for(match *wait {
                    Wait::Millis(count) => ms(count.into()),
                    Wait::Tenths(count) => ms(100 * u64::from(count)),
                    Wait::Seconds(count) => secs(count.into()),
                    Wait::Minutes(count) => secs(60 * u64::from(count)),
                });
            }
            Action::Stall(true) => {
                self.script.host.stall();
                self.stalled = true;
            }
            Action::Stall(false) => {
                self.script.host.resume();
                self.stalled = false;
            }
            Action::Icmp { kind, mtu, off } => self.quote(*kind, *mtu, *off),
            Action::Connect => self.connect(),
            Action::Accept => self.accept(),
            Action::Listen => self.listen(),
            call => self.call(call),
        }
        self.script.settle();
        self.look(None);
    }

    fn connect(&mut self) {
        if self.flows.len() == MAX_FLOWS {
            return;
        }
        let to = SocketAddr::new(self.script.envelope.source.into(), PORT);
        let key = self.script.host.connect(to);
        let local = self.script.host.shard().tcp_local_addr(key).expect("it is being opened");
        let mut flow = Flow::new((PORT, local.port()), self.flows[0].next);
        flow.on_taken(key);
        self.at = self.flows.len();
        self.flows.push(flow);
        self.states.push(None);
    }

    fn accept(&mut self) {
        let Some(key) = self.listener.and_then(|listener| self.script.host.try_accept(listener)) else {
            return;
        };
        let peer = self.script.host.shard().tcp_peer_addr(key).expect("it was just accepted");
        let at = self.flows.iter().position(|flow| flow.ports == (peer.port(), PORT));
        self.at = at.expect("only the peer's ports open connections");
        self.flows[self.at].on_taken(key);
    }

    fn listen(&mut self) {
        match self.listener.take() {
            Some(listener) => self.script.host.close_listener(listener),
            None => {
                let options = ListenOptions { backlog: 2, shared: false };
                self.listener = Some(self.script.host.listen_with(PORT, options));
            }
        }
    }

    /// What the application does with the connection whose turn it is, if it has one.
    fn call(&mut self, action: &Action) {
        let flow = &mut self.flows[self.at];
        let Some(key) = flow.key else { return };
        let host = &mut self.script.host;
        let seconds = |count: &Option<u8>| count.map(|count| secs(count.into()));
        match action {
            Action::Write(len) => {
                let bytes: Vec<u8> = (flow.written..flow.written + u32::from(*len)).map(byte_at).collect();
                flow.written += u32::from(*len);
                host.send(key, &bytes);
            }
            Action::Read(len) => {
                host.stop_reading(key);
                host.read_some(key, (*len).into());
            }
            Action::ReadOn => host.start_reading(key),
            Action::Shutdown => host.shutdown(key),
            Action::ShutdownRead => {
                flow.read_shut |= host.shard_mut().tcp_shutdown(key, Shutdown::Read).is_ok();
            }
            Action::Close => {
                flow.key = None;
                host.close(key);
            }
            Action::Abort => {
                flow.key = None;
                host.abort(key);
            }
            // A connection that is gone takes no settings.
            Action::NoDelay(nodelay) => {
                let _ = host.shard_mut().tcp_set_nodelay(key, *nodelay);
            }
            Action::Linger(linger) => {
                let _ = host.shard_mut().tcp_set_linger(key, seconds(linger));
            }
            Action::UserTimeout(timeout) => {
                let _ = host.shard_mut().tcp_set_user_timeout(key, seconds(timeout));
            }
            Action::Keepalive(idle) => {
                let every = |idle| Keepalive { idle, interval: idle, count: 3 };
                let _ = host.shard_mut().tcp_set_keepalive(key, seconds(idle).map(every));
            }
            other => unreachable!("{other:?} is no call on a connection"),
        }
    }

    /// An ICMP message that quotes what the host has said last.
    fn quote(&mut self, (kind, code): (u8, u8), mtu: u16, off: i8) {
        let Some(host) = &self.flows[self.at].host else { return };
        let mut quoted = host.packet.clone();
        if let Some(number) = quoted.get_mut(24..28).and_then(|bytes| bytes.first_chunk_mut()) {
            *number = u32::from_be_bytes(*number).wrapping_add_signed(off.into()).to_be_bytes();
        }
        let [high, low] = mtu.to_be_bytes();
        let frame = self.script.envelope.icmp(kind, code, [0, 0, high, low], &quoted);
        self.script.inject_frame(&frame);
    }

    /// What is right now: a SYN answers where the host has opened the connection, and else acknowledges nothing.
    fn in_turn(&self, right: Right) -> Said {
        let said = Said::from(right);
        let opens = self.states[self.at] != Some(State::SynSent);
        match right {
            Right::Open if opens => Said { flags: TcpFlags::SYN.0 as u8, ..said },
            _ => said,
        }
    }

    fn say(&mut self, said: &Said) {
        let clock = self.script.now().as_millis() as u32;
        let flow = &mut self.flows[self.at];
        let host = flow.host.as_ref();
        let expected = host.map_or(flow.next, |host| host.ack);
        let edge = host.map_or(0, |host| u32::from(host.window) << host.scale);
        let seq = match said.seq {
            Place::Right => expected,
            Place::Last => flow.next,
            Place::Near(off) => expected.wrapping_add_signed(off.into()),
            Place::Edge(off) => expected.wrapping_add(edge).wrapping_add_signed(off.into()),
            Place::Any(number) => number,
        };
        let all = host.map_or(0, |host| host.end);
        let ack = match said.ack {
            Place::Right => all,
            Place::Last => flow.acknowledged,
            Place::Near(off) => all.wrapping_add_signed(off.into()),
            Place::Edge(off) => flow.acknowledged.wrapping_add_signed(off.into()),
            Place::Any(number) => number,
        };
        let flags = TcpFlags(u16::from(said.flags) & 0x3f);
        let syn = flags.contains(TcpFlags::SYN);
        let first = seq.wrapping_add(u32::from(syn));
        let payload: Vec<u8> =
            (0..u32::from(said.len % 1_461)).map(|at| byte_at(first.wrapping_add(at))).collect();
        let echo = host.and_then(|host| host.clock);
        let mut segment = tcp().flags(flags).seq(seq).ack_number(ack).win(said.window).data(&payload);
        if flags.contains(TcpFlags::URG) {
            segment = segment.urgent(said.window);
        }
        segment = match &said.options {
            Options::Usual => usual(segment, syn, clock, echo),
            Options::Old(seconds) => {
                segment.ts(clock.wrapping_sub(1_000 * u32::from(*seconds)), echo.unwrap_or(0))
            }
            Options::Opening { mss, scale, sack, timestamps } => {
                let segment = segment.mss(*mss);
                let segment = scale.iter().fold(segment, |segment, shift| segment.wscale(*shift));
                let segment = if *sack { segment.sack_ok() } else { segment };
                if *timestamps { segment.ts(clock, echo.unwrap_or(0)) } else { segment }
            }
            Options::Sack(blocks) => {
                let blocks = blocks.map(|(left, len)| {
                    let left = ack.wrapping_add_signed(left.into());
                    (left, left.wrapping_add(len.into()))
                });
                // Three blocks are as many as there is room for beside timestamps.
                usual(segment, syn, clock, echo.filter(|_| !syn)).sack(&blocks[..if syn { 2 } else { 3 }])
            }
            Options::Bytes(bytes) => segment.option(bytes),
        };
        let far = matches!(said.seq, Place::Any(_) | Place::Edge(_));
        let exact = seq == expected;
        flow.on_said(flags, seq, payload.len(), far);
        if flags.contains(TcpFlags::ACK) {
            flow.acknowledged = ack;
        }
        let frame = segment.frame(&self.script.envelope, flow.ports, 0, 0);
        let before = live(&self.script, flow.ports);
        self.script.inject_frame(&frame);
        // What is malformed is not even looked at.
        let readable = !matches!(said.options, Options::Bytes(_));
        let told = !self.stalled;
        self.look(before.filter(|_| readable).map(|info| Judged { info, flags, exact, told }));
    }

    /// Looks at everything that follows from what has happened; `judged` is what has just been said, and to whom.
    fn look(&mut self, judged: Option<Judged>) {
        for heard in self.script.heard() {
            let Body::Ip(ip, Transport::Tcp(segment)) = &heard.frame.body else { continue };
            let ports = (segment.destination.port(), segment.source.port());
            let flow = self.flows.iter_mut().find(|flow| flow.ports == ports);
            flow.expect("the host speaks to the peer's ports alone").on_heard(segment, &heard.bytes[ip.at..]);
        }
        for at in 0..self.flows.len() {
            self.read(at);
            let ports = self.flows[at].ports;
            let now = live(&self.script, ports);
            if let Some(info) = &now {
                let before = self.states[at];
                assert!(may_follow(before, info.state), "{:?} follows {before:?}", info.state);
                assert_is_waited_for(info, self.stalled);
                self.reached.insert(info.state.into());
            }
            self.states[at] = now.map(|info| info.state);
        }
        if let Some(judged) = judged {
            judged.judge(self.states[self.at]);
        }
        if self.script.host.shard().tcp_time_wait() > 0 {
            self.reached.insert(Seen::TimeWait);
        }
    }

    fn read(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        let Some(key) = flow.key else { return };
        let host = &mut self.script.host;
        flow.on_read(&host.take_received(key));
        if host.has_ended(key) && !flow.read_shut {
            flow.on_end();
        }
        if host.info(key).is_some_and(|info| info.state == State::Closed) {
            self.reached.insert(Seen::Closed);
        }
    }
}

/// A segment as it was put before a connection.
struct Judged {
    /// The connection before it came.
    info: TcpInfo,
    flags: TcpFlags,
    /// Whether it was of the number that the host had said it expects.
    exact: bool,
    /// Whether the host could say what it expects.
    told: bool,
}

impl Judged {
    /// RFC 5961: what a RST and a SYN may do to a connection.
    fn judge(&self, after: Option<State>) {
        let Self { info, flags, exact, told } = self;
        let controls = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
        let only = |flag| flags.contains(flag) && !flags.intersects(controls.without(flag));
        // What arrived since the host has spoken is not known exactly.
        let told = *told && info.timers.delayed_ack_us.is_none();
        if only(TcpFlags::RST) && told && is_synchronized(info.state) {
            if *exact {
                assert_eq!(after, None, "a RST where it was expected");
            } else {
                assert_eq!(after, Some(info.state), "a RST where it was not expected");
            }
        }
        if only(TcpFlags::SYN) && is_synchronized(info.state) {
            assert_eq!(after, Some(info.state), "a SYN on an open connection");
        }
    }
}

/// The connection between two ports that is not over.
fn live(script: &Script, (remote, local): (u16, u16)) -> Option<TcpInfo> {
    let here = |info: &TcpInfo| (info.remote.port(), info.local.port()) == (remote, local);
    let mut found =
        script.host.shard().tcp_connections().filter(|info| here(info) && info.state != State::Closed);
    let first = found.next();
    assert!(found.next().is_none(), "two connections between the same ports");
    first
}

/// Invariant 8: what waits for the peer does not wait for ever.
fn assert_is_waited_for(info: &TcpInfo, stalled: bool) {
    let timers = &info.timers;
    let any = [timers.retransmit_us, timers.persist_us, timers.next_hop_us];
    let running = any.iter().any(Option::is_some);
    assert!(info.flight == 0 || running, "nothing waits for what is in flight: {info:?}");
    let shut = info.snd_wnd == 0 && info.send_queue > 0 && is_synchronized(info.state);
    assert!(!shut || running || stalled, "nothing looks at the closed window: {info:?}");
}

/// What belongs on a segment.
fn usual(segment: Tcp, syn: bool, clock: u32, echo: Option<u32>) -> Tcp {
    let segment = if syn { segment.mss(1_460) } else { segment };
    match echo {
        Some(echo) => segment.ts(clock, echo),
        None => segment,
    }
}
