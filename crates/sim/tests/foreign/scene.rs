//! One machine of ours and one host on smoltcp, and what is between them.

use std::net::Ipv4Addr;
use std::time::Duration;

use sunstar_sim::plan::{ErrandPlan, Fault, FaultPlan, MachinePlan, Network, Plan, Work};
use sunstar_sim::{Errand, Impairments, World, ms, secs};

use crate::host::{Settings, Smoltcp};
use crate::session::Ending;

/// When the errands begin, and the link becomes what it is to be. Before that both sides get to know each other's stations:
/// who is not found in three questions is out of reach, and that is not what is played here.
const BEGIN: Duration = ms(100);

/// How long all may take.
const PATIENCE: Duration = secs(3_600);

/// Our machine's address.
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    We,
    Smoltcp,
}

/// What is played.
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) machine: MachinePlan,
    pub(crate) smoltcp: Settings,
    /// What our link does, each way.
    pub(crate) link: Impairments,
    pub(crate) errands: Vec<(Opens, Errand)>,
}

/// How it went.
pub(crate) struct Played {
    /// How long all errands took.
    pub(crate) took: Duration,
    /// Frames on our link, both ways together, and how many of them were lost.
    pub(crate) frames: u64,
    pub(crate) lost: u64,
    /// Errands that were over when the ends of both streams had crossed.
    pub(crate) crossed: usize,
}

impl Scene {
    /// Two shards and smoltcp, two milliseconds apart, and these errands at once.
    pub(crate) fn new(errands: impl IntoIterator<Item = (Opens, Errand)>) -> Self {
        Self {
            seed: 1,
            machine: MachinePlan::new(2),
            smoltcp: Settings::default(),
            link: Impairments { latency: ms(1), ..Impairments::default() },
            errands: errands.into_iter().collect(),
        }
    }

    /// The errands of one side.
    fn of(&self, opens: Opens) -> impl Iterator<Item = &Errand> {
        self.errands.iter().filter(move |(who, _)| *who == opens).map(|(_, errand)| errand)
    }

    fn plan(&self) -> Plan {
        let to_smoltcp = |at, shard, errand| ErrandPlan {
            at,
            from: (0, shard % self.machine.shards()),
            to: 1,
            what: Work::Converse(errand),
            may_fail: false,
        };
        let greeting = to_smoltcp(secs(0), 0, Errand::upload(0, 0));
        let errands = self.of(Opens::We).enumerate().map(|(shard, errand)| to_smoltcp(BEGIN, shard, *errand));
        let becomes = FaultPlan {
            at: BEGIN,
            lasts: PATIENCE,
            machine: 0,
            what: Fault::Impaired(Box::new([self.link.clone(), self.link.clone()])),
        };
        Plan {
            seed: self.seed,
            machines: vec![self.machine.clone()],
            network: Network::Switch,
            errands: std::iter::once(greeting).chain(errands).collect(),
            faults: vec![becomes],
            patience: PATIENCE,
        }
    }

    /// Plays it to its end. Nothing may break, and every errand has to end as it was to, at both ends.
    pub(crate) fn play(self) -> Played {
        let plan = self.plan();
        let mut world = World::new(&plan);
        let smoltcp = Smoltcp::new(1, self.smoltcp);
        let link = || Impairments { latency: ms(1), ..Impairments::default() };
        world.attach(Box::new(smoltcp.clone()), [link(), link()]);
        let begin = world.now() + BEGIN;
        self.of(Opens::Smoltcp).for_each(|errand| smoltcp.begin(begin, OURS, *errand));

        let done = |world: &World| {
            let over =
                world.outcomes().iter().all(Option::is_some) && smoltcp.served().len() >= plan.errands.len();
            smoltcp.breach().is_some() || over && smoltcp.is_done()
        };
        let ended =
            world.run_until(done, PATIENCE).unwrap_or_else(|breach| panic!("{breach}\n{}", world.trace));
        assert_eq!(smoltcp.breach(), None, "{}", world.trace);
        let (endings, served) = (smoltcp.endings(), smoltcp.served());
        assert!(
            ended,
            "smoltcp: {endings:?}, served {served:?}; we: {:?}\n{}",
            world.outcomes(),
            world.trace
        );
        for (errand, ending) in self.of(Opens::Smoltcp).zip(endings) {
            assert_eq!(ending, Some(wanted(errand)), "{errand:?}");
        }
        let mut all: Vec<Ending> = self.of(Opens::We).map(wanted).chain([Ending::Done]).collect();
        all.sort();
        assert_eq!(served, all);
        let took = world.now().saturating_since(begin);
        let [away, to] = world.link_counters(0);
        world.run().unwrap_or_else(|breach| panic!("{breach}\n{}", world.trace));
        Played { took, frames: away.sent + to.sent, lost: away.lost + to.lost, crossed: smoltcp.crossed() }
    }
}

/// How an errand is to end.
fn wanted(errand: &Errand) -> Ending {
    if errand.aborts.is_some() { Ending::Aborted } else { Ending::Done }
}
