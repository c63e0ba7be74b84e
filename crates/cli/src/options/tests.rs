//! The command line, the file, and how they are put together.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use super::*;

fn serve(arguments: &[&str]) -> ServeOptions {
    let line = CommandLine::try_parse_from([&["sunstar", "serve"], arguments].concat()).unwrap();
    match line.command {
        Command::Serve(options) => *options,
        other => panic!("that was {other:?}"),
    }
}

fn ping(arguments: &[&str]) -> Result<PingOptions, clap::Error> {
    let line = CommandLine::try_parse_from([&["sunstar", "ping"], arguments].concat())?;
    match line.command {
        Command::Ping(options) => Ok(options),
        other => panic!("that was {other:?}"),
    }
}

fn perf(arguments: &[&str]) -> Result<PerfOptions, clap::Error> {
    let line = CommandLine::try_parse_from([&["sunstar", "perf"], arguments].concat())?;
    match line.command {
        Command::Perf(options) => Ok(*options),
        other => panic!("that was {other:?}"),
    }
}

fn traceroute(arguments: &[&str]) -> Result<TracerouteOptions, clap::Error> {
    let line = CommandLine::try_parse_from([&["sunstar", "traceroute"], arguments].concat())?;
    match line.command {
        Command::Traceroute(options) => Ok(options),
        other => panic!("that was {other:?}"),
    }
}

/// The settings that come of a file's text and arguments.
fn with_file(text: &str, arguments: &[&str]) -> Result<ServeSettings, OptionsError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sunstar.toml");
    std::fs::write(&file, text).unwrap();
    serve(&[&["--config", file.to_str().unwrap()], arguments].concat()).resolve()
}

#[test]
fn the_command_line_is_consistent() {
    CommandLine::command().debug_assert();
}

#[test]
fn without_options_http_is_published_on_the_loopback() {
    let settings = serve(&[]).resolve().unwrap();
    assert_eq!(settings.network.device(), DeviceName::Embedded);
    assert_eq!(settings.publish, ["127.0.0.1:8080:80".parse().unwrap()]);
    assert_eq!(settings.port, 80);
}

#[test]
fn another_http_port_is_what_the_default_publishes() {
    let settings = serve(&["--port", "8000"]).resolve().unwrap();
    assert_eq!(settings.publish, ["127.0.0.1:8080:8000".parse().unwrap()]);
}

#[test]
fn every_option_can_stand_in_the_file() {
    let settings = with_file(
        r#"
            device = "tap:sun0"
            address = ["10.0.0.2/24", "10.0.1.2/24"]
            gateway = "10.0.0.1"
            mtu = 9000
            pcap = "frames.pcapng"
            port = 8000
            dir = "public"
            discard = 9
            chargen = 19
            udp_echo = 7
            max_connections = 5
            json = true
            [stack.tcp]
            send_buffer = 4096
        "#,
        &[],
    )
    .unwrap();
    assert_eq!(settings.network.device(), DeviceName::Tap("sun0".into()));
    assert_eq!(settings.network.address.len(), 2);
    assert_eq!(settings.network.gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(settings.network.mtu, Some(9000));
    assert_eq!(settings.network.pcap, Some("frames.pcapng".into()));
    assert_eq!((settings.port, settings.discard, settings.chargen), (8000, Some(9), Some(19)));
    assert_eq!(settings.udp_echo, Some(7));
    assert_eq!((settings.dir, settings.max_connections, settings.json), (Some("public".into()), 5, true));
    assert_eq!(settings.stack.tcp.send_buffer, 4096);
    assert_eq!(settings.stack.tcp.receive_buffer, sunstar::ShardConfig::default().tcp.receive_buffer);
}

#[test]
fn the_command_line_wins_over_the_file() {
    let file = "device = \"tap:a\"\naddress = [\"10.0.0.2/24\"]\nport = 1\nmtu = 1400";
    let arguments = ["--port", "2", "--device", "tap:b", "--address", "10.0.0.3/24"];
    let settings = with_file(file, &arguments).unwrap();
    assert_eq!(settings.port, 2);
    assert_eq!(settings.network.device(), DeviceName::Tap("b".into()));
    assert_eq!(settings.network.address, ["10.0.0.3/24".parse().unwrap()]);
    assert_eq!(settings.network.mtu, Some(1400));
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    for text in ["adress = [\"10.0.0.2/24\"]", "config = \"x\"", "[stack.tcp]\nadress = 1", "[adress]\nx = 1"]
    {
        let error = with_file(text, &[]).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{error}");
        assert!(error.contains("adress") || error.contains("config"), "{error}");
        assert!(error.contains("sunstar.toml"), "{error}");
    }
}

#[test]
fn a_wrong_value_in_the_file_says_what_would_be_right() {
    let error = with_file("address = [\"10.0.0.2\"]", &[]).unwrap_err().to_string();
    assert!(error.contains("like 10.0.0.2/24"), "{error}");
    let error = with_file("device = \"eth0\"", &[]).unwrap_err().to_string();
    assert!(error.contains("`embedded`, or `tap:NAME`"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = serve(&["--config", "/nowhere/sunstar.toml"]).resolve().unwrap_err().to_string();
    assert!(error.contains("/nowhere/sunstar.toml"), "{error}");
}

#[test]
fn a_tap_needs_an_address() {
    let error = serve(&["--device", "tap:sun0"]).resolve().unwrap_err();
    assert!(matches!(error, OptionsError::NoAddress(_)), "{error}");
}

#[test]
fn nothing_is_published_on_a_tap() {
    let arguments = ["--device", "tap:sun0", "--address", "10.0.0.2/24", "--publish", "8080:80"];
    let error = serve(&arguments).resolve().unwrap_err();
    assert!(matches!(error, OptionsError::PublishOnTap(_)), "{error}");
}

#[test]
fn two_services_cannot_share_a_port() {
    let error = serve(&["--discard", "80"]).resolve().unwrap_err();
    let expected = "port 80 is to serve both HTTP and discard; give them different ports";
    assert_eq!(error.to_string(), expected);
    assert!(serve(&["--discard", "9", "--chargen", "9"]).resolve().is_err());
    assert!(serve(&["--discard", "9", "--udp-echo", "9"]).resolve().is_ok(), "TCP and UDP have ports each");
}

#[test]
fn a_published_port_must_be_served() {
    let error = serve(&["--publish", "8080:81", "--discard", "9"]).resolve().unwrap_err().to_string();
    assert!(error.contains("port 81") && error.contains("HTTP on 80, discard on 9"), "{error}");
    assert!(serve(&["--publish", "8080:80", "--publish", "9009:9", "--discard", "9"]).resolve().is_ok());
}

#[test]
fn what_a_measurement_would_not_heed_is_refused_and_not_ignored() {
    for wrong in [
        &["10.0.0.1", "--port", "99"][..],
        &["10.0.0.1", "--server"],
        &["10.0.0.1", "--no-offload"],
        &["--server", "--no-offload"],
        &["--server", "--test", "up"],
        &["--server", "--seconds", "1"],
        &["--server", "--streams", "1"],
        &["--server", "--size", "1"],
        &["--server", "--requests", "1"],
    ] {
        assert!(perf(wrong).is_err(), "{wrong:?}");
    }
    for (wrong, named) in [
        (&["--gateway", "10.0.0.9"][..], "--gateway"),
        (&["--software-steering"], "--software-steering"),
        (&["--pcap", "a.pcapng"], "--pcap"),
        (&["--name-server", "10.0.0.1"], "--name-server"),
        (&["--search", "example.org"], "--search"),
        (&["--server"], "--device tap:NAME"),
        (&["10.0.0.1"], "--device tap:NAME"),
        (&["10.0.0.1:99", "--device", "embedded"], "--device tap:NAME"),
    ] {
        let error = perf(wrong).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(named), "{wrong:?}: {error}");
    }
    let tap =
        ["--device", "tap:sun0", "--address", "10.0.0.2/24", "--gateway", "10.0.0.1", "--software-steering"];
    for right in [&["--server", "--port", "99"][..], &["10.0.1.1:99", "--seconds", "1", "--test", "up"]] {
        assert!(perf(&[right, &tap].concat()).unwrap().check().is_ok(), "{right:?}");
    }
    assert!(
        perf(&["--port", "99", "--no-offload", "--mtu", "9000", "--shards", "2"]).unwrap().check().is_ok()
    );
}

#[test]
fn ping_takes_the_usual_letters() {
    let short = ["10.0.0.1", "-c", "3", "-i", "0.2", "-s", "65507", "-t", "9", "-W", "1.5", "-M", "-b"];
    let options = ping(&short).unwrap();
    assert_eq!((&options.host, options.count), (&"10.0.0.1".parse().unwrap(), Some(3)));
    assert_eq!(options.interval, Duration::from_millis(200));
    assert_eq!((options.size, options.ttl, options.timeout), (65_507, 9, Duration::from_millis(1500)));
    assert!(options.dont_fragment && options.broadcast);
    let long = [
        ["10.0.0.1", "--count", "3", "--interval", "0.2", "--size", "65507", "--ttl", "9"].as_slice(),
        &["--timeout", "1.5", "--dont-fragment", "--broadcast"],
    ];
    assert_eq!(ping(&long.concat()).unwrap(), options);
}

#[test]
fn traceroute_takes_the_usual_letters() {
    let options = traceroute(&["10.0.0.1"]).unwrap();
    assert_eq!((options.max_hops, options.queries, options.in_flight, options.size), (30, 3, 16, 32));
    assert_eq!((options.wait, options.dont_fragment), (Duration::from_secs(5), false));
    let short = ["10.0.0.1", "-m", "4", "-q", "1", "-w", "0.5", "-N", "2", "-s", "1472", "-F"];
    let long = ["10.0.0.1", "--max-hops", "4", "--queries", "1", "--wait", "0.5", "--in-flight", "2"];
    let options = traceroute(&[&long[..], &["--size", "1472", "--dont-fragment"]].concat()).unwrap();
    assert_eq!(traceroute(&short).unwrap(), options);
    assert_eq!((options.max_hops, options.queries, options.in_flight, options.size), (4, 1, 2, 1_472));
    for wrong in [&["-m", "0"], &["-q", "11"], &["-N", "65"], &["-w", "0"], &["-s", "65508"]] {
        assert!(traceroute(&[&["10.0.0.1"], &wrong[..]].concat()).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_name_needs_somebody_to_be_asked_for_it() {
    let server = ["--name-server", "10.0.0.1", "--name-server", "10.0.0.9:5353", "--search", "example.org"];
    let tap = ["--device", "tap:sun0", "--address", "10.0.0.2/24"];
    let check = |command: &str, arguments: &[&str]| match command {
        "ping" => ping(arguments).unwrap().check(),
        "traceroute" => traceroute(arguments).unwrap().check(),
        _ => perf(arguments).unwrap().check(),
    };
    for command in ["ping", "traceroute", "perf"] {
        let check = |arguments: &[&str]| check(command, arguments);
        let error = check(&[&["host"][..], &tap].concat()).unwrap_err().to_string();
        assert!(error.contains("`host`") && error.contains("--name-server 10.0.0.1"), "{error}");
        assert!(check(&[&["host"][..], &tap, &server].concat()).is_ok());
        assert!(check(&[&["10.0.0.1"][..], &tap].concat()).is_ok());
    }
    let names = ping(&[&["host"][..], &server].concat()).unwrap().names;
    assert_eq!(
        names.name_server.iter().map(|it| it.0.to_string()).collect::<Vec<_>>(),
        ["10.0.0.1:53", "10.0.0.9:5353"]
    );
    assert_eq!(names.search, ["example.org"]);
}

#[test]
fn ping_refuses_what_cannot_be() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["10.0.0.256"],
        &["fe80::1"],
        &["10.0.0.1", "-c", "0"],
        &["10.0.0.1", "-i", "0"],
        &["10.0.0.1", "-i", "NaN"],
        &["10.0.0.1", "-s", "65508"],
        &["10.0.0.1", "-t", "0"],
    ];
    for arguments in wrong {
        assert!(ping(arguments).is_err(), "{arguments:?}");
    }
}

fn set(arguments: &[&str]) -> Result<SetOptions, clap::Error> {
    let line = CommandLine::try_parse_from([&["sunstar", "set"], arguments].concat())?;
    match line.command {
        Command::Set(options) => Ok(options),
        _ => panic!("that was something else"),
    }
}

#[test]
fn a_change_is_said_in_words() {
    for (words, change) in [
        ("address add 10.0.0.3/24", r#"{"add_address":"10.0.0.3/24"}"#),
        ("address remove 10.0.0.3/24", r#"{"remove_address":"10.0.0.3/24"}"#),
        ("route add default via 10.0.0.1", r#"{"add_route":{"network":"default","gateway":"10.0.0.1"}}"#),
        ("route remove 10.1.0.0/16 --json", r#"{"remove_route":{"network":"10.1.0.0/16"}}"#),
        ("port udp/53 shard 2", r#"{"set_port":{"port":"udp/53","owner":"shard 2"}}"#),
        ("port tcp/80 every --control x.sock", r#"{"set_port":{"port":"tcp/80","owner":"every"}}"#),
        ("port udp/53 none", r#"{"set_port":{"port":"udp/53","owner":"none"}}"#),
    ] {
        let options = set(&words.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(serde_json::to_string(&options.change().unwrap()).unwrap(), change);
    }
}

#[test]
fn a_change_that_is_not_understood_says_what_would_be() {
    for (words, advice) in [
        ("address add 10.0.0.3", "10.0.0.2/24"),
        ("route add 10.1.2.3/16 via 10.0.0.1", "the network is 10.1.0.0/16"),
        ("route add default by 10.0.0.1", "via"),
        ("route remove everything", "`default`"),
        ("port 53 every", "udp/53"),
    ] {
        let error = set(&words.split(' ').collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(error.contains(advice), "{words}: {error}");
    }
    let owner = set(&["port", "udp/53", "somebody"]).unwrap().change().unwrap_err().to_string();
    assert!(owner.contains("`shard N`, `every`, or `none`"), "{owner}");
}

#[test]
fn a_section_that_is_none_is_answered_with_those_that_are() {
    let show = |words: &[&str]| CommandLine::try_parse_from([&["sunstar", "show"], words].concat());
    let error = show(&["socket"]).unwrap_err().to_string();
    assert!(error.contains("interfaces, routes, neighbors"), "{error}");
    for words in [&["sockets"][..], &["--json"], &["counters", "--limit", "4096", "--control", "x"]] {
        assert!(show(words).is_ok(), "{words:?}");
    }
    assert!(show(&["--limit", "0"]).is_err());
}
