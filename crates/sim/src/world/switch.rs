//! A switch: it learns which station is behind which port, and floods what it has not learnt.

use std::collections::BTreeMap;

/// A switch of so many ports.
#[derive(Debug)]
pub(crate) struct Switch {
    ports: usize,
    stations: BTreeMap<[u8; 6], usize>,
}

impl Switch {
    pub(crate) fn new(ports: usize) -> Self {
        Self { ports, stations: BTreeMap::new() }
    }

    pub(crate) fn add_port(&mut self) {
        self.ports += 1;
    }

    /// The ports that a frame leaves by which has come in by one.
    pub(crate) fn ports_for(&mut self, from: usize, frame: &[u8]) -> Vec<usize> {
        let station = |at: usize| frame.get(at..at + 6).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        let (Some(destination), Some(source)) = (station(0), station(6)) else { return Vec::new() };
        self.stations.insert(source, from);
        let is_group = destination[0] & 1 != 0;
        match self.stations.get(&destination).filter(|_| !is_group) {
            Some(port) if *port == from => Vec::new(),
            Some(port) => vec![*port],
            None => (0..self.ports).filter(|port| *port != from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(destination: u8, source: u8) -> Vec<u8> {
        [[2, 0, 0, 0, 0, destination], [2, 0, 0, 0, 0, source]].concat()
    }

    #[test]
    fn what_is_not_known_is_flooded_and_what_is_known_is_not() {
        let mut switch = Switch::new(3);
        assert_eq!(switch.ports_for(0, &frame(2, 1)), [1, 2]);
        assert_eq!(switch.ports_for(1, &frame(1, 2)), [0]);
        assert_eq!(switch.ports_for(0, &frame(2, 1)), [1]);
        assert_eq!(switch.ports_for(0, &[&[0xff; 6][..], &[2, 0, 0, 0, 0, 1]].concat()), [1, 2]);
        assert_eq!(switch.ports_for(1, &frame(2, 9)), [0_usize; 0], "its own port");
        assert_eq!(switch.ports_for(0, &[0; 3]), [0_usize; 0], "a runt");
    }
}
