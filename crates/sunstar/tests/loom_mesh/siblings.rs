//! Siblings that forward packets and tell messages, and sleep.

use loom::thread;
use sunstar_packet::{Loan, Memory, Packet, Pool};
use sunstar_stack::steering::ShardId;
use sunstar_stack::{Arrival, Control, InterfaceId, Mesh};

use crate::mesh::{MeshConfig, MeshEnd, join};
use crate::{explore, messages, pool};

const ARRIVAL: Arrival = Arrival::frame(InterfaceId::DEVICE);

/// One end for each of so many shards, with rings for so many packets, and for as many messages.
fn ends<const SHARDS: usize>(room: usize) -> [MeshEnd; SHARDS] {
    join(SHARDS as u16, &MeshConfig { packets: room, messages: room }).unwrap().try_into().unwrap()
}

/// A packet that says who sends it, and which of its packets it is.
fn lend(pool: &Pool, from: u8, number: u8) -> Loan {
    Packet::new(pool.copy_of(&[from, number]).unwrap()).lend(pool).unwrap()
}

/// What a shard has received.
struct Reader {
    end: MeshEnd,
    /// By sender.
    packets: [Vec<u8>; 3],
    /// By sender.
    heard: [Vec<Control>; 3],
}

impl Reader {
    fn new(end: MeshEnd) -> Self {
        Self { end, packets: Default::default(), heard: Default::default() }
    }

    fn look(&mut self) {
        while let Some((arrival, loan)) = self.end.receive() {
            let bytes = loan.pieces().next().unwrap();
            assert_eq!(arrival, ARRIVAL);
            self.packets[usize::from(bytes[0])].push(bytes[1]);
        }
        while let Some((from, message)) = self.end.hear() {
            self.heard[usize::from(from.0)].push(message);
        }
    }

    /// Looks, and sleeps, until so much has come in all; as a driver does.
    fn read(&mut self, packets: usize, messages: usize) {
        loop {
            self.look();
            let total = (self.packets.concat().len(), self.heard.concat().len());
            if total == (packets, messages) {
                return;
            }
            assert!(total.0 <= packets && total.1 <= messages, "something came twice");
            if !self.end.arm(false) {
                self.end.alarm().sleep();
            }
        }
    }
}

#[test]
fn what_two_siblings_send_to_a_third_arrives_once_and_in_order_and_wakes_it() {
    explore(2, || {
        let [reader, mut one, mut two] = ends(2);
        let pool = pool(&Memory::new());
        let packets = [lend(&pool, 1, 0), lend(&pool, 1, 1)];
        let forwards = thread::spawn(move || {
            for packet in packets {
                one.forward(ShardId(0), ARRIVAL, packet).unwrap();
                one.flush();
            }
        });
        let tells = thread::spawn(move || {
            for message in &messages()[..2] {
                assert!(two.tell(ShardId(0), *message));
            }
            two.flush();
        });
        let mut reader = Reader::new(reader);
        reader.read(2, 2);
        assert_eq!(reader.packets[1], [0, 1]);
        assert_eq!(reader.heard[2], messages()[..2]);
        forwards.join().unwrap();
        tells.join().unwrap();
    });
}

#[test]
fn a_packet_and_a_message_of_one_turn_wake_their_reader_once_and_for_both() {
    explore(3, || {
        let [reader, mut writer] = ends(2);
        let pool = pool(&Memory::new());
        let packet = lend(&pool, 1, 0);
        let writer = thread::spawn(move || {
            writer.forward(ShardId(0), ARRIVAL, packet).unwrap();
            assert!(writer.tell(ShardId(0), messages()[0]));
            writer.flush();
        });
        Reader::new(reader).read(1, 1);
        writer.join().unwrap();
    });
}

#[test]
fn two_siblings_that_each_wait_for_the_others_word_both_wake() {
    explore(3, || {
        let say_and_hear = |mut end: MeshEnd| {
            let sibling = ShardId(1 - end.shard().0);
            for message in &messages()[..2] {
                assert!(end.tell(sibling, *message));
                end.flush();
            }
            let mut reader = Reader::new(end);
            reader.read(0, 2);
            assert_eq!(reader.heard[usize::from(sibling.0)], messages()[..2]);
        };
        let [here, there] = ends(2);
        let there = thread::spawn(move || say_and_hear(there));
        say_and_hear(here);
        there.join().unwrap();
    });
}

#[test]
fn what_finds_a_full_ring_comes_back_and_arrives_when_it_is_sent_again() {
    explore(3, || {
        let [reader, mut writer] = ends(1);
        let pool = pool(&Memory::new());
        let packets = [lend(&pool, 1, 0), lend(&pool, 1, 1)];
        let writer = thread::spawn(move || {
            for (mut packet, message) in packets.into_iter().zip(messages()) {
                while let Err(back) = writer.forward(ShardId(0), ARRIVAL, packet) {
                    packet = back;
                    thread::yield_now();
                }
                writer.flush();
                while !writer.tell(ShardId(0), *message) {
                    thread::yield_now();
                }
                writer.flush();
            }
        });
        let mut reader = Reader::new(reader);
        reader.read(2, 2);
        assert_eq!(reader.packets[1], [0, 1]);
        assert_eq!(reader.heard[1], messages()[..2]);
        writer.join().unwrap();
    });
}

#[test]
fn a_shard_that_a_timer_woke_misses_nothing_with_its_old_request_standing() {
    explore(3, || {
        let [reader, mut writer] = ends(2);
        let writer = thread::spawn(move || {
            for message in &messages()[..2] {
                assert!(writer.tell(ShardId(0), *message));
                writer.flush();
            }
        });
        let mut reader = Reader::new(reader);
        let _ = reader.end.arm(false);
        reader.read(0, 2);
        writer.join().unwrap();
    });
}

#[test]
fn a_buffer_that_crossed_is_home_and_can_be_written_when_its_readers_word_is_heard() {
    explore(3, || {
        let [reader, writer] = ends(2);
        let reader = thread::spawn(move || {
            let mut reader = Reader::new(reader);
            reader.read(1, 0);
            assert_eq!(reader.packets[1], [7]);
            assert!(reader.end.tell(ShardId(1), messages()[0]));
            reader.end.flush();
        });
        let pool = pool(&Memory::new());
        let mut writer = Reader::new(writer);
        writer.end.forward(ShardId(0), ARRIVAL, lend(&pool, 1, 7)).unwrap();
        writer.end.flush();
        writer.read(0, 1);
        pool.collect();
        assert_eq!(pool.buffers_out(), 0);
        let buffers = [(); 4].map(|()| pool.copy_of(&[9]).unwrap());
        reader.join().unwrap();
        drop(buffers);
    });
}
