fn main() {
    let args: Vec<String> = std::env::args().collect();
    let s = sunstar_sim::scenario::Scenario::by_name(&args[1]).unwrap();
    let plan = sunstar_sim::explore::minimise(&s.plan(args[2].parse().unwrap()), 2000);
    let (r, w) = sunstar_sim::explore::run_with(&plan, |_| {});
    println!("{:#?}", plan);
    for l in r.failure.as_ref().unwrap().last_events.iter() {
        println!("{l}");
    }
    println!("{:?}", r.failure.as_ref().unwrap().what);
    for l in w.describe() {
        println!("{l}");
    }
}
