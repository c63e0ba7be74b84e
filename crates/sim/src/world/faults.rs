//! What goes wrong in a world, and how it is mended. Faults may overlap: what a machine suffers from is made of all that go on.

use super::{Appointment, Middle, World};
use crate::check::Breach;
use crate::plan::{Fault, FaultPlan};

impl World {
    /// A fault begins; its end is noted.
    pub(super) fn break_something(&mut self, number: usize) -> Result<(), Breach> {
        let FaultPlan { lasts, machine, what, .. } = self.plan.faults[number].clone();
        let now = self.now;
        let node = &mut self.nodes[machine];
        match what {
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
            Fault::NoCarrier
            | Fault::Cut
            | Fault::Impaired(_)
            | Fault::Stalled { .. }
            | Fault::Suspended { .. }
            | Fault::Asleep => {
                self.going_on.push(number);
                self.suffer(machine);
                self.appoint(now + lasts, Appointment::Mend(number));
            }
        }
        Ok(())
    }

    /// A fault ends.
    pub(super) fn mend_something(&mut self, number: usize) {
        self.going_on.retain(|fault| *fault != number);
        self.suffer(self.plan.faults[number].machine);
    }

    /// Nothing is wrong any more, but for devices that are gone.
    pub(super) fn heal(&mut self) {
        self.appointments.clear();
        self.going_on.clear();
        for machine in 0..self.nodes.len() {
            self.suffer(machine);
            for link in &mut self.nodes[machine].links {
                link.impairments = crate::Impairments::default();
            }
        }
    }

    /// Has a machine suffer from what goes on, and from nothing else.
    fn suffer(&mut self, machine: usize) {
        let going_on = self.going_on.iter().map(|fault| &self.plan.faults[*fault]);
        let here: Vec<Fault> =
            going_on.filter(|fault| fault.machine == machine).map(|fault| fault.what.clone()).collect();
        let carrier = !here.contains(&Fault::NoCarrier);
        let cut = !carrier || here.contains(&Fault::Cut);
        let asleep = here.contains(&Fault::Asleep);
        let node = &mut self.nodes[machine];
        for (shard, member) in node.machine.members.iter_mut().enumerate() {
            member.suspended = asleep || here.contains(&Fault::Suspended { shard });
            let stalled = here.contains(&Fault::Stalled { queue: shard });
            let Some(port) = member.port_mut() else { continue };
            let changed = port.up != carrier || port.stalled != stalled;
            (port.up, port.stalled) = (carrier, stalled);
            member.touched |= changed;
        }
        let planned = &self.plan.machines[machine].link;
        // Of several, the last that began.
        let impaired = here.iter().rev().find_map(|fault| match fault {
            Fault::Impaired(impairments) => Some(&**impairments),
            _ => None,
        });
        for (link, impairments) in node.links.iter_mut().zip(impaired.unwrap_or(planned)) {
            link.impairments = impairments.clone();
            if cut && !link.cut {
                link.clear();
            }
            link.cut = cut;
        }
    }
}
