//! Who sends next: deficit round robin over the protocols (Shreedhar and Varghese, 1995), weighing bytes,
//! so that segments of 64 KiB do not starve a ping or an ARP reply.

use crate::ip::InterfaceId;

/// A protocol that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Provider {
    Neighbor = 0,
    Icmp = 1,
    Udp = 2,
    Tcp = 3,
    Igmp = 4,
    Dhcp = 5,
}

impl Provider {
    pub(crate) const ALL: [Provider; 6] =
        [Provider::Neighbor, Provider::Icmp, Provider::Udp, Provider::Tcp, Provider::Igmp, Provider::Dhcp];
}

/// Which protocols have something to say, for each interface.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Want {
    bits: [u8; InterfaceId::COUNT],
}

impl Want {
    pub(crate) fn set(&mut self, interface: InterfaceId, provider: Provider) {
        self.bits[usize::from(interface.0)] |= 1 << provider as u8;
    }

    pub(crate) fn clear(&mut self, interface: InterfaceId, provider: Provider) {
        self.bits[usize::from(interface.0)] &= !(1 << provider as u8);
    }

    pub(crate) fn has(&self, interface: InterfaceId, provider: Provider) -> bool {
        self.bits[usize::from(interface.0)] & (1 << provider as u8) != 0
    }

    pub(crate) fn any(&self, interface: InterfaceId) -> bool {
        self.bits[usize::from(interface.0)] != 0
    }
}

impl Provider {
    /// Bytes it may send before the next one's turn. What mostly answers others has an eighth of what sockets send by:
    /// whoever asks for more than the device carries does not take it away from them.
    const fn quantum(self) -> i64 {
        match self {
            Provider::Udp | Provider::Tcp => 16 << 10,
            Provider::Neighbor | Provider::Icmp | Provider::Igmp | Provider::Dhcp => 2 << 10,
        }
    }
}

/// The round robin of one interface.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundRobin {
    current: usize,
    deficit: [i64; Provider::ALL.len()],
}

impl RoundRobin {
    /// Whose turn it is; `None` when nobody has anything to say.
    pub(crate) fn next(&mut self, interface: InterfaceId, want: &Want) -> Option<Provider> {
        if !want.any(interface) {
            return None;
        }
        loop {
            let provider = Provider::ALL[self.current];
            if !want.has(interface, provider) {
                self.deficit[self.current] = 0;
            } else if self.deficit[self.current] > 0 {
                return Some(provider);
            } else {
                self.deficit[self.current] += provider.quantum();
            }
            self.current = (self.current + 1) % Provider::ALL.len();
        }
    }

    /// A protocol has sent so many bytes.
    pub(crate) fn charge(&mut self, provider: Provider, bytes: usize) {
        self.deficit[provider as usize] -= bytes as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_segments_do_not_starve_small_packets_and_answers_take_an_eighth_of_what_sockets_do() {
        let interface = InterfaceId::DEVICE;
        let mut want = Want::default();
        for provider in [Provider::Tcp, Provider::Udp, Provider::Icmp] {
            want.set(interface, provider);
        }
        let mut robin = RoundRobin::default();
        let mut sent = [0_usize; Provider::ALL.len()];
        for _ in 0..10_000 {
            let provider = robin.next(interface, &want).unwrap();
            let bytes = if provider == Provider::Tcp { 65_536 } else { 64 };
            robin.charge(provider, bytes);
            sent[provider as usize] += bytes;
        }
        let part = |provider: Provider| sent[provider as usize] as f64 / sent[Provider::Tcp as usize] as f64;
        assert!((0.9..1.1).contains(&part(Provider::Udp)), "both got the same number of bytes: {sent:?}");
        assert!((0.11..0.14).contains(&part(Provider::Icmp)), "an eighth: {sent:?}");
    }

    #[test]
    fn nobody_who_wants_nothing_is_asked() {
        let mut want = Want::default();
        let mut robin = RoundRobin::default();
        assert_eq!(robin.next(InterfaceId::DEVICE, &want), None);
        want.set(InterfaceId::DEVICE, Provider::Udp);
        assert_eq!(robin.next(InterfaceId::DEVICE, &want), Some(Provider::Udp));
        want.clear(InterfaceId::DEVICE, Provider::Udp);
        assert_eq!(robin.next(InterfaceId::DEVICE, &want), None);
    }
}
