//! `sunstar ping`: ICMP echo requests (RFC 792, RFC 1122 section 3.2.2.6) from a stack of one's own.

mod session;
mod statistics;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use sunstar::{EchoAnswer, EchoReply, EchoRequest, EchoSocket, Net, SocketError};
use tokio::time::MissedTickBehavior;

use crate::answers;
use crate::failure::Failure;
use crate::network;
use crate::options::PingOptions;
use crate::output::Output;
use crate::signals::Signals;
use session::{Session, Verdict};
use statistics::{Statistics, millis};

/// Bytes of an IPv4 header without options, and of an echo request's (RFC 791, RFC 792).
const HEADERS: usize = 20 + 8;

/// Pings until all is answered or given up, or a signal says to stop; whether anything was answered.
///
/// # Errors
/// The network cannot be run, the host's name has no address, or a request cannot be sent.
pub(crate) fn run(options: PingOptions) -> Result<bool, Failure> {
    // There is no connection to wait for at the end.
    let builder = network::with_names(network::builder(&options.network, &[]), &options.names);
    let builder = builder.shutdown_deadline(Duration::ZERO);
    let statistics = builder.run(|net| ping(net, options))??;
    Ok(statistics.received > 0)
}

async fn ping(net: Net, options: PingOptions) -> Result<Statistics, Failure> {
    let mut signals = Signals::listen()?;
    let output = Output::new(options.json);
    let address = tokio::select! {
        found = network::resolve(&net, &options.host) => found?,
        () = signals.next() => return Ok(Statistics::default()),
    };
    let socket = net.echo().await.map_err(Failure::Echo)?;
    let data: Vec<u8> = (0..options.size).map(|at| at as u8).collect();
    let mut session = Session::new(options.count, options.timeout);
    let mut interval = tokio::time::interval(options.interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let (host, size) = (&options.host, data.len());
    let heading = format!("PING {host} ({address}) {size}({}) bytes of data.", size + HEADERS);
    output.say(heading, json!({ "ping": host.to_string(), "address": address, "bytes": size }))?;
    let started = net.now();
    loop {
        let given_up = expiry(session.expire(net.now()));
        if session.is_over() {
            break;
        }
        tokio::select! {
            biased;
            () = signals.next() => break,
            reply = socket.recv() => {
                let reply = reply.map_err(Failure::Echo)?;
                match reply.answer {
                    EchoAnswer::Reply => report(output, &mut session, &reply, &data)?,
                    answer if session.on_error(reply.sequence) => {
                        complain(output, Some(&reply), reply.sequence, answer)?;
                    }
                    _ => {}
                }
            }
            _ = interval.tick(), if session.wants_to_send() => {
                let sent = tokio::select! {
                    biased;
                    () = signals.next() => break,
                    sent = send(&socket, &mut session, &net, (&options, address), &data) => sent?,
                };
                if let Err((sequence, answer)) = sent {
                    session.on_error(sequence);
                    complain(output, None, sequence, answer)?;
                }
            }
            () = given_up => {}
        }
    }
    let mut statistics = session.statistics;
    statistics.elapsed = net.now().saturating_since(started);
    let summary = format!("\n--- {host} ping statistics ---\n{statistics}");
    output.say(summary, json!({ "statistics": statistics.to_json() }))?;
    Ok(statistics)
}

/// Waits until the oldest request is given up; for ever if there is none.
async fn expiry(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}

/// Sends the next request. What the stack itself refuses as too big comes back as if a router had.
async fn send(
    socket: &EchoSocket,
    session: &mut Session,
    net: &Net,
    (options, address): (&PingOptions, Ipv4Addr),
    data: &[u8],
) -> Result<Result<(), (u16, EchoAnswer)>, Failure> {
    let sequence = session.on_send(net.now());
    let request = EchoRequest {
        sequence,
        ttl: options.ttl,
        may_fragment: !options.dont_fragment,
        broadcast: options.broadcast,
    };
    let sent = socket.send(address.into(), request, data).await;
    let Err(error) = sent else { return Ok(Ok(())) };
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(SocketError::MessageTooLong { limit, .. }) => {
            Ok(Err((sequence, EchoAnswer::TooBig { mtu: (limit + HEADERS) as u16 })))
        }
        Some(SocketError::BroadcastNotAllowed { .. }) => Err(Failure::Everyone(address)),
        _ => Err(Failure::Echo(error)),
    }
}

/// Prints what was said to a request instead of a reply, by a router or by the stack itself.
fn complain(output: Output, reply: Option<&EchoReply>, sequence: u16, answer: EchoAnswer) -> io::Result<()> {
    let from = reply.map(|reply| reply.from);
    let who = from.map_or_else(|| "local error".to_owned(), |from| format!("From {from}"));
    let text = format!("{who}: icmp_seq={sequence} {}", answers::in_words(answer));
    let mut json = answers::to_json(answer);
    json["from"] = json!(from);
    json["icmp_seq"] = json!(sequence);
    output.say(text, json!({ "error": json }))
}

fn report(output: Output, session: &mut Session, reply: &EchoReply, data: &[u8]) -> io::Result<()> {
    let (time, note) = match session.on_reply(reply.sequence, reply.at) {
        Verdict::Answer(time) => (time, ""),
        Verdict::Duplicate(time) => (time, " (DUP!)"),
        Verdict::Unexpected => return Ok(()),
    };
    // RFC 1122 section 3.2.2.6: the reply carries the request's data.
    let damaged = reply.payload.to_vec() != data;
    session.statistics.damaged += u64::from(damaged);
    let EchoReply { from, sequence, ttl, .. } = reply;
    // What the reply's ICMP message is long: its data and its header.
    let len = reply.payload.len() + 8;
    let text = format!(
        "{len} bytes from {from}: icmp_seq={sequence} ttl={ttl} time={:.3} ms{note}{}",
        millis(time),
        if damaged { " (DAMAGED!)" } else { "" }
    );
    let json = json!({
        "reply": { "from": from, "bytes": len, "icmp_seq": sequence, "ttl": ttl, "time_ms": millis(time),
                   "duplicate": !note.is_empty(), "damaged": damaged },
    });
    output.say(text, json)
}
