//! Scenarios: what there is to be found out, by name. With a seed each makes a plan.

mod draw;
mod list;

use crate::plan::Plan;
use draw::Draw;
pub use list::ALL;

/// What a run is to find out.
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    plan: fn(&mut Draw) -> Plan,
}

impl Scenario {
    /// The scenario of a name.
    pub fn by_name(name: &str) -> Option<&'static Scenario> {
        ALL.iter().find(|scenario| scenario.name == name)
    }

    /// What happens with a seed.
    pub fn plan(&self, seed: u64) -> Plan {
        // Scenarios of the same seed are to have nothing in common.
        let name =
            self.name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
        (self.plan)(&mut Draw::new(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twelve_at_least_and_no_name_twice() {
        let mut names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(names.len() >= 12);
    }

    #[test]
    fn a_seed_makes_one_plan_and_another_another() {
        for scenario in ALL {
            assert_eq!(scenario.plan(1), scenario.plan(1), "{}", scenario.name);
            assert_ne!(scenario.plan(1), scenario.plan(2), "{}", scenario.name);
        }
    }
}
