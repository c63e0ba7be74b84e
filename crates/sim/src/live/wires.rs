//! The switch and the links to it: frames that hosts have sent, and when they arrive.
//!
//! Nothing here happens by itself. The conductor asks when nobody has anything to do.

use std::rc::Rc;

use sunstar_packet::Medium;
use sunstar_stack::time::Instant;

use super::host::Station;
use super::queue::Queue;
use crate::check::{Breach, check_frame};
use crate::frame::Frame;
use crate::link::Link;
use crate::port::Sent;
use crate::trace::Trace;
use crate::world::Switch;

/// All stations, and what joins them.
pub(super) struct Wires {
    stations: Vec<Rc<Station>>,
    switch: Switch,
    pub(super) trace: Trace,
}

impl Wires {
    pub(super) fn new(stations: Vec<Rc<Station>>) -> Self {
        let names = (0..stations.len()).flat_map(|number| [format!("from {number}"), format!("to {number}")]);
        let trace = Trace::new(Medium::Ethernet, names.collect());
        Self { switch: Switch::new(stations.len()), stations, trace }
    }

    /// All that is to happen by `now`: frames move, and shards are woken. Whether there was anything.
    ///
    /// # Errors
    /// A host has sent what no host may.
    pub(super) fn settle(&mut self, now: Instant) -> Result<bool, Breach> {
        let Self { stations, switch, trace } = self;
        for (number, station) in stations.iter().enumerate() {
            for Sent { at, frame } in station.queues().iter().flat_map(Queue::take_sent) {
                check_frame(&frame.bytes, &frame.notes, &station.device)?;
                let bytes = frame.bytes.clone();
                let fate = station.links.borrow_mut()[0].send(at, frame, false);
                trace.record(now, 2 * number as u16, fate, bytes);
            }
        }
        let mut happened = false;
        for (number, station) in stations.iter().enumerate() {
            while let Some(frame) = arrived(station, 0, now) {
                happened = true;
                for to in switch.ports_for(number, &frame.bytes) {
                    let fate = stations[to].links.borrow_mut()[1].send(now, frame.clone(), false);
                    trace.record(now, 2 * to as u16 + 1, fate, frame.bytes.clone());
                }
            }
        }
        for station in stations.iter() {
            while let Some(frame) = arrived(station, 1, now) {
                let queue = usize::from(station.stack().steers_to(&frame.bytes)) % station.queues().len();
                station.queues()[queue].deliver(frame);
                station.stack().wake(queue as u16);
                happened = true;
            }
            for (queue, number) in station.queues().iter().zip(0..) {
                if queue.next_departure().is_some_and(|leaves| leaves <= now) {
                    station.stack().wake(number);
                    happened = true;
                }
            }
            happened |= station.stack().wake_due(now);
        }
        Ok(happened)
    }

    /// When something happens next.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let of_station = |station: &Rc<Station>| {
            let links = station.links.borrow();
            let arrivals = links.iter().filter_map(Link::next_arrival);
            let departures = station.queues().iter().filter_map(Queue::next_departure);
            arrivals.chain(departures).chain(station.stack().next_deadline()).min()
        };
        self.stations.iter().filter_map(of_station).min()
    }
}

/// The next frame that has come to the end of one of a station's two links.
fn arrived(station: &Station, direction: usize, now: Instant) -> Option<Frame> {
    station.links.borrow_mut()[direction].arrived(now)
}
