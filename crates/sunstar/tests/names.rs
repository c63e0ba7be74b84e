//! Names: asked for over the stack's own sockets, from a name server on another host.

mod common;

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use common::{A, Meeting, alone, threads, two_hosts_that};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata;
use hickory_resolver::proto::rr::{RData, Record};
use sunstar::wire::WireConfig;
use sunstar::{Builder, Net};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

fn resolver(host: Builder) -> Builder {
    host.name_server((A, 53).into()).search_domain("test")
}

/// A zone of three names: one has an address, one has more of them than a datagram holds, one has none.
fn answer(question: &Message) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.add_queries(question.queries.clone());
    let name = question.queries[0].name().clone();
    let address = |last: u8| {
        let address = RData::A(rdata::A::from(Ipv4Addr::from([10, 0, 0, last])));
        Record::from_rdata(name.clone(), 3_600, address)
    };
    match name.to_lowercase().to_string().as_str() {
        "one.test." => drop(answer.add_answer(address(77))),
        "many.test." => drop(answer.add_answers((1..=200).map(address))),
        "none.test." => {}
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer
}

/// Answers until the other host has met it. How many questions came by datagram, and by connection.
async fn serve(net: Net, meeting: Meeting) -> (usize, usize) {
    let asked = Rc::new(Cell::new((0, 0)));
    let socket = net.udp_bind("0.0.0.0:53").await.unwrap();
    let listener = net.tcp_bind("0.0.0.0:53").await.unwrap();
    let (by_datagram, by_connection) = (Rc::clone(&asked), Rc::clone(&asked));
    let datagrams = net.spawn(async move {
        let mut buffer = [0; 1_500];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            by_datagram.set((by_datagram.get().0 + 1, by_datagram.get().1));
            let mut answer = answer(&Message::from_vec(&buffer[..len]).unwrap());
            if answer.answers.len() > 20 {
                answer = answer.truncate();
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let connections = net.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Ok(len) = stream.read_u16().await {
                by_connection.set((by_connection.get().0, by_connection.get().1 + 1));
                let mut question = vec![0; len.into()];
                stream.read_exact(&mut question).await.unwrap();
                let answer = answer(&Message::from_vec(&question).unwrap()).to_vec().unwrap();
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    meeting.wait().await;
    meeting.wait().await;
    datagrams.abort();
    connections.abort();
    asked.get()
}

#[test]
fn a_name_is_asked_for_once_and_then_known() {
    let (asked, ()) = two_hosts_that(resolver, &WireConfig::default(), serve, |net, meeting| async move {
        meeting.wait().await;
        for name in ["one.test.", "one.test", "one"] {
            assert_eq!(net.resolve(name).await.unwrap(), [IpAddr::from(ADDRESS)], "{name}");
        }
        assert_eq!(net.resolve("10.1.2.3").await.unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        meeting.wait().await;
    });
    assert_eq!(asked, (1, 0));
}

#[test]
fn what_does_not_fit_into_a_datagram_is_asked_for_over_a_connection() {
    let (asked, ()) = two_hosts_that(resolver, &WireConfig::default(), serve, |net, meeting| async move {
        meeting.wait().await;
        let mut found = net.resolve("many.test").await.unwrap();
        found.sort();
        assert_eq!(found, (1..=200).map(|last| IpAddr::from([10, 0, 0, last])).collect::<Vec<_>>());
        meeting.wait().await;
    });
    assert_eq!(asked, (1, 1));
}

#[test]
fn a_name_that_is_not_there_and_one_without_an_address_are_told_apart() {
    two_hosts_that(resolver, &WireConfig::default(), serve, |net, meeting| async move {
        meeting.wait().await;
        let missing = net.resolve("missing.test.").await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert_eq!(missing.to_string(), "there is no name `missing.test.`");
        let none = net.resolve("none.test.").await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
        assert_eq!(none.to_string(), "`none.test.` has no IPv4 address");
        let no_name = net.resolve(&"a".repeat(64)).await.unwrap_err();
        assert_eq!(no_name.kind(), ErrorKind::InvalidInput);
        meeting.wait().await;
    });
}

#[test]
fn a_thread_that_is_no_shard_asks_too() {
    let threads = &threads();
    two_hosts_that(resolver, &WireConfig::default(), serve, |net, meeting| async move {
        meeting.wait().await;
        let remote = net.remote();
        let asks = threads.spawn(async move { remote.resolve("one").await });
        assert_eq!(asks.await.unwrap().unwrap(), [IpAddr::from(ADDRESS)]);
        meeting.wait().await;
    });
}

#[test]
fn a_stack_without_a_name_server_says_what_is_missing() {
    alone(|net| async move {
        let error = net.resolve("one.test").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("Builder::name_server"), "{error}");
    });
}
