//! Datagrams.

use sunstar_sim::{Impairments, ms, secs};
use tokio::time::{Instant, timeout};

use super::{slow, two_hosts};

#[test]
fn a_datagram_is_asked_again_until_its_answer_comes() {
    let (network, server, client) = two_hosts(1, Impairments { loss: 0.5, ..slow(ms(10)) });
    let run = network.run(async {
        let service = server.net().udp_bind("0.0.0.0:53").await.unwrap();
        server.net().spawn(async move {
            let mut question = [0; 100];
            while let Ok((len, peer)) = service.recv_from(&mut question).await {
                service.send_to(&question[..len], peer).await.unwrap();
            }
        });
        let socket = client.net().udp_bind("0.0.0.0:0").await.unwrap();
        let (mut answer, mut asked) = ([0; 100], 0);
        for number in 0..20_u8 {
            loop {
                asked += 1;
                socket.send_to(&[number; 9], server.at(53)).await.unwrap();
                let received = timeout(secs(1), async {
                    // An answer may be late, to a question that was asked before.
                    while socket.recv_from(&mut answer).await.unwrap().0 != 9 || answer[0] != number {}
                });
                if received.await.is_ok() {
                    break;
                }
            }
        }
        asked
    });
    let run = run.unwrap();
    assert!(run.output > 40, "three of four are lost one way or the other: {}", run.output);
    assert!(run.elapsed > secs(20) && run.elapsed < secs(300), "it took {:?}", run.elapsed);
}

#[test]
fn a_port_without_a_socket_is_told_in_one_round_trip() {
    let (network, server, client) = two_hosts(2, slow(ms(10)));
    let run = network.run(async {
        let socket = client.net().udp_bind("0.0.0.0:0").await.unwrap();
        socket.connect(server.at(9)).unwrap();
        socket.send(b"?").await.unwrap();
        assert!(socket.recv(&mut [0; 9]).await.is_err());
        let before = Instant::now();
        socket.send(b"?").await.unwrap();
        let error = socket.recv(&mut [0; 9]).await.unwrap_err();
        (error.kind(), before.elapsed())
    });
    assert_eq!(run.unwrap().output, (std::io::ErrorKind::ConnectionRefused, ms(20)));
}
