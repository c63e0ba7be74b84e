//! What goes wrong in a world, and how it is mended.

use super::{Appointment, Middle, World};
use crate::check::Breach;
use crate::plan::{Fault, FaultPlan};

impl World {
    /// A fault begins; its end is noted, if it has one.
    pub(super) fn break_something(&mut self, number: usize) -> Result<(), Breach> {
        let FaultPlan { lasts, machine, what, .. } = self.plan.faults[number].clone();
        let now = self.now;
        let node = &mut self.nodes[machine];
        match what {
            Fault::NoCarrier => self.set_carrier(machine, false),
            Fault::Cut => self.set_cut(machine, true),
            Fault::Impaired(impairments) => {
                for (link, impairments) in node.links.iter_mut().zip(*impairments) {
                    link.impairments = impairments;
                }
            }
            Fault::Stalled { queue } => self.set_stalled(machine, queue, true),
            Fault::Suspended { shard } => node.machine.members[shard].suspended = true,
            Fault::Asleep => node.machine.members.iter_mut().for_each(|member| member.suspended = true),
            Fault::Replaced { shard } => {
                node.machine.members[shard].replace(now);
                node.judge.on_replaced(shard);
                node.applications.on_replaced(&mut node.machine, shard, now);
                self.collect(machine);
            }
            Fault::DeviceFailed => {
                node.device_failed = true;
                for member in &mut node.machine.members {
                    member.touched = true;
                    if let Some(port) = member.port_mut() {
                        port.fail();
                    }
                }
            }
            Fault::Forged => self.forge(machine)?,
            Fault::Mtu { mtu } => {
                if let Middle::Router(router) = &mut self.middle {
                    router.set_mtu(machine, mtu);
                }
            }
        }
        self.appoint(now + lasts, Appointment::Mend(number));
        Ok(())
    }

    /// A fault ends, if it can.
    pub(super) fn mend_something(&mut self, number: usize) {
        let FaultPlan { machine, what, .. } = self.plan.faults[number].clone();
        let planned = &self.plan.machines[machine].link;
        let node = &mut self.nodes[machine];
        match what {
            Fault::NoCarrier => self.set_carrier(machine, true),
            Fault::Cut => self.set_cut(machine, false),
            Fault::Impaired(_) => {
                for (link, impairments) in node.links.iter_mut().zip(planned) {
                    link.impairments = impairments.clone();
                }
            }
            Fault::Stalled { queue } => self.set_stalled(machine, queue, false),
            Fault::Suspended { shard } => node.machine.members[shard].suspended = false,
            Fault::Asleep => node.machine.members.iter_mut().for_each(|member| member.suspended = false),
            Fault::Replaced { .. } | Fault::DeviceFailed | Fault::Forged | Fault::Mtu { .. } => {}
        }
    }

    /// Nothing is wrong any more, but for devices that are gone.
    pub(super) fn heal(&mut self) {
        self.appointments.clear();
        for machine in 0..self.nodes.len() {
            self.set_cut(machine, false);
            self.set_carrier(machine, true);
            for link in &mut self.nodes[machine].links {
                link.impairments = crate::Impairments::default();
            }
        }
    }

    fn set_carrier(&mut self, machine: usize, up: bool) {
        let node = &mut self.nodes[machine];
        for member in &mut node.machine.members {
            if let Some(port) = member.port_mut() {
                port.up = up;
                member.touched = true;
            }
        }
        for link in &mut node.links {
            link.cut = !up;
            link.clear();
        }
    }

    fn set_cut(&mut self, machine: usize, cut: bool) {
        for link in &mut self.nodes[machine].links {
            link.cut = cut;
            link.clear();
        }
    }

    fn set_stalled(&mut self, machine: usize, queue: usize, stalled: bool) {
        let member = &mut self.nodes[machine].machine.members[queue];
        member.touched = true;
        if let Some(port) = member.port_mut() {
            port.stalled = stalled;
        }
    }
}
