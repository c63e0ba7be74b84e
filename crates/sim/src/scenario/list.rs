//! The list of scenarios.

use std::time::Duration;

use super::Scenario;
use super::draw::Draw;
use crate::link::Bursts;
use crate::plan::{ErrandPlan, Fault, FaultPlan, MachinePlan, Network, Plan, Work};
use crate::{Errand, Impairments, Role, ms, secs};

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario { name: "bulk", about: "large transfers between machines of up to four shards", plan: bulk },
    Scenario { name: "requests", about: "requests and answers, small ones and many", plan: requests },
    Scenario { name: "short", about: "many short connections at once, ports used again", plan: short },
    Scenario { name: "loss", about: "up to 15 % of all frames are lost, both ways", plan: loss },
    Scenario { name: "bursts", about: "frames are lost in bursts", plan: bursts },
    Scenario {
        name: "disorder",
        about: "frames overtake each other, arrive twice, and late",
        plan: disorder,
    },
    Scenario { name: "corruption", about: "bits are flipped on the way", plan: corruption },
    Scenario { name: "slow", about: "slow readers, small buffers, windows that close", plan: slow },
    Scenario {
        name: "endings",
        about: "half-closed connections, and applications that abort",
        plan: endings,
    },
    Scenario {
        name: "shards",
        about: "eight shards on fewer queues, cards that know nothing, small rings",
        plan: shards,
    },
    Scenario {
        name: "outages",
        about: "links away, rings that stall, cores taken away, machines asleep",
        plan: outages,
    },
    Scenario {
        name: "router",
        about: "a router between networks of different MTUs, with or without a word",
        plan: router,
    },
    Scenario { name: "datagrams", about: "UDP, in one packet and in fragments", plan: datagrams },
    Scenario { name: "rebirth", about: "shards fail and are replaced, devices fail", plan: rebirth },
    Scenario { name: "forgery", about: "forged segments, one at a time, to every connection", plan: forgery },
    Scenario { name: "wraps", about: "sequence numbers and timestamps just before they wrap", plan: wraps },
    Scenario { name: "memory", about: "few buffers, and more to do than they are for", plan: memory },
    Scenario { name: "everything", about: "something of all of it", plan: everything },
];

/// A link's impairments, the same in both directions.
fn impair(machine: &mut MachinePlan, change: impl Fn(&mut Impairments)) {
    machine.link.iter_mut().for_each(change);
}

fn plan(draw: &mut Draw, machines: Vec<MachinePlan>, errands: Vec<ErrandPlan>) -> Plan {
    Plan {
        seed: draw.seed(),
        machines,
        network: Network::Switch,
        errands,
        faults: Vec::new(),
        patience: secs(600),
    }
}

fn errands(draw: &mut Draw, machines: &[MachinePlan], count: (u64, u64), most: u64) -> Vec<ErrandPlan> {
    let count = draw.range(count.0, count.1);
    let one = |draw: &mut Draw| {
        let errand = draw.errand(most);
        draw.converse(machines, secs(1), errand)
    };
    (0..count).map(|_| one(draw)).collect()
}

fn bulk(draw: &mut Draw) -> Plan {
    let machines = draw.machines(2, 4, 4);
    let errands = errands(draw, &machines, (2, 5), 1 << 20);
    plan(draw, machines, errands)
}

fn requests(draw: &mut Draw) -> Plan {
    let machines = draw.machines(2, 3, 4);
    let count = draw.range(2, 8);
    let one = |draw: &mut Draw| {
        let rounds = draw.magnitude(1, 100) as u16;
        let (up, down) = (draw.magnitude(1, 4_000) as u32, draw.magnitude(1, 8_000) as u32);
        let errand = Errand::requests(draw.errand_seed(), rounds, up, down);
        draw.converse(&machines, secs(1), errand)
    };
    let errands = (0..count).map(|_| one(draw)).collect();
    plan(draw, machines, errands)
}

fn short(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 4);
    if draw.chance(50) {
        let loss = draw.up_to_permille(50);
        impair(&mut machines[0], |link| link.loss = loss);
    }
    let count = draw.range(20, 60);
    let one = |draw: &mut Draw| {
        let (up, down) = (draw.range(0, 300) as u32, draw.range(1, 3_000) as u32);
        let errand = Errand::requests(draw.errand_seed(), 1, up, down);
        draw.converse(&machines, secs(2), errand)
    };
    let errands = (0..count).map(|_| one(draw)).collect();
    plan(draw, machines, errands)
}

fn loss(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 2);
    for machine in &mut machines {
        let loss = draw.up_to_permille(150);
        impair(machine, |link| link.loss = loss);
    }
    let errands = errands(draw, &machines, (1, 4), 200_000);
    patient(plan(draw, machines, errands))
}

/// What may take long, and has to be tried longer: neighbours, too, whose answers are lost.
fn patient(mut plan: Plan) -> Plan {
    for machine in &mut plan.machines {
        machine.tcp.retries = (30, 12);
        machine.neighbor_attempts = 100;
    }
    Plan { patience: secs(4 * 3_600), ..plan }
}

fn bursts(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 2, 2);
    for machine in &mut machines {
        let bursts = Bursts {
            begin: draw.up_to_permille(20),
            end: 0.05 + draw.up_to_permille(400),
            loss: 0.3 + draw.up_to_permille(700),
        };
        impair(machine, |link| link.bursts = Some(bursts));
    }
    let errands = errands(draw, &machines, (1, 4), 200_000);
    patient(plan(draw, machines, errands))
}

fn disorder(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 4);
    for machine in &mut machines {
        let (reordering, duplication) = (draw.up_to_permille(500), draw.up_to_permille(100));
        let (jitter, held_back) = (draw.duration_us(1, 20_000), draw.duration_us(100, 30_000));
        impair(machine, |link| {
            (link.reordering, link.duplication) = (reordering, duplication);
            (link.jitter, link.held_back) = (jitter, held_back);
        });
    }
    let errands = errands(draw, &machines, (2, 5), 400_000);
    patient(plan(draw, machines, errands))
}

fn corruption(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 2);
    for machine in &mut machines {
        let corruption = draw.up_to_permille(100);
        impair(machine, |link| link.corruption = corruption);
        machine.offloads = false;
    }
    let errands = errands(draw, &machines, (1, 4), 200_000);
    patient(plan(draw, machines, errands))
}

fn slow(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 3);
    for machine in &mut machines {
        machine.tcp.receive_buffer = draw.magnitude(2_048, 65_536) as usize;
        machine.tcp.send_buffer = draw.magnitude(2_048, 65_536) as usize;
        let loss = draw.perhaps_permille(50, 30);
        impair(machine, |link| link.loss = loss);
    }
    let count = draw.range(1, 4);
    let one = |draw: &mut Draw| {
        let slow = Some(draw.pick(&[Role::Client, Role::Server]));
        let errand = Errand { slow, ..draw.errand(100_000) };
        draw.converse(&machines, secs(1), errand)
    };
    let errands = (0..count).map(|_| one(draw)).collect();
    patient(plan(draw, machines, errands))
}

fn endings(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 3);
    let loss = draw.perhaps_permille(50, 50);
    impair(&mut machines[0], |link| link.loss = loss);
    let count = draw.range(3, 12);
    let one = |draw: &mut Draw| {
        let errand = draw.errand(100_000);
        let role = draw.pick(&[Role::Client, Role::Server]);
        let aborts = draw.chance(60).then(|| (role, draw.magnitude(1, 120_000) as u32));
        let half_close = draw.chance(50) && !errand.duplex && errand.rounds == 1;
        let mut errand = draw.converse(&machines, secs(2), Errand { aborts, half_close, ..errand });
        // Whoever never hears of the abort asks until it does.
        errand.may_fail = aborts.is_some();
        errand
    };
    let errands = (0..count).map(|_| one(draw)).collect();
    patient(plan(draw, machines, errands))
}

fn shards(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 8);
    for machine in &mut machines {
        machine.queues = draw.range(1, machine.shards() as u64) as usize;
        machine.mesh = draw.pick(&[2, 8, 64]);
        machine.buffers = 1_024;
    }
    let mut errands = errands(draw, &machines, (4, 12), 200_000);
    let seed = draw.errand_seed();
    let datagrams = Work::Datagrams { seed, count: 20, len: 200, every_us: 500 };
    errands.push(draw.work(&machines, secs(1), datagrams));
    patient(plan(draw, machines, errands))
}

/// Something that goes wrong in the first seconds and is mended.
fn outage(draw: &mut Draw, machines: &[MachinePlan], longest: Duration) -> FaultPlan {
    let machine = draw.range(0, machines.len() as u64 - 1) as usize;
    let (shards, queues) = (machines[machine].shards() as u64, machines[machine].queues as u64);
    let what = match draw.range(0, 5) {
        0 => Fault::NoCarrier,
        1 => Fault::Cut,
        2 => Fault::Stalled { queue: draw.range(0, queues - 1) as usize },
        3 => Fault::Suspended { shard: draw.range(0, shards - 1) as usize },
        4 => Fault::Asleep,
        _ => {
            // A step of the delay, and of the loss.
            let mut link = machines[machine].link.clone();
            let (latency, loss) = (draw.duration_us(100, 2_000_000), draw.up_to_permille(300));
            link.iter_mut().for_each(|link| (link.latency, link.loss) = (latency, loss));
            Fault::Impaired(Box::new(link))
        }
    };
    let lasts = draw.duration_us(1_000, longest.as_micros() as u64);
    FaultPlan { at: ms(draw.range(0, 3_000)), lasts, machine, what }
}

fn outages(draw: &mut Draw) -> Plan {
    let machines = draw.machines(2, 3, 4);
    let errands = errands(draw, &machines, (2, 6), 300_000);
    let faults = (0..draw.range(1, 6)).map(|_| outage(draw, &machines, secs(20))).collect();
    patient(Plan { faults, ..plan(draw, machines, errands) })
}

fn router(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 4, 3);
    let mtu = |draw: &mut Draw| draw.pick(&[1_500, 1_500, 1_400, 1_006, 600]);
    let mtus = machines.iter().map(|_| mtu(draw)).collect();
    for machine in &mut machines {
        let loss = draw.perhaps_permille(30, 20);
        impair(machine, |link| link.loss = loss);
    }
    let mut errands = errands(draw, &machines, (2, 5), 200_000);
    if draw.chance(50) {
        let (seed, len) = (draw.errand_seed(), draw.magnitude(8, 9_000) as u16);
        let datagrams = Work::Datagrams { seed, count: 20, len, every_us: 2_000 };
        errands.push(draw.work(&machines, secs(1), datagrams));
    }
    let network = Network::Router { mtus, speaks: draw.chance(70) };
    let mut faults = Vec::new();
    if draw.chance(40) {
        let machine = draw.range(0, machines.len() as u64 - 1) as usize;
        let what = Fault::Mtu { mtu: draw.pick(&[1_500, 1_200, 576]) };
        faults.push(FaultPlan { at: ms(draw.range(0, 2_000)), lasts: secs(1), machine, what });
    }
    patient(Plan { network, faults, ..plan(draw, machines, errands) })
}

fn datagrams(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 4);
    for machine in &mut machines {
        let (loss, duplication) = (draw.up_to_permille(50), draw.up_to_permille(50));
        let reordering = draw.up_to_permille(200);
        impair(machine, |link| {
            (link.loss, link.duplication, link.reordering) = (loss, duplication, reordering);
        });
        machine.mtu = draw.pick(&[1_500, 1_500, 1_280, 9_000]);
    }
    let count = draw.range(1, 6);
    let one = |draw: &mut Draw| {
        let (seed, count) = (draw.errand_seed(), draw.magnitude(1, 100) as u32);
        let (len, every_us) = (draw.magnitude(8, 30_000) as u16, draw.magnitude(10, 20_000));
        draw.work(&machines, secs(1), Work::Datagrams { seed, count, len, every_us })
    };
    let errands = (0..count).map(|_| one(draw)).collect();
    plan(draw, machines, errands)
}

fn rebirth(draw: &mut Draw) -> Plan {
    let machines = draw.machines(2, 3, 4);
    let mut errands = errands(draw, &machines, (4, 12), 100_000);
    errands.iter_mut().for_each(|errand| errand.may_fail = true);
    let one = |draw: &mut Draw| {
        let machine = draw.range(0, machines.len() as u64 - 1) as usize;
        let shard = draw.range(0, machines[machine].shards() as u64 - 1) as usize;
        let what = if draw.chance(85) { Fault::Replaced { shard } } else { Fault::DeviceFailed };
        FaultPlan { at: ms(draw.range(0, 2_000)), lasts: secs(0), machine, what }
    };
    let faults = (0..draw.range(1, 4)).map(|_| one(draw)).collect();
    patient(Plan { faults, ..plan(draw, machines, errands) })
}

fn forgery(draw: &mut Draw) -> Plan {
    let machines = draw.machines(2, 3, 4);
    let count = draw.range(2, 6);
    let one = |draw: &mut Draw| {
        // Slow conversations have idle moments.
        let slow = Some(draw.pick(&[Role::Client, Role::Server]));
        let errand = Errand { slow, ..draw.errand(60_000) };
        draw.converse(&machines, secs(1), errand)
    };
    let errands = (0..count).map(|_| one(draw)).collect();
    let forged = |draw: &mut Draw| {
        let machine = draw.range(0, machines.len() as u64 - 1) as usize;
        FaultPlan { at: ms(draw.range(0, 2_000)), lasts: secs(0), machine, what: Fault::Forged }
    };
    let faults = (0..draw.range(5, 40)).map(|_| forged(draw)).collect();
    patient(Plan { faults, ..plan(draw, machines, errands) })
}

fn wraps(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 2);
    for machine in &mut machines {
        let before = |number: u64| 0_u32.wrapping_sub(number as u32);
        let (sequence, timestamp) = (before(draw.magnitude(1, 300_000)), before(draw.magnitude(1, 5_000)));
        machine.tcp.first_numbers = Some((sequence, timestamp));
        let (loss, reordering) = (draw.up_to_permille(30), draw.up_to_permille(100));
        impair(machine, |link| (link.loss, link.reordering) = (loss, reordering));
    }
    let errands = errands(draw, &machines, (1, 4), 400_000);
    patient(plan(draw, machines, errands))
}

fn memory(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 3, 3);
    for machine in &mut machines {
        machine.buffers = draw.magnitude(96, 512) as usize;
        machine.tcp.receive_buffer = draw.magnitude(8_192, 262_144) as usize;
        machine.tcp.send_buffer = draw.magnitude(8_192, 262_144) as usize;
        let loss = draw.perhaps_permille(50, 30);
        impair(machine, |link| link.loss = loss);
    }
    let errands = errands(draw, &machines, (4, 16), 200_000);
    patient(plan(draw, machines, errands))
}

fn everything(draw: &mut Draw) -> Plan {
    let mut machines = draw.machines(2, 4, 4);
    for machine in &mut machines {
        let (loss, corruption) = (draw.up_to_permille(30), draw.up_to_permille(10));
        let (reordering, duplication) = (draw.up_to_permille(100), draw.up_to_permille(20));
        let jitter = draw.duration_us(1, 5_000);
        impair(machine, |link| {
            (link.loss, link.corruption, link.jitter) = (loss, corruption, jitter);
            (link.reordering, link.duplication) = (reordering, duplication);
        });
    }
    let mut errands = errands(draw, &machines, (3, 10), 200_000);
    let seed = draw.errand_seed();
    // In one packet each: of two bits flipped, in two fragments, the checksum may notice neither.
    let datagrams = Work::Datagrams { seed, count: 30, len: 1_000, every_us: 5_000 };
    errands.push(draw.work(&machines, secs(1), datagrams));
    let faults = (0..draw.range(0, 3)).map(|_| outage(draw, &machines, secs(5))).collect();
    patient(Plan { faults, ..plan(draw, machines, errands) })
}
