fn main() {
    let args: Vec<String> = std::env::args().collect();
    let from: u64 = args[2].parse().unwrap();
    let to: u64 = args[3].parse().unwrap();
    for s in sunstar_sim::scenario::ALL.iter().filter(|s| args[1] == "all" || s.name == args[1]) {
        let t = std::time::Instant::now();
        let mut ev = 0;
        let mut sim = 0.0;
        let mut f = 0;
        for seed in from..to {
            let one = std::time::Instant::now();
            let r = sunstar_sim::explore::run(&s.plan(seed));
            ev += r.events;
            sim += r.simulated.as_secs_f64();
            if one.elapsed().as_secs() > 3 {
                println!(
                    "  {} {} took {:?} events {} sim {:?}",
                    s.name,
                    seed,
                    one.elapsed(),
                    r.events,
                    r.simulated
                );
            }
            if let Some(x) = r.failure {
                f += 1;
                if f <= 3 {
                    println!("  {} seed {} inv {:?} at {:?}: {}", s.name, seed, x.invariant, x.at, x.what);
                    if args.len() > 4 {
                        println!("{:#?}", s.plan(seed));
                        for l in &x.last_events {
                            println!("    {l}");
                        }
                    }
                }
            }
        }
        println!(
            "{:12} {} seeds, {} failures, {} events, {:.0} s simulated, {:?}",
            s.name,
            to - from,
            f,
            ev,
            sim,
            t.elapsed()
        );
    }
}
