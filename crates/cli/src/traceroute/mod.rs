//! `sunstar traceroute`: the routers on the way to a host, found by ICMP echo requests with few hops to live (RFC 792).

mod hop;
mod probes;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use sunstar::{EchoRequest, EchoSocket, Net};

use crate::failure::Failure;
use crate::network;
use crate::options::TracerouteOptions;
use crate::output::Output;
use crate::signals::Signals;
use hop::{Answer, Hop};
use probes::Probes;

/// Bytes of an IPv4 header without options, and of an echo request's (RFC 791, RFC 792).
const HEADERS: usize = 20 + 8;

/// Looks for the way until it is found, or as many hops were looked at as the options say, or a signal says to stop;
/// whether the host answered.
///
/// # Errors
/// The network cannot be run, the host's name has no address, or a probe cannot be sent.
pub(crate) fn run(options: TracerouteOptions) -> Result<bool, Failure> {
    let builder = network::with_names(network::builder(&options.network, &[]), &options.names);
    // There is no connection to wait for at the end.
    builder.shutdown_deadline(Duration::ZERO).run(|net| traceroute(net, options))?
}

async fn traceroute(net: Net, options: TracerouteOptions) -> Result<bool, Failure> {
    let mut signals = Signals::listen()?;
    let output = Output::new(options.json);
    let address = tokio::select! {
        found = network::resolve(&net, &options.host) => found?,
        () = signals.next() => return Ok(false),
    };
    let socket = net.echo().await.map_err(Failure::Echo)?;
    let data: Vec<u8> = (0..options.size).map(|at| at as u8).collect();
    let mut probes = Probes::new(&options);

    let (host, max_hops, size) = (&options.host, options.max_hops, data.len() + HEADERS);
    let heading = format!("traceroute to {host} ({address}), {max_hops} hops max, {size} byte packets");
    let said = json!({
        "traceroute": host.to_string(), "address": address, "max_hops": max_hops, "bytes": size,
    });
    output.say(heading, said)?;
    'probing: loop {
        while let Some((sequence, ttl)) = probes.send_next(net.now()) {
            tokio::select! {
                biased;
                () = signals.next() => break 'probing,
                sent = send(&socket, (&options, address), sequence, ttl, &data) => sent?,
            }
        }
        let given_up = probes.expire(net.now());
        while let Some(hop) = probes.next_hop() {
            print(output, &hop)?;
        }
        let Some(given_up) = given_up else { break };
        tokio::select! {
            biased;
            () = signals.next() => break,
            reply = socket.recv() => {
                let reply = reply.map_err(Failure::Echo)?;
                let answer = Answer { from: reply.from, what: reply.answer, ttl: reply.ttl };
                probes.on_answer(reply.sequence, answer, reply.at);
            }
            () = tokio::time::sleep(given_up) => {}
        }
    }
    if output.is_json() {
        output.say("", json!({ "reached": probes.has_reached() }))?;
    }
    Ok(probes.has_reached())
}

async fn send(
    socket: &EchoSocket,
    (options, address): (&TracerouteOptions, Ipv4Addr),
    sequence: u16,
    ttl: u8,
    data: &[u8],
) -> Result<(), Failure> {
    let may_fragment = !options.dont_fragment;
    let request = EchoRequest { ttl, may_fragment, ..EchoRequest::new(sequence) };
    socket.send(address.into(), request, data).await.map_err(Failure::Echo)
}

fn print(output: Output, hop: &Hop) -> io::Result<()> {
    output.say(hop, hop.to_json())
}
