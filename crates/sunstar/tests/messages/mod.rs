//! Control messages for tests of what carries them.

use std::net::{Ipv4Addr, SocketAddr};

use sunstar_packet::{Capabilities, DeviceError, FrameSource, Loan, Packet, Pool, QueuePair};
use sunstar_stack::steering::{IndirectionTable, RssKey, ShardId, Steering, TableSize, Toeplitz};
use sunstar_stack::time::Instant;
use sunstar_stack::{Arrival, Control, Mesh, Shard, ShardConfig, ShardSetup};

/// So many control messages that differ from each other, as a real shard tells them.
pub(crate) fn control(count: u16, pool: Pool) -> Vec<Control> {
    struct Listener(Vec<Control>);
    impl Mesh for Listener {
        fn forward(&mut self, _: ShardId, _: Arrival, loan: Loan) -> Result<(), Loan> {
            Err(loan)
        }
        fn receive(&mut self) -> Option<(Arrival, Loan)> {
            None
        }
        fn tell(&mut self, _: ShardId, message: Control) -> bool {
            self.0.push(message);
            true
        }
        fn hear(&mut self) -> Option<(ShardId, Control)> {
            None
        }
    }
    struct Nothing;
    impl QueuePair for Nothing {
        fn capabilities(&self) -> Capabilities {
            Capabilities::ethernet([2, 0, 0, 0, 0, 1], 1_500)
        }
        fn pull(&mut self, _: &Pool, _: usize, _: &mut impl FrameSource) -> Result<usize, DeviceError> {
            Ok(0)
        }
        fn receive(&mut self, _: &Pool, _: usize, _: &mut Vec<Packet>) -> Result<usize, DeviceError> {
            Ok(0)
        }
    }
    let table = IndirectionTable::new(TableSize::Entries128, &[1, 1]).unwrap();
    let mut shard = Shard::new(ShardSetup {
        id: ShardId(1),
        config: ShardConfig::default(),
        seed: [7; 32],
        device: Nothing.capabilities(),
        pool,
        steering: Steering::new(Toeplitz::new(RssKey::MICROSOFT), table),
        incarnation: 0,
        configuration: Default::default(),
        now: Instant::ZERO,
    });
    // Each of them is a claim of its own.
    for port in 1..=count {
        shard.udp_bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).unwrap();
    }
    let mut listener = Listener(Vec::new());
    shard.turn(Instant::ZERO, &mut Nothing, &mut listener).unwrap();
    assert_eq!(listener.0.len(), usize::from(count));
    listener.0
}
